"""Attention over rows that share the start of their prompts: what is shared is kept and read once, not once a row.

The shared part is one matrix product for all rows, as in bifurcated attention
(https://huggingface.co/papers/2403.08845); the two parts are joined by their log-sum-exps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface

NAME = "hf_synth_rows"
FUSED = "_scaled_dot_product_flash_attention_for_cpu"
Pairs = list[tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Prefix:
    """Keys and values of tokens that several rows begin with; a pair of [heads, length, size] for each layer."""

    length: int
    layers: Pairs


class RowCache:
    """Keys and values of a batch's rows, each row written at its own length, with the prefixes that rows share.

    It stands where a transformers `Cache` would: layers hand it their new keys and values and pass what they get to
    the attention function of this file.

    Args:
        rows: Most rows at once.
        columns: Most tokens of a row after its prefix.
    """

    is_compileable = False

    def __init__(self, rows: int, columns: int, device: torch.device):
        self.rows, self.columns, self.live = rows, columns, 0
        self.layers: Pairs = []
        self.prefixes = [Prefix(0, [])]
        self.lengths = torch.zeros(rows, dtype=torch.long, device=device)
        self.prefix_of = torch.zeros(rows, dtype=torch.long, device=device)
        self.slots, self.new, self.offset = slice(0, 0), False, 0
        self.at = self.column = self.beyond = self.lengths[:0]
        self.spans: list[tuple[Prefix, torch.Tensor | None]] = []

    def open_new(self, slots: slice, offset: int) -> None:
        """Prepare for a pass over new rows' first tokens, which go to the columns from `offset` on."""
        self.slots, self.new, self.offset = slots, True, offset
        self._share()

    def open_step(self) -> None:
        """Prepare for a pass over one more token of every row."""
        self.slots, self.new = slice(0, self.live), False
        self.at, self.column = torch.arange(self.live, device=self.lengths.device), self.lengths[self.slots]
        self.beyond = torch.arange(int(self.column.max()) + 1, device=self.at.device) > self.column[:, None]
        self._share()

    def _share(self) -> None:
        """Note which rows of the pass share which prefix."""
        prefix_of = self.prefix_of[self.slots]
        used = sorted(set(prefix_of.tolist()))
        self.spans = [
            (self.prefixes[at], None if len(used) == 1 else (prefix_of == at).nonzero()[:, 0])
            for at in used
            if self.prefixes[at].length
        ]

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Take a layer's new keys and values [rows, heads, width, size] and return what the layer attends to."""
        kept_keys, kept_values = self._layer(layer, keys[0], values[0])
        if self.new:
            width = keys.shape[2]
            columns = slice(self.offset, self.offset + width)
            kept_keys[self.slots, :, columns] = keys
            kept_values[self.slots, :, columns] = values
            mask = torch.ones(width, width, dtype=torch.bool, device=keys.device).triu(1)
        else:
            kept_keys[self.at, :, self.column] = keys[:, :, 0]
            kept_values[self.at, :, self.column] = values[:, :, 0]
            mask = self.beyond[:, None, None]
            keys, values = (kept[self.slots, :, : mask.shape[-1]] for kept in (kept_keys, kept_values))
        seen = _Seen(layer, keys, values, mask, self.spans)
        return seen, seen

    def copy(self, prefix: Prefix, slots: slice) -> None:
        """Write a prefix into each row's own columns and let the rows share nothing."""
        for layer, (keys, values) in enumerate(prefix.layers):
            kept_keys, kept_values = self._layer(layer, keys, values)
            kept_keys[slots, :, : prefix.length] = keys
            kept_values[slots, :, : prefix.length] = values
        self.prefix_of[slots] = 0
        self.lengths[slots] += prefix.length

    def _layer(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if layer == len(self.layers):
            # Zeros, since what lies beyond a row's end is multiplied by a weight of zero.
            shape = (self.rows, keys.shape[0], self.columns)
            self.layers.append((keys.new_zeros(*shape, keys.shape[2]), values.new_zeros(*shape, values.shape[2])))
        return self.layers[layer]

    def keep(self, order: Sequence[int]) -> None:
        """Go on with these rows, in this order; a row that stays where it is costs nothing."""
        moved = [(to, source) for to, source in enumerate(order) if to != source]
        self.live = len(order)
        if not moved:
            return
        to, source = torch.tensor(moved, device=self.lengths.device).T
        for kept in (self.lengths, self.prefix_of, *(tensor for pair in self.layers for tensor in pair)):
            kept[to] = kept[source]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return 0: rows have lengths of their own, and positions are always given."""
        return 0


@dataclass(frozen=True)
class _Seen:
    """What one layer attends to in one pass."""

    layer: int
    keys: torch.Tensor
    values: torch.Tensor
    mask: torch.Tensor
    spans: list[tuple[Prefix, torch.Tensor | None]]

    def attend(self, query: torch.Tensor, scale: float, softcap: float | None) -> torch.Tensor:
        """Return the attention output [rows, heads, width, size] of `query` [rows, heads, width, size]."""
        rows, heads, width, size = query.shape
        shared = self.keys.shape[1]
        group = heads // shared
        # Query heads that share a key head are read as further positions, so that no key is copied.
        query = query.reshape(rows, shared, group * width, size)
        mask = self.mask if self.mask.dim() > 2 else self.mask.repeat(group, 1)
        out, total = _part(query, self.keys, self.values, scale, softcap, mask, alone=not self.spans)
        for prefix, where in self.spans:
            some = query if where is None else query[where]
            flat = some.transpose(0, 1).reshape(shared, -1, size)
            keys, values = prefix.layers[self.layer]
            part = _fused if _fusable(flat, softcap) else _part
            found, sums = part(flat, keys, values, scale, softcap)
            found, sums = (x.view(shared, len(some), group * width, -1).transpose(0, 1) for x in (found, sums))
            own, own_sums = (out, total) if where is None else (out[where], total[where])
            joined = torch.lerp(own.float(), found.float(), torch.sigmoid(sums - own_sums)).to(out.dtype)
            if where is None:
                out = joined
            else:
                out[where] = joined
        return out.view(rows, heads, width, -1)


def _part(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    scale: float,
    softcap: float | None,
    mask: torch.Tensor | None = None,
    alone: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return softmax attention over some of the keys and, unless there are no others, its scores' log-sum-exp."""
    # Keys first: they are a view of a wider buffer, which a product copies when it needs them transposed.
    scores = torch.matmul(keys, query.transpose(-1, -2)).transpose(-1, -2)
    scores = scores.to(torch.float32, memory_format=torch.contiguous_format) * scale
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    if mask is not None:
        scores = scores.masked_fill(mask, -torch.inf)
    weights = scores.softmax(-1)
    out = torch.matmul(weights.to(values.dtype), values)
    # The largest weight is exp(largest score - log-sum-exp), and never 0: one exponential a score is enough.
    return out, scores if alone else scores.amax(-1, keepdim=True) - weights.amax(-1, keepdim=True).log()


def _fusable(query: torch.Tensor, softcap: float | None) -> bool:
    # torch's own, behind `scaled_dot_product_attention`, which does not return the log-sum-exp; it may go.
    return query.device.type == "cpu" and not softcap and hasattr(torch.ops.aten, FUSED)


def _fused(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float, softcap: float | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what `_part` returns, by the CPU's kernel that holds no score; it pays for many queries and keys."""
    given = (tensor[None] for tensor in (query, keys, values))
    out, total = getattr(torch.ops.aten, FUSED)(*given, 0.0, False, scale=scale)
    return out[0], total[0, :, :, None]


def _attention(
    module: Any,
    query: torch.Tensor,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return key.attend(query, scale, more.get("softcap")).transpose(1, 2), None


AttentionInterface.register(NAME, _attention)


@contextmanager
def row_attention(model: Any) -> Iterator[None]:
    """Let a model's layers use the attention of this file; they get their own back."""
    own = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(own)
