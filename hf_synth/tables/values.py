"""What stands in a cell: a number, a word, or nothing."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None", "?")
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")  # not all that `float` takes: `1_2`
INTEGER = re.compile(r"[+-]?[0-9]{1,300}")  # longer ones are no 64-bit float either


class Comma(str):
    """A number with a comma for its point, `3,5`; a text as any where its column is none of numbers."""

    __slots__ = ()


def as_text(value: Any) -> str:
    """Return a category's name: that of `True` is `true`, that of 1.0, an integer beside missing cells, is 1."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def as_number(cell: Any) -> int | float | None:
    """Return the number that a cell holds, an integer to its last digit; `None` where it holds none."""
    if isinstance(cell, str):
        text = (cell.replace(",", ".") if isinstance(cell, Comma) else cell).strip()
        if not NUMBER.fullmatch(text):
            return None
        return int(text) if INTEGER.fullmatch(text) else float(text)
    try:
        return cell if isinstance(cell, int) else float(cell)
    except (TypeError, ValueError):
        return None


def is_missing(cell: Any, words: tuple[str, ...] = MISSING, numeric: bool = False) -> bool:
    """Return whether a cell is missing: nothing stands there, or one of the words.

    Args:
        cell: What stands there.
        words: They stand for a missing cell.
        numeric: Whether the column holds numbers: -999.0 is then what the word `-999` is.
    """
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return True
    return as_text(cell).strip() in words or (numeric and as_number(cell) in _values(words))


@lru_cache
def _values(words: tuple[str, ...]) -> frozenset[int | float]:
    return frozenset(value for word in words if (value := as_number(word)) is not None)
