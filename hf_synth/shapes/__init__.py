"""Kinds of task, one file each: what is asked, how an answer is read, what is stored, what is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from ..annotations import schema_of
from ..records import Completion, Example, Prompt
from ..task import Task

if TYPE_CHECKING:
    import random

    from datasets import Features

FILES = {
    "single": "label",
    "pair": "label",
    "relation": "relation",
    "multi_label": "label_set",
    "tokens": "entities",
    "qa": "question",
    "parse": "request",
}


class Shape(Protocol):
    """What the module of a kind gives.

    A row is stored with names in place of class ids; `features` tells which are.
    """

    category: str  # the Hub's task category
    means: str  # how far labels can be trusted, one sentence for the card

    def check(self, task: Task) -> None:
        """Refuse a task that lacks what its kind needs."""

    def features(self, task: Task) -> Features:
        """Return the columns of a row besides provenance."""

    def stored(self, task: Task, example: Example) -> dict[str, Any]:
        """Return an example's columns, labels by name."""

    def counted(self, task: Task, row: Mapping[str, Any]) -> list[str]:
        """Return the names under which the card counts a stored row, one or more; it has its `attributes` with it."""

    def flaw(self, task: Task, row: Mapping[str, Any]) -> str:
        """Return what makes a real row useless whose texts and label are there; "" for most."""

    def shown(self, task: Task, row: Mapping[str, Any]) -> dict[str, str]:
        """Return what the card shows of a stored row."""

    def prompts(
        self, task: Task, cell: str, openings: Iterable[str], rng: random.Random, *, steer: bool | None = None
    ) -> Iterator[Prompt]:
        """Yield one prompt per opening that asks for a text of a cell."""

    def parser(self, task: Task) -> Callable[[Prompt, Completion], Example | str]:
        """Return what makes an example of a completion, or names the reason why not."""


def limits(task: Task) -> dict[str, Any]:
    """Return the decoding settings of where a text ends; of one in JSON also the schema that it is to fit."""
    ends = {"max_new_tokens": task.max_new_tokens, "stop": task.stop}
    return {**ends, "schema": schema_of(task.labels)} if (task.kind, task.annotate) == ("tokens", "json") else ends


def shape(task: Task) -> Shape:
    """Return the kind of a task."""
    return cast(Shape, import_module(f".{FILES[task.kind]}", __name__))
