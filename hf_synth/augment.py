"""EDA: new texts from given ones by changing a share of their words (https://huggingface.co/papers/1901.11196).

Differs from the paper:

- Synonyms come from a function that the caller gives, in place of WordNet, which is not at hand offline. Where it
  returns none, a word stays: it is this function that knows stop words.
- Tokens can be protected (names of entities, values of slots): they are not changed, and nothing comes between two of
  them that stand together.
- Case and punctuation are kept, and only tokens that hold a letter or digit are changed. A synonym replaces the word
  at one place, not everywhere in the text.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

Synonyms = Callable[[str], Sequence[str]]
_CORE = re.compile(r"^(\W*)(.*?)(\W*)$", re.DOTALL)


def eda(
    tokens: Sequence[str],
    rng: random.Random,
    synonyms: Synonyms,
    protected: Collection[int] = (),
    alpha: float = 0.1,
) -> list[str]:
    """Return a variant of a text, by one of the four operations, which is drawn.

    It may equal the text: of one word, none can be swapped.

    Args:
        tokens: The text's words, with or without the punctuation at their ends; `text.split()` will do.
        rng: Where chance comes from.
        synonyms: Word -> others of its meaning, or none.
        protected: Places of tokens that stay.
        alpha: Share of the text's words that an operation changes, of which it changes at least one; each word's
            chance to be deleted.

    Raises:
        InputError: If `alpha` is not above 0 and at most 1.
    """
    if not 0 < alpha <= 1:
        raise InputError(f"`alpha` must be above 0 and at most 1; got {alpha}")
    operations: list[Callable[[], list[str]]] = [
        lambda: replaced(tokens, rng, synonyms, protected, alpha),
        lambda: inserted(tokens, rng, synonyms, protected, alpha),
        lambda: swapped(tokens, rng, protected, alpha),
        lambda: deleted(tokens, rng, protected, alpha),
    ]
    rng.shuffle(operations)
    return operations[0]()


def replaced(
    tokens: Sequence[str], rng: random.Random, synonyms: Synonyms, protected: Collection[int] = (), alpha: float = 0.1
) -> list[str]:
    """Replace words by synonyms; see `eda`."""
    new, left = {}, _number(tokens, alpha)
    for at, others in _with_synonyms(tokens, rng, synonyms, protected):
        if left == 0:
            break
        new[at], left = _in_place_of(tokens[at], rng.choice(others)).split(), left - 1
    return [word for at, token in enumerate(tokens) for word in new.get(at, [token])]


def inserted(
    tokens: Sequence[str], rng: random.Random, synonyms: Synonyms, protected: Collection[int] = (), alpha: float = 0.1
) -> list[str]:
    """Insert synonyms of the text's words anywhere but within protected tokens; see `eda`."""
    found, kept = list(tokens), [at in protected for at in range(len(tokens))]
    sources = list(_with_synonyms(tokens, rng, synonyms, protected))
    for _ in range(_number(tokens, alpha) if sources else 0):
        words = rng.choice(rng.choice(sources)[1]).split()
        fixed = [False, *kept, False]
        gap = rng.choice([at for at in range(len(found) + 1) if not (fixed[at] and fixed[at + 1])])
        found[gap:gap] = words
        kept[gap:gap] = [False] * len(words)
    return found


def swapped(
    tokens: Sequence[str], rng: random.Random, protected: Collection[int] = (), alpha: float = 0.1
) -> list[str]:
    """Swap two words, as often as `alpha` says; see `eda`."""
    found = list(tokens)
    free = _free(tokens, protected)
    for _ in range(_number(tokens, alpha) if len(free) > 1 else 0):
        one, other = rng.sample(free, 2)
        found[one], found[other] = found[other], found[one]
    return found


def deleted(
    tokens: Sequence[str], rng: random.Random, protected: Collection[int] = (), alpha: float = 0.1
) -> list[str]:
    """Delete each word with the probability `alpha`, but never the last one; see `eda`."""
    free = _free(tokens, protected)
    gone = {at for at in free if rng.random() < alpha}
    if gone and len(gone) == len(_free(tokens, ())):
        gone.remove(rng.choice(free))
    return [token for at, token in enumerate(tokens) if at not in gone]


def vocabulary_synonyms(
    words: Sequence[str], encode: Callable[[Sequence[str]], NDArray[np.float32]], count: int = 5, least: float = 0.5
) -> Synonyms:
    """Return a function that gives a word's nearest neighbours among given words, nearest first.

    Nearness is the cosine of the encoder's vectors once their mean is taken off. Neighbours are words of like use,
    antonyms and other forms among them. A word that is not given has none: leave out stop words, names and numbers.

    Args:
        words: The vocabulary, in whatever case.
        encode: Texts -> vectors, [N, D], as `retrieval.encode.Encoder` does.
        count: Neighbours of a word at most.
        least: The least cosine of a neighbour.
    """
    known = list({word.casefold(): word for word in words}.values())
    places = {word.casefold(): at for at, word in enumerate(known)}
    vectors = np.asarray(encode(known)) if known else np.zeros((0, 1), np.float32)
    vectors = vectors - vectors.mean(axis=0) if known else vectors
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)

    @cache
    def nearest(key: str) -> tuple[str, ...]:
        if key not in places:
            return ()
        near = vectors @ vectors[places[key]]
        ranked = [at for at in np.argsort(-near, kind="stable")[: count + 1] if at != places[key]]
        return tuple(known[at] for at in ranked[:count] if near[at] >= least)

    return lambda word: nearest(word.casefold())


def _free(tokens: Sequence[str], protected: Collection[int]) -> list[int]:
    """Return the places of words that may change."""
    return [at for at, token in enumerate(tokens) if at not in protected and any(map(str.isalnum, token))]


def _number(tokens: Sequence[str], alpha: float) -> int:
    return max(1, int(alpha * len(_free(tokens, ()))))


def _with_synonyms(
    tokens: Sequence[str], rng: random.Random, synonyms: Synonyms, protected: Collection[int]
) -> list[tuple[int, list[str]]]:
    """Return the places of words that may change and have synonyms, shuffled, and these."""
    free = _free(tokens, protected)
    rng.shuffle(free)
    found = []
    for at in free:
        word = _CORE.sub(r"\2", tokens[at])
        others = [other for other in synonyms(word) if other.strip() and other.casefold() != word.casefold()]
        found += [(at, others)] if others else []
    return found


def _in_place_of(token: str, word: str) -> str:
    """Return a word with the punctuation and the capital of the token that it replaces."""
    before, core, after = _CORE.fullmatch(token).groups()  # type: ignore[union-attr]
    return before + (word[0].upper() + word[1:] if core[:1].isupper() else word) + after
