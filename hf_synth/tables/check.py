"""What is told of an imputed table: errors and coverage on hidden cells, pooled means, privacy of synthetic rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..metrics.classification import wilson
from ..metrics.closest_record import closest_record
from ..metrics.membership import membership
from .chains import Wanted
from .impute import Completed, Imputer
from .pool import rubin
from .schema import Schema
from .serialise import Distribution
from .vectors import counted, vectors

Rows = Sequence[Mapping[str, Any]]


def hidden_cells(
    imputer: Imputer, learnt: Rows, rows: Rows, hidden: Sequence[tuple[int, str]]
) -> list[dict[str, Any]]:
    """Ask for cells that nothing was learnt from, and compare with what stands there.

    Args:
        imputer: What has learnt.
        learnt: The rows that it has learnt from.
        rows: The same with their hidden cells.
        hidden: Row and column of each.

    Returns:
        One mapping for each column with hidden cells: its name, `cells`, `error` (root mean squared of numbers, share
        of wrong categories), `baseline` (the same of the mean or the commonest category), and `covered`, the share of
        cells inside their interval, with its 95 % interval.
    """
    by_row: dict[int, list[str]] = defaultdict(list)
    by_column: dict[str, list[int]] = defaultdict(list)
    for at, name in hidden:
        by_row[at].append(name)
        by_column[name].append(at)
    wanted = [Wanted(f"hidden:{at}", imputer.read(learnt[at]), tuple(by_row[at])) for at in sorted(by_row)]
    known = imputer.distributions(wanted)
    found = []
    for name, coding in imputer.serialiser.codings.items():
        if places := by_column.get(name):
            cells = ((coding.distribution(known[f"hidden:{at}", name][0]), rows[at][name]) for at in places)
            observed = [row[name] for row in learnt if row[name] is not None]
            found.append({"column": name, "cells": len(places), **compared(cells, observed, imputer.task.interval)})
    return found


def covered(checked: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the coverage over all columns of what `hidden_cells` found, if there is any."""
    cells = sum(one["cells"] for one in checked)
    if not cells:
        return None
    inside = round(sum(one["covered"] * one["cells"] for one in checked))
    return {"cells": cells, "covered": inside / cells, "interval": list(wilson(inside, cells))}


def compared(cells: Iterable[tuple[Distribution, Any]], observed: Sequence[Any], share: float) -> dict[str, Any]:
    """Compare distributions of a column with what stands in the cells.

    Args:
        cells: Distribution and truth of each, of one column; each is as long as the table, and none is kept.
        observed: The column's observed values.
        share: Of the probability, that an interval holds.
    """
    best, truths, inside, numeric = [], [], [], False
    for one, truth in cells:
        numeric = one.column.numeric
        best.append(one.best())
        truths.append(truth)
        inside.append(
            one.quantile((1 - share) / 2) <= truth <= one.quantile((1 + share) / 2)
            if numeric
            else truth in one.likely(share)
        )
    if numeric:
        own = np.array(best) - np.array(truths, float)
        mean = np.clip(np.mean(observed), min(observed), max(observed))  # of equal values that, to the last bit
        plain = float(mean) - np.array(truths, float)
        error, baseline = float(np.sqrt(np.mean(own**2))), float(np.sqrt(np.mean(plain**2)))
    else:
        common = Counter(observed).most_common(1)[0][0]
        error = float(np.mean([guess != truth for guess, truth in zip(best, truths, strict=True)]))
        baseline = float(np.mean([common != truth for truth in truths]))
    return {
        "error": error,
        "baseline": baseline,
        "covered": sum(inside) / len(inside),
        "covered_interval": list(wilson(sum(inside), len(inside))),
    }


def pooled_means(schema: Schema, rows: Rows, completed: Completed) -> list[dict[str, Any]]:
    """Return the pooled mean of each column of numbers with missing cells, beside that of the observed ones."""
    found = []
    for name, column in schema.columns.items():
        observed = [row[name] for row in rows if row[name] is not None]
        tables = [[row[name] for row in table if row[name] is not None] for table in completed.tables]
        if not column.numeric or len(observed) in (0, len(rows)) or min(map(len, tables)) < 2:
            continue
        means = [float(np.mean(values)) for values in tables]
        pooled = rubin(means, [float(np.var(values, ddof=1)) / len(values) for values in tables])
        low, high = pooled.interval()
        found.append(
            {
                "column": name,
                "missing": len(rows) - len(observed),
                "observed_mean": float(np.mean(observed)),
                "pooled_mean": pooled.estimate,
                "interval": [low, high],
                "unknown": pooled.between,
            }
        )
    return found


def privacy(schema: Schema, synthetic: Rows, learnt: Rows, holdout: Rows, seed: int) -> dict[str, Any]:
    """Return distance to closest record and membership inference of synthetic rows, over what both rows hold."""
    tables = [vectors(part, schema, learnt, holes=True) for part in (synthetic, learnt, holdout)]
    given: dict[str, Any] = {"counted": counted(schema, learnt), "seed": seed}
    return {"closest_record": closest_record(*tables, **given), "membership": membership(*tables, **given)}
