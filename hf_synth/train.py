"""Training a student on a labelled data set."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

from .errors import InputError
from .folder import replace_folder, restore_folder
from .journal import digest, write_whole
from .settings import StudentConfig
from .student import check_student, encode, load_student
from .trainers.weighted import WeightedTrainer

if TYPE_CHECKING:
    from datasets import ClassLabel, Dataset, DatasetDict

    from .task import Task

SHARED = {
    "seed": "seed",
    "learning_rate": "learning_rate",
    "num_train_epochs": "num_train_epochs",
    "per_device_train_batch_size": "train_batch_size",
    "label_smoothing_factor": "label_smoothing",
    "output_dir": "output_dir",
}


def check_training(config: StudentConfig) -> None:
    """Refuse training arguments and students that cannot work, before anything is generated for them.

    Raises:
        InputError: For an unknown argument, or what `check_student` refuses.
    """
    with tempfile.TemporaryDirectory() as nowhere:
        training_arguments(config, Path(nowhere), 0, True)
    check_student(config)


def training_arguments(config: StudentConfig, output_dir: Path, seed: int, evaluates: bool) -> TrainingArguments:
    """Return the Trainer's arguments: ours, then the user's `training_args`.

    Raises:
        InputError: For an argument that `TrainingArguments` does not have, or one that has a key of ours.
    """
    from .errors import unknown

    known = {f.name for f in dataclasses.fields(TrainingArguments)}
    for key in config.training_args:
        if key in SHARED:
            raise InputError(f"`training_args.{key}`: set `{SHARED[key]}` instead")
        if key not in known:
            raise unknown("`training_args`: a key", key, sorted(known))
    ours: dict[str, Any] = {
        "output_dir": str(output_dir),
        "seed": seed,
        "learning_rate": config.learning_rate,
        "num_train_epochs": config.num_train_epochs,
        "per_device_train_batch_size": config.train_batch_size,
        "per_device_eval_batch_size": 128,
        "label_smoothing_factor": config.label_smoothing,
        "warmup_steps": 0.1,
        "weight_decay": 0.01,
        "eval_strategy": "epoch" if evaluates else "no",
        "save_strategy": "epoch",
        "save_total_limit": 1,
        "load_best_model_at_end": evaluates,
        "metric_for_best_model": "accuracy" if evaluates else None,
        "logging_strategy": "epoch",
        "report_to": "none",
        "disable_tqdm": not sys.stderr.isatty(),
        "dataloader_pin_memory": torch.accelerator.is_available(),
    }
    try:
        return TrainingArguments(**{**ours, **config.training_args})
    except (TypeError, ValueError) as error:
        raise InputError(f"`training_args`: {error}") from None


def train_student(data: DatasetDict, task: Task, config: StudentConfig, folder: Path, seed: int) -> dict[str, Any]:
    """Train a student on `train`, choose the epoch by accuracy on the synthetic `validation`, and save it.

    Args:
        data: Splits `train` and (where there are rows enough) `validation` of a generated data set.
        task: Names columns and labels.
        config: How to train.
        folder: Where the model goes; replaced whole.
        seed: Re-seeds initialisation, order and dropout.

    Returns:
        Facts for the model card.
    """
    set_seed(seed)
    label: ClassLabel = data["train"].features[task.label_column]
    texts = [text for column in task.columns for text in data["train"][column]]
    model, tokenizer, source = load_student(config, label.names, texts, len(task.columns) == 2)
    settings = {**dataclasses.asdict(config), "student": source["name"], "seed": seed}
    key = digest(
        [settings, source, hashlib.sha256("\n".join(texts).encode()).hexdigest(), data["train"][task.label_column][:]]
    )
    restore_folder(folder)
    if (done := folder / "training.json").exists() and (facts := json.loads(done.read_text()))["key"] == key:
        return facts  # trained before, on the same rows with the same settings
    encoded = {
        name: encode(part, tokenizer, task.columns, task.label_column, config.max_length)
        for name, part in data.items()
    }
    scratch = folder.with_name(f".{folder.name}-training")
    args = training_arguments(config, scratch, seed, len(encoded.get("validation", ())) > 0)
    trainer = _trainer(model, tokenizer, args, encoded, config.early_stopping_patience)
    outcome = trainer.train(resume_from_checkpoint=_unfinished(args, key))
    facts = {
        "key": key,
        "student": source["name"],
        "source": source,
        "rows": len(encoded["train"]),
        "validation_rows": len(encoded.get("validation", ())),
        "validation_accuracy": trainer.state.best_metric,
        "seconds": round(outcome.metrics["train_runtime"], 1),
        "settings": settings,
    }
    if trainer.is_world_process_zero():
        _save(trainer, tokenizer, folder, facts)
    trainer.accelerator.wait_for_everyone()
    return facts


def _trainer(
    model: Any, tokenizer: Any, args: TrainingArguments, encoded: Mapping[str, Dataset], patience: int
) -> WeightedTrainer:
    evaluates = args.eval_strategy != "no"
    return WeightedTrainer(
        model=model,
        args=args,
        train_dataset=encoded["train"],
        eval_dataset=encoded["validation"] if evaluates else None,
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_metrics=lambda p: {"accuracy": float((np.argmax(p.predictions, -1) == p.label_ids).mean())},
        callbacks=[EarlyStoppingCallback(patience)] if patience and evaluates else [],
    )


def _unfinished(args: TrainingArguments, key: str) -> str | None:
    """Return the last checkpoint of the same training that was killed; what belongs to another is removed."""
    scratch = Path(str(args.output_dir))
    record = scratch / "training.key"
    with args.main_process_first():
        if not (record.exists() and record.read_text() == key):
            shutil.rmtree(scratch, ignore_errors=True)
            write_whole(record, key)
    return get_last_checkpoint(str(scratch))


def _save(trainer: WeightedTrainer, tokenizer: Any, folder: Path, facts: Mapping[str, Any]) -> None:
    """Put the model in place whole; the card that stood there stays, for what a person wrote in it."""
    fresh = folder.with_name(f".{folder.name}-fresh")
    shutil.rmtree(fresh, ignore_errors=True)
    trainer.accelerator.unwrap_model(trainer.model).save_pretrained(fresh)
    tokenizer.save_pretrained(fresh)
    if (folder / "README.md").exists():
        shutil.copyfile(folder / "README.md", fresh / "README.md")
    write_whole(fresh / "training.json", json.dumps(facts, indent=2) + "\n")
    replace_folder(fresh, folder)
    shutil.rmtree(folder.with_name(f".{folder.name}-training"), ignore_errors=True)
