"""Rows of lengths of their own, which read once what their prompts begin with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch

from .attention import Prefix, RowCache
from .forward import Pair, Tokens, before
from .prefixes import shared_prefixes

COPIED = 32  # tokens up to which a shared prefix, read once, is copied to each row: attending to it apart costs more
PIECE = 128  # new rows whose prompts are read at once, alike in length


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
        self.cache = self._cache(range(len(prompts)), rows, max_new_tokens)
        lengths = [self._apart(prefix) for prefix in self.cache.prefixes]
        self._lengths = torch.tensor(lengths, device=model.device)

    def order(self, lanes: int) -> list[int]:
        """See `Forward`."""
        return sorted(range(len(self.prompts) // lanes), key=lambda at: (*self._kind(at * lanes), at))

    def admit(self, places: Sequence[int]) -> list[int]:
        """See `Forward`."""
        there = self.cache.live
        alike = sorted(range(len(places)), key=lambda at: (*self._kind(places[at]), at))
        for prefix, members in groupby(alike, key=lambda at: self.prefix_of[places[at]]):
            group = [places[at] for at in members]
            for first in range(0, len(group), PIECE):
                self._read(self.model.get_decoder(), prefix, group[first : first + PIECE])
        back = sorted(range(len(alike)), key=alike.__getitem__)
        self.cache.keep([*range(there), *(there + at for at in back)])
        return [self.prompts[at][-1] for at in places]

    def _kind(self, place: int) -> tuple[int, int]:
        """Return what prompts have in common that are read at once: prefix and length."""
        return self.prefix_of[place], len(self.prompts[place])

    def logits(self, places: Sequence[int], last: Sequence[int]) -> list[torch.Tensor]:
        """Return the logits of the last tokens of prompts with one prefix, [tokens, vocabulary]; other rows go.

        Args:
            places: The prompts.
            last: Of how many tokens of each, all of them behind the prefix and one token more.
        """
        self.cache = self._cache(places, len(places))
        ends = [len(self.rest(at)) - 1 for at in places]
        first = min(end - count for end, count in zip(ends, last, strict=True))
        settings = {"logits_to_keep": max(ends) - first}
        found = self._read(self.model, self.prefix_of[places[0]], places, **settings).logits
        return [row[end - count - first : end - first] for row, end, count in zip(found, ends, last, strict=True)]

    def _cache(self, places: Sequence[int], rows: int, more: int = 0) -> RowCache:
        """Return an empty cache for so many of the prompts at once, each with room for more tokens."""
        own = [len(self.prompts[at]) - self._apart(self.prefixes[self.prefix_of[at]]) for at in places]
        cache = RowCache(rows, max(own) + self.start.length + more, self.model.device)
        cache.prefixes += self.prefixes
        return cache

    def rest(self, place: int) -> Tokens:
        """Return a prompt's tokens behind its prefix."""
        return self.prompts[place][self.prefixes[self.prefix_of[place]].length - self.start.length :]

    def _read(self, model: Any, prefix_of: int, places: Sequence[int], **settings: Any) -> Any:
        """Read all but the last token of prompts with one prefix; that token's logits come with the next step."""
        cache, prefix = self.cache, self.prefixes[prefix_of]
        rests = [self.rest(at)[:-1] for at in places]
        slots, width = slice(cache.live, cache.live + len(places)), max(map(len, rests))
        cache.prefix_of[slots], cache.lengths[slots] = prefix_of + 1, 0
        copied, output = not self._apart(prefix), None
        if width:  # padded on the right, where later tokens are written over it
            cache.open_new(slots, prefix.length if copied else 0)
            ids = torch.tensor([[*rest, *[0] * (width - len(rest))] for rest in rests])
            output = self._run(model, ids, prefix.length, **settings)
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
