"""`Passages`: the texts of a corpus, read from disk as they are wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset

BLOCK = 10_000


class Passages:
    """Texts by number, from a data set that stays on disk; white space is collapsed.

    Args:
        data: Holds them.
        column: In this column.

    Raises:
        InputError: If there is none.
    """

    def __init__(self, data: Dataset, column: str):
        if len(data) == 0:
            raise InputError("`corpus` holds no text")
        self.data, self.column = data.select_columns([column]), column

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, places: slice | Sequence[int]) -> list[str]:
        if not isinstance(places, slice):
            places = [int(at) for at in places]
        return [" ".join((text or "").split()) for text in self.data[places][self.column]]

    @cached_property
    def digest(self) -> str:
        """The sha256 of all texts in order."""
        total = hashlib.sha256()
        for start in range(0, len(self), BLOCK):
            texts = self[start : start + BLOCK]
            total.update(np.asarray([len(text) for text in texts], "<u4").tobytes())
            total.update("".join(texts).encode("utf-8", "surrogatepass"))
        return total.hexdigest()
