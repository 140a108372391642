"""How like real texts these are: by their embeddings, how hard they are to read, and a language model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import InputError
from ..metrics.mauve import mauve
from ..metrics.perplexity import perplexity
from ..metrics.readability import grades, readability
from ..metrics.sampling import drawn
from . import limits
from .records import Level, Rows, Verdict, skipped

Score = Callable[[Sequence[str]], Sequence[float]]  # mean log-probability per token of each text


def closeness(own: Rows, real: Rows | None, seed: int) -> Verdict:
    """MAUVE of the embeddings beside that of two halves of the reference, since no sample reaches 1."""
    check = "MAUVE"
    if real is None or own.vectors is None or real.vectors is None:
        return skipped(check, "needs a `reference` and an encoder")
    half = min(len(real) // 2, len(own))
    try:
        clusters = max(2, half // 20)
        order = np.random.default_rng(seed).permutation(len(real))  # rows may stand sorted by label
        one, other = real.vectors[order[:half]], real.vectors[order[half : 2 * half]]
        some = own.vectors[drawn(len(own), half, seed)]
        mine, theirs = (mauve(side, one, clusters=clusters, seed=seed) for side in (some, other))
    except InputError as error:
        return skipped(check, str(error))
    limit = limits.UNNATURAL * theirs["mauve"]
    reason = f"{mine['mauve']:.3f} beside the reference, whose two halves have {theirs['mauve']:.3f}"
    verdict: Level = "look" if mine["mauve_interval"][1] < limit else "good"
    told = {"rows": half, "seed": seed, "own": mine, "reference": theirs}
    return Verdict(check, verdict, mine["mauve"], limit, reason, (), told)


def reading(own: Rows, real: Rows | None, seed: int) -> Verdict:
    """Readability beside the reference's, in standard deviations of its texts."""
    check = "readability"
    try:
        mine = readability(own.texts, seed=seed)
        theirs = None if real is None else readability(real.texts, seed=seed)
    except InputError as error:
        return skipped(check, str(error))
    if real is None or theirs is None:
        return skipped(check, "measured, not judged: that needs a `reference`", own=mine)
    spread = float(np.nanstd(grades(real.texts))) or 1.0
    value = (mine["readability"] - theirs["readability"]) / spread
    reason = f"school year {mine['readability']:.1f}, the reference's {theirs['readability']:.1f}"
    verdict: Level = "look" if abs(value) > limits.READING else "good"
    told = {"rows": len(own), "seed": seed, "own": mine, "reference": theirs, "spread": spread}
    return Verdict(check, verdict, value, limits.READING, reason, (), told)


def likelihood(own: Rows, real: Rows | None, score: Score | None, seed: int) -> Verdict:
    """Median perplexity under a named model beside the reference's."""
    check = "perplexity"
    if score is None:
        return skipped(check, "needs a language model: `scorer`")
    mine = perplexity(score(own.texts), seed=seed)
    theirs = None if real is None else perplexity(score(real.texts), seed=seed)
    if theirs is None:
        return skipped(check, "measured, not judged: that needs a `reference`", own=mine)
    value = mine["perplexity"] / theirs["perplexity"]
    far = mine["perplexity_interval"][1] < theirs["perplexity"] / limits.PERPLEXITY_RATIO
    far |= mine["perplexity_interval"][0] > theirs["perplexity"] * limits.PERPLEXITY_RATIO
    reason = f"{mine['perplexity']:.1f} (median), the reference's {theirs['perplexity']:.1f}"
    told = {"rows": len(own), "seed": seed, "own": mine, "reference": theirs}
    return Verdict(check, "look" if far else "good", value, limits.PERPLEXITY_RATIO, reason, (), told)
