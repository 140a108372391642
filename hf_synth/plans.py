"""The rounds of a plan: what each label gets next, what that gained, and the account of what was not written."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from .errors import InputError
from .exemplars import SEED
from .journal import digest
from .planner import PlanConfig, allotted, judged, shares
from .records import Example
from .rounds import GAIN
from .run import Run


class Plans:
    """Plans rounds by real rows; everything that floats decide goes through `Run.once`.

    Args:
        run: Has the task, the seed and the journal.
        config: See `PlanConfig`.
        real: Text and label of each real row, in the order of the seeds.

    Attributes:
        table: What is known of each round, for the card.

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
        self.table: list[dict[str, Any]] = []

    def next(self, rows: Sequence[Example], size: int) -> dict[Hashable, int]:
        """Return how many of the next rows each label gets; none that was given up.

        Args:
            rows: Those written so far.
            size: Of the round.
        """
        found = self._judged(rows)
        before = self.table[-1] if self.table else None
        gain = None
        if before and len(rows) > before["rows"]:
            gain = round((found["recall"] - before["mean recall"]) / (len(rows) - before["rows"]) * 1000, 4)
        told = {"rows": len(rows), "mean recall": round(found["recall"], 4), GAIN: gain}
        self.table.append(told)
        written = Counter(str(example.cell) for example in rows)
        wanted = shares(self.config, self.counts, np.array(found["errors"]), self.names)
        wanted = wanted * [name not in self.run.ledger.accounts for name in self.names]
        if not wanted.sum():
            return {}
        parts = allotted(size, wanted / wanted.sum(), [written[name] for name in self.names])
        return {name: count for name, count in zip(self.names, parts, strict=True) if count}

    def end(self, rows: Sequence[Example], over: Sequence[Example], stalled: str) -> None:
        """Note the plan, drop what no round needed, and account for rows that were wanted and are not there."""
        self.run.surplus(over)
        written = Counter(str(example.cell) for example in rows)
        self.run.note("plan", self.table)
        self.run.note(
            "rows",
            [
                {"label": name, "real": int(count), "written": written[name]}
                for name, count in zip(self.names, self.counts, strict=True)
            ],
        )
        if len(rows) < self.run.num_rows:
            reason = stalled or "every label was given up"
            self.run.ledger.account("all labels", f"{len(rows)} of {self.run.num_rows} rows: {reason}")

    def _judged(self, rows: Sequence[Example]) -> dict[str, Any]:
        column = self.run.task.generated
        texts = [*(text for text, _ in self.real), *(example.fields[column] for example in rows)]
        labels = [*(label for _, label in self.real), *(str(example.cell) for example in rows)]
        origins = [*range(len(self.real)), *(int(example.prompt.attributes[SEED]) for example in rows)]
        inputs = [dataclasses.asdict(self.config), digest([texts, labels, origins])]
        return self.run.once("plan", inputs, lambda: self._compute(texts, labels, origins))

    def _compute(self, texts: Sequence[str], labels: Sequence[str], origins: Sequence[int]) -> dict[str, Any]:
        from .models import resolve
        from .retrieval.encode import Encoder

        vectors = Encoder(resolve(self.config.planner).path, "mean", True, 128)(texts)
        places = np.array([self.names.index(label) for label in labels])
        errors, figures = judged(vectors, places, len(self.names), np.array(origins), self.config.certainty)
        return {"errors": errors.round(8).tolist(), **figures}
