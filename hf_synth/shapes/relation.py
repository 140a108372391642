"""A text about two entities, marks in their place, and whether it says that they are related.

Sources: Tang et al., "Does Synthetic Data Generation of LLMs Help Clinical Text Mining?"
(https://huggingface.co/papers/2303.04360), and GAD as BioBERT has it (`@GENE$`, `@DISEASE$`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from ..errors import InputError
from ..parse import labelled
from ..prompts import begun
from ..records import Completion, Example, Prompt
from ..task import Task
from .label import category, counted, features, flaw, means, shown, stored

__all__ = ["category", "check", "counted", "features", "flaw", "means", "parser", "prompts", "shown", "stored"]


def check(task: Task) -> None:
    """Refuse a task without two marks or more, or without values for one.

    Raises:
        InputError: Naming what lacks.
    """
    if len(task.marks) < 2:
        raise InputError(f"a relation task needs two `marks`, attribute -> mark; got {dict(task.marks)!r}")
    for name in task.marks:
        for label in task.labels:
            if not _values(task, name, label):
                raise InputError(f"`marks`: {name!r} needs values for {label!r} under `attributes.{name}`")


def prompts(
    task: Task, cell: str, openings: Iterable[str], rng: random.Random, *, steer: bool | None = None
) -> Iterator[Prompt]:
    """Yield prompts that name a value for each mark; see `Shape.prompts`."""
    words, starts = task.words.get(cell, ()), task.begins(cell)
    for opening in openings:
        chosen: dict[str, str] = {}
        for name in task.marks:
            values = _values(task, name, cell)
            others = [value for value in values if value.casefold() not in map(str.casefold, chosen.values())]
            chosen[name] = rng.choice(others or values)
        word = rng.choice(words) if words else ""
        start = rng.choice(starts).format(**chosen) if starts else ""
        text = task.template(cell).format(label=task.labels[cell], opening=opening, word=word, **chosen)
        drawn = {name: value for name, value in (("opening", opening), ("start word", start)) if value}
        yield Prompt(begun(text, start), cell=cell, attributes={**drawn, **chosen})


def parser(task: Task) -> Callable[[Prompt, Completion], Example | str]:
    """Return a parser that puts marks in place of the values.

    Reasons: those of `labelled`, `mark there` (before any was put), `no <attribute>` (the text lacks a value),
    `<attribute> twice`.
    """
    read, marks = labelled(task), [mark.casefold() for mark in task.marks.values()]

    def parse(prompt: Prompt, completion: Completion) -> Example | str:
        found = read(prompt, completion)
        if isinstance(found, str):
            return found
        text = found.fields[task.generated]
        if any(mark in text.casefold() for mark in marks):
            return "mark there"
        spans: list[tuple[int, int, str]] = []
        # The longest first: a value can be a part of another one.
        for name in sorted(task.marks, key=lambda name: -len(prompt.attributes[name])):
            value = rf"(?<!\w){re.escape(prompt.attributes[name])}(?!\w)"
            there = [match.span() for match in re.finditer(value, text, re.IGNORECASE)]
            own = [(a, b) for a, b in there if not any(a < end and b > start for start, end, _ in spans)]
            if len(own) != 1:
                return f"{name} twice" if own else f"no {name}"
            spans.append((*own[0], task.marks[name]))
        for start, end, mark in sorted(spans, reverse=True):
            text = text[:start] + mark + text[end:]
        return replace(found, fields={task.generated: text})

    return parse


def _values(task: Task, name: str, label: str) -> tuple[str, ...]:
    values = task.attributes.get(name, ())
    return values if isinstance(values, tuple) else values.get(label, ())
