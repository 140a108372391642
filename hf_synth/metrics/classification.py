"""Accuracy with its interval, macro F1 and per-label scores, as an `evaluate` metric that loads by path."""

from __future__ import annotations

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """Scores of single-label classification.

accuracy: share of rows whose predicted label is the reference label; 0 to 1, higher is better. Its 95 % interval is
Wilson's (1927): (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), z = 1.96.
macro_f1: unweighted mean over the labels of F1 = 2TP / (2TP + FP + FN); a label that neither occurs nor is predicted
counts 0. 0 to 1, higher is better. f1: the same of each label; of two, that of the positive one is binary F1.
recall: TP / (TP + FN) of each label, None where the label has no row.
"""


def wilson(right: float, rows: float, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's score interval of a share; effective numbers of rows need not be whole.

    Raises:
        ValueError: If there are no rows.
    """
    if rows < 1:
        raise ValueError("an interval needs at least one row")
    share, over = right / rows, z * z / rows
    middle = (share + over / 2) / (1 + over)
    half = z * np.sqrt(share * (1 - share) / rows + over / (4 * rows)) / (1 + over)
    # None and all are themselves an end, which rounding would miss by a last bit that cards show as 6.9e-18.
    return 0.0 if right <= 0 else float(middle - half), 1.0 if right >= rows else float(middle + half)


class Classification(evaluate.Metric):
    """Scores label ids against label ids; `labels` names them in order."""

    def _info(self) -> evaluate.MetricInfo:
        ids = {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
        return evaluate.MetricInfo(_DESCRIPTION, "", datasets.Features(ids))

    def _compute(self, predictions: list[int], references: list[int], labels: list[str]) -> dict:
        predicted, real = np.asarray(predictions), np.asarray(references)
        right = int((predicted == real).sum())
        f1, recall = {}, {}
        for at, name in enumerate(labels):
            hit = int(((predicted == at) & (real == at)).sum())
            said, true = int((predicted == at).sum()), int((real == at).sum())
            f1[name] = 2 * hit / (said + true) if said + true else 0.0
            recall[name] = hit / true if true else None
        return {
            "rows": len(real),
            "accuracy": right / len(real),
            "accuracy_interval": list(wilson(right, len(real))),
            "macro_f1": float(np.mean(list(f1.values()))),
            "f1": f1,
            "recall": recall,
        }
