"""Whether a model can be read by rows: asked of the model itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from ..base import lacks_memory
from .attention import row_attention
from .forward import Forward, PlainForward
from .rows import COPIED, RowForward

# How far logits may be apart, and at most where transformers' own are far apart, read in a batch and alone.
TOLERANCE = {
    torch.float64: (1e-4, 1e-4),
    torch.float32: (1e-3, 1e-3),
    torch.float16: (0.01, 0.02),
    torch.bfloat16: (0.05, 0.1),
}


def window(model: Any) -> float:
    """Return up to how many tokens every layer sees all of them."""
    config = model.config.get_text_config()
    windows = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return min([math.inf, *(size for size in windows if size is not None)])


@torch.inference_mode()
def rows_agree(model: Any) -> bool:
    """Return whether a model gives the same through `RowForward` as with transformers' own attention and cache.

    Asked once for a loaded model, so that no list of architectures is kept: attention with something of its own
    (sinks, learned biases, recurrent layers) shows in the logits, or in an error.
    """
    vocabulary = model.config.get_text_config().vocab_size
    lengths = [shared for shared in (4, COPIED + 8) if shared + 9 <= window(model)]
    for shared in lengths:
        start = [7 + (at * 37) % (vocabulary - 7) for at in range(shared)]
        prompts = [[*start, *((row * 11 + at * 5) % vocabulary for at in range(1 + 2 * row))] for row in range(4)]
        try:
            expected = _two_steps(PlainForward(model, prompts), range(4))
            alone = torch.cat([_two_steps(PlainForward(model, prompts), [row]) for row in range(4)], 1)
            with row_attention(model):
                found = _two_steps(RowForward(model, prompts, 4, 2), range(4))
        except Exception as error:  # whatever an unknown architecture trips over, transformers' own way remains
            if lacks_memory(error):
                raise
            return False
        least, most = TOLERANCE[model.dtype]
        if _apart(found, expected) > min(most, max(least, 2 * _apart(alone, expected))):
            return False
    return bool(lengths)


def _two_steps(forward: Forward, rows: Sequence[int]) -> torch.Tensor:
    """Return the logits behind prompts and behind one more token, [2, rows, vocabulary]."""
    return torch.stack([forward.step(forward.admit(rows)), forward.step([row + 1 for row in rows])])


def _apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Return how far logits are from others, beside how far those are from one another."""
    ours, theirs = (x.float() - x.float().mean(-1, keepdim=True) for x in (ours, theirs))
    apart = ((ours - theirs).square().mean(-1) / theirs.square().mean(-1)).sqrt().max().item()
    return apart if math.isfinite(apart) else math.inf
