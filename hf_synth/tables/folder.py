"""The Hub-ready folder of a completed table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from datasets import ClassLabel, Features, List, Value

from ..card import render, size_category
from ..folder import Shards, config_header, rewriting, write_stated
from ..journal import write_whole
from .impute import Cell, Completed
from .schema import Column, Schema

Rows = Sequence[Mapping[str, Any]]

NUMBERS = ("imputation", "row")  # columns in front of a completed table's own
CELLS = Features(
    {
        "row": Value("int64"),
        "column": Value("string"),
        "value": Value("string"),
        "number": Value("float64"),
        "low": Value("float64"),
        "high": Value("float64"),
        "likely": List(Value("string")),
        "valid": Value("float32"),
        "how": Value("string"),
    }
)


def features(schema: Schema) -> Features:
    """Return the features of a row."""
    return Features({name: _feature(column) for name, column in schema.columns.items()})


def _feature(column: Column) -> Any:
    if column.type == "category":
        return ClassLabel(names=list(column.categories))
    return Value({"integer": "int64", "id": "int64", "number": "float64"}.get(column.type, "string"))


def row_table(rows: Rows, schema: Schema, **more: Sequence[int]) -> pa.Table:
    """Return rows as Arrow, categories as ids, with further columns of integers in front."""
    columns: dict[str, Any] = {name: pa.array(values, pa.int64()) for name, values in more.items()}
    for name, column in schema.columns.items():
        values = [row[name] for row in rows]
        if column.type == "category":
            values = [None if value is None else column.categories.index(value) for value in values]
        columns[name] = pa.array(values, features(schema).arrow_schema.field(name).type)
    return pa.table(columns)


def cell_table(cells: Sequence[Cell]) -> pa.Table:
    """Return the records of cells as Arrow."""
    rows = [
        {
            "row": cell.row,
            "column": cell.column,
            "value": f"{cell.value:.6g}" if isinstance(cell.value, float) else cell.value,
            "number": cell.value if isinstance(cell.value, float) else None,
            "low": cell.low,
            "high": cell.high,
            "likely": list(cell.likely) or None,
            "valid": cell.valid,
            "how": cell.how,
        }
        for cell in cells
    ]
    return pa.Table.from_pylist(rows, schema=CELLS.arrow_schema)


def write_table_folder(
    folder: Path,
    schema: Schema,
    original: Mapping[str, Rows],
    completed: Mapping[str, Completed],
    synthetic: Rows,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Write configs, facts and card; what a person wrote in an earlier card stays.

    Args:
        folder: Where the data set goes; replaced whole.
        schema: The columns.
        original: The rows with their holes, by split.
        completed: What was made of them, by split.
        synthetic: Whole rows that were written; may be none.
        facts: What is known; what else the card states is added.

    Returns:
        All facts that the card states.
    """
    with rewriting(folder) as fresh:
        (fresh / "data").mkdir(parents=True)
        configs = {
            config: (kind, {split: _written(fresh, config, split, kind, tables) for split, tables in splits.items()})
            for config, kind, splits in _parts(schema, original, completed, synthetic)
        }
        whole = {**facts, "header": config_header(configs)}
        schema_yaml = yaml.safe_dump(schema.facts(), sort_keys=False, allow_unicode=True)
        write_whole(fresh / "hf_synth" / "schema.yaml", schema_yaml)
        write_stated(fresh, folder, whole, table_card(whole))
    return whole


def _parts(
    schema: Schema, original: Mapping[str, Rows], completed: Mapping[str, Completed], synthetic: Rows
) -> Iterator[tuple[str, Features, dict[str, list[pa.Table]]]]:
    """Yield the configs that have rows, each with its features and the tables of its splits."""
    plain = features(schema)
    drawn = {
        split: [
            row_table(table, schema, imputation=[number] * len(table), row=range(len(table)))
            for number, table in enumerate(done.tables, 1)
        ]
        for split, done in completed.items()
    }
    yield "default", Features({**dict.fromkeys(NUMBERS, Value("int64")), **plain}), drawn
    yield "best", plain, {split: [row_table(done.best, schema)] for split, done in completed.items()}
    yield "original", plain, {split: [row_table(rows, schema)] for split, rows in original.items()}
    if cells := {split: [cell_table(done.cells)] for split, done in completed.items() if done.cells}:
        yield "cells", CELLS, cells
    if synthetic:
        yield "synthetic", plain, {"train": [row_table(synthetic, schema)]}


def _written(fresh: Path, config: str, split: str, kind: Features, tables: Sequence[pa.Table]) -> Shards:
    shards = Shards(fresh / "data", f"{config}-{split}", kind.arrow_schema)
    for table in tables:
        shards.write(table.cast(kind.arrow_schema))
    return shards


def table_card(facts: Mapping[str, Any]) -> str:
    """Return the README.md of a completed table.

    Args:
        facts: What `hf_synth/facts.json` records.
    """
    header: dict[str, Any] = {"pretty_name": f"{facts['name']}, missing cells imputed"}
    if facts["license"]:
        header["license"] = facts["license"]
    header |= {
        "size_categories": [size_category(facts["settings"]["imputations"] * sum(facts["splits"].values()))],
        "source_datasets": [f"extended|{facts['name']}"] if "/" in facts["name"] else ["original"],
        "task_categories": ["tabular-classification" if facts["settings"]["label_column"] else "tabular-regression"],
        "tags": ["synthetic", "hf_synth", "imputation", "tabular"],
        **facts["header"],
    }
    return render(
        "table.md",
        header=yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=1000),
        facts=facts,
        settings=yaml.safe_dump(facts["settings"], sort_keys=False, allow_unicode=True),
        schema=yaml.safe_dump(
            facts["schema"], sort_keys=False, allow_unicode=True, default_flow_style=None, width=110
        ),
    )
