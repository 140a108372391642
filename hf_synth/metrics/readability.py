"""How hard texts are to read, as an `evaluate` measurement that loads by path."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray

from hf_synth.errors import InputError
from hf_synth.metrics.sampling import bootstrap

_DESCRIPTION = """Automated readability index (Smith and Senter 1967), about the school year that reads a text:
4.71 characters / words + 0.5 words / sentences - 21.43.

Letters and digits count as characters, runs of them as words, and `.`, `!`, `?` and line ends close sentences. It
needs no syllables, so it holds for any language with spaces, though its scale is that of English. A text without a
word has none.

readability: mean over texts; readability_interval: 95 %, percentile bootstrap over texts. quantiles: 5, 25, 50, 75 and
95 %. Neither direction is better: compare with real texts.
"""
POINTS = (0.05, 0.25, 0.5, 0.75, 0.95)
_WORD = re.compile(r"\w+")
_END = re.compile(r"[.!?\n]+")


def grades(texts: Sequence[str]) -> NDArray[np.float64]:
    """Return the index of each text, [N]; NaN for a text without a word."""
    found = np.full(len(texts), np.nan)
    for at, text in enumerate(texts):
        words = _WORD.findall(text)
        if words:
            sentences = sum(bool(_WORD.search(part)) for part in _END.split(text))
            found[at] = 4.71 * sum(map(len, words)) / len(words) + 0.5 * len(words) / sentences - 21.43
    return found


def readability(texts: Sequence[str], *, seed: int = 0) -> dict[str, Any]:
    """Return the mean readability index with its interval, and its quantiles.

    Raises:
        InputError: If no text has a word.
    """
    found = grades(texts)
    found = found[~np.isnan(found)]
    if not len(found):
        raise InputError("readability needs a text with a word; got none")
    return {
        "rows": len(found),
        "seed": seed,
        "readability": float(found.mean()),
        "readability_interval": list(bootstrap(found, seed=seed)),
        "quantiles": dict(zip(map(str, POINTS), np.quantile(found, POINTS).tolist(), strict=True)),
    }


class Readability(evaluate.Measurement):
    """Measures texts; `seed` as in `readability`."""

    def _info(self) -> evaluate.MeasurementInfo:
        return evaluate.MeasurementInfo(_DESCRIPTION, "", datasets.Features({"data": datasets.Value("string")}))

    def _compute(self, data: list[str], seed: int = 0) -> dict:
        return readability(data, seed=seed)
