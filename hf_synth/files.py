"""Files that a user gives: lines of text, tables whose cells something separates, rows."""

from __future__ import annotations

import csv
import glob
from pathlib import Path
from typing import Any

from .errors import InputError, unknown

FILES = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv", ".txt": "text"}
BETWEEN = ",;\t|"  # cells of a table; the first of these where its first line holds none
# Only an empty cell lacks a value: left alone, pandas takes labels and texts such as "None" and "NA" for missing ones.
CELLS: dict[str, Any] = {"keep_default_na": False, "na_values": [""]}


def read_lines(path: str, key: str) -> list[str]:
    """Return the lines of a text file that are not empty.

    Args:
        path: The file.
        key: The setting that names it, for messages.

    Raises:
        InputError: If it cannot be read or has none.
    """
    try:
        found = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"`{key}`: {path!r} cannot be read as lines of text: {error}") from None
    if not found:
        raise InputError(f"`{key}`: {path!r} holds no line")
    return found


def delimiter(path: Path) -> str:
    """Return what separates the cells of a table: what its first line holds most of.

    Raises:
        OSError: If it cannot be read.
        UnicodeDecodeError: If it is no UTF-8.
    """
    with path.open(encoding="utf-8-sig") as stream:
        first = stream.readline()
    return max(BETWEEN, key=first.count)


def check_cells(path: Path, between: str) -> None:
    """Refuse a line of more cells than there are columns: pandas would take the first for a name, and shift the rest.

    That is right where every line has one more, as R writes names of rows.

    Raises:
        ValueError: Naming the line.
    """
    counts: dict[int, int] = {}  # of cells -> the last line that has so many
    limit, filled = csv.field_size_limit(2**31 - 1), False
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream, delimiter=between)
            columns = len(next(lines, []))
            for cells in filter(None, lines):
                counts[len(cells)], filled = lines.line_num, filled or bool(cells[-1])
    except csv.Error as error:
        raise ValueError(f"line {lines.line_num}: {error}") from None
    finally:
        csv.field_size_limit(limit)
    most = max(counts, default=0)
    if most > columns and (columns == 1 or {*counts} != {columns + 1} or not filled):
        where = f"line {counts[most]} has {most} cells, the first line {columns}"
        raise ValueError(f"{where}: put quotes around texts that hold {between!r}")


def load_file(path: str, split: str | None = None) -> Any:
    """Load the rows of one file, as `datasets.load_dataset` loads a folder's.

    Args:
        path: The file.
        split: A file has one, which answers to any name, and its slices (`train[:90%]`); a `DatasetDict` with
            `train` where left out.

    Raises:
        ValueError: If it cannot be read.
    """
    from datasets import load_dataset

    file = Path(path)
    ending = file.suffix.lower()
    if ending not in FILES:
        raise unknown("the ending of a file of rows", ending, FILES)
    cells: dict[str, Any] = {}
    if ending == ".csv":
        cells = {"sep": delimiter(file), **CELLS}
        check_cells(file, cells["sep"])
    _, bracket, part = (split or "").partition("[")
    return load_dataset(FILES[ending], data_files=glob.escape(path), split=split and f"train{bracket}{part}", **cells)


def cells_of(folder: Path) -> dict[str, Any]:
    """Return how the cells of a folder are read whose rows stand in CSV files, and nothing for another."""
    found = {path.suffix.lower() for path in folder.rglob("*")} & {*FILES} if folder.is_dir() else set()
    return CELLS if found == {".csv"} else {}
