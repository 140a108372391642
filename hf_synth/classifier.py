"""A classifier trained for what it says of other rows: whether they agree with it, or how a round of them went."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PrinterCallback,
    set_seed,
)

from .arguments import preparing, training_arguments
from .fit import make_trainer, trainer_config
from .learners import label
from .records import Example
from .row_weights import Floats
from .settings import StudentConfig
from .student import check_student, encode, load_student
from .task import Task
from .trainers.weighted import WeightedTrainer

if TYPE_CHECKING:
    from datasets import Dataset


def rows_of(task: Task, examples: Sequence[Example]) -> Dataset:
    """Return examples as rows: `index`, the text columns, and the label as a `ClassLabel`."""
    from datasets import ClassLabel, Dataset

    columns: dict[str, list[Any]] = {column: [e.fields[column] for e in examples] for column in task.columns}
    columns |= {task.label_column: [e.target for e in examples], "index": list(range(len(examples)))}
    return Dataset.from_dict(columns).cast_column(task.label_column, ClassLabel(names=list(task.labels)))


def check(config: StudentConfig) -> None:
    """Refuse a student and settings that `fit` could not train, before anything is made for it.

    Raises:
        InputError: If so.
    """
    check_student(config)
    trainer_config(config, 0)
    with tempfile.TemporaryDirectory() as nowhere:
        training_arguments(preparing(config), Path(nowhere), 0, False)


def fit(task: Task, rows: Dataset, config: StudentConfig, seed: int) -> WeightedTrainer:
    """Train a student on rows and return its trainer; nothing of it stays on disk.

    Args:
        task: Names columns and labels.
        rows: With the task's columns, the label as a `ClassLabel`.
        config: How to train; its trainer is the weighted one.
        seed: Decides initialisation, order and dropout.
    """
    names = rows.features[task.label_column].names
    texts = [text for column in task.columns for text in rows[column]]
    set_seed(seed)
    model, tokenizer, _ = load_student(config, names, texts, len(task.columns) == 2)
    data = {"train": encode(rows, tokenizer, task.columns, task.label_column, config.max_length)}
    with tempfile.TemporaryDirectory(prefix="hf_synth-") as scratch:
        quiet = preparing(config, save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True)
        args = training_arguments(quiet, Path(scratch), seed, False)
        trainer = make_trainer(label, None, model, tokenizer, args, data, loss=config.loss)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return trainer


def load(path: str, config: StudentConfig) -> WeightedTrainer:
    """Return the trainer of a classifier that is trained already: a folder of weights with its label names."""
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    with tempfile.TemporaryDirectory(prefix="hf_synth-") as scratch:
        args = training_arguments(preparing(config, report_to="none", disable_tqdm=True), Path(scratch), 0, False)
        return WeightedTrainer(model, args, DataCollatorWithPadding(tokenizer), processing_class=tokenizer)


def log_probabilities(trainer: WeightedTrainer, task: Task, rows: Dataset, config: StudentConfig) -> Floats:
    """Return log-probabilities of the labels for every row, [N, K], in the order of the rows' label names."""
    data = encode(rows, trainer.processing_class, task.columns, task.label_column, config.max_length)
    logits = np.asarray(trainer.predict(data).predictions, float)
    of = trainer.model.config.label2id
    logits = logits[:, [of[name] for name in rows.features[task.label_column].names]]
    return log_softmax(logits)


def log_softmax(scores: Floats) -> Floats:
    """Return scores as log-probabilities over each row, [N, K]."""
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
