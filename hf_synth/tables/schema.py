"""`Schema`: what the columns of a table hold, from YAML or found in the observed cells."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from ..config import checked, read_yaml, strict
from ..errors import InputError, unknown
from .values import MISSING, as_number, as_text, is_missing

Kind = Literal["integer", "number", "category", "text", "id"]
Limit = Annotated[float, Field(allow_inf_nan=True)]
CATEGORIES = 52  # most of a column: each has a word of its own
SHOWN = 3  # wrong cells that an error names
BOOLEANS = ("true", "false")
PADDED = re.compile(r"[+-]?0[0-9]")  # codes: a number would lose their zeros
EXACT = 10**15  # integers below are exact as 64-bit floats, which means and ranges are; longer ones are codes
INT64 = 2**63
HUGE = 1e150  # a sum of squares of larger numbers is infinite, and so would be errors and means


@strict
class Column:
    """What the cells of a column may hold.

    Attributes:
        type: `integer`, `number`, `category`, `text` or `id` (an integer that names the row); the last two are kept,
            neither read nor imputed.
        range: Of numbers: the least and the greatest allowed; infinity for none.
        categories: Of `category`: the allowed names.
        decimals: Of `number`: digits behind the point.
        missing: Words that stand for a missing cell in this column, beside the table's; of numbers, by their value.
    """

    type: Kind
    range: tuple[Limit, Limit] | None = None
    categories: tuple[str, ...] = ()
    decimals: int | None = Field(None, ge=0)
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.range and (not self.numeric or not self.range[0] <= self.range[1]):
            raise InputError(
                f"`range` is the least and the greatest of numbers; got {list(self.range)!r} of {self.type}"
            )
        if self.categories and self.type != "category":
            raise InputError(f"`categories` is for `type: category`; got {self.type}")
        if self.type == "category" and not 1 <= len(set(self.categories)) <= CATEGORIES:
            raise InputError(f"`categories` needs 1 to {CATEGORIES} names; got {len(set(self.categories))}")

    @property
    def numeric(self) -> bool:
        """Return whether it holds numbers."""
        return self.type in ("integer", "number")

    @property
    def imputable(self) -> bool:
        """Return whether it is read by the generator, and can be imputed."""
        return self.numeric or self.type == "category"

    def read(self, cell: Any) -> Any:
        """Return a cell's value.

        Raises:
            ValueError: Saying what is wrong, where it is none of the column's.
        """
        if self.type == "category":
            text = str(cell).strip()
            text = text if text in self.categories else as_text(cell).strip()
            if text not in self.categories:
                raise ValueError(f"must be one of {', '.join(self.categories)}; got {text!r}")
            return text
        if self.type == "text":
            return str(cell)
        whole, value = self.type != "number", as_number(cell)
        if value is None or not math.isfinite(value) or (whole and value != int(value)):
            raise ValueError(f"must be {'an integer' if whole else 'a number'}; got {cell!r}")
        if whole and abs(value) >= INT64:
            raise ValueError(f"must be an integer of 64 bits; got {cell!r}")
        if abs(value) >= HUGE:
            raise ValueError(f"must be within {-HUGE:g} to {HUGE:g}; got {cell!r}")
        if self.range and not self.range[0] <= value <= self.range[1]:
            raise ValueError(f"must be within {self.range[0]:g} to {self.range[1]:g}; got {cell!r}")
        return int(value) if whole else float(value)

    def rounded(self, value: float) -> int | float:
        """Return a number as the column writes it, within its range."""
        low, high = self.range or (-math.inf, math.inf)
        if self.type == "integer":
            return round(min(max(value, low), high))
        near = float(f"{value:.9g}") if self.decimals is None else round(value, self.decimals)
        return min(max(near, low), high)


@dataclasses.dataclass(frozen=True)
class Schema:
    """The columns of a table, and what stands in a cell that is missing."""

    columns: Mapping[str, Column]
    missing: tuple[str, ...] = MISSING

    def empty(self, name: str, cell: Any) -> bool:
        """Return whether a cell of a column is missing."""
        column = self.columns[name]
        return is_missing(cell, (*self.missing, *column.missing), column.numeric)

    def rows(self, rows: Iterable[Mapping[str, Any]], where: str = "the table") -> list[dict[str, Any]]:
        """Return rows with the values that the schema reads, `None` where one is missing.

        Raises:
            InputError: Naming row and column of the first cells that the schema does not allow.
        """
        found, wrong = [], []
        for number, row in enumerate(rows, 1):
            values = {}
            for name, column in self.columns.items():
                try:
                    values[name] = None if self.empty(name, row[name]) else column.read(row[name])
                except ValueError as error:
                    wrong.append(f"row {number}, column {name!r} {error}")
            found.append(values)
        if wrong:
            more = f"; and {len(wrong) - SHOWN} cells more" if len(wrong) > SHOWN else ""
            raise InputError(f"{where} is not as its schema says: {'; '.join(wrong[:SHOWN])}{more}")
        return found

    def facts(self) -> dict[str, Any]:
        """Return the schema as its YAML file has it."""
        told: dict[str, Any] = {}
        for name, column in self.columns.items():
            told[name] = {"type": column.type}
            if column.range:
                told[name]["range"] = list(column.range)
            if column.categories:
                told[name]["categories"] = list(column.categories)
            if column.decimals is not None:
                told[name]["decimals"] = column.decimals
            if column.missing:
                told[name]["missing"] = list(column.missing)
        return {"columns": told, "missing": list(self.missing)}


def read_schema(path: str | Path, names: Sequence[str]) -> Schema:
    """Read a schema from YAML: `columns`, a mapping for each column, and `missing`, if other words stand for that.

    Args:
        path: The file.
        names: The table's columns.

    Raises:
        InputError: For keys, values or columns that cannot be.
    """
    read_yaml(path)  # says what is wrong with the file
    values = yaml.load(Path(path).read_text(encoding="utf-8"), yaml.BaseLoader)  # all texts: `no` is a category
    for key in values:
        if key not in ("columns", "missing"):
            raise InputError(f"{str(path)!r}: {unknown('a key', key, ['columns', 'missing'])}")
    told = values.get("columns")
    if not isinstance(told, Mapping):
        raise InputError(f"{str(path)!r}: `columns` must hold a mapping for each column; got {told!r}")
    for name in told:
        if name not in names:
            raise InputError(f"{str(path)!r}: {unknown('a column', name, names)}")
    for name in names:
        if not isinstance(told.get(name), Mapping):
            raise InputError(f"{str(path)!r} says nothing of the column {name!r}; give it a `type`")
    columns = {name: checked(Column, told[name], f"{str(path)!r}, column {name!r}") for name in names}
    missing = values.get("missing", list(MISSING))
    if not isinstance(missing, list):
        raise InputError(f"{str(path)!r}: `missing` is a list of words; got {missing!r}")
    return Schema(columns, ("", *missing))


def infer(
    rows: Sequence[Mapping[str, Any]],
    known: Mapping[str, Sequence[str]] | None = None,
    label: str | None = None,
) -> Schema:
    """Find a schema in the observed cells.

    Integers and numbers have the range that is seen. What a number would not give back as it is written, `02139`,
    `1_2` or an integer of more than 15 digits, is a word. A column of words is a category where it has few for its
    rows, else text; an integer column that names a row (`id`, `row_id`, `index`), never missing and never the same
    twice, is an id.

    Args:
        rows: At least one.
        known: The categories of columns that have them declared; more than a category may have are texts.
        label: A column that is a category where it holds the numbers of classes, 0, 1 and so on.

    Raises:
        InputError: For a column without an observed cell.
    """
    columns = {}
    for name in rows[0]:
        cells = [row[name] for row in rows if not is_missing(row[name])]
        if known and name in known:
            fits = len(known[name]) <= CATEGORIES
            columns[name] = Column("category", categories=tuple(known[name])) if fits else Column("text")
        elif not cells:
            raise InputError(f"column {name!r} has no observed cell: nothing can be learnt of it; leave it out")
        else:
            columns[name] = (_classes(cells) if name == label else None) or _column(name, cells, len(rows))
    return Schema(columns)


def _classes(cells: Sequence[Any]) -> Column | None:
    """Return a category where the cells are numbers of classes, in whose order its names then stand."""
    words = {as_text(cell).strip() for cell in cells}
    names = tuple(map(str, range(len(words))))
    return Column("category", categories=names) if words == {*names} and _few(names, cells) else None


def _few(names: Sequence[str], cells: Sequence[Any]) -> bool:
    return len(names) <= CATEGORIES and len(names) <= max(2, len(cells) // 4)


def _column(name: str, cells: Sequence[Any], rows: int) -> Column:
    """Return what a column's observed cells say of it."""
    words = [as_text(cell).strip() for cell in cells]
    distinct = tuple(sorted(set(words)))
    if any(isinstance(cell, bool) for cell in cells) or {word.lower() for word in words} <= set(BOOLEANS):
        return Column("category", categories=distinct)
    found = None if any(map(PADDED.match, words)) else _numbers(name, cells, rows)
    return found or (Column("category", categories=distinct) if _few(distinct, cells) else Column("text"))


def _numbers(name: str, cells: Sequence[Any], rows: int) -> Column | None:
    """Return what cells say that are all numbers, and as they are written; `None` where one is not."""
    values = [value for cell in cells if (value := as_number(cell)) is not None and abs(value) < HUGE]
    if len(values) < len(cells):
        return None
    whole = all(value == int(value) and abs(value) < INT64 for value in values)
    telling = name.lower() in ("id", "index") or name.lower().endswith(("_id", "_index"))
    if telling and whole and len(set(values)) == rows:
        return Column("id")
    if any(isinstance(value, int) and abs(value) >= EXACT for value in values):
        return None
    decimals = None if whole else max(-int(Decimal(repr(value)).as_tuple().exponent) for value in values)
    return Column("integer" if whole else "number", (min(values), max(values)), decimals=decimals and max(decimals, 0))
