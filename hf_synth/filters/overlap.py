"""Filter for texts that repeat an example of their prompt (ProGen, https://huggingface.co/papers/2210.12329)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..prompts import shown_in
from ..records import Example


class Overlap:
    """Drop a text that has nine tenths or more of the different words of an example shown in its prompt.

    Case and punctuation do not count.

    Args:
        rows: The rows so far, of which prompts name those that they show.
        column: The generated text's column.
    """

    def __init__(self, rows: Sequence[Example], column: str):
        self.rows, self.column = rows, column

    def __call__(self, examples: Sequence[Example]) -> list[str | None]:
        """Return `overlap` for every text that repeats an example."""
        return ["overlap" if self._repeats(example) else None for example in examples]

    def _repeats(self, example: Example) -> bool:
        words = _words(example.fields[self.column])
        shown = (_words(self.rows[at].fields[self.column]) for at in shown_in(example.prompt))
        return any(10 * len(words & others) >= 9 * len(others) for others in shown if others)


def _words(text: str) -> set[str]:
    return set(re.sub(r"[^\w\s]", "", text.casefold()).split())
