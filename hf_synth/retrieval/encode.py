"""From texts to vectors: an encoder, and a corpus encoded once into memory-mapped half-precision shards."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from ..journal import console
from .passages import Passages
from .settings import Pooling

SHARD = 16_384  # vectors in a file: so much is lost at most when encoding is killed
BLOCK = 4_096  # passages whose like lengths are encoded together
PIECE = 16_384  # vectors read at once
SAY = 15.0  # seconds between words about progress
Floats = NDArray[np.float32]


def pooled(hidden: torch.Tensor, mask: torch.Tensor, pooling: Pooling, normalize: bool) -> torch.Tensor:
    """Return one vector a text, [N, D].

    Args:
        hidden: Last hidden states, [N, T, D].
        mask: 1 for tokens, 0 for padding, [N, T].
        pooling: The first token's state (the paper's), or the mean over tokens.
        normalize: Give every vector the length 1.
    """
    if pooling == "cls":
        vectors = hidden[:, 0]
    else:
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        vectors = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
    return torch.nn.functional.normalize(vectors, dim=-1) if normalize else vectors


def longest(tokenizer: Any, model: Any, wanted: int) -> int:
    """Return the tokens a text is cut to: those wanted, or as many as the model has positions for."""
    positions = getattr(model.config, "max_position_embeddings", None) or wanted
    return min(wanted, positions, tokenizer.model_max_length)


class Encoder:
    """Gives texts their vectors.

    Args:
        path: Folder of the checkpoint.
        pooling: See `pooled`.
        normalize: See `pooled`.
        max_length: Tokens a text is cut to.
    """

    def __init__(self, path: str | Path, pooling: Pooling, normalize: bool, max_length: int):
        self.device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.model = AutoModel.from_pretrained(path, dtype=torch.float32).to(self.device).eval()
        self.pooling, self.normalize = pooling, normalize
        self.max_length = longest(self.tokenizer, self.model, max_length)

    @property
    def separator(self) -> str:
        """The token that stands between two texts, if the tokenizer has one."""
        return self.tokenizer.sep_token or ""

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str], batch_size: int = 32) -> Floats:
        """Return the texts' vectors, [N, D]; like lengths go together."""
        cut: dict[str, Any] = {"truncation": True, "max_length": self.max_length}
        ids = self.tokenizer(list(texts), return_attention_mask=False, return_token_type_ids=False, **cut)["input_ids"]
        order = sorted(range(len(ids)), key=lambda at: (len(ids[at]), at))
        found: Floats = np.empty((len(ids), self.model.config.hidden_size), np.float32)
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            inputs = self.tokenizer.pad({"input_ids": [ids[at] for at in places]}, return_tensors="pt").to(self.device)
            hidden = self.model(**inputs).last_hidden_state
            found[places] = pooled(hidden, inputs["attention_mask"], self.pooling, self.normalize).cpu().numpy()
        return found


def encode_corpus(encoder: Encoder, passages: Passages, folder: Path) -> None:
    """Write the vectors of all passages into shards; shards that are there stay, so a killed encoding goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    told = time.monotonic()
    for number, first in enumerate(range(0, len(passages), SHARD)):
        shard, last = folder / f"vectors-{number:05}.npy", min(first + SHARD, len(passages))
        if shard.exists():
            continue
        vectors: NDArray[np.float16] = np.empty((last - first, encoder.model.config.hidden_size), np.float16)
        for start in range(first, last, BLOCK):
            end = min(start + BLOCK, last)
            vectors[start - first : end - first] = encoder(passages[start:end])
            if time.monotonic() - told > SAY:
                console.print(f"corpus: {end:,} of {len(passages):,} passages encoded")
                told = time.monotonic()
        aside = shard.with_name(f".{shard.name}.{os.getpid()}.npy")
        np.save(aside, vectors)
        aside.rename(shard)


class Vectors:
    """The vectors of a corpus, [N, D], mapped from its shards: only what is read comes into memory."""

    def __init__(self, folder: Path):
        self.shards = [np.load(path, mmap_mode="r") for path in sorted(folder.glob("vectors-*.npy"))]
        self.starts = np.cumsum([0, *map(len, self.shards)])
        self.width = self.shards[0].shape[1]

    def __len__(self) -> int:
        return int(self.starts[-1])

    def rows(self, places: NDArray[np.int64]) -> Floats:
        """Return the vectors at these places, [len(places), D]."""
        found: Floats = np.empty((len(places), self.width), np.float32)
        of = np.searchsorted(self.starts, places, side="right") - 1
        for number in np.unique(of):
            here = of == number
            found[here] = self.shards[number][places[here] - self.starts[number]]
        return found

    def blocks(self) -> Iterator[tuple[int, Floats]]:
        """Yield all vectors in pieces, each with the place of its first."""
        for first, shard in zip(self.starts, self.shards, strict=False):
            for start in range(0, len(shard), PIECE):
                yield int(first) + start, shard[start : start + PIECE].astype(np.float32)
