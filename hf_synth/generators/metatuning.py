"""FewGen's tuning: a prefix a label, trained on the tokens that tell the labels apart.

Meng et al., "Tuning Language Models as Training Data Generators for Augmentation-Enhanced Few-Shot Learning"
(https://huggingface.co/papers/2211.03044), section 3. The gradient of the weight network needs no graph of a gradient:
it is a directional derivative of the token losses (see `directional.py`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import get_linear_schedule_with_warmup, set_seed

from ..adapters.folder import place, set_name, write_record
from ..adapters.prefixes import Prefixes
from ..adapters.settings import MetaConfig
from ..directional import directional_derivatives, mean_gradient
from ..errors import InputError
from ..losses import IGNORED
from ..shots import Shot
from .base import Tunable
from .encoding import Encoding
from .tuning import open_model

HIDDEN = 100


class WeightNet(nn.Module):
    """g of section 3.2: from a token's discrimination loss to the logit of its weight; 1 to 100 to 1, ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))

    def forward(self, discrimination: Tensor, mask: Tensor, over: str) -> Tensor:
        """Return the weights of tokens, [rows, T], which sum to 1 over a sample, or to the rows over the batch."""
        logits = self.layers(discrimination[..., None])[..., 0].masked_fill(~mask, -torch.inf)
        if over == "batch":
            return logits.flatten().softmax(0).view_as(logits) * len(logits)
        return logits.softmax(-1)


@dataclass(frozen=True)
class Batch:
    """Rows as tokens: label names, what is given, and what is to be written, [rows, T] padded with -100."""

    names: list[str]
    heads: list[list[int]]
    targets: Tensor

    @property
    def inputs(self) -> dict[str, Any]:
        """Return what `Prefixes` takes."""
        return {"names": self.names, "heads": self.heads, "tails": self.targets.clamp(min=0)}

    @property
    def mask(self) -> Tensor:
        """Return which tokens count."""
        return self.targets != IGNORED

    def under(self, labels: Sequence[str], row: int) -> Batch:
        """Return one row under its own label first, then under every other."""
        own = self.names[row]
        names = [own, *(label for label in labels if label != own)]
        return Batch(names, [self.heads[row]] * len(names), self.targets[row].expand(len(names), -1))


def generation_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the negative log-likelihood of each token, [rows, T]; 0 for those that do not count (equation 1)."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)).transpose(1, 2)
    return nn.functional.cross_entropy(logits, targets, reduction="none", ignore_index=IGNORED)


def discrimination_losses(losses: Tensor, own: Tensor) -> Tensor:
    """Return how little each token tells its label from the others, [rows, T] (equation 4).

    Args:
        losses: Generation losses under every label, [rows, labels, T].
        own: The place of each row's label, [rows].
    """
    return -(-losses).log_softmax(1)[torch.arange(len(own)), own]


def text_discrimination(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean discrimination loss of a text's tokens, [1], from its logits under its own label and all others.

    Args:
        logits: [labels, T, vocabulary], those under its own label first.
        targets: [1, T].
    """
    every = generation_losses(logits, targets.expand(len(logits), -1))
    found = discrimination_losses(every[None], torch.zeros(1, dtype=torch.long, device=every.device))
    mask = targets != IGNORED
    return (found * mask).sum(-1) / mask.sum(-1)


class MetaTuner:
    """Two optimizers: of the prefixes, and of the network that weighs tokens.

    Args:
        prefixes: The labels' prefixes.
        config: See `MetaConfig`.
        steps: Steps in all.
    """

    def __init__(self, prefixes: Prefixes, config: MetaConfig, steps: int):
        self.prefixes, self.config, self.labels = prefixes, config, list(prefixes.prefix)
        self.net = WeightNet().to(prefixes.model.device)
        self.theta = torch.optim.AdamW(prefixes.parameters(), lr=config.tune_learning_rate, weight_decay=0.0)
        self.omega = torch.optim.Adam(self.net.parameters(), lr=config.weight_learning_rate, weight_decay=1e-4)
        used = (self.theta, self.omega) if config.meta_weighting else (self.theta,)
        self.schedules = [get_linear_schedule_with_warmup(one, 0, steps) for one in used]

    def step(self, batch: Batch) -> dict[str, float]:
        """Take one step and return the mean losses of the tokens before it.

        Of section 3.2: a virtual step of the prefixes, a step of the network along the slope of the discrimination
        loss behind it, then the step of the prefixes with the new weights.
        """
        losses = generation_losses(self.prefixes(**batch.inputs)["logits"], batch.targets)
        mask = batch.mask
        found = {"generation": losses[mask].mean().item()}
        weights = mask / mask.sum(-1, keepdim=True)
        if self.config.meta_weighting:
            seen = self.discrimination(batch, losses.detach())
            found["discrimination"] = seen[mask].mean().item()
            self.omega.zero_grad()
            self.slope(batch, losses, seen).backward()
            self.omega.step()
            weights = self.net(seen, mask, self.config.normalize).detach()
        self.theta.zero_grad()
        (weights * losses).sum(-1).mean().backward()
        nn.utils.clip_grad_norm_(self.prefixes.parameters(), 1.0)
        self.theta.step()
        for schedule in self.schedules:
            schedule.step()
        return found

    def discrimination(self, batch: Batch, own: Tensor) -> Tensor:
        """Return the discrimination loss of each token at the prefixes as they are."""
        places = [self.labels.index(name) for name in batch.names]
        with torch.no_grad():
            every = [self._others(batch, label, own) for label in self.labels]
        return discrimination_losses(torch.stack(every, 1), torch.tensor(places, device=own.device))

    def _others(self, batch: Batch, label: str, own: Tensor) -> Tensor:
        """Return generation losses under one label; those of rows that have it are known."""
        rows = [at for at, name in enumerate(batch.names) if name != label]
        found = own.clone()
        if rows:
            part = Batch([label] * len(rows), [batch.heads[at] for at in rows], batch.targets[rows])
            found[rows] = generation_losses(self.prefixes(**part.inputs)["logits"], part.targets)
        return found

    def slope(self, batch: Batch, losses: Tensor, seen: Tensor) -> Tensor:
        """Return a sum whose gradient in the network is that of the discrimination loss behind the virtual step.

        With the virtual step of size a, that gradient is -a sum_j d_j dw_j, d_j being the derivative of token j's
        generation loss along the gradient of the discrimination loss.

        Args:
            batch: The rows.
            losses: Their generation losses, with their graph, [rows, T].
            seen: Their discrimination losses, [rows, T].
        """
        weights, size = self.net(seen, batch.mask, self.config.normalize), self.config.virtual_rate
        named = dict(self.prefixes.named_parameters())
        loss = (weights.detach() * losses).sum(-1).mean()
        slopes = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
        ahead = {
            name: (value if slope is None else value - size * slope).detach().requires_grad_()
            for (name, value), slope in zip(named.items(), slopes, strict=True)
        }
        # A row at a time: memory grows with the labels, not with labels times rows.
        parts = ((batch.under(self.labels, row).inputs, batch.targets[row : row + 1]) for row in range(len(losses)))
        along, rows = mean_gradient(self.prefixes, ahead, parts, text_discrimination)
        direction = {name: value / rows for name, value in along.items()}
        derivatives = directional_derivatives(
            self.prefixes, {**batch.inputs, "labels": batch.targets}, direction, loss=generation_losses
        )
        return -size * (derivatives * weights).sum(-1).mean()


def batches(
    rows: Sequence[tuple[str, list[int], list[int]]], config: MetaConfig, seed: int, device: Any
) -> Iterator[Batch]:
    """Yield rows (label, given tokens, tokens to write) in batches, each epoch in an order of its own."""
    draw = np.random.default_rng(seed)
    for _ in range(config.tune_epochs):
        order = draw.permutation(len(rows)).tolist()
        for first in range(0, len(order), config.tune_batch_size):
            chosen = [rows[at] for at in order[first : first + config.tune_batch_size]]
            longest = max(len(tail) for _, _, tail in chosen)
            targets = [tail + [IGNORED] * (longest - len(tail)) for _, _, tail in chosen]
            names, heads = [name for name, _, _ in chosen], [head for _, head, _ in chosen]
            yield Batch(names, heads, torch.tensor(targets, device=device))


def tune_prefixes(
    generator: Tunable, shots: Sequence[Shot], config: MetaConfig, folder: Path, seed: int
) -> dict[str, Any]:
    """Tune a prefix and, of pairs, an infix for each label, and write them.

    Args:
        generator: What they stand beside, and where and in which type that runs.
        shots: What to learn from.
        config: See `MetaConfig`.
        folder: An empty folder.
        seed: Decides order and the network's first weights.

    Returns:
        What was recorded.

    Raises:
        InputError: For an encoder-decoder model, or prompts that leave no token for a prefix.
    """
    model, tokenizer = open_model(generator.path, generator.device, generator.dtype)
    if model.config.is_encoder_decoder:
        raise InputError("FewGen's prefixes stand before a decoder-only model; this one has an encoder")
    set_seed(seed)
    model.requires_grad_(False)
    prefixes, begun = Prefixes(model.eval()), time.perf_counter()
    rows = begin(prefixes, tokenizer, shots, config)
    steps = config.tune_epochs * -(-len(rows) // config.tune_batch_size)
    tuner = MetaTuner(prefixes, config, steps)
    curve = [tuner.step(batch) for batch in batches(rows, config, seed, model.device)]
    each = max(1, steps // config.tune_epochs)
    means = [
        {name: round(float(np.mean([entry[name] for entry in part])), 4) for name in part[0]}
        for part in (curve[:each], curve[-each:])
    ]
    for name in prefixes.prefix:
        prefixes.save(name, place(folder, name))
    known = {
        "adapt": "prefixes",
        "adapter_size": None,
        **asdict(config),
        "names": list(prefixes.prefix),
        "model": {**generator.source, "name": generator.name, "sha256": generator.digest},
        "rows": len(shots),
        "seed": seed,
        "loss": {"first epoch": means[0], "last epoch": means[1]},
        "seconds": round(time.perf_counter() - begun, 1),
    }
    return write_record(folder, prefixes.own(next(iter(prefixes.prefix))), known)


def begin(
    prefixes: Prefixes, tokenizer: Any, shots: Sequence[Shot], config: MetaConfig
) -> list[tuple[str, list[int], list[int]]]:
    """Give each label its prefix and infix, and return the shots as label, given tokens and tokens to write."""
    rows = []
    for shot in shots:
        first, given, infix = parts(tokenizer, shot)
        name = set_name(shot.label)
        if name not in prefixes.prefix:
            prefixes.add(name, first, infix)
        tail = tokenizer(shot.answer, add_special_tokens=False).input_ids
        rows.append((name, given[: config.given_tokens], tail[: config.written_tokens]))
    return rows


def parts(tokenizer: Any, shot: Shot) -> tuple[list[int], list[int], list[int]]:
    """Return the tokens of a shot's prompt: those that become the prefix, those of the text, those of the infix.

    Of a pair the text is the given one, and the infix what follows it. Else it is the end of the prompt: the fewest
    tokens that stay the same when they stand alone.

    Raises:
        InputError: For a prompt of too few tokens.
    """
    encoding, given = Encoding(tokenizer), next(iter(shot.prompt.given.values()), None)
    text = encoding.wrapped(shot.prompt.text, shot.chat)
    whole = encoding.prompt(shot.prompt.text, shot.chat)
    if given is not None:
        front, _, back = text.partition(given)
        first = tokenizer(front, add_special_tokens=text == shot.prompt.text).input_ids
        if first:
            own, rest = (tokenizer(part, add_special_tokens=False).input_ids for part in (given, back))
            return first, own, rest
    for size in range(1, len(whole)):
        end = whole[-size:]
        if tokenizer(tokenizer.decode(end), add_special_tokens=False).input_ids == end:
            return whole[:-size], end, []
    raise InputError(f"the prompt {shot.prompt.text!r} leaves no token for a prefix")


def text_of(tokenizer: Any, shot: Shot) -> str:
    """Return what a text is asked with behind its label's prefix: the given text, or the end of the prompt."""
    return next(iter(shot.prompt.given.values()), None) or tokenizer.decode(parts(tokenizer, shot)[1])
