"""Rows that stand in the reference's splits, in the few shots or in a corpus, word for word or by meaning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..metrics.near_duplicates import COSINE
from ..metrics.overlap import SPAN, Copies, Reference, worst
from ..reference import WHOLE
from . import limits
from .records import Floats, Ints, Level, Rows, Verdict, percent, share_of, skipped


def read(texts: Sequence[str]) -> Reference:
    """Return texts to look for; of very many, the first."""
    return Reference(_within(texts, limits.REFERENCE_CHARACTERS))


def verbatim_test(own: Rows, copies: Copies, of: str = "", split: str = "test") -> Verdict:
    """Rows that are a row of the reference's test split: whoever trains on them is not judged by it any more.

    Args:
        own: The data set.
        copies: With the test split.
        of: How much of the split was read, where not all of it was.
        split: Its name: of a reference that has nothing but `train`, rows may well have been taken.
    """
    rows = _verbatim(own, copies)
    where = known_split(split)
    reason = f"no row is a row of the {where}" + of
    if rows:
        reason = f"{len(rows)} of {len(own):,} rows are rows of the {where}, word for word"
        reason += (
            "; whoever trains on them cannot be judged by it" if split == "train" else ": drop them before training"
        )
    told, named = share_of(len(rows), len(own)), rows[: limits.MOST_ROWS]
    verdict: Level = "good" if not rows else "look" if split == "train" else "bad"
    return Verdict("test rows", verdict, len(rows), 0, reason, named, told, len(rows))


def known_split(split: str) -> str:
    """Return a reference's split in words."""
    return "reference" if split == WHOLE else f"{split} split"


def spans_test(own: Rows, copies: Copies, baseline: float | None) -> Verdict:
    """Rows with eight words in a row from the test split.

    Args:
        own: The data set.
        copies: With the test split.
        baseline: The same share of the reference's own train split.
    """
    return _spans("test spans", own, copies, ("the test split", "the reference's train split"), baseline)


def corpus_spans(own: Rows, copies: Copies, baseline: float | None) -> Verdict:
    """Rows with eight words in a row from what conditioned the generation, such as the few shots of its generator.

    Args:
        own: The data set.
        copies: With the corpus.
        baseline: The same share of real rows that were not in it.
    """
    return _spans("corpus spans", own, copies, ("one text of the corpus", "rows it was not made from"), baseline)


def span_share(rows: Rows, reference: Reference) -> float:
    """Return the share of rows with eight words in a row from the reference: what real rows do."""
    return float((reference.copies(rows.texts).longest >= SPAN).mean())


@dataclass(frozen=True)
class Alike:
    """Rows whose embedding is nearly that of one of other texts.

    Attributes:
        rows: Which (`row`, `reference_row`, `cosine`), nearest first.
        told: Their share with its interval, and `usual`: that of rows which were not made from those texts.
    """

    rows: Sequence[dict[str, Any]]
    told: dict[str, Any]

    @property
    def limit(self) -> float:
        """The share beyond which it is worth a look."""
        return limits.NEAR_TEST + (self.told["usual"] or 0.0)

    @property
    def many(self) -> bool:
        """Whether there are more than rows that were not made from those texts would have."""
        return self.told["interval"][0] > self.limit

    def said(self, of: str, whose: str) -> str:
        """Return the share in words: that of rows near `of`, beside that of `whose` rows."""
        beside = "" if self.told["usual"] is None else f" ({percent(self.told['usual'])} of {whose})"
        return f"{percent(self.told['share'])} mean nearly what one of {self.told['texts']:,} {of} does{beside}"


def alike(own: Rows, others: Rows | None, usual: Rows | None) -> Alike | None:
    """Return the rows that are nearly one of the others by meaning; None where one side has no embeddings."""
    if own.vectors is None or others is None or others.vectors is None:
        return None
    near, place = _nearest(own.vectors, others.vectors)
    baseline = None
    if usual is not None and usual.vectors is not None:
        baseline = float((_nearest(usual.vectors, others.vectors)[0] >= COSINE).mean())
    hits = np.flatnonzero(near >= COSINE)
    order = hits[np.argsort(-near[hits], kind="stable")].tolist()
    rows = [
        {"row": int(own.index[at]), "reference_row": int(others.index[place[at]]), "cosine": round(float(near[at]), 4)}
        for at in order
    ]
    return Alike(rows, {**share_of(len(hits), len(own)), "cosine": COSINE, "texts": len(others), "usual": baseline})


def near_test(near: Alike | None) -> Verdict:
    """Rows that mean what a test row does, beyond the share of the reference's own train rows."""
    check = "near test rows"
    if near is None:
        return skipped(check, "needs an encoder")
    reason = "of the rows, " + near.said("test rows", "the reference's train rows")
    rows, share = near.rows[: limits.MOST_ROWS], near.told["share"]
    return Verdict(check, "look" if near.many else "good", share, near.limit, reason, rows, near.told, len(near.rows))


def train_rows(own: Rows, copies: Copies, near: Alike | None) -> Verdict:
    """Rows that are a row of the reference's train split: information, since only the maker knows if they may be."""
    rows = _verbatim(own, copies)
    told, named = share_of(len(rows), len(own)), rows[: limits.MOST_ROWS]
    reason = f"{percent(told['share'])} of the rows are rows of the reference's train split"
    if near is not None:
        told["meaning"], reason = near.told, f"{reason}; {near.said('of them', 'its test rows')}"
    return Verdict("train rows", "good", told["share"], None, reason + " (information)", named, told, len(rows))


def corpus_rows(own: Rows, copies: Copies, near: Alike | None) -> Verdict:
    """Rows that repeat a text of what conditioned the generation: a copy is nothing new, and may be private.

    What only means the same is judged beside rows that the generator never saw, where there are such.
    """
    rows = _verbatim(own, copies)
    told = share_of(len(rows), len(own))
    reason = f"{len(rows)} of {len(own):,} rows are texts of the corpus, word for word"
    verdict: Level = "look" if rows else "good"
    if near is not None:
        told["meaning"], reason = near.told, f"{reason}; {near.said('of them', 'rows it was not made from')}"
        if near.many and near.told["usual"] is not None:
            known = {row["row"] for row in rows}
            verdict, rows = "look", [*rows, *(row for row in near.rows if row["row"] not in known)]
    return Verdict("corpus rows", verdict, told["count"], 0, reason, rows[: limits.MOST_ROWS], told, len(rows))


def _nearest(vectors: Floats, others: Floats) -> tuple[Floats, Ints]:
    """Return the largest cosine of each vector with the others, and with which."""
    unit = [np.asarray(own, dtype=np.float32) for own in (vectors, others)]
    unit = [own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12) for own in unit]
    blocks = [part @ unit[1].T for part in np.array_split(unit[0], max(1, len(vectors) // 1_000))]
    return np.concatenate([b.max(1) for b in blocks]), np.concatenate([b.argmax(1) for b in blocks])


def _within(texts: Sequence[str], characters: int) -> Iterator[str]:
    for text in texts:
        if (characters := characters - len(text)) < 0:
            return
        yield text


def _spans(check: str, own: Rows, copies: Copies, named: tuple[str, str], baseline: float | None) -> Verdict:
    """Return the verdict on rows with eight words in a row from some texts, beside a share of `named` others."""
    told = share_of(int((copies.longest >= SPAN).sum()), len(own))
    limit = max(limits.SPANS, limits.SPANS_TIMES * (baseline or 0.0))
    reason = f"{percent(told['share'])} of the rows have {SPAN} words in a row from {named[0]}"
    if baseline is not None:
        reason += f" ({percent(baseline)} of {named[1]})"
    long = [at for at in worst(copies).tolist() if copies.longest[at] >= SPAN]  # not a whole text of fewer words
    rows = [_row(own, copies, at, copies.reference) for at in long]
    verdict: Level = "look" if told["interval"][0] > limit else "good"
    told |= {"reference_train" if check == "test spans" else "usual": baseline}
    return Verdict(check, verdict, told["share"], limit, reason, rows[: limits.MOST_ROWS], told, len(rows))


def _verbatim(own: Rows, copies: Copies) -> list[dict[str, Any]]:
    long = copies.words >= limits.VERBATIM_WORDS
    known = [at for at in worst(copies).tolist() if copies.verbatim[at] >= 0 and long[at]]
    return [_row(own, copies, at, copies.verbatim) for at in known]


def _row(own: Rows, copies: Copies, at: int, reference: Ints) -> dict[str, Any]:
    return {
        "row": int(own.index[at]),
        "reference_row": int(reference[at]),
        "copied_words": int(copies.longest[at]),
        "words": int(copies.words[at]),
    }
