"""Incremental forward passes, one token a call, of rows that come and go."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Protocol

import torch

from .attention import NAME, Prefix, RowCache
from .prefixes import shared_prefixes

COPIED = 32  # tokens up to which a shared prefix, read once, is copied to each row: attending to it apart costs more
PIECE = 64  # new rows whose prompts are read at once, alike in length

Tokens = Sequence[int]


class Forward(Protocol):
    """Rows of a model's batch.

    Attributes:
        refills: Whether rows may join while others are under way.
    """

    refills: bool

    def admit(self, places: Sequence[int]) -> list[int]:
        """Add prompts as rows behind those there and return the token with which each goes on."""

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Append one token per row and return the next logits, [rows, vocabulary]."""

    def keep(self, order: Sequence[int]) -> None:
        """Go on with these rows, in this order."""


class RowForward:
    """A decoder-only model whose rows have lengths of their own and share the start of their prompts.

    Args:
        model: The model, its attention set to that of `attention.py`.
        prompts: Token ids of every prompt that may be admitted.
        rows: Most rows at once.
        max_new_tokens: Most tokens a row is continued by.
    """

    refills = True

    def __init__(self, model: Any, prompts: Sequence[Tokens], rows: int, max_new_tokens: int):
        self.model, self.prompts = model, prompts
        self.prefix_of, prefixes = shared_prefixes(prompts)
        self.prefixes = [self._prefix(prompts[at][:length]) for at, length in prefixes]
        own = [len(ids) - self._apart(self.prefixes[at]) for at, ids in zip(self.prefix_of, prompts, strict=True)]
        self.cache = RowCache(rows, max(own) + max_new_tokens, model.device)
        self.cache.prefixes += self.prefixes
        lengths = [self._apart(prefix) for prefix in self.cache.prefixes]
        self._lengths = torch.tensor(lengths, device=model.device)
        # A mask of four dimensions is left alone by transformers; the attention here has its own.
        self._no_mask = torch.zeros(1, 1, 1, 1, dtype=torch.bool, device=model.device)

    def admit(self, places: Sequence[int]) -> list[int]:
        """See `Forward`."""
        for prefix, members in groupby(places, key=lambda at: self.prefix_of[at]):
            alike = list(members)
            for first in range(0, len(alike), PIECE):
                self._read(prefix, alike[first : first + PIECE])
        return [self.prompts[at][-1] for at in places]

    def _read(self, prefix_of: int, places: Sequence[int]) -> None:
        """Read all but the last token of prompts with one prefix; that token's logits come with the next step."""
        cache, prefix = self.cache, self.prefixes[prefix_of]
        rests = [self.prompts[at][prefix.length : -1] for at in places]
        slots, width = slice(cache.live, cache.live + len(places)), max(map(len, rests))
        cache.prefix_of[slots], cache.lengths[slots] = prefix_of + 1, 0
        copied = not self._apart(prefix)
        if width:  # padded on the right, where later tokens are written over it
            cache.open(slots, new=True, offset=prefix.length if copied else 0)
            ids = torch.tensor([[*rest, *[0] * (width - len(rest))] for rest in rests])
            self._run(self.model.get_decoder(), ids, prefix.length)
        cache.lengths[slots] = torch.tensor([len(rest) for rest in rests], device=cache.lengths.device)
        if copied:
            cache.copy(prefix, slots)
        cache.live = slots.stop

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """See `Forward`."""
        cache = self.cache
        slots = slice(0, cache.live)
        cache.open(slots)
        first = self._lengths[cache.prefix_of[slots]] + cache.lengths[slots]
        logits = self._run(self.model, torch.tensor(tokens)[:, None], first[:, None], logits_to_keep=1).logits[:, -1]
        cache.lengths[slots] += 1
        return logits

    def keep(self, order: Sequence[int]) -> None:
        """See `Forward`."""
        self.cache.keep(order)

    def _run(self, model: Any, ids: torch.Tensor, first: Any, **settings: Any) -> Any:
        positions = (first + torch.arange(ids.shape[1], device=self.model.device)).expand(ids.shape)
        shared = {"attention_mask": self._no_mask, "past_key_values": self.cache, "use_cache": True}
        return model(input_ids=ids.to(self.model.device), position_ids=positions, **shared, **settings)

    @staticmethod
    def _apart(prefix: Prefix) -> int:
        """Return how many of a row's tokens are kept apart from it, shared with other rows."""
        return prefix.length if prefix.length > COPIED else 0

    def _prefix(self, ids: Tokens) -> Prefix:
        if not ids:
            return Prefix(0, [])
        output = self.model.get_decoder()(input_ids=torch.tensor([ids], device=self.model.device), use_cache=True)
        layers = [(layer.keys[0], layer.values[0]) for layer in output.past_key_values.layers]
        return Prefix(len(ids), layers)


def left_padded(sequences: Sequence[Tokens], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and mask, both [rows, longest], padded on the left."""
    longest = max(len(s) for s in sequences)
    ids = torch.tensor([[0] * (longest - len(s)) + list(s) for s in sequences], device=device)
    mask = torch.tensor([[0] * (longest - len(s)) + [1] * len(s) for s in sequences], device=device)
    return ids, mask


class PlainForward:
    """A decoder-only model with transformers' own cache, for attention that `RowForward` does not know."""

    refills = False

    def __init__(self, model: Any, prompts: Sequence[Tokens]):
        self.model, self.prompts = model, prompts

    def admit(self, places: Sequence[int]) -> list[int]:
        """See `Forward`; the rows there are dropped."""
        # A row of one token would leave nothing to read: its own token stands there, masked.
        starts = [self.prompts[at][:-1] for at in places]
        ids, self.mask = left_padded([[0, *s] for s in starts], self.model.device)
        self.mask = (self.mask.cumsum(-1) > 1).long()
        positions = (self.mask.cumsum(-1) - 1).clamp(min=0)
        settings = {"attention_mask": self.mask, "position_ids": positions, "use_cache": True}
        self.cache = self.model.get_decoder()(input_ids=ids, **settings).past_key_values
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


class Seq2SeqForward:
    """An encoder-decoder model; prompts go to the encoder."""

    refills = False

    def __init__(self, model: Any, prompts: Sequence[Tokens]):
        self.model, self.prompts = model, prompts

    def admit(self, places: Sequence[int]) -> list[int]:
        """See `Forward`; the rows there are dropped."""
        ids, self.mask = left_padded([self.prompts[at] for at in places], self.model.device)
        self.encoded = self.model.get_encoder()(input_ids=ids, attention_mask=self.mask, return_dict=True)
        self.cache: Any = None
        return [self.model.config.decoder_start_token_id] * len(places)

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
        rows = torch.tensor(order, device=self.model.device)
        self.cache.batch_select_indices(rows)
        self.mask = self.mask[rows]
        self.encoded.last_hidden_state = self.encoded.last_hidden_state[rows]


@torch.inference_mode()
def rows_agree(model: Any) -> bool:
    """Return whether a model gives the same through `RowForward` as through transformers' own cache.

    Asked once for a loaded model, so that no list of architectures is kept: attention with something of its own
    (sinks, learned biases, recurrent layers) shows in the logits, or in an error.
    """
    model.set_attn_implementation(NAME)
    span = min(1000, model.config.get_text_config().vocab_size)
    prompts = [[(7 * at + 3 * row + 5) % span if at > 3 else at for at in range(6 + row)] for row in range(3)]
    try:
        rows, plain = RowForward(model, prompts, 3, 2), PlainForward(model, prompts)
        tokens = [forward.admit([0, 1, 2]) for forward in (rows, plain)][0]
        for _ in range(2):
            ours, theirs = (forward.step(tokens).float().log_softmax(-1) for forward in (rows, plain))
            wide = model.dtype in (torch.float32, torch.float64)
            if (ours.exp() - theirs.exp()).abs().max() > (1e-4 if wide else 0.05):
                return False
            tokens = theirs.argmax(-1).tolist()
    except Exception:  # whatever an unknown architecture trips over, transformers' own way remains
        return False
    return True
