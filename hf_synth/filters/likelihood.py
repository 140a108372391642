"""Filters that look at how likely the generator finds a text (SuperGen, https://huggingface.co/papers/2202.04538)."""

from __future__ import annotations

import random
import re
from collections import Counter, deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from ..cells import in_turn
from ..errors import InputError
from ..records import Example


def scored(examples: Sequence[Example]) -> list[None]:
    """Drop nothing, but refuse texts of which nobody said how likely they are.

    Raises:
        InputError: If an example has no log-probability.
    """
    if any(example.logprob is None for example in examples):
        raise InputError(
            "texts are selected by their log-probability, which this backend does not tell: use the backend local or "
            "vllm, or `selection: random`"
        )
    return [None] * len(examples)


def copied(examples: Sequence[Example]) -> list[str | None]:
    """Drop texts that only repeat what their prompt gave, as the likeliest do: `copy`.

    Case, spacing and punctuation do not count.
    """
    return ["copy" if _copies(example) else None for example in examples]


def _copies(example: Example) -> bool:
    given = example.prompt.given
    own = [text for column, text in example.fields.items() if column not in given]
    return any(_bare(text) == _bare(other) for text in own for other in given.values())


def _bare(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


class Likeliest:
    """Keep, in each cell, the examples of highest mean log-probability; the others are `ranked below`.

    It keeps the first that it is shown, so it is shown everything at once, in its order:
    `run.keep(best.ranked(pool), best, whole=True)`.

    Args:
        wanted: How many of each cell.
        ranking: Cells whose `unlikely` texts are kept instead (sentences that nobody would say), or any, at `random`.
        rng: Draws those.
    """

    def __init__(self, wanted: Mapping[Hashable, int], ranking: Mapping[str, str], rng: random.Random):
        self.wanted, self.ranking, self.rng = wanted, ranking, rng

    def ranked(self, examples: Sequence[Example]) -> list[Example]:
        """Return examples, those to be kept first; see `scored` for what is refused."""
        scored(examples)
        return sorted(examples, key=self._rank)

    def __call__(self, examples: Sequence[Example]) -> list[str | None]:
        """Return the reasons of examples in order."""
        return first_of_each(examples, range(len(examples)), self.wanted, "ranked below")

    def _rank(self, example: Example) -> float:
        how = self.ranking.get(str(example.cell), "likely")
        logprob = example.logprob or 0.0
        return {"likely": -logprob, "unlikely": logprob}[how] if how != "random" else self.rng.random()


class Drawn:
    """Keep examples of each cell at random; the others are `not drawn`. What `Likeliest` is compared with.

    Args:
        wanted: How many of each cell.
        rng: Draws them.
    """

    def __init__(self, wanted: Mapping[Hashable, int], rng: random.Random):
        self.wanted, self.rng = wanted, rng

    def ranked(self, examples: Sequence[Example]) -> list[Example]:
        """Return examples in random order."""
        return sorted(examples, key=lambda _: -self.rng.random())

    def __call__(self, examples: Sequence[Example]) -> list[str | None]:
        """Return the reasons of examples in order."""
        return first_of_each(examples, range(len(examples)), self.wanted, "not drawn")


def first_of_each(
    examples: Sequence[Example], order: Iterable[int], wanted: Mapping[Hashable, int], reason: str
) -> list[str | None]:
    """Keep the first examples of each cell, and give the others a reason.

    Args:
        examples: All of them.
        order: Their places, those to be kept first.
        wanted: How many of each cell.
        reason: Of the others.
    """
    reasons: list[str | None] = [reason] * len(examples)
    taken: Counter[Hashable] = Counter()
    for at in order:
        cell = examples[at].cell
        if taken[cell] < wanted.get(cell, 0):
            taken[cell] += 1
            reasons[at] = None
    return reasons


def by_rank(examples: Iterable[Example], shares: Mapping[Hashable, float]) -> Iterator[Example]:
    """Yield each cell's examples in the order given, the cells in turn by their shares.

    Args:
        examples: By rank; all are held.
        shares: Of every cell.
    """
    of: dict[Hashable, deque[Example]] = {cell: deque() for cell in shares}
    for example in examples:
        of[example.cell].append(example)
    left = sum(map(len, of.values()))
    for cell in in_turn(shares):
        if not left:
            return
        if of[cell]:
            left -= 1
            yield of[cell].popleft()


def selection_table(
    pool: Sequence[Example], kept: Sequence[Example], cells: Iterable[Hashable]
) -> list[dict[str, Any]]:
    """Return, for each cell, how many texts there were and were kept, and their mean log-probabilities."""
    table = []
    for cell in cells:
        row: dict[str, Any] = {"label": cell}
        for name, examples in (("pool", pool), ("kept", kept)):
            found = [example.logprob for example in examples if example.cell == cell and example.logprob is not None]
            row[f"{name}, texts"] = sum(example.cell == cell for example in examples)
            row[f"{name}, mean log-probability"] = round(fmean(found), 4) if found else "unknown"
            row[f"{name}, least"] = round(min(found), 4) if found else "unknown"
        table.append(row)
    return table
