"""What checks read and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..metrics.classification import wilson
from .limits import DUPLICATES_TIMES

Floats = NDArray[Any]  # of either precision
Ints = NDArray[np.int64]
Tagged = tuple[Sequence[str], Sequence[str]]
PARTS = ("texts", "attributes", "tags", "asked", "sets", "parses")  # of rows, one value each
Level = Literal["good", "look", "bad", "skipped"]


class Asked(NamedTuple):
    """A question, its first answer (empty where there is none), and where that begins in its context."""

    context: str
    question: str
    answer: str
    start: int


@dataclass(frozen=True)
class Rows:
    """Labelled texts.

    Attributes:
        texts: One a row; several text columns are joined by a line break.
        labels: Class of each row, [N], places in `names`.
        names: The classes.
        index: Row numbers in the split that was read, [N].
        vectors: Embeddings of the texts, [N, D], where they were made.
        attributes: What each text was asked to have, as JSON, where that is known.
        labelled: Whether a row has one label; where it has tags, spans or a parse, all rows are of one class here.
        tags: Tokens and BIO tags of each row, where it has such.
        asked: Its question, where it has one with an answer in a context.
        sets: Its labels, where it has any number of them.
        parses: Its parse, where it has one.
    """

    texts: Sequence[str]
    labels: Ints
    names: Sequence[str]
    index: Ints
    vectors: Floats | None = None
    attributes: Sequence[str | None] | None = None
    labelled: bool = True
    tags: Sequence[Tagged] | None = None
    asked: Sequence[Asked] | None = None
    sets: Sequence[Sequence[str]] | None = None
    parses: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def plain(cls, texts: Sequence[str]) -> Rows:
        """Return texts without labels as rows."""
        return cls(texts, np.zeros(len(texts), dtype=np.int64), [""], np.arange(len(texts)), labelled=False)

    def take(self, places: Sequence[int]) -> Rows:
        """Return some of the rows."""
        at = np.asarray(places, dtype=np.int64)
        given = {name: getattr(self, name) for name in PARTS}
        some: Any = {name: [own[place] for place in at] for name, own in given.items() if own is not None}
        vectors = None if self.vectors is None else self.vectors[at]
        return replace(self, labels=self.labels[at], index=self.index[at], vectors=vectors, **some)


@dataclass(frozen=True)
class Sample:
    """What is encoded, and whose labels are judged: some rows of each.

    Attributes:
        own: Of the data set.
        test: Of the reference's split that judges.
        train: Of its `train` split.
        corpus: Of the texts that conditioned the generation.
        rest: Without a reference, of texts beside those that the generator learnt from, which it did not.
    """

    own: Rows
    test: Rows | None
    train: Rows | None
    corpus: Rows | None
    rest: Rows | None

    @property
    def unseen(self) -> Rows | None:
        """Real texts that no generator has learnt."""
        return self.test if self.test is not None else self.rest


@dataclass(frozen=True)
class Verdict:
    """What a check says.

    Attributes:
        check: Its name.
        verdict: `good`, `look`, `bad`, or `skipped` where it could not judge.
        value: The figure that was judged.
        limit: Beyond which it is not good.
        reason: A sentence.
        rows: Row numbers (`row`) and what is to be seen there, worst first.
        measures: All figures, with rows, seed and interval.
        found: Rows in all, where `rows` is cut.
    """

    check: str
    verdict: Level
    value: float | None
    limit: float | None
    reason: str
    rows: Sequence[dict[str, Any]] = ()
    measures: dict[str, Any] = field(default_factory=dict)
    found: int = 0


def level(value: float, limits: tuple[float, float], times: float = 1.0) -> Level:
    """Return the verdict on a value that should be low.

    Args:
        value: A share.
        limits: Beyond which it is worth a look, and bad.
        times: Both limits are multiplied by it.
    """
    look, bad = limits
    return "bad" if value > bad * times else "look" if value > look * times else "good"


def share_of(count: int, rows: int) -> dict[str, Any]:
    """Return a share of rows with its 95 % interval (Wilson)."""
    return {"rows": rows, "count": count, "share": count / rows, "interval": list(wilson(count, rows))}


def repetition(real: tuple[float, int] | None, rows: int, limit: float) -> tuple[float, str]:
    """Return how many times a limit the reference lets so many rows repeat, 1 or more, and its rate in words.

    Args:
        real: The reference's rate and of how many rows; none without one.
        rows: How many are judged. With them grows the share: of more rows than the reference has, in proportion, since
            a row may repeat each of the others.
        limit: The share that is worth a look without a reference.
    """
    if real is None:
        return 1.0, ""
    rate, of = real
    expected, words = min(rate * max(1.0, rows / of), 1.0), f" of {of:,} rows" if of < rows else ""
    return max(1.0, DUPLICATES_TIMES * expected / limit), f" (reference {percent(rate)}{words})"


def skipped(check: str, reason: str, **measures: Any) -> Verdict:
    """Return the verdict of a check that could not judge."""
    return Verdict(check, "skipped", None, None, reason, measures=measures)


def percent(value: float) -> str:
    """Return a share as people read it.

    >>> percent(0.0312), percent(0.0003)
    ('3.1 %', '0.03 %')
    """
    return f"{100 * value:.1f} %" if value >= 0.001 or not value else f"{100 * value:.1g} %"
