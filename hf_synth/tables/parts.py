"""Splits of tables under one schema, as they are inspected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..audit import limits
from ..audit.columns import LABELS, LOOKED_AT, NO_TEXTS, label_column_if_any
from ..audit.data import chosen_split, split_told, splits_of
from ..audit.settings import InspectConfig
from ..errors import InputError
from ..metrics.sampling import drawn
from ..metrics.tokens import words
from ..models import known_as
from .folder import NUMBERS
from .schema import CATEGORIES, Column, Schema, infer
from .source import Table
from .values import as_text, is_missing

if TYPE_CHECKING:
    from datasets import Dataset

ROWS = 100_000  # of a split that are read
NO_CELLS = {*NO_TEXTS, *NUMBERS}
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """A split of a table.

    Attributes:
        name: Of the table.
        split: Its name.
        cells: Its rows, or a sample of them, by column; a cell that cannot be read is None.
        index: Their places in the split, [N].
        of: How many rows the split has.
        read: How many of them were looked at.
        wrong: Row, column and content of cells that the schema does not allow.
        unread: Columns that the schema lacks: texts, ids, dates.
        completed: Whether `impute` made it, whose rows are real ones.
    """

    name: str
    split: str
    cells: Sequence[Row]
    index: Sequence[int]
    of: int
    read: int
    wrong: Sequence[tuple[int, str, Any]]
    unread: Sequence[str]
    completed: bool

    def facts(self, label: str | None) -> dict[str, Any]:
        """Return what a report says of it."""
        told: dict[str, Any] = {"name": self.name, "split": self.split, "text_columns": [], "label_column": label}
        return {**told, "rows": self.of, "read": self.read}

    def where(self, keep: Callable[[Row], bool]) -> Part:
        """Return the part with the rows of which a function is true."""
        places = [at for at, row in enumerate(self.cells) if keep(row)]
        return replace(self, cells=[self.cells[at] for at in places], index=[self.index[at] for at in places])


def is_table(data: Dataset) -> bool:
    """Tell whether a data set is a table: columns of numbers or yes and no, and none of texts of several words."""
    from datasets import ClassLabel, Value

    kinds = {name: data.features[name] for name in data.column_names if name not in (*NO_CELLS, *LABELS)}
    numbers = [
        name
        for name, kind in kinds.items()
        if isinstance(kind, Value) and kind.dtype.startswith(("int", "uint", "float", "double", "bool"))
    ]
    plain = all(isinstance(kind, (Value, ClassLabel)) for kind in kinds.values())
    if not numbers or not plain:
        return False
    some = data.select(range(min(len(data), LOOKED_AT)))
    strings = [name for name, kind in kinds.items() if getattr(kind, "dtype", "") in ("string", "large_string")]
    return not any(_holds_texts([cell for cell in some[name] if cell]) for name in strings)


def _holds_texts(cells: Sequence[str]) -> bool:
    """Tell texts from names, codes and dates, and from categories of several words, which come again and again."""
    distinct = len({*cells})
    if len(cells) >= limits.LEAST and distinct <= CATEGORIES and 2 * distinct <= len(cells):
        return False
    some = [[word for word in words(cell) if word.isalpha()] for cell in cells]
    # Scripts without spaces count by characters, of which a name has few.
    several = [
        len(own) > 1 and (" " in cell or (len(own) > 5 and not cell.isascii()))
        for own, cell in zip(some, cells, strict=True)
    ]
    return bool(cells) and 2 * sum(several) >= len(cells)


def read_parts(config: InspectConfig) -> tuple[Part, Part | None, Part | None, Schema, str | None]:
    """Return what is inspected.

    Args:
        config: The settings.

    Returns:
        The split that is judged, the reference's test and train splits, the schema and the label column.

    Raises:
        InputError: If something cannot be loaded, or the two tables have no column in common.
    """
    own = _sampled(config.dataset, "dataset", config)
    split = chosen_split(own, config.split, ("train",), "dataset", config.dataset)
    tables = {"dataset": Table.of(known_as(config.dataset), {split: own[split].data})}
    label, theirs = label_column_if_any(own[split].data, config.label_column, "dataset"), {}
    if config.reference is not None:
        theirs = _sampled(config.reference, "reference", config)
        judges = chosen_split(theirs, config.reference_split, ("test", "validation"), "reference", config.reference)
        parts = {name: part.data for name, part in theirs.items()}
        tables["reference"] = Table.of(known_as(config.reference), parts)
        _name_ids(tables["dataset"], tables["reference"])
        label = label or label_column_if_any(parts[judges], None, "reference")
    schema = _schema(tables, label)
    if label is not None and (label not in schema.columns or schema.columns[label].numeric):
        if config.label_column is not None:
            raise InputError(f"`label_column`: {label!r} holds no labels: no column of both tables with few values")
        label = None
    mine, test, train = _part(tables["dataset"], split, own[split], schema), None, None
    if len(mine.cells) < 2:
        raise InputError(f"`dataset`: {mine.name!r} has one row; two or more can be inspected")
    if theirs:
        test = _part(tables["reference"], judges, theirs[judges], schema)
        test = replace(test, split=split_told(config.reference or "", judges, config.reference_split))
        if "train" in theirs and judges != "train":
            train = _part(tables["reference"], "train", theirs["train"], schema)
    return _of_one_label(mine, test, train, schema, label)


class _Sample(NamedTuple):
    """Rows of a split, their places in it, and how many it has."""

    data: Dataset
    places: Sequence[int]
    of: int


def _sampled(path: str, key: str, config: InspectConfig) -> dict[str, _Sample]:
    """Load all splits of a data set, of each so many rows at most."""
    found = {}
    for name, data in splits_of(path, key).items():
        whole = _first(data)
        places = drawn(len(whole), min(config.max_rows, ROWS), config.seed)
        found[name] = _Sample(whole.select(places) if len(places) < len(whole) else whole, places, len(whole))
    return found


def _of_one_label(
    own: Part, test: Part | None, train: Part | None, schema: Schema, label: str | None
) -> tuple[Part, Part | None, Part | None, Schema, str | None]:
    """Keep real rows of the label of rows that have but one, such as those that fill a minority up."""
    alone = {row[label] for row in own.cells} - {None} if label else set()
    if not label or not alone:
        return own, test, train, schema, None
    if len(alone) == 1:
        test, train = (part and part.where(lambda row: row[label] in alone) for part in (test, train))
        if test and not test.cells:
            raise InputError(f"`reference`: no row of split {test.split!r} has the label {next(iter(alone))!r}")
    if test and all(row[label] is None for row in test.cells):
        raise InputError(f"`reference`: no row of split {test.split!r} has a label; name another: `reference_split`")
    return own, test, train, schema, label


def _first(data: Dataset) -> Dataset:
    """Return the first of the tables that `impute` completed, which stand one below the other."""
    if not {*NUMBERS} <= {*data.column_names}:
        return data
    return data.select(np.flatnonzero(np.asarray(data["imputation"][:]) == 1))


def _name_ids(own: Table, real: Table) -> None:
    """Put names for class ids, in place, where the reference has classes: a file has no room for their names."""
    for column, names in real.categories.items():
        ids = {str(at): name for at, name in enumerate(names)}
        rows = [row for part in own.splits.values() for row in part]
        held = {as_text(row[column]) for row in rows if row.get(column) is not None}
        if held and held <= set(ids) and not held <= set(names):
            for row in rows:
                row[column] = None if row[column] is None else ids[as_text(row[column])]


def _schema(tables: Mapping[str, Table], label: str | None) -> Schema:
    """Return the schema of the columns that both tables have, with the reference's ranges and categories."""
    of = tables.get("reference", tables["dataset"])
    both = [name for name in of.names if name in tables["dataset"].names and name not in NO_CELLS]
    every = [{name: row[name] for name in both} for part in of.splits.values() for row in part]
    known = {name: values for name, values in of.categories.items() if name in both and len(values) <= CATEGORIES}
    both = [name for name in both if name in known or not all(is_missing(row[name]) for row in every)]
    every = [{name: row[name] for name in both} for row in every]
    if label in both and label not in known:
        cells = [as_text(row[label]) for row in every if not is_missing(row[label])]
        if len({*cells}) <= min(CATEGORIES, max(len(cells) // 2, 2)):  # else numbers to predict
            known[label] = tuple(sorted({*cells}))
    found = {name: column for name, column in infer(every, known).columns.items() if column.imputable} if both else {}
    if all(name == label and not column.numeric for name, column in found.items()):
        if of is tables["dataset"]:
            raise InputError(f"the table {of.name!r} has no column of numbers or categories beside the label")
        raise InputError(
            "the table and its `reference` have no column of numbers or categories in common, beside the label"
        )
    return Schema(found)


def _part(table: Table, split: str, sample: _Sample, schema: Schema) -> Part:
    cells, wrong = [], []
    unbounded = {name: replace(column, range=None) for name, column in schema.columns.items()}
    for at, row in zip(sample.places, table.split(split), strict=True):
        values = {}
        for name, column in schema.columns.items():
            missing = schema.empty(name, row.get(name))
            values[name] = None if missing else _cell(unbounded[name], row[name])
            if not missing and (values[name] is None or _beyond(column, values[name])):
                wrong.append((at, name, row[name]))
        cells.append(values)
    unread = [name for name in table.names if name not in schema.columns and name not in NUMBERS]
    completed = {*NUMBERS} <= {*table.names}
    return Part(table.name, split, cells, sample.places, sample.of, len(cells), wrong, unread, completed)


def _cell(column: Column, cell: Any) -> Any:
    """Return what stands in a cell; None where it is nothing of its column's kind."""
    try:
        return column.read(cell)
    except ValueError:
        return None


def _beyond(column: Column, value: Any) -> bool:
    return column.range is not None and not column.range[0] <= value <= column.range[1]
