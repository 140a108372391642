"""Row weights of a trainer, written into the data set they belong to: the configs `weighted` and `suspects`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features, Value

from .columns import names_of
from .errors import InputError, unknown
from .folder import Shards, config_header, restore_folder, rewriting, row_features, write_card
from .shapes import shape
from .task import Task
from .tasks import parse_task

WEIGHT = "hf_synth_weight"
CONFIGS = ("weighted", "suspects")
MAX_SUSPECTS = 1000
SUSPECT_SHARE = 0.1
BLOCK = 8192  # rows of text held at once
GIVEN = ("trainer", "reason", "settings", "source")
SOURCE = "the texts and generated labels of this data set alone; no person's label was used"


def write_weights(folder: str | Path, weights: pa.Table | Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write the weights of a data set's rows into its folder, in place of earlier ones, and state them on its card.

    The config `weighted` holds the rows that have a weight, with the column `hf_synth_weight`; `suspects` holds those
    of lowest score, at most 1,000 and a tenth of them, lowest first. `default` stays as it is.

    Args:
        folder: What `write_folder` wrote; replaced whole, with all else that it holds.
        weights: Columns `index` (of the row), `weight` (mean 1, 0 means dropped) and `score` (higher is more trusted).
        facts: `trainer` (its name), `reason` (what a low score means, one sentence), `settings` (of the trainer,
            JSON-ready) and, where the weights come from more than the data set itself, `source` (from what).

    Raises:
        InputError: For weights that are not such, rows that the data set lacks, or a folder that is not ours;
            nothing was written.
    """
    for name in facts:
        if name not in GIVEN:
            raise unknown("`facts`: a key", name, GIVEN)
    if lacking := [name for name in GIVEN[:3] if name not in facts]:
        raise InputError(f"`facts` must hold {', '.join(GIVEN[:3])}; {lacking[0]!r} is missing")
    rows = _Rows(weights)
    folder = Path(folder).resolve()
    ours, task = recorded(folder)
    for stale in ("weights", "suspects"):
        ours.pop(stale, None)
    with rewriting(folder) as fresh:
        copied(folder, fresh, without=CONFIGS)
        features, listed = Features({**row_features(task), WEIGHT: Value("float32")}), suspect_features(task)
        weighted = Shards(fresh / "data", "weighted", features.arrow_schema)
        suspects = Shards(fresh / "data", "suspects", listed.arrow_schema)
        held, counted = _write_weighted(folder, weighted, task, ours, rows)
        configs = {"weighted": (features, {"train": weighted})}
        if len(held):
            write_suspects(suspects, held, pa.repeat(pa.scalar(facts["reason"]), len(held)))
            configs["suspects"] = (listed, {"train": suspects})
        made = {"source": SOURCE, **facts, **counted, "header": config_header(configs, ours["header"])}
        write_card(fresh, folder, task, {**ours, "weights": made})


class _Rows:
    """Which weight and score each row has, in the order of `index`."""

    def __init__(self, weights: pa.Table | Mapping[str, Any]):
        names = weights.column_names if isinstance(weights, pa.Table) else list(weights)
        for name in ("index", "weight", "score"):
            if name not in names:
                raise InputError(f"`weights` must hold index, weight, score; got {', '.join(names) or 'nothing'}")
        index, weight, score = (np.asarray(weights[name]) for name in ("index", "weight", "score"))
        if not (index.ndim == weight.ndim == score.ndim == 1 and len(index) == len(weight) == len(score) > 0):
            shapes = f"{index.shape}, {weight.shape}, {score.shape}"
            raise InputError(f"`weights` must hold as many indices as weights and scores, one or more; got {shapes}")
        if not np.issubdtype(index.dtype, np.integer):
            raise InputError(f"`weights.index` must hold integers; got {index.dtype}")
        order = np.argsort(index, kind="stable")
        self.index = index[order].astype(np.int64)
        self.weight, self.score = weight[order].astype(np.float32), score[order].astype(np.float32)
        self._check()
        count = min(MAX_SUSPECTS, int(len(self.index) * SUSPECT_SHARE))
        self.suspect = np.zeros(len(self.index), bool)
        self.suspect[np.argsort(self.score, kind="stable")[:count]] = True

    def _check(self) -> None:
        twice = self.index[1:][np.diff(self.index) == 0]
        if len(twice):
            raise InputError(f"`weights.index` must name a row once; it names {twice[0]} twice or more")
        for name, values in (("weight", self.weight), ("score", self.score)):
            bad = ~np.isfinite(values) | (values < 0 if name == "weight" else False)
            if bad.any():
                allowed = "finite and 0 or more" if name == "weight" else "finite"
                at = bad.argmax()
                raise InputError(f"`weights.{name}` must be {allowed}; it is {values[at]} for row {self.index[at]}")
        mean = float(self.weight.mean(dtype=np.float64))
        if abs(mean - 1) > 1e-3:
            raise InputError(f"`weights.weight` must have mean 1; its mean is {mean:.4g}")

    def find(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where the rows of these indices stand, for those that have a weight, and which they are, [N]."""
        at = np.searchsorted(self.index, index).clip(max=len(self.index) - 1)
        found = self.index[at] == index
        return at[found], found


def recorded(folder: Path) -> tuple[dict[str, Any], Task]:
    """Return the facts that a data set's folder records, and its task.

    Raises:
        InputError: For a folder that is not ours.
    """
    restore_folder(folder)
    try:
        facts = json.loads((folder / "hf_synth" / "facts.json").read_text(encoding="utf-8"))
        told = {name: facts[name] for name in ("description", "language")}
        task = parse_task({**facts["settings"]["task"], **told}, "facts.json")
        needed = {name: facts[name] for name in ("header", "data", "splits", "samples")}
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{str(folder)!r} is no data set folder that this version of `hf-synth generate` wrote"
        ) from None
    return {**facts, **needed}, task


def suspect_features(task: Task) -> Features:
    """Return the features of the config `suspects`."""
    given = {"index": Value("int64"), "reason": Value("string"), "score": Value("float32")}
    return Features({**shape(task).features(task), **given})


def copied(folder: Path, fresh: Path, without: Sequence[str] = ()) -> None:
    """Copy a folder but for some configs, by links where the disk has them: no file is ever written in place."""
    shutil.copytree(folder, fresh, symlinks=True, copy_function=_link)
    for config in without:
        for stale in (fresh / "data").glob(f"{config}-*.parquet"):
            stale.unlink()


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _blocks(folder: Path, pattern: str, rows: _Rows) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """Yield the rows of a split that have a weight, in blocks, each with their places in `rows`."""
    for file in sorted(folder.glob(pattern)):
        for batch in pq.ParquetFile(file).iter_batches(BLOCK):
            at, found = rows.find(batch["index"].to_numpy())
            if len(at):
                yield at, pa.Table.from_batches([batch]).filter(pa.array(found))


def _write_weighted(
    folder: Path, weighted: Shards, task: Task, recorded: Mapping[str, Any], rows: _Rows
) -> tuple[pa.Table, dict[str, Any]]:
    """Write the rows with their weights; return the suspects among them and what the card says of the weights."""
    kind, features, total = shape(task), shape(task).features(task), dict.fromkeys(task.cells, (0.0, 0))
    splits, held, found = {}, [], np.zeros(len(rows.index), bool)
    for split, pattern in zip(recorded["splits"], recorded["data"], strict=True):
        before = weighted.rows
        for at, table in _blocks(folder, pattern, rows):
            found[at] = True
            for row, weight in zip(table.select([*features, "attributes"]).to_pylist(), rows.weight[at], strict=True):
                named = {name: names_of(value, features.get(name)) for name, value in row.items()}
                for cell in kind.counted(task, named):
                    total[cell] = total[cell][0] + float(weight), total[cell][1] + 1
            weighted.write(table.append_column(WEIGHT, pa.array(rows.weight[at])).cast(weighted.schema))
            table = table.append_column("score", pa.array(rows.score[at]))
            held.append(table.filter(pa.array(rows.suspect[at])))
        splits[split] = weighted.rows - before
    if not found.all():
        raise InputError(f"`weights` names row {rows.index[found.argmin()]}, but the data set has no such `index`")
    weight = rows.weight.astype(np.float64)
    return pa.concat_tables(held), {
        "rows": weighted.rows,
        "splits": splits,
        "kept": int((weight > 0).sum()),
        "effective_rows": round(float(weight.sum() ** 2 / (weight**2).sum())),
        "per_label": {cell: round(of / count, 4) if count else None for cell, (of, count) in total.items()},
        "suspects": int(rows.suspect.sum()),
    }


def write_suspects(suspects: Shards, held: pa.Table, reasons: pa.Array) -> None:
    """Write suspected rows, those of lowest `score` first.

    Args:
        suspects: Where they go.
        held: The rows, with `score`.
        reasons: Why each is suspected.
    """
    held = held.append_column("reason", reasons).sort_by([("score", "ascending"), ("index", "ascending")])
    suspects.write(held.select(suspects.schema.names).cast(suspects.schema))
