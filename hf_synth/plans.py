"""The rounds of a plan: what each cell gets next, what that gained, and the account of what was not written."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .exemplars import SEED
from .journal import digest
from .planner import (
    PlanConfig,
    allotted,
    by_frequency,
    cell_errors,
    cell_of,
    cells_of,
    label_errors,
    left_out,
    recall_and_f1,
    shares,
    split,
)
from .records import Completion, Example, Prompt
from .rounds import GAIN
from .run import Parse, Run


class Plans:
    """Plans rounds by real rows; everything that floats decide goes through `Run.once`.

    Args:
        run: Has the task, the seed and the journal.
        config: See `PlanConfig`.
        real: Text and label of each real row, in the order of the seeds.

    Attributes:
        cells: Cell -> its label and what its prompts state beside that: see `cells_of`.
        table: What is known of each round, for the card.
        curves: The same of the labels of most and of fewest real rows.

    Raises:
        InputError: For labels without a real row.
    """

    def __init__(self, run: Run, config: PlanConfig, real: Sequence[tuple[str, str]]):
        self.run, self.config, self.real = run, config, real
        self.names = list(run.task.labels)
        counts = Counter(label for _, label in real)
        self.counts = np.array([counts[name] for name in self.names])
        if lacking := [name for name in self.names if not counts[name]]:
            raise InputError(
                f"`seen_rows` holds no row of {', '.join(lacking)}: a label's rows are written from real ones of it, "
                "so add one or more of each, or take the labels out of the task"
            )
        self.cells = cells_of(run.task, config.attribute)
        self.owners = np.array([self.names.index(label) for label, _ in self.cells.values()])
        self.errors = np.zeros(len(self.cells))
        self.table: list[dict[str, Any]] = []
        self.curves: list[dict[str, Any]] = []

    def read_by(self, read: Parse) -> Parse:
        """Return a parser whose examples are counted in the cell that their prompt was asked for."""
        name = self.config.attribute

        def parse(prompt: Prompt, completion: Completion) -> Example | str:
            found = read(prompt, completion)
            if name is None or isinstance(found, str):
                return found
            return dataclasses.replace(found, cell=cell_of(str(prompt.cell), name, prompt.attributes[name]))

        return parse

    def next(self, rows: Sequence[Example], size: int) -> dict[Hashable, int]:
        """Return how many of the next rows each cell gets; none that was given up.

        Args:
            rows: Those written so far.
            size: Of the round.
        """
        errors = self._judge(rows)
        before = Counter(example.cell for example in rows)
        written = np.array([before[cell] for cell in self.cells])
        asked = np.array([cell not in self.run.ledger.accounts for cell in self.cells])
        wanted = shares(self.config, self.counts, errors, self.names) * (np.bincount(self.owners, asked) > 0)
        if not wanted.sum():
            return {}
        parts = allotted(size, wanted / wanted.sum(), np.bincount(self.owners, written).astype(int).tolist())
        keys, found = [*self.cells], dict[Hashable, int]()
        for label in np.flatnonzero(parts):
            own = np.flatnonzero((self.owners == label) & asked)
            counts = allotted(parts[label], split(self.config, self.errors[own]), written[own].tolist())
            found |= {keys[at]: count for at, count in zip(own, counts, strict=True) if count}
        return found

    def end(self, rows: Sequence[Example], over: Sequence[Example], stalled: str) -> None:
        """Note the plan, drop what no round needed, and account for rows that were wanted and are not there."""
        self.run.surplus(over)
        if self.table[-1]["rows"] < len(rows):
            self._judge(rows)
        self.run.note("plan", self.table)
        self.run.note("learning curves", self.curves)
        written = Counter(str(example.target) for example in rows)
        self.run.note(
            "rows",
            [
                {"label": name, "real": int(count), "written": written[name]}
                for name, count in zip(self.names, self.counts, strict=True)
            ],
        )
        if self.config.attribute is not None:
            kept = Counter(example.cell for example in rows)
            self.run.note(
                "cells",
                [
                    {"label": label, **asked, "written": kept[cell], "error": round(error, 4) if kept[cell] else None}
                    for (cell, (label, asked)), error in zip(self.cells.items(), self.errors.tolist(), strict=True)
                ],
            )
        if len(rows) < self.run.num_rows:
            reason = stalled or "every label was given up"
            self.run.ledger.account("all labels", f"{len(rows)} of {self.run.num_rows} rows: {reason}")

    def _judge(self, rows: Sequence[Example]) -> NDArray[np.float64]:
        """Put what is known of the rows so far into the tables; return the error of each label, [K]."""
        found = self._judged(rows)
        before, gain = self.table[-1] if self.table else None, None
        if before and len(rows) > before["rows"]:
            gain = round((found["recall"] - before["mean recall"]) / (len(rows) - before["rows"]) * 1000, 4)
        self.table.append({"rows": len(rows), "mean recall": round(found["recall"], 4), GAIN: gain})
        self.curves += [{"rows": len(rows), **told} for told in found["parts"]]
        self.errors = np.array(found["cells"])
        return np.array(found["errors"])

    def _judged(self, rows: Sequence[Example]) -> dict[str, Any]:
        column, places = self.run.task.generated, {cell: at for at, cell in enumerate(self.cells)}
        texts = [*(text for text, _ in self.real), *(example.fields[column] for example in rows)]
        labels = [*(label for _, label in self.real), *(str(example.target) for example in rows)]
        origins = [*range(len(self.real)), *(int(example.prompt.attributes[SEED]) for example in rows)]
        cells = [places[str(example.cell)] for example in rows]
        inputs = [dataclasses.asdict(self.config), digest([texts, labels, origins, cells])]
        return self.run.once("plan", inputs, lambda: self._compute(texts, labels, origins, cells))

    def _compute(
        self, texts: Sequence[str], labels: Sequence[str], origins: Sequence[int], cells: Sequence[int]
    ) -> dict[str, Any]:
        from .models import resolve
        from .retrieval.encode import Encoder

        vectors = Encoder(resolve(self.config.planner).path, "mean", True, 128)(texts)
        places, classes = np.array([self.names.index(label) for label in labels]), len(self.names)
        told, certainty = left_out(vectors, places, classes, np.array(origins)), self.config.certainty
        real = len(self.real)
        predicted, own = told[:real].argmax(1), places[:real]
        of_cells = cell_errors(told[real:], places[real:], np.array(cells, dtype=int), self.owners, certainty)
        return {
            "errors": label_errors(told[:real], own, certainty).round(8).tolist(),
            "cells": of_cells.round(8).tolist(),
            "recall": float(recall_and_f1(predicted, own, classes)[0].mean()),
            "parts": by_frequency(predicted, own, self.counts),
        }
