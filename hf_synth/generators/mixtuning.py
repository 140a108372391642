"""MSP's tuning: soft prompts of attributes and what mixes them, beside a frozen language model.

Chen et al., "Mixture of Soft Prompts for Controllable Data Generation" (https://huggingface.co/papers/2303.01580).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import get_cosine_schedule_with_warmup, set_seed

from ..adapters.folder import ALL, write_record
from ..adapters.mixture import Mixtures
from ..config import part
from ..mixture import MixtureOfSoftPrompts, filled
from ..mixture_settings import MixtureConfig, MixtureTuningConfig
from ..records import label_set
from ..shots import Shot
from .base import Tunable
from .encoding import Encoding
from .tuning import open_model

INSTRUCTION = "Write distinct texts, each of which expresses all of the following:"
WARM_UP = 0.1
Row = tuple[tuple[str, ...], list[int], list[int]]  # attributes, tokens of the prompt, tokens to write


def tune_mixture(
    generator: Tunable,
    shots: Sequence[Shot],
    config: MixtureTuningConfig,
    folder: Path,
    seed: int,
    *,
    levels: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """Train an instruction, a prompt for each attribute and their mixer, and write them.

    Section 3 of the paper: cross entropy of the texts' own tokens behind soft prompts and prompt.

    Args:
        generator: What they stand beside, and where and in which type that runs.
        shots: What to learn from; a prompt's attributes are the labels it asks for.
        config: See `MixtureTuningConfig`.
        folder: An empty folder.
        seed: Decides order and the mixer's first weights.
        levels: Level -> its attributes -> the words that each one's prompt starts as.

    Returns:
        What was recorded.
    """
    model, tokenizer = open_model(generator.path, generator.device, generator.dtype)
    set_seed(seed)
    model.requires_grad_(False)
    mixtures, begun = Mixtures(model.eval()), time.perf_counter()
    mixtures.add(ALL, started(model, tokenizer, config, levels))
    encoding = Encoding(tokenizer, apart=model.config.is_encoder_decoder)
    rows = [(label_set(shot.prompt), *encoding.split(shot.prompt.text, shot.answer)) for shot in shots]
    losses = trained(mixtures, rows, config, seed)
    mixtures.save(ALL, folder)
    each = len(losses) // config.tune_epochs
    means = [round(float(np.mean(part)), 4) for part in (losses[:each], losses[-each:])]
    known = {
        "adapt": "mixture",
        "adapter_size": None,
        **asdict(config),
        "names": [ALL],
        "model": {**generator.source, "name": generator.name, "sha256": generator.digest},
        "rows": len(shots),
        "seed": seed,
        "loss": {"first epoch": means[0], "last epoch": means[1]},
        "seconds": round(time.perf_counter() - begun, 1),
    }
    return write_record(folder, mixtures.own(ALL), known)


@torch.no_grad()
def started(
    model: Any, tokenizer: Any, config: MixtureConfig, levels: Mapping[str, Mapping[str, str]]
) -> MixtureOfSoftPrompts:
    """Return a mixture that is not trained: the instruction is a sentence again and again, prompts their words."""

    def embedded(text: str, length: int) -> Tensor:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        return filled(model.get_input_embeddings()(torch.tensor(ids, device=model.device)), length)

    prompts = {name: embedded(words, config.length) for own in levels.values() for name, words in own.items()}
    instruction = embedded(INSTRUCTION, config.instruction)
    return MixtureOfSoftPrompts(
        part(MixtureConfig, config), instruction, prompts, {level: list(own) for level, own in levels.items()}
    )


def trained(mixtures: Mixtures, rows: Sequence[Row], config: MixtureTuningConfig, seed: int) -> list[float]:
    """Train the mixture of all labels on rows; return the loss of every step."""
    steps = config.tune_epochs * -(-len(rows) // config.tune_batch_size)
    optimizer = torch.optim.AdamW(mixtures.parameters(), config.tune_learning_rate, weight_decay=0.0)
    schedule = get_cosine_schedule_with_warmup(optimizer, round(WARM_UP * steps), steps)
    losses = []
    for batch in batches(rows, config, seed):
        sets, heads, tails = zip(*batch, strict=True)
        loss = mixtures(ALL, sets, heads, tails)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(mixtures.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


def batches(rows: Sequence[Row], config: MixtureTuningConfig, seed: int) -> Iterator[list[Row]]:
    """Yield rows in batches, each epoch in an order of its own."""
    draw = np.random.default_rng(seed)
    for _ in range(config.tune_epochs):
        order = draw.permutation(len(rows)).tolist()
        for first in range(0, len(order), config.tune_batch_size):
            yield [rows[at] for at in order[first : first + config.tune_batch_size]]
