"""How different the texts are from each other, beside as many real ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..metrics.distinct import distinct
from ..metrics.sampling import drawn
from ..metrics.self_bleu import self_bleu
from ..metrics.similarity import similarity
from ..metrics.vendi import vendi
from . import limits
from .records import Rows, Verdict, skipped

TEXTS = 1_000  # as ZeroGen measures
NO_REFERENCE = "measured, not judged: that needs a `reference`"


def equal(own: Rows, real: Rows | None, seed: int) -> tuple[Rows, Rows | None]:
    """Return as many rows of both, at most TEXTS: most measures depend on the number of texts."""
    count = min(len(own), TEXTS, len(real) if real is not None else TEXTS)
    drawn_real = None if real is None else real.take(drawn(len(real), count, seed))
    return own.take(drawn(len(own), count, seed)), drawn_real


def repetition(own: Rows, real: Rows | None, seed: int) -> Verdict:
    """Self-BLEU-4: how much of a text stands in the others."""
    mine, theirs = (None if rows is None else self_bleu(rows.texts, seed=seed) for rows in (own, real))
    return _more("self-BLEU-4", "self_bleu_4", mine, theirs, times=limits.REPETITIVE)


def vocabulary(own: Rows, real: Rows | None, seed: int) -> Verdict:
    """Distinct-2: different pairs of words among all."""
    mine, theirs = (None if rows is None else distinct(rows.texts, seed=seed) for rows in (own, real))
    return _less("distinct-2", "distinct_2", mine, theirs)


def likeness(own: Rows, real: Rows | None) -> Verdict:
    """Average pairwise similarity within classes: how alike a class's texts are."""
    if own.vectors is None:
        return skipped("similarity in class", "needs an encoder")
    mine, theirs = (
        None if rows is None else similarity(_vectors(rows), [rows.names[at] for at in rows.labels])
        for rows in (own, real)
    )
    return _more("similarity in class", "within", mine, theirs, plus=limits.ALIKE)


def effective(own: Rows, real: Rows | None, seed: int) -> Verdict:
    """Vendi score: the effective number of different texts."""
    if own.vectors is None:
        return skipped("Vendi score", "needs an encoder")
    mine, theirs = (None if rows is None else vendi(_vectors(rows), seed=seed) for rows in (own, real))
    return _less("Vendi score", "vendi", mine, theirs)


def _vectors(rows: Rows) -> np.ndarray:
    assert rows.vectors is not None  # both sides are encoded, or none
    return rows.vectors


def _less(check: str, key: str, mine: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None) -> Verdict:
    """Judge a figure that should not be far below the reference's."""
    if mine is None or mine[key] is None or theirs is None or theirs[key] is None:
        return skipped(check, NO_REFERENCE, own=mine, reference=theirs)
    limit = limits.LESS_DIVERSE * theirs[key]
    high = (mine[f"{key}_interval"] or [mine[key]] * 2)[1]
    return _verdict(check, key, mine, theirs, limit, high < limit)


def _more(
    check: str,
    key: str,
    mine: Mapping[str, Any] | None,
    theirs: Mapping[str, Any] | None,
    times: float = 1.0,
    plus: float = 0.0,
) -> Verdict:
    """Judge a figure that should not be far above the reference's."""
    if mine is None or mine[key] is None or theirs is None or theirs[key] is None:
        return skipped(check, NO_REFERENCE, own=mine, reference=theirs)
    limit = times * theirs[key] + plus
    low = (mine[f"{key}_interval"] or [mine[key]] * 2)[0]
    return _verdict(check, key, mine, theirs, limit, low > limit)


def _verdict(
    check: str, key: str, mine: Mapping[str, Any], theirs: Mapping[str, Any], limit: float, far: bool
) -> Verdict:
    reason = f"{mine[key]:.3g}, and {theirs[key]:.3g} in {theirs['rows']} rows of the reference"
    if far:
        reason += ": the texts are far more alike than real ones"
    told = {"own": dict(mine), "reference": dict(theirs)}
    return Verdict(check, "look" if far else "good", mine[key], limit, reason, (), told)
