"""Contrastive continued pretraining of an encoder on a corpus (https://huggingface.co/papers/2305.10703, section 4.1).

Two spans of one passage are each other's positives, the other spans of the batch negatives, as in coCondenser
(https://huggingface.co/papers/2108.05540).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    get_linear_schedule_with_warmup,
    set_seed,
)

from ..errors import InputError
from .encode import pooled
from .passages import Passages
from .settings import Pooling, PretrainConfig

SENTENCE = re.compile(r"(?<=[.!?])\s+")
TRIES = 50  # passages looked at for each that has two spans, before the corpus is given up
MASKED = 0.15


def spans_of(sentences: list[list[int]], longest: int, cut: float, rng: random.Random) -> list[list[int]]:
    """Pack consecutive sentences into spans of at most `longest` tokens; one that is too long gives a window."""
    spans: list[list[int]] = []
    for tokens in sentences:
        if not spans or len(spans[-1]) + len(tokens) > longest or rng.random() < cut:
            spans.append([])
        spans[-1] = spans[-1] + tokens
    found = []
    for span in spans:
        start = rng.randrange(len(span) - longest + 1) if len(span) > longest else 0
        found.append(span[start : start + longest])
    return [span for span in found if span]


def pairs(passages: Passages, tokenizer: Any, config: PretrainConfig, rng: random.Random) -> Iterator[list[str]]:
    """Yield two different spans of one passage after the other, passages drawn at random.

    Raises:
        InputError: If hardly any passage has two spans.
    """
    barren = 0
    while True:
        for text in passages[[rng.randrange(len(passages)) for _ in range(config.batch)]]:
            sentences = [part for part in SENTENCE.split(text) if part]
            if len(sentences) > 1:
                ids = tokenizer(sentences, add_special_tokens=False)["input_ids"]
                spans = spans_of(ids, config.span, config.cut, rng)
                if len(spans) > 1:
                    barren = 0
                    yield [tokenizer.decode(span) for span in rng.sample(spans, 2)]
                    continue
            barren += 1
        if barren >= TRIES * config.batch:
            raise InputError(
                f"`contrastive_pretraining` needs passages of several sentences; of the last {barren:,} looked at, "
                "none gave two spans"
            )


def contrastive_loss(vectors: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the in-batch contrastive loss; rows 2i and 2i + 1 are each other's positives.

    Args:
        vectors: [2B, D].
        temperature: Divides the inner products.
    """
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    similarities = (vectors @ vectors.T / temperature).masked_fill(itself, -torch.inf)
    partner = torch.arange(len(vectors), device=vectors.device) ^ 1
    return torch.nn.functional.cross_entropy(similarities, partner)


def load_for_pretraining(path: str | Path, mlm: bool) -> tuple[Any, bool]:
    """Return the encoder and whether it can be trained to fill masks: its checkpoint must hold the head."""
    if mlm:
        try:
            model, told = AutoModelForMaskedLM.from_pretrained(path, dtype=torch.float32, output_loading_info=True)
        except ValueError:  # an architecture without such a head
            return AutoModel.from_pretrained(path, dtype=torch.float32), False
        if not told["missing_keys"]:
            return model, True
    return AutoModel.from_pretrained(path, dtype=torch.float32), False


def pretrain(
    path: str | Path,
    passages: Passages,
    config: PretrainConfig,
    target: Path,
    *,
    pooling: Pooling,
    normalize: bool,
    seed: int,
) -> dict[str, Any]:
    """Train an encoder on the corpus, save it and return what is known of the training.

    Args:
        path: The encoder's folder.
        passages: The corpus.
        config: See `PretrainConfig`.
        target: Folder for the trained encoder.
        pooling: As the vectors will be made.
        normalize: As the vectors will be made.
        seed: Decides the passages, spans, masks and dropout.
    """
    set_seed(seed)
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    tokenizer = AutoTokenizer.from_pretrained(path)
    model, masks = load_for_pretraining(path, config.mlm)
    model.to(device).train()
    collate = DataCollatorForLanguageModeling(tokenizer, mlm=masks, mlm_probability=MASKED if masks else None)
    optimizer = torch.optim.AdamW(model.parameters(), config.lr, weight_decay=0.01)
    schedule = get_linear_schedule_with_warmup(optimizer, config.steps // 10, config.steps)
    stream = pairs(passages, tokenizer, config, random.Random(f"{seed}:spans"))
    losses = []
    for _ in range(config.steps):
        spans = [span for _ in range(config.batch) for span in next(stream)]
        ids = tokenizer(spans, truncation=True, max_length=config.span + 2, return_token_type_ids=False)["input_ids"]
        inputs = collate([{"input_ids": row} for row in ids]).to(device)
        labels = inputs.pop("labels", None)
        out = model(**inputs, **({"labels": labels, "output_hidden_states": True} if masks else {}))
        hidden = out.hidden_states[-1] if masks else out.last_hidden_state
        contrast = contrastive_loss(pooled(hidden, inputs["attention_mask"], pooling, normalize), config.temperature)
        (contrast + out.loss if masks else contrast).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(contrast.item())
    (model.base_model if masks else model).save_pretrained(target)
    tokenizer.save_pretrained(target)
    tenth = max(1, len(losses) // 10)
    ends = {"first": sum(losses[:tenth]) / tenth, "last": sum(losses[-tenth:]) / tenth}
    facts = {"steps": config.steps, "mlm": masks, **{f"{end} loss": round(loss, 4) for end, loss in ends.items()}}
    (target / "pretraining.json").write_text(json.dumps(facts))
    return facts
