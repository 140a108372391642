"""Rows that stand in the reference's splits, in the few shots or in a corpus, word for word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..metrics.near_duplicates import COSINE
from ..metrics.overlap import SPAN, Copies, Reference, worst
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
    reason = f"no row is a row of the {split} split" + of
    if rows:
        reason = f"{len(rows)} of {len(own):,} rows are rows of the {split} split, word for word"
        reason += (
            "; whoever trains on them cannot be judged by it" if split == "train" else ": drop them before training"
        )
    told, named = share_of(len(rows), len(own)), rows[: limits.MOST_ROWS]
    verdict: Level = "good" if not rows else "look" if split == "train" else "bad"
    return Verdict("test rows", verdict, len(rows), 0, reason, named, told, len(rows))


def spans_test(own: Rows, copies: Copies, baseline: float | None) -> Verdict:
    """Rows with eight words in a row from the test split.

    Args:
        own: The data set.
        copies: With the test split.
        baseline: The same share of the reference's own train split.
    """
    told = share_of(int((copies.longest >= SPAN).sum()), len(own))
    limit = max(limits.SPANS, limits.SPANS_TIMES * (baseline or 0.0))
    reason = f"{percent(told['share'])} of the rows have {SPAN} words in a row from the test split"
    if baseline is not None:
        reason += f" ({percent(baseline)} of the reference's train split)"
    rows = [_row(own, copies, at, copies.reference) for at in worst(copies).tolist()]
    verdict: Level = "look" if told["interval"][0] > limit else "good"
    named, told = rows[: limits.MOST_ROWS], {**told, "reference_train": baseline}
    return Verdict("test spans", verdict, told["share"], limit, reason, named, told, len(rows))


def span_share(rows: Rows, reference: Reference) -> float:
    """Return the share of rows with eight words in a row from the reference: what real rows do."""
    return float((reference.copies(rows.texts).longest >= SPAN).mean())


def near_test(own: Rows, test: Rows, train: Rows | None) -> Verdict:
    """Rows whose embedding is nearly that of a test row, beyond the share of the reference's own train rows."""
    check = "near test rows"
    if own.vectors is None or test.vectors is None:
        return skipped(check, "needs an encoder")
    near, place = _nearest(own.vectors, test.vectors)
    baseline = None
    if train is not None and train.vectors is not None:
        baseline = float((_nearest(train.vectors, test.vectors)[0] >= COSINE).mean())
    hits = np.flatnonzero(near >= COSINE)
    told = {
        **share_of(len(hits), len(own)),
        "cosine": COSINE,
        "reference_rows": len(test),
        "reference_train": baseline,
    }
    limit = limits.NEAR_TEST + (baseline or 0.0)
    order = hits[np.argsort(-near[hits], kind="stable")]
    rows = [
        {"row": int(own.index[at]), "reference_row": int(test.index[place[at]]), "cosine": round(float(near[at]), 4)}
        for at in order[: limits.MOST_ROWS]
    ]
    reason = f"{percent(told['share'])} of the rows mean nearly what one of {len(test):,} test rows does"
    if baseline is not None:
        reason += f" ({percent(baseline)} of the reference's train rows)"
    verdict: Level = "look" if told["interval"][0] > limit else "good"
    return Verdict(check, verdict, told["share"], limit, reason, rows, told, len(order))


def _nearest(vectors: Floats, others: Floats) -> tuple[Floats, Ints]:
    """Return the largest cosine of each vector with the others, and with which."""
    unit = [np.asarray(own, dtype=np.float32) for own in (vectors, others)]
    unit = [own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12) for own in unit]
    blocks = [part @ unit[1].T for part in np.array_split(unit[0], max(1, len(vectors) // 1_000))]
    return np.concatenate([b.max(1) for b in blocks]), np.concatenate([b.argmax(1) for b in blocks])


def train_rows(own: Rows, copies: Copies) -> Verdict:
    """Rows that are a row of the reference's train split: information, since only the maker knows if they may be."""
    rows = _verbatim(own, copies)
    told, named = share_of(len(rows), len(own)), rows[: limits.MOST_ROWS]
    reason = f"{percent(told['share'])} of the rows are rows of the reference's train split (information)"
    return Verdict("train rows", "good", told["share"], None, reason, named, told, len(rows))


def corpus_rows(own: Rows, copies: Copies) -> Verdict:
    """Rows that repeat a text of what conditioned the generation: a copy is nothing new, and may be private."""
    rows = _verbatim(own, copies)
    told, named = share_of(len(rows), len(own)), rows[: limits.MOST_ROWS]
    reason = f"{len(rows)} of {len(own):,} rows are texts of the corpus, word for word"
    return Verdict("corpus rows", "look" if rows else "good", len(rows), 0, reason, named, told, len(rows))


def _within(texts: Sequence[str], characters: int) -> Iterator[str]:
    for text in texts:
        if (characters := characters - len(text)) < 0:
            return
        yield text


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
