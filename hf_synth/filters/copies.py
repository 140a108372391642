"""Filter for texts that a tuned generator repeats from the rows it has learnt from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from ..records import Example

GRAM = 8  # words in a row that two texts rarely share by chance
MARKS = re.compile(r"</?[^<>]+>")  # of entities, which no fingerprint has
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
    """Drop a text that is one of the rows learnt from, and count rows that share eight words in a row with one.

    Args:
        prints: Fingerprints of the rows learnt from.
        column: The generated text's column.
    """

    def __init__(self, prints: Prints, column: str):
        self.whole, self.spans, self.column = frozenset(prints["whole"]), frozenset(prints["spans"]), column
        self.seen = self.copied = self.rows = self.overlapping = 0

    def __call__(self, examples: Sequence[Example]) -> list[str | None]:
        """Return `copy of a shot` for every text that is one."""
        reasons: list[str | None] = []
        for example in examples:
            copy = _hash(_words(example.fields[self.column])) in self.whole
            self.seen, self.copied = self.seen + 1, self.copied + copy
            reasons.append(COPY if copy else None)
        return reasons

    def within(self, text: str) -> bool:
        """Tell whether what was answered, or one line of it, is a row learnt from, marks of entities aside."""
        both = (text, MARKS.sub(" ", text))
        return any(_hash(_words(part)) in self.whole for one in both for part in (one, *one.splitlines()))

    def counted(self, rows: Iterable[Example]) -> Iterator[Example]:
        """Yield the rows of the data set as they come, counted."""
        for row in rows:
            shared = any(_hash(span) in self.spans for span in _spans(_words(row.fields[self.column])))
            self.rows, self.overlapping = self.rows + 1, self.overlapping + shared
            yield row

    def note(self) -> dict[str, Any]:
        """Return what the card says of it; all rows must have been counted."""
        return {
            "texts looked at": self.seen,
            "verbatim copies of a row learnt from, dropped": self.copied,
            "share of the texts that were copies": round(self.copied / max(1, self.seen), 4),
            f"share of the rows with {GRAM} words in a row from one": round(self.overlapping / max(1, self.rows), 4),
        }


def _words(text: str) -> list[str]:
    return re.sub(r"[^\w\s]", " ", text.casefold()).split()


def _spans(words: Sequence[str]) -> Iterator[Sequence[str]]:
    return (words[at : at + GRAM] for at in range(len(words) - GRAM + 1))


def _hash(words: Sequence[str]) -> str:
    return blake2b(" ".join(words).encode(), digest_size=8).hexdigest()
