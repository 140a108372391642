"""How far a model has memorised planted canaries, as an `evaluate` measurement."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from hf_synth.errors import InputError

_DESCRIPTION = """Exposure of canaries (Carlini et al. 2019, https://huggingface.co/papers/1802.08232).

A canary is a random secret that was put into the tuning data; candidates are secrets drawn in the same way that were
not. rank: 1 + the candidates that the model finds at least as likely. exposure = log2(candidates + 1) - log2(rank),
in bits, for each canary: 0 to log2(candidates + 1), lower is better; about 1.44 on average for a secret never seen.
exposures and ranks: one a canary; exposure: the highest. With few candidates a high exposure is capped, not refuted.
"""


def exposure(canaries: ArrayLike, candidates: ArrayLike) -> dict[str, Any]:
    """Return the exposure of each canary.

    Args:
        canaries: Log-probability of each planted secret, [C].
        candidates: That of secrets never planted, [R].

    Raises:
        InputError: If there is none of either, or one is no number.
    """
    planted, others = np.asarray(canaries, dtype=np.float64), np.asarray(candidates, dtype=np.float64)
    if not planted.size or not others.size or np.isnan(planted).any() or np.isnan(others).any():
        raise InputError("exposure needs the log-probability of a canary and of a candidate; got none, or NaN")
    ranks = 1 + (others[None, :] >= planted[:, None]).sum(1)
    bits = np.log2(len(others) + 1) - np.log2(ranks)
    return {
        "canaries": len(planted),
        "candidates": len(others),
        "ranks": ranks.tolist(),
        "exposures": bits.tolist(),
        "exposure": float(bits.max()),
    }


class Exposure(evaluate.Measurement):
    """Measures the log-probabilities of canaries beside those of `candidates`."""

    def _info(self) -> evaluate.MeasurementInfo:
        return evaluate.MeasurementInfo(_DESCRIPTION, "", datasets.Features({"data": datasets.Value("float64")}))

    def _compute(self, data: list[float], candidates: list[float]) -> dict:
        return exposure(data, candidates)
