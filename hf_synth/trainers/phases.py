"""A trainer whose run is cut into phases, each with a fresh optimizer and a learning rate schedule of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerCallback, get_scheduler

from hf_synth.errors import InputError
from hf_synth.trainers.weighted import WeightedTrainer


@dataclass(frozen=True)
class Phase:
    """A stretch of optimizer steps; `learning_rate` is its peak, that of the training arguments where `None`."""

    name: str
    steps: int
    learning_rate: float | None = None


class PhasedTrainer(WeightedTrainer):
    """Trainer of several phases in one run, so that order, checkpoints, logs and resuming are Trainer's own.

    At the end of a phase `leave` is called, the optimizer forgets its moments, and `enter` prepares the next; `enter`
    is also called for the phase in which a resumed run stands. The schedule named by the training arguments, warm-up
    included, is run anew in each phase. A checkpoint that falls on the last step of a phase is written after both.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refuse_sharding("its optimizer cannot start anew between phases")
        self.add_callback(_Turns(self))

    def phases(self, steps: int) -> Sequence[Phase]:
        """Return the phases of a run of `steps` optimizer steps; their steps add up to that."""
        return [Phase("all", steps)]

    def enter(self, at: int) -> None:
        """Prepare phase `at`; called at its beginning and when a run resumes inside it."""

    def leave(self, at: int) -> None:
        """Do what follows the last step of phase `at`."""

    @property
    def phase(self) -> int:
        """Return which phase the next optimizer step belongs to."""
        step = self.state.global_step
        ends = torch.tensor([phase.steps for phase in self._phases]).cumsum(0)
        return min(int((ends <= step).sum()), len(self._phases) - 1)

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """Make the schedule that starts anew in each phase.

        Raises:
            InputError: For a schedule that is no function of the step alone, or one that was given.
        """
        self._phases = list(self.phases(num_training_steps))
        if self.lr_scheduler is not None:
            if len(self._phases) > 1 and not self._created_lr_scheduler:
                raise InputError("`optimizers` must hold no schedule: it could not start anew in each phase")
            return self.lr_scheduler
        factors: list[float] = []
        for phase in self._phases:
            shape = get_scheduler(
                self.args.lr_scheduler_type,
                torch.optim.SGD([torch.zeros(1)], lr=self.args.learning_rate),
                num_warmup_steps=self.warmup_steps(phase.steps),
                num_training_steps=phase.steps,
                scheduler_specific_kwargs=cast(Any, self.args.lr_scheduler_kwargs),
            )
            if not isinstance(shape, LambdaLR):
                raise InputError(f"`lr_scheduler_type`: {self.args.lr_scheduler_type} cannot start anew in each phase")
            peak = 1.0 if phase.learning_rate is None else phase.learning_rate / self.args.learning_rate
            factors += [peak * shape.lr_lambdas[0](step) for step in range(phase.steps)]
        factors.append(0.0)  # asked for after the last step
        mine: Any = optimizer or self.optimizer
        self.lr_scheduler = LambdaLR(mine, lambda step: factors[min(step, len(factors) - 1)])
        self._created_lr_scheduler = True
        return self.lr_scheduler


class _Turns(TrainerCallback):
    """Tells a trainer when its phases begin and end."""

    def __init__(self, trainer: PhasedTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.enter(self.trainer.phase)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        trainer, done = self.trainer, 0
        optimizer: Any = trainer.optimizer
        schedule: Any = getattr(trainer.lr_scheduler, "scheduler", trainer.lr_scheduler)
        while schedule.last_epoch < state.global_step:  # Trainer holds it back where fp16's scaling overflowed
            schedule.step()
        for at, phase in enumerate(trainer._phases):
            done += phase.steps
            if done == state.global_step:
                trainer.leave(at)
                if at + 1 < len(trainer._phases):
                    optimizer.state.clear()
                    trainer.enter(at + 1)
