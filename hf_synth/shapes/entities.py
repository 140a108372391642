"""Named entities: a text's tokens with BIO tags.

Tang et al., "Does Synthetic Data Generation of LLMs Help Clinical Text Mining?" (https://huggingface.co/papers/2303.04360):
names of entities are given, texts that contain them are asked for, and found names are tagged.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..annotations import Found, from_json, from_markup, spans_of_names
from ..bio import Lexicon, spans_of, tag_names, tags_of, tokens_of
from ..errors import InputError
from ..parse import until_stop
from ..prompts import enumerated
from ..records import Completion, Example, Prompt
from ..task import NONE, Task

if TYPE_CHECKING:
    from datasets import Features

category = "token-classification"
means = (
    "Names that were asked for, and others that the prompts know, are tagged wherever they stand; what is not among "
    "these is not tagged, and a name need not be used in its own sense."
)
LEAST_TOKENS = 3


def check(task: Task) -> None:
    """Refuse a task without names for each label where texts are asked to mention them.

    Raises:
        InputError: Naming what lacks.
    """
    least, most = task.mentions
    if not 1 <= least <= most:
        raise InputError(f"`mentions` must be 1 or more, least first; got {[least, most]}")
    if not task.words:
        raise InputError(f"a tokens task needs `words`: names of entities for each of {list(task.labels)!r}")


def features(task: Task) -> Features:
    """Return a list of tokens and a list of tags, `O`, `B-` and `I-` of each label."""
    from datasets import ClassLabel, Features, List, Value

    tags = ClassLabel(names=tag_names(task.labels))
    return Features({task.generated: List(Value("string")), task.label_column: List(tags)})


def stored(task: Task, example: Example) -> dict[str, Any]:
    """Return the tokens and their tags."""
    return {task.generated: example.fields[task.generated].split(" "), task.label_column: list(example.target)}


def counted(task: Task, row: Mapping[str, Any]) -> list[str]:
    """Return each label that a row has an entity of; of a row without any, `none`."""
    found = {label for _, _, label in spans_of(row[task.label_column])}
    return [label for label in task.labels if label in found] or [NONE]


def flaw(task: Task, row: Mapping[str, Any]) -> str:
    """Tell of tokens and tags that are not as many, or of one that is none."""
    tokens, tags = row[task.generated], row[task.label_column]
    if len(tokens) != len(tags):
        return f"{len(tags)} tags for {len(tokens)} tokens"
    if None in tokens:
        return f"token {tokens.index(None)} is null"
    return f"the tag of token {tags.index(None)} is null, or a number without a name" if None in tags else ""


def shown(task: Task, row: Mapping[str, Any]) -> dict[str, str]:
    """Return the tokens, entities between their label's marks."""
    tokens, out, at = row[task.generated], [], 0
    for start, end, label in spans_of(row[task.label_column]):
        out += [*tokens[at:start], f"<{label}>", *tokens[start:end], f"</{label}>"]
        at = end
    return {task.generated: " ".join([*out, *tokens[at:]])}


def prompts(
    task: Task, cell: str, openings: Iterable[str], rng: random.Random, *, steer: bool | None = None
) -> Iterator[Prompt]:
    """Yield prompts that name entities to mention, the first of the cell's label; see `Shape.prompts`."""
    names = {label: sorted(set(own)) for label, own in task.words.items()}
    for opening in openings:
        given = {"opening": opening} if opening else {}
        if cell == NONE:
            yield Prompt(str(task.empty).format(opening=opening), cell=NONE, attributes={**given, "entities": "{}"})
            continue
        chosen = {rng.choice(names[cell]): cell}
        for _ in range(rng.randint(*task.mentions) - 1):
            label = rng.choice(list(names))
            chosen.setdefault(rng.choice(names[label]), label)
        listed = list(chosen)
        rng.shuffle(listed)
        values = {"label": task.labels[cell], "word": listed[0], "mentions": enumerated(listed), "opening": opening}
        text = task.template(cell).format(**values)
        entities = json.dumps(chosen, ensure_ascii=False, sort_keys=True)
        yield Prompt(text, cell=cell, attributes={**given, "entities": entities})


def parser(task: Task) -> Callable[[Prompt, Completion], Example | str]:
    """Return a parser that reads entities as the task's `annotate` says and all other `words` besides.

    Reasons: `malformed` (not the JSON asked for), `unfinished`, `short`, those of `annotations`, `entity there` (a
    text without entities was asked for), `no entity`, `other entity` (it has some, and none of the label asked for).
    """
    lexicon = Lexicon(task.words)

    def parse(prompt: Prompt, completion: Completion) -> Example | str:
        if completion.finish == "malformed":
            return completion.finish
        text = until_stop(completion, task.ending)
        if text is None:
            return "unfinished"
        found = _read(task, prompt, text)
        if isinstance(found, str):
            return found
        tokens, spans = found
        if len(tokens) < max(task.min_words, LEAST_TOKENS):
            return "short"
        tags = tags_of(len(tokens), lexicon.spans(tokens, spans))
        there = {label for _, _, label in spans_of(tags)}
        if prompt.cell == NONE and there:
            return "entity there"
        if prompt.cell != NONE and prompt.cell not in there:
            return "other entity" if there else "no entity"
        fields = {task.generated: " ".join(tokens)}
        return Example(fields, tuple(tags), prompt.cell, prompt, completion.logprob)

    return parse


def _read(task: Task, prompt: Prompt, text: str) -> Found | str:
    if task.annotate == "markup":
        return from_markup(text, task.labels)
    if task.annotate == "json" and (prompt.cell != NONE or "{" in text):
        return from_json(text, task.labels)
    tokens, asked = tokens_of(text), json.loads(prompt.attributes["entities"])
    spans = spans_of_names(tokens, asked.items())
    return spans if isinstance(spans, str) else (tokens, spans)
