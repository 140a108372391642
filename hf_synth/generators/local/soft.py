"""Soft tokens: token ids beyond the vocabulary, whose embeddings stand in a table of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn


class SoftEmbedding(nn.Module):
    """An embedding layer that also knows soft tokens.

    Args:
        base: The model's own layer, of V tokens.
        table: Embeddings, [S, width], of the tokens V to V + S - 1, as they go into the first layer.
    """

    def __init__(self, base: nn.Module, table: torch.Tensor):
        super().__init__()
        self.base, self.table = base, table

    @property
    def weight(self) -> torch.Tensor:
        """Return the weights of the model's own layer."""
        return cast(torch.Tensor, self.base.weight)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the embeddings of token ids of any shape."""
        beyond = ids - self.weight.shape[0]
        own = self.base(ids.clamp(max=self.weight.shape[0] - 1))
        return torch.where((beyond >= 0)[..., None], self.table[beyond.clamp(min=0)].to(own), own)


@contextmanager
def soft_tokens(model: Any, table: torch.Tensor) -> Iterator[None]:
    """Let a model know soft tokens."""
    own = model.get_input_embeddings()
    model.set_input_embeddings(SoftEmbedding(own, table))
    try:
        yield
    finally:
        model.set_input_embeddings(own)


def led(
    prompts: Sequence[Sequence[int]], embeddings: Sequence[torch.Tensor], vocabulary: int, behind: bool = False
) -> tuple[list[list[int]], torch.Tensor]:
    """Return prompts with soft tokens in front (or behind), and the table of these.

    Args:
        prompts: Token ids.
        embeddings: Those of each prompt, [tokens, width]; prompts that share a tensor share its tokens.
        vocabulary: Tokens of the model.
        behind: Where they stand.
    """
    first: dict[int, int] = {}
    tables: list[torch.Tensor] = []
    end, found = vocabulary, []
    for ids, own in zip(prompts, embeddings, strict=True):
        if id(own) not in first:
            first[id(own)] = end
            tables.append(own)
            end += len(own)
        start = first[id(own)]
        new = range(start, start + len(own))
        found.append([*ids, *new] if behind else [*new, *ids])
    return found, torch.cat(tables)
