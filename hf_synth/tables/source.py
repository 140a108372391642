"""Where a table comes from: a CSV file, a data set's folder, or the Hub."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..audit.data import splits_of
from ..errors import InputError, unknown
from ..files import delimiter
from .values import Comma, is_missing

if TYPE_CHECKING:
    from datasets import Dataset

COMMAS = re.compile(r"-?[0-9]+(?:,[0-9]+)?")
THOUSANDS = re.compile(r"-?[1-9][0-9]{0,2}(?:,[0-9]{3})?")  # or a number of three decimals: nothing tells


@dataclass(frozen=True)
class Table:
    """Rows as they were read, by split.

    Attributes:
        name: What the user gave; of files and folders its last part, since their path is nobody's business.
        splits: Rows of each split, column name -> cell.
        categories: Columns whose categories are declared -> these.
    """

    name: str
    splits: Mapping[str, list[dict[str, Any]]]
    categories: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, name: str, data: Mapping[Any, Dataset]) -> Table:
        """Return data sets, by split, as a table.

        Raises:
            InputError: If none has rows.
        """
        from datasets import ClassLabel

        labels, splits = {}, {}
        for split, part in data.items():
            for column, feature in part.features.items():
                if isinstance(feature, ClassLabel):
                    labels[column] = tuple(feature.names)
            rows = part.to_list()
            for column in labels:
                for row in rows:
                    at = row[column]
                    row[column] = None if at is None or at < 0 else labels[column][at]
            if rows:
                splits[str(split)] = rows
        if not splits:
            raise InputError(f"the table {name!r} has no rows")
        return cls(name, splits, labels)

    @property
    def names(self) -> list[str]:
        """Return the columns."""
        return list(next(iter(self.splits.values()))[0])

    def split(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a split.

        Raises:
            InputError: If there is none of that name.
        """
        if name not in self.splits:
            raise unknown(f"a split of {self.name!r}", name, self.splits)
        return self.splits[name]


def read_table(name: str, key: str = "table") -> Table:
    """Read a table: a file (`.csv`, `.jsonl`, `.parquet`), a folder that `load_dataset` knows, or a Hub id.

    Args:
        name: The table.
        key: The setting that names it, for messages.

    Raises:
        InputError: If there is none, or it is no table.
    """
    path = Path(name).expanduser()
    rows = path.suffix.lower() in (".jsonl", ".json", ".parquet")
    if path.suffix.lower() == ".csv" or (path.is_file() and not rows):
        return Table(path.name, {"train": _csv(path)}, {})
    data = splits_of(str(path) if name and path.exists() else name, key)
    return Table.of(path.resolve().name if path.is_dir() else name, data)


def _csv(path: Path) -> list[dict[str, Any]]:
    """Read a CSV file with a line of column names.

    Raises:
        InputError: Naming the file and the line that is wrong.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            between = delimiter(path)
            lines = csv.reader(stream, strict=True, delimiter=between)
            names = [name.strip() for name in next(lines, [])]
            _check_names(path, names)
            rows = []
            for cells in lines:
                if cells and len(cells) != len(names):
                    where = f"{path.name!r}, line {lines.line_num}"
                    raise InputError(f"{where}: {len(cells)} cells; the first line names {len(names)} columns")
                if cells:
                    rows.append(dict(zip(names, cells, strict=True)))
    except OSError as error:
        raise InputError(f"cannot read the table {str(path)!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path.name!r} is no UTF-8 text: not a CSV file") from None
    except csv.Error as error:
        raise InputError(f"{path.name!r}, line {lines.line_num}, is no CSV: {error}") from None
    if not rows:
        raise InputError(f"{path.name!r} has no rows below the column names")
    if between == ";":
        for name in names:
            _read_commas(rows, name)
    return rows


def _read_commas(rows: list[dict[str, Any]], name: str) -> None:
    """Take the commas of a column for points, in place, where all its cells say so."""
    cells = [row[name].strip() for row in rows if not is_missing(row[name])]
    if all(map(COMMAS.fullmatch, cells)) and not all(map(THOUSANDS.fullmatch, cells)):
        for row in rows:
            row[name] = Comma(row[name])


def _check_names(path: Path, names: list[str]) -> None:
    if len(names) < 2:
        raise InputError(f"{path.name!r} needs a first line of two column names or more; got {names!r}")
    for at, name in enumerate(names):
        if not name or name in names[:at]:
            raise InputError(f"{path.name!r}: every column needs a name of its own; column {at + 1} is {name!r}")
