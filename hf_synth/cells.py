"""Cells as they fill: how many rows each gets, which is asked next, and in what order examples are handed on."""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from .records import Example


class Cell:
    """What was asked of a cell, kept, handed on, and waits for its turn.

    Args:
        key: Its name.
        place: Its place among the others.
        want: Examples wanted.
        weight: How much it holds beside the others, as asking goes.
        share: The same, as handing on goes.

    Attributes:
        asked: Completions that came back.
        coming: Completions that are decided on and did not come back yet.
        kept: Examples kept.
        ended: Its prompts have come to an end.
    """

    def __init__(self, key: Hashable, place: int, want: int, weight: float, share: float):
        self.key, self.place, self.want, self.weight, self.share = key, place, want, weight, share
        self.asked = self.coming = self.kept = self.yielded = 0
        self.waiting: deque[Example] = deque()
        self.ended = self.given_up = False

    @property
    def closed(self) -> bool:
        """Nothing more is needed of it."""
        return self.given_up or self.kept >= self.want

    def expected(self, coming: int) -> float:
        """Return the examples there will be, when as many of those coming are kept as of those before."""
        return self.kept + coming * (self.kept / self.asked if self.asked else 1.0)


def in_turn(shares: Mapping[Hashable, float]) -> Iterator[Hashable]:
    """Yield cells without end, next the one that has come least often for its share; a tie is the first one's."""
    turns = [(0.0, place, cell) for place, cell in enumerate(shares)]
    taken: Counter[Hashable] = Counter()
    while turns:
        _, place, cell = turns[0]
        yield cell
        taken[cell] += 1
        heapq.heapreplace(turns, (taken[cell] / shares[cell], place, cell))


def cut(rows: int, shares: Mapping[Hashable, float]) -> dict[Hashable, int]:
    """Return how many of so many rows each cell gets: one at least while they last, and fewer rows never more."""
    counts = Counter(islice(in_turn(shares), rows))
    return {cell: counts[cell] for cell in shares}


def pool(wanted: Mapping[Hashable, int], shares: Mapping[Hashable, float], times: float) -> dict[Hashable, int]:
    """Return how many texts each wanted cell gets of a pool, the same for equal shares: asking must not read rows.

    Args:
        wanted: Rows of each cell.
        shares: What they were cut by.
        times: How many times the rows wanted a pool holds.
    """
    most = max(rows / shares[cell] for cell, rows in wanted.items())
    return {cell: math.ceil(round(most * shares[cell] * times, 6)) for cell, rows in wanted.items() if rows}


def cells_of(targets: Mapping[Hashable, int], shares: Mapping[Any, float]) -> list[Cell]:
    """Return a cell for each target above zero.

    Cells without a share whose targets differ by one row weigh the same, so that the order of asking does not read how
    many rows are wanted.
    """
    least = min((want for want in targets.values() if want > 0), default=0)
    alike = {cell: least if want <= least + 1 else want for cell, want in targets.items()}
    return [
        Cell(cell, place, want, shares.get(cell, alike[cell]), shares.get(cell, want))
        for place, (cell, want) in enumerate(targets.items())
        if want > 0
    ]


def least_full(cells: Iterable[Cell]) -> Cell:
    """Return the cell to ask next: the one that will be the least full of what it should hold."""
    return min(cells, key=lambda cell: (cell.expected(cell.coming) / cell.weight, cell.place))


def rotation(cells: Iterable[Cell]) -> Iterator[Example]:
    """Yield waiting examples in rotation, as far as every cell that is owed a turn has one."""
    while owed := [c for c in cells if c.yielded < c.want and not (c.given_up and not c.waiting)]:
        cell = min(owed, key=lambda c: (c.yielded / c.share, c.place))
        if not cell.waiting:
            return
        cell.yielded += 1
        yield cell.waiting.popleft()


def waits(example: Example, cells: Iterable[Cell]) -> bool:
    """Put an example that was kept into its cell; tell whether it has one here."""
    for cell in cells:
        if cell.key == example.cell:
            cell.waiting.append(example)
            cell.kept += 1
            return True
    return False
