"""Requests with their parse: nested intents and slots in TOP's brackets (https://huggingface.co/papers/1810.07942)."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..parse import labelled
from ..records import Completion, Example, Prompt
from ..slots import drawn, listed, said, unasked
from ..task import Task
from ..trees import compose, parse, tokenised, value_tree

if TYPE_CHECKING:
    from datasets import Features

category = "text-generation"
means = (
    "The intent is the one that was asked for, and slots stand where the words asked for, or others that the task "
    "lists, were found; the text need not agree, and may have slots of words that the task does not know."
)


def check(task: Task) -> None:
    """Refuse values of slots that are no words and no brackets, and slots whose values do not depend on the intent.

    Raises:
        InputError: Naming the slot.
    """
    for slot, by_intent in task.attributes.items():
        if not isinstance(by_intent, Mapping):
            raise InputError(f"`attributes.{slot}` must give each intent that takes the slot its values")
        for intent, values in by_intent.items():
            for value in values:
                if isinstance(reason := value_tree(slot, value), str):
                    raise InputError(f"`attributes.{slot}`, {intent}: {reason} in {value!r}")


def features(task: Task) -> Features:
    """Return the utterance and its parse."""
    from datasets import Features, Value

    return Features({**{column: Value("string") for column in task.columns}, task.label_column: Value("string")})


def stored(task: Task, example: Example) -> dict[str, Any]:
    """Return the utterance, its tokens one space apart, and its parse."""
    return {**example.fields, task.label_column: example.target}


def counted(task: Task, row: Mapping[str, Any]) -> list[str]:
    """Return the intent at the root."""
    return [row[task.label_column].split(" ", 1)[0].removeprefix("[")]


def flaw(task: Task, row: Mapping[str, Any]) -> str:
    """Tell why a parse is none."""
    tree = parse(row[task.label_column])
    return f"no parse ({tree}): {row[task.label_column]!r}" if isinstance(tree, str) else ""


def shown(task: Task, row: Mapping[str, Any]) -> dict[str, str]:
    """Return the parse, which holds the utterance's words."""
    return {task.label_column: row[task.label_column]}


def prompts(
    task: Task, cell: str, openings: Iterable[str], rng: random.Random, *, steer: bool | None = None
) -> Iterator[Prompt]:
    """Yield prompts that name values of some slots of an intent; see `Shape.prompts`."""
    for opening in openings:
        slots = drawn(_values(task), cell, rng, task.mentions)
        values = {"label": task.labels[cell], "mentions": listed(slots), "opening": opening}
        attributes = {"slots": json.dumps(slots, ensure_ascii=False), **({"opening": opening} if opening else {})}
        yield Prompt(task.template(cell).format(**values), cell=cell, attributes=attributes)


def parser(task: Task) -> Callable[[Prompt, Completion], Example | str]:
    """Return a parser that finds the values asked for in the text, and known ones of other slots beside them.

    Reasons: those of `labelled` and of `trees.compose`, `slot unasked` (see `slots.unasked`).
    """
    read, values = labelled(task, encode=str), _values(task)

    def composed(prompt: Prompt, completion: Completion) -> Example | str:
        found = read(prompt, completion)
        if isinstance(found, str):
            return found
        text = " ".join(tokenised(found.fields[task.generated]))
        asked = json.loads(prompt.attributes["slots"])
        tree = compose(found.target, text, said(found.target, text, asked, values))
        if isinstance(tree, str):
            return tree
        if unasked(tree, values):
            return "slot unasked"
        return Example({task.generated: text}, str(tree), found.target, prompt, completion.logprob)

    return composed


def _values(task: Task) -> dict[str, Mapping[str, Any]]:
    return {slot: by_intent for slot, by_intent in task.attributes.items() if isinstance(by_intent, Mapping)}
