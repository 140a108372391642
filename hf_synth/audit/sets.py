"""How many labels texts have, and which of them together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from ..metrics.sampling import ratio_interval
from . import counts, limits
from .records import Level, Verdict, percent, skipped

Sets = Sequence[Sequence[str]]  # the labels of each row


def sizes(own: Sets, real: Sets | None, seed: int) -> Verdict:
    """How many labels a text has, none among them, beside the reference."""
    numbers = [[("", len({*row})) for row in rows] for rows in (own, real or ())]
    return counts.beside("labels a text", "labels a text", numbers[0], numbers[1] if real else None, seed)


def together(own: Sets, real: Sets | None) -> Verdict:
    """Labels that stand together here and never do in the reference, so that its students never learn it.

    The share of all pairs of labels in a text that the reference knows; judged by the upper end of its interval beside
    what one more row of the reference would have: one less the share of its pairs that stand in one row alone (Good
    and Turing; Good 1953).
    """
    check, mine = "labels together", [_pairs(row) for row in own]
    total = sum(map(len, mine))
    if real is None or not total:
        return skipped(check, "needs a `reference`" if total else "no text has two labels", rows=len(own))
    theirs = Counter(pair for row in real for pair in _pairs(row))
    if not theirs:
        return skipped(check, "no text of the reference has two labels", rows=len(own))
    known = np.array([sum(pair in theirs for pair in row) for row in mine])
    value, expected = int(known.sum()) / total, 1 - sum(n == 1 for n in theirs.values()) / theirs.total()
    interval = ratio_interval(known, np.array([len(row) for row in mine]))
    strange = Counter(pair for row in mine for pair in row if pair not in theirs).most_common(3)
    reason = f"{percent(value)} of the pairs of labels in a text are those of a text of the reference"
    reason += f" (of its own next row: {percent(expected)})"
    reason += f"; most often not: {', '.join(f'{one} with {two}' for (one, two), _ in strange)}" if strange else ""
    limit = expected - limits.TOGETHER
    if limit <= 0:
        return skipped(check, f"{reason}; measured, not judged: the reference has too few", rows=len(own))
    verdict: Level = "look" if interval[1] < limit else "good"
    told = {"rows": len(own), "pairs": total, "reference_pairs": theirs.total(), "interval": interval}
    return Verdict(check, verdict, value, limit, reason, (), told | {"expected": expected})


def _pairs(row: Sequence[str]) -> list[tuple[str, str]]:
    return list(combinations(sorted({*row}), 2))
