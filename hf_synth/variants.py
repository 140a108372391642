"""Variants of shots: by EDA, or asked of a language model, with the words that carry a label kept as they are."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from .augment import Synonyms, eda, vocabulary_synonyms
from .bio import named, places
from .exemplars import SEED
from .prompts import enumerated
from .records import Prompt
from .run import Run
from .shots import Shot
from .slots import spoken

WORD = re.compile(r"[^\W\d_]{4,}")  # shorter ones are mostly of the kind that has no synonyms
ASK = "Say this in other words, in one sentence{keeping}: {text}\n"


def fixed(prompt: Prompt) -> list[str]:
    """Return the names of entities and the values of slots that a text must hold."""
    if "entities" in prompt.attributes:
        return list(json.loads(prompt.attributes["entities"]))
    return [spoken(value) for value in json.loads(prompt.attributes.get("slots", "{}")).values()]


def by_eda(
    prompts: Iterable[Prompt], shots: Sequence[Shot], rng: random.Random, synonyms: Synonyms, alpha: float
) -> Iterator[Prompt]:
    """Yield prompts whose texts are variants of their seeds, each by one of EDA's operations.

    Args:
        prompts: Those of seeds.
        shots: The seeds.
        rng: Draws.
        synonyms: See `eda`.
        alpha: See `eda`.
    """
    for prompt in prompts:
        seed = shots[int(prompt.attributes[SEED])]
        tokens, names = seed.text.split(), [name.split() for name in fixed(seed.prompt)]
        kept = {at + more for name in names for at in places(tokens, name) for more in range(len(name))}
        yield replace(prompt, text=" ".join(eda(tokens, rng, synonyms, kept, alpha)))


def by_names(
    prompts: Iterable[Prompt], shots: Sequence[Shot], rng: random.Random, names: Mapping[str, Sequence[str]]
) -> Iterator[Prompt]:
    """Yield prompts whose texts are their seeds with other names of the same labels.

    Source: mention replacement of https://aclanthology.org/2020.coling-main.343.

    Args:
        prompts: Those of seeds.
        shots: The seeds.
        rng: Draws.
        names: Label -> names.
    """
    for prompt in prompts:
        tokens = shots[int(prompt.attributes[SEED])].text.split()
        entities, free, put = json.loads(prompt.attributes["entities"]), [True] * len(tokens), {}
        new: dict[str, str] = {}
        for name in sorted(entities, key=len, reverse=True):
            words = name.split()
            for at in named(tokens, words):
                if all(free[at : at + len(words)]):
                    free[at : at + len(words)] = [False] * len(words)
                    label = entities[name]  # a name of two labels stands under one of them in a text
                    other = rng.choice([one for one in names[label] if new.get(one, label) == label] or [name])
                    new[other] = label
                    put[at] = (len(words), other)
        text, at = [], 0
        while at < len(tokens):
            length, word = put.get(at, (1, tokens[at]))
            text.append(word)
            at += length
        known = json.dumps(new, ensure_ascii=False, sort_keys=True)
        yield replace(prompt, text=" ".join(text), attributes={**prompt.attributes, "entities": known})


def by_asking(prompts: Iterable[Prompt], shots: Sequence[Shot], quote: str) -> Iterator[Prompt]:
    """Yield prompts that ask to say their seeds in other words."""
    for prompt in prompts:
        seed = shots[int(prompt.attributes[SEED])]
        names = [repr(name) for name in fixed(seed.prompt)]
        keeping = f", and keep the words {enumerated(names)}" if names else ""
        yield replace(prompt, text=ASK.format(keeping=keeping, text=seed.text) + quote)


def shots_synonyms(run: Run, shots: Sequence[Shot], encoder: str) -> Synonyms:
    """Return a function that gives a word's neighbours among the words of the shots and of the labels."""
    from .models import resolve

    own = (word for shot in shots for word in WORD.findall(shot.text))
    said = (word for words in run.task.labels.values() for word in WORD.findall(words))
    vocabulary, source = sorted({word.casefold() for word in (*own, *said)}), resolve(encoder)

    def compute() -> dict[str, list[str]]:
        from .retrieval.encode import Encoder

        near = vocabulary_synonyms(vocabulary, Encoder(source.path, "mean", True, 128))
        return {word: list(near(word)) for word in vocabulary}

    table = run.once("synonyms", [source.sha256, vocabulary], compute)
    return lambda word: table.get(word.casefold(), ())
