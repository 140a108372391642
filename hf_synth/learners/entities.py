"""Students that tag a text's tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import Linear
from transformers import AutoModelForTokenClassification, AutoTokenizer, DataCollatorForTokenClassification

from .. import student
from ..bio import OUTSIDE, tag_names
from ..errors import InputError
from ..journal import console
from ..losses import IGNORED
from ..metrics.entities import Entities
from ..models import resolve
from ..settings import StudentConfig
from ..task import Task
from . import Settle, check_names

if TYPE_CHECKING:
    from datasets import Dataset

metric = "f1"
beside: tuple[str, ...] = ("precision", "recall")
auto, run = AutoModelForTokenClassification, student.run
settle: Settle = None


def check(config: StudentConfig) -> None:
    """Refuse a student that cannot tag tokens.

    Raises:
        InputError: Naming it.
    """
    if config.student == "bilstm":
        raise InputError("`student: bilstm` gives texts a label; token tasks need an encoder such as BERT")
    student.check_student(config)


def load(
    config: StudentConfig, task: Task, names: Sequence[str], texts: Sequence[str]
) -> tuple[Any, Any, dict[str, Any]]:
    """Return a token classifier; see `Learner.load`.

    Raises:
        InputError: For a student that cannot tag tokens.
    """
    check(config)
    source = resolve(config.student)
    tokenizer = AutoTokenizer.from_pretrained(source.path)
    if not tokenizer.is_fast:
        raise InputError(f"`student`: {config.student!r} has no fast tokenizer, which tells words from their pieces")
    labels: dict[str, Any] = {"id2label": dict(enumerate(names)), "label2id": {n: at for at, n in enumerate(names)}}
    model = AutoModelForTokenClassification.from_pretrained(
        source.path, ignore_mismatched_sizes=True, dtype=torch.float32, **labels
    )
    student.in_order(model, source.path, names)
    return model, tokenizer, source.facts()


def columns(rows: Dataset, task: Task) -> list[Sequence[str]]:
    """Return the rows' tokens, joined."""
    return [[" ".join(tokens) for tokens in rows[task.generated]]]


def encode(rows: Dataset, tokenizer: Any, task: Task, max_length: int) -> Dataset:
    """Return tokenised rows; the first piece of each token has the token's tag, the others are not counted."""

    def batch(given: Mapping[str, list[Any]]) -> dict[str, Any]:
        inputs = _pieces(tokenizer, given[task.generated], max_length)
        pairs = zip(given[task.label_column], range(len(inputs["input_ids"])), strict=True)
        return {**inputs, "labels": [_first_pieces(inputs.word_ids(at), tags) for tags, at in pairs]}

    return student.mapped(rows, batch)


def finish(folder: Path, config: StudentConfig) -> None:
    """Multiply a saved student's odds of `O` by `outside`, in its head's bias, where pipelines find it as well.

    What a generated text names without having been asked for is tagged `O`, so students give entities too little: a
    shift of prior probabilities, and the adjustment of logits that belongs to it (section 4 of
    https://huggingface.co/papers/2007.07314).
    """
    if config.outside == 1:
        return
    model = AutoModelForTokenClassification.from_pretrained(folder)
    heads = [part for part in model.modules() if isinstance(part, Linear) and part.out_features == model.num_labels]
    with torch.no_grad():
        heads[-1].bias[0] += log(config.outside)
    model.save_pretrained(folder)


def collator(tokenizer: Any) -> Any:
    """Return what pads tokens and labels."""
    return DataCollatorForTokenClassification(tokenizer)


def compute_metrics(prediction: Any) -> dict[str, float]:
    """Return F1 over the classes of tokens that have an entity's tag or are given one; entities need label names."""
    said, real = np.argmax(prediction.predictions, -1), prediction.label_ids
    counted = real != IGNORED
    hit = int(((said == real) & (real > 0) & counted).sum())
    total = int(((said > 0) & counted).sum() + ((real > 0) & counted).sum())
    return {metric: 2 * hit / total if total else 0.0}


@torch.inference_mode()
def predict(
    folder: str | Path, rows: Dataset, task: Task, max_length: int = 128, batch_size: int = 128
) -> list[list[str]]:
    """Return the tags of each row's tokens; those behind a text's cut are `O`, and it is said how many these are."""
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    model = AutoModelForTokenClassification.from_pretrained(folder).to(device).eval()
    tokenizer, names = AutoTokenizer.from_pretrained(folder), model.config.id2label
    check_names(task, tag_names(task.labels), names)
    tokens = rows[task.generated][:]
    found, cut = [[OUTSIDE] * len(row) for row in tokens], 0
    order = sorted(range(len(tokens)), key=lambda at: len(tokens[at]))  # like lengths together: less padding
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        inputs = _pieces(tokenizer, [tokens[at] for at in places], max_length, padding=True, return_tensors="pt")
        said = model(**inputs.to(device)).logits.argmax(-1).tolist()
        for row, place in enumerate(places):
            firsts = _firsts(inputs.word_ids(row))
            for piece, word in firsts:
                found[place][word] = names[said[row][piece]]
            cut += len(tokens[place]) - max((word + 1 for _, word in firsts), default=0)
    if cut:
        told = f"{cut} of {sum(map(len, tokens))} tokens stand behind `max_length: {max_length}`, and count as `O`"
        console.print(told)
    return found


def score(task: Task, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return entity F1 with its interval, precision, recall and F1 of each label, from tags."""
    found = Entities().compute(predictions=predictions, references=references)
    assert found is not None
    return found


def _pieces(tokenizer: Any, tokens: Sequence[Sequence[str]], max_length: int, **how: Any) -> Any:
    return tokenizer(list(tokens), is_split_into_words=True, truncation=True, max_length=max_length, **how)


def _firsts(words: Sequence[int | None]) -> list[tuple[int, int]]:
    """Return the place of each token's first piece, and the token."""
    return [(at, word) for at, word in enumerate(words) if word is not None and (at == 0 or words[at - 1] != word)]


def _first_pieces(words: Sequence[int | None], tags: Sequence[int]) -> list[int]:
    labels = [IGNORED] * len(words)
    for piece, word in _firsts(words):
        labels[piece] = tags[word]
    return labels
