"""Temporal ensembling: holding a model to its own averaged predictions, and leaving out rows that they contradict."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import kl_div
from transformers import TrainerCallback

from hf_synth.config import checked, strict
from hf_synth.directional import still
from hf_synth.errors import InputError, unknown
from hf_synth.losses import IGNORED
from hf_synth.trainers.predictions import Predictions
from hf_synth.trainers.rows import Rows, check_same_config, classes_of
from hf_synth.trainers.weighted import WeightedTrainer

PRESETS: dict[str, dict[str, Any]] = {
    "laine_aila": {
        "momentum": 0.6,
        "weight": 30.0,
        "ramp": 80,
        "every": None,
        "source": "training",
        "consistency": "mse",
        "keep_above": None,
    },
    "supergen": {"momentum": 0.8, "weight": 10.0, "ramp": 10, "every": 100, "keep_above": 0.8},
    "fewgen": {"momentum": 0.9, "weight": 20.0, "every": 200, "keep_above": 0.8, "update_first": True},
    # Ours: a row is trained on while its own average still prefers its label; for labels of which many are wrong.
    "agreement": {},
}

log = logging.getLogger(__name__)


@strict
class EnsembleConfig:
    """How predictions are averaged and used; the default values are those of our `agreement`.

    Attributes:
        momentum: Share of the past in an average.
        weight: Weight of the consistency loss, once it is ramped up.
        ramp: Updates until then; 0 for full weight from the first update on.
        every: Optimizer steps between updates; an epoch where left out.
        source: What is averaged: a `prediction` of all rows without dropout at each update, or the predictions made in
            `training` since the last, which cost nothing.
        consistency: Distance of a prediction to its average: `kl`, or `mse` of the probabilities.
        keep_above: Rows whose label has an average above this are trained on, the others wait; all where left out.
        least_kept: A class with fewer rows kept keeps its better half too.
        update_first: Whether the first update comes before the first step; it needs `source: prediction`.
    """

    momentum: float = Field(0.6, ge=0, lt=1)
    weight: float = Field(1.0, ge=0)
    ramp: int = Field(0, ge=0)
    every: int | None = Field(None, ge=1)
    source: Literal["prediction", "training"] = "prediction"
    consistency: Literal["kl", "mse"] = "kl"
    keep_above: float | None = Field(0.0, ge=0, lt=1)
    least_kept: int = Field(16, ge=0)
    update_first: bool = False

    def __post_init__(self) -> None:
        if self.update_first and self.source == "training":
            raise InputError("`update_first` needs `source: prediction`; nothing is predicted before training begins")

    @classmethod
    def preset(cls, name: str, /, **changes: Any) -> EnsembleConfig:
        """Return the settings of a paper, `laine_aila`, `supergen` or `fewgen`, or our `agreement`, with changes.

        Raises:
            InputError: For another name, or changes that are no settings.
        """
        if name not in [*PRESETS]:
            raise unknown("`preset`", name, PRESETS)
        return checked(cls, {**PRESETS[name], **changes}, f"preset {name!r}")


class EnsembleTrainer(WeightedTrainer):
    """Trainer by temporal ensembling (Laine and Aila, https://huggingface.co/papers/1610.02242).

    Each row's predictions are averaged over time. Added to its loss is the distance of its prediction to the average,
    and, as in SuperGen (https://huggingface.co/papers/2202.04538) and FewGen (https://huggingface.co/papers/2211.03044),
    rows whose average contradicts their label are left out until it no longer does. Both papers train on batches of
    kept rows alone; here a dropped row weighs 0 and a kept one more, by as many as were dropped, so that every row is
    visited once an epoch. Passes go through the wrapped model, equally often on each rank, so that its parameters may
    be spread over ranks (FSDP, ZeRO-3).

    Args:
        *args: As of `transformers.Trainer`; `train_dataset` needs a column `index`.
        config: How predictions are averaged and used.
        **kwargs: As of `transformers.Trainer`.

    Raises:
        InputError: For rows or a model that this cannot work on, or a filter that no row can pass.
    """

    def __init__(self, *args: Any, config: EnsembleConfig | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config = config or EnsembleConfig()
        if (classes := classes_of(self.model)) is None:
            raise InputError("temporal ensembling averages over classes; answers that are spans have none")
        if classes < 2 or self.model.config.problem_type == "regression":
            raise InputError(f"temporal ensembling needs a model of 2 or more classes, no regression; got {classes}")
        self.rows = Rows(self.train_dataset, classes)
        self._refuse_unreachable(2 if self.rows.labels.ndim == 2 else classes)
        self.predictions = Predictions(self.rows, classes, self.config.momentum, str(self.args.output_dir))
        self.add_callback(_Updates(self))

    def consistency_weight(self, updates: int | None = None) -> float:
        """Return the weight of the consistency loss after so many updates, or those done so far."""
        done, ramp = self.predictions.updates if updates is None else updates, self.config.ramp
        if done == 0:
            return 0.0
        return self.config.weight * (math.exp(-5 * (1 - done / ramp) ** 2) if done < ramp else 1.0)

    def shortfall(self, steps: int, every: int) -> str | None:
        """Return what a training of so many optimizer steps is too short for, in a sentence, if for anything."""
        done = (steps - 1) // every + self.config.update_first  # one after the last step changes nothing
        reached, wanted = self.consistency_weight(done), self.config.weight
        if done and reached == wanted:
            return None
        lacks = f"the consistency loss reaches {reached:.3g} of its weight {wanted:g} (`ramp: {self.config.ramp}`)"
        return (
            f"Temporal ensembling updates its averages {done} times in {steps} optimizer steps, one every {every}: "
            f"{lacks if done else 'this was training without an ensemble'}. Lower `every` or `ramp`, or train longer."
        )

    def update(self) -> None:
        """Take the latest predictions into the averages, and choose the rows to keep."""
        if self.config.source == "prediction":
            with still(self.model_wrapped), torch.no_grad():
                for batch in self.batches_of(self.train_dataset):
                    _, outputs = self.compute_loss(self.model_wrapped, batch, return_outputs=True)
                    self._collect(outputs["logits"], batch["labels"], batch)
        self.predictions.update(self._reduce)
        self._filter()

    def example_weights(self, columns: Mapping[str, Tensor]) -> Tensor | None:
        """Return 0 for dropped rows and more for the others, times the data set's own weights."""
        given = super().example_weights(columns)
        if self.config.keep_above is None or self.predictions.updates == 0:
            return given
        kept = torch.from_numpy(self.predictions.weights(self._positions(columns))).to(columns["index"].device)
        return kept if given is None else kept * given

    def regularizer(self, logits: Tensor, labels: Tensor, columns: Mapping[str, Tensor]) -> Tensor | None:
        """Return the weighted distance of predictions to their averages, [N]; 0 for rows that have none."""
        if self.config.source == "training":
            self._collect(logits, labels, columns)
        if not (weight := self.consistency_weight()):
            return None
        rows = self._positions(columns)
        weights = weight * self.predictions.weights(rows) * (self.predictions.counts[rows] > 0)
        averages = torch.from_numpy(self.predictions.of(rows, labels.cpu().numpy())).to(logits.device)
        return torch.from_numpy(weights).to(logits) * distance(logits, averages, labels, self.config.consistency)

    def side_state(self) -> dict[str, Any]:
        """Return the averages, what was predicted since the last update, and the settings of both."""
        return {**self.predictions.state(self._reduce), "config": dataclasses.asdict(self.config)}

    def load_side_state(self, state: dict[str, Any]) -> None:
        """Take back the averages; the first rank goes on with what all ranks had predicted.

        Raises:
            InputError: If they are of other rows or settings.
        """
        check_same_config(self.config, state.get("config", {}))
        self.predictions.load(state, buffers=self.args.process_index == 0)
        if self.predictions.updates:
            self._filter()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as Trainer does; to training logs, add the weight of the consistency loss and the share of rows kept."""
        if "loss" in logs:
            logs |= {"ensemble/weight": self.consistency_weight(), "ensemble/kept": self.predictions.share}
            if self.config.keep_above is not None and (shares := self.predictions.class_shares()) is not None:
                names = self.model.config.id2label
                logs |= {f"ensemble/kept_{names[at]}": float(share) for at, share in enumerate(shares)}
        super().log(logs, start_time)

    def _filter(self) -> None:
        if self.config.keep_above is not None:
            self.predictions.keep(self.config.keep_above, self.config.least_kept)

    def _collect(self, logits: Tensor, labels: Tensor, columns: Mapping[str, Tensor]) -> None:
        logits = logits.detach().float()
        probabilities = logits.sigmoid() if labels.is_floating_point() else logits.softmax(-1)
        self.predictions.add(self._positions(columns), labels.cpu().numpy(), probabilities.cpu().numpy())

    def _positions(self, columns: Mapping[str, Tensor]) -> np.ndarray:
        return self.rows.at(columns["index"]).numpy()

    def _reduce(self, array: np.ndarray) -> np.ndarray:
        return self.accelerator.reduce(torch.from_numpy(array).to(self.args.device)).cpu().numpy()

    def _refuse_unreachable(self, classes: int) -> None:
        smoothing, above = self.args.label_smoothing_factor, self.config.keep_above
        reach = 1 - smoothing + smoothing / classes
        if above is not None and above >= reach:
            raise InputError(
                f"`keep_above` {above} can never be reached: with `label_smoothing_factor` {smoothing} and {classes} "
                f"classes a model learns to give its label {reach:.3f}; set it lower"
            )


def distance(logits: Tensor, averages: Tensor, labels: Tensor, by: Literal["kl", "mse"]) -> Tensor:
    """Return how far each example's prediction is from its average, [N].

    Args:
        logits: [N, K], or [N, T, K] for tokens (the mean over those labelled).
        averages: Probabilities, of the same shape.
        labels: [N], [N, T], or [N, K] where each class is a choice of two (the mean over the classes).
        by: `kl`, of the prediction from the average, or `mse`, the mean squared difference over the classes.
    """
    if labels.is_floating_point():
        logits = torch.stack([logits, torch.zeros_like(logits)], -1)
        averages = torch.stack([averages, 1 - averages], -1)
    if by == "kl":
        values = kl_div(logits.float().log_softmax(-1), averages, reduction="none").sum(-1)
    else:
        values = (logits.float().softmax(-1) - averages).square().mean(-1)
    if values.dim() == 1:
        return values
    counted = labels != IGNORED
    return (values * counted).sum(-1) / counted.sum(-1).clamp(min=1)


class _Updates(TrainerCallback):
    """Calls for an update every so many steps, before a checkpoint of that step is written."""

    def __init__(self, trainer: EnsembleTrainer) -> None:
        self.trainer = trainer
        self.every = trainer.config.every or 1

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        config = self.trainer.config
        if config.every is None:
            self.every = max(math.ceil(len(kwargs["train_dataloader"]) / args.gradient_accumulation_steps), 1)
        short = self.trainer.shortfall(state.max_steps, self.every)
        self.trainer.notes = [short] if short else []
        if short and args.process_index == 0:
            log.warning(short)
        if state.global_step == 0:
            self.trainer.predictions.clear()
            if config.update_first:
                self.trainer.update()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.every == 0:
            self.trainer.update()
