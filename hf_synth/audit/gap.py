"""How far the texts are from the reference's: a classifier that tells them apart, and lengths."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..metrics.classification import wilson
from . import limits
from .probe import features, judged
from .records import Ints, Level, Rows, Verdict, skipped

POINTS = (0.05, 0.25, 0.5, 0.75, 0.95)


def two_samples(own: Rows, real: Rows, seed: int) -> Verdict:
    """Classifier two-sample test (https://huggingface.co/papers/1610.06545) on as many rows of both.

    The value is the cross-validated accuracy at telling whose a text is: 0.5 where none can tell.
    """
    check = "told apart"
    names = ["own", "reference"]
    both = Rows(
        [*own.texts, *real.texts],
        np.repeat([0, 1], [len(own), len(real)]),
        names,
        np.arange(len(own) + len(real)),
        None if own.vectors is None or real.vectors is None else np.concatenate([own.vectors, real.vectors]),
    )
    try:
        probabilities = judged(features(both)[0], both.labels, 2, seed)
    except InputError as error:
        return skipped(check, str(error))
    right = int((probabilities.argmax(1) == both.labels).sum())
    accuracy, (low, high) = right / len(both), wilson(right, len(both))
    surest = own.index[np.argsort(-probabilities[: len(own), 0], kind="stable")[:20]]
    reason = f"a light classifier tells the data set's rows from the reference's in {accuracy:.3f} (chance 0.5)"
    told = {"rows": len(own), "reference_rows": len(real), "seed": seed, "interval": [low, high]}
    verdict: Level = "look" if low > limits.TOLD_APART else "good"
    rows = [{"row": int(at)} for at in surest]
    return Verdict(check, verdict, accuracy, limits.TOLD_APART, reason, rows, told, len(rows))


def lengths(own: Ints, real: Ints) -> Verdict:
    """Median words of the texts beside the reference's."""
    mine, theirs = float(np.median(own)), float(np.median(real))
    value = max(mine, 1.0) / max(theirs, 1.0)
    far = not 1 / limits.LENGTH_RATIO <= value <= limits.LENGTH_RATIO
    told = {
        "rows": len(own),
        "reference_rows": len(real),
        "quantiles": list(POINTS),
        "own": np.quantile(own, POINTS).tolist(),
        "reference": np.quantile(real, POINTS).tolist(),
    }
    reason = f"texts have {mine:g} words (median), the reference's {theirs:g}"
    return Verdict("text length", "look" if far else "good", value, limits.LENGTH_RATIO, reason, (), told)
