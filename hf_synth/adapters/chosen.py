"""Adapters that are parameters of the model itself, trained in place: each set has its own values of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from . import WEIGHTS, Adapters
from .layers import layers_of


def attach(model: Any, adapt: str, size: int) -> Chosen:
    """Return adapters that are the last layer of a model (of its decoder), or its input embeddings.

    Where embeddings and output share their weights, both are trained.
    """
    parts = model.get_input_embeddings() if adapt == "embeddings" else layers_of(model)[-1][-1]
    chosen = set(parts.parameters())
    return Chosen(model, [name for name, value in model.named_parameters() if value in chosen])


class Chosen(Adapters):
    """See `Adapters`; another set's values stand in the model's parameters while it is used.

    Args:
        model: The model.
        names: Its parameters of which each set has its own values.
    """

    def __init__(self, model: Any, names: Sequence[str]):
        self.model = self.trained = model
        parameters = dict(model.named_parameters())
        self.parameters = {name: parameters[name] for name in names}
        self.untouched = {name: value.data for name, value in self.parameters.items()}
        self.sets: dict[str, dict[str, torch.Tensor]] = {}

    def add(self, name: str, ids: list[int]) -> None:
        """See `Adapters`."""
        self.sets[name] = {key: value.clone() for key, value in self.untouched.items()}
        self.use(name)

    def use(self, name: str | None) -> None:
        """See `Adapters`."""
        values = self.untouched if name is None else self.sets[name]
        for key, parameter in self.parameters.items():
            parameter.data = values[key]
            parameter.requires_grad_(name is not None)

    def own(self, name: str) -> Mapping[str, torch.Tensor]:
        """See `Adapters`."""
        self.use(name)
        return self.parameters

    def save(self, name: str, folder: Path) -> None:
        """See `Adapters`."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in self.sets[name].items()}, folder / WEIGHTS)

    def load(self, name: str, folder: Path) -> None:
        """See `Adapters`."""
        self.sets[name] = {key: value.to(self.untouched[key]) for key, value in load_file(folder / WEIGHTS).items()}
        self.use(name)
