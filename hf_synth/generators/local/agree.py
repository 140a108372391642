"""Whether a model can be read by rows: asked of the model itself."""

from __future__ import annotations

import math
from typing import Any

import torch

from .attention import row_attention
from .forward import COPIED, PlainForward, RowForward

TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-3, torch.float16: 0.02, torch.bfloat16: 0.1}


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
    for shared in (4, COPIED + 8):
        if shared + 9 > window(model):
            continue
        start = [7 + (at * 37) % (vocabulary - 7) for at in range(shared)]
        prompts = [[*start, *((row * 11 + at * 5) % vocabulary for at in range(1 + 2 * row))] for row in range(4)]
        try:
            plain = PlainForward(model, prompts)
            expected = [plain.step(plain.admit(range(4))), plain.step([1, 2, 3, 4])]
            with row_attention(model):
                rows = RowForward(model, prompts, 4, 2)
                found = [rows.step(rows.admit(range(4))), rows.step([1, 2, 3, 4])]
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # whatever an unknown architecture trips over, transformers' own way remains
            if "allocate memory" in str(error):
                raise
            return False
        if any(_apart(ours, theirs) > TOLERANCE[model.dtype] for ours, theirs in zip(found, expected, strict=True)):
            return False
    return True


def _apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Return how far logits are from others, beside how far those are from one another."""
    ours, theirs = (x.float() - x.float().mean(-1, keepdim=True) for x in (ours, theirs))
    apart = ((ours - theirs).square().mean(-1) / theirs.square().mean(-1)).sqrt().max().item()
    return apart if math.isfinite(apart) else math.inf
