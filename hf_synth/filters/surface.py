"""Filters that look at nothing but the text."""

from __future__ import annotations

from collections.abc import Sequence

from ..records import Example


class Unique:
    """Drop a text seen before in the run, whatever its label, case or spacing.

    Keeps one 64-bit hash per text, so memory is about 60 MB for a million texts.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def __call__(self, examples: Sequence[Example]) -> list[str | None]:
        """Return `duplicate` for every text that came before."""
        reasons: list[str | None] = []
        for example in examples:
            key = hash(tuple(" ".join(text.casefold().split()) for text in example.fields.values()))
            reasons.append("duplicate" if key in self._seen else None)
            self._seen.add(key)
        return reasons
