"""Distributions of missing cells and draws of all cells of a row together, a chunk of rows at a time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .predict import Answer, Asked, Predictor
from .serialise import Coding, Serialiser

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Wanted:
    """A row, and the cells of it that are wanted.

    Attributes:
        key: Names the row, for its random streams.
        row: Its cells; `None` where one is missing. Only these are read.
        cells: The columns that are wanted, none of them in `row`.
        given: Columns that stand first, in this order: a label.
    """

    key: str
    row: Row
    cells: tuple[str, ...]
    given: tuple[str, ...] = ()


class Chains:
    """Asks a model for the cells of rows.

    Args:
        predictor: Tells how likely words are.
        serialiser: Makes the texts.
        seed: Decides orders and draws.
        attempts: A draw is given up after so many that are no value of the column.
        orders: Orders of the observed cells over which a distribution is averaged.
    """

    def __init__(self, predictor: Predictor, serialiser: Serialiser, seed: int, attempts: int, orders: int = 1):
        self.predictor, self.serialiser = predictor, serialiser
        self.seed, self.attempts, self.orders = seed, attempts, orders

    def distributions(self, wanted: Sequence[Wanted]) -> list[dict[str, Answer]]:
        """Return the distribution of each wanted cell given the row's observed ones."""
        asked = [
            self._asked(self._observed(one, order), one.row, cell)
            for one in wanted
            for cell in one.cells
            for order in range(self.orders)
        ]
        answers = iter(self.predictor(asked) if asked else [])
        return [{cell: _mean([next(answers) for _ in range(self.orders)]) for cell in one.cells} for one in wanted]

    def draws(self, wanted: Sequence[Wanted], chains: int) -> list[list[dict[str, Any]]]:
        """Return the wanted cells of each row `chains` times, each cell drawn given those drawn before it.

        A cell without a valid value after so many attempts is `None`, and is not read after that.
        """
        orders = [self._rng(one, "cells").sample(one.cells, len(one.cells)) for one in wanted]
        heads = [self._observed(one, 0) for one in wanted]
        found: list[list[dict[str, Any]]] = [[{} for _ in range(chains)] for _ in wanted]
        for step in range(max(map(len, orders), default=0)):
            lanes = [(at, lane) for at, order in enumerate(orders) if step < len(order) for lane in range(chains)]
            asked = []
            for at, lane in lanes:
                drawn = {name: value for name, value in found[at][lane].items() if value is not None}
                asked.append(self._asked([*heads[at], *drawn], {**wanted[at].row, **drawn}, orders[at][step]))
            for (at, lane), answer in zip(lanes, self.predictor(asked), strict=True):
                name = orders[at][step]
                rng = self._rng(wanted[at], f"{lane}:{name}")
                found[at][lane][name] = self._drawn(self.serialiser.codings[name], answer, rng)
        return found

    def _drawn(self, coding: Coding, answer: Answer, rng: random.Random) -> Any:
        """Draw a value; what the model would write beside the column's words is drawn again, so many times."""
        for _ in range(self.attempts):
            if rng.random() < answer[1]:
                return coding.distribution(answer[0]).draw(rng.random())
        return None

    def _asked(self, order: Sequence[str], row: Row, cell: str) -> Asked:
        return tuple(self.serialiser.asked(row, order, cell)), tuple(self.serialiser.words[cell])

    def _observed(self, one: Wanted, order: int) -> list[str]:
        """Return the observed columns of a row in one of its random orders, those given first."""
        names = [name for name in self.serialiser.codings if one.row.get(name) is not None and name not in one.given]
        return [*one.given, *self._rng(one, f"order {order}").sample(names, len(names))]

    def _rng(self, one: Wanted, what: str) -> random.Random:
        return random.Random(f"{self.seed}:{one.key}:{what}")


def _mean(answers: Sequence[Answer]) -> Answer:
    columns = zip(*(spread for spread, _ in answers), strict=True)
    return [sum(column) / len(answers) for column in columns], sum(mass for _, mass in answers) / len(answers)


def chunked(wanted: Sequence[Wanted], size: int) -> Iterator[list[Wanted]]:
    """Yield the rows that want a cell, in chunks: what stands in one depends on the rows before it alone."""
    rows = [one for one in wanted if one.cells]
    for first in range(0, len(rows), size):
        yield rows[first : first + size]
