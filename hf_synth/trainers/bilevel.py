"""Learning how much each example counts, by what its gradient does to a noise-robust loss on other rows."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from hf_synth.config import strict
from hf_synth.directional import directional_derivatives, mean_gradient, still
from hf_synth.errors import InputError
from hf_synth.losses import IGNORED
from hf_synth.trainers.lookahead import LookAhead
from hf_synth.trainers.outer import OuterRows
from hf_synth.trainers.phases import Phase, PhasedTrainer
from hf_synth.trainers.rows import Rows, classes_of
from hf_synth.trainers.weighted import counted
from hf_synth.trainers.weights import (
    ExampleWeights,
    Feature,
    Features,
    WeightNetwork,
    follow,
    lowest_of_classes,
    scale_gradient,
)


@strict
class BilevelConfig:
    """How weights are learnt.

    Attributes:
        mode: `sungen` trains from the same start in every round and then steps all weights; `online` steps those of
            the batch before each optimizer step.
        rounds: Of `sungen`: how many; the published run has 100.
        epochs: Of `sungen`: epochs of a round (the published run has 1); `num_train_epochs` where left out.
        outer_loss: What the outer rows judge by; see `losses.example_loss`.
        scale: Of `rce` and `sce`.
        outer: Which rows of the training set may judge where no others are given: `all`, or the `real` ones, which
            the column `synthetic` tells apart (`real_rows` in a recipe).
        outer_rows: How many of these are drawn.
        balanced: Each label counts the same in the outer loss, however many rows have it. Labels that are asked for
            equally often are in excess by mistakes only, which would otherwise gather weight. (Not in the paper.)
        redraw: Draw it anew in each round (UniGen), not once (SunGen).
        confident: Of `sungen`: share of each class's rows, by weight, whose outer loss counts; real rows all do. (The
            published code takes it of all rows together; a class whose weights fall then loses its say.)
        weigh: A free weight per example, or a small network from features to weights.
        step: How free weights move. `scaled`: down the gradient over its root mean square, in `sungen` that of the
            first round, so that steps shrink as weights settle. `adam`, of `sungen`: as published; every weight moves
            as far in the first rounds, however small its gradient. A network moves by Adam.
        weight_lr: Step size: 0.2 (`scaled`; 0.5 if `online`), 0.25 (`adam`), 0.001 (`network`) where left out.
        features: What the network sees. `label` finds mistakes that lean to one; where many lean to none, it can fail.
        hidden: Width of its hidden layer.
        inner: Of `online`: `reused` goes along the gradient that the look-ahead took, so that new weights count from
            an example's next visit; `exact` computes it again under the new weights.
        outer_batch: Of `online`: outer rows for each inner row.
        outer_momentum: Of `online`: share of the past in the outer gradient; a step's outer rows alone say little.
        derivative: See `directional_derivatives`; `difference` is cheaper `online`, blurred by rounding, most in bf16.
        seed: Draws the outer rows.
    """

    read_by: ClassVar = {
        **{name: ("mode", ("sungen",)) for name in ("rounds", "epochs", "redraw", "confident")},
        **{name: ("mode", ("online",)) for name in ("inner", "outer_batch", "outer_momentum")},
        **{name: ("weigh", ("network",)) for name in ("features", "hidden")},
        "scale": ("outer_loss", ("rce", "sce")),
        "step": ("weigh", ("examples",)),
    }

    mode: Literal["sungen", "online"] = "sungen"
    rounds: int = Field(10, ge=1)
    epochs: float | None = Field(None, gt=0)
    outer_loss: Literal["rce", "mae", "gce", "sce", "ce"] = "rce"
    scale: float = Field(10.0, gt=0)
    outer: Literal["all", "real"] = "all"
    outer_rows: int = Field(50_000, ge=2)
    balanced: bool = True
    redraw: bool = False
    confident: float = Field(0.9, gt=0, le=1)
    weigh: Literal["examples", "network"] = "examples"
    step: Literal["scaled", "adam"] = "scaled"
    weight_lr: float | None = Field(None, gt=0)
    features: tuple[Feature, ...] = Field(("loss", "margin"), min_length=1)
    hidden: int = Field(100, ge=1)
    inner: Literal["reused", "exact"] = "reused"
    outer_batch: float = Field(0.5, gt=0)
    outer_momentum: float = Field(0.9, ge=0, lt=1)
    derivative: Literal["forward", "difference"] = "forward"
    seed: int = Field(0, ge=0)

    def __post_init__(self) -> None:
        if self.mode == "online" and self.step == "adam":
            raise InputError("`step: adam` is of the mode sungen; `online` steps a batch's weights, `scaled`")


class BilevelTrainer(PhasedTrainer):
    """Trainer that learns how much each example counts (SunGen, https://huggingface.co/papers/2205.12679).

    The outer problem is to choose weights `w` so that a student trained on `sum_i w_i CE_i / S` has a small
    noise-robust loss on outer rows, which may be as noisy as the others. One step of plain gradient descent stands for
    the training, `theta' = theta - lr/S sum_i w_i grad CE_i(theta)` with `S` held constant, so

        dL/dw_i = - lr/S <grad L_robust(theta'), grad CE_i(theta)>

    and a row gains weight when its own gradient points where the outer rows' does. Each product is the derivative of
    the row's loss along one direction: no second-order graph is built, so any model works. In `sungen` mode `theta'`
    is where the round's training ended, and the student starts over. In
    `online` mode `theta'` is one step ahead (https://huggingface.co/papers/1803.09050). No dropout in either.

    After training, `weights` and `scores` tell how far rows can be trusted. `sungen` leaves the last round's model.

    Args:
        config: See `BilevelConfig`.
        outer_dataset: Rows to judge by, with the training set's columns, such as a few that a person has checked.

    Raises:
        InputError: For rows without `index`, one that stands twice, labels that are no class, or outer rows of one
            class; under FSDP or DeepSpeed.
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
        self.features: Features | None = None
        self.rule: torch.nn.Module = ExampleWeights(len(self.rows))
        if config.weigh == "network":
            self.features = Features(self.model, config.features, classes)
            self.rule = WeightNetwork(self.features.width, config.hidden, config.seed)
        scaled = 0.2 if config.mode == "sungen" else 0.5
        speed = config.weight_lr or {"network": 0.001}.get(config.weigh, {"scaled": scaled, "adam": 0.25}[config.step])
        # The gradient is scaled: as it comes, each of many rows has so little of it that Adam's epsilon outweighs it.
        kind = torch.optim.SGD if config.weigh == "examples" and config.step == "scaled" else torch.optim.Adam
        self.rule_optimizer = kind(self.rule.parameters(), lr=speed)
        self.scale = torch.zeros(())
        self.raw_weights = torch.full((len(self.rows),), 0.5)
        self.outer_average: dict[str, Tensor] = {}
        self.step_batches: list[Any] = []
        self.step_features: list[Tensor] = []
        if config.mode == "online":
            self.add_callback(LookAhead(self))
        else:
            self.args = copy.copy(self.args)
            self.args.num_train_epochs = (config.epochs or self.args.num_train_epochs) * config.rounds

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
            derivatives[at] = self.derivatives(inputs, labels, direction).cpu()[mine]
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

    def derivatives(self, inputs: Mapping[str, Any], labels: Tensor, direction: Mapping[str, Tensor]) -> Tensor:
        """Return the derivative of each row's loss along a direction, [N]."""
        batch, by = {**inputs, "labels": labels}, self.config.derivative
        with self.accelerator.autocast():
            return directional_derivatives(self.model, batch, direction, loss=self._training_loss, by=by)

    def _summed(self, value: Tensor) -> Tensor:
        return self.accelerator.reduce(value.to(self.args.device)).to(value.device)

    def side_state(self) -> dict[str, Any]:
        """Return the weights, what makes them, and where each round starts."""
        return {
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
            InputError: If they are of other rows.
        """
        if state["rows"] != self.rows.fingerprint():
            raise InputError("the checkpoint holds weights of other rows or labels than those of `train_dataset`")
        self.rule.load_state_dict(state["rule"])
        self.rule_optimizer.load_state_dict(state["rule_optimizer"])
        self.raw_weights, self.scale = state["weights"], state["scale"]
        self.outer.take(state["outer_rows"].tolist())
        self.outer_average = state["outer_average"]
        if state["start"] is not None:
            self._start = state["start"]
