"""A set of labels a text; its cell is the label by which it was asked for."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..parse import labelled
from ..prompts import enumerated
from ..records import BETWEEN, Completion, Example, Prompt, label_set
from ..task import NONE, Task

if TYPE_CHECKING:
    from datasets import Features

category = "text-classification"
means = "A row's labels are those that the model was asked for; the text may lack some of them and have others."


def check(task: Task) -> None:
    """Refuse more labels a text than there are.

    Raises:
        InputError: If `mentions` asks for them.
    """
    least, most = task.mentions
    if not 1 <= least <= most <= len(task.labels):
        raise InputError(f"`mentions` must lie between 1 and {len(task.labels)}, least first; got {[least, most]}")


def features(task: Task) -> Features:
    """Return the text column and a list of `ClassLabel`."""
    from datasets import ClassLabel, Features, List, Value

    text = {column: Value("string") for column in task.columns}
    return Features({**text, task.label_column: List(ClassLabel(names=list(task.labels)))})


def encode(task: Task, target: Iterable[str]) -> tuple[str, ...]:
    """Return a set of label names in the task's order, each once.

    Raises:
        InputError: For a name that is no label.
    """
    names = {task.encode(name) for name in target}
    return tuple(name for name in task.labels if name in names)


def stored(task: Task, example: Example) -> dict[str, Any]:
    """Return the text and the labels' names."""
    return {**example.fields, task.label_column: list(example.target)}


def counted(task: Task, row: Mapping[str, Any]) -> list[str]:
    """Return each label of the row; of a row without any, `none`."""
    return row[task.label_column] or [NONE]


def flaw(task: Task, row: Mapping[str, Any]) -> str:
    """Tell of a label that is none."""
    return "a label is null" if None in row[task.label_column] else ""


def shown(task: Task, row: Mapping[str, Any]) -> dict[str, str]:
    """Return the text and all its labels."""
    return {**{column: row[column] for column in task.columns}, "labels": ", ".join(row[task.label_column]) or NONE}


def prompts(
    task: Task, cell: str, openings: Iterable[str], rng: random.Random, *, steer: bool | None = None
) -> Iterator[Prompt]:
    """Yield prompts that ask for the cell's label together with others; see `Shape.prompts`."""
    sets = [names for names in task.together if cell in names] or [tuple(task.labels)]
    for opening in openings:
        given = {"opening": opening} if opening else {}
        if cell == NONE:
            yield Prompt(str(task.empty).format(opening=opening), cell=NONE, attributes={**given, "labels": ""})
            continue
        others = [name for name in rng.choice(sets) if name != cell]
        drawn = rng.sample(others, min(rng.randint(*task.mentions) - 1, len(others)))
        chosen = rng.sample([cell, *drawn], 1 + len(drawn))
        words = {name: rng.choice(task.words.get(name) or (task.labels[name],)) for name in chosen}
        text = task.template(cell).format(
            label=words[cell], word=words[cell], opening=opening, mentions=enumerated(list(words.values()))
        )
        yield Prompt(text, cell=cell, attributes={**given, "labels": BETWEEN.join(chosen)})


def parser(task: Task) -> Callable[[Prompt, Completion], Example | str]:
    """Return a parser of texts whose labels are those that were asked for; reasons are those of `labelled`."""
    read = labelled(task, encode=lambda name: name)

    def parse(prompt: Prompt, completion: Completion) -> Example | str:
        found = read(prompt, completion)
        if isinstance(found, str):
            return found
        return Example(found.fields, encode(task, label_set(prompt)), prompt.cell, prompt, found.logprob)

    return parse
