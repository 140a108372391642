"""The decoding loop: sample until a stop string; finished rows leave at once and waiting prompts take their place."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ...errors import InputError
from ...records import Completion
from ..encoding import written
from .forward import Forward
from .sample import Repetition, Sampler, contrast, steer_away, wide

REFILL = 0.125  # share of the rows that must be free before waiting prompts are read: small readings cost much
SLICE = 8  # prompts sampled at once on a CPU: their distributions then stay in its cache


@dataclass
class _Row:
    """One prompt's answer as it grows."""

    place: int
    tokens: list[int] = field(default_factory=list)
    logprob: float = 0.0
    text: str = ""
    finish: str = ""

    def completion(self) -> Completion:
        return Completion(self.text, self.logprob / len(self.tokens), len(self.tokens), self.finish)


class Stops:
    """Sees stop strings as soon as they are decoded, looking only at tokens that can end one."""

    def __init__(self, tokenizer: Any, stop: Sequence[str], end_tokens: Sequence[int]):
        self.tokenizer, self.stop, self.end_tokens = tokenizer, tuple(stop), frozenset(end_tokens)
        last = {s[-1] for s in self.stop}
        texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
        # A token of half a character may end a stop string that is not ASCII.
        self.candidates = frozenset(i for i, text in enumerate(texts) if last.intersection(text) or "\ufffd" in text)

    def check(self, row: _Row, limit: int) -> None:
        """Note on the row whether its newest token ended it; its text is set when it did."""
        newest = row.tokens[-1]
        if newest in self.end_tokens:
            row.text, row.finish = written(self.tokenizer, row.tokens[:-1]), "stop"
        elif newest in self.candidates:
            text = written(self.tokenizer, row.tokens)
            cuts = [at for at in (text.find(s) for s in self.stop) if at >= 0]
            if cuts:
                row.text, row.finish = text[: min(cuts)], "stop"
        if not row.finish and len(row.tokens) == limit:
            row.text, row.finish = written(self.tokenizer, row.tokens), "length"


@dataclass(frozen=True)
class Draw:
    """How the next tokens are drawn from logits.

    Attributes:
        sampler: Draws the tokens.
        uniforms: Draws per prompt and step, [prompts, max_new_tokens, tries].
        strength: Self-debiasing strength, used where there are counter prompts.
        contrast: Weight of contrastive decoding, which takes the place of self-debiasing where it is above 0.
        repetition: Reward and penalty of repeated tokens, if any.
    """

    sampler: Sampler
    uniforms: torch.Tensor
    strength: float
    contrast: float = 0.0
    repetition: Repetition | None = None

    def __call__(self, logits: torch.Tensor, places: list[int], steps: list[int]) -> tuple[list[int], list[float]]:
        """Return a token for each prompt and its log-probability under the model's unmodified distribution.

        Args:
            logits: [prompts, lanes, vocabulary]: each prompt, then its counter prompts.
            places: The prompts' places in the chunk.
            steps: How many tokens each already has.

        Raises:
            InputError: If the model's logits are not numbers.
        """
        tokens: list[int] = []
        logprobs: list[float] = []
        size = SLICE if logits.device.type == "cpu" else len(places)
        for first in range(0, len(places), size):
            part = slice(first, first + size)
            at = torch.tensor(places[part])
            uniforms = self.uniforms[at, steps[part]].to(wide(logits)).to(logits.device)
            drawn, logprob = self._some(logits[part], at.to(logits.device), uniforms)
            tokens += drawn.tolist()
            logprobs += logprob.tolist()
        if any(map(math.isnan, logprobs)):
            kind = str(logits.dtype).removeprefix("torch.")
            raise InputError(f"the model's logits are not numbers in {kind}: set `backend_args: {{dtype: float32}}`")
        return tokens, logprobs

    def _some(
        self, logits: torch.Tensor, places: torch.Tensor, uniforms: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        temperature = self.sampler.temperature or 1.0
        if logits.shape[1] == 1 and not self.repetition and temperature == 1:
            shaped = logits[:, 0].softmax(-1, dtype=torch.float32)
            tokens = self.sampler(shaped, uniforms)
            return tokens, shaped.gather(-1, tokens[:, None])[:, 0].log()
        changed = logits[:, 0].float()
        if self.repetition:
            changed = self.repetition(changed, places)
        if logits.shape[1] > 1:
            against = logits[:, 1:]
            changed = (
                contrast(changed, against, self.contrast)
                if self.contrast
                else steer_away(changed, against, self.strength)
            )
        tokens = self.sampler((changed / temperature).softmax(-1), uniforms)
        if self.repetition:
            self.repetition.saw(places, tokens)
        # Not from a softmax, which may round to zero what the change made likely.
        model = logits[:, 0].log_softmax(-1, dtype=torch.float32)
        return tokens, model.gather(-1, tokens[:, None])[:, 0]


def decode(forward: Forward, draw: Draw, stops: Stops, *, lanes: int, rows: int) -> dict[int, Completion]:
    """Sample completions.

    Args:
        forward: The model; it knows each prompt's `lanes` texts (the prompt, then its counter prompts) by number,
            those of prompt `i` standing at `i * lanes`.
        draw: Draws tokens.
        stops: Tells when a row is finished.
        lanes: Texts per prompt.
        rows: Most prompts at once.

    Returns:
        The completion of each prompt.
    """
    waiting, live, done = deque(forward.order(lanes)), list[_Row](), dict[int, Completion]()
    newest: list[int] = []
    limit = draw.uniforms.shape[1]
    while waiting or live:
        free = rows - len(live)
        if waiting and (not live or (forward.refills and free >= max(1, REFILL * rows))):
            joining = [_Row(waiting.popleft()) for _ in range(min(free, len(waiting)))]
            newest += forward.admit([row.place * lanes + lane for row in joining for lane in range(lanes)])
            live += joining
        logits = forward.step(newest)
        tokens, logprobs = draw(
            logits.view(len(live), lanes, -1), [row.place for row in live], [len(row.tokens) for row in live]
        )
        for row, token, logprob in zip(live, tokens, logprobs, strict=True):
            row.tokens.append(token)
            row.logprob += logprob
            stops.check(row, limit)
        left = _order([not row.finish for row in live])
        done.update({row.place: row.completion() for row in live if row.finish})
        if len(left) < len(live) and (left or forward.refills):
            forward.keep([at * lanes + lane for at in left for lane in range(lanes)])
        live = [live[at] for at in left]
        newest = [tokens[at] for at in left for _ in range(lanes)]
    return done


def _order(stays: list[bool]) -> list[int]:
    """Return the rows that stay, those from the end in the places of those that leave: few rows move."""
    left = sum(stays)
    tail = iter([at for at in range(left, len(stays)) if stays[at]])
    return [at if stays[at] else next(tail) for at in range(left)]
