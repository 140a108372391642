"""Vendi score of embedded texts, as an `evaluate` measurement that loads by path."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_synth.errors import InputError
from hf_synth.metrics.sampling import GROUPS, T_19, drawn, groups, jackknife
from hf_synth.metrics.vectors import checked, unit_blocks

_DESCRIPTION = """Vendi score (Friedman and Dieng 2022, https://huggingface.co/papers/2210.02410): the effective number
of different texts.

vendi = exp(-sum_i l_i log l_i), l_i the eigenvalues of K / N, K_ij = cosine of texts i and j. For another order q
(Pasarkar and Dieng 2023, https://huggingface.co/papers/2310.12952): (sum_i l_i^q)^(1 / (1 - q)), and 1 / max l_i for
q = inf; small q sees rare texts, large q common ones. With unit vectors as the rows of X, K = X X^T and X^T X, [D, D],
have the same eigenvalues other than zero, so the smaller of both is used and cost is O(N D^2).
1 (all alike) to min(N, D), higher is more diverse; it grows with N, so compare equal numbers of texts (`sample`), and
it depends on the encoder, which should be named beside it.
*_interval: 95 %, by the jackknife that leaves out one of 20 groups of texts drawn by the seed; None below 40 texts.
"""


def spectrum_score(matrix: NDArray, orders: Sequence[float]) -> list[float]:
    """Return the Vendi score of each order from a matrix of trace 1."""
    values = np.linalg.eigvalsh(matrix)
    values = values[values > len(values) * np.finfo(np.float64).eps * values[-1]]  # zero but for rounding
    return [_score(values / values.sum(), order) for order in orders]


def _score(values: NDArray, order: float) -> float:
    if order == 1:
        return float(np.exp(-(values * np.log(values)).sum()))
    if order == inf:
        return float(1 / values.max())
    return float((values**order).sum() ** (1 / (1 - order)))


def _covariances(vectors: NDArray, places: NDArray, group_of: NDArray) -> NDArray[np.float64]:
    """Return X^T X of the unit vectors at these places, for each group, [GROUPS, D, D]."""
    width = vectors.shape[1]
    found = np.zeros((GROUPS, width, width))
    for group in range(GROUPS):
        own = vectors[places[group_of == group]]
        for _, block in unit_blocks(own):
            found[group] += block.T @ block
    return found


def vendi(
    embeddings: ArrayLike, *, orders: Sequence[float] = (1,), sample: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """Return Vendi scores, `vendi` for q = 1 and `vendi_q` for others, with intervals.

    Args:
        embeddings: [N, D], of any lengths but zero.
        orders: Values of q, above 0; `math.inf` too.
        sample: Measure so many texts, drawn by the seed.
        seed: Decides the sample and the groups.

    Raises:
        InputError: If there are fewer than two embeddings, one is zero, or an order is not above 0.
    """
    vectors = checked(embeddings)
    if bad := [order for order in orders if not order > 0]:
        raise InputError(f"`orders` of the Vendi score must be above 0; got {bad[0]}")
    places = np.array(drawn(len(vectors), sample, seed))
    rows, group_of = len(places), groups(len(places), seed)
    if rows > vectors.shape[1] or rows >= 2 * GROUPS:
        parts = _covariances(vectors, places, group_of)
        total, sizes = parts.sum(axis=0), np.bincount(group_of, minlength=GROUPS)
    if rows > vectors.shape[1]:
        values = spectrum_score(total / rows, orders)
    else:
        own = next(unit_blocks(vectors[places], block=rows))[1]
        values = spectrum_score(own @ own.T / rows, orders)
    found: dict[str, Any] = {"rows": rows, "seed": seed}
    without = None
    if rows >= 2 * GROUPS:
        pairs = zip(parts, sizes, strict=True)
        without = np.array([spectrum_score((total - part) / (rows - size), orders) for part, size in pairs])
    for at, (order, value) in enumerate(zip(orders, values, strict=True)):
        name = "vendi" if order == 1 else f"vendi_{order:g}"
        found[name] = value
        found[f"{name}_interval"] = None if without is None else jackknife(value, without[:, at], T_19, 1, rows)
    return found


class Vendi(evaluate.Measurement):
    """Measures embeddings, one list of numbers a text; `orders`, `sample` and `seed` as in `vendi`."""

    def _info(self) -> evaluate.MeasurementInfo:
        return evaluate.MeasurementInfo(
            _DESCRIPTION, "", datasets.Features({"data": datasets.List(datasets.Value("float32"))})
        )

    def _compute(
        self, data: list[list[float]], orders: Sequence[float] = (1,), sample: int | None = None, seed: int = 0
    ) -> dict:
        return vendi(np.array(data), orders=orders, sample=sample, seed=seed)
