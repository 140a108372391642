"""MSP's parameters: soft prompts of attributes, mixed for each text, in front of it behind a shared instruction.

Chen et al., "Mixture of Soft Prompts for Controllable Data Generation" (https://huggingface.co/papers/2303.01580).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from ..losses import IGNORED
from ..mixture import MixtureOfSoftPrompts
from .beside import Beside

READS = ("attention", "bottleneck")  # mixers that look at the rest of the input


def attach(model: Any, adapt: str, size: int) -> Mixtures:
    """Return mixtures beside a model; see `Adapters`."""
    return Mixtures(model)


class Mixtures(Beside):
    """See `Adapters`; a set is a mixture of soft prompts.

    As a module it gives the loss of texts behind prompts and vectors of a set; its parameters are the sets' alone.
    """

    def __init__(self, model: Any):
        super().__init__(model)
        self.sets: nn.ModuleDict = nn.ModuleDict()

    def add(self, name: str, mixture: MixtureOfSoftPrompts) -> None:
        """See `Adapters`; what a mixture starts from is more than a few tokens, so it is made before."""
        self.sets[name] = mixture.to(self.model.device)

    def own(self, name: str) -> Mapping[str, Tensor]:
        """See `Adapters`."""
        return dict(self.sets[name].named_parameters())

    @torch.no_grad()
    def start(self, name: str) -> list[tuple[Tensor, Tensor]]:
        """See `Adapters`; a decoder reads the instruction once for all texts, an encoder with each."""
        instruction = self._set(name).instruction.to(self.model.dtype)
        if self.model.config.is_encoder_decoder or not len(instruction):
            return []
        cache = self.model(inputs_embeds=instruction[None], use_cache=True).past_key_values
        return [(layer.keys[0], layer.values[0]) for layer in cache.layers]

    @torch.no_grad()
    def soft(self, name: str, sets: Sequence[Sequence[str]], ids: Sequence[Sequence[int]]) -> list[Tensor] | None:
        """See `Adapters`; prompts whose vectors are equal share a tensor.

        Each is mixed alone: no vector depends on what else is asked.
        """
        mixture = self._set(name)
        before = 0 if self.model.config.is_encoder_decoder else mixture.config.instruction  # which is in `start`
        found: dict[Any, Tensor] = {}
        keys = []
        for names, own in zip(sets, ids, strict=True):
            reads = mixture.config.mixer in READS and len(names) > 1
            keys.append((frozenset(names), tuple(own) if reads else ()))
            if keys[-1] not in found:
                (vectors,) = self._vectors(mixture, [names], [self._embedded(own)])
                found[keys[-1]] = vectors[before:]
        return [found[key] for key in keys] if any(map(len, found.values())) else None

    def save(self, name: str, folder: Path) -> None:
        """See `Adapters`."""
        self._set(name).save(folder)

    def load(self, name: str, folder: Path) -> None:
        """See `Adapters`."""
        self.add(name, MixtureOfSoftPrompts.load(folder))

    def forward(
        self, name: str, sets: Sequence[Sequence[str]], heads: Sequence[Sequence[int]], tails: Sequence[Sequence[int]]
    ) -> Tensor:
        """Return the mean cross entropy of the tails' tokens.

        Args:
            name: A set.
            sets: Each text's attributes.
            heads: Token ids of each text's prompt.
            tails: Token ids of what is to be written.
        """
        given = [self._embedded(head) for head in heads]
        vectors = self._vectors(self._set(name), sets, given)
        rows = [torch.cat(pair) for pair in zip(vectors, given, strict=True)]
        side, apart = "left", self.model.config.is_encoder_decoder
        if not apart:  # a decoder reads what it has written; the last token predicts nothing
            rows = [torch.cat([row, self._embedded(tail[:-1])]) for row, tail in zip(rows, tails, strict=True)]
        ones = [torch.ones(len(row), dtype=torch.long, device=row.device) for row in rows]
        mask = pad_sequence(ones, batch_first=True, padding_side=side)
        wanted = [torch.tensor(tail, device=mask.device) for tail in tails]
        # On the left, so that the tails of a decoder end together.
        targets = pad_sequence(wanted, True, IGNORED, "right" if apart else side)
        inputs = {"inputs_embeds": pad_sequence(rows, batch_first=True, padding_side=side), "attention_mask": mask}
        if apart:
            logits = self.model(**inputs, labels=targets).logits
        else:
            positions = (mask.cumsum(-1) - 1).clamp(min=0)
            width = targets.shape[1]
            logits = self.model(**inputs, position_ids=positions, use_cache=False, logits_to_keep=width).logits
        return nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED)

    def _set(self, name: str) -> MixtureOfSoftPrompts:
        found = self.sets[name]
        assert isinstance(found, MixtureOfSoftPrompts)
        return found

    def _embedded(self, ids: Sequence[int]) -> Tensor:
        """Return tokens as they go into the first layer, [T, d]: some models scale what stands in their table."""
        tokens = torch.tensor(list(ids), dtype=torch.long, device=self.model.device)
        return self.model.get_input_embeddings()(tokens)

    def _vectors(
        self, mixture: MixtureOfSoftPrompts, sets: Sequence[Sequence[str]], given: Sequence[Tensor]
    ) -> list[Tensor]:
        """Return what stands before each embedded prompt, [P, d] each."""
        ones = [torch.ones(len(row), dtype=torch.long, device=row.device) for row in given]
        mask = pad_sequence(ones, batch_first=True)
        vectors, present = mixture(sets, pad_sequence(list(given), batch_first=True), mask)
        return [row[own.bool()] for row, own in zip(vectors, present, strict=True)]
