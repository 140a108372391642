"""Tuning a language model on the observed cells of a table: a LoRA that writes each value after those before it."""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import Trainer, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback

from ..adapters import TuningConfig, attach
from ..adapters.folder import ALL, write_record
from ..generators.tuning import trainer_arguments
from .predict import open_layers
from .serialise import Serialiser
from .settings import ImputerConfig

UNASKED = -100  # of a token that is no value


class ValueTrainer(Trainer):
    """Trainer whose loss is the cross entropy of values alone, over the whole vocabulary; names come in any order."""

    loss_is_scaled_for_ga = False

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the mean over the batch's values; the head is run where there are values, not everywhere."""
        labels, causal = inputs["labels"], self.accelerator.unwrap_model(model).get_base_model()
        with self.accelerator.autocast():
            states = causal.get_decoder()(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
            asked = labels[:, 1:] != UNASKED
            logits = causal.get_output_embeddings()(states.last_hidden_state[:, :-1][asked])
        return functional.cross_entropy(logits.float(), labels[:, 1:][asked])


def texts(
    serialiser: Serialiser, rows: Sequence[Mapping[str, Any]], label: str | None, epochs: int, seed: int
) -> list[dict[str, list[int]]]:
    """Return the rows as tokens, each epoch in another order of rows and columns.

    A label stands first, in half of the texts: what is asked without it then owes it nothing but the weights.
    """
    rng, found = random.Random(f"{seed}:orders"), []
    for _ in range(epochs):
        for row in rng.sample(list(rows), len(rows)):
            order = [name for name in serialiser.codings if row[name] is not None and name != label]
            rng.shuffle(order)
            if label and label in serialiser.codings and row[label] is not None and rng.random() < 0.5:
                order = [label, *order]
            if order:
                tokens, places = serialiser.row(row, order)
                values = set(places)
                labels = [token if at in values else UNASKED for at, token in enumerate(tokens)]
                found.append({"input_ids": tokens, "labels": labels})
    return found


def _collated(rows: Sequence[Mapping[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Return rows as tensors [rows, longest], padded on the right."""
    longest = max(len(row["input_ids"]) for row in rows)
    gaps = [longest - len(row["input_ids"]) for row in rows]
    parts = {
        "input_ids": [row["input_ids"] + [0] * gap for row, gap in zip(rows, gaps, strict=True)],
        "attention_mask": [[1] * (longest - gap) + [0] * gap for gap in gaps],
        "labels": [row["labels"] + [UNASKED] * gap for row, gap in zip(rows, gaps, strict=True)],
    }
    return {name: torch.tensor(part) for name, part in parts.items()}


def tune_on_cells(
    path: str,
    model_facts: Mapping[str, Any],
    serialiser: Serialiser,
    rows: Sequence[Mapping[str, Any]],
    label: str | None,
    config: ImputerConfig,
    folder: Path,
) -> dict[str, Any]:
    """Train a LoRA beside a frozen model on the observed cells of rows, and write it.

    Args:
        path: The model's folder.
        model_facts: What is known of it.
        serialiser: Makes the texts.
        rows: What to learn from.
        label: The label column, if any.
        config: See `ImputerConfig`.
        folder: An empty folder.

    Returns:
        What was recorded.

    Raises:
        InputError: For a model with an encoder.
    """
    model = open_layers(path, config.layers)
    set_seed(config.seed)
    adapters = attach(model, "lora", config.adapter_size)
    adapters.add(ALL, [])
    begun = time.perf_counter()
    data = texts(serialiser, rows, label, config.tune_epochs, config.seed)
    log = _trained(adapters.trained, data, config)
    losses = [entry["loss"] for entry in log if "loss" in entry]
    each = max(1, math.ceil(len(losses) / config.tune_epochs))
    adapters.save(ALL, folder)
    known = {
        **asdict(config),
        "adapt": "lora",
        "names": [ALL],
        "library": "peft",
        "model": dict(model_facts),
        "rows": len(rows),
        "loss": [round(sum(part) / len(part), 4) for part in (losses[:each], losses[-each:])],
        "seconds": round(time.perf_counter() - begun, 1),
    }
    return write_record(folder, adapters.own(ALL), known)


def _trained(model: Any, data: list[dict[str, list[int]]], config: ImputerConfig) -> list[dict[str, float]]:
    """Train the parameters that take gradients once over the texts, and return the log."""
    tuning = TuningConfig(tune_batch_size=config.tune_batch_size)
    with tempfile.TemporaryDirectory(prefix="hf_synth-") as scratch:
        rate, seed = config.tune_learning_rate, config.seed
        given = trainer_arguments(tuning, scratch, 1, rate, seed, model.device, len(data))
        # The texts come in their order, each epoch's after the other's.
        given |= {"train_sampling_strategy": "sequential", "remove_unused_columns": False}
        trainer = ValueTrainer(model, TrainingArguments(**given), train_dataset=data, data_collator=_collated)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return trainer.state.log_history
