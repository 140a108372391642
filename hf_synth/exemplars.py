"""Shots as what new texts are written from, and others of the same labels as examples (MSP).

Chen et al., "Mixture of Soft Prompts for Controllable Data Generation" (https://huggingface.co/papers/2303.01580).
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from types import MappingProxyType

from .attributes import attributed_prompt
from .bio import named, tokens_of
from .mixture import ONE_LEVEL
from .records import Completion, Example, Prompt, label_set
from .shapes import shape
from .shots import Shot
from .task import Task

LIKE = 10  # shots that share the most labels with a seed, of which its examples are drawn
SEED = "seed"  # the attribute of a prompt that tells the place of its seed


class Seeds:
    """The shots of a task, each of which new texts are written from.

    Args:
        task: As `tuned` gave it.
        shots: Its shots.
        count: Examples in a prompt.
    """

    def __init__(self, task: Task, shots: Sequence[Shot], count: int):
        self.task, self.shots, self.count = task, shots, count
        self.sets = [set(label_set(shot.prompt)) for shot in shots]
        self.counts = Counter(name for own in self.sets for name in own)

    def lessons(self, rng: random.Random) -> list[Shot]:
        """Return the shots to learn from, each behind examples that are others of its labels."""
        quote = self.task.stop[0]
        examples = [self.like(at, self.count, rng) for at in range(len(self.shots))]
        return [
            replace(shot, prompt=numbered(shot.prompt, own, quote))
            for shot, own in zip(self.shots, examples, strict=True)
        ]

    def prompts(
        self, label: str, rng: random.Random, asked: Mapping[str, str] = MappingProxyType({})
    ) -> Iterator[Prompt]:
        """Yield prompts of the seeds that have a label, in rotation, without end; a seed is its own last example.

        Args:
            label: The label.
            rng: Decides the order.
            asked: Attributes that a prompt asks for; whether its examples have them is not known.
        """
        places = [at for at, own in enumerate(self.sets) if label in own]
        rng.shuffle(places)
        while places:
            for at in places:
                seed = self.shots[at]
                examples = [*self.like(at, self.count - 1, rng), seed] if self.count else []
                plain = seed.prompt
                if asked:
                    attributes = {**plain.attributes, **asked}
                    plain = replace(plain, text=attributed_prompt(self.task, label, asked), attributes=attributes)
                prompt = numbered(plain, examples, self.task.stop[0])
                yield replace(prompt, cell=label, attributes={**prompt.attributes, SEED: str(at)})

    def like(self, at: int, count: int, rng: random.Random) -> list[Shot]:
        """Draw shots of those that share the most labels with one, which is none of them."""
        others = [other for other in range(len(self.shots)) if other != at and self.sets[other] & self.sets[at]]
        rng.shuffle(others)
        others.sort(key=lambda other: -len(self.sets[other] & self.sets[at]))
        return [self.shots[other] for other in rng.sample(others[:LIKE], min(count, len(others[:LIKE])))]

    def of(self, example: Example) -> Shot:
        """Return the shot that an example was written from."""
        return self.shots[int(example.prompt.attributes[SEED])]

    def commonness(self, example: Example) -> float:
        """Return the mean share of an example's labels among all labels of the shots."""
        return fmean(self.counts[name] for name in label_set(example.prompt)) / self.counts.total()


def parser_of(task: Task) -> Callable[[Prompt, Completion], Example | str]:
    """Return the parser of a task's texts, one that asks less of entities.

    A real sentence can have ten, which few texts have again: one of the prompt's label must be there.
    """
    read = shape(task).parser(task)

    def parse(prompt: Prompt, completion: Completion) -> Example | str:
        if "entities" not in prompt.attributes:
            return read(prompt, completion)
        asked, tokens = json.loads(prompt.attributes["entities"]), tokens_of(completion.text)
        there = {name: label for name, label in asked.items() if named(tokens, tokens_of(name))}
        if prompt.cell not in there.values():
            return "entity missing"
        attributes = {**prompt.attributes, "entities": json.dumps(there, ensure_ascii=False, sort_keys=True)}
        return read(replace(prompt, attributes=attributes), completion)

    return parse


def numbered(prompt: Prompt, examples: Sequence[Shot], quote: str) -> Prompt:
    """Return a prompt with numbered examples between what it says and the quote that it opens."""
    if not examples:
        return prompt
    opened = quote if prompt.text.endswith(quote) else ""
    head = prompt.text.removesuffix(opened).rstrip()
    lines = [f"{number}) {opened}{shot.answer}" for number, shot in enumerate(examples, start=1)]
    return replace(prompt, text="\n".join([head, *lines, f"{len(lines) + 1}) {opened}"]))


def knowing(task: Task, shots: Sequence[Shot]) -> Task:
    """Return a task whose words have the shots' entities among them: these are tagged wherever they occur."""
    words = {label: list(own) for label, own in task.words.items()}
    for shot in shots:
        for name, label in json.loads(shot.prompt.attributes.get("entities", "{}")).items():
            words[label].append(name)
    return replace(task, words={label: tuple(dict.fromkeys(own)) for label, own in words.items()})


def levels_of(task: Task, shots: Sequence[Shot]) -> dict[str, dict[str, str]]:
    """Return level -> attributes of the shots -> their words; of parses, intents and slots are levels."""
    found = {name for shot in shots for name in label_set(shot.prompt)}
    labels = {name: words for name, words in task.labels.items() if name in found}
    rest = {name: name.partition(":")[2].replace("_", " ").lower() for name in sorted(found - {*labels})}
    return {"intents": labels, "slots": rest} if rest else {ONE_LEVEL: labels}
