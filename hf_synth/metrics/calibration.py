"""Expected calibration error of a classifier, as an `evaluate` metric that loads by path."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from hf_synth.errors import InputError
from hf_synth.metrics.sampling import bootstrap_of

_DESCRIPTION = """Expected calibration error (Naeini et al. 2015; Guo et al. 2017, https://huggingface.co/papers/1706.04599).

Rows are put by the probability of their likeliest class into `bins` of equal width on (0, 1]:
ece = sum_b |B_b| / N * |accuracy(B_b) - confidence(B_b)|. 0 to 1, lower is better; of N rows of a calibrated
classifier it is above 0, by about sqrt(bins / N) / 2. confidence, accuracy: means over all rows; their difference
tells which way. bins: rows, confidence and accuracy of each. ece_interval: 95 %, percentile bootstrap over rows, drawn
by the seed.
"""
BINS = 15


def calibration(probabilities: ArrayLike, labels: ArrayLike, *, bins: int = BINS, seed: int = 0) -> dict[str, Any]:
    """Return the calibration error with its interval, and the reliability of each bin.

    Args:
        probabilities: Of all classes, [N, K]; rows sum to 1.
        labels: The classes, places in K, [N].
        bins: Of equal width.
        seed: Decides the bootstrap.

    Raises:
        InputError: If there is no row, or both differ in length, or rows do not sum to 1.
    """
    table, wanted = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if table.ndim != 2 or not len(table) or len(table) != len(wanted):
        raise InputError(f"calibration needs one row of probabilities a label; got {table.shape} and {wanted.shape}")
    if bins < 1 or not np.abs(table.sum(1) - 1).max() <= 1e-3:  # NaN among them
        raise InputError("calibration needs probabilities that sum to 1, and 1 or more bins")
    sure, right = table.max(1), (table.argmax(1) == wanted).astype(np.float64)
    place = np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)

    def error(rows: np.ndarray) -> float:
        # |B| * |accuracy - confidence| is the absolute sum of their differences in a bin.
        return float(np.abs(np.bincount(place[rows], (right - sure)[rows], bins)).sum() / len(rows))

    everything = np.arange(len(table))
    counts = np.bincount(place, minlength=bins)
    return {
        "rows": len(table),
        "seed": seed,
        "ece": error(everything),
        "ece_interval": list(bootstrap_of(error, len(table), seed=seed)),
        "confidence": float(sure.mean()),
        "accuracy": float(right.mean()),
        "bins": [
            {"rows": int(counts[at]), "confidence": float(sure[own].mean()), "accuracy": float(right[own].mean())}
            for at in range(bins)
            if (own := place == at).any()
        ],
    }


class Calibration(evaluate.Metric):
    """Scores class probabilities against label ids; `bins` and `seed` as in `calibration`."""

    def _info(self) -> evaluate.MetricInfo:
        features = {"predictions": datasets.List(datasets.Value("float32")), "references": datasets.Value("int64")}
        return evaluate.MetricInfo(_DESCRIPTION, "", datasets.Features(features))

    def _compute(self, predictions: list[list[float]], references: list[int], bins: int = BINS, seed: int = 0) -> dict:
        return calibration(np.array(predictions), np.array(references), bins=bins, seed=seed)
