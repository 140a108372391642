"""The decoding loop: sample until a stop string, drop finished rows from the batch as they finish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ...records import Completion
from .sample import Sampler, steer_away

COMPACT = 0.75  # rows are removed when fewer than this share are still unfinished


@dataclass
class _Row:
    """One prompt's answer as it grows."""

    place: int
    tokens: list[int] = field(default_factory=list)
    logprob: float = 0.0
    text: str = ""
    finish: str = ""


class Stops:
    """Sees stop strings as soon as they are decoded, looking only at tokens that can end one."""

    def __init__(self, tokenizer: Any, stop: Sequence[str], end_tokens: Sequence[int]):
        self.tokenizer, self.stop, self.end_tokens = tokenizer, tuple(stop), frozenset(end_tokens)
        last = {s[-1] for s in self.stop}
        texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
        # A token of half a character may end a stop string that is not ASCII.
        self.candidates = frozenset(i for i, text in enumerate(texts) if last.intersection(text) or "\ufffd" in text)

    def check(self, row: _Row) -> bool:
        """Note on the row whether its newest token ended it; its text is set when it did."""
        newest = row.tokens[-1]
        if newest in self.end_tokens:
            row.text, row.finish = self.tokenizer.decode(row.tokens[:-1], skip_special_tokens=True), "stop"
        elif newest in self.candidates:
            text = self.tokenizer.decode(row.tokens, skip_special_tokens=True)
            cuts = [at for at in (text.find(s) for s in self.stop) if at >= 0]
            if cuts:
                row.text, row.finish = text[: min(cuts)], "stop"
        return bool(row.finish)

    def at_length(self, row: _Row) -> None:
        """Close a row that reached the token limit."""
        row.text, row.finish = self.tokenizer.decode(row.tokens, skip_special_tokens=True), "length"


def decode(
    forward: Any,
    sampler: Sampler,
    uniforms: torch.Tensor,
    stops: Stops,
    *,
    lanes: int,
    strength: float,
) -> list[Completion]:
    """Sample completions for one batch.

    Args:
        forward: A started forward pass whose rows stand in groups of `lanes`: each prompt, then its counter prompts.
        sampler: Draws the tokens.
        uniforms: One draw per row and step, [rows, max_new_tokens].
        stops: Tells when a row is finished.
        lanes: Forward rows per prompt.
        strength: Self-debiasing strength, used where there are counter prompts.

    Returns:
        One completion per prompt, in order.
    """
    rows = [_Row(place) for place in range(len(uniforms))]
    live, logits = list(rows), forward.logits
    for step in range(uniforms.shape[1]):
        grouped = logits.view(len(live), lanes, -1)
        main = grouped[:, 0].float()
        steered = steer_away(main, grouped[:, 1:], strength) if lanes > 1 else main
        tokens = sampler(steered, uniforms[[row.place for row in live], step])
        logprobs = main.gather(-1, tokens[:, None])[:, 0] - main.logsumexp(-1)
        for row, token, logprob in zip(live, tokens.tolist(), logprobs.tolist(), strict=True):
            if not row.finish:
                row.tokens.append(token)
                row.logprob += logprob
                stops.check(row)
        unfinished = [at for at, row in enumerate(live) if not row.finish]
        if not unfinished or step + 1 == uniforms.shape[1]:
            break
        if len(unfinished) < COMPACT * len(live):
            keep = torch.tensor(unfinished, device=tokens.device)
            live, tokens = [live[at] for at in unfinished], tokens[keep]
            forward.keep((keep[:, None] * lanes + torch.arange(lanes, device=keep.device)).flatten())
        logits = forward.step(tokens.repeat_interleave(lanes))
    for row in rows:
        if not row.finish:
            stops.at_length(row)
    return [Completion(row.text, row.logprob / len(row.tokens), len(row.tokens), row.finish) for row in rows]
