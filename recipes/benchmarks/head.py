"""The student of the cheap cells: a head on MiniLM embeddings that are computed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, PretrainedConfig

from hf_synth.settings import StudentConfig
from hf_synth.student import load_student


class CachedHead(nn.Module):
    """A head of two layers on embeddings that were computed once; `input_ids` are row numbers."""

    def __init__(self, table: torch.Tensor, classes: int) -> None:
        super().__init__()
        self.config = PretrainedConfig(num_labels=classes)
        self.table = table
        self.layers = nn.Sequential(
            nn.Linear(table.shape[1], 256), nn.GELU(), nn.Dropout(0.1), nn.Linear(256, classes)
        )

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Return logits [N, K] of rows [N, 1]."""
        return {"logits": self.layers(self.table[input_ids[:, 0]])}


def embed(texts: list[str], cache: Path) -> torch.Tensor:
    """Return mean MiniLM embeddings of texts, [N, 384], from the cache where they stand there."""
    if cache.exists():
        return torch.load(cache, weights_only=True)
    found = embeddings(texts)
    cache.parent.mkdir(parents=True, exist_ok=True)
    torch.save(found, cache)
    return found


@torch.inference_mode()
def embeddings(texts: list[str]) -> torch.Tensor:
    """Return mean MiniLM embeddings of texts, [N, 384]."""
    model, tokenizer, _ = load_student(StudentConfig(), ["a", "b"], [])
    encoder: Any = AutoModel.from_pretrained(model.name_or_path).eval()
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    found = torch.zeros(len(texts), encoder.config.hidden_size)
    for start in range(0, len(order), 64):
        rows = order[start : start + 64]
        batch = tokenizer(
            [texts[at] for at in rows], truncation=True, max_length=128, padding=True, return_tensors="pt"
        )
        mask = batch["attention_mask"].unsqueeze(-1).float()
        found[rows] = (encoder(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
    return found
