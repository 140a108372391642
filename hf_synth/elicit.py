"""Asking the generator what texts can differ in: attributes, their values, similar classes.

Every question is asked `ASKS` times, and as often again, twice at most, while no answer could be read. Answers are
lists, held to a JSON schema where the generator takes one, and read as JSON or else line by line, also what a server
without schemas wrote in its own way; one that holds none is dropped and counted. What most answers name comes first.
No question has a cell, as none asks for a row: what was trained beside the generator to write rows does not answer.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .attributes import INSTRUCTION, NOT_ABOUT, AttributesConfig, Values, hold
from .characters import storable
from .errors import InputError
from .generators.base import Generator, takes_schema
from .records import Completion, Example, Prompt
from .run import Run

ASKS, ROUNDS = 3, 3
DIMENSIONS = 4
LONGEST = 20  # words of a listed value
MOST_DROPPED = 5  # values of a class and attribute that the filter takes out
LISTS: dict[str, Any] = {"max_new_tokens": 160, "temperature": 0.7, "top_p": 0.9, "chat": False, "stop": ("]",)}
SCHEMA = {
    "type": "object",
    "properties": {"items": {"type": "array", "items": {"type": "string"}}},
    "required": ["items"],
    "additionalProperties": False,
}
VERDICTS: dict[str, Any] = {"max_new_tokens": 4, "temperature": 0.0, "chat": True, "stop": ("\n",)}

# Small models do not follow an instruction to write JSON; they go on with lists that they were shown.
DIMENSION = """Question: What dish is a recipe for?
Attributes in which texts for this question differ:
["main ingredient", "cuisine", "occasion", "writing style"]
Question: Was a guest content with a hotel or not?
Attributes in which texts for this question differ:
["purpose of the trip", "place", "subject", "length"]
Question: {description}
Attributes in which texts for this question differ:
[\""""
VALUE = """Values of "dish" for texts about cooking, not about baking:
["vegetable soup", "fried rice", "roast lamb", "noodles", "salad", "curry", "omelette", "chili", "stew", "steak"]
Values of "mood" for texts about a holiday:
["cheerful", "bored", "homesick", "excited", "annoyed", "relaxed", "nostalgic", "curious", "lonely", "grateful"]
Values of "{attribute}" for texts about {subject}:
[\""""
SIMILAR = """Classes: ["apple", "lorry", "pear", "bicycle", "plum", "train"]
Those most like "apple":
["pear", "plum"]
Classes: {classes}
Those most like "{label}":
[\""""
RELEVANT = """Is "{value}" relevant to {others}? Answer yes or no.
Answer:"""
BULLET = re.compile(r"\s*(?:[-*•]|\(?\d+[.)])\s+")


def attribute_values(run: Run, config: AttributesConfig) -> Values:
    """Return attribute -> values, the task's or the generator's, and under `not_about` the classes to keep clear of.

    What it comes to is noted.
    """
    task = run.task
    similar, values, dropped = similar_classes(run, config.similar_classes), task.attributes, []  # type: Any, Any, Any
    if config.elicits(task):
        values = elicited(run, config.dimensions, config.values_per_attribute, similar)
        if config.class_filter:
            values, dropped = class_filter(run, values, similar)
    if config.fixed_attribute:
        values = hold(values, config.fixed_attribute, run.rng("fixed attribute"))
    named = {label: (", ".join(task.labels[other] for other in own),) for label, own in similar.items() if own}
    values = {**values, NOT_ABOUT: named} if named else values
    run.note("attributes", _table(values, dropped))
    return values


def _table(values: Values, dropped: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return a row for each attribute, and for each class where its values depend on it."""
    rows = []
    for name, given in values.items():
        for label, own in given.items() if isinstance(given, Mapping) else (("all", given),):
            gone = [other["value"] for other in dropped if (other["label"], other["attribute"]) == (label, name)]
            row = {"attribute": name, "class": label, "values": "; ".join(own)}
            rows.append(row | ({"dropped by the class filter": "; ".join(gone)} if dropped else {}))
    return rows


def similar_classes(run: Run, count: int) -> dict[str, tuple[str, ...]]:
    """Return the classes most like each label (section 3.2 of AttrPrompt), as the generator sees it.

    Empty where `count` is 0 or the task has no more other classes than that, so that there is nothing to choose.
    """
    labels = run.task.labels
    if not count or len(labels) - 1 <= count:
        return {}
    known = {text.casefold(): label for label, words in labels.items() for text in (label, words)}
    classes = json.dumps(list(labels.values()), ensure_ascii=False)
    questions = {
        (label, "similar classes"): SIMILAR.format(classes=classes, label=words) for label, words in labels.items()
    }
    answers = _ask(run, questions, among=known)
    found = {}
    for label in labels:
        named = dict.fromkeys(known[name.casefold()] for name in answers.get((label, "similar classes"), ()))
        found[label] = tuple(other for other in named if other != label)[:count]
    return found


def elicited(run: Run, dimensions: Mapping[str, str], count: int, similar: Mapping[str, Sequence[str]]) -> Values:
    """Return attribute -> values as the generator lists them (section 3.1 of AttrPrompt).

    Args:
        run: Has the task.
        dimensions: Attribute -> `class-dependent` or not; without any, the generator names attributes too, and all of
            them are taken to depend on the class.
        count: Values of an attribute at most.
        similar: Label -> classes that its values must keep clear of.

    Raises:
        InputError: If no attribute has a value for every label.
    """
    labels = run.task.labels
    dimensions = dimensions or dict.fromkeys(_dimensions(run), "class-dependent")
    questions = {}
    for name, scope in dimensions.items():
        for label in labels if scope == "class-dependent" else ("",):
            others = [f"about {labels[other]}" for other in similar.get(label, ())]
            subject = ", not ".join([labels[label], *others]) if label else "any of " + ", ".join(labels.values())
            questions[label, name] = VALUE.format(attribute=name, subject=subject)
    answers = _ask(run, questions)
    values: dict[str, Any] = {}
    for name, scope in dimensions.items():
        wanted = labels if scope == "class-dependent" else ("",)
        own = {label: tuple(answers.get((label, name), ())[:count]) for label in wanted}
        if all(own.values()):
            values[name] = own if scope == "class-dependent" else own[""]
    if missing := [name for name in dimensions if name not in values]:
        run.note("attributes without a value for every class, which were left out", missing)
    if not values:
        raise InputError(
            f"{run.generator.name} listed no values that can be read for {', '.join(dimensions) or 'any attribute'}; "
            "give the task `attributes`, or set `prompts: simprompt`"
        )
    return values


def class_filter(
    run: Run, values: Values, similar: Mapping[str, Sequence[str]]
) -> tuple[Values, list[dict[str, str]]]:
    """Drop values of a class that are relevant to one of its similar classes (CAF, section 3.2 of AttrPrompt).

    Of a class and attribute at most five go, and one stays. A value of which the generator says neither yes nor no
    stays.

    Returns:
        The values, and those dropped with their label and attribute.
    """
    labels = run.task.labels
    kept: dict[str, Any] = dict(values)
    dropped: list[dict[str, str]] = []
    prompts = [
        Prompt(
            RELEVANT.format(value=value, others=" or ".join(labels[other] for other in similar[label])),
            attributes={"label": label, "attribute": name, "value": value},
        )
        for name, given in values.items()
        if isinstance(given, Mapping)
        for label in labels
        if similar.get(label)
        for value in given[label]
    ]
    for verdict in run.complete(prompts, _verdict, stage="attributes", required=False, **VERDICTS):
        label, name, value = verdict.prompt.attributes.values()
        gone = sum((other["label"], other["attribute"]) == (label, name) for other in dropped)
        left = tuple(other for other in kept[name][label] if other != value)
        if verdict.fields["text"] == "yes" and gone < MOST_DROPPED and left:
            kept[name] = {**kept[name], label: left}
            dropped.append({"label": label, "attribute": name, "value": value})
    return kept, dropped


def as_list(generator: Generator, decoding: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings for a list, with a schema where the generator takes one; a list that is cut fits none."""
    held = {"schema": SCHEMA, "max_new_tokens": 2 * decoding["max_new_tokens"]}
    return {**decoding, **held} if takes_schema(generator) else decoding


def listed(text: str) -> list[str]:
    """Return the items of a list: of JSON strings, else of numbered lines, else between commas; none in prose."""
    if items := _json_list(text):
        return items
    lines = [line for line in text.split("\n") if line.strip()]
    if numbered := [line for line in lines if BULLET.match(line)]:
        return _clean(BULLET.sub("", line, count=1) for line in numbered)
    return _clean(lines[0].split(",")) if len(lines) == 1 and lines[0].count(",") > 1 else []


def json_items(completion: Completion) -> list[str]:
    """Return the items of the JSON list that an answer holds, or fills where the prompt opened it; none without one.

    Of a list that was cut the last item goes.
    """
    text = completion.text
    if completion.finish != "stop" and '",' in text and not _json_list(text):
        text = text.rpartition('",')[0] + '"'
    return _json_list(text) or _json_list(f'["{text}]')


def _json_list(text: str) -> list[str]:
    for start in re.finditer(r"\[", text):
        try:
            items, _ = json.JSONDecoder().raw_decode(text, start.start())
        except (ValueError, RecursionError):  # the latter of ten thousand brackets
            continue
        if all(isinstance(item, str) for item in items):
            return _clean(map(storable, items))
    return []


def _clean(items: Iterable[str]) -> list[str]:
    tidy = (" ".join(item.split()).strip(" \"'`*.,;") for item in items)
    return list({item.casefold(): item for item in tidy if 0 < len(item.split()) <= LONGEST}.values())


def _ask(
    run: Run, questions: Mapping[tuple[str, str], str], among: Mapping[str, Any] | None = None
) -> dict[tuple[str, str], list[str]]:
    """Return (label, attribute) -> items that the answers list, those first that most answers name.

    Args:
        run: Asks.
        questions: (label or nothing, attribute) -> the prompt.
        among: The only items that count, in lower case.
    """

    def parse(prompt: Prompt, completion: Completion) -> Example | str:
        text = completion.text
        cut = text.rpartition("\n")[0] if completion.finish == "length" else text
        items = json_items(completion) or listed(cut)
        items = [item for item in items if among is None or item.casefold() in among]
        return Example({"text": json.dumps(items)}, None, None, prompt) if items else "no list"

    counts: dict[tuple[str, str], Counter[str]] = {}
    spelt: dict[str, str] = {}
    settings = as_list(run.generator, LISTS)
    opened = '["' if "schema" in settings else ""  # what a schema describes begins after the prompt
    for _ in range(ROUNDS):
        prompts = [
            Prompt(text.removesuffix(opened), attributes={"label": label, "attribute": name})
            for _ in range(ASKS)
            for (label, name), text in questions.items()
            if (label, name) not in counts
        ]
        for answer in run.complete(prompts, parse, stage="attributes", required=False, **settings):
            label, name = answer.prompt.attributes.values()
            items = [spelt.setdefault(item.casefold(), item) for item in json.loads(answer.fields["text"])]
            counts.setdefault((label, name), Counter()).update(items)
    return {key: [item for item, _ in count.most_common()] for key, count in counts.items()}


def _dimensions(run: Run) -> list[str]:
    """Return the names of attributes that the generator lists most often; no class is one."""
    task = run.task
    answers = _ask(run, {("", "dimensions"): DIMENSION.format(description=task.description or task.name)})
    classes = {text.casefold() for item in task.labels.items() for text in item} | {NOT_ABOUT, INSTRUCTION}
    names = [name for name in answers.get(("", "dimensions"), ()) if name.casefold() not in classes]
    return [name for name in names if len(name.split()) <= 4][:DIMENSIONS]


def _verdict(prompt: Prompt, completion: Completion) -> Example | str:
    """Read a yes or a no at the start of an answer; the paper's code takes a `1` or `yes` anywhere for one."""
    said = re.match(r"\W*(yes|no|1|0)\b", completion.text, re.IGNORECASE)
    if said is None:
        return "neither yes nor no"
    return Example({"text": "yes" if said[1].lower() in ("yes", "1") else "no"}, None, None, prompt)
