"""Attributes of texts: the values that each label can have, configurations drawn from them, the prompts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Literal

from pydantic import Field

from .config import strict
from .errors import InputError, unknown
from .task import Task

Values = Mapping[str, tuple[str, ...] | Mapping[str, tuple[str, ...]]]

NOT_ABOUT, INSTRUCTION = "not_about", "instruction"  # stand among a prompt's attributes, and are none
TRIES = 30


@strict
class AttributesConfig:
    """Where attributes come from and how they are drawn.

    Attributes:
        attributes: The task's own (`given`), asked of the generator (`elicited`), or the task's where it has some
            (`auto`).
        dimensions: Attribute to elicit -> `class-dependent` or `class-independent`; asked too where left out.
        values_per_attribute: Elicited values of an attribute (and class) at most.
        similar_classes: Classes like its own that a text must keep clear of, chosen by the generator where the task
            has more others than that; 0 for none.
        class_filter: Drop elicited values that are relevant to a similar class (CAF).
        fixed_attribute: Hold this attribute, or `all`, at one value.
        configurations: `balanced` over the values of each attribute, or `uniform` independent draws.
    """

    attributes: Literal["given", "elicited", "auto"] = "auto"
    dimensions: dict[str, Literal["class-dependent", "class-independent"]] = Field(default_factory=dict)
    values_per_attribute: int = Field(10, ge=1)
    similar_classes: int = Field(5, ge=0)
    class_filter: bool = True
    fixed_attribute: str | None = None
    configurations: Literal["balanced", "uniform"] = "balanced"

    def elicits(self, task: Task) -> bool:
        """Whether the generator is asked for attributes."""
        return self.attributes == "elicited" or (self.attributes == "auto" and not task.attributes)


def check_attributes(task: Task, config: AttributesConfig) -> None:
    """Refuse attributes that are not there, that leave a label without a value, or that nobody would ask for.

    Raises:
        InputError: If task and settings do not go together.
    """
    for name in (*task.attributes, *config.dimensions):
        if name in (NOT_ABOUT, INSTRUCTION):
            raise InputError(f"an attribute cannot be called {name!r}, which means something else in prompts")
    known = config.dimensions if config.elicits(task) else task.attributes
    if not known and config.attributes == "given":
        raise InputError(f"`attributes: given` needs a task with `attributes`; {task.name!r} has none")
    for name in () if config.elicits(task) else ("dimensions", "values_per_attribute", "class_filter"):
        if getattr(config, name) != getattr(AttributesConfig(), name):
            raise InputError(
                f"`{name}` is for elicited attributes; set `attributes: elicited` ({task.name!r} has some)"
            )
    if config.fixed_attribute and known and config.fixed_attribute not in (*known, "all"):
        raise unknown("`fixed_attribute`", config.fixed_attribute, (*known, "all"))
    for name, given in task.attributes.items():
        for label in task.labels:
            own = given.get(label, ()) if isinstance(given, Mapping) else given
            if not own or len(set(own)) < len(own) or not all(value.strip() for value in own):
                raise InputError(
                    f"`attributes.{name}` needs a value or more for each of {list(task.labels)!r}, none of them empty "
                    f"or there twice; of {label!r} it has {list(own)!r}"
                )


def of_label(values: Values, label: str) -> dict[str, tuple[str, ...]]:
    """Return attribute -> the values that texts of a label can have; what has none for this label is left out."""
    own = {name: given.get(label, ()) if isinstance(given, Mapping) else given for name, given in values.items()}
    return {name: given for name, given in own.items() if given}


def hold(values: Values, name: str, rng: random.Random) -> Values:
    """Return values of which the attribute `name`, or each if it is `all`, has one (for each label, if it has those).

    Raises:
        InputError: If there is no such attribute.
    """
    if name not in (*values, "all"):
        raise unknown("`fixed_attribute`", name, (*values, "all"))
    held = dict(values)
    for one in values if name == "all" else (name,):
        given = values[one]
        if isinstance(given, Mapping):
            held[one] = {label: (rng.choice(own),) for label, own in given.items()}
        else:
            held[one] = (rng.choice(given),)
    return held


def configurations(
    own: Mapping[str, Sequence[str]], rng: random.Random, *, balanced: bool = True
) -> Iterator[dict[str, str]]:
    """Yield configurations, one value of each attribute, without end.

    Args:
        own: Attribute -> values of one label.
        rng: Draws them.
        balanced: Go through the values of each attribute in shuffled passes: at every moment two values of an
            attribute were used equally often or one time apart, and a configuration does not come back while the
            passes leave another. Otherwise each value is drawn on its own, as the paper does.
    """
    drawn = _in_passes(list(own.values()), rng) if balanced else _alone(list(own.values()), rng)
    for values in drawn:
        yield dict(zip(own, values, strict=True))


def _alone(lists: Sequence[Sequence[str]], rng: random.Random) -> Iterator[tuple[str, ...]]:
    while True:
        yield tuple(rng.choice(values) for values in lists)


def _in_passes(lists: Sequence[Sequence[str]], rng: random.Random) -> Iterator[tuple[str, ...]]:
    passes: list[list[str]] = [[] for _ in lists]
    used: set[tuple[str, ...]] = set()
    while True:
        if len(used) == prod(map(len, lists)):
            used.clear()
        for left, values in zip(passes, lists, strict=True):
            left += rng.sample(values, len(values)) if not left else []
        for _ in range(TRIES):
            chosen = tuple(left[-1] for left in passes)
            if chosen not in used:
                break
            for left in passes:
                rng.shuffle(left)
        used.add(chosen)
        for left in passes:
            left.pop()
        yield chosen


def lead(task: Task, label: str) -> tuple[str, str]:
    """Return what stands before the last line of a label's scoring prompt, and that line, which opens the text.

    Of verbalizers there are none in it: a word of the label's would be an attribute.
    """
    words = task.labels[label]
    text = task.template(label, scoring=True).format(label=words, word=words, opening="")
    before, _, line = text.rpartition("\n")
    return before, line


def attributed_prompt(task: Task, label: str, attributes: Mapping[str, str]) -> str:
    """Return the prompt for a text of a label under an instruction, a configuration, both or neither.

    Args:
        task: Names the label.
        label: A label name.
        attributes: Attribute -> value; `instruction` stands before all others, `not_about` names classes that the
            text must keep clear of. The attributes of a row give its prompt again.
    """
    before, line = lead(task, label)
    words, others = task.labels[label], attributes.get(NOT_ABOUT)
    # Two labels are mostly sides, such as liked and disliked; no text is "about" one, but its last line names it.
    side = line.strip(' :"')
    plain = f"Write one text about {words}." if len(task.labels) > 2 else f"Write one text. {side}."
    request = attributes.get(INSTRUCTION) or before or plain
    points = [
        f"{name.replace('_', ' ').capitalize()}: {value}"
        for name, value in attributes.items()
        if name not in (NOT_ABOUT, INSTRUCTION)
    ]
    points += [f"About {words}, not about {others}"] if others else []
    if points:
        numbered = "\n".join(f"{place}. {point}" for place, point in enumerate(points, 1))
        request += f" It must meet these points:\n{numbered}"
    return f"{request}\n{line}"
