"""Incremental forward passes, one token a call, of rows that come and go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from transformers import DynamicCache, EncoderDecoderCache

from ...errors import InputError

Tokens = Sequence[int]
Pair = tuple[torch.Tensor, torch.Tensor]


class Forward(Protocol):
    """Rows of a model's batch, each a text that goes on.

    Attributes:
        refills: Whether rows may join while others are under way.
    """

    refills: bool

    def order(self, lanes: int) -> list[int]:
        """Return in which order to admit the prompts, each of which has `lanes` texts; a function of these alone."""

    def admit(self, places: Sequence[int]) -> list[int]:
        """Add prompts as rows behind those there and return the token with which each goes on."""

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append one token per row and return the next logits, [rows, vocabulary]."""

    def keep(self, order: Sequence[int]) -> None:
        """Go on with these rows, in this order."""


def before(start: Sequence[Pair]) -> int:
    """Return how many tokens' keys and values stand before a text."""
    return start[0][0].shape[1] if start else 0


def started(model: Any, start: Sequence[Pair], rows: int) -> Any:
    """Return a transformers cache of rows that all begin with the same keys and values."""
    cache = DynamicCache(
        [(keys.expand(rows, *keys.shape), values.expand(rows, *values.shape)) for keys, values in start]
    )
    return EncoderDecoderCache(cache, DynamicCache()) if model.config.is_encoder_decoder else cache


def decoder_start(model: Any) -> list[int]:
    """Return the tokens that every text of an encoder-decoder begins behind; a forced first one is no text (BART)."""
    forced = model.generation_config.forced_bos_token_id
    return [model.config.decoder_start_token_id, *([] if forced is None else [forced])]


def by_length(prompts: Sequence[Tokens], lanes: int) -> list[int]:
    """Return the prompts in the order of their longest text: less is padded."""
    longest = [max(map(len, prompts[first : first + lanes])) for first in range(0, len(prompts), lanes)]
    return sorted(range(len(longest)), key=lambda at: (longest[at], at))


def padded(sequences: Sequence[Tokens], device: torch.device, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and mask, both [rows, longest]."""
    longest = max(len(s) for s in sequences)
    rows = [(list(s), [1] * len(s), [0] * (longest - len(s))) for s in sequences]
    ids = torch.tensor([gap + s if left else s + gap for s, _, gap in rows], device=device)
    mask = torch.tensor([gap + ones if left else ones + gap for _, ones, gap in rows], device=device)
    return ids, mask


def _once(texts: Sequence[Tokens]) -> tuple[list[Tokens], list[int]]:
    """Return the different ones among texts, and which of these each is: what is asked often is read once."""
    seen: dict[tuple[int, ...], int] = {}
    rows = [seen.setdefault(tuple(text), len(seen)) for text in texts]
    return list(seen), rows


class PlainForward:
    """A decoder-only model with transformers' own cache, for attention that `RowForward` does not know."""

    refills = False

    def __init__(self, model: Any, prompts: Sequence[Tokens], start: Sequence[Pair] = ()):
        self.model, self.prompts, self.start = model, prompts, start

    def order(self, lanes: int) -> list[int]:
        """See `Forward`."""
        return by_length(self.prompts, lanes)

    def admit(self, places: Sequence[int]) -> list[int]:
        """See `Forward`; the rows there are dropped."""
        starts, rows = _once([self.prompts[at][:-1] for at in places])
        # A row of one token would leave nothing to read: its own token stands there, masked.
        ids, self.mask = padded([[0, *s] for s in starts], self.model.device, left=True)
        self.mask = (self.mask.cumsum(-1) > 1).long()
        first = before(self.start)
        self.mask = torch.cat([self.mask.new_ones(len(ids), first), self.mask], dim=1)
        positions = (self.mask.cumsum(-1) - 1).clamp(min=0)[:, first:]
        settings: dict[str, Any] = {"attention_mask": self.mask, "position_ids": positions, "use_cache": True}
        if self.start:
            settings["past_key_values"] = started(self.model, self.start, len(ids))
        output = self.model.get_decoder()(input_ids=ids, **settings)
        self.cache: Any = getattr(output, "past_key_values", None)
        if not all(hasattr(layer, "batch_select_indices") for layer in getattr(self.cache, "layers", [None])):
            kind = self.model.config.model_type
            raise InputError(f"{kind} models keep a state that rows cannot be taken out of; use `backend: vllm`")
        self.keep(rows)
        return [self.prompts[at][-1] for at in places]

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """See `Forward`."""
        ids = torch.tensor(tokens, device=self.model.device)[:, None]
        self.mask = torch.cat([self.mask, torch.ones_like(ids)], dim=1)
        positions = self.mask.sum(-1, keepdim=True) - 1
        settings = {"attention_mask": self.mask, "position_ids": positions, "use_cache": True}
        output = self.model(input_ids=ids, past_key_values=self.cache, logits_to_keep=1, **settings)
        self.cache = output.past_key_values
        return output.logits[:, -1]

    def keep(self, order: Sequence[int]) -> None:
        """See `Forward`."""
        rows = torch.tensor(order, device=self.model.device)
        self.cache.batch_select_indices(rows)
        self.mask = self.mask[rows]


class Seq2SeqForward(PlainForward):
    """As `PlainForward`, an encoder-decoder model; prompts go to the encoder."""

    def admit(self, places: Sequence[int]) -> list[int]:
        """See `Forward`; the rows there are dropped."""
        # On the right: an encoder may count positions from the first token, padding or not.
        texts, rows = _once([self.prompts[at] for at in places])
        ids, mask = padded(texts, self.model.device, left=False)
        self.encoded = self.model.get_encoder()(input_ids=ids, attention_mask=mask, return_dict=True)
        self.mask, self.encoded.last_hidden_state = mask[rows], self.encoded.last_hidden_state[rows]
        self.cache = started(self.model, self.start, len(rows)) if self.start else None
        *read, last = decoder_start(self.model)
        for token in read:
            self.step([token] * len(places))
        return [last] * len(places)

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """See `Forward`."""
        output = self.model(
            encoder_outputs=self.encoded,
            attention_mask=self.mask,
            decoder_input_ids=torch.tensor(tokens, device=self.model.device)[:, None],
            past_key_values=self.cache,
            use_cache=True,
        )
        self.cache = output.past_key_values
        return output.logits[:, -1]

    def keep(self, order: Sequence[int]) -> None:
        """See `Forward`."""
        super().keep(order)
        self.encoded.last_hidden_state = self.encoded.last_hidden_state[list(order)]
