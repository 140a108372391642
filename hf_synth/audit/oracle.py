"""Labels beside those of classifiers that learnt them elsewhere: one trained on real rows, and one that is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from ..metrics.classification import wilson
from . import limits
from .probe import NONE, features, log_probabilities
from .records import Floats, Ints, Rows, Verdict, level, percent, skipped

Judge = Callable[[Sequence[str], Sequence[str]], Sequence[str]]  # texts, class names -> a name a text


def agreement(own: Rows, train: Rows, test: Rows) -> Verdict:
    """Labels beside those of an oracle, a light classifier trained on the reference's train rows.

    ZeroGen's measure of correctness (https://huggingface.co/papers/2202.07922) with a lighter oracle: its accuracy on
    real test rows is the ceiling that stands beside.
    """
    check = "oracle"
    try:
        learnt, judged, beside = features(train, own, test)
    except InputError as error:
        return skipped(check, str(error))
    told, real = (log_probabilities(learnt, train.labels, table, len(train.names)) for table in (judged, beside))
    known = {name: at for at, name in enumerate(train.names)}
    sure = [
        row[known[own.names[at]]] if own.names[at] in known else NONE for row, at in zip(told, own.labels, strict=True)
    ]
    who = f"a light classifier trained on {len(train):,} real rows"
    mine, theirs = ([train.names[at] for at in side.argmax(1)] for side in (told, real))
    return _beside(check, who, own, mine, test, theirs, np.array(sure))


def given(check: str, judge: Judge, own: Rows, test: Rows | None) -> Verdict:
    """Labels beside those of a judge that the user named, whose own accuracy on real rows is told.

    Args:
        check: Name of the check.
        judge: Returns the class of each text.
        own: The data set.
        test: Real rows of the same classes.
    """
    guess = judge(own.texts, own.names)
    real = None if test is None else judge(test.texts, test.names)
    return _beside(check, "the judge", own, guess, test, real)


def _beside(
    check: str,
    who: str,
    own: Rows,
    guess: Sequence[str],
    test: Rows | None,
    real: Sequence[str] | None,
    sure: Floats | None = None,
) -> Verdict:
    """Return the verdict on how often a judge agrees; rows of which it is surest come first, where that is told."""
    names = [own.names[at] for at in own.labels]
    same = np.array([mine == theirs for mine, theirs in zip(names, guess, strict=True)])
    low, high = wilson(int(same.sum()), len(same))
    told: dict[str, Any] = {
        "rows": len(own),
        "agreement": float(same.mean()),
        "interval": [low, high],
        "classes": {own.names[label]: _class(same, own.labels == label) for label in np.unique(own.labels)},
    }
    others = np.flatnonzero(~same)
    others = others if sure is None else others[np.argsort(sure[others], kind="stable")]
    rows = [
        {"row": int(own.index[at]), "label": names[at], "suggested": guess[at]} for at in others[: limits.MOST_ROWS]
    ]
    if test is None or real is None:
        reason = f"{who} gives {percent(same.mean())} of the rows their label; how good it is needs a `reference`"
        return Verdict(check, "skipped", None, None, reason, rows, told, int((~same).sum()))
    wanted = [test.names[at] for at in test.labels]
    right = sum(mine == theirs for mine, theirs in zip(wanted, real, strict=True))
    accuracy = right / len(test)
    majority = np.bincount(test.labels).max() / len(test)
    told |= {"reference_rows": len(test), "accuracy": accuracy, "accuracy_interval": list(wilson(right, len(test)))}
    reason = f"{who} gives {percent(same.mean())} of the rows their label, and {percent(accuracy)} of real test rows"
    if set(own.names) != set(test.names):
        return Verdict(check, "skipped", None, None, "class names differ from the reference's", (), told)
    if accuracy - majority < limits.TELLS * (1 - majority):
        reason += ": it cannot judge"
        return Verdict(check, "skipped", None, None, reason, rows, told, int((~same).sum()))
    # The rows may well be easier than real ones, so only a lack of agreement is a fault.
    verdict = level(accuracy - high, limits.ORACLE)
    limit = accuracy - limits.ORACLE[0]
    return Verdict(check, verdict, float(same.mean()), limit, reason, rows, told, int((~same).sum()))


def _class(same: Ints, of: Ints) -> dict[str, Any]:
    count = int(same[of].sum())
    return {"rows": int(of.sum()), "agreement": count / int(of.sum()), "interval": list(wilson(count, int(of.sum())))}
