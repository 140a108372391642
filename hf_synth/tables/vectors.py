"""Rows as numbers between which distances mean something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .schema import Schema

Rows = Sequence[Mapping[str, Any]]


def vectors(rows: Rows, schema: Schema, learnt: Rows) -> NDArray[np.float64]:
    """Return rows as numbers, [N, D], so that a mean absolute difference is Gower's up to a factor.

    Numbers are scaled by the range of the rows that were learnt from; a category is 1 in one of its places, and two
    that differ are thus 2 apart, so they are halved. A missing cell is the median, or no category.

    Args:
        rows: What to encode.
        schema: The columns; those that are neither numbers nor categories take no part.
        learnt: Give ranges and medians.
    """
    columns = []
    for name, column in schema.columns.items():
        known = [row[name] for row in learnt if row[name] is not None]
        if column.numeric and known:
            low, high, middle = min(known), max(known), float(np.median(known))
            values = [float(middle if row[name] is None else row[name]) for row in rows]
            columns.append((np.array(values) - low) / ((high - low) or 1))
        elif column.type == "category":
            columns += [np.array([row[name] == one for row in rows]) / 2 for one in column.categories]
    return np.stack(columns, axis=1)
