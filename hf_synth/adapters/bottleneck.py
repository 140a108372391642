"""Bottleneck adapters: a small two-layer network behind each layer (https://huggingface.co/papers/1902.00751).

Placed once a layer, behind its feed-forward part, as in https://huggingface.co/papers/2005.00247.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import nn

from . import WEIGHTS, Adapters
from .layers import layers_of


def attach(model: Any, adapt: str, size: int) -> Bottlenecks:
    """Return bottleneck adapters beside a model; see `Adapters`."""
    return Bottlenecks(model, size)


class Bottleneck(nn.Module):
    """Adds to what it gets a function of it that goes through few units and begins as zero."""

    def __init__(self, width: int, size: int):
        super().__init__()
        self.down, self.up = nn.Linear(width, size), nn.Linear(size, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return hidden states of the same shape."""
        return hidden + self.up(nn.functional.gelu(self.down(hidden.to(self.down.weight)))).to(hidden)


class Bottlenecks(Adapters):
    """See `Adapters`.

    Args:
        model: The model.
        size: Units that an adapter goes through.
    """

    def __init__(self, model: Any, size: int):
        self.model = self.trained = model
        self.size, self.name = size, None  # type: int, str | None
        layers = [layer for stack in layers_of(model) for layer in stack]
        self.depth, self.width = len(layers), model.get_input_embeddings().weight.shape[1]
        self.sets = nn.ModuleDict()
        for place, layer in enumerate(layers):
            layer.register_forward_hook(self._hook(place))
        model.add_module("bottlenecks", self.sets)  # where a trainer finds them

    def _hook(self, place: int) -> Any:
        def adapt(layer: nn.Module, inputs: Any, output: Any) -> Any:
            if self.name is None:
                return output
            adapter: Any = self.sets[self.name]
            if isinstance(output, torch.Tensor):
                return adapter[place](output)
            return (adapter[place](output[0]), *output[1:])

        return adapt

    def add(self, name: str, ids: list[int]) -> None:
        """See `Adapters`."""
        fresh = nn.ModuleList(Bottleneck(self.width, self.size) for _ in range(self.depth))
        self.sets[name] = fresh.to(self.model.device)
        self.use(name)

    def use(self, name: str | None) -> None:
        """See `Adapters`."""
        self.name = name
        for other, adapter in self.sets.items():
            adapter.requires_grad_(other == name)

    def own(self, name: str) -> Mapping[str, torch.Tensor]:
        """See `Adapters`."""
        return dict(self.sets[name].named_parameters())

    def save(self, name: str, folder: Path) -> None:
        """See `Adapters`."""
        folder.mkdir(parents=True, exist_ok=True)
        save_model(self.sets[name], str(folder / WEIGHTS))

    def load(self, name: str, folder: Path) -> None:
        """See `Adapters`."""
        self.add(name, [])
        load_model(self.sets[name], str(folder / WEIGHTS))
