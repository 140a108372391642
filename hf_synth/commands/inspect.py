"""`hf-synth inspect`: can this data set be trusted?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..audit.settings import InspectConfig
from ..errors import InputError
from ..files import read_lines
from ..home import locked
from .options import parse

if TYPE_CHECKING:
    from ..audit.learnt import Learnt
    from ..reference import RealRows
    from ..task import Task

console = Console(highlight=False)
COLOURS = {"bad": "red", "look": "yellow", "good": "green", "skipped": "dim"}  # in the order of the table
SHOWN = 5  # rows that the table names


def show(report: Mapping[str, Any], where: Path) -> None:
    """Print the verdicts, those on real rows that were learnt, then bad ones first; what was not judged in a line."""
    own, real = report["dataset"], report["reference"]
    title = f"{own['name']}, split {own['split']}: {report['n']:,} rows of {own['rows']:,}"
    beside = f" beside {real['name']}, split {real['split']}" if real else ""
    table = Table(title=title + beside, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("check", "verdict", "value", "limit", "reason"):
        whole = column in ("check", "verdict")
        table.add_column(column, justify="right" if column in ("value", "limit") else "left", no_wrap=whole)
    first = report["first"]
    judged = [one for one in report["verdicts"] if one["verdict"] != "skipped" or one["check"] in first]
    for found in sorted(judged, key=lambda one: (one["check"] not in first, list(COLOURS).index(one["verdict"]))):
        verdict = f"[{COLOURS[found['verdict']]}]{found['verdict']}[/]"
        reason = escape(found["reason"]) + _rows(found)
        table.add_row(found["check"], verdict, _number(found["value"]), _number(found["limit"]), reason)
    console.print(table)
    skipped = [one for one in report["verdicts"] if one["verdict"] == "skipped" and one["check"] not in first]
    if skipped:
        names = ", ".join(one["check"] for one in skipped)
        needed = sorted({found for one in skipped for found in re.findall(r"pip install '[^']+'", one["reason"])})
        console.print(f"not judged: {names} (why: in the report)", soft_wrap=True)
        if needed:
            console.print(f"some need packages: {'; '.join(needed)}", markup=False, soft_wrap=True)
    console.print(f"{where / 'report.html'}: to be read; {where / 'inspect.json'}: every figure", soft_wrap=True)


def _rows(found: Mapping[str, Any]) -> str:
    """Return the first rows that a verdict names, on a line of their own: a column would leave reasons no room."""
    if found["verdict"] == "good" or not found["rows"]:
        return ""
    rows = ", ".join(str(row.get("row", row.get("prompt"))) for row in found["rows"][:SHOWN])
    more = f" +{found['found'] - SHOWN:,}" if found["found"] > SHOWN else ""
    return f"\n[dim]rows {rows}{more}[/]"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def report_of(config: InspectConfig, task: Task | None = None, judge: RealRows | None = None) -> dict[str, Any]:
    """Load what the settings name and run all checks.

    Args:
        config: The settings.
        task: The data set's, where it is known.
        judge: Real rows that judge, where they are loaded already; `config.reference` then says where from, if known.

    Raises:
        InputError: If something cannot be loaded, or has no texts or labels.
    """
    from ..audit.data import splits_of
    from ..images.inspect import beside_texts, has_texts, image_column, inspect_images
    from ..inspected import is_ours
    from ..tables.inspect import inspect_table
    from ..tables.parts import is_table

    if config.text_columns == "none":
        return inspect_table(config)
    if task is None and config.task is None and not config.text_columns and not is_ours(Path(config.dataset)):
        first = next(iter(splits_of(config.dataset, "dataset").values()))
        if is_table(first):
            return inspect_table(config)
        if image_column(first):
            images = inspect_images(config)
            return beside_texts(_texts(config, task, judge), images) if has_texts(first) else images
    return _texts(config, task, judge)


def _texts(config: InspectConfig, task: Task | None, judge: RealRows | None) -> dict[str, Any]:
    """Run the checks of texts."""
    from ..audit.data import load, load_corpus_texts, load_real_rows, prompts_of, real_of
    from ..audit.inspect import inspect
    from ..audit.instruments import open_instruments
    from ..audit.relations import marks_of
    from ..inspected import is_ours

    task, learnt = task or _task_of(config), None
    if task is not None and is_ours(Path(config.dataset)):
        learnt, config = _conditioned(Path(config.dataset), task, config)
    given = [config.text_columns] if isinstance(config.text_columns, str) else config.text_columns
    columns = given or (task.columns if task else ())
    label = config.label_column or (task.label_column if task else None)
    most, seed = config.max_rows, config.seed
    own = load(config.dataset, "dataset", ("train",), most, seed, split=config.split, texts=columns, label=label)
    if len(own.rows) < 2:
        raise InputError(f"`dataset`: {own.facts['name']!r} has one labelled row; two or more can be inspected")
    real = corpus = None
    if task is not None and judge is not None:
        real = real_of(judge, config.reference, task, most, seed)
    elif config.reference is not None:
        real = load_real_rows(config.reference, task, own, config.reference_split, most, seed)
    if config.corpus is not None:
        corpus = load_corpus_texts(config.corpus, own, most, seed)
    canaries = read_lines(config.canaries, "canaries") if config.canaries else None
    through = open_instruments(config)
    asked = prompts_of(Path(config.dataset))
    more: Any = {"canaries": canaries, "prompts": asked, "learnt": learnt, "embedded": config.embedded, "seed": seed}
    more["marks"] = tuple(task.marks.values()) if task else marks_of(own.rows.texts)
    return inspect(own, real, corpus, through, **more)


def _conditioned(folder: Path, task: Task, config: InspectConfig) -> tuple[Learnt | None, InspectConfig]:
    """Return what the data set's generator learnt from, and the settings with the generator, where none is named."""
    from ..audit.learnt import learnt_of

    learnt = learnt_of(folder, task)
    if isinstance(learnt, str):
        console.print(f"memorisation is not judged by itself: {learnt}", markup=False)
        return None, config
    if learnt is None:
        return None, config
    by: Any = {} if config.scorer or not learnt.model else {"scorer": learnt.model, "adapter": learnt.adapter}
    return learnt, replace(config, reference=config.reference or learnt.reference, **by)


def _task_of(config: InspectConfig) -> Task | None:
    """Return the task that is named, else that which a data set of ours was made for."""
    from ..inspected import is_ours
    from ..tasks import load_task
    from ..weighted import recorded

    if config.task:
        return load_task(config.task)
    folder = Path(config.dataset)
    return recorded(folder.resolve())[1] if is_ours(folder) and not config.text_columns else None


def inspect_run(
    task: Task, folder: Path, reference: RealRows | str, path: str | None, encoder: str, seed: int
) -> None:
    """Inspect the data set of a run beside the real rows that judge its model; a kind that cannot be is told so.

    Args:
        task: The task.
        folder: The data set.
        reference: Real rows, or why there are none.
        path: Where the user said that they are.
        encoder: See `InspectConfig`.
        seed: Decides every draw.
    """
    from ..inspected import write_inspection

    config = InspectConfig(dataset=str(folder), reference=path, encoder=encoder, seed=seed)
    try:
        report = report_of(config, task, None if isinstance(reference, str) else reference)
    except InputError as error:  # the run is done: what it made is not lost with this
        console.print(f"not inspected: {error}", markup=False)
        return
    show(write_inspection(folder, report), folder / "hf_synth")


def main(argv: list[str]) -> int:
    """Run the verb; the data set may stand without its flag."""
    config = parse(argv, "hf-synth inspect", InspectConfig, bare="dataset")[InspectConfig]
    from ..inspected import is_ours, write_inspection, write_report

    folder = Path(config.dataset)
    ours = config.output_dir is None and is_ours(folder)
    with _held(folder) if ours else nullcontext():
        report = report_of(config)
        if ours and report["dataset"]["split"] == "train":
            report, where = write_inspection(folder, report), folder / "hf_synth"
        else:
            where = Path(config.output_dir or Path("inspect", report["dataset"]["name"].replace("/", "--")))
            where.mkdir(parents=True, exist_ok=True)
            write_report(report, where)
    show(report, where)
    return 0


def _held(folder: Path) -> AbstractContextManager[None]:
    """Hold the output folder that a data set lies in: who takes it clears away what is written anew beside the set."""
    home = folder.resolve().parent
    return locked(home) if (home / "journal").is_dir() else nullcontext()
