"""Students that give a text any number of labels, each a choice of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.nn import Linear, init

from .. import student
from ..metrics.multi_label import MultiLabel, best_threshold, micro_f1
from ..settings import StudentConfig
from ..task import Task
from . import check_names
from .label import auto, check, collator, columns, finish, run

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = [
    "auto",
    "check",
    "collator",
    "columns",
    "compute_metrics",
    "encode",
    "finish",
    "load",
    "predict",
    "run",
    "score",
    "settle",
]
metric = "micro_f1"
beside: tuple[str, ...] = ("macro_f1", "exact_match")


def load(
    config: StudentConfig, task: Task, names: Sequence[str], texts: Sequence[str]
) -> tuple[Any, Any, dict[str, Any]]:
    """Return a sequence classifier whose classes exclude each other not; see `Learner.load`.

    Of a new one, logits begin at a label's log-odds (the prior of https://huggingface.co/papers/1708.02002, section
    4.1). From 0, all of the many rare labels pull the encoder to one constant, from which MiniLM does not come back.
    """
    model, tokenizer, facts = student.load_student(config, names, texts)
    model.config.problem_type = "multi_label_classification"
    share = sum(task.mentions) / 2 / len(names)
    heads = [part for part in model.modules() if isinstance(part, Linear) and part.out_features == len(names)]
    # What was trained before keeps its own; every architecture's new head has only zeros.
    if heads and heads[-1].bias is not None and not heads[-1].bias.any() and share < 1:
        init.constant_(heads[-1].bias, log(share / (1 - share)))
    return model, tokenizer, facts


def encode(rows: Dataset, tokenizer: Any, task: Task, max_length: int) -> Dataset:
    """Return tokenised rows; labels are 0 or 1 for each class, [K]."""
    count = len(task.labels)

    def batch(given: Mapping[str, list[Any]]) -> dict[str, Any]:
        inputs = tokenizer(*(given[column] for column in task.columns), truncation=True, max_length=max_length)
        return {**inputs, "labels": [_targets(own, count) for own in given[task.label_column]]}

    return student.mapped(rows, batch)


def compute_metrics(prediction: Any) -> dict[str, float]:
    """Return F1 over all choices at the threshold that makes it highest."""
    real = prediction.label_ids > 0.5
    return {metric: micro_f1(prediction.predictions > best_threshold(prediction.predictions, real), real)}


def settle(model: Any, predictions: Any, labels: Any) -> dict[str, Any]:
    """Note the threshold of highest F1 on validation rows: where labels are rare or noisy, few reach one half."""
    model.config.threshold = best_threshold(predictions, labels > 0.5)
    return {"threshold": model.config.threshold}


def predict(
    folder: str | Path, rows: Dataset, task: Task, max_length: int = 128, batch_size: int = 128
) -> list[list[str]]:
    """Return the names of the labels whose logits lie above the model's threshold."""
    found = student.Predictor(folder, max_length, batch_size)
    names = found.model.config.id2label
    check_names(task, list(task.labels), names)
    logits = found.logits([rows[column] for column in task.columns])
    threshold = getattr(found.model.config, "threshold", 0.0)
    return [[names[at] for at in np.flatnonzero(row > threshold)] for row in logits]


def score(task: Task, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return micro F1 with its interval, macro F1 and exact matches, from label names."""
    found = MultiLabel().compute(predictions=predictions, references=references, labels=list(task.labels))
    assert found is not None
    return found


def _targets(chosen: Sequence[int], count: int) -> list[float]:
    targets = [0.0] * count
    for at in chosen:
        targets[at] = 1.0
    return targets
