"""Imputing a table: learn from its observed cells, ask for the missing ones, and say how sure the answers are."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..journal import Journal, digest
from ..models import Source
from .chains import Chains, Wanted, chunked
from .predict import Answer, Predictor, TunedModel
from .schema import CATEGORIES, Schema
from .serialise import Serialiser, codings
from .settings import ImputeConfig, ImputerConfig

CHUNK = 32  # rows recorded at once

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Cell:
    """An imputed cell.

    Attributes:
        row: Place of its row in its split.
        column: Its column.
        value: The mean of what it may hold, or the likeliest category; `None` where no valid value was found.
        low: Lower end of the interval; of categories, `None`.
        high: Upper end.
        likely: Of categories: those that hold as much of the probability as the interval.
        valid: The probability that the model writes a value of the column at all.
        how: What happened.
    """

    row: int
    column: str
    value: Any
    low: Any
    high: Any
    likely: tuple[str, ...]
    valid: float
    how: str


@dataclass(frozen=True)
class Completed:
    """Rows with their missing cells imputed.

    Attributes:
        tables: The rows with draws, one table each imputation.
        best: The rows with means and likeliest categories.
        cells: Every cell that was missing.
    """

    tables: list[list[dict[str, Any]]]
    best: list[dict[str, Any]]
    cells: list[Cell]


class Imputer:
    """A model tuned on the observed cells of rows; it completes these and others.

    Args:
        schema: The columns.
        rows: What to learn from, read by the schema.
        source: The model.
        config: See `ImputerConfig`.
        task: See `ImputeConfig`.
        journal: Records tuning and every chunk of answers; by default nothing is recorded.

    Raises:
        InputError: For a table of which nothing can be learnt.
    """

    def __init__(
        self,
        schema: Schema,
        rows: Rows,
        source: Source,
        config: ImputerConfig,
        task: ImputeConfig,
        journal: Journal | None = None,
    ):
        from transformers import AutoTokenizer

        self.schema, self.config, self.task, self.journal = schema, config, task, journal or Journal(None)
        tokenizer = AutoTokenizer.from_pretrained(source.path)
        self.serialiser = Serialiser(codings(schema, rows, task.bins, tokenizer), tokenizer)
        self.label = task.label_column
        if len([name for name in self.serialiser.codings if name != self.label]) < 2:
            raise InputError("a table needs two columns of numbers or categories with observed cells to be imputed")
        told = asdict(config)
        inputs = [told, self.label, schema.facts(), source.sha256, digest([dict(row) for row in rows]), task.bins]
        self.folder = self.journal.once_folder("imputer", inputs, lambda folder: self._tune(folder, rows, source))
        self.inputs = digest([inputs, task.attempts])
        self.predictor: Predictor = TunedModel(source.path, self.folder, config)

    def _tune(self, folder: Path, rows: Rows, source: Source) -> None:
        from .tune import tune_on_cells

        tune_on_cells(source.path, source.facts(), self.serialiser, rows, self.label, self.config, folder)

    @property
    def chains(self) -> Chains:
        """What asks the model."""
        return Chains(self.predictor, self.serialiser, self.config.seed, self.task.attempts, self.config.orders)

    def holes(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the columns of a row that are missing and can be imputed."""
        return tuple(name for name in self.serialiser.codings if row[name] is None and name != self.label)

    def distributions(self, wanted: Sequence[Wanted]) -> dict[tuple[str, str], Answer]:
        """Return how likely each word of each wanted cell is, and any of them at all; by row and column."""
        found: dict[tuple[str, str], Answer] = {}
        for part in chunked(wanted, CHUNK):
            answers = self._once("cells", part, lambda part=part: self.chains.distributions(part))
            for one, own in zip(part, answers, strict=True):
                found |= {(one.key, name): answer for name, answer in own.items()}
        return found

    def draws(self, wanted: Sequence[Wanted], chains: int) -> dict[str, list[dict[str, Any]]]:
        """Return the wanted cells of each row, drawn together, `chains` times; by row."""
        found: dict[str, list[dict[str, Any]]] = {}
        for part in chunked(wanted, CHUNK):
            drawn = self._once(f"draws-{chains}", part, lambda part=part: self.chains.draws(part, chains))
            found |= {one.key: own for one, own in zip(part, drawn, strict=True)}
        return found

    def _once(self, name: str, part: Sequence[Wanted], compute: Any) -> Any:
        rows = [[one.key, dict(one.row), one.cells, one.given] for one in part]
        return self.journal.once(name, [self.inputs, rows], compute)

    def complete(self, rows: Rows, name: str) -> Completed:
        """Impute what is missing in rows.

        Args:
            rows: Rows that the schema has read.
            name: Names them, for their random streams.
        """
        best, cells = self.guess(rows, name)
        drawn = self.draws(self._wanted(rows, name), self.task.imputations)
        empty = {(cell.row, cell.column) for cell in cells if cell.value is None}
        tables = [[dict(row) for row in rows] for _ in range(self.task.imputations)]
        for at in range(len(rows)):
            for table, own in zip(tables, drawn.get(f"{name}:{at}", ()), strict=False):
                table[at].update({column: value for column, value in own.items() if (at, column) not in empty})
        return Completed(tables, best, cells)

    def guess(self, rows: Rows, name: str) -> tuple[list[dict[str, Any]], list[Cell]]:
        """Return rows with means and likeliest categories, and every cell that was missing; see `complete`."""
        wanted = self._wanted(rows, name)
        known, best, cells = self.distributions(wanted), [dict(row) for row in rows], []
        for at, one in enumerate(wanted):
            for column in one.cells:
                cells.append(self._cell(at, column, *known[one.key, column]))
                best[at][column] = self._written(cells[-1])
            cells += [
                Cell(at, column, None, None, None, (), 0.0, f"not imputed: {self._why(column)}")
                for column in self._others(rows[at])
            ]
        return best, cells

    def _wanted(self, rows: Rows, name: str) -> list[Wanted]:
        read = [self.read(row) for row in rows]
        return [Wanted(f"{name}:{at}", row, self.holes(row)) for at, row in enumerate(read)]

    def read(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the generator sees of a row: never its label."""
        return {name: None if name == self.label else row[name] for name in self.serialiser.codings}

    def _cell(self, at: int, column: str, spread: Sequence[float], valid: float) -> Cell:
        share, attempts = self.task.interval, self.task.attempts
        found = self.serialiser.codings[column].distribution(spread)  # as long as the table: none is kept
        if valid * attempts < 1:
            how = f"no valid value; the model gives those of the column {valid:.2g}, less than one in {attempts} draws"
            return Cell(at, column, None, None, None, (), valid, how)
        if not found.column.numeric:
            likely = tuple(found.likely(share))
            return Cell(at, column, found.best(), None, None, likely, valid, "likeliest category")
        low, high = found.quantile((1 - share) / 2), found.quantile((1 + share) / 2)
        return Cell(at, column, found.best(), low, high, (), valid, "mean")

    def _written(self, cell: Cell) -> Any:
        column = self.schema.columns[cell.column]
        return column.rounded(cell.value) if cell.value is not None and column.numeric else cell.value

    def _others(self, row: Mapping[str, Any]) -> list[str]:
        """Return the columns of a row that are missing and that nobody imputes."""
        return [
            name
            for name, value in row.items()
            if value is None and (name not in self.serialiser.codings or name == self.label)
        ]

    def _why(self, name: str) -> str:
        """Return why nobody imputes a column."""
        if name == self.label:
            return "the label"
        if self.schema.columns[name].imputable:
            return "no observed cell to learn from"
        if self.schema.columns[name].type == "id":
            return "an id"
        return f"neither numbers nor categories, of which a column has {CATEGORIES} at most"

    def synthesize(self, label: str, rows: int) -> list[dict[str, Any]]:
        """Write whole rows of a label; a row with a cell that has no valid value is left out.

        Raises:
            InputError: If there is no such label, or no row could be written.
        """
        column = self.label or ""
        names = tuple(name for name in self.serialiser.codings if name != column)
        blank: dict[str, Any] = {**dict.fromkeys(self.schema.columns), column: label}
        wanted = [Wanted(f"synthetic:{at}", blank, names, (column,)) for at in range(rows)]
        drawn = self.draws(wanted, 1)
        found = [{**blank, **own} for one in wanted for own in drawn[one.key] if None not in own.values()]
        if not found:
            raise InputError(f"no row of {label!r} could be written in {rows} tries: the model gives no valid values")
        return found


def hide(rows: Rows, schema: Schema, label: str | None, share: float, seed: int) -> tuple[list[dict[str, Any]], list]:
    """Return rows without a share of their observed cells, and which these are, as (row, column).

    Every row keeps a cell, and every column two.
    """
    rng, left = random.Random(f"{seed}:hidden"), [dict(row) for row in rows]
    names = [name for name, column in schema.columns.items() if column.imputable and name != label]
    cells = [(at, name) for at, row in enumerate(rows) for name in names if row[name] is not None]
    of_row, of_column = Counter(at for at, _ in cells), Counter(name for _, name in cells)
    hidden = []
    for at, name in rng.sample(cells, round(share * len(cells))):
        if of_row[at] > 1 and of_column[name] > 2:
            left[at][name] = None
            of_row[at] -= 1
            of_column[name] -= 1
            hidden.append((at, name))
    return left, sorted(hidden)
