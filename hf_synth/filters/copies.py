"""Filter for texts that a tuned generator repeats from the rows it has learnt from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..records import Example

GRAM = 8  # words in a row that two texts rarely share by chance


class Copies:
    """Drop a text that is one of the rows learnt from, and count those that share eight words in a row with one.

    Case and punctuation do not count.

    Args:
        texts: The rows learnt from.
        column: The generated text's column.
    """

    def __init__(self, texts: Iterable[str], column: str):
        self.column, self.seen, self.copied, self.overlapping = column, 0, 0, 0
        words = [_words(text) for text in texts]
        self.whole, self.grams = {tuple(own) for own in words}, {gram for own in words for gram in _grams(own)}

    def __call__(self, examples: Sequence[Example]) -> list[str | None]:
        """Return `copy of a shot` for every text that is one."""
        reasons: list[str | None] = []
        for example in examples:
            words = _words(example.fields[self.column])
            copy = tuple(words) in self.whole
            self.seen, self.copied = self.seen + 1, self.copied + copy
            self.overlapping += not copy and any(gram in self.grams for gram in _grams(words))
            reasons.append("copy of a shot" if copy else None)
        return reasons

    def note(self) -> dict[str, Any]:
        """Return what the card says of it."""
        return {
            "texts looked at": self.seen,
            "verbatim copies of a row learnt from, dropped": self.copied,
            f"kept, with {GRAM} words in a row from one": self.overlapping,
        }


def _words(text: str) -> list[str]:
    return re.sub(r"[^\w\s]", " ", text.casefold()).split()


def _grams(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return (tuple(words[at : at + GRAM]) for at in range(len(words) - GRAM + 1))
