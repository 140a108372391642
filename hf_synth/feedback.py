"""Feedback: what a small classifier says of the rows so far, so that the next prompts can show those that help it."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from .config import strict
from .errors import InputError
from .journal import digest
from .prompts import shown_in
from .real import SPLIT, rows_source
from .records import Example, Prompt
from .rounds import GAIN
from .run import Run
from .settings import StudentConfig
from .task import Corpus, Task

if TYPE_CHECKING:
    from datasets import Dataset

    from .row_weights import Floats
    from .trainers.weighted import WeightedTrainer

WEIGHT_ROUNDS = 6
EMPTY = Prompt("")


@strict
class FeedbackConfig:
    """How rows are judged, and which of them may be shown to the generator.

    Attributes:
        feedback: Which rows may be shown: those of most helpful `influence`, those that bilevel `weights` trust most,
            `random` ones, or `none`.
        pool_size: Rows of a label that may be shown, the better half of them at most (if `random`, all but the
            validation rows, whatever the number).
        quality_model: The classifier that is trained on the rows after each round, as `student` names one.
        quality_epochs: Its epochs.
        quality_lr: Its learning rate.
        quality_data: Whose rows judge: `synthetic` ones, taken once after the first round, or real ones (`oracle`).
        oracle_rows: Of `oracle`: a file, or the split `train` of a folder or Hub id; no longer zero-shot.
        validation_size: Rows that judge; of a first round, half at most.
        validation_loss: What they judge by: the noise-robust `rce`, or `ce`, which takes their mistakes at face value.
        min_size_for_influence: Rows before any may be shown.
        candidates: Rows whose influence is computed after a round, drawn at random.
        inverse: What stands for the inverse Hessian of influence: `identity`, or an estimate by `lissa`.
        lissa_damp: Share of the estimate that is forgotten at each step.
        lissa_scale: What the Hessian is divided by.
        lissa_depth: Steps.
        lissa_batch: Rows of a step.
    """

    read_by: ClassVar = {
        "validation_loss": ("feedback", ("influence", "weights")),
        "pool_size": ("feedback", ("influence", "weights")),
        "candidates": ("feedback", ("influence",)),
        "inverse": ("feedback", ("influence",)),
        **{f"lissa_{name}": ("inverse", ("lissa",)) for name in ("damp", "scale", "depth", "batch")},
    }

    feedback: Literal["influence", "weights", "random", "none"] = "influence"
    pool_size: int = Field(50, ge=1)
    quality_model: str = "sentence-transformers/all-MiniLM-L6-v2"
    quality_epochs: float = Field(5.0, gt=0)
    quality_lr: float = Field(1e-4, gt=0)
    quality_data: Literal["synthetic", "oracle"] = "synthetic"
    oracle_rows: str | None = None
    validation_size: int = Field(250, ge=2)
    validation_loss: Literal["rce", "ce"] = "rce"
    min_size_for_influence: int = Field(0, ge=0)
    candidates: int = Field(10_000, ge=1)
    inverse: Literal["identity", "lissa"] = "identity"
    lissa_damp: float = Field(5e-3, ge=0, lt=1)
    lissa_scale: float = Field(1e4, gt=0)
    lissa_depth: int = Field(1000, ge=1)
    lissa_batch: int = Field(10, ge=1)


def check_feedback(config: FeedbackConfig) -> None:
    """Refuse real rows that are missing or not asked for.

    Raises:
        InputError: If they are.
    """
    if (config.quality_data == "oracle") != (config.oracle_rows is not None):
        raise InputError(
            "`quality_data: oracle` and `oracle_rows`, a file, folder or Hub id, go together; got "
            f"{config.quality_data} and {config.oracle_rows!r}"
        )


def feedback_sources(task: Task, config: FeedbackConfig) -> list[Corpus]:
    """Return the real rows that judge, if they are real."""
    return rows_source(task, config.oracle_rows)


class Feedback:
    """Judges the rows after each round, by a classifier trained anew on all but the validation rows.

    Everything that floats decide goes through `Run.once`.

    Args:
        run: Has the task, the seed and the journal.
        config: See `FeedbackConfig`.

    Attributes:
        table: What is known of each round, in words and figures for the card.
    """

    def __init__(self, run: Run, config: FeedbackConfig):
        self.run, self.config = run, config
        self.student = StudentConfig(
            student=config.quality_model,
            num_train_epochs=config.quality_epochs,
            learning_rate=config.quality_lr,
            train_batch_size=32,
        )
        self.model = run.once("quality-model", config.quality_model, self._model)
        self.validation = self._oracle() if config.oracle_rows else []
        self.held: frozenset[int] = frozenset()
        self.table: list[dict[str, Any]] = []

    def judge(self, rows: Sequence[Example], more: bool) -> dict[Any, list[int]]:
        """Judge a round; return the places of the rows that the next one may show, best first, by label.

        Args:
            rows: The rows of this round and those before.
            more: Whether there will be another round.
        """
        config, before = self.config, self.table[-1] if self.table else {"rows": 0}
        if not self.validation:
            taken = self.run.rng("validation").sample(range(len(rows)), min(config.validation_size, len(rows) // 2))
            self.held, self.validation = frozenset(taken), [rows[at] for at in sorted(taken)]
        places = [at for at in range(len(rows)) if at not in self.held]
        chosen = config.feedback if more and len(rows) >= config.min_size_for_influence else "none"
        fresh = rows[before["rows"] :]
        share = sum(bool(shown_in(example.prompt)) for example in fresh) / max(len(fresh), 1)
        told: dict[str, Any] = {"rows": len(rows), "written after examples": round(share, 4)}
        helpful: dict[Any, list[int]] = {}
        if self.validation:
            found = self._found([rows[at] for at in places], chosen)
            told["accuracy on the validation rows"] = accuracy = found["accuracy"]
            helpful = {label: [places[at] for at in own] for label, own in found["helpful"].items()}
            if (last := before.get("accuracy on the validation rows")) is not None and fresh:
                told[GAIN] = round((accuracy - last) * 1000 / len(fresh), 4)
        self.table.append({**told, "rows to show next": sum(map(len, helpful.values()))})
        return helpful

    def _found(self, rows: Sequence[Example], chosen: str) -> dict[str, Any]:
        """Return the classifier's accuracy, and by label the places of the rows to show."""
        written = [[[*example.fields.values(), example.cell] for example in part] for part in (rows, self.validation)]
        inputs = [self.run.seed, self.model, chosen, dataclasses.asdict(self.config), digest(written)]
        return self.run.once("feedback", inputs, lambda: self._compute(rows, chosen))

    def _compute(self, rows: Sequence[Example], chosen: str) -> dict[str, Any]:
        from .classifier import fit, log_probabilities, rows_of

        task, labels = self.run.task, [example.cell for example in rows]
        train, validation = rows_of(task, rows), rows_of(task, self.validation)
        trainer = fit(task, train, self.student, self.run.seed)
        predicted = log_probabilities(trainer, task, validation, self.student).argmax(1)
        accuracy = float((predicted == validation[task.label_column][:]).mean())
        places = list(range(len(rows)))
        self.run.rng(f"candidates:{len(rows)}").shuffle(places)
        if chosen == "influence":
            places = sorted(places[: self.config.candidates])
            scores = self._influence(trainer, train, validation, places)
            best = [places[at] for at in scores.argsort(kind="stable")]
        elif chosen == "weights":
            best = self._trust(train, validation).argsort(kind="stable")[::-1].tolist()
        else:
            best = places if chosen == "random" else []
        pools = {label: [at for at in best if labels[at] == label] for label in task.cells}
        if chosen != "random":  # the worse half of a label is not shown, however few there are
            pools = {label: own[: min(self.config.pool_size, -(-len(own) // 2))] for label, own in pools.items()}
        return {"accuracy": round(accuracy, 4), "helpful": pools}

    def _influence(self, trainer: WeightedTrainer, train: Dataset, validation: Dataset, places: list[int]) -> Floats:
        """Return the influence of the rows at some places, [N]."""
        import numpy as np

        from .influence import influence
        from .losses import example_loss

        config, size = self.config, trainer.args.per_device_eval_batch_size
        rows, judges = self._encoded(trainer.processing_class, train, validation)
        steps = config.lissa_depth * config.lissa_batch if config.inverse == "lissa" else 0
        draw = np.random.default_rng(self.run.seed)
        turns = [draw.permutation(len(rows)) for _ in range(-(-steps // len(rows)))]
        order = np.concatenate([*turns, np.empty(0, int)])[:steps].tolist()

        def batches(data: Any, chosen: list[int], size: int) -> Any:
            return (trainer.split(batch)[1:] for batch in trainer.batches_of(data, chosen, size))

        found = influence(
            trainer.model,
            batches(rows, places, size),
            batches(judges, list(range(len(judges))), size),
            batches(rows, order, config.lissa_batch) if steps else (),
            loss=example_loss(config.validation_loss, scale=1.0),
            damp=config.lissa_damp,
            scale=config.lissa_scale,
        )
        return found.double().numpy()

    def _trust(self, train: Dataset, validation: Dataset) -> Floats:
        """Return how far bilevel weights, learnt against the validation rows, trust each row, [N]."""
        from transformers import DataCollatorWithPadding, PrinterCallback, set_seed

        from .arguments import preparing, training_arguments
        from .student import load_student
        from .trainers.bilevel import BilevelConfig, BilevelTrainer

        task, seed = self.run.task, self.run.seed
        texts = [text for column in task.columns for text in train[column]]
        set_seed(seed)
        model, tokenizer, _ = load_student(self.student, list(task.labels), texts, len(task.columns) == 2)
        rows, outer = self._encoded(tokenizer, train, validation)
        quiet = preparing(self.student, save_strategy="no", logging_strategy="no", disable_tqdm=True)
        with tempfile.TemporaryDirectory(prefix="hf_synth-") as scratch:
            trainer = BilevelTrainer(
                model,
                training_arguments(quiet, Path(scratch), seed, False),
                DataCollatorWithPadding(tokenizer),
                rows,
                processing_class=tokenizer,
                outer_dataset=outer,
                config=BilevelConfig(rounds=WEIGHT_ROUNDS, outer_loss=self.config.validation_loss, seed=seed),
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        return trainer.scores.numpy()

    def _encoded(self, tokenizer: Any, *data: Dataset) -> list[Dataset]:
        from .student import encode

        task, length = self.run.task, self.student.max_length
        return [encode(rows, tokenizer, task.columns, task.label_column, length) for rows in data]

    def _model(self) -> dict[str, Any]:
        """Find the classifier before anything is written for it; return what tells it from another."""
        from .models import student_facts
        from .student import check_student

        check_student(self.student)
        return student_facts(self.config.quality_model)

    def _oracle(self) -> list[Example]:
        """Return the real rows that judge, as they are now: their path would not tell others of that name."""
        from .reference import load_labelled

        task, size = self.run.task, self.config.validation_size
        data = load_labelled(task, str(self.config.oracle_rows), SPLIT, "oracle_rows").data
        chosen = data.select(sorted(self.run.rng("validation").sample(range(len(data)), min(size, len(data)))))
        found = zip(*(chosen[name][:] for name in (*task.columns, task.label_column)), strict=True)
        return [Example(dict(zip(task.columns, texts, strict=True)), label, label, EMPTY) for *texts, label in found]
