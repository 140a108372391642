"""The student: loading an untrained one, giving it rows, and labelling texts with a trained one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import Linear
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from .errors import InputError
from .models import Source, resolve
from .settings import StudentConfig
from .students import BiLSTMConfig, BiLSTMForSequenceClassification, build_tokenizer  # which Auto classes then know

if TYPE_CHECKING:
    from datasets import Dataset


KEPT = ("index", "weight", "synthetic")  # columns that stay beside tokenised rows


def load_student(
    config: StudentConfig, names: Sequence[str], texts: Sequence[str], pairs: bool = False
) -> tuple[Any, Any, dict[str, Any]]:
    """Return model, tokenizer and provenance facts of an untrained student whose labels are `names`.

    Args:
        config: Names the student; `bilstm` builds the papers' BiLSTM with a vocabulary of `texts`.
        names: Label names, in order.
        texts: The training texts.
        pairs: Each row has two texts; the BiLSTM is then the papers' variant of two streams.

    Raises:
        InputError: If the student exists nowhere.
    """
    labels: dict[str, Any] = {
        "id2label": dict(enumerate(names)),
        "label2id": {name: at for at, name in enumerate(names)},
    }
    if config.student == "bilstm":
        tokenizer: Any = build_tokenizer(texts)
        sizes = BiLSTMConfig.for_pairs if pairs else BiLSTMConfig
        model = BiLSTMForSequenceClassification(sizes(vocab_size=len(tokenizer), **labels))
        return model, tokenizer, {"name": "bilstm", "origin": "built"}
    source: Source = resolve(config.student)
    tokenizer = AutoTokenizer.from_pretrained(source.path)
    model = AutoModelForSequenceClassification.from_pretrained(
        source.path, num_labels=len(names), ignore_mismatched_sizes=True, dtype=torch.float32, **labels
    )
    in_order(model, source.path, names)
    model.config.problem_type = None  # how labels were read that it may have had before
    if hasattr(model.config, "threshold"):
        del model.config.threshold
    return model, tokenizer, source.facts()


def in_order(model: Any, path: str, names: Sequence[str]) -> None:
    """Put the classes of a model's head into the order of `names`, where it has learnt these in another one.

    Args:
        model: A classifier of texts or tokens.
        path: The folder that it comes from.
        names: Its classes from now on.
    """
    before = list(AutoConfig.from_pretrained(path).id2label.values())
    if before == list(names) or sorted(before) != sorted(names):
        return
    heads = [part for part in model.modules() if isinstance(part, Linear) and part.out_features == len(names)]
    places = [before.index(name) for name in names]
    with torch.no_grad():
        for value in (value for head in heads[-1:] for value in head.parameters()):
            value.copy_(value[places])


def labels_of(model: str) -> list[str]:
    """Return the label names of a trained classifier, a folder or Hub id."""
    return list(AutoConfig.from_pretrained(resolve(model).path).id2label.values())


def check_student(config: StudentConfig) -> None:
    """Refuse a student that cannot work, before anything is generated for it.

    Raises:
        InputError: For a student that exists nowhere, has no padding token, or reads fewer tokens than are wanted.
    """
    if config.student == "bilstm":
        return
    source = resolve(config.student)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.path)
        AutoConfig.from_pretrained(source.path)
    except (OSError, ValueError) as error:
        raise InputError(f"`student`: {config.student!r} cannot be loaded: {' '.join(str(error).split())}") from None
    if tokenizer.pad_token is None:
        raise InputError(
            f"`student`: the tokenizer of {config.student!r} has no padding token; take an encoder such as BERT"
        )
    if config.max_length > tokenizer.model_max_length:  # the first text so long, maybe a real one, would be an error
        most = tokenizer.model_max_length
        raise InputError(f"`max_length: {config.max_length}`: {config.student!r} reads {most} tokens at most")


def encode(data: Dataset, tokenizer: Any, columns: Sequence[str], label: str, max_length: int) -> Dataset:
    """Tokenise text columns (two are joined as the tokenizer joins pairs); labels become `labels`."""

    def batch(rows: Mapping[str, list[Any]]) -> dict[str, Any]:
        texts = [rows[column] for column in columns]
        return {**tokenizer(*texts, truncation=True, max_length=max_length), "labels": rows[label]}

    return mapped(data, batch)


def mapped(data: Dataset, batch: Callable[[Mapping[str, list[Any]]], dict[str, Any]]) -> Dataset:
    """Tokenise rows by a function of batches; `index`, `weight` and `synthetic` stay beside what it returns."""
    kept = [name for name in KEPT if name in data.column_names]
    drop = [name for name in data.column_names if name not in kept]
    return data.map(batch, batched=True, remove_columns=drop, load_from_cache_file=False, desc="tokenise")


@torch.inference_mode()
def run(model: Any, tokenizer: Any, texts: Sequence[Sequence[str]], max_length: int) -> list[Any]:
    """Return the likeliest class of each text, or of each of its tokens, from texts in columns."""
    inputs = tokenizer(*texts, truncation=True, max_length=max_length, padding=True, return_tensors="pt")
    return model(**inputs)[0].argmax(-1).tolist()


class Predictor:
    """A saved student that labels texts.

    Args:
        folder: The model's folder.
        max_length: Tokens a text is cut to.
        batch_size: Texts at once.
    """

    def __init__(self, folder: str | Path, max_length: int = 128, batch_size: int = 128):
        self.device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
        self.model = AutoModelForSequenceClassification.from_pretrained(folder).to(self.device).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.max_length, self.batch_size = max_length, batch_size

    @torch.inference_mode()
    def logits(self, texts: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """Return the logits of texts, [N, K], given one sequence of texts per column, all of one length."""
        rows = list(zip(*texts, strict=True))
        order = sorted(range(len(rows)), key=lambda at: sum(map(len, rows[at])))  # like lengths: less padding
        found = np.zeros((len(rows), self.model.config.num_labels), np.float32)
        cut: dict[str, Any] = {"truncation": True, "max_length": self.max_length, "padding": True}
        for start in range(0, len(order), self.batch_size):
            places = order[start : start + self.batch_size]
            columns = [list(column) for column in zip(*(rows[at] for at in places), strict=True)]
            inputs = self.tokenizer(*columns, return_tensors="pt", **cut).to(self.device)
            found[places] = self.model(**inputs).logits.float().cpu().numpy()
        return found


def predict(
    folder: str | Path, texts: Sequence[Sequence[str]], max_length: int = 128, batch_size: int = 128
) -> list[str]:
    """Return the label names that a saved student gives texts; see `Predictor`."""
    found = Predictor(folder, max_length, batch_size)
    return [found.model.config.id2label[at] for at in found.logits(texts).argmax(-1).tolist()]
