"""FewGen's parameters of a label: keys and values in front of every text, and an infix behind the given one.

Meng et al., "Tuning Language Models as Training Data Generators" (https://huggingface.co/papers/2211.03044).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import DynamicCache

from . import WEIGHTS
from .beside import Beside


def attach(model: Any, adapt: str, size: int) -> Prefixes:
    """Return FewGen's adapters beside a model; see `Adapters`."""
    return Prefixes(model)


class Prefixes(Beside):
    """See `Adapters`; a set is a prefix [2 · layers, heads, tokens, size] and an infix [tokens, width], maybe empty.

    As a module it is the model with a label's prefix and infix around each row; its parameters are these alone.
    """

    behind = True  # the infix stands behind a prompt's text

    def __init__(self, model: Any):
        super().__init__(model)
        self.prefix, self.infix = nn.ParameterDict(), nn.ParameterDict()

    @torch.no_grad()
    def add(self, name: str, ids: list[int], infix: Sequence[int] = ()) -> None:
        """See `Adapters`; the prefix begins as the keys and values of `ids`, the infix as its tokens' embeddings."""
        tokens = torch.tensor([ids], device=self.model.device)
        cache = self.model(input_ids=tokens, use_cache=True).past_key_values
        kept = [part[0] for layer in cache.layers for part in (layer.keys, layer.values)]
        self.prefix[name] = nn.Parameter(torch.stack(kept).float())
        embedded = self.model.get_input_embeddings()(torch.tensor(list(infix), dtype=torch.long, device=tokens.device))
        self.infix[name] = nn.Parameter(embedded.float())

    def own(self, name: str) -> Mapping[str, torch.Tensor]:
        """See `Adapters`."""
        return {"prefix": self.prefix[name], "infix": self.infix[name]}

    def start(self, name: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """See `Adapters`."""
        pairs = self.prefix[name].detach().to(self.model.dtype)
        return list(zip(pairs[::2], pairs[1::2], strict=True))

    def soft(self, name: str, sets: Sequence[Sequence[str]], ids: Sequence[Sequence[int]]) -> Any:
        """See `Adapters`."""
        infix = self.infix[name].detach()
        return [infix.to(self.model.dtype)] * len(ids) if len(infix) else None

    def save(self, name: str, folder: Path) -> None:
        """See `Adapters`."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({key: value.detach().contiguous() for key, value in self.own(name).items()}, folder / WEIGHTS)

    def load(self, name: str, folder: Path) -> None:
        """See `Adapters`."""
        found = load_file(folder / WEIGHTS, device=str(self.model.device))
        self.prefix[name], self.infix[name] = nn.Parameter(found["prefix"]), nn.Parameter(found["infix"])

    def forward(self, names: Sequence[str], heads: Sequence[Sequence[int]], tails: torch.Tensor) -> dict[str, Any]:
        """Return the logits of tails: row by row the label's prefix, the head, the label's infix, and the tail.

        Args:
            names: Each row's label.
            heads: Token ids of each row's given text, or of the last tokens of its prompt.
            tails: Token ids, [rows, T], of what is to be written; padding is any token.

        Returns:
            `logits`, [rows, T, vocabulary]: those that predict each token of the tail.
        """
        embed, width = self.model.get_input_embeddings(), tails.shape[1]
        pieces = []
        for name, head, tail in zip(names, heads, tails, strict=True):
            own = torch.tensor(list(head), dtype=torch.long, device=tails.device)
            infix = self.infix[name].to(self.model.dtype)
            pieces.append(torch.cat([embed(own), infix, embed(tail[:-1])]))
        lengths = [len(piece) for piece in pieces]
        # On the left, so that the tails end together.
        inputs = torch.stack([nn.functional.pad(piece, (0, 0, max(lengths) - len(piece), 0)) for piece in pieces])
        before = [self.prefix[name].shape[2] for name in names]
        rows = [
            nn.functional.pad(self.prefix[name], (0, 0, max(before) - self.prefix[name].shape[2], 0)) for name in names
        ]
        pairs = torch.stack(rows, 1).to(self.model.dtype)
        mask = torch.zeros(len(names), max(before) + max(lengths), dtype=torch.long, device=tails.device)
        for row, (first, length) in enumerate(zip(before, lengths, strict=True)):
            mask[row, max(before) - first : max(before)] = 1
            mask[row, mask.shape[1] - length :] = 1
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, max(before) :]
        output = self.model(
            inputs_embeds=inputs,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=DynamicCache(list(zip(pairs[::2], pairs[1::2], strict=True))),
            use_cache=True,
            logits_to_keep=width,
        )
        return {"logits": output.logits[:, -width:]}
