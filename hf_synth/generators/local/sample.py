"""Sampling one token per row from next-token distributions, each row from a stream of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

TRIES = 8  # draws from the whole distribution before a row's vocabulary is sorted
BLOCK = 256  # tokens whose probabilities are summed before single ones are looked at


def streams(seed: int, rows: int, steps: int) -> torch.Tensor:
    """Return uniform draws of shape [rows, steps, TRIES + 1]; row `i` depends on `(seed, i)` alone."""
    shape = (steps, TRIES + 1)
    keys = [np.array([seed & (2**64 - 1), row], dtype=np.uint64) for row in range(rows)]
    return torch.from_numpy(np.stack([np.random.Generator(np.random.Philox(key=key)).random(shape) for key in keys]))


@dataclass(frozen=True)
class Sampler:
    """Temperature, then top-k, then nucleus (top-p), then min-p sampling, as transformers' warpers define them.

    The vocabulary is not sorted: a token is drawn from the whole distribution and kept when it belongs to the
    nucleus, that is when the tokens likelier than it hold less than `top_p`; otherwise another is drawn.

    Tokens of exactly equal probability at the edge of the nucleus are all in it; transformers keeps some of them, by
    the order in which they were sorted.

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

    def __call__(self, probabilities: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
        """Draw tokens [rows] from distributions [rows, vocabulary] at `uniforms` [rows, TRIES + 1].

        The temperature is in the distributions already.
        """
        if self.temperature == 0:
            return probabilities.argmax(-1)
        if 0 < self.top_k < probabilities.shape[-1]:
            least = probabilities.topk(self.top_k, dim=-1).values[:, -1:]
            probabilities = torch.where(probabilities < least, 0.0, probabilities)
            probabilities = probabilities / probabilities.sum(-1, keepdim=True)
        tokens = probabilities.new_empty(len(probabilities), dtype=torch.long)
        left = torch.arange(len(probabilities), device=probabilities.device)
        for attempt in range(TRIES):
            rows = probabilities if len(left) == len(probabilities) else probabilities[left]
            drawn = _drawn(rows, uniforms[left, attempt])
            kept = self._keeps(rows, drawn)
            tokens[left[kept]] = drawn[kept]
            left = left[~kept]
            if not len(left):
                return tokens
        tokens[left] = self._sorted(probabilities[left], uniforms[left, TRIES])
        return tokens

    def _keeps(self, probabilities: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Return whether each row's token belongs to what top-p and min-p keep."""
        own = probabilities.gather(-1, tokens[:, None])
        kept = torch.ones_like(tokens, dtype=torch.bool)
        if self.top_p < 1:
            kept &= torch.where(probabilities > own, probabilities, 0.0).sum(-1) < self.top_p
        if self.min_p:
            kept &= own[:, 0] >= self.min_p * probabilities.amax(-1)
        return kept

    def _sorted(self, probabilities: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
        """Draw from what top-p and min-p keep, found by sorting."""
        top, tokens = probabilities.sort(dim=-1, descending=True)
        inside = top.cumsum(-1) - top < self.top_p
        inside[:, 0] = True
        least = torch.where(inside, top, torch.inf).amin(-1, keepdim=True)
        keep = top >= torch.maximum(least, self.min_p * top[:, :1])
        return tokens.gather(-1, _first_above((top * keep).to(wide(top)).cumsum(-1), uniforms)[:, None])[:, 0]


def _drawn(probabilities: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """Return the token at which each row's cumulative probability passes its draw, found block by block."""
    gap = -probabilities.shape[-1] % BLOCK
    blocks = functional.pad(probabilities, (0, gap)) if gap else probabilities  # a pad of nothing copies too
    blocks = blocks.view(len(probabilities), -1, BLOCK)
    dtype = wide(probabilities)
    sums = blocks.sum(-1).to(dtype).cumsum(-1)
    block = _first_above(sums, uniforms)
    before = functional.pad(sums, (1, 0)).gather(-1, torch.stack([block, block + 1], -1))
    target = uniforms.to(sums) * sums[:, -1]
    within = ((target - before[:, 0]) / (before[:, 1] - before[:, 0])).clamp(0, 1 - torch.finfo(dtype).eps)
    inner = blocks[torch.arange(len(blocks), device=blocks.device), block].to(dtype).cumsum(-1)
    # Rounding, and logits that are no numbers, may point behind the last token.
    return (block * BLOCK + _first_above(inner, within)).clamp(max=probabilities.shape[-1] - 1)


def _first_above(cumulative: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """Return the first index whose cumulative weight exceeds the draw's share of the total."""
    below_one = uniforms.to(cumulative).clamp(max=1 - torch.finfo(cumulative.dtype).eps)
    target = below_one[:, None] * cumulative[:, -1:]
    index = torch.searchsorted(cumulative, target, right=True)[:, 0]
    return index.clamp(max=cumulative.shape[-1] - 1)


def wide(values: torch.Tensor) -> torch.dtype:
    """Return the widest floating point that the tensor's device has."""
    return torch.float32 if values.device.type == "mps" else torch.float64  # MPS has no float64


def steer_away(logits: torch.Tensor, against: torch.Tensor, strength: float) -> torch.Tensor:
    """Self-debiasing: scale down tokens that the counter prompts find likelier than the prompt itself.

    Source: https://huggingface.co/papers/2103.00453, as ZeroGen applies it to counter-labels. With `p` the prompt's
    distribution and `q` the largest probability under any counter prompt, a token's probability is multiplied by
    `max(exp(-strength * max(q - p, 0)), 0.01)`.

    Args:
        logits: Next-token logits under the prompts, [rows, vocabulary].
        against: Next-token logits under the counter prompts, [rows, counters, vocabulary].
        strength: The paper's lambda (200 in ZeroGen); 0 changes nothing.

    Returns:
        Log-probabilities up to a constant per row, [rows, vocabulary].
    """
    p = logits.float().softmax(-1)
    q = against.float().softmax(-1).amax(1)
    factor = torch.exp(-strength * (q - p).clamp(min=0)).clamp(min=0.01)
    return p.log() + factor.log()


def contrast(logits: torch.Tensor, against: torch.Tensor, weight: float, floor: float = 0.1) -> torch.Tensor:
    """Contrastive decoding: prefer tokens that the prompt makes likelier than its counter prompts do.

    Source: https://huggingface.co/papers/2309.09117, with a counter prompt in place of the amateur model. With `p` and
    `q` the distributions under the prompt and the counter prompts (their mean log-probability), tokens with
    `p >= floor * max p` get `(1 + weight) log p - weight log q`; the others are never drawn.

    Args:
        logits: Next-token logits under the prompts, [rows, vocabulary].
        against: Next-token logits under the counter prompts, [rows, counters, vocabulary].
        weight: The paper's beta.
        floor: The paper's alpha.

    Returns:
        Log-probabilities up to a constant per row, [rows, vocabulary].
    """
    p = logits.float().log_softmax(-1)
    q = against.float().log_softmax(-1).mean(1)
    plausible = p >= p.amax(-1, keepdim=True) + math.log(floor)
    return torch.where(plausible, (1 + weight) * p - weight * q, -torch.inf)


class Repetition:
    """Reward for words of the given text and penalty for words already there, as SuperGen's code has them.

    Source: https://huggingface.co/papers/2202.04538, equation 2, with the sign rule of CTRL
    (https://huggingface.co/papers/1909.05858): a token's logit is divided by its factor where it is positive and
    multiplied where it is negative. The factor is `penalty` for tokens of the prompt and the text so far, `reward`
    (below 1 makes them likelier) for tokens of the given text that are not among those, and 1 for others.

    Args:
        prompts: Token ids of each prompt without the given text.
        given: Token ids of each prompt's given text.
        vocabulary: Number of tokens.
        penalty: The paper's beta.
        reward: The paper's alpha.
        device: Where the logits are.
    """

    def __init__(
        self,
        prompts: list[list[int]],
        given: list[list[int]],
        vocabulary: int,
        penalty: float,
        reward: float,
        device: torch.device,
    ):
        self.penalty = penalty
        self.factors = torch.ones(len(prompts), vocabulary, device=device)
        for factors, prompt, words in zip(self.factors, prompts, given, strict=True):
            factors[words] = reward
            factors[prompt] = penalty

    def __call__(self, logits: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Return the changed logits [rows, vocabulary] of the prompts at `places` [rows]."""
        factors = self.factors[places]
        return torch.where(logits > 0, logits / factors, logits * factors)

    def saw(self, places: torch.Tensor, tokens: torch.Tensor) -> None:
        """Note the tokens [rows] that were sampled for the prompts at `places` [rows]."""
        self.factors[places, tokens] = self.penalty
