"""From settings to the folder of a completed table: checked, resumable, and told of in full."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..adapters.folder import RECORD
from ..errors import InputError, unknown
from ..home import claim
from ..journal import Journal, digest
from ..marks import stays
from ..models import Source, resolve
from ..produce import DECIDING
from .check import covered, hidden_cells, pooled_means, privacy
from .folder import NUMBERS, write_table_folder
from .impute import Completed, Imputer, hide
from .schema import CATEGORIES, Schema, infer, read_schema
from .settings import ImputeConfig, ImputerConfig
from .source import Table, read_table

UNSEEN = ("validation", "test")  # splits that are a holdout where none is named
LEAST = 2  # rows of a label in the holdout

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Request:
    """A checked request: the table, read by its schema.

    Attributes:
        task: See `ImputeConfig`.
        config: See `ImputerConfig`.
        name: What the table is known by.
        schema: The columns.
        rows: By split, the one that is learnt from among them.
        holdout: Rows that nothing is learnt from, and their name, where there are any.
    """

    task: ImputeConfig
    config: ImputerConfig
    name: str
    schema: Schema
    rows: Mapping[str, Rows]
    holdout: tuple[str, Rows] | None

    @classmethod
    def of(cls, task: ImputeConfig, config: ImputerConfig) -> Request:
        """Read what the settings name, before any model is loaded.

        Raises:
            InputError: Naming what is wrong with it.
        """
        table = read_table(task.table)
        table.split(task.split)
        for name in NUMBERS:
            if name in table.names:
                raise InputError(f"the completed tables have a column {name!r} of their own; rename that of the table")
        every = [row for part in table.splits.values() for row in part]  # else a range would be that of one split
        schema = (
            read_schema(task.schema, table.names) if task.schema else infer(every, table.categories, task.label_column)
        )
        _check_label(task, schema)
        rows = {name: schema.rows(part, f"split {name!r} of {table.name!r}") for name, part in table.splits.items()}
        whole = all(value is not None for part in rows.values() for row in part for value in row.values())
        if whole and not task.synthetic_rows:
            raise InputError(
                f"no cell of {table.name!r} is missing (`missing` of the schema says what counts as such)"
            )
        return cls(task, config, table.name, schema, rows, _holdout(task, table, schema, rows))

    def settings(self) -> dict[str, Any]:
        """Return every setting that decides a value."""
        told = {**asdict(self.task), **asdict(self.config)}
        for name in ("table", "schema", "license", "output_dir", "hub_id", "private", "holdout"):
            told.pop(name)
        return told


def _check_label(task: ImputeConfig, schema: Schema) -> None:
    if task.label_column is None:
        return
    if task.label_column not in schema.columns:
        raise unknown("`label_column`", task.label_column, schema.columns)
    column = schema.columns[task.label_column]
    if task.synthetic_label is not None and column.type != "category":
        allowed = f"a column of categories, {CATEGORIES} at most"
        raise InputError(f"`synthetic_label` needs {allowed}; {task.label_column!r} is {column.type}")
    if task.synthetic_label is not None and task.synthetic_label not in column.categories:
        raise unknown("`synthetic_label`", task.synthetic_label, column.categories)


def _holdout(task: ImputeConfig, table: Table, schema: Schema, rows: Mapping[str, Rows]) -> tuple[str, Rows] | None:
    """Return the rows that synthetic ones are compared with, if there are any."""
    if not task.synthetic_rows:
        return None
    name = task.holdout or next((name for name in UNSEEN if name in rows and name != task.split), None)
    if name is None:
        return None
    if name == task.split:
        raise InputError(f"`holdout` is a split that nothing is learnt from; {name!r} is what is learnt from")
    if name in rows:
        return f"split {name}", list(rows[name])
    other = read_table(name, "holdout")
    if other.names != table.names:
        raise InputError(f"`holdout`: {other.name!r} has the columns {other.names}; the table {table.names}")
    part = next(iter(other.splits.values()))
    return other.name, schema.rows(part, f"`holdout` {other.name!r}")


def produce_table(request: Request, folder: Path) -> dict[str, Any]:
    """Tune, impute and write `folder/dataset`; what was recorded there before is not done again.

    Returns:
        The facts that the card states.

    Raises:
        InputError: For a folder that holds something else, or a table of which nothing can be learnt.
    """
    task, config, schema = request.task, request.config, request.schema
    source = resolve(config.model)
    settings = {**request.settings(), "model": source.name, "weights": source.sha256}
    settings |= {"rows": digest(request.rows), "schema": schema.facts()}
    record = claim(folder, settings)
    rows = request.rows[task.split]
    learnt, hidden = hide(rows, schema, task.label_column, task.hidden, config.seed)
    try:
        imputer = Imputer(schema, learnt, source, config, task, Journal(folder / "journal"))
    except InputError:  # the user may mend the table and try again here
        record.unlink()
        raise
    checked = hidden_cells(imputer, learnt, rows, hidden)
    completed = {name: imputer.complete(part, name) for name, part in request.rows.items()}
    synthetic = imputer.synthesize(task.synthetic_label, task.synthetic_rows) if task.synthetic_label else []
    facts = {
        **_known(request, source),
        "tuning": json.loads((imputer.folder / RECORD).read_text(encoding="utf-8")),
        "checked": checked,
        "covered": covered(checked),
        "pooled": pooled_means(schema, rows, completed[task.split]),
        "synthetic": len(synthetic),
        "privacy": _privacy(request, synthetic, learnt),
        **_missing(request, completed),
    }
    return write_table_folder(folder / "dataset", schema, request.rows, completed, synthetic, facts)


def _known(request: Request, source: Source) -> dict[str, Any]:
    """Return what is known before anything is made."""
    behind = stays(request.task.table, request.task.private)
    return {
        "name": request.name,
        "license": request.task.license,
        "generator": source.facts(),
        "settings": {**request.settings(), "model": source.name},
        "schema": request.schema.facts(),
        "splits": {name: len(part) for name, part in request.rows.items()},
        "cells": len(request.schema.columns) * sum(map(len, request.rows.values())),
        "holdout": request.holdout and request.holdout[0],
        "versions": {name: version(name) for name in DECIDING},
        **({"private": behind} if behind else {}),
    }


def _privacy(request: Request, synthetic: Rows, learnt: Rows) -> dict[str, Any] | None:
    """Return the figures of synthetic rows beside real ones of their label."""
    if not synthetic or request.holdout is None:
        return None
    label, name = request.task.synthetic_label, request.task.label_column or ""
    members, others = ([row for row in part if row[name] == label] for part in (learnt, request.holdout[1]))
    if min(len(members), len(others)) < LEAST:
        return None
    return privacy(request.schema, synthetic, members, others, request.config.seed)


def _missing(request: Request, completed: Mapping[str, Completed]) -> dict[str, Any]:
    """Return what was missing by column, what became of it, and why not."""
    found = []
    cells = [cell for done in completed.values() for cell in done.cells]
    for name, column in request.schema.columns.items():
        splits = {split: sum(row[name] is None for row in rows) for split, rows in request.rows.items()}
        own = [cell for cell in cells if cell.column == name]
        done = sum(cell.value is not None for cell in own)
        if any(splits.values()):
            kind = {"column": name, "type": column.type, "splits": splits}
            found.append({**kind, "imputed": done, "empty": len(own) - done})
    empty = Counter(f"{cell.how.partition(';')[0]} (column {cell.column})" for cell in cells if cell.value is None)
    failed = sum(_failed(done) for done in completed.values())
    return {"missing": found, "empty": dict(sorted(empty.items())), "failed_draws": failed}


def _failed(done: Completed) -> int:
    """Return how many draws of cells that have a best guess found no value."""
    cells = [cell for cell in done.cells if cell.value is not None]
    return sum(table[cell.row][cell.column] is None for table in done.tables for cell in cells)


def sentences(facts: Mapping[str, Any]) -> Sequence[str]:
    """Return what a user is told when it is done."""
    done = sum(one["imputed"] for one in facts["missing"])
    told = [f"{done} cells imputed in {facts['settings']['imputations']} tables"]
    told += [f"left empty: {count} cells: {reason}" for reason, count in facts["empty"].items()]
    if unread := [name for name, one in facts["schema"]["columns"].items() if one["type"] in ("text", "id")]:
        told.append(f"texts and ids, neither read nor imputed (a `schema` can say otherwise): {', '.join(unread)}")
    worse = [one["column"] for one in facts["checked"] if one["error"] >= one["baseline"]]
    if whole := facts["covered"]:
        share = facts["settings"]["interval"]
        told.append(f"of {whole['cells']} hidden cells {whole['covered']:.0%} lie in their {share:.0%} interval")
    if worse:
        told.append(f"no better than the mean or commonest on hidden cells: {', '.join(worse)}")
    if facts["privacy"]:
        near, attack = facts["privacy"]["closest_record"], facts["privacy"]["membership"]
        told.append(
            f"{facts['synthetic']} synthetic rows: {near['nearer']:.0%} nearer to rows learnt from than to the "
            f"holdout (50% gives nothing away), membership inference AUC {attack['auc']:.2f} (0.50 is guessing)"
        )
    elif facts["synthetic"]:
        told.append(
            f"{facts['synthetic']} synthetic rows; their privacy is not measured without `holdout` rows of the label"
        )
    return told
