"""Training a student on a labelled folder and labelling real rows with it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

from .errors import InputError
from .folder import replace_folder, restore_folder
from .journal import digest, write_whole
from .models import Source, resolve
from .settings import StudentConfig
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


def load_student(
    config: StudentConfig, names: Sequence[str], texts: Sequence[str], pairs: bool = False
) -> tuple[Any, Any, dict[str, Any]]:
    """Return model, tokenizer and provenance facts of an untrained student whose labels are `names`.

    Args:
        config: Names the student; `bilstm` builds the papers' BiLSTM with a vocabulary of `texts`.
        names: Label names, in order.
        texts: The training texts.
        pairs: Each row has two texts; the BiLSTM is then the papers' variant of two streams.

    Raises:
        InputError: If the student exists nowhere.
    """
    labels: dict[str, Any] = {
        "id2label": dict(enumerate(names)),
        "label2id": {name: at for at, name in enumerate(names)},
    }
    if config.student == "bilstm":
        from .students.bilstm import BiLSTMConfig, BiLSTMForSequenceClassification, build_tokenizer

        tokenizer: Any = build_tokenizer(texts)
        sizes = BiLSTMConfig.for_pairs if pairs else BiLSTMConfig
        model = BiLSTMForSequenceClassification(sizes(vocab_size=len(tokenizer), **labels))
        return model, tokenizer, {"name": "bilstm", "origin": "built"}
    import hf_synth.students  # noqa: F401 (registers the BiLSTM, so that a folder of one loads)

    source: Source = resolve(config.student)
    tokenizer = AutoTokenizer.from_pretrained(source.path)
    model = AutoModelForSequenceClassification.from_pretrained(
        source.path, num_labels=len(names), ignore_mismatched_sizes=True, **labels
    )
    return model, tokenizer, source.facts()


def check_student(config: StudentConfig) -> None:
    """Refuse training arguments and students that cannot work, before anything is generated for them.

    Raises:
        InputError: For an unknown argument, a student that exists nowhere, or one without a padding token.
    """
    with tempfile.TemporaryDirectory() as nowhere:
        training_arguments(config, Path(nowhere), 0, True)
    if config.student == "bilstm":
        return
    import hf_synth.students  # noqa: F401 (registers the BiLSTM)

    source = resolve(config.student)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.path)
        AutoConfig.from_pretrained(source.path)
    except (OSError, ValueError) as error:
        raise InputError(f"`student`: {config.student!r} cannot be loaded: {' '.join(str(error).split())}") from None
    if tokenizer.pad_token is None:
        raise InputError(
            f"`student`: the tokenizer of {config.student!r} has no padding token; take an encoder such as BERT"
        )


def encode(data: Dataset, tokenizer: Any, columns: Sequence[str], label: str, max_length: int) -> Dataset:
    """Tokenise text columns (two are joined as the tokenizer joins pairs); labels become `labels`."""

    def batch(rows: Mapping[str, list[Any]]) -> dict[str, Any]:
        texts = [rows[column] for column in columns]
        return {**tokenizer(*texts, truncation=True, max_length=max_length), "labels": rows[label]}

    kept = [name for name in ("index", "weight", "synthetic") if name in data.column_names]
    drop = [name for name in data.column_names if name not in kept]
    return data.map(batch, batched=True, remove_columns=drop, load_from_cache_file=False, desc="tokenise")


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


@torch.inference_mode()
def predict(
    folder: str | Path, texts: Sequence[Sequence[str]], max_length: int = 128, batch_size: int = 128
) -> list[str]:
    """Label texts with a saved student.

    Args:
        folder: The model's folder.
        texts: One sequence of texts per column, all of one length.
        max_length: Tokens a text is cut to.
        batch_size: Texts at once.

    Returns:
        Label names.
    """
    import hf_synth.students  # noqa: F401 (registers the BiLSTM)

    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    model = AutoModelForSequenceClassification.from_pretrained(folder).to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = list(zip(*texts, strict=True))
    order = sorted(range(len(rows)), key=lambda at: sum(map(len, rows[at])))  # like lengths together: less padding
    labels = [""] * len(rows)
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        columns = [list(column) for column in zip(*(rows[at] for at in places), strict=True)]
        inputs = tokenizer(*columns, truncation=True, max_length=max_length, padding=True, return_tensors="pt").to(
            device
        )
        for at, found in zip(places, model(**inputs).logits.argmax(-1).tolist(), strict=True):
            labels[at] = model.config.id2label[found]
    return labels
