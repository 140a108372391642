"""Micro and macro F1 and exact matches of sets of labels, as an `evaluate` metric that loads by path."""

from __future__ import annotations

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray

from hf_synth.metrics.sampling import bootstrap_of

_DESCRIPTION = """Scores of multi-label classification, one list of label names for each text.

micro_f1: 2TP / (2TP + FP + FN) over all choices of all texts; macro_f1: the mean over the labels, of which one that
neither occurs nor is predicted counts 0; exact_match: share of texts whose set of labels is the real one. 0 to 1,
higher is better.
micro_f1_interval: 2.5 % and 97.5 % quantiles over 1,000 resamples of texts.
"""


def micro_f1(said: NDArray[np.bool_], real: NDArray[np.bool_]) -> float:
    """Return F1 over all choices, from yes or no for each text and label, [N, K]."""
    total = int(said.sum()) + int(real.sum())
    return 2 * int((said & real).sum()) / total if total else 0.0


def best_threshold(logits: NDArray[np.floating], real: NDArray[np.bool_]) -> float:
    """Return the value above which logits, [N, K], are taken for a yes so that `micro_f1` is highest.

    Without a yes among the real ones none is said.
    """
    if not real.any():
        return float(logits.max())
    order = np.argsort(-logits, axis=None, kind="stable")
    values = np.ravel(logits)[order]
    hits = np.cumsum(np.ravel(real)[order])
    scores = 2 * hits / (np.arange(1, len(hits) + 1) + int(real.sum()))
    scores[:-1][values[:-1] == values[1:]] = 0  # equal logits are taken together
    at = int(scores.argmax())
    below = values[at + 1] if at + 1 < len(values) else values[at] - 1  # where all are best, no logit is lower
    return float((values[at] + below) / 2)


class MultiLabel(evaluate.Metric):
    """Scores sets of label names against sets of label names; `labels` gives all."""

    def _info(self) -> evaluate.MetricInfo:
        names = datasets.List(datasets.Value("string"))
        features = datasets.Features({"predictions": names, "references": names})
        return evaluate.MetricInfo(_DESCRIPTION, "", features)

    def _compute(
        self, predictions: list[list[str]], references: list[list[str]], labels: list[str], seed: int = 0
    ) -> dict:
        said, real = (
            np.array([[name in row for name in labels] for row in rows]) for rows in (predictions, references)
        )
        hits, sums = (said & real).sum(1), said.sum(1) + real.sum(1)

        def drawn(rows: NDArray[np.int64]) -> float:
            return 2 * int(hits[rows].sum()) / max(int(sums[rows].sum()), 1)

        each = 2 * (said & real).sum(0) / np.maximum(said.sum(0) + real.sum(0), 1)
        return {
            "rows": len(real),
            "micro_f1": micro_f1(said, real),
            "micro_f1_interval": list(bootstrap_of(drawn, len(real), seed=seed)),
            "macro_f1": float(each.mean()),
            "exact_match": float((said == real).all(1).mean()),
            "per_label": {name: float(each[at]) for at, name in enumerate(labels)},
        }
