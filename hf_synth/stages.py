"""What comes before a student's own training, rows judged and weights learnt, and after it: the model saved whole."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from transformers import Trainer, TrainingArguments

from .arguments import preparing, training_arguments
from .curves import draw
from .denoise import denoise
from .embedded import head_trainer, through_encoder
from .fit import make_trainer
from .folder import replace_folder, restore_folder
from .journal import write_json, write_whole
from .learners import learner
from .request import Request
from .row_weights import Weights
from .trainers.bilevel import BilevelTrainer

if TYPE_CHECKING:
    from datasets import Dataset

WEIGHTS = "weights.parquet"
FIRST_BATCH = 8  # real rows a step, of few shots


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a stage found out, the seconds it took and, of training, its logs."""

    weights: Weights
    seconds: float
    log_history: list[dict[str, Any]] = field(default_factory=list)


def trained_before(folder: Path, key: str, private: Sequence[str]) -> dict[str, Any] | None:
    """Return the facts of the model that a training of this key left, if one did.

    Args:
        folder: The model's.
        key: Of the training.
        private: What real text it must stay for, in words; recorded beside what is recorded there already.
    """
    restore_folder(folder)
    done = folder / "training.json"
    if not done.exists() or (facts := json.loads(done.read_bytes()))["key"] != key:
        return None
    whole = {**facts, **mark(private, facts)}
    if whole != facts:
        write_json(done, whole)
    return whole


def mark(private: Sequence[str], before: Mapping[str, Any] = MappingProxyType({})) -> dict[str, list[str]]:
    """Return the entry of a model's record that holds it back, with what the record held; none where nothing does."""
    found = [*dict.fromkeys([*before.get("private", ()), *private])]
    return {"private": found} if found else {}


def open_scratch(args: TrainingArguments, key: str) -> None:
    """Make the folder of an unfinished training; what belongs to another training is removed."""
    scratch = Path(str(args.output_dir))
    record = scratch / "training.key"
    with args.main_process_first():
        if not (record.exists() and record.read_text() == key):
            shutil.rmtree(scratch, ignore_errors=True)
            write_whole(record, key)


def last_checkpoint(folder: Path) -> str | None:
    """Return the last checkpoint that was written to its end; Trainer writes its state last."""
    whole = []
    for state in folder.glob("checkpoint-*/trainer_state.json"):
        try:
            json.loads(state.read_text())
            whole.append(state.parent)
        except ValueError:  # cut short by a kill
            continue
    return str(max(whole, key=lambda path: int(path.name.split("-")[1]))) if whole else None


def train_first(request: Request, model: Any, tokenizer: Any, rows: Dataset, args: TrainingArguments) -> float:
    """Train a model on real rows alone, in place, and return the seconds.

    They are few, and nothing is kept of the way: a training that goes on does it anew.
    """
    config = request.config
    first = dataclasses.replace(config, num_train_epochs=config.real_first, train_batch_size=FIRST_BATCH)
    quiet = preparing(first, max_steps=-1, save_strategy="no", logging_strategy="no", report_to="none")
    given = training_arguments(quiet, Path(str(args.output_dir), "first"), request.seed, False)
    kind = learner(request.task)
    encoded = {"train": kind.encode(rows, tokenizer, request.task, config.max_length)}
    trainer = make_trainer(kind, None, model, tokenizer, given, encoded, loss=config.loss)
    return float(trainer.train().metrics["train_runtime"])


def judge_rows(train: Dataset, request: Request, args: TrainingArguments) -> Outcome:
    """Return the weights that denoising gives generated rows."""
    config, judging = request.config, request.judging

    def compute() -> Outcome:
        started = perf_counter()
        assert config.denoise != "none"
        assert judging is not None
        weights = denoise(train, request.task, config, config.denoise, judging, request.seed)
        return Outcome(weights, perf_counter() - started)

    return _once(args, "denoised", compute)


def learn_weights(request: Request, model: Any, tokenizer: Any, train: Dataset, args: TrainingArguments) -> Outcome:
    """Return the weights that rounds of training give tokenised rows."""

    def compute() -> Outcome:
        started = perf_counter()
        if through_encoder(request, model):
            head = head_trainer(request, model, tokenizer, train, args)
            head.train()
            return Outcome(learnt(head, train, "a frozen encoder's"), perf_counter() - started, head.state.log_history)
        scratch = Path(str(args.output_dir), "rounds")
        rounds = training_arguments(preparing(request.config), scratch, request.seed, False)
        kind, loss = learner(request.task), request.config.loss
        trainer = make_trainer(kind, request.made, model, tokenizer, rounds, {"train": train}, loss=loss)
        assert isinstance(trainer, BilevelTrainer)
        outcome = trainer.train(resume_from_checkpoint=last_checkpoint(scratch))
        return Outcome(learnt(trainer, train), outcome.metrics["train_runtime"], trainer.state.log_history)

    return _once(args, "rounds", compute)


def learnt(trainer: BilevelTrainer, train: Dataset, whose: str = "the student's") -> Weights:
    """Return the weights that a trainer has learnt, and in words what judged."""
    loss, judges = trainer.config.outer_loss, "real" if trainer.config.outer == "real" else "outer"
    reason = f"more weight on the row would make {whose} loss ({loss}) on the {judges} rows larger"
    weight, score = (np.asarray(values.double()) for values in (trainer.weights, trainer.scores))
    return Weights(np.asarray(train["index"][:]), weight, score, reason)


def _once(args: TrainingArguments, name: str, compute: Callable[[], Outcome]) -> Outcome:
    """Return what was found before, or compute it on all ranks together and keep it."""
    path = Path(str(args.output_dir), f"{name}.parquet")
    if path.exists():
        weights, facts = Weights.load(path)
        return Outcome(weights, **facts)
    stage = compute()
    if args.process_index == 0:
        stage.weights.save(path, {"seconds": stage.seconds, "log_history": stage.log_history})
        shutil.rmtree(path.with_suffix(""), ignore_errors=True)
    return stage


def save(
    trainer: Trainer,
    folder: Path,
    facts: dict[str, Any],
    weights: Weights | None = None,
    finish: Callable[[Path], None] | None = None,
) -> dict[str, Any]:
    """Put the model in place whole and return the facts; a card that stood there stays, for a person's words in it.

    Args:
        trainer: Has trained it.
        folder: Where it goes.
        facts: For `training.json`.
        weights: Of the rows.
        finish: Changes the saved model before it is in place.
    """
    fresh, first = folder.with_name(f".{folder.name}-fresh"), trainer.is_world_process_zero()
    facts = json.loads(json.dumps({**facts, "pictures": []}))
    if first:
        shutil.rmtree(fresh, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    trainer.save_model(str(fresh), _internal_call=True)  # by all ranks: parameters may be spread over them
    if first:
        (fresh / "training_args.bin").unlink(missing_ok=True)  # a pickle that names folders of this machine
        if finish:
            finish(fresh)
        if (folder / "README.md").exists():
            shutil.copyfile(folder / "README.md", fresh / "README.md")
        if weights is not None:
            weights.save(fresh / WEIGHTS, {})
        facts["pictures"] = draw(facts["log_history"], None if weights is None else weights.weight.tolist(), fresh)
        write_json(fresh / "training.json", facts)
        replace_folder(fresh, folder)
        scratch = Path(str(trainer.args.output_dir))
        if (scratch / "runs").exists():  # TensorBoard's; beside the model, as its names tell the machine's
            shutil.copytree(scratch / "runs", folder.parent / "runs", dirs_exist_ok=True)
        shutil.rmtree(scratch, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    return facts


def kept(trainer: Trainer, metric: str) -> dict[str, Any]:
    """Return which model was kept, by which score it was chosen, if by any, and its `metric` on the validation split.

    Args:
        trainer: Has trained it.
        metric: What its kind is judged by; `training_args` may have chosen by another.
    """
    args, state = trainer.args, trainer.state
    best = args.load_best_model_at_end and state.best_model_checkpoint is not None  # else none was evaluated in time
    step = state.best_global_step if best else state.global_step
    scores = [log[f"eval_{metric}"] for log in state.log_history if log["step"] == step and f"eval_{metric}" in log]
    return {
        "metric": metric,
        "kept": "best" if best else "last",
        "chosen_by": str(args.metric_for_best_model).removeprefix("eval_") if best else None,
        "validation_score": scores[0] if scores else None,
    }
