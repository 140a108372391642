"""Tuning a generator on a few real rows: adapters trained to write a row's text after the prompt that asks for it."""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModel
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_callback import PrinterCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from ..adapters import Adapters, TuningConfig, attach
from ..adapters.folder import ALL, place, set_name, write_record
from ..errors import InputError
from ..shots import Shot
from .encoding import Encoding
from .local.processor import best_device, best_dtype

if TYPE_CHECKING:
    from datasets import Dataset


def check_tuning(config: TuningConfig, labels: Sequence[str]) -> None:
    """Refuse settings that do not go together.

    Raises:
        InputError: Naming them.
    """
    if config.prefer_epochs and config.adapt not in ("lora", "dora"):
        raise InputError(f"`prefer_epochs` is for `adapt: lora` and `dora`; got {config.adapt!r}")
    if config.prefer_epochs and config.per_label:
        raise InputError("`prefer_epochs` is for one adapter of all labels; leave `per_label` out")
    if config.prefer_epochs and len(labels) < 2:
        raise InputError("`prefer_epochs` prefers rows of one label to those of another; there is one label")
    if config.adapter_size and config.adapt in ("last_layer", "embeddings", "bias"):
        raise InputError(f"`adapter_size`: `adapt: {config.adapt}` has none; got {config.adapter_size}")


def tune(
    path: str, model_facts: Mapping[str, Any], shots: Sequence[Shot], config: TuningConfig, folder: Path, seed: int
) -> dict[str, Any]:
    """Train adapters beside a frozen model and write them with what is known of them.

    Args:
        path: The model's folder.
        model_facts: What is known of it.
        shots: What to learn from.
        config: See `TuningConfig`.
        folder: An empty folder.
        seed: Decides initial values, order and dropout.

    Returns:
        What was recorded.

    Raises:
        InputError: For settings that cannot work, or where nothing would be trained.
    """
    labels = list(dict.fromkeys(set_name(shot.label) for shot in shots))
    check_tuning(config, labels)
    # Where parameters of its own are trained, an optimizer's steps are lost on shorter numbers.
    whole = config.adapt in ("last_layer", "embeddings", "bias")
    model, tokenizer = open_model(path, dtype=torch.float32 if whole else None)
    adapters, names = attach(model, config.adapt, config.size), labels if config.per_label else [ALL]
    begun, losses = time.perf_counter(), {}
    for name in names:
        set_seed(seed)
        own = [shot for shot in shots if name in (ALL, set_name(shot.label))]
        adapters.add(name, Encoding(tokenizer).prompt(own[0].prompt.text, own[0].chat))
        losses[name] = _supervised(adapters, tokenizer, own, config, seed)
        if config.prefer_epochs:
            _preferred(adapters, tokenizer, own, shots, config, seed)
        adapters.save(name, place(folder, name))
    known = {
        **{key: value for key, value in asdict(config).items() if key != "adapter_size"},
        "adapter_size": config.size,
        "tune_learning_rate": config.rate,
        "names": names,
        "library": "peft" if isinstance(adapters.trained, PeftModel) else "hf_synth",  # which reads the files
        "model": dict(model_facts),
        "rows": len(shots),
        "seed": seed,
        "loss": losses,
        "seconds": round(time.perf_counter() - begun, 1),
    }
    return write_record(folder, adapters.own(names[0]), known)


def open_model(path: str, device: Any = None, dtype: Any = None) -> tuple[Any, Any]:
    """Return a model to stand beside, and its tokenizer.

    Args:
        path: The model's folder.
        device: What it runs on; the accelerator, else the CPU, where left out.
        dtype: Of its weights; the fastest that the processor multiplies natively where left out.
    """
    auto = AutoModelForSeq2SeqLM if AutoConfig.from_pretrained(path).is_encoder_decoder else AutoModelForCausalLM
    device = device or best_device()
    model: Any = auto.from_pretrained(path, dtype=dtype or best_dtype(device))
    tokenizer = AutoTokenizer.from_pretrained(path)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.to(device), tokenizer


def trainer_arguments(
    config: TuningConfig, scratch: str, epochs: float, rate: float, seed: int, device: Any, rows: int
) -> dict[str, Any]:
    """Return the Trainer's arguments for so many rows, all of them: TRL's own defaults differ."""
    steps = math.ceil(epochs * math.ceil(rows / config.tune_batch_size))
    ours: dict[str, Any] = {
        "output_dir": scratch,
        "num_train_epochs": epochs,
        "learning_rate": rate,
        "per_device_train_batch_size": config.tune_batch_size,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.1 if steps > 1 else 0,  # rounded up: the only step would have the rate 0
        "logging_steps": 1,
        "seed": seed,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "bf16": best_dtype(device) == torch.bfloat16,  # what is trained stays in float32
        "use_cpu": device.type == "cpu",
        "dataloader_pin_memory": device.type != "cpu",
    }
    args = TrainingArguments(**ours)
    return {field.name: getattr(args, field.name) for field in fields(args) if field.init}


def _supervised(
    adapters: Adapters, tokenizer: Any, shots: Sequence[Shot], config: TuningConfig, seed: int
) -> list[float]:
    """Train the set in use on prompts and answers; return the mean loss of the first and of the last epoch."""
    model: Any = adapters.trained
    apart = model.config.is_encoder_decoder
    rows = encoded(tokenizer, shots, apart)
    with tempfile.TemporaryDirectory(prefix="hf_synth-") as scratch:
        given = trainer_arguments(config, scratch, config.tune_epochs, config.rate, seed, model.device, len(rows))
        if apart:
            collator = DataCollatorForSeq2Seq(tokenizer, model)
            settings = Seq2SeqTrainingArguments(**given)
            trainer: Any = Seq2SeqTrainer(model, settings, train_dataset=rows, data_collator=collator)
        else:
            sft = SFTConfig(**given, completion_only_loss=True, max_length=None)
            trainer = SFTTrainer(model, args=sft, train_dataset=rows, processing_class=tokenizer)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    each = max(1, round(len(losses) / config.tune_epochs))
    return [round(sum(part) / len(part), 4) for part in (losses[:each], losses[-each:])]


def encoded(tokenizer: Any, shots: Sequence[Shot], apart: bool) -> Dataset:
    """Return shots as token ids; of a decoder-only model, with a mask of what belongs to the answer."""
    from datasets import Dataset

    encoding = Encoding(tokenizer, apart=apart)
    pairs = [encoding.split(shot.prompt.text, shot.answer, shot.chat) for shot in shots]
    if apart:
        return Dataset.from_dict({"input_ids": [head for head, _ in pairs], "labels": [tail for _, tail in pairs]})
    masks = [[0] * len(head) + [1] * len(tail) for head, tail in pairs]
    return Dataset.from_dict({"input_ids": [head + tail for head, tail in pairs], "completion_mask": masks})


def _preferred(
    adapters: Adapters,
    tokenizer: Any,
    shots: Sequence[Shot],
    others: Sequence[Shot],
    config: TuningConfig,
    seed: int,
) -> None:
    """Train the set in use to prefer rows of a prompt's label to those of others (Rafailov et al. 2023)."""
    from datasets import Dataset

    rows = preferences(tokenizer, shots, others, seed)
    model: Any = adapters.trained
    with tempfile.TemporaryDirectory(prefix="hf_synth-") as scratch:
        # A tenth of the rate: the preference has a slope of its own, and few rows.
        rate, epochs = config.rate / 10, config.prefer_epochs
        given = trainer_arguments(config, scratch, epochs, rate, seed, model.device, len(rows))
        dpo = DPOConfig(**given, beta=config.prefer_beta)
        trainer: Any = DPOTrainer(model, args=dpo, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def preferences(tokenizer: Any, shots: Sequence[Shot], others: Sequence[Shot], seed: int) -> list[dict[str, str]]:
    """Return each shot as `prompt`, `chosen` and `rejected`, which is a row of another label."""
    rng = random.Random(f"{seed}:prefer")
    # TRL's tokenizing puts the start in front of what a chat template has begun with it.
    start = tokenizer.bos_token if tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id] else ""
    return [
        {
            "prompt": Encoding(tokenizer).wrapped(shot.prompt.text, shot.chat).removeprefix(start),
            "chosen": shot.answer,
            "rejected": rng.choice([other.answer for other in others if other.label != shot.label]),
        }
        for shot in shots
    ]
