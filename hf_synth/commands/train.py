"""`hf-synth train`, or `accelerate launch -m hf_synth.commands.train`: train a student on a generated data set."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from ..config import strict
from ..errors import InputError
from ..produce import Plan
from ..settings import OutputConfig, StudentConfig, SynthConfig
from .generate import console, output_folder
from .options import parse


@strict
class DataConfig:
    """What the student learns from.

    Attributes:
        dataset: Folder or Hub id of the data set; `dataset/` of the output folder where left out.
    """

    dataset: str | None = None


def load_splits(path: str | Path, task: Any) -> Any:
    """Load a generated data set and check it against the task.

    Raises:
        InputError: If it cannot be loaded, has no `train` split, or its labels or columns are not the task's.
    """
    from datasets import ClassLabel, load_dataset

    try:
        data = load_dataset(str(path))
    except (OSError, ValueError) as error:
        raise InputError(f"`dataset`: {str(path)!r} cannot be loaded: {str(error).splitlines()[0]}") from None
    if "train" not in data:
        raise InputError(f"{str(path)!r} has no split `train`; it has {sorted(data)!r}")
    features = data["train"].features
    for column in (*task.columns, task.label_column):
        if column not in features:
            raise InputError(
                f"{str(path)!r} has no column {column!r}, which task {task.name} needs; it has {list(features)!r}"
            )
    label = features[task.label_column]
    if not isinstance(label, ClassLabel) or label.names != list(task.labels):
        raise InputError(
            f"the labels of {str(path)!r} are {getattr(label, 'names', label)!r}, the task's {list(task.labels)!r}"
        )
    return data


def train(plan: Plan, config: StudentConfig, dataset: str | Path, folder: Path) -> dict[str, Any]:
    """Train into `folder/model` and return the training facts."""
    data = load_splits(dataset, plan.task)
    from ..train import train_student

    folder.mkdir(parents=True, exist_ok=True)
    return train_student(data, plan.task, config, folder / "model", plan.config.seed)


def main(argv: list[str]) -> int:
    """Run the verb."""
    found = parse(argv, "hf-synth train", SynthConfig, StudentConfig, OutputConfig, DataConfig)
    plan = Plan.of(found[SynthConfig], found["method"])
    folder = output_folder(found[OutputConfig], plan)
    dataset = found[DataConfig].dataset or folder / "dataset"
    if found[DataConfig].dataset is None and not Path(dataset).is_dir():
        raise InputError(f"no data set in {str(dataset)!r}: run `hf-synth generate` first, or give `dataset`")
    facts = train(plan, found[StudentConfig], dataset, folder)
    if int(os.environ.get("RANK", "0")) == 0:
        console.print(json.dumps({k: facts[k] for k in ("rows", "validation_rows", "validation_accuracy", "seconds")}))
        console.print(f"model in {folder / 'model'}")
    return 0


if __name__ == "__main__":
    from .main import guarded

    sys.exit(guarded("train", sys.argv[1:]))
