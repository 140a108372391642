"""Incremental forward passes, one token a call, of rows that come and go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Protocol

import torch

from ...errors import InputError
from .attention import Prefix, RowCache, row_attention
from .prefixes import shared_prefixes

COPIED = 32  # tokens up to which a shared prefix, read once, is copied to each row: attending to it apart costs more
PIECE = 128  # new rows whose prompts are read at once, alike in length

TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-3, torch.float16: 0.02, torch.bfloat16: 0.1}

Tokens = Sequence[int]


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
    """

    refills = True

    def __init__(self, model: Any, prompts: Sequence[Tokens], rows: int, max_new_tokens: int):
        self.model, self.prompts = model, prompts
        self.prefix_of, prefixes = shared_prefixes(prompts)
        # A mask of four dimensions is left alone by transformers; the attention here has its own.
        self._no_mask = torch.zeros(1, 1, 1, 1, dtype=torch.bool, device=model.device)
        self.prefixes = [self._prefix(prompts[at][:length]) for at, length in prefixes]
        own = [len(ids) - self._apart(self.prefixes[at]) for at, ids in zip(self.prefix_of, prompts, strict=True)]
        self.cache = RowCache(rows, max(own) + max_new_tokens, model.device)
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
                self._read(prefix, group[first : first + PIECE])
        back = sorted(range(len(alike)), key=alike.__getitem__)
        self.cache.keep([*range(before), *(before + at for at in back)])
        return [self.prompts[at][-1] for at in places]

    def _kind(self, place: int) -> tuple[int, int]:
        """Return what prompts have in common that are read at once: prefix and length."""
        return self.prefix_of[place], len(self.prompts[place])

    def _read(self, prefix_of: int, places: Sequence[int]) -> None:
        """Read all but the last token of prompts with one prefix; that token's logits come with the next step."""
        cache, prefix = self.cache, self.prefixes[prefix_of]
        rests = [self.prompts[at][prefix.length : -1] for at in places]
        slots, width = slice(cache.live, cache.live + len(places)), max(map(len, rests))
        cache.prefix_of[slots], cache.lengths[slots] = prefix_of + 1, 0
        copied = not self._apart(prefix)
        if width:  # padded on the right, where later tokens are written over it
            cache.open_new(slots, prefix.length if copied else 0)
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
        if not ids:
            return Prefix(0, [])
        cache = RowCache(1, len(ids), self.model.device)
        cache.open_new(slice(0, 1), 0)
        self._run(self.model.get_decoder(), torch.tensor([ids]), 0, cache)
        return Prefix(len(ids), [(keys[0], values[0]) for keys, values in cache.layers])


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


class PlainForward:
    """A decoder-only model with transformers' own cache, for attention that `RowForward` does not know."""

    refills = False

    def __init__(self, model: Any, prompts: Sequence[Tokens]):
        self.model, self.prompts = model, prompts

    def order(self, lanes: int) -> list[int]:
        """See `Forward`."""
        return by_length(self.prompts, lanes)

    def admit(self, places: Sequence[int]) -> list[int]:
        """See `Forward`; the rows there are dropped."""
        # A row of one token would leave nothing to read: its own token stands there, masked.
        starts = [self.prompts[at][:-1] for at in places]
        ids, self.mask = padded([[0, *s] for s in starts], self.model.device, left=True)
        self.mask = (self.mask.cumsum(-1) > 1).long()
        positions = (self.mask.cumsum(-1) - 1).clamp(min=0)
        settings = {"attention_mask": self.mask, "position_ids": positions, "use_cache": True}
        output = self.model.get_decoder()(input_ids=ids, **settings)
        self.cache: Any = getattr(output, "past_key_values", None)
        if not all(hasattr(layer, "batch_select_indices") for layer in getattr(self.cache, "layers", [None])):
            kind = self.model.config.model_type
            raise InputError(f"{kind} models keep a state that rows cannot be taken out of; use `backend: vllm`")
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

    def order(self, lanes: int) -> list[int]:
        """See `Forward`."""
        return by_length(self.prompts, lanes)

    def admit(self, places: Sequence[int]) -> list[int]:
        """See `Forward`; the rows there are dropped."""
        # On the right: an encoder may count positions from the first token, padding or not.
        ids, self.mask = padded([self.prompts[at] for at in places], self.model.device, left=False)
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
