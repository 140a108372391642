"""Which trainer fits a student: its settings out of the flat ones, and the trainer that they make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import EarlyStoppingCallback, TrainingArguments

from .config import checked
from .errors import InputError, unknown
from .learners import Learner
from .settings import StudentConfig
from .trainers.annealing import AnnealingConfig, AnnealingTrainer, Round
from .trainers.bilevel import BilevelConfig, BilevelTrainer
from .trainers.ensemble import PRESETS, EnsembleConfig, EnsembleTrainer
from .trainers.weighted import WeightedTrainer

TrainerConfig = EnsembleConfig | BilevelConfig | AnnealingConfig | None
TRAINERS: dict[Any, type[WeightedTrainer]] = {
    type(None): WeightedTrainer,
    EnsembleConfig: EnsembleTrainer,
    BilevelConfig: BilevelTrainer,
    AnnealingConfig: AnnealingTrainer,
}
WHERE = "`trainer_args`"


def trainer_config(config: StudentConfig, seed: int) -> TrainerConfig:
    """Return the checked settings of the student's trainer; the weighted one has none.

    Args:
        config: The student's settings.
        seed: Of the run; what draws outer rows where `trainer_args` name no other.

    Raises:
        InputError: For settings that the trainer does not have, or that do not go together.
    """
    made = _trainer_config(config, seed)
    _refuse_epochs(config, made)
    if config.loss != "ce" and config.label_smoothing:
        raise InputError(f"`label_smoothing: {config.label_smoothing}` belongs to `loss: ce`; got {config.loss}")
    if config.select != "weights" and not learns_in_rounds(made):
        mode = f"{config.trainer}, mode {made.mode}" if isinstance(made, BilevelConfig) else config.trainer
        raise InputError(f"`select: {config.select}` needs `trainer: bilevel` in the mode sungen; got {mode}")
    if config.trainer == "annealing" and config.real_rows is None:
        raise InputError(
            "`trainer: annealing` goes between synthetic and real rows: give `real_rows`, a file, folder or Hub id"
        )
    if config.trainer == "annealing" and config.early_stopping_patience:
        raise InputError(
            f"`early_stopping_patience: {config.early_stopping_patience}` stops by the synthetic validation split, "
            "before `trainer: annealing` has come to its end; leave it out"
        )
    if config.real_first and config.real_rows is None:
        raise InputError(f"`real_first: {config.real_first}` needs `real_rows`, a file, folder or Hub id")
    if config.real_first and config.trainer == "annealing":
        raise InputError(
            "`real_first` trains on real rows before the generated ones; `trainer: annealing` does so itself"
        )
    if isinstance(made, BilevelConfig) and made.outer == "real" and (config.real_rows is None or config.real_first):
        raise InputError("`trainer_args.outer: real` needs `real_rows` among the generated ones, without `real_first`")
    if config.real_per_class is not None and config.real_rows is None:
        raise InputError(f"`real_per_class: {config.real_per_class}` needs `real_rows`, a file, folder or Hub id")
    return made


def _trainer_config(config: StudentConfig, seed: int) -> TrainerConfig:
    given = dict(config.trainer_args)
    if config.trainer == "ensemble":
        if (preset := given.pop("preset", "agreement")) not in [*PRESETS]:
            raise unknown("`trainer_args.preset`", preset, PRESETS)
        return checked(EnsembleConfig, {**PRESETS[preset], **given}, WHERE)
    if config.trainer == "bilevel":
        return checked(BilevelConfig, {"seed": seed, **given}, WHERE)
    if config.trainer == "annealing":
        return checked(AnnealingConfig, {**given, "rounds": _rounds(given.get("rounds", []))}, WHERE)
    if given:
        raise InputError(f"{WHERE}: the trainer weighted has no settings; got {', '.join(given)}")
    return None


def _refuse_epochs(config: StudentConfig, made: TrainerConfig) -> None:
    """Refuse a trainer's own epochs where `max_steps` says how long the training is, or in rounds could not say it.

    `num_train_epochs` it overrides, as in transformers.
    """
    steps = config.training_args.get("max_steps")
    if not isinstance(steps, int) or steps <= 0:
        return
    if isinstance(made, AnnealingConfig) and made.kind == "rounds":
        raise InputError(f"`training_args.max_steps: {steps}`: set the `epochs` of each round instead")
    if isinstance(made, BilevelConfig) and made.epochs is not None:
        raise InputError(
            f"`trainer_args.epochs: {made.epochs:g}` is not read, as `training_args.max_steps: {steps}` says how long"
        )


def _rounds(given: Any) -> tuple[Round, ...]:
    if not isinstance(given, list) or not all(isinstance(one, Mapping) for one in given):
        raise InputError(
            f"`trainer_args.rounds` must be a list of mappings, such as {{trainable: head}}; got {given!r}"
        )
    return tuple(checked(Round, one, f"`trainer_args.rounds`, round {at}") for at, one in enumerate(given, start=1))


def learns_in_rounds(made: TrainerConfig) -> bool:
    """Tell whether a trainer's models only serve to learn weights, with which a student is then trained."""
    return isinstance(made, BilevelConfig) and made.mode == "sungen"


def make_trainer(
    learner: Learner,
    made: TrainerConfig,
    model: Any,
    tokenizer: Any,
    args: TrainingArguments,
    encoded: Mapping[str, Any],
    patience: int = 0,
    loss: str = "ce",
) -> WeightedTrainer:
    """Return a trainer of the kind that the settings belong to.

    Args:
        learner: Of the task's kind.
        made: Settings of the trainer.
        model: The student.
        tokenizer: Its tokenizer.
        args: The Trainer's arguments.
        encoded: Tokenised rows: `train` and, where the arguments say to evaluate, `validation`.
        patience: Evaluations without a gain before training stops; 0 for never.
        loss: See `WeightedTrainer`.
    """
    evaluates = args.eval_strategy != "no"
    own: dict[str, Any] = {} if made is None else {"config": made}
    return TRAINERS[type(made)](
        model=model,
        args=args,
        train_dataset=encoded["train"],
        eval_dataset=encoded["validation"] if evaluates else None,
        data_collator=learner.collator(tokenizer),
        processing_class=tokenizer,
        compute_metrics=learner.compute_metrics,
        callbacks=[EarlyStoppingCallback(patience)] if patience and evaluates else [],
        loss=loss,
        **own,
    )
