"""How rows spread over the classes, and whether the rare ones are learnt."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import limits
from .records import Ints, Level, Rows, Verdict, level, percent, share_of, skipped

SHOWN = 20  # classes of fewest rows that are listed


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


def long_tail(own: Rows, useful: Verdict) -> Verdict:
    """Classes of few rows; and, where the reference has a tail, what is learnt here of its rarest third.

    Judged by recall on real rows, its upper end beside that of as many real rows as there are here.

    Args:
        own: The data set.
        useful: The verdict on its usefulness.
    """
    check, counts = "long tail", np.bincount(own.labels, minlength=len(own.names))
    if len(counts) < 2:
        return skipped(check, "needs two classes", rows=len(own))
    few, order = share_of(int((counts < limits.FEW).sum()), len(counts)), np.argsort(counts, kind="stable")[:SHOWN]
    told: dict[str, Any] = {"rows": len(own), "of_few_rows": few, "gini": gini(counts)}
    told |= {"largest": int(counts.max()) / len(own), "smallest": int(counts.min()) / len(own)}
    told |= {"fewest": {own.names[at]: int(counts[at]) for at in order}, **useful.measures.get("tail", {})}
    reason = f"classes have {counts.min():,} to {counts.max():,} rows (Gini {told['gini']:.2f}), {few['count']} of "
    reason += f"{len(counts)} fewer than {limits.FEW}"
    verdict: Level = "look" if few["share"] > limits.FEW_CLASSES else "good"
    value, limit = few["share"], limits.FEW_CLASSES
    mine, theirs = (told.get(side, [{}])[-1] for side in ("synthetic to real", "real to real"))
    if told.get("head_to_tail", 0) < limits.RARE:
        return Verdict(check, verdict, value, limit, reason, (), told)
    reason += f"; trained here, a light classifier finds a mean of {percent(mine['macro recall'])} of each of "
    reason += f"the {mine['labels']} that are rarest in the reference"
    if theirs:
        reason += f", on real rows {percent(theirs['macro recall'])}"
        learnt = level(theirs["macro recall"] - mine["to"], limits.USEFUL)
        if learnt == "bad" or (learnt == "look" and verdict == "good"):
            verdict, value, limit = learnt, mine["macro recall"], theirs["macro recall"] - limits.USEFUL[0]
    return Verdict(check, verdict, value, limit, reason, (), told)


def gini(counts: Ints) -> float:
    """Return how unevenly rows spread over classes, from 0 (evenly) towards 1 (all in one of many).

    >>> gini(np.array([5, 5, 5])), gini(np.array([0, 0, 9]))
    (0.0, 0.6666666666666666)
    """
    ranks = np.arange(1, len(counts) + 1)
    return float(2 * (ranks * np.sort(counts)).sum() / (len(counts) * counts.sum()) - (len(counts) + 1) / len(counts))
