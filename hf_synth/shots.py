"""Few shots: drawing so many real rows of each label, and the prompts that would have asked for them."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .bio import spans_of
from .errors import InputError
from .prompts import enumerated
from .records import BETWEEN, Prompt
from .shapes import shape
from .slots import listed
from .task import Task, slots
from .trees import Tree, parse

if TYPE_CHECKING:
    from datasets import Dataset

NO_MARKS = str.maketrans("<>", "()")


@dataclass(frozen=True)
class Shot:
    """A real row as an example to learn from.

    Attributes:
        prompt: What would have asked for it.
        text: The row's text.
        answer: What a generator should go on with: the text, and the string that ends it.
        chat: Whether the prompt goes into the model's chat template.
    """

    prompt: Prompt
    text: str
    answer: str
    chat: bool = False

    @property
    def label(self) -> str:
        """Return the label that the prompt is counted under."""
        return str(self.prompt.cell)


def choose(task: Task, rows: Dataset, per_class: int, seed: int, name: str) -> list[int]:
    """Return the places of so many rows of each label, in order; the same ones for a seed.

    Rows of several labels count for each: labels are filled from the rarest on, and one that has fewer rows than
    asked for has all of them.

    Args:
        task: Names columns and labels.
        rows: Real rows, labels by name.
        per_class: How many.
        seed: Decides which.
        name: The data set, for messages.

    Raises:
        InputError: For questions, and a label without a row or, where rows have one label, with too few.
    """
    if task.kind == "qa":
        raise InputError(
            f"{per_class} rows of each label are wanted, and {name} does not tell of which kind an answer is: take all"
        )
    names = [set(shape(task).counted(task, row)) for row in rows.select_columns(list(shape(task).features(task)))]
    order = np.random.default_rng(seed).permutation(len(names)).tolist()
    members = {label: [at for at in order if label in names[at]] for label in task.labels}
    single = all(len(own) == 1 for own in names)
    for label, own in members.items():
        if len(own) < (per_class if single else 1):
            raise InputError(f"{per_class} rows of each label are wanted, and {name} has {len(own)} of {label!r}")
    chosen: set[int] = set()
    for label in sorted(members, key=lambda label: len(members[label])):
        lacking = per_class - sum(label in names[at] for at in chosen)
        chosen |= set([at for at in members[label] if at not in chosen][: max(lacking, 0)])
    return sorted(chosen)


def tuned(task: Task) -> Task:
    """Return the task as a generator is asked that learns, or has learnt, from its rows.

    A row does not tell from which opening it came, nor from which word: the prompt has neither.

    Raises:
        InputError: For a task without such a prompt.
    """
    task.needs_kind("single", "pair", "multi_label", "tokens", "parse", what="tuning a generator")
    template = task.tuning_prompt or task.score_prompt or task.prompt
    opening, words = task.opening if task.kind == "pair" else None, task.words if task.kind == "tokens" else {}
    unknown = {"word", *([] if opening else ["opening"])}
    for text in template.values() if isinstance(template, Mapping) else [template]:
        if found := unknown & set(slots(text, "tuning_prompt")):
            raise InputError(
                f"{task.name!r} needs a `tuning_prompt` without {{{min(found)}}}, which no row tells: {text!r}"
            )
    chat = task.chat and task.tuning_prompt is not None
    own: dict[str, Any] = {"mismatched": {}, "starts": ()}  # rows have told what fits and how texts begin
    return dataclasses.replace(task, prompt=template, opening=opening, chat=chat, empty=None, words=words, **own)


def shots_of(task: Task, rows: Dataset, seed: int) -> list[Shot]:
    """Return rows as shots of a task that `tuned` gave; rows without a label or a given text are left out."""
    rng, asked = random.Random(f"{seed}:shots"), PROMPTS[task.kind]
    found = []
    for row in rows:
        prompt = asked(task, row, rng)
        if prompt is not None:
            text = _plain(task, row[task.generated])
            said = _plain(task, _marked(task, row)) if task.annotate == "markup" else text
            found.append(Shot(prompt, text, said.removesuffix(task.ending) + task.stop[0], task.chat))
    return found


def _marked(task: Task, row: Mapping[str, Any]) -> str:
    """Return a row's tokens with each name between its label's marks and nothing else that looks like one.

    A generator that learns these says where the names are (DAGA, https://aclanthology.org/2020.emnlp-main.488).
    """
    tokens = [token.translate(NO_MARKS) for token in row[task.generated]]
    for start, end, label in spans_of(row[task.label_column]):
        tokens[start] = f"<{label}>{tokens[start]}"
        tokens[end - 1] += f"</{label}>"
    return " ".join(tokens)


def _plain(task: Task, text: str | list[str]) -> str:
    """Return a row's text on one line, without what would end it early."""
    text = " ".join((" ".join(text) if isinstance(text, list) else text).split())
    for stop in task.stop:
        if stop not in task.ending:
            text = text.replace(stop, "'" if stop == '"' else " ")
    return text.strip()


def _of_label(task: Task, row: Mapping[str, Any], rng: random.Random) -> Prompt | None:
    label, given = row[task.label_column], {column: row[column] for column in task.columns[:-1]}
    if not all(text and text.strip() for text in given.values()):
        return None
    opening = next(iter(given.values()), "")
    return Prompt(task.render(label, opening=opening), label, given, {"opening": opening} if opening else {})


def _of_set(task: Task, row: Mapping[str, Any], rng: random.Random) -> Prompt | None:
    names = list(row[task.label_column])
    if not names:
        return None
    rng.shuffle(names)
    words = [task.labels[name] for name in names]
    text = task.template(names[0]).format(label=words[0], mentions=enumerated(words))
    return Prompt(text, names[0], attributes={"labels": BETWEEN.join(names)})


def _of_entities(task: Task, row: Mapping[str, Any], rng: random.Random) -> Prompt | None:
    tokens, spans = row[task.generated], spans_of(row[task.label_column])
    entities = {" ".join(tokens[start:end]): label for start, end, label in spans}
    if not entities:
        return None
    names = list(entities)
    rng.shuffle(names)
    label = entities[names[0]]
    text = task.template(label).format(label=task.labels[label], word=names[0], mentions=enumerated(names))
    attributes = {"entities": json.dumps(entities, ensure_ascii=False, sort_keys=True)}
    return Prompt(text, label, attributes={**attributes, "labels": BETWEEN.join(dict.fromkeys(entities.values()))})


def _of_parse(task: Task, row: Mapping[str, Any], rng: random.Random) -> Prompt | None:
    tree = parse(row[task.label_column])
    if isinstance(tree, str) or tree.name not in task.labels:
        return None
    slots = {child.name: " ".join(map(str, child.children)) for child in tree.children if isinstance(child, Tree)}
    text = task.template(tree.name).format(label=task.labels[tree.name], mentions=listed(slots))
    attributes = {"slots": json.dumps(slots, ensure_ascii=False), "labels": BETWEEN.join([tree.name, *slots])}
    return Prompt(text, tree.name, attributes=attributes)


PROMPTS: Mapping[str, Callable[[Task, Mapping[str, Any], random.Random], Prompt | None]] = {
    "single": _of_label,
    "pair": _of_label,
    "multi_label": _of_set,
    "tokens": _of_entities,
    "parse": _of_parse,
}
