"""Labels that a light classifier doubts, and class names that seem swapped."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..metrics.classification import wilson
from ..trainers.selection import confident, noise_matrix
from . import limits
from .probe import features, judged, log_probabilities
from .records import Floats, Ints, Rows, Verdict, level, percent, skipped


def suspects(own: Rows, seed: int) -> Verdict:
    """Labels that confident learning doubts, ranked; the verdict is on the rows where the classifier is surest.

    A classifier's own mistakes gather where it is unsure, wrong labels stand everywhere: so of the fifth of the rows
    where it is surest, the share with another label is near the share of wrong labels, however hard the task.
    https://huggingface.co/papers/1911.00068 gives the rows (`cleanlab`); they hold its mistakes as well.
    """
    check = "wrong labels"
    labels, names = _dense(own)
    if len(names) < 2 or len(own) < limits.LEAST:
        return skipped(check, f"needs two classes and {limits.LEAST} rows")
    try:
        probabilities = judged(features(own)[0], labels, len(names), seed)
        kept, quality = confident(probabilities, labels)
    except InputError as error:
        return skipped(check, str(error))
    guess, right = probabilities.argmax(1), probabilities.argmax(1) == labels
    majority = np.bincount(labels).max() / len(labels)
    tells = (right.mean() - majority) / (1 - majority)
    surest = np.argsort(-probabilities.max(1), kind="stable")[: max(1, int(limits.SUREST * len(own)))]
    wrong = int((~right[surest]).sum())
    low, high = wilson(wrong, len(surest))
    doubted = np.setdiff1d(np.arange(len(own)), kept)
    told = {
        "rows": len(own),
        "seed": seed,
        "accuracy": float(right.mean()),
        "accuracy_interval": list(wilson(int(right.sum()), len(own))),
        "majority": float(majority),
        "surest": {"rows": len(surest), "other_label": wrong / len(surest), "interval": [low, high]},
        "doubted": len(doubted) / len(own),
        "noise": _noise(probabilities, labels, names),
    }
    ranked = doubted[np.argsort(quality[doubted], kind="stable")]
    rows = [_suspect(own, int(at), names[guess[at]], float(quality[at])) for at in ranked[: limits.MOST_ROWS]]
    few = len(surest) < limits.LEAST
    if few or tells < limits.TELLS:
        which = "so few" if few else "these"
        reason = f"a light classifier cannot judge {which} labels: {percent(right.mean())} right without seeing them"
        return Verdict(check, "skipped", None, None, reason, rows, told, len(ranked))
    reason = (
        f"where a light classifier is surest, {percent(wrong / len(surest))} of the labels differ; "
        f"the {len(ranked)} rows it doubts are ranked"
    )
    return Verdict(
        check,
        level(low, limits.SURE_WRONG),
        wrong / len(surest),
        limits.SURE_WRONG[0],
        reason,
        rows,
        told,
        len(ranked),
    )


def _noise(probabilities: Floats, labels: Ints, names: list[str]) -> dict[str, dict[str, float]]:
    """Return, for each class as given, the share of its rows that confident learning puts in each class."""
    matrix = noise_matrix(probabilities, labels).round(4)
    return {
        name: {other: float(share) for other, share in zip(names, row, strict=True) if share}
        for name, row in zip(names, matrix, strict=True)
    }


def swapped(own: Rows, real: Rows) -> Verdict:
    """Class names that name other classes in the reference, as a classifier trained on its rows sees it.

    The best one-to-one assignment of the data set's classes to the reference's is compared with that by name.
    """
    check = "class names"
    try:
        learnt, table = features(real, own)
    except InputError as error:
        return skipped(check, str(error))
    guess = log_probabilities(learnt, real.labels, table, len(real.names)).argmax(1)
    counts = np.zeros((len(own.names), len(real.names)))
    np.add.at(counts, (own.labels, guess), 1)
    sizes = counts.sum(1)
    shares = counts / np.maximum(sizes[:, None], 1)
    best = _assignment(shares)
    enough = [at for at in range(len(own.names)) if sizes[at] >= limits.SWAPPED_ROWS and at in best]
    told = {
        "rows": len(own),
        "reference_rows": len(real),
        "assignment": {own.names[at]: real.names[best[at]] for at in enough},
        "agreement": _agreement(counts, best),
    }
    if not set(own.names) & set(real.names):
        pairs = ", ".join(f"{own.names[at]} = {real.names[best[at]]}" for at in enough[:10])
        reason = "no class name is the reference's" + (f"; by their texts {pairs}" if pairs else "")
        return Verdict(check, "look", None, None, reason, (), told)
    if (sizes >= limits.SWAPPED_ROWS).sum() < 2:
        return skipped(check, f"needs two classes of {limits.SWAPPED_ROWS} rows: one has nothing to be swapped with")
    known = {name: at for at, name in enumerate(real.names)}
    gains = {at: shares[at, best[at]] - shares[at, known[own.names[at]]] for at in enough if own.names[at] in known}
    places = {name: at for at, name in enumerate(own.names)}
    takes = {at: places.get(real.names[theirs]) for at, theirs in best.items()}  # whose name it would have
    wrong = [
        at
        for at, gain in gains.items()
        if takes[at] != at and min(gain, _mean_gain(at, takes, gains)) > limits.SWAPPED
    ]
    value = max(gains.values(), default=0.0)
    reason = "the rows of each class look like the reference's class of that name"
    if wrong:
        pairs = ", ".join(f"{own.names[at]!r} looks like {real.names[best[at]]!r}" for at in wrong)
        reason = f"class names seem swapped: {pairs}"
    return Verdict(check, "bad" if wrong else "good", float(value), limits.SWAPPED, reason, (), told)


def _dense(own: Rows) -> tuple[Ints, list[str]]:
    """Return classes numbered without those that no row has."""
    known, labels = np.unique(own.labels, return_inverse=True)
    return labels, [own.names[at] for at in known]


def _suspect(own: Rows, at: int, guess: str, quality: float) -> dict[str, Any]:
    label = own.names[own.labels[at]]
    return {"row": int(own.index[at]), "label": label, "suggested": guess, "score": round(quality, 4)}


def _assignment(shares: Floats) -> dict[int, int]:
    from scipy.optimize import linear_sum_assignment

    return {int(ours): int(theirs) for ours, theirs in zip(*linear_sum_assignment(-shares), strict=True)}


def _mean_gain(at: int, takes: dict[int, int | None], gains: dict[int, float]) -> float:
    """Return the mean gain of the classes that would change names together: one gains what another loses by chance."""
    chain, after = [at], takes[at]
    while after in takes and after not in chain:
        chain.append(after)
        after = takes[after]
    return float(np.mean([gains.get(one, 0.0) for one in chain]))


def _agreement(counts: Floats, best: dict[int, int]) -> float:
    return float(sum(counts[ours, theirs] for ours, theirs in best.items()) / counts.sum())
