"""`hf-synth train`, or `accelerate launch -m hf_synth.commands.train`: train a student on a generated data set."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from datasets import ClassLabel

from ..columns import class_names
from ..config import strict
from ..deidentify import Masks, masks_told, open_masks
from ..errors import InputError, reason_of
from ..home import locked
from ..marks import behind, learnt_from
from ..models import known_as
from ..produce import Plan
from ..ranks import Ranks
from ..reference import readable
from ..settings import OutputConfig, StudentConfig, SynthConfig
from ..shapes import shape
from ..task import Task
from ..weighted import GIVEN, WEIGHT, write_weights
from .generate import console, output_folder, plan_of
from .options import parse


@strict
class DataConfig:
    """What the student learns from.

    Attributes:
        dataset: Folder or Hub id of the data set; `dataset/` of the output folder where left out.
        dataset_config: Its config; of `weighted`, which an earlier training wrote, rows count by their weights.
    """

    dataset: str | None = None
    dataset_config: str = "default"


def load_splits(path: str | Path, task: Any, config: str = "default") -> Any:
    """Load a generated data set and check it against the task; `hf_synth_weight` becomes the column `weight`.

    Raises:
        InputError: If it cannot be loaded, has no `train` split, or its labels or columns are not the task's.
    """
    data = _load(path, config)
    if "train" not in data:
        raise InputError(f"{str(path)!r} has no split `train`; it has {sorted(data)!r}")
    features = data["train"].features
    wanted = shape(task).features(task)
    for column in wanted:
        if column not in features:
            raise InputError(
                f"{str(path)!r} has no column {column!r}, which task {task.name} needs; it has {list(features)!r}"
            )
    columns = (found[task.label_column] for found in (wanted, features))
    ours, theirs = (class_names(column) or column for column in columns)
    if ours != theirs:
        raise InputError(f"the labels of {str(path)!r} are {theirs!r}, the task's {ours!r}")
    return _with_weights(data, path) if WEIGHT in features else data


def _load(path: str | Path, config: str) -> Any:
    from datasets import load_dataset

    try:
        with readable():
            return load_dataset(str(path), None if config == "default" else config)
    except (OSError, ValueError) as error:
        what = f"the config {config!r} of {str(path)!r}" if config != "default" else repr(str(path))
        raise InputError(f"`dataset`: {what} cannot be loaded: {reason_of(error)}") from None


def _with_weights(data: Any, path: str | Path) -> Any:
    """Return rows with their weights, and the rows of `validation` of the data set, which must be no others."""
    from datasets import DatasetDict

    validation = _load(path, "default").get("validation")
    train = data["train"].rename_column(WEIGHT, "weight")
    if validation is None:
        return DatasetDict(train=train)
    held = np.asarray(validation["index"][:])
    seen = np.isin(train["index"][:], held)
    return DatasetDict(train=train.select(np.flatnonzero(~seen)) if seen.any() else train, validation=validation)


def masks_of(shared: SynthConfig, config: StudentConfig, private: bool) -> Masks | None:
    """Return what masks the real rows to train on, if there are any and it is wanted.

    Raises:
        InputError: For masks that cannot be had, or, under `private`, a tracker on another machine.
    """
    from ..arguments import refuse_trackers

    if private:
        refuse_trackers(config)
    wanted = private if shared.deidentify is None else shared.deidentify
    return open_masks(wanted, shared.personal) if config.real_rows else None


def real_learnt(config: StudentConfig, private: bool) -> list[str]:
    """Return what real rows a student would learn, or starts from, and must stay on this machine for, in words."""
    ours = [f"real rows of {known_as(config.real_rows)}"] if private and config.real_rows else []
    return [*behind(config.student), *(learnt_from(config.real_rows) or ours)]


def train(
    plan: Plan,
    config: StudentConfig,
    folder: Path,
    masks: Masks | None,
    given: DataConfig | None = None,
    private: bool = False,
) -> dict[str, Any]:
    """Train into `folder/model`, whose lock is held, and return the training facts.

    Weights that the training makes for the rows of the run's own data set are written into that. What real text stands
    behind a model that was made under `private` is recorded in its `training.json`; `masks` hide real rows' before.
    """
    given = given or DataConfig()
    own = folder / "dataset"
    dataset = given.dataset or own
    data = load_splits(dataset, plan.task, given.dataset_config)
    lacking = [] if config.real_rows or _rank() else _lacking(data["train"], plan.task)
    if lacking:
        console.print(f"no row of {', '.join(lacking)}: the student will not learn it", markup=False)
    from ..train import WEIGHTS, train_student

    folder.mkdir(parents=True, exist_ok=True)
    held = [*learnt_from(str(dataset)), *real_learnt(config, private)]
    facts = train_student(data, plan.task, config, folder / "model", plan.config.seed, masks, held)
    if masks and _rank() == 0 and (told := facts["real"].get("deidentified")):  # a model from before has none
        console.print(masks_told(told), markup=False)
    plain = given.dataset_config == "default"  # another's weights are built on, and would be replaced
    if facts["weights"] and plain and _rank() == 0 and Path(dataset).resolve() == own.resolve():
        told = {name: facts["weights"][name] for name in GIVEN}
        write_weights(own, pq.read_table(folder / "model" / WEIGHTS), told)
        console.print(f"weights of its rows: load_dataset({str(own)!r}, 'weighted')", markup=False)
    return facts


def _lacking(rows: Any, task: Task) -> list[str]:
    """Return the labels that no row has, of tasks of one label a row."""
    if not isinstance(feature := rows.features[task.label_column], ClassLabel):
        return []
    there = set(rows.unique(task.label_column))
    return [name for at, name in enumerate(feature.names) if at not in there]


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def main(argv: list[str]) -> int:
    """Run the verb."""
    found = parse(argv, "hf-synth train", SynthConfig, StudentConfig, OutputConfig, DataConfig)
    plan, given, student = plan_of(found), found[DataConfig], found[StudentConfig]
    private = found[OutputConfig].private
    masks = masks_of(found[SynthConfig], student, private)
    folder = output_folder(found[OutputConfig], plan)
    if given.dataset is None and not (folder / "dataset").is_dir():
        raise InputError(
            f"no data set in {str(folder / 'dataset')!r}: run `hf-synth generate` first, or give `dataset`"
        )
    with locked(folder, Ranks(_rank())):
        facts = train(plan, student, folder, masks, given, private)
    if _rank() == 0:
        console.print(json.dumps({k: facts[k] for k in ("rows", "validation_rows", "validation_score", "seconds")}))
        console.print(f"model in {folder / 'model'}")
    return 0


if __name__ == "__main__":
    from .main import guarded

    sys.exit(guarded("train", sys.argv[1:]))
