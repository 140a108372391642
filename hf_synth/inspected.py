"""An inspection put into the data set that it judges: its figures, page and pictures, suspected rows, and the card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .audit.page import page
from .audit.pictures import draw
from .card import PICTURES
from .folder import Shards, config_header, rewriting, write_card
from .journal import write_whole
from .weighted import BLOCK, copied, recorded, suspect_features, write_suspects

SHOWN = 1_000  # suspected rows that are written


def write_report(report: Mapping[str, Any], folder: Path) -> None:
    """Write `inspect.json` and `report.html` into a folder that is there."""
    write_whole(folder / "inspect.json", json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    write_whole(folder / "report.html", page(report))


def is_ours(folder: Path) -> bool:
    """Tell whether a folder is a data set that `generate` wrote; completed tables and images are others."""
    return (folder / "hf_synth" / "chunks.parquet").is_file()


def write_inspection(folder: Path, report: Mapping[str, Any]) -> dict[str, Any]:
    """Write an inspection of a data set's `train` split into its folder, in place of an earlier one, and on its card.

    The rows whose labels are suspected go to the config `suspects`, unless a trainer's stand there already.

    Args:
        folder: What `write_folder` wrote; replaced whole, with all else that it holds.
        report: What `inspect` returned.

    Returns:
        The report as it was written, with what the making of the data set dropped.

    Raises:
        InputError: For a folder that is not ours; nothing was written.
    """
    folder = folder.resolve()
    facts, task = recorded(folder)
    facts.pop("suspects", None)
    report = {**report, "dropped": facts["ledger"]["stages"], "pictures": []}
    doubted: list[Mapping[str, Any]] = next(
        (found["rows"] for found in report["verdicts"] if found["check"] == "wrong labels"), []
    )
    mine = not facts.get("weights", {}).get("suspects")
    with rewriting(folder) as fresh:
        copied(folder, fresh, without=("suspects",) if mine else ())
        for name in PICTURES:  # links to those of an earlier inspection, which may have been of other figures
            (fresh / "hf_synth" / name).unlink(missing_ok=True)
        report["pictures"] = draw(report, fresh / "hf_synth")
        write_report(report, fresh / "hf_synth")
        if mine and doubted:
            features = suspect_features(task)
            shards = Shards(fresh / "data", "suspects", features.arrow_schema)
            found, reasons, scores = _rows(folder, facts["data"][0], doubted[:SHOWN])
            write_suspects(shards, found.append_column("score", scores), reasons)
            header = config_header({"suspects": (features, {"train": shards})}, facts.get("weights", facts)["header"])
            facts["suspects"] = {"rows": len(found), "header": header}
        write_card(fresh, folder, task, facts)
    return report


def write_student(folder: Path, student: Mapping[str, Any]) -> None:
    """State on a data set's card what the model that was trained on it reaches on real rows.

    Raises:
        InputError: For a folder that is not ours.
    """
    folder = folder.resolve()
    facts, task = recorded(folder)
    with rewriting(folder) as fresh:
        copied(folder, fresh)
        write_card(fresh, folder, task, {**facts, "student": dict(student)})


def _rows(folder: Path, pattern: str, doubted: Sequence[Mapping[str, Any]]) -> tuple[pa.Table, pa.Array, pa.Array]:
    """Return rows of the first split by their places in it, with why each is suspected, and its score."""
    known = {row["row"]: row for row in doubted}
    parts, found, start = [], [], 0
    for file in sorted(folder.glob(pattern)):
        for batch in pq.ParquetFile(file).iter_batches(BLOCK):
            here = [place for place in range(len(batch)) if start + place in known]
            found += [known[start + place] for place in here]
            if here:  # pyarrow takes no rows by an empty list
                parts.append(pa.Table.from_batches([batch]).take(here))
            start += len(batch)
    reasons = [f"a light classifier that did not see this row suggests {row['suggested']!r}" for row in found]
    return pa.concat_tables(parts), pa.array(reasons), pa.array([row["score"] for row in found], pa.float32())
