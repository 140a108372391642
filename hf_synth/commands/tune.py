"""`hf-synth tune`: train an adapter beside a generator on a few real rows, for `--adapter`."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ..adapters.folder import RECORD
from ..adapters.settings import TuningConfig
from ..audit.learnt import write_beside
from ..card import adapter_card
from ..config import checked, strict
from ..deidentify import deidentified, masks_told, open_masks
from ..errors import InputError
from ..filters.copies import fingerprints
from ..home import locked
from ..journal import write_json
from ..marks import marks
from ..models import resolve
from ..notes import tagged_notes
from ..real import load_real_rows
from ..reference import RealRows
from ..settings import SEEDS, OutputConfig, ShotsConfig, SynthConfig
from ..shots import choose, shots_of, tuned
from ..task import Corpus, Task
from ..tasks import load_task
from .generate import console
from .options import parse
from .sharing import check_private


@strict
class TuneConfig:
    """What is tuned, and where it goes.

    Attributes:
        task: A packaged task's name, or the path of a task's YAML file.
        model: The generator: a Hub id or a local folder.
        seed: Decides initial values and order.
        output_dir: Folder for the adapter; `outputs/<task>-<adapt>` where left out.
        annotate: Of entities: let the generator learn to mark them in what it writes (`markup`), so that such are
            tagged as nobody asked for; the task's way where left out.
        notes: Of entities, unlabelled text in place of `shots`: `path` (a file, folder or Hub id), `column` and, if
            needed, `split`; its sentences that hold names of the task's `words` are learnt, tagged at these alone.
        hub_id: Push the adapter to this Hub repository.
        private: Keep it on this machine: it has learnt from real rows and can repeat them.
        deidentify: Mask personal data in the rows first (presidio's patterns; names of people and dates in words are
            none); on where `private` is, if left out.
        personal: Of `deidentify`: a text file of more to mask, a name or (behind `re:`) a regular expression a line.
    """

    task: str
    model: str = SynthConfig.model
    seed: int = Field(0, ge=0, lt=SEEDS)
    output_dir: str | None = None
    annotate: Literal["mentions", "markup"] | None = None
    notes: dict[str, Any] | None = None
    hub_id: str | None = None
    private: bool = OutputConfig.private
    deidentify: bool | None = None
    personal: str | None = None


def main(argv: list[str]) -> int:
    """Run the verb."""
    found = parse(argv, "hf-synth tune", TuneConfig, ShotsConfig, TuningConfig)
    config, given, tuning = found[TuneConfig], found[ShotsConfig], found[TuningConfig]
    folder = Path(config.output_dir or f"outputs/{load_task(config.task).name}-{tuning.adapt}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{str(folder)!r} is no empty folder; give an empty or new `output_dir`")
    masks = open_masks(config.private if config.deidentify is None else config.deidentify, config.personal)
    task = tuned(_task_of(config))
    real = _real(task, config, given)
    source = given.shots or (config.notes or {}).get("path", "")
    private = config.private or bool(marks(source))
    check_private(config.hub_id, [f"an adapter that has learnt from {len(real.data)} real rows"] if private else [])
    if config.hub_id:
        from ..hub import check_access

        check_access(config.hub_id)
    rows, masked = deidentified(task, real.data, masks) if masks else (real.data, None)
    if masked:
        console.print(masks_told(masked), markup=False)
    told = {"name": real.name, "split": real.split, "per_class": given.shots_per_class, "seed": given.shots_seed}
    told |= {"tagged": "names of the task"} if config.notes else {}
    about: dict[str, Any] = {"task": task.name, "labels": list(task.labels), "prompt": task.prompt, "shots": told}
    about |= {"annotate": task.annotate, "private": private, "deidentified": masked}
    record = _tune(task, config, tuning, rows, folder, about)
    write_beside(folder, given, config.notes, config.personal, masks is not None)
    losses = ", ".join(f"{first} to {last}" for first, last in record["loss"].values())
    console.print(
        f"{record['parameters']} parameters trained on {record['rows']} rows in {record['seconds']} s; loss {losses}"
    )
    console.print(f"adapter in {folder}: give it to any method with `--adapter {folder}`", markup=False)
    if config.hub_id:
        from ..hub import push

        console.print(push(folder, config.hub_id, repo_type="model", private=config.private))
    return 0


def _real(task: Task, config: TuneConfig, given: ShotsConfig) -> RealRows:
    """Return the real rows to learn from: shots, or sentences of notes."""
    if config.notes is not None:
        if given.shots is not None:
            raise InputError(f"`notes` stands in place of `shots`; got both, `shots: {given.shots}`")
        found = tagged_notes(task, checked(Corpus, config.notes, "`notes`"))
        chosen = choose(task, found.data, given.shots_per_class, given.shots_seed, f"`notes` of {found.name}")
        return RealRows(found.data.select(chosen), found.name, found.split)
    if given.shots is None:
        raise InputError("`shots` names the real rows to learn from: a file, folder or Hub id")
    return load_real_rows(task, given.shots, given.shots_per_class, given.shots_seed, "shots")


def _task_of(config: TuneConfig) -> Task:
    """Return the task, with the user's way to say where entities are."""
    task = load_task(config.task)
    if config.annotate is None:
        return task
    task.needs_kind("tokens", what="`annotate`")
    return replace(task, annotate=config.annotate)


def _tune(
    task: Task, config: TuneConfig, tuning: TuningConfig, rows: Any, folder: Path, about: dict[str, Any]
) -> dict[str, Any]:
    """Train aside and put the folder in its place when it is whole, so that nothing half written is left."""
    from ..generators.tuning import check_tuning, tune

    check_tuning(tuning, list(task.labels))
    source = resolve(config.model)
    shots = shots_of(task, rows, config.seed)
    aside = folder.with_name(f".{folder.name}-tuning")
    with locked(aside):
        fresh = aside / "adapter"
        shutil.rmtree(fresh, ignore_errors=True)  # of one that was killed
        fresh.mkdir()
        try:
            record = tune(source.path, source.facts(), shots, tuning, fresh, config.seed)
            record |= {"fingerprints": fingerprints(shot.text for shot in shots), **about}
            write_json(fresh / RECORD, record)
            (fresh / "README.md").write_text(adapter_card(task, record), encoding="utf-8")
            if folder.exists():
                folder.rmdir()
            fresh.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return record
