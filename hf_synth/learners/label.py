"""Students that give a text, or a pair of texts, one label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import AutoConfig, AutoModelForSequenceClassification, DataCollatorWithPadding

from .. import student
from ..metrics.classification import Classification
from ..settings import StudentConfig
from ..task import Task
from . import Finish, Settle, check_names

if TYPE_CHECKING:
    from datasets import Dataset

metric = "accuracy"
beside: tuple[str, ...] = ("macro_f1",)
auto = AutoModelForSequenceClassification
finish: Finish = None
settle: Settle = None
collator, run, check = DataCollatorWithPadding, student.run, student.check_student


def load(
    config: StudentConfig, task: Task, names: Sequence[str], texts: Sequence[str]
) -> tuple[Any, Any, dict[str, Any]]:
    """Return a sequence classifier; see `Learner.load`."""
    return student.load_student(config, names, texts, len(task.columns) == 2)


def columns(rows: Dataset, task: Task) -> list[Sequence[str]]:
    """Return the text columns."""
    return [rows[column][:] for column in task.columns]


def encode(rows: Dataset, tokenizer: Any, task: Task, max_length: int) -> Dataset:
    """Return tokenised rows; labels are class ids."""
    return student.encode(rows, tokenizer, task.columns, task.label_column, max_length)


def compute_metrics(prediction: Any) -> dict[str, float]:
    """Return the accuracy."""
    return {metric: float((np.argmax(prediction.predictions, -1) == prediction.label_ids).mean())}


def predict(folder: str | Path, rows: Dataset, task: Task, max_length: int = 128, batch_size: int = 128) -> list[str]:
    """Return label names."""
    check_names(task, list(task.labels), AutoConfig.from_pretrained(folder).id2label)
    return student.predict(folder, [rows[column] for column in task.columns], max_length, batch_size)


def score(task: Task, predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """Return accuracy with its interval, macro F1 and recall of each label, from label names."""
    ids = {name: at for at, name in enumerate(task.labels)}
    found = Classification().compute(
        predictions=[ids[name] for name in predictions],
        references=[ids[name] for name in references],
        labels=list(task.labels),
    )
    assert found is not None
    return found
