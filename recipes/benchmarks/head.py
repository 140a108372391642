"""What the student of the cheap cells is a head on: MiniLM embeddings that are computed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel

from hf_synth.settings import StudentConfig
from hf_synth.student import load_student


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
