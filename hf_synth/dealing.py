"""`Dealing`: a fill's prompts, dealt to its cells a chunk at a time."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from .cells import Cell, least_full
from .chunks import Asked, Chunks
from .records import Prompt

HAND = 4, 16  # prompts dealt to a cell at once: few of its first; so many share the reading of how they begin
PROBE = 24  # prompts in the first chunk of a stage


class Dealing:
    """Chunks that are decided on ahead, begun as far as cells need them, and looked at in order.

    Args:
        chunks: Gives chunks their places.
        cells: To be filled.
        prompts_for: Gives a cell's stream of prompts.
        decoding: Of each cell's prompts; those of one chunk have the same.
        apart: Whether each cell has chunks of its own.
    """

    def __init__(
        self,
        chunks: Chunks,
        cells: Sequence[Cell],
        prompts_for: Callable[[Any], Iterable[Prompt]],
        decoding: Mapping[Cell, Mapping[str, Any]],
        apart: bool,
    ):
        self.chunks, self.cells, self.decoding, self.apart = chunks, cells, decoding, apart
        self.streams = {cell: iter(prompts_for(cell.key)) for cell in cells}
        self.decided: deque[tuple[Counter[Cell], Asked]] = deque()
        self.begun: deque[tuple[Counter[Cell], Asked]] = deque()

    def decide(self, ahead: int, size: Callable[[int], int]) -> None:
        """Decide on chunks.

        Args:
            ahead: How many are to be under way.
            size: Gives a chunk's size, by how many prompts came before it.
        """
        while len(self.decided) + len(self.begun) < ahead:
            prompts, dealt = self._chunk(size(sum(cell.asked + cell.coming for cell in self.cells)))
            if not prompts:
                return
            self.decided.append((dealt, self.chunks.decide(prompts, self.decoding[next(iter(dealt))])))

    def begin(self) -> None:
        """Begin what was decided on, in order, as far as cells are expected to need it."""
        while self.decided and (not self.begun or self._short()):
            needed = not self.begun or self._short(certain=True)
            self.begun.append(self.decided.popleft())
            self.begun[-1][1].start(needed)

    def next(self) -> Asked | None:
        """Return the chunk to be looked at next, if any; its prompts are then `asked`."""
        if not self.begun:
            return None
        dealt, chunk = self.begun.popleft()
        for cell, count in dealt.items():
            cell.coming -= count
            cell.asked += count
        return chunk

    def give_up(self, max_attempts: int) -> list[Cell]:
        """Give up the cells that are not full after so many prompts a row, or have no more; return these."""
        given_up = []
        for cell in self.cells:
            spent = cell.asked >= max(max_attempts * cell.want, 2 * PROBE)
            if not cell.closed and (spent or (cell.ended and not cell.coming)):
                cell.given_up = True
                given_up.append(cell)
        if given_up:
            self.decided = deque(pair for pair in self.decided if not all(cell.given_up for cell in pair[0]))
        return given_up

    def rest(self) -> None:
        """Leave what was begun; see `Chunks.rest`."""
        self.chunks.rest(chunk for _, chunk in self.begun)

    def _chunk(self, size: int) -> tuple[list[Prompt], Counter[Cell]]:
        """Deal a chunk, hand by hand to the cell that will be least full; return how much of it is each cell's."""
        prompts, dealt = list[Prompt](), Counter[Cell]()
        left = [cell for cell in self.cells if not (cell.given_up or cell.ended)]
        while left and len(prompts) < size:
            cell = least_full(left)
            if not prompts:
                left = [other for other in left if other is cell or self._alike(other, cell)]
            least, most = HAND
            wanted = min(max(least, (cell.asked + cell.coming) // 4), most, size - len(prompts))
            hand = list(islice(self.streams[cell], wanted))
            prompts += hand
            dealt[cell] += len(hand)
            cell.coming += len(hand)
            if len(hand) < wanted:
                cell.ended = True
                left.remove(cell)
        return prompts, +dealt

    def _alike(self, one: Cell, other: Cell) -> bool:
        return not self.apart and self.decoding[one] == self.decoding[other]

    def _short(self, certain: bool = False) -> bool:
        """Return whether what was begun leaves a cell unfilled.

        Args:
            certain: Ask whether it must, all of it being kept; else whether that is to be expected.
        """
        coming = sum((dealt for dealt, _ in self.begun), Counter[Cell]())
        return any(
            not cell.closed and (cell.kept + coming[cell] if certain else cell.expected(coming[cell])) < cell.want
            for cell in self.cells
        )
