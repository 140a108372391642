"""Perplexity of texts from their log-probabilities, as an `evaluate` measurement that loads by path."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from hf_synth.errors import InputError
from hf_synth.metrics.sampling import bootstrap_of

_DESCRIPTION = """Perplexity of each text under a language model, which should be named beside it: exp(-mean
log-probability per token).

The input is what `Generator.score` returns: mean log-probability (nats per token) of each text. perplexity: the median
over texts, since a single garbled text decides their mean; mean_perplexity: the mean over texts of the exponential
(not the exponential of the mean loss); log_perplexity: the mean loss. Each with a 95 % percentile bootstrap interval
over texts. 1 upwards; lower is likelier, and far lower than real texts is as far from them as far higher.
"""


def perplexity(logprobs: ArrayLike, *, seed: int = 0) -> dict[str, Any]:
    """Return the perplexity of texts.

    Args:
        logprobs: Mean log-probability per token of each text, nats, [N].
        seed: Decides the bootstrap.

    Raises:
        InputError: If there is none, or one is not a number of at most 0.
    """
    loss = -np.asarray(logprobs, dtype=np.float64)
    if loss.ndim != 1 or not len(loss) or not (loss >= 0).all():
        raise InputError("perplexity needs mean log-probabilities, each at most 0; got none or others")
    figures = {
        "perplexity": lambda rows: float(np.exp(np.median(loss[rows]))),
        "mean_perplexity": lambda rows: float(np.exp(loss[rows]).mean()),
        "log_perplexity": lambda rows: float(loss[rows].mean()),
    }
    found: dict[str, Any] = {"rows": len(loss), "seed": seed}
    for name, figure in figures.items():
        found[name] = figure(np.arange(len(loss)))
        found[f"{name}_interval"] = list(bootstrap_of(figure, len(loss), seed=seed))
    return found


class Perplexity(evaluate.Measurement):
    """Measures log-probabilities; `seed` as in `perplexity`."""

    def _info(self) -> evaluate.MeasurementInfo:
        return evaluate.MeasurementInfo(_DESCRIPTION, "", datasets.Features({"data": datasets.Value("float64")}))

    def _compute(self, data: list[float], seed: int = 0) -> dict:
        return perplexity(np.array(data), seed=seed)
