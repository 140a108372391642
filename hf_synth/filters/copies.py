"""Filter for texts that a tuned generator repeats from the rows it has learnt from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from ..records import Example

GRAM = 8  # words in a row that two texts rarely share by chance
Prints = Mapping[str, Sequence[str]]


def fingerprints(texts: Iterable[str]) -> dict[str, list[str]]:
    """Return hashes of texts (`whole`) and of their eight-word spans (`spans`), which tell nobody what they say.

    Case and punctuation do not count.
    """
    words = [_words(text) for text in texts]
    spans = {_hash(span) for own in words for span in _spans(own)}
    return {"whole": sorted({_hash(own) for own in words}), "spans": sorted(spans)}


COPY = "copy of a shot"


class Copies:
    """Drop a text that is one of the rows learnt from, and count those that share eight words in a row with one.

    Args:
        prints: Fingerprints of the rows learnt from.
        column: The generated text's column.
    """

    def __init__(self, prints: Prints, column: str):
        self.whole, self.spans, self.column = frozenset(prints["whole"]), frozenset(prints["spans"]), column
        self.seen = self.copied = self.overlapping = 0

    def __call__(self, examples: Sequence[Example]) -> list[str | None]:
        """Return `copy of a shot` for every text that is one."""
        reasons: list[str | None] = []
        for example in examples:
            words = _words(example.fields[self.column])
            copy = _hash(words) in self.whole
            self.seen, self.copied = self.seen + 1, self.copied + copy
            self.overlapping += not copy and any(_hash(span) in self.spans for span in _spans(words))
            reasons.append(COPY if copy else None)
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


def _spans(words: Sequence[str]) -> Iterator[Sequence[str]]:
    return (words[at : at + GRAM] for at in range(len(words) - GRAM + 1))


def _hash(words: Sequence[str]) -> str:
    return blake2b(" ".join(words).encode(), digest_size=8).hexdigest()
