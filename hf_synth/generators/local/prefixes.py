"""Which prompts of a chunk share the start of their tokens, and how much of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, takewhile

ROWS = 16  # fewest prompts for which a prefix of their own is worth a matrix product a layer
GAIN = 16  # fewest tokens by which it must be longer than the one around it

Tokens = Sequence[int]


def shared_length(sequences: Sequence[Tokens]) -> int:
    """Return how many leading tokens all sequences share, at least one short of the shortest."""
    longest = min(map(len, sequences)) - 1
    # What the first and the last in order share, all share.
    first, last = min(map(list, sequences)), max(map(list, sequences))
    same = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return min(longest, sum(1 for _ in same))


def shared_prefixes(sequences: Sequence[Tokens]) -> tuple[list[int], list[tuple[int, int]]]:
    """Give each sequence a prefix that it shares with others.

    Returns:
        For each sequence the number of its prefix; for each prefix a sequence that has it, and its length.
    """
    prefix_of = [0] * len(sequences)
    prefixes: list[tuple[int, int]] = []

    def divide(places: list[int]) -> None:
        length = shared_length([sequences[at] for at in places])
        rest = []
        for _, part in groupby(places, key=lambda at: sequences[at][length]):
            inside = list(part)
            if len(places) > len(inside) >= ROWS and (
                shared_length([sequences[at] for at in inside]) >= length + GAIN
            ):
                divide(inside)
            else:
                rest += inside
        for at in rest:
            prefix_of[at] = len(prefixes)
        if rest:
            prefixes.append((rest[0], length))

    divide(sorted(range(len(sequences)), key=lambda at: (list(sequences[at]), at)))
    return prefix_of, prefixes
