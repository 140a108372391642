"""How rows spread over the classes."""

from __future__ import annotations

import numpy as np

from . import limits
from .records import Level, Rows, Verdict, percent, share_of, skipped


def shares(own: Rows, real: Rows | None) -> Verdict:
    """The class that is most short of rows, beside its share of the reference or, without one, of an even split."""
    check, names, beside = "balance", list(own.names), "an even split"
    expected = np.full(len(names), 1 / len(names))
    if real is not None and set(names) <= set(real.names):  # a class that the data set lacks is missed, too
        names, beside = list(real.names), "the reference"
        expected = np.bincount(real.labels, minlength=len(names)) / len(real)
    counts = np.bincount([names.index(own.names[at]) for at in own.labels], minlength=len(names))
    told = {"rows": len(own), "counts": dict(zip(names, counts.tolist(), strict=True)), "beside": beside}
    enough = np.flatnonzero(expected * len(own) >= limits.LEAST)  # or chance alone halves a class
    if len(names) < 2 or not len(enough):
        return skipped(check, f"needs two classes that should have {limits.LEAST} rows or more", **told)
    least = int(enough[(counts[enough] / expected[enough]).argmin()])
    found = share_of(int(counts[least]), len(own))
    value, (look, bad) = found["share"] / float(expected[least]), limits.SHARE
    verdict: Level = "bad" if value < bad else "look" if value < look else "good"
    reason = f"{names[least]!r} has {percent(found['share'])} of the rows and {percent(expected[least])} in {beside}"
    return Verdict(check, verdict, value, look, reason, (), told | {"least": {"class": names[least], **found}})
