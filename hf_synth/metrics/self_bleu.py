"""Self-BLEU of texts, as an `evaluate` measurement that loads by path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray

from hf_synth.errors import InputError
from hf_synth.metrics.sampling import bootstrap, drawn
from hf_synth.metrics.tokens import Ints, grams, numbered, tokens

_DESCRIPTION = """Self-BLEU (Zhu et al. 2018, https://huggingface.co/papers/1802.01886): how alike texts are.

self_bleu_n, n = 1 to 5: mean over texts of BLEU-n with all other texts as references,
bp * exp(mean_{k <= n} log p_k); p_k is the share of the text's k-grams that a reference holds (each counts at most as
often as in the reference that has it most often), 0.1 / k-grams where there is none (method 1 of Chen and Cherry 2014)
and BLEU is 0 where no word is shared; bp = exp(1 - r / c) where the text's length c is below the closest reference
length r. The numbers are those of NLTK's `sentence_bleu` with `SmoothingFunction().method1`. 0 to 1, lower is more
diverse; it grows with the number of texts, so compare equal numbers (ZeroGen, https://huggingface.co/papers/2202.07922,
measures 1,000 texts: `sample=1000`).
self_bleu_n_interval: 95 % percentile bootstrap over the texts' scores, 1,000 draws, the references held fixed.
Tokens are words and marks of punctuation, with their case.
"""
LONGEST = 5


def scores(texts: Sequence[Sequence[str]], longest: int = LONGEST) -> NDArray[np.float64]:
    """Return BLEU-1 to BLEU-`longest` of each text against all others, [N, longest].

    The references' largest count of an n-gram is the largest over all texts, or the second largest for the one text
    that holds the largest: so one pass over sorted counts stands for all pairs.

    Args:
        texts: The tokens of each text.
        longest: The largest n.

    Raises:
        InputError: If there are fewer than two texts.
    """
    if len(texts) < 2:
        raise InputError(f"Self-BLEU needs two texts or more; got {len(texts)}")
    ids, lengths = numbered(texts)
    logs, found = np.zeros(len(lengths)), np.zeros((len(lengths), longest))
    some: NDArray[np.bool_] = np.ones(len(lengths), bool)
    brevity = _brevity(lengths)
    for at, (gram, text) in enumerate(grams(ids, lengths, longest)):
        hits = _clipped(gram, text, len(lengths))
        if at == 0:
            some = hits > 0
        logs += np.log(np.where(hits, hits, 0.1) / np.maximum(lengths - at, 1))
        found[:, at] = some * brevity * np.exp(logs / (at + 1))
    return found


def _clipped(gram: Ints, text: Ints, texts: int) -> NDArray[np.float64]:
    """Return how many of each text's n-grams stand in another text, counts clipped as BLEU does, [N]."""
    if not len(gram):
        return np.zeros(texts)
    pairs, counts = np.unique(gram * texts + text, return_counts=True)
    gram, text = np.divmod(pairs, texts)
    starts = np.flatnonzero(np.diff(gram, prepend=-1))
    of = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(gram)))
    largest = np.maximum.reduceat(counts, starts)[of]
    owner = (counts == largest) & (np.add.reduceat((counts == largest).astype(np.int64), starts)[of] == 1)
    second = np.maximum.reduceat(np.where(owner, 0, counts), starts)[of]
    clipped = np.minimum(counts, np.where(owner, second, largest))
    return np.bincount(text, clipped, minlength=texts).astype(np.float64)


def _brevity(lengths: Ints) -> NDArray[np.float64]:
    """Return the brevity penalty of each text, whose reference is as long as the closest other (shorter if tied)."""
    known, back, counts = np.unique(lengths, return_inverse=True, return_counts=True)
    below, above = np.append(-np.inf, known[:-1]), np.append(known[1:], np.inf)
    closest = np.where(known - below <= above - known, below, above)
    closest = np.where(counts > 1, known, closest)
    with np.errstate(divide="ignore", invalid="ignore"):
        penalty = np.where(known > closest, 1.0, np.exp(1 - closest / known))
    return np.where(known == 0, 0.0, penalty)[back]


def self_bleu(texts: Sequence[str], *, sample: int | None = None, seed: int = 0) -> dict[str, Any]:
    """Return Self-BLEU 1 to 5 with intervals.

    Args:
        texts: Two or more.
        sample: Measure so many texts, drawn by the seed.
        seed: Decides the sample and the bootstrap's draws.

    Raises:
        InputError: If there are fewer than two texts.
    """
    places = drawn(len(texts), sample, seed)
    table = scores([tokens(texts[at]) for at in places])
    found: dict[str, Any] = {"rows": len(places), "seed": seed}
    for at, column in enumerate(table.T, 1):
        found[f"self_bleu_{at}"] = float(column.mean())
        found[f"self_bleu_{at}_interval"] = list(bootstrap(column, seed=seed))
    return found


class SelfBleu(evaluate.Measurement):
    """Measures texts; `sample` and `seed` as in `self_bleu`."""

    def _info(self) -> evaluate.MeasurementInfo:
        return evaluate.MeasurementInfo(_DESCRIPTION, "", datasets.Features({"data": datasets.Value("string")}))

    def _compute(self, data: list[str], sample: int | None = None, seed: int = 0) -> dict:
        return self_bleu(data, sample=sample, seed=seed)
