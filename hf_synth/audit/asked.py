"""Attributes that prompts asked for: how evenly they are spread, and whether the texts have them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from math import log, sqrt
from typing import Any

import numpy as np

from ..attributes import INSTRUCTION, NOT_ABOUT
from ..errors import InputError
from ..metrics.attribute_bias import attribute_bias
from ..metrics.classification import wilson
from . import limits
from .probe import features, log_probabilities
from .records import Ints, Level, Rows, Verdict, skipped

CHECKS = ("attributes", "attributes seen")
Table = dict[str, list[tuple[int, str]]]  # attribute -> (row, value)


def spread(own: Rows) -> Verdict:
    """How evenly the attributes that prompts asked for are spread, and how far they go with the label.

    entropy: of an attribute's values over its largest possible, 1 where all are as frequent. with_label: Cramér's V
    of attribute and label, 0 where they are independent, 1 where the value tells the label.
    """
    check = CHECKS[0]
    table = {name: found for name, found in _table(own).items() if len({value for _, value in found}) > 1}
    if not table:
        return skipped(check, "no row has attributes that vary", rows=len(own))
    told = {name: _even(found, own.labels) for name, found in table.items()}
    worst = min(told, key=lambda name: told[name]["entropy"])
    value = told[worst]["entropy"]
    reason = f"of {len(told)} attributes {worst!r} is least even: {value:.2f} of the largest entropy"
    verdict: Level = "look" if value < limits.UNEVEN else "good"
    return Verdict(check, verdict, value, limits.UNEVEN, reason, (), {"rows": len(own), "attributes": told})


def _table(own: Rows) -> Table:
    table: Table = {}
    for place, given in enumerate(own.attributes or ()):
        for name, value in (json.loads(given) if given else {}).items():
            table.setdefault(name, []).append((place, str(value)))
    return table


def _even(found: list[tuple[int, str]], labels: Ints) -> dict[str, Any]:
    pairs = Counter((value, int(labels[place])) for place, value in found)
    counts, by_label = Counter(value for _, value in found), Counter(int(labels[place]) for place, _ in found)
    least = min(len(counts), len(by_label)) - 1
    # chi-square over rows, from the cells that hold something: of free texts nearly all cells are empty
    square = sum(n * n / (counts[value] * by_label[label]) for (value, label), n in pairs.items()) - 1
    v = sqrt(max(0.0, square) / least) if least else None
    entropy = -sum(count / len(found) * log(count / len(found)) for count in counts.values())
    return {
        "rows": len(found),
        "values": len(counts),
        "entropy": entropy / log(len(counts)),
        "with_label": v,
        "most_frequent": {value: count / len(found) for value, count in counts.most_common(5)},
    }


def seen(own: Rows, real: Rows | None, seed: int) -> Verdict:
    """Whether a classifier that learns an attribute's values from four fifths of the texts tells those of the others.

    It chooses among the values that the class of a text was asked for. The value is how much more of the texts it is
    right of than whoever says the most frequent value of the class, for the attribute where that is least; judged by
    the lower end of the interval. Beside it stands which of the values texts have, also those of the reference
    (AttrPrompt's analysis of attribute bias, https://huggingface.co/papers/2306.15895, section 4).
    """
    check = CHECKS[1]
    table = {name: _frequent(found) for name, found in _table(own).items() if name not in (NOT_ABOUT, INSTRUCTION)}
    table = {name: found for name, found in table.items() if len({value for _, value in found}) > 1}
    if not table:
        return skipped(check, f"no attribute has two values of {limits.FEW} rows or more each", rows=len(own))
    try:
        told = {name: _told(own, found, real, seed) for name, found in table.items()}
    except InputError as error:
        return skipped(check, str(error), rows=len(own))
    worst = min(told, key=lambda name: told[name]["interval"][0] - told[name]["most_frequent"])
    least = told[worst]
    reason = f"a classifier tells {worst!r} in {least['accuracy']:.2f} of the texts, least of {len(told)} attributes"
    reason += f" (chance {least['most_frequent']:.2f})"
    verdict: Level = "look" if least["interval"][0] <= least["most_frequent"] else "good"
    value = least["accuracy"] - least["most_frequent"]
    return Verdict(check, verdict, value, 0.0, reason, (), {"rows": len(own), "seed": seed, "attributes": told})


def _frequent(found: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Leave values out that few rows have, such as titles that are drawn once."""
    counts = Counter(value for _, value in found)
    return [(place, value) for place, value in found if counts[value] >= limits.FEW]


def _told(own: Rows, found: list[tuple[int, str]], real: Rows | None, seed: int) -> dict[str, Any]:
    """Return how often an attribute's value is told, and the bias of each class."""
    values = sorted({value for _, value in found})
    rows, wanted = own.take([place for place, _ in found]), np.array([values.index(value) for _, value in found])
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()
    held, learnt = order[: len(order) // 5], order[len(order) // 5 :]
    asked = np.zeros((len(own.names), len(values)), dtype=np.int64)  # rows of each class and value
    np.add.at(asked, (rows.labels, wanted), 1)
    known = [] if real is None else [at for at, label in enumerate(real.labels) if real.names[label] in own.names]
    sides = [rows.take(held)] + ([real.take(known)] if real is not None and known else [])
    train, *tables = features(rows.take(learnt), *sides)
    classes = [np.array([list(own.names).index(side.names[at]) for at in side.labels]) for side in sides]
    sure = [log_probabilities(train, wanted[learnt], table, len(values)) for table in tables]
    guesses = [np.where(asked[of] > 0, told, -np.inf).argmax(1) for of, told in zip(classes, sure, strict=True)]
    right = int((guesses[0] == wanted[held]).sum())
    return {
        "rows": len(learnt),
        "held_out": len(held),
        "accuracy": right / len(held),
        "interval": list(wilson(right, len(held))),
        "most_frequent": float((asked[classes[0]].argmax(1) == wanted[held]).mean()),
        "bias": _bias(guesses, classes, asked, values, own.names, seed),
    }


def _bias(
    guesses: list[Ints], classes: list[Ints], asked: Ints, values: list[str], names: Sequence[str], seed: int
) -> dict[str, Any]:
    """Return the bias of each class's texts among the values that it was asked for."""
    found = {}
    for label, name in enumerate(names):
        own = [values[at] for at in np.flatnonzero(asked[label])]
        sides = [[values[at] for at in guess[of == label]] for guess, of in zip(guesses, classes, strict=True)]
        if len(own) > 1 and sides[0]:
            found[name] = attribute_bias(sides[0], own, sides[1] if sides[1:] else (), seed)
    return found
