"""Words that too many texts of a class share, and refusals of the model that wrote them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np

from ..filters.refusal import is_refusal
from ..metrics.classification import wilson
from ..metrics.sampling import drawn
from ..metrics.tokens import words
from . import limits
from .records import Ints, Rows, Verdict, level, percent, share_of, skipped

Pieces = Callable[[str], Collection[str]]
TEXTS = 5_000  # of a class that are looked at
WORDS = 400  # of a text


def refusals(own: Rows) -> Verdict:
    """Texts that begin as an assistant's refusal."""
    places = [at for at, text in enumerate(own.texts) if is_refusal(text)]
    told = share_of(len(places), len(own))
    rows = [{"row": int(own.index[at]), "label": own.names[own.labels[at]]} for at in places]
    verdict, named = level(told["share"], limits.REFUSALS), rows[: limits.MOST_ROWS]
    reason = f"{len(places)} of {len(own):,} texts begin as a refusal of a language model does"
    return Verdict("refusals", verdict, told["share"], limits.REFUSALS[0], reason, named, told, len(rows))


def openings(own: Rows, real: Rows | None, seed: int) -> Verdict:
    """The first four words that most texts of a class share."""

    def first(text: str) -> Collection[str]:
        found = words(text)[: limits.OPENING_WORDS]
        return [" ".join(found)] if len(found) == limits.OPENING_WORDS else []

    return _commonest("openings", own, real, seed, first, limits.OPENING)


def phrases(own: Rows, real: Rows | None, seed: int) -> Verdict:
    """The five words in a row, anywhere, that most texts of a class share."""

    def held(text: str) -> Collection[str]:
        found, size = words(text)[:WORDS], limits.PHRASE_WORDS
        return {" ".join(found[at : at + size]) for at in range(len(found) - size + 1)}

    return _commonest("phrases", own, real, seed, held, limits.PHRASE)


def _commonest(
    check: str, own: Rows, real: Rows | None, seed: int, pieces: Pieces, shares: tuple[float, float]
) -> Verdict:
    """Return the verdict on the class whose commonest piece is farthest beyond its limit, beside the reference."""
    found: dict[str, dict[str, Any]] = {}
    worst = (-1.0, "", 0)

    def beside(name: str, piece: str) -> tuple[float | None, float]:
        theirs = _share(real, name, piece, pieces, seed)
        return theirs, max(1.0, limits.BOILERPLATE_TIMES * (theirs or 0.0) / shares[0])

    for label, places in _classes(own, seed):
        counts = Counter(piece for at in places.tolist() for piece in pieces(own.texts[at]))
        if not counts:
            continue
        piece, count = max(counts.items(), key=lambda one: (one[1], one[0]))
        low, high = wilson(count, len(places))
        share = count / len(places)
        found[own.names[label]] = {"phrase": piece, "rows": len(places), "share": share, "interval": [low, high]}
        # What the reference says as often in one class must not hide what stands in another.
        beyond = low / beside(own.names[label], piece)[1] if low > shares[0] else low
        if beyond > worst[0]:
            worst = (beyond, piece, label)
    if not found:
        return skipped(check, f"no class has {limits.LEAST} texts that are long enough")
    _, piece, label = worst
    name = own.names[label]
    share, (theirs, times) = found[name]["share"], beside(name, piece)
    mine = np.flatnonzero(own.labels == label)
    rows = [{"row": int(own.index[at]), "label": name} for at in mine.tolist() if piece in pieces(own.texts[at])]
    where = "begin with" if check == "openings" else "hold"
    reason = f"{percent(share)} of the texts of {name!r} {where} {piece!r}"
    if theirs is not None:
        reason += f" (reference {percent(theirs)})"
    told = {"seed": seed, "classes": found, "reference": theirs}
    verdict = level(found[name]["interval"][0], shares, times)
    return Verdict(check, verdict, share, shares[0] * times, reason, rows[: limits.MOST_ROWS], told, len(rows))


def _classes(own: Rows, seed: int) -> Iterator[tuple[int, Ints]]:
    """Yield each class of enough rows, and at most TEXTS places of it."""
    rng = np.random.default_rng(seed)
    for label in range(len(own.names)):
        places: Ints = np.flatnonzero(own.labels == label)
        if len(places) > TEXTS:
            places = np.sort(rng.choice(places, TEXTS, replace=False))
        if len(places) >= limits.LEAST:
            yield label, places


def _share(real: Rows | None, name: str, piece: str, pieces: Pieces, seed: int) -> float | None:
    """Return the share of the reference's texts of a class that have the piece; of all, where it has few of that."""
    if real is None:
        return None
    mine = [text for text, label in zip(real.texts, real.labels, strict=True) if real.names[label] == name]
    texts: Sequence[str] = mine if len(mine) >= limits.FEW else real.texts
    places = drawn(len(texts), TEXTS, seed)
    return sum(piece in pieces(texts[at]) for at in places) / len(places)
