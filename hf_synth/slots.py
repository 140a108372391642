"""Slots that a request is asked to fill: drawing them, naming them in a prompt, and finding those nobody asked for."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

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


def unasked(tree: Tree, values: Values) -> bool:
    """Tell whether a parse leaves a known value of its intent's slots, or a part of one, outside the slots it has.

    Such a text says more than it was asked for (`remind me` where nobody asked for `me`), or a slot is longer than
    asked (`for tomorrow` where `tomorrow` was), and its parse would be wrong.

    Args:
        tree: A parse made of a text and the slots asked for.
        values: Slot -> intent -> values.
    """
    tokens, covered, at = tree.words(), [], 0
    for child in tree.children:
        length = len(child.words()) if isinstance(child, Tree) else 1
        if isinstance(child, Tree):
            covered.append(range(at, at + length))
        at += length
    for known in values_of(values, tree.name).values():
        for value in known:
            words = tokenised(spoken(value))
            for start in places(tokens, words):
                if not any(start in one and start + len(words) - 1 in one for one in covered):
                    return True
    return False
