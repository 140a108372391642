"""`hf-synth inspect`: can this data set be trusted?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..audit.settings import InspectConfig
from .options import parse

console = Console(highlight=False)
COLOURS = {"bad": "red", "look": "yellow", "good": "green", "skipped": "dim"}  # in the order of the table
SHOWN = 5  # rows that the table names


def show(report: Mapping[str, Any], where: Path) -> None:
    """Print the verdicts, bad ones first."""
    own, real = report["dataset"], report["reference"]
    title = f"{own['name']}, split {own['split']}: {report['n']:,} rows of {own['rows']:,}"
    beside = f" beside {real['name']}, split {real['split']}" if real else ""
    table = Table(title=title + beside, title_justify="left")
    for column in ("check", "verdict", "value", "limit", "reason", "rows"):
        table.add_column(column, justify="right" if column in ("value", "limit") else "left")
    for found in sorted(report["verdicts"], key=lambda one: list(COLOURS).index(one["verdict"])):
        named = found["rows"] if found["verdict"] != "good" else []
        rows = ", ".join(str(row["row"]) for row in named[:SHOWN])
        more = f" +{found['found'] - SHOWN:,}" if named and found["found"] > SHOWN else ""
        verdict = f"[{COLOURS[found['verdict']]}]{found['verdict']}[/]"
        table.add_row(
            found["check"],
            verdict,
            _number(found["value"]),
            _number(found["limit"]),
            escape(found["reason"]),
            rows + more,
        )
    console.print(table)
    console.print(f"{where}: every figure with its rows, seed and interval, and the rows to look at", soft_wrap=True)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def report_of(config: InspectConfig) -> dict[str, Any]:
    """Load what the settings name and run all checks.

    Raises:
        InputError: If something cannot be loaded, or has no texts or labels.
    """
    from ..audit.data import load, load_corpus_texts, load_real_rows
    from ..audit.inspect import inspect
    from ..tasks import load_task

    task = load_task(config.task) if config.task else None
    given = [config.text_columns] if isinstance(config.text_columns, str) else config.text_columns
    columns = given or (task.columns if task else ())
    label = config.label_column or (task.label_column if task else None)
    most, seed = config.max_rows, config.seed
    own = load(config.dataset, "dataset", ("train",), most, seed, split=config.split, texts=columns, label=label)
    real = corpus = None
    if config.reference is not None:
        real = load_real_rows(config.reference, task, own, config.reference_split, most, seed)
    if config.corpus is not None:
        corpus = load_corpus_texts(config.corpus, own, most, seed)
    encode = source = None
    if config.encoder != "none":
        from ..models import resolve
        from ..retrieval.encode import Encoder

        source = resolve(config.encoder)
        encode = Encoder(source.path, "mean", True, 128)
    report = inspect(own, real, corpus, encode, embedded=config.embedded, seed=seed)
    return report | {"encoder": source.facts() if source else None}


def main(argv: list[str]) -> int:
    """Run the verb; the data set may stand without its flag."""
    if argv and not argv[0].startswith("-"):
        argv = ["--dataset", *argv]
    config = parse(argv, "hf-synth inspect", InspectConfig, method=False)[InspectConfig]
    from ..journal import write_whole

    report = report_of(config)
    where = Path(config.output_dir) / "inspect.json"
    where.parent.mkdir(parents=True, exist_ok=True)
    write_whole(where, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    show(report, where)
    return 0
