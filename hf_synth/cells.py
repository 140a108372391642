"""Cells as they fill: which is asked next, and in what order their examples are handed on."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from .records import Example, Prompt


class Coming(Protocol):
    """Prompts whose answers are on their way."""

    prompts: Sequence[Prompt]


class Cell:
    """What was asked of a cell, kept, handed on, and waits for its turn.

    Attributes:
        asked: Completions that came back.
        coming: Completions that are decided on and did not come back yet.
        kept: Examples kept.
    """

    def __init__(self, key: Hashable, place: int, want: int, weight: int):
        self.key, self.place, self.want, self.weight = key, place, want, weight
        self.asked = self.coming = self.kept = self.yielded = 0
        self.waiting: deque[Example] = deque()
        self.given_up = False

    @property
    def closed(self) -> bool:
        """Nothing more is needed of it."""
        return self.given_up or self.kept >= self.want

    def expected(self, coming: int) -> float:
        """Return the examples there will be, when as many of those coming are kept as of those before."""
        return self.kept + coming * (self.kept / self.asked if self.asked else 1.0)


def cells_of(targets: Mapping[Hashable, int]) -> list[Cell]:
    """Return a cell for each target above zero.

    Cells whose targets differ by one row, the remainder of a division, weigh the same, so that the order of asking
    does not read how many rows are wanted.
    """
    wants = [want for want in targets.values() if want > 0]
    least = min(wants, default=0)
    return [
        Cell(cell, place, want, least if want <= least + 1 else want)
        for place, (cell, want) in enumerate(targets.items())
        if want > 0
    ]


def least_full(cells: Iterable[Cell]) -> Cell:
    """Return the cell to ask next: the one that will be the least full of what it should hold."""
    return min(cells, key=lambda cell: (cell.expected(cell.coming) / cell.weight, cell.place))


def rotation(cells: Iterable[Cell]) -> Iterator[Example]:
    """Yield waiting examples in rotation, as far as every cell that is owed a turn has one."""
    while owed := [c for c in cells if c.yielded < c.want and not (c.given_up and not c.waiting)]:
        cell = min(owed, key=lambda c: (c.yielded / c.want, c.place))
        if not cell.waiting:
            return
        cell.yielded += 1
        yield cell.waiting.popleft()


def waits(example: Example, cells: Iterable[Cell]) -> bool:
    """Put an example that was kept before into its cell; tell whether it has one here."""
    for cell in cells:
        if cell.key == example.cell:
            cell.waiting.append(example)
            cell.kept += 1
            return True
    return False


def short(cells: Iterable[Cell], started: Iterable[tuple[Cell, Coming]], certain: bool = False) -> bool:
    """Return whether what was started leaves a cell unfilled.

    Args:
        cells: All of them.
        started: Chunks and their cells.
        certain: Ask whether it must leave one unfilled, all of it being kept; else whether that is to be expected.
    """
    coming = dict.fromkeys(cells, 0)
    for cell, asked in started:
        coming[cell] += len(asked.prompts)
    return any(
        not cell.closed and (cell.kept + count if certain else cell.expected(count)) < cell.want
        for cell, count in coming.items()
    )
