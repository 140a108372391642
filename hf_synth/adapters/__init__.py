"""Small sets of trained parameters beside a frozen language model, by name: one for each label, or one for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .settings import AdapterConfig, TuningConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["WEIGHTS", "AdapterConfig", "Adapters", "TuningConfig", "attach"]

WEIGHTS = "adapter_model.safetensors"  # of a set, as peft calls it

FILES = {
    **dict.fromkeys(("prefix", "prompt", "lora", "dora"), "library"),
    **dict.fromkeys(("last_layer", "embeddings"), "chosen"),
    "bias": "bias",
    "bottleneck": "bottleneck",
    "prefixes": "prefixes",
    "mixture": "mixture",
}


class Adapters:
    """Sets of trained parameters of one kind, by name, beside one model, which they share.

    Attributes:
        trained: What a trainer runs: the model, or a wrapper around it. The parameters of the set in use, and no
            others, take gradients.
        behind: Whether soft tokens stand behind a prompt, and the set in place of the rest of it.
    """

    trained: nn.Module
    behind = False

    def add(self, name: str, ids: Any) -> None:
        """Add a set and use it; where it holds tokens, they start as these token ids."""
        raise NotImplementedError

    def use(self, name: str | None) -> None:
        """Let the model answer with a set, or as it was; what only stands in front of a text changes no model."""

    def own(self, name: str) -> Mapping[str, Tensor]:
        """Return a set's parameters."""
        raise NotImplementedError

    def start(self, name: str) -> list[tuple[Tensor, Tensor]]:
        """Return the keys and values, [heads, tokens, size] a layer, that stand in front of every text; or none."""
        return []

    def soft(self, name: str, sets: Sequence[Sequence[str]], ids: Sequence[Sequence[int]]) -> Sequence[Tensor] | None:
        """Return the embeddings, [tokens, width], of each prompt's soft tokens; or none.

        Args:
            name: A set.
            sets: The labels that each prompt asks for.
            ids: Each prompt's tokens.
        """
        return None

    def save(self, name: str, folder: Path) -> None:
        """Write a set."""
        raise NotImplementedError

    def load(self, name: str, folder: Path) -> None:
        """Read a set that was written, add it and use it."""
        raise NotImplementedError


def attach(model: Any, adapt: str, size: int) -> Adapters:
    """Freeze a model and return what holds its adapters; there are none yet.

    Args:
        model: A causal or encoder-decoder model.
        adapt: See `AdapterConfig`; or `prefixes`, which are FewGen's, or `mixture`, MSP's.
        size: See `AdapterConfig.size`.

    Raises:
        InputError: If nothing would be trained.
    """
    model.requires_grad_(False)
    return cast(Adapters, import_module(f".{FILES[adapt]}", __name__).attach(model, adapt, size))
