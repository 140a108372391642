"""The Hub-ready folder: Parquet splits, provenance and the card, written aside and moved into place whole."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from datasets import DatasetInfo, Features, Value
from datasets.info import DatasetInfosDict
from datasets.splits import SplitDict, SplitInfo
from datasets.utils.metadata import MetadataConfigs

from .characters import length
from .columns import with_ids
from .curves import draw_rounds
from .journal import write_json, write_whole
from .shapes import shape
from .task import Task

SHARD_ROWS = 200_000
VALIDATION_SHARE = 0.1
PROVENANCE = {
    "index": Value("int64"),
    "prompt_id": Value("string"),
    "attributes": Value("string"),
    "logprob": Value("float32"),
    "model": Value("string"),
    "model_sha256": Value("string"),
}
REJECTS = {name: Value("string") for name in ("text", "cell", "stage", "reason", "prompt_id")}


def row_features(task: Task) -> Features:
    """Return the features of a generated row: the task's, `index` and the provenance columns."""
    return Features({**shape(task).features(task), **PROVENANCE})


def is_validation(index: np.ndarray) -> np.ndarray:
    """Tell which rows belong to the validation split: a hash of the row's index, so rows never change split."""
    x = index.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))) < np.uint64(int(VALIDATION_SHARE * 2**64))


def split_tables(rows: Path) -> Iterator[tuple[str, pa.Table]]:
    """Yield the rows of a work folder in blocks, each with its split, labels by name.

    Args:
        rows: `rows.parquet` of a work folder.
    """
    for batch in pq.ParquetFile(rows).iter_batches(8192):
        table = pa.Table.from_batches([batch])
        mask = is_validation(table["index"].to_numpy())
        for split, chosen in (("train", ~mask), ("validation", mask)):
            if chosen.any():
                yield split, table.filter(pa.array(chosen))


class Shards:
    """Writes one split as Parquet shards and keeps what the card needs to know of it."""

    def __init__(self, folder: Path, prefix: str, schema: pa.Schema, shard_rows: int | None = None):
        self.folder, self.prefix, self.schema = folder, prefix, schema
        self.shard_rows = shard_rows or SHARD_ROWS
        self.rows = self.bytes = 0
        self.digest = hashlib.sha256()
        self.files: list[Path] = []
        self._writer: pq.ParquetWriter | None = None
        self._room = 0

    def write(self, table: pa.Table) -> None:
        """Add rows; a shard that is full is closed."""
        while len(table):
            if not self._room:
                self.close()
                self.files.append(self.folder / f"{self.prefix}-{len(self.files):05d}.parquet")
                self._writer = pq.ParquetWriter(self.files[-1], self.schema, compression="zstd")
                self._room = self.shard_rows
            head, table = table.slice(0, self._room), table.slice(self._room)
            assert self._writer is not None
            self._writer.write_table(head)
            self.rows, self.bytes, self._room = self.rows + len(head), self.bytes + head.nbytes, self._room - len(head)

    def close(self) -> None:
        """Write the last shard's footer."""
        if self._writer is not None:
            self._writer.close()
            self.digest.update(self.files[-1].read_bytes())
            self._writer = None

    def finish(self) -> str:
        """Put the content's digest into the file names and return their pattern.

        `datasets` caches a local folder by its name and card, not by its rows: the digest tells it of new ones.
        """
        self.close()
        marked = f"{self.prefix}-{self.digest.hexdigest()[:12]}"
        names = [f"{marked}{file.name.removeprefix(self.prefix)}" for file in self.files]
        self.files = [file.rename(file.with_name(name)) for file, name in zip(self.files, names, strict=True)]
        return f"data/{marked}-*.parquet"


def write_data(work: Path, folder: Path, task: Task) -> dict[str, Any]:
    """Write the splits and the rejects of a work folder as Parquet under `folder/data`.

    Returns:
        Facts for the card: rows and rows per label of each split, words in a text per label, number of rejects, and
        the YAML header's `configs` and `dataset_info`.
    """
    (folder / "data").mkdir(parents=True)
    features, rejects, kind = row_features(task), Features(REJECTS), shape(task)
    shards: dict[str, Shards] = {}
    labels: dict[str, Counter[str]] = {}
    lengths: dict[str, Counter[int]] = {cell: Counter() for cell in task.cells}
    for split, table in split_tables(work / "rows.parquet"):
        if split not in shards:
            shards[split] = Shards(folder / "data", split, features.arrow_schema)
            labels[split] = Counter()
        shards[split].write(with_ids(table, features))
        for row in table.select([*kind.features(task), "attributes"]).to_pylist():
            cells = kind.counted(task, row)
            labels[split].update(cells)
            for cell in set(cells):
                lengths[cell][_words(row, task)] += 1
    dropped = Shards(folder / "data", "rejects", rejects.arrow_schema)
    for batch in pq.ParquetFile(work / "rejects.parquet").iter_batches(8192):
        dropped.write(pa.Table.from_batches([batch]).cast(rejects.arrow_schema))
    configs: dict[str, tuple[Features, Mapping[str, Shards]]] = {
        "default": (features, {name: shards[name] for name in ("train", "validation") if name in shards})
    }
    if dropped.rows:
        configs["rejects"] = (rejects, {"train": dropped})
    header = config_header(configs)
    return {
        "splits": {name: one.rows for name, one in configs["default"][1].items()},
        "lengths": {cell: _spread(found) for cell, found in lengths.items() if found},
        "labels": {name: {cell: labels[name][cell] for cell in task.cells} for name in labels},
        "rejects": dropped.rows,
        "header": header,
        "data": [entry["path"] for entry in header["configs"][0]["data_files"]],
    }


def _words(row: Mapping[str, Any], task: Task) -> int:
    """Return the words of a row's texts, as `min_words` counts them; a list of tokens is counted as it is."""
    texts = (row[column] for column in task.columns)
    return sum(len(text) if isinstance(text, list) else length(text) for text in texts)


def _spread(counts: Mapping[int, int]) -> dict[str, float]:
    """Return the least, the median and the most of counted numbers."""
    values = np.array(sorted(counts))
    ends = np.cumsum([counts[int(value)] for value in values])
    middle = [int(values[np.searchsorted(ends, at, side="right")]) for at in ((ends[-1] - 1) // 2, ends[-1] // 2)]
    return {"min": int(values[0]), "median": sum(middle) / 2, "max": int(values[-1])}


def config_header(
    configs: Mapping[str, tuple[Features, Mapping[str, Shards]]], before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the `configs` and `dataset_info` keys of the card, as `datasets` itself writes them.

    Args:
        configs: Features and written splits of each config.
        before: The keys as they were without these configs, which are added to them.
    """
    from huggingface_hub import DatasetCardData

    files, infos = {}, {}
    for name, (features, splits) in configs.items():
        patterns = [{"split": split, "path": shards.finish()} for split, shards in splits.items()]
        files[name] = {"data_files": patterns, **({"default": True} if name == "default" else {})}
        infos[name] = DatasetInfo(
            features=features,
            config_name=name,
            splits=SplitDict({s: SplitInfo(s, num_bytes=x.bytes, num_examples=x.rows) for s, x in splits.items()}),
            download_size=sum(file.stat().st_size for shards in splits.values() for file in shards.files),
            dataset_size=sum(shards.bytes for shards in splits.values()),
        )
    data = DatasetCardData(**copy.deepcopy(dict(before or {})))  # `datasets` writes into what it is given
    DatasetInfosDict(infos).to_dataset_card_data(data)
    MetadataConfigs(files).to_dataset_card_data(data)
    return {key: data.to_dict()[key] for key in ("configs", "dataset_info")}


def replace_folder(fresh: Path, target: Path) -> None:
    """Move a finished folder into place; the one that stood there goes when the new one is in."""
    old = target.with_name(f".{target.name}.old")
    restore_folder(target)
    _remove(old)
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    _remove(old)


def _remove(old: Path) -> None:
    if old.is_symlink():  # where it leads is the user's
        old.unlink()
    shutil.rmtree(old, ignore_errors=True)


def restore_folder(target: Path) -> None:
    """Put back what `replace_folder` had moved aside when it was killed."""
    old = target.with_name(f".{target.name}.old")
    if old.exists() and not target.exists():
        old.rename(target)


@contextmanager
def rewriting(folder: Path) -> Iterator[Path]:
    """Yield the path where a data set folder is written anew; it is moved into place whole unless that fails."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    restore_folder(folder)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        fresh = Path(scratch) / "dataset"
        yield fresh
        os.sync()
        replace_folder(fresh, folder)


def write_card(fresh: Path, folder: Path, task: Task, facts: Mapping[str, Any]) -> None:
    """Record the facts in a folder being written and state them on its card, with a person's words of the old one."""
    from .card import dataset_card

    report = fresh / "hf_synth" / "inspect.json"
    inspection = json.loads(report.read_text(encoding="utf-8")) if report.exists() else None
    write_stated(fresh, folder, facts, dataset_card(task, facts, inspection))


def write_stated(fresh: Path, folder: Path, facts: Mapping[str, Any], card: str) -> None:
    """Write facts and the card that states them; what a person wrote in the card of the folder stays."""
    from .card_merge import decode_card, merge_card

    write_json(fresh / "hf_synth" / "facts.json", facts)
    before = folder / "README.md"
    theirs = decode_card(before.read_bytes(), str(before)) if before.exists() else None
    write_whole(fresh / "README.md", merge_card(card, theirs, str(before)))


def write_folder(work: Path, folder: Path, task: Task, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write the Hub-ready folder of a finished work folder; what a person wrote in an earlier card stays.

    Args:
        work: Folder with `rows.parquet`, `rejects.parquet`, `chunks.parquet`, `prompts.parquet`.
        folder: Where the data set goes; replaced whole.
        task: The task.
        facts: What `produce` recorded; what else the card states is added.

    Returns:
        All facts that the card states.
    """
    from .card import samples

    described = {"description": task.description, "language": list(task.language), "samples": samples(task, work)}
    with rewriting(folder) as fresh:
        whole = {**facts, **described, **write_data(work, fresh, task)}
        own = fresh / "hf_synth"
        own.mkdir()
        if pictures := draw_rounds(facts["ledger"]["notes"].get("learning curves", ()), own):
            whole["pictures"] = pictures
        for name in ("chunks", "prompts"):
            shutil.copyfile(work / f"{name}.parquet", own / f"{name}.parquet")
        write_json(own / "ledger.json", facts["ledger"])
        write_whole(own / "config.yaml", yaml.safe_dump(facts["settings"], sort_keys=False, allow_unicode=True))
        write_card(fresh, folder, task, whole)
    return whole
