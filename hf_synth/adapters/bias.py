"""Bias tuning: the model's own biases, or new ones where it has none."""

from __future__ import annotations

from typing import Any

from . import library
from .chosen import Chosen


def attach(model: Any, adapt: str, size: int) -> Chosen | library.Library:
    """Return adapters that are a model's biases (BitFit, https://huggingface.co/papers/2106.10199).

    Models such as SmolLM2 and Gemma have none: biases are then added to the value projections (peft's BEFT).

    Raises:
        InputError: Where BEFT does not know the architecture.
    """
    names = [name for name, _ in model.named_parameters() if name.rpartition(".")[2] == "bias"]
    return Chosen(model, names) if names else library.attach(model, adapt, size)
