"""One label a text, or a pair of texts: the label is the one that the prompt asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..parse import labelled
from ..prompts import label_prompts
from ..records import Example
from ..task import Task

if TYPE_CHECKING:
    from datasets import Features

category = "text-classification"
means = "A label says what the model was asked for; the text need not agree with it."
prompts, parser = label_prompts, labelled


def check(task: Task) -> None:
    """Refuse nothing: `Task` has checked all."""


def features(task: Task) -> Features:
    """Return the text columns and a `ClassLabel`."""
    from datasets import ClassLabel, Features, Value

    text = {column: Value("string") for column in task.columns}
    return Features({**text, task.label_column: ClassLabel(names=list(task.labels))})


def stored(task: Task, example: Example) -> dict[str, Any]:
    """Return the texts and the label's name."""
    return {**example.fields, task.label_column: example.target}


def counted(task: Task, row: Mapping[str, Any]) -> list[str]:
    """Return the label."""
    return [row[task.label_column]]


def flaw(task: Task, row: Mapping[str, Any]) -> str:
    """Find nothing: a text and a label are all there is."""
    return ""


def shown(task: Task, row: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts; the label stands above them."""
    return {column: row[column] for column in task.columns}
