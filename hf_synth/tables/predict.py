"""What a tuned model gives for a missing cell: the probability of every word that the column allows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from ..adapters import attach
from ..adapters.folder import ALL
from ..errors import InputError
from ..generators.local.processor import best_device, best_dtype
from .settings import ImputerConfig

Asked = tuple[tuple[int, ...], tuple[int, ...]]  # tokens that are read, and tokens of the words that may come
Answer = tuple[list[float], float]  # a probability for each word, summing to 1, and what they sum to in the model


class Predictor(Protocol):
    """Tells how likely words are."""

    def __call__(self, asked: Sequence[Asked]) -> list[Answer]:
        """Return an answer each; a function of what is asked together alone."""
        ...


def open_layers(path: str, layers: int | None) -> Any:
    """Return a causal model, or the first of its layers and its head, in the fastest type of this processor.

    Raises:
        InputError: For a model that reads its prompts elsewhere than it writes.
    """
    config = AutoConfig.from_pretrained(path)
    if config.is_encoder_decoder:
        raise InputError("cells are imputed by a causal model; this one has an encoder")
    config.num_hidden_layers = min(layers or config.num_hidden_layers, config.num_hidden_layers)
    device = best_device()
    model: Any = AutoModelForCausalLM.from_pretrained(path, config=config, dtype=best_dtype(device))
    return model.to(device)


class TunedModel:
    """A model with the LoRA that `tune_on_cells` wrote, loaded when it is first asked.

    Args:
        path: The model's folder.
        adapter: The LoRA's.
        config: How it was tuned, and how many rows it reads at once.
    """

    def __init__(self, path: str, adapter: Path, config: ImputerConfig):
        self.path, self.adapter, self.config = path, adapter, config

    @cached_property
    def model(self) -> Any:
        """The model."""
        model = open_layers(self.path, self.config.layers)
        adapters = attach(model, "lora", self.config.adapter_size)
        adapters.load(ALL, self.adapter)
        return model.eval()

    def __call__(self, asked: Sequence[Asked]) -> list[Answer]:
        """See `Predictor`; equal questions are asked once."""
        kinds = sorted(set(asked), key=lambda one: (len(one[0]), one))
        found: dict[Asked, Answer] = {}
        size = self.config.batch_size
        for first in range(0, len(kinds), size):
            part = kinds[first : first + size]
            found |= zip(part, self._some(part), strict=True)
        return [found[one] for one in asked]

    @torch.inference_mode()
    def _some(self, asked: Sequence[Asked]) -> list[Answer]:
        model = self.model
        lengths = [len(tokens) for tokens, _ in asked]
        ids = torch.tensor(
            [[*tokens, *[0] * (max(lengths) - len(tokens))] for tokens, _ in asked], device=model.device
        )
        # On the right, where causal attention does not look: no mask is needed.
        short = model.dtype != torch.float32
        with torch.autocast(model.device.type, model.dtype) if short else nullcontext():
            states = model.get_decoder()(input_ids=ids).last_hidden_state
            last = states[torch.arange(len(asked)), torch.tensor(lengths) - 1]
            logits = model.get_output_embeddings()(last)
        chances = logits.float().log_softmax(-1).cpu().double().exp()
        answers = []
        for row, (_, words) in zip(chances, asked, strict=True):
            some = row[list(words)]
            mass = float(some.sum())
            spread = some / mass if mass > 0 else torch.full_like(some, 1 / len(words))
            answers.append((spread.tolist(), mass))
        return answers
