"""A Trainer whose loss is a weighted mean over examples, and does not depend on how a batch is cut up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import Trainer

from hf_synth.errors import InputError

IGNORED = -100
SIDE_STATE = "side_state.pt"


class WeightedTrainer(Trainer):
    """Trainer whose loss is a weighted mean over examples; subclasses say how much each example counts.

    The loss of an optimizer step is the *sum* of `weight * cross_entropy + regularizer` over the global batch (all
    gradient accumulation steps, all ranks), divided by the number of labels in it, so micro-batch size, accumulation
    and ranks do not change it. It is never divided by the sum of the weights in a batch: whoever makes the weights
    normalises them once, over the whole data set, to mean 1. Labels are class indices, `[N]` for sequence or
    `[N, T]` for token classification; -100 is not counted. `example_columns` reach the hooks (those that the data set
    has) and not the model. Evaluation is plain cross entropy: no weights, no regularizer, no label smoothing.
    """

    # Stock Trainer believes that BERT-family heads divided by `num_items_in_batch`; they did not, and the loss grows
    # with accumulation steps and ranks (https://github.com/huggingface/transformers/issues/47688). Ours is divided.
    loss_is_scaled_for_ga = True
    example_columns: tuple[str, ...] = ("index", "synthetic", "weight")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refuse_uneven_ranks()

    def example_weights(self, columns: Mapping[str, Tensor]) -> Tensor | None:
        """Return how much each example counts (mean 1 over the data set), or None where all count the same.

        Rows that several ranks hold twice at the end of an epoch are in `columns` but not in the loss, so assign to
        state by `index` and never accumulate.
        """
        return columns.get("weight")

    def regularizer(self, logits: Tensor, labels: Tensor, columns: Mapping[str, Tensor]) -> Tensor | None:
        """Return what is added to each example's weighted loss, shaped like `labels`, or None."""
        return None

    def side_state(self) -> dict[str, Any]:
        """Return what a checkpoint must hold besides model and optimizer, alike on all ranks."""
        return {}

    def load_side_state(self, state: dict[str, Any]) -> None:
        """Take back, from CPU tensors, what `side_state` returned when the checkpoint was written."""

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return this micro-batch's share of the loss; without `num_items_in_batch`, its own mean."""
        columns = {name: inputs[name] for name in self.example_columns if name in inputs}
        outputs = model(**{name: value for name, value in inputs.items() if name not in {*columns, "labels"}})
        logits = (outputs["logits"] if isinstance(outputs, dict) else outputs[0]).float()
        labels = inputs["labels"]
        if labels.is_floating_point() or labels.dim() != logits.dim() - 1:
            shapes = f"{labels.dtype} {tuple(labels.shape)} for logits {tuple(logits.shape)}"
            raise InputError(f"`labels` must be one class index per prediction; got {shapes}.")
        losses = self._losses(logits, labels, columns if model.training else None)
        if num_items_in_batch is None or not model.training:
            loss = losses.sum() / (labels != IGNORED).sum().clamp(min=1)
        else:
            # Gradients and logged losses are averaged over ranks afterwards, while the count is already global.
            loss = losses.sum() * self.args.world_size / num_items_in_batch
        return (loss, {"logits": logits}) if return_outputs else loss

    def _losses(self, logits: Tensor, labels: Tensor, columns: Mapping[str, Tensor] | None) -> Tensor:
        smoothing = 0.0 if columns is None else self.args.label_smoothing_factor
        losses = cross_entropy(
            logits.transpose(1, -1), labels, reduction="none", ignore_index=IGNORED, label_smoothing=smoothing
        )
        if columns is None:
            return losses
        if (weights := self.example_weights(columns)) is not None:
            losses = losses * weights.to(losses).view(-1, *[1] * (losses.dim() - 1))
        if (extra := self.regularizer(logits, labels, columns)) is not None:
            losses = losses + extra
        return losses.where(labels != IGNORED, 0.0)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """Collect the batches of one optimizer step and count their labels over all ranks, repeated rows left out."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if batches and self.args.world_size > 1 and not self.args.dataloader_drop_last:
            loader: Any = self.callback_handler.train_dataloader
            # Not `gradient_state.remainder`: after a resume in mid-epoch accelerate does not know it.
            batches[-1] = self._ignore_repeats(batches[-1], len(loader.dataset) % loader.total_batch_size)
        counted = sum(((batch["labels"] != IGNORED).sum() for batch in batches), torch.tensor(0, device=device))
        return batches, self.accelerator.reduce(counted).clamp(min=1)

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> None:
        """Count nothing: `get_batch_samples` counts, after repeated rows are out; evaluation needs no count."""

    def prediction_step(self, model: torch.nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Predict as Trainer does; rows repeated to even out the ranks do not enter the evaluation loss."""
        inputs = self._ignore_repeats(inputs, self.accelerator.gradient_state.remainder)
        return super().prediction_step(model, inputs, *args, **kwargs)

    def _ignore_repeats(self, batch: Any, remainder: int) -> Any:
        """Mask the rows that accelerate repeats so that all ranks get equal batches at the end of the data."""
        at_end = self.accelerator.gradient_state.end_of_dataloader
        if self.args.world_size == 1 or remainder <= 0 or not at_end or "labels" not in batch:
            return batch
        labels = batch["labels"].clone()
        # The last global batch is the remaining rows in rank order, then the repeats.
        labels[max(remainder - self.args.process_index * len(labels), 0) :] = IGNORED
        return {**batch, "labels": labels}

    def _refuse_uneven_ranks(self) -> None:
        loading: Any = self.args.accelerator_config
        if self.args.world_size == 1:
            return
        if not loading.even_batches:
            raise InputError("`even_batches` must be true on several ranks, or they wait for each other for ever.")
        if self.args.train_sampling_strategy == "batch_rebalance":
            raise InputError("`train_sampling_strategy` must not be 'batch_rebalance' on several ranks.")
        if self.train_dataset is not None and not hasattr(self.train_dataset, "__len__"):
            raise InputError("`train_dataset` must have a length on several ranks; got an iterable one.")

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        names: Any = [*(self._signature_columns or []), *self.example_columns]
        self._signature_columns = names

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if (state := self.side_state()) and self.args.should_save:
            torch.save(state, Path(output_dir, SIDE_STATE))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None or not self.side_state():
            return
        if not (path := Path(checkpoint, SIDE_STATE)).is_file():
            raise InputError(f"`resume_from_checkpoint` must hold {SIDE_STATE}, which is missing in {checkpoint!r}.")
        self.load_side_state(torch.load(path, map_location="cpu", weights_only=True))
