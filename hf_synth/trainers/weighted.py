"""A Trainer whose loss is a weighted mean over examples, and does not depend on how a batch is cut up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel

from hf_synth.errors import InputError
from hf_synth.losses import IGNORED, example_loss
from hf_synth.trainers.rows import check_labels, classes_of, labels_of, numbers
from hf_synth.trainers.spans import SpanLogits, best_spans
from hf_synth.trainers.warmup import WarmUp

SIDE_STATE = "side_state.pt"


def counted(labels: Tensor) -> Tensor:
    """Tell which examples have a label that counts, [N], from labels [N] or [N, T] or [N, K]."""
    return (labels != IGNORED).reshape(len(labels), -1).any(-1)


class WeightedTrainer(WarmUp):
    """Trainer whose loss is a weighted mean over examples; subclasses say how much each example counts.

    The loss of an optimizer step is the *sum* of `weight * loss + regularizer` over the examples of the global batch
    (all gradient accumulation steps, all ranks), divided by their number, so micro-batch size, accumulation and ranks
    do not change it. It is never divided by the sum of the weights in a batch: whoever makes the weights normalises
    them once, over the whole data set, to mean 1. An example's loss is `losses.example_loss(loss)`: labels are class
    indices, `[N]`, or `[N, T]` for tokens (the mean over an example's labelled ones; -100 is not counted), or targets
    between 0 and 1 for each class, `[N, K]`. `example_columns` reach the hooks (those that the data set has) and not
    the model. Evaluation is plain cross entropy: no weights, no regularizer, no label smoothing.

    Args:
        *args: As of `transformers.Trainer`.
        loss: A name that `losses.example_loss` knows, such as `gce`, which label noise harms less than `ce`.
        **kwargs: As of `transformers.Trainer`.

    Raises:
        InputError: For labels that are no class of the model, weights below 0, or settings that do not go together.
    """

    # Stock Trainer believes that BERT-family heads divided by `num_items_in_batch`; they did not, and the loss grows
    # with accumulation steps and ranks (https://github.com/huggingface/transformers/issues/47688). Ours is divided.
    loss_is_scaled_for_ga = True
    model: Any  # never None here, whatever Trainer's own annotations allow
    train_dataset: Any
    lr_scheduler: Any
    example_columns: tuple[str, ...] = ("index", "synthetic", "weight")

    def __init__(self, *args: Any, loss: str = "ce", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.notes: list[str] = []  # what its user must know of the training, in sentences
        if self.compute_loss_func is not None:
            raise InputError(
                "`compute_loss_func` would not be called: the loss of each example is that named by `loss`"
            )
        self._refuse_uneven_ranks()
        self._refuse_labels()
        self._refuse_weights()
        smoothing = self.args.label_smoothing_factor
        if smoothing and loss != "ce":
            raise InputError(f"`label_smoothing_factor` belongs to the loss `ce`; got {smoothing} with {loss!r}")
        if isinstance(self.model, SpanLogits):
            if smoothing:
                raise InputError(f"`label_smoothing_factor` needs classes, which spans do not have; got {smoothing}")
            # Positions: logits of batches of different lengths could not be joined.
            self.preprocess_logits_for_metrics = lambda logits, labels: best_spans(logits)
        self._training_loss, self._plain = example_loss(loss, smoothing=smoothing), example_loss()

    def example_weights(self, columns: Mapping[str, Tensor]) -> Tensor | None:
        """Return how much each example counts, [N] (mean 1 over the data set), or None where all count the same."""
        return columns.get("weight")

    def regularizer(self, logits: Tensor, labels: Tensor, columns: Mapping[str, Tensor]) -> Tensor | None:
        """Return what is added to each example's weighted loss, [N], or None.

        Rows that several ranks hold twice at the end of an epoch have the label -100 and are not counted.
        """
        return None

    def side_state(self) -> dict[str, Any]:
        """Return what a checkpoint must hold besides model and optimizer, alike on all ranks."""
        return {}

    def load_side_state(self, state: dict[str, Any]) -> None:
        """Take back, from CPU tensors, what `side_state` returned when the checkpoint was written."""

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Take one step as Trainer does, and refuse to go on from a loss that is not a number.

        Raises:
            InputError: If the loss is not finite; Trainer alone would leave it out of its logs and train on.
        """
        loss = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise InputError(
                f"the loss became {loss.item()} after {self.state.global_step} steps; lower `learning_rate` (it is "
                f"{self.args.learning_rate}), or look for rows whose weight is not a number"
            )
        return loss

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return this micro-batch's share of the loss; without `num_items_in_batch`, its own mean."""
        columns, inputs, labels = self.split(inputs)
        outputs = model(**inputs)
        logits = (outputs["logits"] if isinstance(outputs, dict) else outputs[0]).float()
        if labels.shape != logits.shape if labels.is_floating_point() else labels.shape != logits.shape[:-1]:
            shapes = f"{labels.dtype} {tuple(labels.shape)} for logits {tuple(logits.shape)}"
            raise InputError(f"`labels` must be one class index per prediction or a target per class; got {shapes}.")
        losses = self._losses(logits, labels, columns if model.training else None)
        if num_items_in_batch is None or not model.training:
            loss = losses.sum() / counted(labels).sum().clamp(min=1)
        else:
            # Gradients and logged losses are averaged over ranks afterwards, while the count is already global.
            loss = losses.sum() * self.args.world_size / num_items_in_batch
        return (loss, {"logits": logits}) if return_outputs else loss

    def split(self, inputs: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any], Tensor]:
        """Return a batch's example columns, what the model gets, and the labels."""
        columns = {name: inputs[name] for name in self.example_columns if name in inputs}
        rest = {name: value for name, value in inputs.items() if name not in columns and name != "labels"}
        return columns, rest, inputs["labels"]

    def _losses(self, logits: Tensor, labels: Tensor, columns: Mapping[str, Tensor] | None) -> Tensor:
        if columns is None:
            return self._plain(logits, labels)
        losses = self._training_loss(logits, labels)
        if (weights := self.example_weights(columns)) is not None:
            losses = losses * weights.to(losses)
        if (extra := self.regularizer(logits, labels, columns)) is not None:
            losses = losses + extra
        return torch.where(counted(labels), losses, 0.0)

    def batches_of(
        self, data: Any, rows: Sequence[int] | None = None, size: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield this rank's share of a data set's rows for a pass outside training, which moves no random state.

        Rows come longest first, so that those of a batch are of one length, or in the order given where `size` is.
        Every rank gets equally many batches, of `per_device_eval_batch_size` rows or `size`, with all columns of a
        training batch; the labels of a batch that a rank has only to keep the others company are -100.
        """
        data = self._remove_unused_columns(data, "pass") if isinstance(data, Dataset) else data
        order = list(rows) if rows is not None and size else longest_first(data, rows)
        size = min(size or self.args.per_device_eval_batch_size, self.args.per_device_eval_batch_size)
        ranks, rank = self.args.world_size, self.args.process_index
        for start in range(0, len(order), size * ranks):
            mine = order[start + rank * size : start + (rank + 1) * size]
            chosen = mine or order[:1]
            batch = self.data_collator(
                data.__getitems__(chosen) if hasattr(data, "__getitems__") else [data[at] for at in chosen]
            )
            if not mine:
                batch["labels"] = torch.full_like(batch["labels"], IGNORED)
            yield self._prepare_inputs(batch)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """Collect the batches of one optimizer step; count their examples over all ranks, repeated rows left out."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if batches and self.args.world_size > 1 and not self.args.dataloader_drop_last:
            loader: Any = self.callback_handler.train_dataloader
            # Not `gradient_state.remainder`: after a resume in mid-epoch accelerate does not know it.
            at_once = self.global_batch // self.args.gradient_accumulation_steps
            batches[-1] = self._ignore_repeats(batches[-1], len(loader.dataset) % at_once)
        count = sum((counted(batch["labels"]).sum() for batch in batches), torch.tensor(0, device=device))
        return batches, self.accelerator.reduce(count).clamp(min=1)

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

    def _refuse_labels(self) -> None:
        """Raise `InputError` for labels that are no class: a loss would take some for another, in silence."""
        judged: Any = self.eval_dataset
        several = judged if isinstance(judged, dict) else {"eval_dataset": judged}
        for name, data in {"train_dataset": self.train_dataset, **several}.items():
            if hasattr(data, "__len__") and {"labels", "label"} & {*(getattr(data, "column_names", None) or ())}:
                labels, _ = labels_of(data)
                check_labels(np.where(labels == IGNORED, 0, labels), classes_of(self.model), name)

    def _refuse_weights(self) -> None:
        """Raise `InputError` for weights that are none: below 0 a row would be unlearnt."""
        data = self.train_dataset
        if not hasattr(data, "__len__") or "weight" not in (getattr(data, "column_names", None) or ()):
            return
        weight = numbers(data["weight"][:], "biuf", "`weight` must be a number in each row")
        if len(wrong := np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))):
            raise InputError(f"`weight` must be a number, 0 or more; row {wrong[0]} has {weight[wrong[0]]}")
        if len(weight) and not weight.any():
            raise InputError(f"`weight` is 0 in all {len(weight)} rows, and nothing would be learnt")

    def _refuse_sharding(self, reason: str) -> None:
        """Raise `InputError` where the parameters or the optimizer are spread over ranks."""
        for name, there in (("FSDP", self.is_fsdp_enabled), ("DeepSpeed", self.is_deepspeed_enabled)):
            if there:
                raise InputError(f"{type(self).__name__} does not work under {name}: {reason}; launch it with DDP")

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        names: Any = [*(self._signature_columns or []), *self.example_columns]
        self._signature_columns = names

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        # Trainer reads a checkpoint back by the names in the model's own state, and leaves out in silence what has
        # another, as `save_pretrained` gives it for ViT, Nomic's BERT, mixtures of experts and more
        # (https://github.com/huggingface/transformers/issues/43701).
        model = self.accelerator.unwrap_model(self.model)
        if not isinstance(model, PreTrainedModel):
            return super()._save_checkpoint(*args, **kwargs)
        model.save_pretrained = partial(model.save_pretrained, save_original_format=False)  # type: ignore[method-assign]
        try:
            return super()._save_checkpoint(*args, **kwargs)
        finally:
            del model.save_pretrained

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


def longest_first(data: Any, rows: Sequence[int] | None = None) -> list[int]:
    """Return positions of rows, all or some, the longest first: what does not fit the memory shows at once."""
    chosen = np.arange(len(data)) if rows is None else np.asarray(rows)
    if not isinstance(data, Dataset) or "input_ids" not in data.column_names:
        return chosen.tolist()
    tables = data.select_columns("input_ids").with_format("arrow").iter(10_000)
    lengths = np.concatenate([pc.list_value_length(table["input_ids"]).to_numpy() for table in tables])
    return chosen[np.argsort(-lengths[chosen], kind="stable")].tolist()
