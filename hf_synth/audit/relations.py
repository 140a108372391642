"""Marks in place of entities: each there once, which is first, and how far they stand apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from . import counts, gap, limits
from .records import Rows, Verdict, level, share_of

MARK = re.compile(r"@[A-Z]+\$")


def marks_of(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the marks of GAD's kind (`@GENE$`) that more than half of the texts hold, where these are two or more."""
    found = Counter(mark for text in texts for mark in set(MARK.findall(text)))
    marks = tuple(sorted(mark for mark, count in found.items() if 2 * count > len(texts)))
    return marks if len(marks) > 1 else ()


def checks(own: Rows, real: Rows | None, marks: Sequence[str], seed: int) -> Iterator[Verdict]:
    """Yield the checks of texts in which each mark should stand once; of these alone, order and distance."""
    wrong = [at for at, text in enumerate(own.texts) if any(text.count(mark) != 1 for mark in marks)]
    told = share_of(len(wrong), len(own))
    reason = f"{len(wrong):,} of {len(own):,} texts do not hold each of {', '.join(marks)} once"
    named = [{"row": int(own.index[at])} for at in wrong[: limits.MOST_ROWS]]
    verdict = level(told["share"], limits.MARKED)
    yield Verdict("marks", verdict, told["share"], limits.MARKED[0], reason, named, told, len(wrong))
    mine, theirs = _marked(own, marks), [] if real is None else _marked(real, marks)
    if not mine:
        return
    ours, others = ([(one.label, one.first) for one in side] for side in (mine, theirs))
    yield counts.beside("mark order", f"of the texts have {marks[0]} first", ours, others or None, seed)
    if theirs:
        words = [np.array([one.between for one in side]) for side in (mine, theirs)]
        said = "{:g} words between the first mark and the last (median), the reference's {:g}"
        reason = said.format(*map(np.median, words))
        yield replace(gap.lengths(words[0], words[1]), check="words between marks", reason=reason)


class _Marked(NamedTuple):
    """A text's label, whether the first of the marks comes first (1 or 0), and the words between first and last."""

    label: str
    first: int
    between: int


def _marked(rows: Rows, marks: Sequence[str]) -> list[_Marked]:
    """Return the texts that hold each mark once."""
    found = []
    for text, label in zip(rows.texts, rows.labels, strict=True):
        if all(text.count(mark) == 1 for mark in marks):
            places = {text.index(mark): mark for mark in marks}
            start, end = min(places), max(places)
            inside = text[start + len(places[start]) : end]
            found.append(_Marked(rows.names[label], int(places[start] == marks[0]), len(inside.split())))
    return found
