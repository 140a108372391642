"""Labels that go with who is spoken of, or with toxic words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..metrics.classification import wilson
from ..metrics.tokens import words
from . import limits
from .counts import apart, by_chance
from .records import Level, Rows, Verdict, percent, share_of, skipped

# English words that name a side; a text counts for a side whose words it has and the other's it has not.
GROUPS = {
    "women and men": (
        "she her hers herself woman women girl girls mother daughter sister wife lady queen actress",
        "he him his himself man men boy boys father son brother husband gentleman king actor",
    ),
    "young and old": (
        "young younger child children kid kids teen teenager teenagers youth baby",
        "old older elderly senior seniors aged grandmother grandfather grandparents pensioner",
    ),
    "Christian and Muslim": (
        "christian christians christianity church churches bible priest catholic",
        "muslim muslims islam islamic mosque mosques quran koran imam",
    ),
}


def groups(own: Rows, real: Rows | None, seed: int) -> Verdict:
    """How much the labels of texts that speak of one group differ from those that speak of another.

    The value is the largest total variation distance, 0 to 1, between the label shares of both sides of an axis;
    judged by its excess over what chance stays below in 95 of 100 draws of as many rows, and over the reference's.
    """
    check = "group words"
    mine, theirs = _axes(own, seed), {} if real is None else _axes(real, seed)
    if not mine:
        return skipped(check, f"no axis has {limits.LEAST} texts of both sides", rows=len(own))
    beyond = {axis: found["distance"] - found["chance"] - _excess(theirs.get(axis)) for axis, found in mine.items()}
    worst = max(beyond, key=lambda axis: beyond[axis])
    value = mine[worst]["distance"]
    reason = f"labels of texts on {worst} differ by {value:.2f} (total variation; chance {mine[worst]['chance']:.2f})"
    if worst in theirs:
        reason += f", the reference's by {theirs[worst]['distance']:.2f}"
    told = {"rows": len(own), "axes": mine, "reference": theirs}
    verdict: Level = "look" if beyond[worst] > limits.GROUPS else "good"
    return Verdict(check, verdict, value, value - beyond[worst] + limits.GROUPS, reason, (), told)


def _excess(found: dict[str, Any] | None) -> float:
    return max(0.0, found["distance"] - found["chance"]) if found else 0.0


def _axes(rows: Rows, seed: int) -> dict[str, dict[str, Any]]:
    named = {axis: [set(side.split()) for side in sides] for axis, sides in GROUPS.items()}
    sides = {axis: np.zeros(len(rows), dtype=np.int8) for axis in GROUPS}
    for at, text in enumerate(rows.texts):
        found = set(words(text))
        for axis, (one, other) in named.items():
            sides[axis][at] = bool(found & one) - bool(found & other)
    told, draw = {}, np.random.default_rng(seed)
    for axis, side in sides.items():
        counts = np.array([np.bincount(rows.labels[side == way], minlength=len(rows.names)) for way in (1, -1)])
        sizes = counts.sum(1)
        if sizes.min() < limits.LEAST:
            continue
        shares = counts / sizes[:, None]
        told[axis] = {
            "rows": sizes.tolist(),
            "distance": apart(counts, sizes),
            "chance": float(np.quantile(by_chance(counts.sum(0), sizes, draw), 0.95)),
            "shares": {name: shares[:, at].tolist() for at, name in enumerate(rows.names)},
        }
    return told


def toxicity(own: Rows, real: Rows | None, toxic: Callable[[Sequence[str]], Sequence[float]] | None) -> Verdict:
    """Texts that a classifier, which the user names, calls toxic."""
    check = "toxicity"
    if toxic is None:
        return skipped(check, "needs a classifier: `toxicity`")
    found = np.asarray(toxic(own.texts))
    told = share_of(int((found > 0.5).sum()), len(own))
    told["classes"] = {own.names[at]: _toxic(found[own.labels == at]) for at in np.unique(own.labels)}
    baseline = None if real is None else float((np.asarray(toxic(real.texts)) > 0.5).mean())
    limit = limits.TOXIC + limits.DUPLICATES_TIMES * (baseline or 0.0)
    order = np.argsort(-found, kind="stable")[: int((found > 0.5).sum())]
    rows = [{"row": int(own.index[at]), "score": round(float(found[at]), 4)} for at in order[: limits.MOST_ROWS]]
    reason = f"{percent(told['share'])} of the texts are toxic to the classifier"
    if baseline is not None:
        reason += f" (reference {percent(baseline)})"
    verdict: Level = "look" if told["interval"][0] > limit else "good"
    return Verdict(check, verdict, told["share"], limit, reason, rows, told | {"reference": baseline}, len(order))


def _toxic(found: np.ndarray) -> dict[str, Any]:
    count = int((found > 0.5).sum())
    return {"rows": len(found), "share": count / len(found), "interval": list(wilson(count, len(found)))}
