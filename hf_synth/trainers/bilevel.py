"""Learning how much each example counts, by what its gradient does to a noise-robust loss on other rows."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from hf_synth.directional import directional_derivatives, mean_gradient, still
from hf_synth.errors import InputError
from hf_synth.losses import IGNORED
from hf_synth.trainers.bilevel_settings import BilevelConfig
from hf_synth.trainers.lookahead import LookAhead
from hf_synth.trainers.outer import OuterRows
from hf_synth.trainers.phases import Phase, PhasedTrainer
from hf_synth.trainers.rows import Rows, check_same_config, classes_of
from hf_synth.trainers.weighted import counted
from hf_synth.trainers.weights import (
    ExampleWeights,
    Features,
    WeightNetwork,
    follow,
    lowest_of_classes,
    scale_gradient,
)


class BilevelTrainer(PhasedTrainer):
    """Trainer that learns how much each example counts (SunGen, https://huggingface.co/papers/2205.12679).

    The outer problem is to choose weights `w` so that a student trained on `sum_i w_i CE_i / S` has a small
    noise-robust loss on outer rows, which may be as noisy as the others. One step of plain gradient descent stands for
    the training, `theta' = theta - lr/S sum_i w_i grad CE_i(theta)` with `S` held constant, so

        dL/dw_i = - lr/S <grad L_robust(theta'), grad CE_i(theta)>

    and a row gains weight when its own gradient points where the outer rows' does. Each product is the derivative of
    the row's loss along one direction: no second-order graph is built, so any model works. A column `weight` of the
    data set multiplies the loss of a row, and its product too. In `sungen` mode `theta'` is where the round's training
    ended, and the student starts over. In `online` mode `theta'` is one step ahead
    (https://huggingface.co/papers/1803.09050). No dropout in either.

    After training, `weights` and `scores` tell how far rows can be trusted. `sungen` leaves the last round's model.

    Args:
        config: See `BilevelConfig`.
        outer_dataset: Rows to judge by, with the training set's columns, such as a few that a person has checked.

    Raises:
        InputError: For rows without `index`, one that stands twice, labels that are no class, or outer rows of one
            class; under FSDP or DeepSpeed; `online` under fp16; `epochs` beside `max_steps`.
    """

    def __init__(
        self, *args: Any, config: BilevelConfig | None = None, outer_dataset: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._refuse_sharding("each rank must hold all parameters")
        self.config = config = config or BilevelConfig()
        classes = classes_of(self.model)
        self.rows = Rows(self.train_dataset, classes)
        self.outer = OuterRows(self.train_dataset, outer_dataset, config, classes)
        self.features = Features(self.model, config.features, classes) if config.weigh == "network" else None
        self._start_over()
        if config.mode == "online":
            self.add_callback(LookAhead(self))
            return
        if config.epochs is not None and self.args.max_steps > 0:
            raise InputError(f"`epochs: {config.epochs}` is not read with `max_steps`, which rounds share; drop one")
        self.args = copy.copy(self.args)
        self.args.num_train_epochs = (config.epochs or self.args.num_train_epochs) * config.rounds

    def _start_over(self) -> None:
        """Let all rows count the same, as before the first step; a second `train` learns from there too."""
        self.rule: torch.nn.Module = ExampleWeights(len(self.rows))
        if self.features is not None:
            self.rule = WeightNetwork(self.features.width, self.config.hidden, self.config.seed)
        # The gradient is scaled: as it comes, each of many rows has so little of it that Adam's epsilon outweighs it.
        # Its epsilon is then a share of the root mean square. One that only keeps from dividing by 0 would make whole
        # steps, sign(g) at first, of the rounding of gradients near 0, which follows how a batch is cut up.
        makers: dict[str, Any] = {"scaled": torch.optim.SGD, "adam": partial(torch.optim.Adam, eps=0.01)}
        make = torch.optim.Adam if self.features is not None else makers[self.config.step]
        self.rule_optimizer: torch.optim.Optimizer = make(self.rule.parameters(), lr=self.config.speed)
        self.scale = torch.zeros(())
        self.raw_weights = torch.full((len(self.rows),), 0.5)
        if self.config.redraw:
            self.outer.draw(0)
        self.outer_average: dict[str, Tensor] = {}
        self.step_batches: list[Any] = []
        self.step_features: list[Tensor] = []

    @property
    def weights(self) -> Tensor:
        """Return how much each row of the training set counts, in its order: [N], of mean 1."""
        return self.raw_weights / self.raw_weights.mean()

    @property
    def scores(self) -> Tensor:
        """Return the rows' weights before the sigmoid, [N]: these tell apart what the sigmoid flattens."""
        return self.raw_weights.double().logit(eps=1e-9)

    def example_weights(self, columns: Mapping[str, Tensor]) -> Tensor:
        """Return the weights in use, times those of the data set's own column `weight`."""
        at, device = self.rows.at(columns["index"]), columns["index"].device
        weights = (self.raw_weights[at] / self.raw_weights.mean()).to(device)
        return weights * columns["weight"] if "weight" in columns else weights

    def regularizer(self, logits: Tensor, labels: Tensor, columns: Mapping[str, Tensor]) -> None:
        """Add nothing; remember what a weight network sees of the step's rows."""
        if self.config.mode == "online":
            seen = self.features(logits, labels) if self.features else logits.new_zeros(len(labels), 0)
            self.step_features.append(seen)

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list, Any]:
        """Collect the batches of one optimizer step, and remember them until it is taken; start a round over."""
        if self.config.mode == "sungen" and self.state.global_step == 0:  # DDP has made all ranks alike by now
            self._start = {name: value.detach().cpu().clone() for name, value in self.model.state_dict().items()}
        # Not in `leave`: what is evaluated and saved at the end of a round is what it has trained.
        if self.phase and self.state.global_step == self.phase * self._phases[0].steps:
            self.model.load_state_dict(self._start)
        self.step_features = []
        self.step_batches, self.step_count = super().get_batch_samples(*args, **kwargs)
        return self.step_batches, self.step_count

    def phases(self, steps: int) -> list[Phase]:
        """Return the rounds of `sungen`; `online` is one phase."""
        rounds = self.config.rounds if self.config.mode == "sungen" else 1
        if steps < rounds:
            raise InputError(f"`rounds` is {rounds}, and training has {steps} optimizer steps in all")
        each = steps // rounds
        return [Phase(f"round {at}", each + (steps % rounds if at + 1 == rounds else 0)) for at in range(rounds)]

    def enter(self, at: int) -> None:
        """Begin anew where a run begins; see what the model at hand sees, which `model_init` may just have made."""
        if self.state.global_step == 0:
            self._start_over()
        if self.features is not None:
            self.features.watch(self.model)

    def leave(self, at: int) -> None:
        """Step all weights by what the round's student says of every row."""
        if self.config.mode == "online":
            return
        if self.config.redraw and at:
            self.outer.draw(at)
        self._step_weights()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as Trainer does; to training logs, add the share of the rows that still count."""
        if "loss" in logs:
            logs["bilevel/effective_share"] = 1 / self.weights.square().mean().item()
        super().log(logs, start_time)

    def _step_weights(self) -> None:
        parameters = {name: value for name, value in self.model.named_parameters() if value.requires_grad}
        direction = self.outer_gradient(parameters, self.outer.rows, confident=self.config.confident)
        derivatives = torch.zeros(len(self.rows))
        seen = torch.zeros(len(self.rows), self.features.width) if self.features else None
        for batch in self.batches_of(self.train_dataset):
            columns, inputs, labels = self.split(batch)
            mine = counted(labels).cpu()
            at = self.rows.at(columns["index"])[mine]
            derivatives[at] = self.derivatives(columns, inputs, labels, direction).cpu()[mine]
            if self.features is not None and seen is not None:
                with still(self.model), torch.no_grad():
                    seen[at] = self.features(self.model(**inputs)["logits"], labels).cpu()[mine]
        seen, everywhere = None if seen is None else self._summed(seen), torch.arange(len(self.rows))
        follow(self.rule, everywhere, seen, self._summed(derivatives))
        first = self.scale if isinstance(self.rule_optimizer, torch.optim.SGD) else torch.zeros(())
        self.scale = scale_gradient(self.rule, first)
        self.rule_optimizer.step()
        self.raw_weights = self.rule(everywhere, seen).detach()

    def outer_gradient(
        self, parameters: Mapping[str, Tensor], rows: Sequence[int], confident: float = 1.0, size: int | None = None
    ) -> dict[str, Tensor]:
        """Return the gradient of the robust loss, the mean over outer rows, at some parameters, alike on all ranks.

        Args:
            parameters: Name -> tensor that takes gradients.
            rows: Of the outer set.
            confident: Share of each class, by weight, that rows of the training set must belong to.
            size: Rows of a rank's batch.
        """
        unsure = self._unsure(confident)

        def batches() -> Any:
            for batch in self.batches_of(self.outer.data, rows, size):
                columns, inputs, labels = self.split(batch)
                if unsure is not None:
                    labels[unsure[self.rows.at(columns["index"])].to(labels.device)] = IGNORED
                yield inputs, labels

        with self.accelerator.autocast():
            total, count = mean_gradient(self.model, parameters, batches(), self.outer.loss)
        count = self._summed(count).clamp(min=1)
        return {name: self._summed(gradient) / count for name, gradient in total.items()}

    def _unsure(self, confident: float) -> Tensor | None:
        """Return which rows of the training set have the lowest weights of their class, [N], if any."""
        if confident == 1 or self.outer.trusted:
            return None
        return lowest_of_classes(self.raw_weights, self.rows.labels, 1 - confident)

    def derivatives(
        self, columns: Mapping[str, Tensor], inputs: Mapping[str, Any], labels: Tensor, direction: Mapping[str, Tensor]
    ) -> Tensor:
        """Return the derivative of each row's loss, times its own `weight`, along a direction, [N]."""
        batch, by = {**inputs, "labels": labels}, self.config.derivative
        with self.accelerator.autocast():
            found = directional_derivatives(self.model, batch, direction, loss=self._training_loss, by=by)
        return found * columns["weight"].to(found) if "weight" in columns else found

    def _ends(self) -> list[int]:
        """Return the step at which each round but the last ends."""
        return list(accumulate(phase.steps for phase in getattr(self, "_phases", ())))[:-1]

    def _summed(self, value: Tensor) -> Tensor:
        return self.accelerator.reduce(value.to(self.args.device)).to(value.device)

    def side_state(self) -> dict[str, Any]:
        """Return the weights, what makes them, and where each round starts."""
        return {
            "config": asdict(self.config),
            "ends": self._ends(),
            "rows": self.rows.fingerprint(),
            "weights": self.raw_weights,
            "rule": self.rule.state_dict(),
            "rule_optimizer": self.rule_optimizer.state_dict(),
            "scale": self.scale,
            "start": getattr(self, "_start", None),
            "outer_rows": torch.tensor(self.outer.rows),
            "outer_average": self.outer_average,
        }

    def load_side_state(self, state: dict[str, Any]) -> None:
        """Go on with the weights of a checkpoint.

        Raises:
            InputError: If they are of other rows, or were learnt under other settings.
        """
        check_same_config(self.config, state.get("config", {}))
        if state["rows"] != self.rows.fingerprint():
            raise InputError("the checkpoint holds weights of other rows or labels than those of `train_dataset`")
        if state.get("ends", self._ends()) != self._ends():
            raise InputError(
                f"`resume_from_checkpoint`: its rounds end at other steps ({state['ends']}) than this training's "
                f"({self._ends()}); resume with the same epochs, `max_steps` and batches"
            )
        self.rule.load_state_dict(state["rule"])
        self.rule_optimizer.load_state_dict(state["rule_optimizer"])
        self.raw_weights, self.scale = state["weights"], state["scale"]
        self.outer.take(state["outer_rows"].tolist())
        self.outer_average = state["outer_average"]
        if state["start"] is not None:
            self._start = state["start"]
