"""A small head on embeddings that were computed once: a student in seconds, which cannot learn rows by heart."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig

HIDDEN = 256


class FrozenHead(nn.Module):
    """Two layers on embeddings that stay as they are; `input_ids` are places in their table.

    Args:
        table: Embeddings, [rows, D].
        classes: How many.
    """

    def __init__(self, table: torch.Tensor, classes: int) -> None:
        super().__init__()
        self.config = PreTrainedConfig(num_labels=classes)  # type: ignore[call-arg]
        self.table = table  # no buffer: ranks would send it to each other
        self.layers = nn.Sequential(
            nn.Linear(table.shape[1], HIDDEN), nn.GELU(), nn.Dropout(0.1), nn.Linear(HIDDEN, classes)
        )

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, Any]:
        """Return `logits` [N, K] of the rows [N, 1]."""
        embeddings = self.table[input_ids[:, 0].to(self.table.device)]
        return {"logits": self.layers(embeddings.to(input_ids.device))}
