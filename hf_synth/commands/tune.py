"""`hf-synth tune`: train an adapter beside a generator on a few real rows, for `--adapter`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import Field

from ..adapters.folder import RECORD
from ..adapters.settings import TuningConfig
from ..card import adapter_card
from ..config import strict
from ..errors import InputError
from ..filters.copies import fingerprints
from ..models import resolve
from ..real import load_real_rows
from ..settings import OutputConfig, ShotsConfig, SynthConfig
from ..shots import shots_of, tuned
from ..task import Task
from ..tasks import load_task
from .generate import console
from .options import parse


@strict
class TuneConfig:
    """What is tuned, and where it goes.

    Attributes:
        task: A packaged task's name, or the path of a task's YAML file.
        model: The generator: a Hub id or a local folder.
        seed: Decides initial values and order.
        output_dir: Folder for the adapter; `outputs/<task>-<adapt>` where left out.
        hub_id: Push the adapter to this Hub repository.
        private: Make that repository private.
    """

    task: str
    model: str = SynthConfig.model
    seed: int = Field(0, ge=0)
    output_dir: str | None = None
    hub_id: str | None = None
    private: bool = OutputConfig.private


def main(argv: list[str]) -> int:
    """Run the verb."""
    found = parse(argv, "hf-synth tune", TuneConfig, ShotsConfig, TuningConfig, method=False)
    config, given, tuning = found[TuneConfig], found[ShotsConfig], found[TuningConfig]
    folder = Path(config.output_dir or f"outputs/{Path(config.task).stem}-{tuning.adapt}")
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{str(folder)!r} is not empty; give an empty or new `output_dir`")
    task = tuned(load_task(config.task))
    if given.shots is None:
        raise InputError("`shots` names the real rows to learn from: a folder or Hub id")
    real = load_real_rows(task, given.shots, given.shots_per_class, given.shots_seed, "shots")
    if config.hub_id:
        from ..hub import check_access

        check_access(config.hub_id)
    record = _tune(task, config, tuning, real, folder)
    told = {"name": real.name, "split": real.split, "per_class": given.shots_per_class, "seed": given.shots_seed}
    record |= {"task": task.name, "labels": list(task.labels), "prompt": task.prompt, "shots": told}
    (folder / RECORD).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    (folder / "README.md").write_text(adapter_card(task, record), encoding="utf-8")
    losses = ", ".join(f"{first} to {last}" for first, last in record["loss"].values())
    console.print(
        f"{record['parameters']} parameters trained on {record['rows']} rows in {record['seconds']} s; loss {losses}"
    )
    console.print(f"adapter in {folder}: give it to any method with `--adapter {folder}`", markup=False)
    if config.hub_id:
        from ..hub import push

        console.print(push(folder, config.hub_id, repo_type="model", private=config.private))
    return 0


def _tune(task: Task, config: TuneConfig, tuning: TuningConfig, real: Any, folder: Path) -> dict[str, Any]:
    from ..generators.tuning import check_tuning, tune

    check_tuning(tuning, list(task.labels))
    source = resolve(config.model)
    aside = folder.with_name(f".{folder.name}-tuning")
    aside.mkdir(parents=True, exist_ok=True)
    shots = shots_of(task, real.data, config.seed)
    record = tune(source.path, source.facts(), shots, tuning, aside, config.seed)
    if folder.exists():
        folder.rmdir()
    aside.rename(folder)
    return record | {"fingerprints": fingerprints(shot.text for shot in shots)}
