"""How rows spread over the classes."""

from __future__ import annotations

import numpy as np

from . import limits
from .records import Rows, Verdict, percent, skipped


def shares(own: Rows, real: Rows | None) -> Verdict:
    """The class that is most short of rows, beside its share of the reference or, without one, of an even split."""
    check = "balance"
    counts = np.bincount(own.labels, minlength=len(own.names))
    found = {name: int(count) for name, count in zip(own.names, counts, strict=True)}
    expected, beside = np.full(len(own.names), 1 / len(own.names)), "an even split"
    if real is not None and set(own.names) <= set(real.names):
        theirs = np.bincount(real.labels, minlength=len(real.names)) / len(real)
        expected = np.array([theirs[real.names.index(name)] for name in own.names])
        beside = "the reference"
    enough = np.flatnonzero(expected * len(own) >= limits.LEAST)  # or chance alone halves a class
    if len(own.names) < 2 or not len(enough):
        return skipped(check, f"needs two classes that should have {limits.LEAST} rows or more", counts=found)
    ratios = counts[enough] / len(own) / expected[enough]
    least = int(enough[ratios.argmin()])
    value = float(ratios.min())
    look, bad = limits.SHARE
    reason = (
        f"{own.names[least]!r} has {percent(counts[least] / len(own))} of the rows and "
        f"{percent(expected[least])} in {beside}"
    )
    told = {"rows": len(own), "counts": found, "beside": beside}
    return Verdict(check, "bad" if value < bad else "look" if value < look else "good", value, look, reason, (), told)
