"""The Trainer's arguments, made from a student's settings."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from .errors import InputError, unknown
from .settings import StudentConfig

SHARED = {
    "seed": "seed",
    "learning_rate": "learning_rate",
    "num_train_epochs": "num_train_epochs",
    "per_device_train_batch_size": "train_batch_size",
    "label_smoothing_factor": "label_smoothing",
    "output_dir": "output_dir",
}
PUSHES = ("push_to_hub", "hub_")  # how the names of what makes the Trainer push begin
TRACKERS = ("none", "tensorboard", "trackio")  # which write on this machine alone
SPACES = ("trackio_space_id", "trackio_bucket_id", "trackio_static_space_id")  # with which trackio does not


def training_arguments(
    config: StudentConfig, output_dir: Path, seed: int, evaluates: bool, metric: str = "accuracy"
) -> TrainingArguments:
    """Return the Trainer's arguments: ours, then the user's `training_args`; the best epoch has the highest `metric`.

    Of annealing the last model stays: its schedule decides what that is, and a validation split that is synthetic
    would choose the model from before the real rows.

    Raises:
        InputError: For an argument that `TrainingArguments` does not have, one that has a key of ours, or a push,
            which has no card and is held back by nothing.
    """
    known = {f.name for f in dataclasses.fields(TrainingArguments)}
    for key in config.training_args:
        if key in SHARED:
            raise InputError(f"`training_args.{key}`: set `{SHARED[key]}` instead")
        if key.startswith(PUSHES):
            raise InputError(
                f"`training_args.{key}`: the Trainer's own push has no card; give `run` a `hub_id`, or push the "
                "model's folder with `hf-synth push`"
            )
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
        "load_best_model_at_end": evaluates and config.trainer != "annealing",
        "metric_for_best_model": metric if evaluates else None,
        "logging_strategy": "steps",
        "logging_steps": 0.05,  # of all steps: 20 points make a curve, whatever the number of rows
        "report_to": "none",
        "disable_tqdm": not sys.stderr.isatty(),
        "dataloader_pin_memory": torch.accelerator.is_available(),
    }
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":  # its configuration must say the same as the arguments
        precision = os.environ.get("ACCELERATE_MIXED_PRECISION")
        ours |= {name: precision == name for name in ("bf16", "fp16")}
    try:
        return TrainingArguments(**{**ours, **config.training_args})
    except (TypeError, ValueError) as error:
        raise InputError(f"`training_args`: {error}") from None


def preparing(config: StudentConfig, **changes: Any) -> StudentConfig:
    """Return settings for a student that is trained for what it says of the rows: neither evaluated nor chosen."""
    aside: dict[str, Any] = {"eval_strategy": "no", "load_best_model_at_end": False, "metric_for_best_model": None}
    if config.training_args.get("save_strategy") == "best":  # which it would not know
        aside["save_strategy"] = "epoch"
    return dataclasses.replace(config, training_args={**config.training_args, **aside, **changes})


def refuse_trackers(config: StudentConfig) -> None:
    """Refuse what would report a training to another machine, since `private` was asked for.

    Raises:
        InputError: Naming the tracker, or what sends trackio's records to a Space.
    """
    given = config.training_args.get("report_to") or "none"
    names = given if isinstance(given, list) else [given]
    for name in names:
        if name not in TRACKERS:
            raise InputError(
                f"`private` keeps everything on this machine, and `training_args.report_to: {name}` may not: take "
                f"one of {', '.join(TRACKERS)}"
            )
    spaces = [f"training_args.{key}" for key in SPACES if config.training_args.get(key)]
    if "trackio" in names and "TRACKIO_SPACE_ID" in os.environ:
        spaces.append("TRACKIO_SPACE_ID")
    if spaces:
        raise InputError(f"`private` keeps everything on this machine, and `{spaces[0]}` names a Space: take it out")
