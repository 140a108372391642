"""Carlini's extraction scores: which texts a model may have memorised, as an `evaluate` measurement."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_synth.errors import InputError
from hf_synth.metrics.membership import auc

_DESCRIPTION = """Extraction scores (Carlini et al. 2021, https://huggingface.co/papers/2012.07805), where higher is
more suspicious.

likelihood: log P, the mean log-probability per token. zlib: the bits per character that zlib needs for the text, over
-log P (the paper divides all its bytes by the per-token loss, which ranks texts by length). lower: -log P of the text
in lower case over -log P. base: -log P under a model that has not seen the data (the same one before tuning, or a
smaller one) over -log P. -log P is held at 0.01 or more.

With `members` (1 for texts that the model was tuned on, 0 for texts of the same source that it was not): auc of each
score, the probability that a member scores above a non-member, 0.5 where nothing is memorised, with its 95 % interval
(Hanley and McNeil 1982); tpr: share of members found where 1 % of the others are named too.
top: rows with the highest zlib score, highest first. Scores rank, they prove nothing.
"""
LEAST_LOSS = 0.01
FALSE_POSITIVES = 0.01
TOP = 100


def scores(
    texts: Sequence[str], logprobs: ArrayLike, lower: ArrayLike | None = None, base: ArrayLike | None = None
) -> dict[str, NDArray[np.float64]]:
    """Return each score of each text, [N].

    Args:
        texts: None of them empty.
        logprobs: Mean log-probability per token of each, nats.
        lower: That of the texts in lower case.
        base: That under another model.

    Raises:
        InputError: If lengths differ, a text is empty, or a log-probability is NaN.
    """
    if not texts or any(not text for text in texts) or len(texts) != np.size(logprobs):
        raise InputError("extraction scores need texts, none empty, and a log-probability for each")
    loss = _loss(logprobs)
    bits = np.array([8 * len(zlib.compress(text.encode(), 9)) / len(text) for text in texts])
    found = {"likelihood": -loss, "zlib": bits / loss}
    if lower is not None:
        found["lower"] = _loss(lower) / loss
    if base is not None:
        found["base"] = _loss(base) / loss
    return found


def _loss(logprobs: ArrayLike) -> NDArray[np.float64]:
    loss = -np.asarray(logprobs, dtype=np.float64)
    if np.isnan(loss).any():
        raise InputError(f"extraction scores need log-probabilities; text {int(np.isnan(loss).argmax())} has NaN")
    return np.maximum(loss, LEAST_LOSS)


def interval(value: float, m: int, n: int) -> list[float]:
    """Return the 95 % interval of an area under the ROC curve of m members and n others.

    One of 0 or 1 would be certain, even of one text each: its variance is that of half a pair less.
    """
    near = min(max(value, 0.5 / (m * n)), 1 - 0.5 / (m * n))
    q1, q2 = near / (2 - near), 2 * near**2 / (1 + near)
    variance = near * (1 - near) + (m - 1) * (q1 - near**2) + (n - 1) * (q2 - near**2)
    half = 1.96 * (max(variance, 0.0) / (m * n)) ** 0.5
    return [max(0.0, value - half), min(1.0, value + half)]


def extraction(
    texts: Sequence[str],
    logprobs: ArrayLike,
    *,
    lower: ArrayLike | None = None,
    base: ArrayLike | None = None,
    members: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Return the texts that a model may have memorised and, with `members`, how well the scores find them.

    Raises:
        InputError: As `scores` does, or if there are not both members and others.
    """
    found = scores(texts, logprobs, lower, base)
    order = np.argsort(-found["zlib"], kind="stable")[:TOP]
    top = [{"row": int(at), **{name: float(own[at]) for name, own in found.items()}} for at in order]
    told: dict[str, Any] = {"rows": len(texts), "scores": list(found), "top": top}
    if members is None:
        return told
    inside = np.asarray(members, dtype=bool)
    if len(inside) != len(texts) or inside.all() or not inside.any():
        raise InputError("`members` needs 1 or 0 for each text, and some of both")
    for name, score in found.items():
        own, others = score[inside], score[~inside]
        value, limit = auc(own, others), np.quantile(others, 1 - FALSE_POSITIVES, method="higher")
        low_high, found_share = interval(value, len(own), len(others)), float((own > limit).mean())
        told[name] = {"auc": value, "auc_interval": low_high, "tpr": found_share}
    return told


class Extraction(evaluate.Measurement):
    """Measures texts with their log-probabilities; `lower`, `base` and `members` as in `extraction`."""

    def _info(self) -> evaluate.MeasurementInfo:
        features = {"data": datasets.Value("string"), "logprobs": datasets.Value("float64")}
        return evaluate.MeasurementInfo(_DESCRIPTION, "", datasets.Features(features))

    def _compute(self, data: list[str], logprobs: list[float], **given: Any) -> dict:
        return extraction(data, logprobs, **given)
