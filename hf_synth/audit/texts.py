"""Texts that are empty or too short, and labels that their length gives away."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from ..metrics.classification import wilson
from ..metrics.sampling import drawn
from ..metrics.tokens import words
from . import limits
from .probe import told_by_tree
from .records import Ints, Rows, Verdict, level, percent, share_of, skipped


def counted(own: Rows) -> Ints:
    """Return the words of each text, [N]."""
    return np.array([len(words(text)) for text in own.texts])


def empty(own: Rows, lengths: Ints) -> Verdict:
    """Texts without a word."""
    places = np.flatnonzero(lengths == 0)
    told = share_of(len(places), len(own))
    rows = [{"row": int(own.index[at]), "label": own.names[own.labels[at]]} for at in places]
    verdict, named = level(told["share"], limits.EMPTY), rows[: limits.MOST_ROWS]
    reason = f"{len(places)} of {len(own):,} texts have no word"
    return Verdict("empty texts", verdict, told["share"], limits.EMPTY[0], reason, named, told, len(rows))


def short(own: Rows, lengths: Ints, real: tuple[Rows, Ints] | None) -> Verdict:
    """A class of which many texts have one or two words.

    Args:
        own: The data set.
        lengths: Words of its texts.
        real: Rows of the reference and their words: where its classes are as short, ours may be.
    """
    found, worst, over, usual, excess = {}, 0, 0.0, 0.0, -1.0
    for label, name in enumerate(own.names):
        mine = lengths[own.labels == label]
        if len(mine) < limits.LEAST:
            continue
        share = float((mine < limits.SHORT_WORDS).mean())
        theirs = _short_share(real, name)
        found[name] = {"rows": len(mine), "short": share, "reference": theirs}
        if share - (theirs or 0.0) > excess:
            worst, over, usual = label, share, theirs or 0.0
            excess = over - usual
    if not found:
        return skipped("short texts", f"no class has {limits.LEAST} rows")
    places = np.flatnonzero((lengths < limits.SHORT_WORDS) & (own.labels == worst))
    reason = f"{percent(over)} of the texts of {own.names[worst]!r} have fewer than {limits.SHORT_WORDS} words"
    rows = [{"row": int(own.index[at]), "label": own.names[worst], "words": int(lengths[at])} for at in places]
    verdict = level(excess, limits.SHORT)
    told, limit = {"rows": len(own), "classes": found}, limits.SHORT[0] + usual
    return Verdict("short texts", verdict, over, limit, reason, rows[: limits.MOST_ROWS], told, len(rows))


def _short_share(real: tuple[Rows, Ints] | None, name: str) -> float | None:
    if real is None or name not in real[0].names:
        return None
    theirs = real[1][real[0].labels == list(real[0].names).index(name)]
    return float((theirs < limits.SHORT_WORDS).mean()) if len(theirs) >= limits.LEAST else None


def length_tells(own: Rows, lengths: Ints, seed: int) -> Verdict:
    """Labels that a decision tree tells from words and characters alone, cross-validated.

    The value is (accuracy - m) / (1 - m), m the share of the largest class: 0 where length says nothing, 1 where it
    says all.
    """
    check = "labels by length"
    places = drawn(len(own), limits.LENGTH_ROWS, seed)  # a probability is held for each row and class
    own, lengths = own.take(places), lengths[places]
    known, labels = np.unique(own.labels, return_inverse=True)
    if len(known) < 2 or len(own) < limits.LEAST:
        return skipped(check, f"needs two classes and {limits.LEAST} rows")
    table = np.stack([lengths, [len(text) for text in own.texts]], axis=1)
    try:
        right = told_by_tree(table, labels, seed)
    except InputError as error:
        return skipped(check, str(error))
    majority = float(np.bincount(labels).max() / len(own))
    low, high = wilson(right, len(own))
    value = (right / len(own) - majority) / (1 - majority)
    reason = f"length alone tells {percent(right / len(own))} of the labels, the largest class has {percent(majority)}"
    told = {"rows": len(own), "seed": seed, "accuracy": right / len(own), "interval": [low, high]}
    if value > limits.LENGTH_TELLS[0] >= (low - majority) / (1 - majority):
        reason += ": too few rows to tell"
    verdict = level((low - majority) / (1 - majority), limits.LENGTH_TELLS)
    return Verdict(check, verdict, value, limits.LENGTH_TELLS[0], reason, (), {**told, "majority": majority})
