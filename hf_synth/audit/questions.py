"""Whether questions can be answered from their contexts, as far as words tell."""

from __future__ import annotations

from typing import Any

from ..metrics.answerability import answerability
from . import limits
from .records import Level, Rows, Verdict, level, percent, skipped


def answerable(own: Rows, real: Rows | None) -> Verdict:
    """Answers that do not stand where they say, questions that hold theirs, and those whose words lead elsewhere.

    Of the last, judged is the share whose words lead to the answer's sentence: its upper end beside the lower end of
    the reference's.
    """
    check = "answerability"
    mine, theirs = _figures(own), None if real is None else _figures(real)
    if mine is None:
        return skipped(check, "no row has an answer", rows=len(own))
    told: dict[str, Any] = {"rows": mine["rows"], "own": mine, "reference": theirs}
    lost = round((1 - mine["in_place"]) * mine["rows"])
    if lost:
        reason = f"{lost:,} of {mine['rows']:,} answers do not stand where they say"
        return Verdict(check, "bad", mine["in_place"], 1.0, reason, (), told)
    reason = f"{percent(mine['given_away'])} of the questions hold their answer"
    verdict: Level = level(mine["given_away"], limits.GIVEN_AWAY)
    if verdict != "good" or mine["located"] is None or theirs is None or theirs["located"] is None:
        return Verdict(check, verdict, mine["given_away"], limits.GIVEN_AWAY[0], reason, (), told)
    reason += f"; the words of {percent(mine['located'])} lead to the answer's sentence"
    reason += f" (the reference: {percent(theirs['located'])}, chance: {percent(mine['located_by_chance'])})"
    limit = theirs["located_interval"][0] - limits.LED_ASTRAY
    verdict = "look" if mine["located_interval"][1] < limit else "good"
    return Verdict(check, verdict, mine["located"], limit, reason, (), told)


def _figures(rows: Rows) -> dict[str, Any] | None:
    asked = [row for row in rows.asked or () if row.answer]
    if not asked:
        return None
    return answerability(
        [row.context for row in asked],
        [row.question for row in asked],
        [row.answer for row in asked],
        [row.start for row in asked],
    )
