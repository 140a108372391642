"""What a model may have kept of the texts that it was tuned on: planted canaries, and Carlini's scores."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ..metrics.exposure import exposure
from ..metrics.extraction import extraction
from ..metrics.sampling import drawn
from ..metrics.tokens import words
from . import limits
from .naturalness import Score
from .records import Level, Rows, Verdict, level, skipped

CANDIDATES = 255  # secrets like a canary, so that exposure reaches 8 bits
TEXTS = 500  # of each side that are scored


def canaries(own: Rows, planted: Sequence[str] | None, score: Score | None, seed: int) -> Verdict:
    """Canaries that stand in the texts and, with the model that wrote them, how exposed they are.

    Args:
        own: The data set.
        planted: Secrets that were put into what the generator was tuned on; a candidate is one with other digits.
        score: Log-probability of each text under the tuned generator, of all its tokens together.
        seed: Decides the candidates.
    """
    check = "canaries"
    if not planted:
        return skipped(check, "needs the secrets that were planted: `canaries`")
    wanted = [" ".join(words(secret)) for secret in planted]
    rows = []
    for at, text in enumerate(own.texts):
        held = f" {' '.join(words(text))} "
        stands = [n for n, one in enumerate(wanted) if one and f" {one} " in held]
        rows += [{"row": int(own.index[at]), "canary": n} for n in stands]
    count = len({row["row"] for row in rows})  # each once, though it may hold several
    reason = f"{count} of {len(own):,} rows hold one of {len(planted)} canaries"
    told: dict = {"rows": len(own), "canaries": len(planted), "exposure": None}
    with_digits = [secret for secret in planted if re.search(r"\d", secret)]
    if score is not None and with_digits:
        rng = np.random.default_rng(seed)
        bits, beside = [], []
        for secret in with_digits:
            alike = {re.sub(r"\d", lambda _: str(rng.integers(10)), secret) for _ in range(CANDIDATES)}
            others = sorted(alike - {secret})  # each once: one digit has nine, and says little
            found = score([secret, *others])
            bits.append(exposure(found[:1], found[1:])["exposure"])
            beside.append(len(others))
        told |= {"exposure": max(bits), "exposures": bits, "candidates": beside}
        reason += f"; the most exposed has {max(bits):.1f} of {np.log2(max(beside) + 1):.0f} bits"
    high = bool(told["exposure"]) and _by_chance(told["exposures"]) < limits.EXPOSED
    verdict: Level = "bad" if rows else "look" if high else "good"
    return Verdict(check, verdict, count, 0, reason, rows[: limits.MOST_ROWS], told, len(rows))


def _by_chance(bits: Sequence[float]) -> float:
    """Return how likely as many bits in all are where no canary was seen: each has x or more in one case of 2^x."""
    from scipy.stats import gamma

    return float(gamma.sf(sum(bits) * np.log(2), len(bits)))


def extracted(
    corpus: Sequence[str] | None,
    others: Rows | None,
    score: Score | None,
    seed: int,
    base: Score | None = None,
) -> Verdict:
    """Whether a tuned model finds what it was tuned on likelier than other texts of the source.

    Args:
        corpus: What it was tuned on.
        others: Texts of the same kind that it was not tuned on.
        score: Scores texts under it.
        seed: Decides which texts are scored.
        base: Scores texts under the model as it was before.
    """
    check = "memorisation"
    if score is None or corpus is None or others is None:
        return skipped(check, "needs the model (`scorer`), what it was tuned on (`corpus`) and a `reference`")
    inside, outside = ([text for text in texts if text.strip()] for texts in (corpus, others.texts))
    if not inside or not outside:
        return skipped(check, f"there are {len(inside)} texts of the corpus and {len(outside)} others to compare")
    inside, outside = ([some[at] for at in drawn(len(some), TEXTS, seed)] for some in (inside, outside))
    both = [*inside, *outside]
    found = extraction(
        both,
        score(both),
        lower=score([text.lower() for text in both]),
        base=None if base is None else base(both),
        members=[*[1] * len(inside), *[0] * len(outside)],
    )
    best = max(found["scores"], key=lambda name: found[name]["auc"])
    value = found[best]["auc"]
    reason = f"by {best}, texts of the corpus score above others in {value:.2f} (chance 0.5); "
    reason += f"{100 * found[best]['tpr']:.0f} % of them are found at 1 % false ones"
    told = {name: own for name, own in found.items() if name != "top"} | {"seed": seed}
    verdict = level(found[best]["auc_interval"][0], limits.MEMORISED)
    return Verdict(check, verdict, value, limits.MEMORISED[0], reason, (), told)
