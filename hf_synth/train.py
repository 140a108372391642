"""Training a student on a labelled data set, in stages that go on where they were killed."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import TrainingArguments, set_seed

from .arguments import preparing, training_arguments
from .columns import class_names
from .denoise import check_denoise
from .fit import learns_in_rounds, make_trainer
from .learners import learner
from .real import mix_in
from .request import Request
from .row_weights import Weights, choose, joined, weigh
from .settings import StudentConfig
from .sft import train_writer
from .stages import (
    WEIGHTS,
    judge_rows,
    kept,
    last_checkpoint,
    learn_weights,
    learnt,
    mark,
    open_scratch,
    save,
    train_first,
    trained_before,
)
from .trainers.bilevel import BilevelTrainer

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from .deidentify import Masks
    from .task import Task

__all__ = ["WEIGHTS", "check_training", "train_student"]


def check_training(config: StudentConfig, task: Task) -> Request:
    """Refuse settings, real rows, teachers and students that cannot work, before anything is generated for them.

    Raises:
        InputError: If they cannot.
    """
    with tempfile.TemporaryDirectory() as nowhere:
        training_arguments(config, Path(nowhere), 0, True)
    request = Request.of(task, config, 0)
    if request.judging is not None:
        check_denoise(task, config.denoise, request.judging)
    learner(task).check(config)
    return request


def train_student(
    data: DatasetDict,
    task: Task,
    config: StudentConfig,
    folder: Path,
    seed: int,
    masks: Masks | None = None,
    private: Sequence[str] = (),
) -> dict[str, Any]:
    """Train a student on `train`, choose the epoch by its score on the synthetic `validation`, and save it.

    Of annealing the last model is kept (see `training_arguments`).

    Generated rows are denoised, real ones mixed in, weights learnt, and the student is trained: of these, what the
    settings ask for. What was trained before, on the same rows with the same settings, is not trained again.

    Args:
        data: Splits `train` and (where there are rows enough) `validation` of a generated data set; with a column
            `weight`, its rows count by that.
        task: Names columns and labels.
        config: How to train.
        folder: Where the model goes; replaced whole. Weights that were made for the rows lie in it, in
            `weights.parquet`.
        seed: Re-seeds initialisation, order and dropout.
        masks: Hide personal data in the real rows, where that is wanted.
        private: What real text the model must stay for, in words.

    Returns:
        Facts for the model card.
    """
    if task.kind == "parse":
        return train_writer(data, task, config, folder, seed, private)
    request = Request.of(task, config, seed, masks)
    set_seed(seed)
    kind = learner(task)
    names = class_names(data["train"].features[task.label_column])
    model, tokenizer, source = kind.load(config, task, names, request.texts(data["train"]))
    key = request.key(data, source)
    if before := trained_before(folder, key, private):
        return before
    validates = len(data.get("validation", ())) > 0
    scratch, wanted = folder.with_name(f".{folder.name}-training"), config if validates else preparing(config)
    args = training_arguments(wanted, scratch, seed, validates, kind.metric)
    open_scratch(args, key)
    facts = {"key": key, **request.facts(source), **request.given(data), **mark(private)}
    return _train(request, data, model, tokenizer, args, folder, facts)


def _train(
    request: Request,
    data: DatasetDict,
    model: Any,
    tokenizer: Any,
    args: TrainingArguments,
    folder: Path,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Go through the stages, save the model and return the facts."""
    config, made, rounds, chosen = request.config, request.made, None, None
    judged = judge_rows(data["train"], request, args) if request.judging else None
    dropped = judged.weights if judged else None
    before, alone = sum(stage.seconds for stage in (judged,) if stage), 0
    if request.real and config.real_first:
        real = mix_in(data["train"], request.real, request.task, _last_index(data)).select(
            range(len(data["train"]), len(data["train"]) + len(request.real.data))
        )
        before, alone = before + train_first(request, model, tokenizer, real, args), len(real)
    encoded = {name: _encoded(part, request, tokenizer) for name, part in _rows(data, request, dropped).items()}
    if learns_in_rounds(made):
        rounds = learn_weights(request, copy.deepcopy(model), tokenizer, encoded["train"], args)
        chosen, made = choose(rounds.weights, encoded["train"], config.select, config.keep, request.seed), None
        encoded["train"] = weigh(encoded["train"], chosen.weight)
    kind, patience = learner(request.task), config.early_stopping_patience
    trainer = make_trainer(kind, made, model, tokenizer, args, encoded, patience, config.loss)
    outcome = trainer.train(resume_from_checkpoint=last_checkpoint(Path(str(args.output_dir))))
    if kind.settle and args.eval_strategy != "no":
        said, trained = trainer.predict(encoded["validation"]), trainer.accelerator.unwrap_model(trainer.model)
        facts["reading"] = kind.settle(trained, said.predictions, said.label_ids)
    if isinstance(trainer, BilevelTrainer):
        chosen = learnt(trainer, encoded["train"])
    weights = joined(dropped, _of_generated(chosen, data) if chosen else None)
    made_by = {**request.provenance(facts["given_weights"]), "reason": weights.reason} if weights else {}
    before += rounds.seconds if rounds else 0.0
    facts |= {
        "rows": alone + len(encoded["train"]),
        "validation_rows": len(encoded.get("validation", ())),
        "notes": trainer.notes,
        **kept(trainer, kind.metric),
        "seconds": round(before + outcome.metrics["train_runtime"], 1),
        "denoised": dropped and dropped.counts(),
        "weights": weights and {**made_by, **weights.counts()},
        "log_history": trainer.state.log_history,
        "rounds_log_history": rounds and rounds.log_history,
    }
    finish = kind.finish
    return save(trainer, folder, facts, weights, finish and (lambda saved: finish(saved, config)))


def _rows(data: DatasetDict, request: Request, dropped: Weights | None) -> dict[str, Dataset]:
    """Return the splits to train and validate on: generated rows without those that go, then real ones."""
    train = weigh(data["train"], 1.0 if dropped is None else dropped.of(data["train"]["index"][:]))
    if request.real and not request.config.real_first:
        train = mix_in(train, request.real, request.task, _last_index(data))
    return {**data, "train": train}


def _last_index(data: DatasetDict) -> int:
    """Return the largest `index` of a data set, -1 where it has none."""
    found = [max(part["index"][:]) for part in data.values() if "index" in part.column_names and len(part)]
    return max(found, default=-1)


def _encoded(rows: Dataset, request: Request, tokenizer: Any) -> Dataset:
    return learner(request.task).encode(rows, tokenizer, request.task, request.config.max_length)


def _of_generated(weights: Weights, data: DatasetDict) -> Weights:
    """Return the weights without those of real rows, which are not the data set's."""
    return weights.among(np.isin(weights.index, data["train"]["index"][:]))
