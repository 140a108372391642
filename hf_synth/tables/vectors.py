"""Rows as numbers between which distances mean something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .schema import Schema

Rows = Sequence[Mapping[str, Any]]
FAR = 1_000.0  # ranges beyond which a number is no farther, so that sums and other types can hold it


def vectors(rows: Rows, schema: Schema, learnt: Rows, holes: bool = False) -> NDArray[np.float64]:
    """Return rows as numbers, [N, D], so that the sum of absolute differences is that of Gower's coefficient.

    Numbers are scaled by the range of the rows that were learnt from; a category is 1 in one of its places, and two
    that differ are thus 2 apart, so they are halved.

    Args:
        rows: What to encode.
        schema: The columns; those that are neither numbers nor categories take no part.
        learnt: Give ranges and medians.
        holes: Leave a missing cell NaN, for distances over what both rows hold; else it is the median, or no category.
    """
    columns: list[NDArray[np.float64]] = []
    for name in _read(schema, learnt):
        cells, column = [row[name] for row in rows], schema.columns[name]
        gone = np.array([cell is None for cell in cells], dtype=bool)
        if column.numeric:
            known = [row[name] for row in learnt if row[name] is not None]
            low, high, middle = min(known), max(known), float(np.median(known))
            values = np.array([float(middle if cell is None else cell) for cell in cells]) / 2
            own = [np.clip((values - low / 2) / ((high / 2 - low / 2) or 0.5), -FAR, FAR)]  # halves do not overflow
        else:
            own = [np.array([cell == one for cell in cells]) / 2 for one in column.categories]
        columns += [np.where(gone, np.nan, part) for part in own] if holes else own
    return np.stack(columns, axis=1)


def counted(schema: Schema, learnt: Rows) -> NDArray[np.float64]:
    """Return which places of `vectors` count as a column, [D]: of a category's the first alone."""
    kinds = [schema.columns[name] for name in _read(schema, learnt)]
    return np.concatenate([np.eye(1, 1 if kind.numeric else len(kind.categories))[0] for kind in kinds])


def _read(schema: Schema, learnt: Rows) -> list[str]:
    """Return the columns that take part."""
    return [
        name
        for name, column in schema.columns.items()
        if column.type == "category" or (column.numeric and any(row[name] is not None for row in learnt))
    ]
