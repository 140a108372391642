"""Annealing: from all parameters to few, or from synthetic rows to real ones."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from transformers import TrainerCallback, TrainingArguments

from hf_synth.config import strict
from hf_synth.errors import InputError
from hf_synth.trainers.freezing import chosen_parameters, parameter_sets
from hf_synth.trainers.mixing import Order, classes, draw, epoch, in_turn, is_synthetic, masses, mix, passes, rows_of
from hf_synth.trainers.phases import Phase, PhasedTrainer
from hf_synth.trainers.rows import check_same_config
from hf_synth.trainers.weighted import WeightedTrainer, counted


@strict
class Round:
    """One visit of a set of rows with one set of parameters.

    Attributes:
        trainable: `everything`; `upper`, which is the upper third of the encoder's numbered layers, the pooler and
            the head; `head`; or regular expressions that are searched for in parameter names.
        rows: Which rows are visited.
        epochs: How often; `num_train_epochs` of the training arguments where left out.
        learning_rate: Peak of its schedule; that of the training arguments where left out.
        balanced: Visit each class equally often: the largest once an epoch, the others anew until they have caught up.
    """

    trainable: Literal["everything", "upper", "head"] | Annotated[tuple[str, ...], Field(min_length=1)] = "everything"
    rows: Literal["synthetic", "real", "all"] = "all"
    epochs: float | None = Field(None, gt=0)
    learning_rate: float | None = Field(None, gt=0)
    balanced: bool = False

    def __post_init__(self) -> None:
        for pattern in () if isinstance(self.trainable, str) else self.trainable:
            try:
                re.compile(pattern)
            except re.error as error:
                raise InputError(f"`trainable`: {pattern!r} is no regular expression: {error}") from None


@strict
class AnnealingConfig:
    """What is annealed, and how.

    Attributes:
        kind: `rounds` shrinks the set of trainable parameters, `share` moves the share of synthetic rows in each
            batch, `weight` moves how much a synthetic row counts beside a real one.
        rounds: Of `rounds`; the published ones where left out.
        curve: Of `share` and `weight`: how the value gets from `start` to `end`.
        start: Its first value.
        end: Its last value.
        steps: Of the `step` curve: how many stairs of equal length, the first at `start`, the last at `end`.
        order: `real_to_synthetic` runs the curve backwards in time.
    """

    read_by: ClassVar = {
        "rounds": ("kind", ("rounds",)),
        **{name: ("kind", ("share", "weight")) for name in ("curve", "start", "end", "order")},
        "steps": ("curve", ("step",)),
    }

    kind: Literal["rounds", "share", "weight"] = "rounds"
    rounds: tuple[Round, ...] = ()
    curve: Literal["linear", "cosine", "step", "exponential"] = "linear"
    start: float = Field(1.0, ge=0)
    end: float = Field(0.0, ge=0)
    steps: int = Field(4, ge=2)
    order: Literal["synthetic_to_real", "real_to_synthetic"] = "synthetic_to_real"

    def __post_init__(self) -> None:
        if self.kind == "share" and max(self.start, self.end) > 1:
            raise InputError(f"`start` and `end` of a share must lie between 0 and 1; got {self.start}, {self.end}")

    def value(self, step: int, steps: int) -> float:
        """Return the curve's value at one of `steps` optimizer steps, the first being 0.

        The part of the way gone at time t, from 0 to 1, is t (linear), (1 - cos(pi t)) / 2 (cosine),
        (1 - e^-5t) / (1 - e^-5) (exponential).
        """
        at = (step if self.order == "synthetic_to_real" else steps - 1 - step) / max(steps - 1, 1)
        gone = {
            "linear": at,
            "cosine": (1 - math.cos(math.pi * at)) / 2,
            "step": min(int(at * self.steps), self.steps - 1) / (self.steps - 1),
            "exponential": math.expm1(-5 * at) / math.expm1(-5),
        }
        return self.start + (self.end - self.start) * gone[self.curve]


class _Visit(NamedTuple):
    """A round as it is trained: the names of the parameters that move, and the groups rows are drawn from in turn."""

    round: Round
    trainable: frozenset[str]
    groups: list[np.ndarray]


class AnnealingTrainer(PhasedTrainer):
    """Trainer on synthetic and real rows that goes gradually from much freedom to little, or from one to the other.

    - `rounds`: the gradual annealing of CAMEL (https://huggingface.co/papers/2306.08966) as its code does it, carried
      from text and images to synthetic and real text: the set of trainable parameters shrinks from round to round, and
      within a round the two sets of rows are visited in turn. By default everything on synthetic, then on real rows;
      the upper part (see `Round`) on synthetic, then on real rows; the head on class-balanced real rows (unbalanced
      where a row has not just one class). Each visit has a new optimizer and a schedule of its own. Unlike in CAMEL
      the best epoch of a visit is not loaded before the next one: the best visit is, at the end, with
      `load_best_model_at_end`, which wants real rows to evaluate on: synthetic ones prefer a visit before the real.
    - `share`: the share of synthetic rows in each global batch follows a curve. An extension of hf_synth, not CAMEL.
    - `weight`: rows are drawn as usual, real ones count 1 and synthetic ones by a curve, both divided by their mean
      over the data set at that time, so that the loss keeps its scale. An extension of hf_synth, not CAMEL. Where the
      curve ends at 0 and real rows are few, these come to weigh much.

    A column `weight` multiplies all of it. The order of rows is planned before the first step, from the seed and the
    global batch alone, as one epoch of the Trainer in which all batches are full; `num_train_epochs` (or, of the last
    two kinds, `max_steps`) still says how long it is. What the training arguments want done each `epoch`, such as
    evaluating, is done at the end of each visit, or of as many steps as pass over all rows; `eval_delay` counts these.

    Args:
        config: See `AnnealingConfig`.

    Raises:
        InputError: For rows not marked `synthetic`, or all of one kind; parameter sets that are empty or not nested;
            training arguments that want another order; `rounds` under FSDP or DeepSpeed.
    """

    def __init__(
        self,
        model: Any = None,
        args: TrainingArguments | None = None,
        data_collator: Any = None,
        train_dataset: Any = None,
        *rest: Any,
        config: AnnealingConfig | None = None,
        **kwargs: Any,
    ) -> None:
        self.config, args = config or AnnealingConfig(), args or TrainingArguments()
        self.max_steps, self.epochs = args.max_steps, args.num_train_epochs
        self.synthetic = is_synthetic(train_dataset)
        super().__init__(model, self._one_epoch(args), data_collator, train_dataset, *rest, **kwargs)
        self.everything = parameter_sets(self.model)["everything"]
        self.visits = self._visits() if self.config.kind == "rounds" else []
        self.masses = masses(self.train_dataset, self.synthetic)
        self.add_callback(_Ends(self))

    def phases(self, steps: int) -> list[Phase]:
        """Return a phase for each visit, or one for all steps."""
        visits = [
            Phase(f"visit {at} of {visit.round.rows} rows", self._visit_steps(visit), visit.round.learning_rate)
            for at, visit in enumerate(self.visits, start=1)
        ]
        return visits or [Phase("all", steps)]

    def enter(self, at: int) -> None:
        """Let the parameters of a visit move, and no other."""
        if self.visits:
            self._let_move(self.visits[at].trainable)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train as Trainer does; in the end the parameters that were trainable are so again."""
        try:
            return super().train(*args, **kwargs)
        finally:
            if self.visits:
                self._let_move(self.everything)

    def example_weights(self, columns: Mapping[str, Tensor]) -> Tensor | None:
        """Return what rows count now, [N], of mean 1 over the data set."""
        given = super().example_weights(columns)
        if self.config.kind != "weight":
            return given
        value = self.config.value(self.state.global_step, self.state.max_steps)
        mean = value * self.masses[0] + self.masses[1]
        weights = torch.where(columns["synthetic"].bool(), value / mean, 1 / mean)
        return weights if given is None else weights * given

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """Collect the batches of one optimizer step; the plan fills the last one too, so no row in it is a repeat."""
        batches, _ = super(WeightedTrainer, self).get_batch_samples(epoch_iterator, num_batches, device)
        count = sum((counted(batch["labels"]).sum() for batch in batches), torch.tensor(0, device=device))
        return batches, self.accelerator.reduce(count).clamp(min=1)

    def ends(self) -> list[int]:
        """Return the steps at which a visit, or a pass over all rows, is over."""
        steps = np.cumsum([phase.steps for phase in self._phases]).tolist()
        return steps if self.visits else passes(len(self.synthetic), self.global_batch, steps[-1])

    def side_state(self) -> dict[str, Any]:
        """Return the settings, and what the plan of rows makes of them."""
        return {"config": dataclasses.asdict(self.config), "ends": self.ends(), "plan": self._fingerprint()}

    def load_side_state(self, state: dict[str, Any]) -> None:
        """Go on in the plan of a checkpoint.

        Raises:
            InputError: If it is not the one that these settings, rows, epochs and batches make.
        """
        check_same_config(self.config, state["config"])
        if state["ends"] != (ends := self.ends()):
            raise InputError(
                f"`resume_from_checkpoint` has visits or passes that end at the steps {state['ends']}; got {ends}, so "
                "rows, epochs or batches are others"
            )
        if state["plan"] != self._fingerprint():
            raise InputError("`resume_from_checkpoint` visits other rows in turn: the seed, or the rows, are others")

    def _fingerprint(self) -> str:
        """Return what tells the order of rows, and which of them are synthetic, from another."""
        return hashlib.sha256(self._get_train_sampler().rows.tobytes() + self.synthetic.tobytes()).hexdigest()

    def _get_train_sampler(self, train_dataset: Any = None) -> Order:
        batch, seed = self.global_batch, self.args.seed if self.args.data_seed is None else self.args.data_seed
        if self.visits:
            return Order(in_turn([(visit.groups, self._visit_steps(visit) * batch) for visit in self.visits], seed))
        rows = np.arange(len(self.synthetic))
        steps = self.max_steps if self.max_steps > 0 else math.ceil(self.epochs * len(rows) / batch)
        random = np.random.default_rng(seed)
        if self.config.kind == "weight":
            return Order(draw([rows], steps * batch, random))
        shares = [self.config.value(step, steps) for step in range(steps)]
        return Order(mix(shares, batch, rows[self.synthetic], rows[~self.synthetic], random))

    def _visit_steps(self, visit: _Visit) -> int:
        return math.ceil((visit.round.epochs or self.epochs) * epoch(visit.groups) / self.global_batch)

    def _visits(self) -> list[_Visit]:
        labels, sets = classes(self.train_dataset), parameter_sets(self.model)
        rounds = self.config.rounds or (
            *(Round(part, rows) for part in ("everything", "upper") for rows in ("synthetic", "real")),
            Round("head", "real", balanced=labels is not None),
        )
        visits: list[_Visit] = []
        for at, chosen in enumerate(rounds, start=1):
            names = chosen_parameters(chosen.trainable, sets, f"round {at}")
            if visits and (new := names - visits[-1].trainable):
                raise InputError(f"round {at} trains {min(new)!r}, which round {at - 1} does not; sets must be nested")
            if chosen.balanced and labels is None:
                raise InputError(f"round {at}: `balanced` needs rows of one class each; these have several labels")
            groups = rows_of(self.synthetic, chosen.rows, labels if chosen.balanced else None)
            visits.append(_Visit(chosen, names, groups))
        return visits

    def _let_move(self, names: frozenset[str]) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in names)

    def _one_epoch(self, args: TrainingArguments) -> TrainingArguments:
        if args.train_sampling_strategy != "random":
            raise InputError(f"`train_sampling_strategy` must be 'random'; got {args.train_sampling_strategy!r}")
        if args.ignore_data_skip:
            raise InputError("`ignore_data_skip` must be false: a resumed run goes on where its plan of rows stood")
        args = copy.copy(args)
        if self.config.kind == "rounds":
            if args.max_steps > 0:
                raise InputError(f"`max_steps`: set the `epochs` of each round instead; got {args.max_steps}")
            args.ddp_find_unused_parameters = True
        args.num_train_epochs, args.max_steps = 1, -1
        return args

    def _refuse_sharding(self, reason: str) -> None:
        """Refuse it for `rounds` only: the others have one phase, and all parameters move."""
        if self.config.kind == "rounds":
            super()._refuse_sharding(reason)


class _Ends(TrainerCallback):
    """Does at the end of a visit or pass what Trainer does at the end of an epoch."""

    def __init__(self, trainer: AnnealingTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.ends = self.trainer.ends()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in self.ends:
            done = self.ends.index(state.global_step) + 1
            control.should_log |= args.logging_strategy == "epoch"
            control.should_evaluate |= args.eval_strategy == "epoch" and args.eval_delay <= done
            control.should_save |= args.save_strategy == "epoch"

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in self.ends:  # done a moment ago
            control.should_log &= args.logging_strategy != "epoch"
            control.should_evaluate &= args.eval_strategy != "epoch"
            control.should_save &= args.save_strategy != "epoch"
