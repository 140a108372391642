"""How a student of extractive question answering is loaded, fed and judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from .. import student, students
from ..errors import InputError, reason_of
from ..models import resolve
from ..settings import StudentConfig
from ..trainers.spans import LONGEST, span_scores, with_span_logits
from . import Finish, Settle
from .windows import answer_of, tokens_of, windows

if TYPE_CHECKING:
    from ..task import Task

metric = "f1"
beside: tuple[str, ...] = ("exact_match",)
auto: Any = AutoModelForQuestionAnswering
run = student.run
finish: Finish = None
settle: Settle = None
N_BEST = 20


class Answer(NamedTuple):
    """An answer that a student found.

    Attributes:
        text: As it stands in the context.
        start: Where it stands there, in characters.
        probability: The softmax over the scores of the row's best answers.
    """

    text: str
    start: int
    probability: float


def columns(rows: Dataset, task: Task) -> list[Sequence[str]]:
    """Return questions and contexts, in the order in which a student reads them."""
    return [rows[column][:] for column in reversed(task.columns)]


def check(config: StudentConfig) -> None:
    """Refuse settings and students that have no place where answers are spans.

    Raises:
        InputError: Naming the setting.
    """
    if config.label_smoothing:
        raise InputError(f"`label_smoothing` needs classes, which answers do not have; got {config.label_smoothing}")
    if config.trainer == "ensemble":
        raise InputError("`trainer: ensemble` averages what is said of classes, which answers do not have")
    if config.student == "bilstm":
        raise InputError("`student: bilstm` classifies texts; for questions take `bidaf`, a Hub id or a folder")
    if config.student != "bidaf":
        student.check_student(config)


def load(
    config: StudentConfig, task: Task, names: Sequence[str], texts: Sequence[str]
) -> tuple[Any, Any, dict[str, Any]]:
    """Return model, tokenizer and provenance facts of an untrained student that trainers can train.

    Args:
        config: Names the student; `bidaf` builds ZeroGen's reader with a vocabulary of `texts`.
        task: Not needed: every answer stands in its context.
        names: None: answers are no classes.
        texts: The training texts, contexts and questions.

    Raises:
        InputError: If the student exists nowhere or cannot answer questions.
    """
    check(config)
    if config.student == "bidaf":
        tokenizer: Any = students.build_reader_tokenizer(texts)
        model: Any = students.BiDAFForQuestionAnswering.for_tokenizer(tokenizer)
        return with_span_logits(model), tokenizer, {"name": "bidaf", "origin": "built"}
    source = resolve(config.student)
    tokenizer = AutoTokenizer.from_pretrained(source.path)
    try:
        model = AutoModelForQuestionAnswering.from_pretrained(
            source.path, num_labels=2, ignore_mismatched_sizes=True, dtype=torch.float32
        )
    except ValueError as error:
        why = reason_of(error)
        raise InputError(f"`student`: {config.student!r} cannot answer questions: {why}") from None
    return with_span_logits(model), tokenizer, source.facts()


def encode(rows: Dataset, tokenizer: Any, task: Task, max_length: int) -> Dataset:
    """Tokenise contexts and questions; `labels` are the first and the last token of each row's first answer.

    A row stays one row: of a context that does not fit, the window is taken that has the answer farthest from its
    edges. Tokens that the answer only touches belong to it.

    Raises:
        InputError: For a row whose answer does not stand where it says, or in no window.
    """
    kept = [name for name in student.KEPT if name in rows.column_names]
    names = [name for name in ("index", "id") if name in rows.column_names]

    def batch(part: Mapping[str, list[Any]], places: list[int]) -> dict[str, list[Any]]:
        contexts, answers = part[task.columns[0]], part[task.label_column]
        spans = []
        for at, (row, context) in enumerate(zip(answers, contexts, strict=True)):
            span = answer_of(row, context)
            if isinstance(span, str):
                raise InputError(f"{_name(part, names, at, places[at])} cannot be learnt from: {span}")
            spans.append(span)
        chosen: list[Any] = [None] * len(contexts)
        for row, inputs, offsets in zip(*windows(part[task.columns[1]], contexts, tokenizer, max_length), strict=True):
            found = tokens_of(spans[row], offsets)
            if found is None:
                continue
            mine = np.flatnonzero(inputs["context_mask"])
            room = min(found[0] - mine[0], mine[-1] - found[1])
            if chosen[row] is None or room > chosen[row][0]:
                chosen[row] = room, {**inputs, "labels": list(found)}
        for at, one in enumerate(chosen):
            if one is None:
                text = answers[at]["text"][0]
                raise InputError(
                    f"{_name(part, names, at, places[at])} cannot be learnt from: no window of {max_length} tokens "
                    f"holds its answer {text!r} whole"
                )
        return {name: [one[1][name] for one in chosen] for name in chosen[0][1]}

    drop = [name for name in rows.column_names if name not in kept]
    return rows.map(
        batch, batched=True, with_indices=True, remove_columns=drop, load_from_cache_file=False, desc="tokenise"
    )


def _name(part: Mapping[str, list[Any]], names: Sequence[str], at: int, place: int) -> str:
    return f"the row of {names[0]} {part[names[0]][at]!r}" if names else f"row {place}"


@dataclass(frozen=True)
class _Collator:
    """Pads on the right, so that the places in `labels` stay true, and `context_mask` with it."""

    tokenizer: Any

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        padded = [{name: value for name, value in row.items() if name != "context_mask"} for row in rows]
        batch = dict(self.tokenizer.pad(padded, padding_side="right", return_tensors="pt"))
        masks = [torch.as_tensor(row["context_mask"]) for row in rows]
        batch["context_mask"] = torch.nn.utils.rnn.pad_sequence(masks, batch_first=True)
        return batch


def collator(tokenizer: Any) -> _Collator:
    """Return what makes batches of encoded rows."""
    return _Collator(tokenizer)


def compute_metrics(prediction: Any) -> dict[str, float]:
    """Return the token F1 of spans and the share that is exactly right, in the window of each row's first answer.

    What `score` says of texts is close to it but not the same: there, long contexts have all their windows searched,
    articles and punctuation do not count, and a row may have several answers.

    Args:
        prediction: First and last tokens, [N, 2], of predictions and `label_ids`; trainers choose the best spans.
    """
    said, true = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
    same = np.minimum(said[:, 1], true[:, 1]) - np.maximum(said[:, 0], true[:, 0]) + 1
    lengths = (said[:, 1] - said[:, 0] + 1) + (true[:, 1] - true[:, 0] + 1)
    return {
        "f1": float((2 * same.clip(min=0) / lengths).mean()),
        "exact_match": float((said == true).all(-1).mean()),
    }


def predict(
    folder: str | Path, rows: Dataset, task: Task, max_length: int = 384, batch_size: int = 32
) -> list[dict[str, list[Any]]]:
    """Answer questions with a saved student; answers come as SQuAD stores them, `text` and `answer_start`.

    Args:
        folder: The model's folder.
        rows: Contexts and questions.
        task: Names their columns.
        max_length: Most tokens of a window.
        batch_size: Windows at once.
    """
    best = (found[0] for found in answers(folder, rows, task, max_length, batch_size))
    return [{"text": [answer.text], "answer_start": [answer.start]} for answer in best]


@torch.inference_mode()
def answers(
    folder: str | Path, rows: Dataset, task: Task, max_length: int = 384, batch_size: int = 32, n_best: int = N_BEST
) -> list[list[Answer]]:
    """Return the best answers to each question over all windows of its context, the best first.

    A span's score is the sum of its start's and its end's logits; all spans of the context of up to 30 tokens are
    compared. (Published post-processing compares those of the 20 best starts and ends.)

    Args:
        folder: The model's folder.
        rows: Contexts and questions.
        task: Names their columns.
        max_length: Most tokens of a window.
        batch_size: Windows at once.
        n_best: Most answers to a question.

    Returns:
        Answers that are empty where a context has no token.
    """
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    model = AutoModelForQuestionAnswering.from_pretrained(folder).to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, collate = with_span_logits(model), collator(tokenizer)
    contexts = rows[task.columns[0]][:]
    owners, inputs, offsets = windows(rows[task.columns[1]][:], contexts, tokenizer, max_length)
    found: list[dict[tuple[int, int], float]] = [{} for _ in contexts]
    order = sorted(range(len(inputs)), key=lambda at: len(inputs[at]["input_ids"]))  # like lengths: less padding
    for first in range(0, len(order), batch_size):
        places = order[first : first + batch_size]
        batch = {name: value.to(device) for name, value in collate([inputs[at] for at in places]).items()}
        logits = model(**batch)["logits"].float()
        scores, spans = span_scores(logits, LONGEST).flatten(1).topk(min(n_best, logits.shape[-1]), -1)
        for at, values, ends in zip(places, scores.tolist(), spans.tolist(), strict=True):
            for score, span in zip(values, ends, strict=True):
                start, end = divmod(span, logits.shape[-1])
                if inputs[at]["context_mask"][start : start + 1] == [1] == inputs[at]["context_mask"][end : end + 1]:
                    key, known = (offsets[at][start][0], offsets[at][end][1]), found[owners[at]]
                    known[key] = max(score, known.get(key, score))
    return [_best(known, context, n_best) for known, context in zip(found, contexts, strict=True)]


def _best(scores: Mapping[tuple[int, int], float], context: str, n_best: int) -> list[Answer]:
    """Return the best spans' texts without white space around them."""
    chosen = sorted(scores.items(), key=lambda one: (-one[1], one[0]))[:n_best]
    if not chosen:
        return [Answer("", 0, 1.0)]
    probabilities = torch.tensor([score for _, score in chosen]).softmax(0).tolist()
    best = []
    for ((start, end), _), probability in zip(chosen, probabilities, strict=True):
        text = context[start:end]
        best.append(Answer(text.strip(), start + len(text) - len(text.lstrip()), probability))
    return best


def score(
    task: Task, predictions: Sequence[Mapping[str, Any]], references: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return rows, `f1` with its interval, and `exact_match`, as SQuAD counts them.

    Args:
        task: Not needed.
        predictions: Answers, of which the first counts.
        references: Answers, of which the best counts.
    """
    from ..metrics.squad import Squad

    found = Squad().compute(
        predictions=[(answer["text"] or [""])[0] for answer in predictions],
        references=[answer["text"] for answer in references],
    )
    assert found is not None
    return found
