"""Rounds: how many rows each asks for, and what is said of a label that they leave short."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field

from .config import strict
from .records import Example
from .run import Run

GAIN = "gain per 1,000 rows"


@strict
class RoundsConfig:
    """How large rounds are, and when they end before there are `num_rows` rows.

    Attributes:
        first_round: Rows of the first round.
        growth: How much larger each round is than the one before.
        max_round: Rows of a round at most.
        min_gain: Stop when what a method judges its rounds by gains less than this per 1,000 rows: the accuracy on the
            validation rows (ProGen), the mean recall of the labels on real rows (long tail); never where left out.
        patience: Rounds in a row that gain less before it stops. A few hundred judged rows tell an accuracy to some
            points: a single round can gain nothing by chance.
    """

    first_round: int = Field(500, ge=1)
    growth: float = Field(2.0, ge=1)
    max_round: int = Field(2000, ge=1)
    min_gain: float | None = Field(None, ge=0)
    patience: int = Field(1, ge=1)


def round_sizes(config: RoundsConfig) -> Iterator[int]:
    """Yield the rows of each round, without end."""
    size = float(config.first_round)
    while True:
        yield min(round(size), config.max_round)
        size = min(size * config.growth, config.max_round)


def round_totals(config: RoundsConfig, labels: int) -> Iterator[int]:
    """Yield how many rows there shall be after each round, without end: it never reads how many are wanted.

    Labels of one share have as many, so that a round that is cut short begins like one that is not.
    """
    total = 0
    for size in round_sizes(config):
        total += -(-size // labels) * labels
        yield total


def stalled(config: RoundsConfig, table: Sequence[Mapping[str, Any]], measure: str) -> str:
    """Return why another round is not worth its rows; nothing while it is, or without `min_gain`.

    Args:
        config: Has `min_gain` and `patience`.
        table: What is known of each round, its `gain per 1,000 rows` where one was before it.
        measure: What `min_gain` is of, in words.
    """
    gains = [gain for row in table if (gain := row.get(GAIN)) is not None][-config.patience :]
    if config.min_gain is None or len(gains) < config.patience or max(gains) >= config.min_gain:
        return ""
    rounds = "the last round" if config.patience == 1 else f"each of the last {config.patience} rounds"
    told = " and ".join(map(str, gains))
    return f"{rounds} gained {told} in {measure} per 1,000 rows, less than `min_gain`, {config.min_gain}"


def due(run: Run, rows: Sequence[Example], total: int) -> dict[Hashable, int]:
    """Return what each label lacks of its share of a total, or of the rows wanted where these are fewer.

    Args:
        run: Tells the labels, the rows wanted and which labels were given up: these lack nothing any more.
        rows: Those that there are.
        total: Rows of all labels.
    """
    kept = Counter(example.cell for example in rows)
    lacking = {label: want - kept[label] for label, want in run.targets(min(total, run.num_rows)).items()}
    return {label: lack for label, lack in lacking.items() if lack > 0 and str(label) not in run.ledger.accounts}


def end_rounds(run: Run, rows: Sequence[Example], over: Sequence[Example], reason: str) -> None:
    """Drop what the last round has over, and give the account of labels that are short.

    Args:
        run: Whose rounds these were.
        rows: The rows.
        over: Examples that no round needed.
        reason: Why there was no other round.
    """
    run.surplus(over)
    run.settle(rows, reason)
