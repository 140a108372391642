"""Incremental forward passes of causal and encoder-decoder models, one token a call, rows removable."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import torch


def shared_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """Return how many leading tokens all sequences share, at least one short of the shortest."""
    longest = min(len(s) for s in sequences) - 1
    return sum(
        1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*(s[:longest] for s in sequences), strict=True))
    )


def left_padded(
    sequences: Sequence[Sequence[int]], pad: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and mask, both [rows, longest], padded on the left."""
    longest = max(len(s) for s in sequences)
    ids = torch.tensor([[pad] * (longest - len(s)) + list(s) for s in sequences], device=device)
    mask = torch.tensor([[0] * (longest - len(s)) + [1] * len(s) for s in sequences], device=device)
    return ids, mask


class CausalForward:
    """Next-token logits of a decoder-only model; what all prompts share at their start is computed once."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], pad: int):
        self.model = model
        shared = shared_prefix(prompts)
        ids, rest = left_padded([p[shared:] for p in prompts], pad, model.device)
        self.mask = torch.cat([rest.new_ones(len(prompts), shared), rest], dim=1)
        cache = None
        if shared:
            prefix = torch.tensor([prompts[0][:shared]], device=model.device)
            cache = model(input_ids=prefix, use_cache=True, logits_to_keep=1).past_key_values
            cache.batch_repeat_interleave(len(prompts))
        self.cache: Any = cache
        positions = (self.mask.cumsum(-1) - 1).clamp(min=0)
        self.next_position = positions[:, -1:] + 1
        self.logits = self._forward(ids, positions[:, shared:])

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        output = self.model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self.cache = output.past_key_values
        return output.logits[:, -1]

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append one token per row and return the next logits, [rows, vocabulary]."""
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], dim=1)
        logits = self._forward(tokens[:, None], self.next_position)
        self.next_position = self.next_position + 1
        return logits

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows only."""
        self.cache.batch_select_indices(rows)
        self.mask, self.next_position = self.mask[rows], self.next_position[rows]


class Seq2SeqForward:
    """Next-token logits of an encoder-decoder model; prompts go to the encoder."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], pad: int):
        self.model = model
        ids, self.mask = left_padded(prompts, pad, model.device)
        self.encoded = model.get_encoder()(input_ids=ids, attention_mask=self.mask, return_dict=True)
        self.cache = None
        start = model.config.decoder_start_token_id
        self.logits = self.step(torch.full((len(prompts),), start, device=model.device))

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append one token per row and return the next logits, [rows, vocabulary]."""
        output = self.model(
            encoder_outputs=self.encoded,
            attention_mask=self.mask,
            decoder_input_ids=tokens[:, None],
            past_key_values=self.cache,
            use_cache=True,
        )
        self.cache = output.past_key_values
        return output.logits[:, -1]

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows only."""
        self.cache.batch_select_indices(rows)  # type: ignore[attr-defined]
        self.mask = self.mask[rows]
        self.encoded.last_hidden_state = self.encoded.last_hidden_state[rows]
