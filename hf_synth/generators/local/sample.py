"""Sampling one token per row from next-token logits, each row from a stream of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

BOUND = 256  # tokens looked at before the full vocabulary is sorted


def streams(seed: int, rows: int, steps: int) -> torch.Tensor:
    """Return uniform draws of shape [rows, steps]; row `i` depends on `(seed, i)` alone."""
    draws = [np.random.Generator(np.random.Philox(key=[seed & (2**64 - 1), i])).random(steps) for i in range(rows)]
    return torch.from_numpy(np.stack(draws))


@dataclass(frozen=True)
class Sampler:
    """Temperature, then top-k, then nucleus (top-p), then min-p sampling, as transformers' warpers define them.

    Attributes:
        temperature: Divides the logits; 0 takes the likeliest token.
        top_k: Keep this many tokens; 0 keeps all.
        top_p: Keep the fewest tokens whose probabilities sum to this (https://huggingface.co/papers/1904.09751).
        min_p: Keep tokens at least this likely relative to the likeliest.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def __call__(self, logits: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
        """Draw tokens [rows] from logits [rows, vocabulary] by inverting the distribution at `uniforms` [rows]."""
        if self.temperature == 0:
            return logits.argmax(-1)
        logits = logits.float() / self.temperature
        if self.top_k == 0 and self.top_p >= 1 and self.min_p == 0:
            return _invert(logits.softmax(-1), uniforms)
        width = min(self.top_k or BOUND, logits.shape[-1])
        probabilities, tokens, fits = self._kept(logits, width)
        drawn = tokens.gather(-1, _invert(probabilities, uniforms)[:, None])[:, 0]
        if not fits.all():  # the nucleus of some rows is wider than the bound: sort those rows whole
            rest = ~fits
            probabilities, tokens, _ = self._kept(logits[rest], logits.shape[-1])
            drawn[rest] = tokens.gather(-1, _invert(probabilities, uniforms[rest])[:, None])[:, 0]
        return drawn

    def _kept(self, logits: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return probabilities [rows, width] with dropped tokens at zero, their ids, and whether all kept ones fit."""
        top, tokens = logits.topk(width, dim=-1)
        # With top-k the nucleus is taken within the k tokens; without it, within the whole vocabulary.
        total = (top if self.top_k else logits).logsumexp(-1, keepdim=True)
        probabilities = (top - total).exp()
        before = probabilities.cumsum(-1) - probabilities
        keep = before < self.top_p
        if self.min_p:
            keep &= probabilities >= self.min_p * probabilities[:, :1]
        keep[:, 0] = True
        fits = ~keep[:, -1] if not self.top_k and width < logits.shape[-1] else torch.ones_like(keep[:, 0])
        return probabilities * keep, tokens, fits


def _invert(probabilities: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """Return the first index whose cumulative probability exceeds the uniform draw's share of the total."""
    wide = torch.float32 if probabilities.device.type == "mps" else torch.float64  # MPS has no float64
    cumulative = probabilities.to(wide).cumsum(-1)
    target = uniforms.to(wide).to(cumulative.device)[:, None] * cumulative[:, -1:]
    index = torch.searchsorted(cumulative, target, right=True)[:, 0]
    return index.clamp(max=probabilities.shape[-1] - 1)


def steer_away(logits: torch.Tensor, against: torch.Tensor, strength: float, floor: float = 0.01) -> torch.Tensor:
    """Self-debiasing: scale down tokens that the counter prompts find likelier than the prompt itself.

    Source: https://huggingface.co/papers/2103.00453, as ZeroGen applies it to counter-labels. With `p` the prompt's
    distribution and `q` the largest probability under any counter prompt, a token's probability is multiplied by
    `max(exp(-strength * max(q - p, 0)), floor)`.

    Args:
        logits: Next-token logits under the prompts, [rows, vocabulary].
        against: Next-token logits under the counter prompts, [rows, counters, vocabulary].
        strength: The paper's lambda (200 in ZeroGen); 0 changes nothing.
        floor: Smallest factor.

    Returns:
        Log-probabilities up to a constant per row, [rows, vocabulary].
    """
    p = logits.float().softmax(-1)
    q = against.float().softmax(-1).amax(1)
    factor = torch.exp(-strength * (q - p).clamp(min=0)).clamp(min=floor)
    return p.log() + factor.log()
