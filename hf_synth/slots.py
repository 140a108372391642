"""Slots that a request is asked to fill: drawing them, naming them in a prompt, and finding those nobody asked for."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import cache

from .bio import places
from .prompts import enumerated
from .trees import Tree, spoken, tokenised

Values = Mapping[str, Mapping[str, Sequence[str]]]  # slot -> intent -> values


def values_of(values: Values, intent: str) -> dict[str, Sequence[str]]:
    """Return each slot that an intent takes and its values there."""
    return {slot: by_intent[intent] for slot, by_intent in values.items() if by_intent.get(intent)}


def drawn(values: Values, intent: str, rng: random.Random, mentions: tuple[int, int] = (1, 2)) -> dict[str, str]:
    """Draw some of an intent's slots and a value of each.

    How many is even between the bounds (and what the intent has). Slots listed first are drawn more often: the n-th of
    an intent with weight 1/n^2, without replacement. They come in the order of the list, which examples can show.

    Args:
        values: Slot -> intent -> values, in words or bracket notation.
        intent: An intent; one that takes no slot gives none.
        rng: Draws.
        mentions: Fewest and most slots.
    """
    own = values_of(values, intent)
    left = {slot: 1 / place**2 for place, slot in enumerate(own, start=1)}
    chosen: set[str] = set()
    for _ in range(min(rng.randint(*mentions), len(own))):
        (slot,) = rng.choices(list(left), list(left.values()))
        del left[slot]
        chosen.add(slot)
    return {slot: rng.choice(own[slot]) for slot in own if slot in chosen}


def listed(slots: Mapping[str, str]) -> str:
    """Return the values as a prompt names them: `"me", "call mom" and "at 5 pm"`, brackets left out."""
    return enumerated([f'"{spoken(value)}"' for value in slots.values()])


def said(intent: str, text: str, asked: Mapping[str, str], values: Values) -> dict[str, str]:
    """Return the slots that a text fills: those asked for, and each other one of which it holds a known value.

    So `me` is a slot of `remind me to wash the car` where `wash the car` alone was asked for. Of known values the
    longest counts, also around the one asked for: `for tomorrow` where `tomorrow` was.
    """
    tokens, found = tokenised(text), dict(asked)
    for slot, known in values_of(values, intent).items():
        wanted = _tokens(asked[slot]) if slot in asked else ()
        here = [value for value in known if places(tokens, _tokens(value))]
        if fit := [value for value in here if not wanted or places(_tokens(value), wanted)]:
            found[slot] = max(fit, key=lambda value: len(_tokens(value)))
    return found


@cache  # the same values are looked for in each text
def _tokens(value: str) -> tuple[str, ...]:
    return tuple(tokenised(spoken(value)))


def unasked(tree: Tree, values: Values) -> bool:
    """Tell whether a parse leaves a number, a known value of its intent's slots, or a part of one, outside its slots.

    Such a text says more than its parse (`at 8:15` where no such time is known), which would be wrong.

    Args:
        tree: A parse made of a text and what it says.
        values: Slot -> intent -> values.
    """
    tokens, covered, at = tree.words(), [], 0
    for child in tree.children:
        length = len(child.words()) if isinstance(child, Tree) else 1
        if isinstance(child, Tree):
            covered.append(range(at, at + length))
        elif any(map(str.isdigit, child)):
            return True
        at += length
    for known in values_of(values, tree.name).values():
        for value in known:
            words = _tokens(value)
            for start in places(tokens, words):
                if not any(start in one and start + len(words) - 1 in one for one in covered):
                    return True
    return False
