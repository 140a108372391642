"""Small numbers of a row, such as of its labels or slots, beside those of real rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import limits
from .records import Level, Verdict, skipped

DRAWS = 500  # by which chance is known
Counted = Sequence[tuple[str, int]]  # of each row the group within which it is compared, and its number


def beside(check: str, what: str, own: Counted, real: Counted | None, seed: int) -> Verdict:
    """How far numbers are spread in other shares than the reference's.

    The value is the total variation distance between both distributions, 0 to 1, within each group that has rows
    enough in both, a mean over the data set's rows of these; judged by its excess over what chance stays below in 95
    of 100 draws of as many rows from both together.

    Args:
        check: Its name.
        what: Says in words what the mean number is.
        own: Of the data set's rows.
        real: Of the reference's.
        seed: Decides the draws.
    """
    mine, theirs = _figures(own), None if real is None else _figures(real)
    told: dict[str, Any] = {"rows": len(own), "own": mine, "reference": theirs, "seed": seed}
    reason = f"{mine['mean']:.2f} {what}"
    tables = [] if real is None else _tables(own, real)
    if theirs is None or not tables:
        lacks = "that needs a `reference`" if theirs is None else f"no kind has {limits.FEW} rows in both"
        return skipped(check, f"{reason}; measured, not judged: {lacks}", **told)
    draw, sizes = np.random.default_rng(seed), [table.sum(1) for table in tables]
    found = [apart(table, size) for table, size in zip(tables, sizes, strict=True)]
    drawn = [by_chance(table.sum(0), size, draw) for table, size in zip(tables, sizes, strict=True)]
    weights = [size[0] for size in sizes]
    value = float(np.average(found, weights=weights))
    chance = float(np.quantile(np.average(drawn, axis=0, weights=weights), 0.95))
    reason += f" (the reference: {theirs['mean']:.2f}), differing by {value:.2f}"
    reason += f" (total variation; chance {chance:.2f})"
    verdict: Level = "look" if value > chance + limits.COUNTS else "good"
    return Verdict(check, verdict, value, chance + limits.COUNTS, reason, (), told | {"chance": chance})


def _figures(rows: Counted) -> dict[str, Any]:
    counts = Counter(number for _, number in rows)
    shares = {str(number): counts[number] / len(rows) for number in sorted(counts)}
    return {"rows": len(rows), "mean": float(np.mean([number for _, number in rows])), "shares": shares}


def _tables(own: Counted, real: Counted) -> list[np.ndarray]:
    """Return how often each number stands in the rows of both, [2, V], of each group with rows enough."""
    sides, found = (Counter(own), Counter(real)), []
    for group in sorted({name for name, _ in sides[0]}):
        numbers = sorted({number for side in sides for name, number in side if name == group})
        table = np.array([[side[group, number] for number in numbers] for side in sides])
        if table.sum(1).min() >= limits.FEW:
            found.append(table)
    return found


def by_chance(together: np.ndarray, sizes: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Return the distances, [DRAWS], of two sides of these sizes between which the rows of both are dealt at random.

    Drawn with replacement instead, values that stand in one row each would look more alike than they are.
    """
    ours = draw.multivariate_hypergeometric(together, sizes[0], DRAWS)
    return np.array([apart(np.array([one, together - one]), sizes) for one in ours])


def apart(table: np.ndarray, sizes: np.ndarray) -> float:
    """Return the total variation distance, 0 to 1, between two sides that have so many rows of each value, [2, V]."""
    one, other = table / sizes[:, None]
    return 0.5 * float(np.abs(one - other).sum())
