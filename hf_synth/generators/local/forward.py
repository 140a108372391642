"""Incremental forward passes, one token a call, of rows that come and go."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Protocol

import torch
from transformers import DynamicCache, EncoderDecoderCache

from ...errors import InputError
from .attention import Prefix, RowCache
from .prefixes import shared_prefixes

COPIED = 32  # tokens up to which a shared prefix, read once, is copied to each row: attending to it apart costs more
PIECE = 128  # new rows whose prompts are read at once, alike in length

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


class RowForward:
    """A decoder-only model whose rows have lengths of their own and share the start of their prompts.

    Args:
        model: The model, its attention set to that of `attention.py`.
        prompts: Token ids of every prompt that may be admitted.
        rows: Most rows at once.
        max_new_tokens: Most tokens a row is continued by.
        start: Keys and values, [heads, tokens, size] a layer, of what stands before every prompt and is no text.
        heads: What each prompt begins with, if no more of it may be shared.
    """

    refills = True

    def __init__(
        self,
        model: Any,
        prompts: Sequence[Tokens],
        rows: int,
        max_new_tokens: int,
        start: Sequence[Pair] = (),
        heads: Sequence[Tokens] = (),
    ):
        self.model, self.prompts = model, prompts
        self.start = Prefix(before(start), list(start))
        self.prefix_of, prefixes = shared_prefixes(heads or prompts)
        # A mask of four dimensions is left alone by transformers; the attention here has its own.
        self._no_mask = torch.zeros(1, 1, 1, 1, dtype=torch.bool, device=model.device)
        self.prefixes = [self._prefix(prompts[at][:length]) for at, length in prefixes]
        own = [len(ids) - self._apart(self.prefixes[at]) for at, ids in zip(self.prefix_of, prompts, strict=True)]
        self.cache = RowCache(rows, max(own) + self.start.length + max_new_tokens, model.device)
        self.cache.prefixes += self.prefixes
        lengths = [self._apart(prefix) for prefix in self.cache.prefixes]
        self._lengths = torch.tensor(lengths, device=model.device)

    def order(self, lanes: int) -> list[int]:
        """See `Forward`."""
        return sorted(range(len(self.prompts) // lanes), key=lambda at: (*self._kind(at * lanes), at))

    def admit(self, places: Sequence[int]) -> list[int]:
        """See `Forward`."""
        before = self.cache.live
        alike = sorted(range(len(places)), key=lambda at: (*self._kind(places[at]), at))
        for prefix, members in groupby(alike, key=lambda at: self.prefix_of[places[at]]):
            group = [places[at] for at in members]
            for first in range(0, len(group), PIECE):
                self._read(self.model.get_decoder(), prefix, group[first : first + PIECE])
        back = sorted(range(len(alike)), key=alike.__getitem__)
        self.cache.keep([*range(before), *(before + at for at in back)])
        return [self.prompts[at][-1] for at in places]

    def _kind(self, place: int) -> tuple[int, int]:
        """Return what prompts have in common that are read at once: prefix and length."""
        return self.prefix_of[place], len(self.prompts[place])

    def logits(self, places: Sequence[int]) -> list[torch.Tensor]:
        """Return what follows each token of prompts with one prefix but their last, [tokens after it, vocabulary]."""
        self.cache.keep([])
        found = self._read(self.model, self.prefix_of[places[0]], places).logits
        self.cache.keep([])
        return [row[: len(self.rest(at)) - 1] for row, at in zip(found, places, strict=True)]

    def rest(self, place: int) -> Tokens:
        """Return a prompt's tokens behind its prefix."""
        return self.prompts[place][self.prefixes[self.prefix_of[place]].length - self.start.length :]

    def _read(self, model: Any, prefix_of: int, places: Sequence[int]) -> Any:
        """Read all but the last token of prompts with one prefix; that token's logits come with the next step."""
        cache, prefix = self.cache, self.prefixes[prefix_of]
        rests = [self.rest(at)[:-1] for at in places]
        slots, width = slice(cache.live, cache.live + len(places)), max(map(len, rests))
        cache.prefix_of[slots], cache.lengths[slots] = prefix_of + 1, 0
        copied, output = not self._apart(prefix), None
        if width:  # padded on the right, where later tokens are written over it
            cache.open_new(slots, prefix.length if copied else 0)
            ids = torch.tensor([[*rest, *[0] * (width - len(rest))] for rest in rests])
            output = self._run(model, ids, prefix.length)
        cache.lengths[slots] = torch.tensor([len(rest) for rest in rests], device=cache.lengths.device)
        if copied:
            cache.copy(prefix, slots)
        cache.live = slots.stop
        return output

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """See `Forward`."""
        cache = self.cache
        slots = slice(0, cache.live)
        cache.open_step()
        first = self._lengths[cache.prefix_of[slots]] + cache.lengths[slots]
        logits = self._run(self.model, torch.tensor(tokens)[:, None], first[:, None], logits_to_keep=1).logits[:, -1]
        cache.lengths[slots] += 1
        return logits

    def keep(self, order: Sequence[int]) -> None:
        """See `Forward`."""
        self.cache.keep(order)

    def _run(self, model: Any, ids: torch.Tensor, first: Any, cache: RowCache | None = None, **settings: Any) -> Any:
        positions = (first + torch.arange(ids.shape[1], device=self.model.device)).expand(ids.shape)
        shared = {"attention_mask": self._no_mask, "past_key_values": cache or self.cache, "use_cache": True}
        return model(input_ids=ids.to(self.model.device), position_ids=positions, **shared, **settings)

    @staticmethod
    def _apart(prefix: Prefix) -> int:
        """Return how many of a row's tokens are kept apart from it, shared with other rows."""
        return prefix.length if prefix.length > COPIED else 0

    def _prefix(self, ids: Tokens) -> Prefix:
        start = self.start
        if not ids:
            return start
        cache = RowCache(1, len(ids), self.model.device)
        cache.prefixes.append(start)
        cache.prefix_of[0] = 1
        cache.open_new(slice(0, 1), 0)
        self._run(self.model.get_decoder(), torch.tensor([ids]), start.length, cache)
        read = [(keys[0], values[0]) for keys, values in cache.layers]
        if start.length:
            pairs = zip(start.layers, read, strict=True)
            read = [(torch.cat([a, c], 1), torch.cat([b, d], 1)) for (a, b), (c, d) in pairs]
        return Prefix(start.length + len(ids), read)


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


class Seq2SeqForward:
    """An encoder-decoder model; prompts go to the encoder."""

    refills = False

    def __init__(self, model: Any, prompts: Sequence[Tokens], start: Sequence[Pair] = ()):
        self.model, self.prompts, self.start = model, prompts, start

    def order(self, lanes: int) -> list[int]:
        """See `Forward`."""
        return by_length(self.prompts, lanes)

    def admit(self, places: Sequence[int]) -> list[int]:
        """See `Forward`; the rows there are dropped."""
        # On the right: an encoder may count positions from the first token, padding or not.
        texts, rows = _once([self.prompts[at] for at in places])
        ids, mask = padded(texts, self.model.device, left=False)
        self.encoded = self.model.get_encoder()(input_ids=ids, attention_mask=mask, return_dict=True)
        self.mask, self.encoded.last_hidden_state = mask[rows], self.encoded.last_hidden_state[rows]
        self.cache: Any = started(self.model, self.start, len(rows)) if self.start else None
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
        rows = torch.tensor(order, device=self.model.device)
        self.cache.batch_select_indices(rows)
        self.mask = self.mask[rows]
        self.encoded.last_hidden_state = self.encoded.last_hidden_state[rows]
