"""One step ahead, for weights that are learnt while training: what an example of the batch does to the outer loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from transformers import TrainerCallback

from hf_synth.errors import InputError
from hf_synth.trainers.weighted import counted
from hf_synth.trainers.weights import ExampleWeights, follow

if TYPE_CHECKING:
    from hf_synth.trainers.bilevel import BilevelTrainer


class LookAhead(TrainerCallback):
    """Steps the weights of a batch before each optimizer step of a `BilevelTrainer` in `online` mode.

    The gradients of the global batch have been added up by then, so nothing depends on how it was cut. The outer rows
    of a step are a function of its number, so a resumed run sees the same.
    """

    def __init__(self, trainer: BilevelTrainer) -> None:
        self.trainer = trainer
        if trainer.args.fp16:
            raise InputError("`mode: online` computes gradients that `fp16` does not scale; use `bf16`, or neither")

    @property
    def outer_size(self) -> int:
        """Return how many outer rows judge a step, on all ranks together."""
        return max(2, round(self.trainer.config.outer_batch * self.trainer.global_batch))

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Step the weights of the rows whose gradients have just been added up."""
        trainer = self.trainer
        speed = trainer.lr_scheduler.get_last_lr()[0]
        named = {name: value for name, value in trainer.model.named_parameters() if value.grad is not None}
        ahead = {name: (value.detach() - speed * value.grad).requires_grad_() for name, value in named.items()}
        share = -(-self.outer_size // args.world_size)
        direction = self._averaged(trainer.outer_gradient(ahead, self.outer_rows(state.global_step), size=share))
        at, derivatives, seen = self._of_batch(direction)
        self._step(at, derivatives, seen)
        if trainer.config.inner == "exact":
            self._again(named)

    def _averaged(self, gradient: dict[str, Tensor]) -> dict[str, Tensor]:
        past, momentum = self.trainer.outer_average, self.trainer.config.outer_momentum
        for name, value in gradient.items():
            past[name] = value if name not in past else past[name].to(value).lerp(value, 1 - momentum)
        return {name: past[name] for name in gradient}

    def outer_rows(self, step: int) -> list[int]:
        """Return the outer rows of a step: the next ones of an endless series of shuffles."""
        rows = self.trainer.outer.rows
        chosen: list[int] = []
        place = step * self.outer_size
        while len(chosen) < self.outer_size:
            turn, start = divmod(place, len(rows))
            shuffled = np.random.default_rng([self.trainer.config.seed, turn]).permutation(rows)
            order = shuffled[start : start + self.outer_size - len(chosen)]
            chosen += order.tolist()
            place += len(order)
        return chosen

    def _of_batch(self, direction: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return positions, derivatives and features of the global batch's rows."""
        trainer, places, found = self.trainer, [], []
        for batch, seen in zip(trainer.step_batches, trainer.step_features, strict=True):
            columns, inputs, labels = trainer.split(trainer._prepare_inputs(batch))
            derivatives = trainer.derivatives(columns, inputs, labels, direction)
            parts = [counted(labels).float(), derivatives.float()]
            places.append(columns["index"])  # integers: MPS has no float64 to hold them beside the others
            found.append(torch.cat([torch.stack(parts, -1), seen.float()], -1))
        index, table = (part.cpu() for part in trainer.accelerator.gather([torch.cat(places), torch.cat(found)]))
        counts = table[:, 0] > 0
        features = table[counts, 2:] if trainer.features is not None else None
        return trainer.rows.at(index[counts]), table[counts, 1], features

    def _step(self, at: Tensor, derivatives: Tensor, seen: Tensor | None) -> None:
        trainer = self.trainer
        follow(trainer.rule, at, seen, derivatives)
        if isinstance(trainer.rule, ExampleWeights):
            gradient: Any = trainer.rule.logit.grad
            gradient /= gradient[at].square().mean().sqrt().clamp(min=1e-30)
        trainer.rule_optimizer.step()
        with torch.no_grad():
            trainer.raw_weights[at] = trainer.rule(at, seen)

    def _again(self, named: dict[str, Tensor]) -> None:
        """Compute the batch's gradient once more, under the new weights."""
        trainer = self.trainer
        total = {name: torch.zeros_like(value) for name, value in named.items()}
        for batch in trainer.step_batches:
            loss = trainer.compute_loss(
                trainer.model, trainer._prepare_inputs(batch), num_items_in_batch=trainer.step_count
            )
            gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
            for name, gradient in zip(named, gradients, strict=True):
                if gradient is not None:
                    total[name] += gradient
        for name, value in named.items():
            value.grad = trainer.accelerator.reduce(total[name], reduction="mean")
        if trainer.args.max_grad_norm:
            torch.nn.utils.clip_grad_norm_(list(named.values()), trainer.args.max_grad_norm)
