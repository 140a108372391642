"""Rows that repeat other rows, in the same words, nearly the same, or the same meaning, and those with two labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..metrics.classification import wilson
from ..metrics.near_duplicates import COSINE, THRESHOLD, by_vectors, by_words, summary
from . import limits
from .records import Ints, Rows, Verdict, level, percent, repetition, share_of, skipped

EXAMPLES = 50  # groups that are shown
Baseline = tuple[float, int]  # the reference's rate, and of how many rows


def grouped(own: Rows, seed: int) -> tuple[Ints, Ints]:
    """Return the group of each row, [N]: of exact repetitions, and of near-duplicates; computed once."""
    return by_words(own.texts, seed=seed)


def exact(own: Rows, group: Ints, seed: int, real: Baseline | None = None) -> Verdict:
    """Rows whose letters and digits are those of an earlier row."""
    return _verdict("exact duplicates", own, group, seed, limits.EXACT, real, {})


def near(own: Rows, group: Ints, seed: int, real: Baseline | None = None) -> Verdict:
    """Rows that differ from another in a word or so; exact duplicates are among them."""
    return _verdict("near-duplicates", own, group, seed, limits.NEAR, real, {"jaccard": THRESHOLD})


def meaning(own: Rows, seed: int, real: Baseline | None = None) -> Verdict:
    """Rows whose embedding is nearly that of another row."""
    if own.vectors is None:
        return skipped("duplicates by meaning", "needs an encoder")
    told = {"cosine": COSINE}
    return _verdict("duplicates by meaning", own, by_vectors(own.vectors), seed, limits.MEANING, real, told)


def rate(group: Ints) -> float:
    """Return the share of rows that would go if one of each group stayed."""
    return 1 - len(np.unique(group)) / len(group)


def two_labels(own: Rows, group: Ints) -> Verdict:
    """Rows with the same words as a row of another label."""
    order = np.argsort(group, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    rows = [
        {"row": int(own.index[at]), "label": own.names[own.labels[at]], "group": int(own.index[some[0]])}
        for some in members
        if len(set(own.labels[some])) > 1
        for at in some
    ]
    told = share_of(len(rows), len(own))
    share = told["share"]
    reason = f"{len(rows)} of {len(own):,} rows have the words of a row with another label"
    verdict = level(share, limits.TWO_LABELS)
    named = rows[: limits.MOST_ROWS]
    return Verdict("duplicates, two labels", verdict, share, limits.TWO_LABELS[0], reason, named, told, len(rows))


def _verdict(
    check: str,
    own: Rows,
    group: Ints,
    seed: int,
    shares: tuple[float, float],
    real: Baseline | None,
    told: dict[str, Any],
) -> Verdict:
    found = summary(group, seed)
    times, words = repetition(real, len(own), shares[0])
    groups = [[int(own.index[at]) for at in some] for some in found.pop("groups")]
    rows = [{"row": row, "group": some[0]} for some in groups for row in some]
    reason = f"{percent(found['rate'])} of the rows repeat another, in {len(groups)} groups"
    if groups:
        reason += f", the largest of {len(groups[0])} rows"
    told |= {"rows": len(own), "seed": seed, **found, "reference_rate": real[0] if real else None}
    told["groups"] = groups[:EXAMPLES]
    # Not the bootstrap over groups: one that holds all repetitions is in a third of its draws left out.
    low, _ = wilson(round(found["rate"] * len(own)), len(own))
    verdict = level(low, shares, times)
    limit, named = shares[0] * times, rows[: limits.MOST_ROWS]
    return Verdict(check, verdict, found["rate"], limit, reason + words, named, told, len(rows))
