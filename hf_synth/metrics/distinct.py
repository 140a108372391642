"""Distinct n-grams, vocabulary and type-token ratio of texts, as an `evaluate` measurement that loads by path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray

from hf_synth.errors import InputError
from hf_synth.metrics.sampling import GROUPS, T_19, drawn, groups, jackknife
from hf_synth.metrics.tokens import Ints, grams, numbered, tokens

_DESCRIPTION = """How many of the words and n-grams of a set of texts are different ones.

distinct_n, n = 1 to 4: different n-grams / n-grams, over all texts (Li et al. 2016,
https://huggingface.co/papers/1510.03055). 0 to 1, higher is more diverse; it falls as texts are added, so compare
equal numbers of texts (`sample`).
vocabulary: different words; 1 or more, higher is more diverse; it grows with the texts. tokens: words in all.
mattr: moving-average type-token ratio (Covington and McFall 2010, https://doi.org/10.1080/09296171003643098): mean
over all windows of 100 neighbouring words of different words / 100. The texts are read one after another in an order
drawn by the seed, since rows of one class may stand together. 0.01 to 1, higher is more diverse; it does not depend on
the number of texts. None below 100 words.
*_interval: 95 %, by the jackknife that leaves out one of 20 groups of texts (of windows, for mattr) drawn by the seed;
None below 40 texts (20 windows).
Tokens are words and marks of punctuation, with their case.
"""
LONGEST = 4
WINDOW = 100


def window_types(ids: Ints, window: int = WINDOW) -> Ints:
    """Return how many different tokens each window of neighbouring tokens holds, [T - window + 1].

    A token is new to the windows that begin after its last occurrence: one difference array counts them all.

    Args:
        ids: Tokens in a row, [T], no fewer than `window`.
        window: Tokens of a window.
    """
    order = np.argsort(ids, kind="stable")
    before = np.full(len(ids), -1)
    again = np.flatnonzero(ids[order][1:] == ids[order][:-1]) + 1
    before[order[again]] = order[again - 1]
    at, starts = np.arange(len(ids)), len(ids) - window + 1
    first = np.minimum(np.maximum(before + 1, at - window + 1), starts)
    last = np.minimum(at + 1, starts)
    steps = np.zeros(starts + 1, np.int64)
    np.add.at(steps, first, 1)
    np.subtract.at(steps, np.maximum(first, last), 1)
    return np.cumsum(steps)[:-1]


def _mattr(ids: Ints, window: int) -> tuple[float | None, list[float] | None]:
    if len(ids) < window:
        return None, None
    shares = window_types(ids, window) / window
    value = float(shares.mean())
    if len(shares) < GROUPS:
        return value, None
    sums = [(part.sum(), len(part)) for part in np.array_split(shares, GROUPS)]
    without = [(shares.sum() - part) / (len(shares) - size) for part, size in sums]
    return value, jackknife(value, without, T_19, 0, 1)


def _types(gram: Ints, text: Ints, group_of: Ints) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Return the different n-grams, those that stand in one group of texts alone, and each group's n-grams."""
    held = np.sort(gram * GROUPS + group_of[text])
    held = held[np.diff(held, prepend=-1) > 0]  # np.unique hashes, which takes five times as long here
    of, in_group = np.divmod(held, GROUPS)
    alone = np.bincount(of)[of] == 1
    return (
        int(of.max(initial=-1)) + 1,
        np.bincount(in_group[alone], minlength=GROUPS),
        np.bincount(group_of[text], minlength=GROUPS),
    )


def distinct(
    texts: Sequence[str], *, sample: int | None = None, seed: int = 0, window: int = WINDOW
) -> dict[str, Any]:
    """Return distinct-1 to 4, vocabulary and MATTR with intervals.

    Args:
        texts: One or more, not all empty.
        sample: Measure so many texts, drawn by the seed.
        seed: Decides the sample, the groups and the order of the texts.
        window: Words of a window of MATTR.

    Raises:
        InputError: If there is no word.
    """
    places = np.random.default_rng(seed).permutation(drawn(len(texts), sample, seed))
    ids, lengths = numbered(tokens(texts[at]) for at in places)
    if not len(ids):
        raise InputError(f"distinct n-grams need a text with a word; got {len(places)} texts without one")
    found: dict[str, Any] = {"rows": len(places), "seed": seed, "tokens": len(ids)}
    # By another seed than the order: of the same one, a group would be every twentieth text as they were given.
    group_of, enough = groups(len(places), seed + 1), len(places) >= 2 * GROUPS
    for n, (gram, text) in enumerate(grams(ids, lengths, LONGEST), 1):
        types, alone, sizes = _types(gram, text, group_of)
        value = types / len(gram) if len(gram) else None
        rest = len(gram) - sizes
        sound = enough and value is not None and bool(rest.all())
        found[f"distinct_{n}"] = value
        interval = jackknife(value, (types - alone) / rest, T_19, 0, 1) if sound and value else None
        found[f"distinct_{n}_interval"] = interval
        if n == 1:
            found["vocabulary"] = types
            found["vocabulary_interval"] = jackknife(types, types - alone, T_19, 1, len(ids)) if enough else None
    found["window"] = window
    found["mattr"], found["mattr_interval"] = _mattr(ids, window)
    return found


class Distinct(evaluate.Measurement):
    """Measures texts; `sample`, `seed` and `window` as in `distinct`."""

    def _info(self) -> evaluate.MeasurementInfo:
        return evaluate.MeasurementInfo(_DESCRIPTION, "", datasets.Features({"data": datasets.Value("string")}))

    def _compute(self, data: list[str], sample: int | None = None, seed: int = 0, window: int = WINDOW) -> dict:
        return distinct(data, sample=sample, seed=seed, window=window)
