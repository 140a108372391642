"""How entities are spread over the texts, and whether a name is tagged wherever it stands."""

from __future__ import annotations

from typing import Any

from ..bio import OUTSIDE
from ..metrics.tag_distribution import divergence, span_agreement, tag_distribution
from . import limits
from .records import Level, Rows, Verdict, percent, skipped


def spread(own: Rows, real: Rows | None) -> Verdict:
    """Names that are tagged somewhere and left untagged elsewhere, which students learn to miss; beside the reference.

    Judged by the upper end of the interval of the share that is tagged alike.
    """
    check = "tags"
    every = (tag for side in (own, real) if side for _, tags in side.tags or () for tag in tags)
    if (odd := next((tag for tag in every if tag != OUTSIDE and tag[:2] not in ("B-", "I-")), None)) is not None:
        return skipped(check, f"the tag {odd!r} is none of `O`, `B-X` and `I-X`", rows=len(own))
    mine, theirs = _figures(own), None if real is None else _figures(real)
    if theirs is not None:
        theirs.pop("untagged")  # real names, which may be people's
    alike = None if mine is None else mine["span_agreement"]
    if mine is None or alike is None:
        return skipped(check, "no row has an entity", rows=len(own))
    told: dict[str, Any] = {"rows": len(own), "own": mine, "reference": theirs}
    reason = (
        f"{mine['entities_per_text']:.2f} entities a text; names that are tagged are so in {percent(alike)} of places"
    )
    if theirs is None or theirs["span_agreement"] is None:
        return skipped(check, f"{reason}; measured, not judged: that needs a `reference`", **told)
    reason += f" (the reference: {theirs['entities_per_text']:.2f}, {percent(theirs['span_agreement'])})"
    missed = [f"{name!r} {count}" for name, count in list(mine["untagged"].items())[:3]]
    reason += f"; most often untagged: {', '.join(missed)}" if missed else ""
    limit = theirs["span_agreement_interval"][0] - limits.UNTAGGED
    told["divergence"] = divergence(mine, theirs)
    verdict: Level = "look" if mine["span_agreement_interval"][1] < limit else "good"
    return Verdict(check, verdict, alike, limit, reason, (), told)


def _figures(rows: Rows) -> dict[str, Any] | None:
    if rows.tags is None:
        return None
    tokens, tags = ([row[side] for row in rows.tags] for side in (0, 1))
    return {**tag_distribution(tokens, tags), **span_agreement(tokens, tags)}
