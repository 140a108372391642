"""Training a classifier of texts beside images on generated and real pairs, by rounds.

The rounds are those of CAMEL (https://huggingface.co/papers/2306.08966): first everything moves, then the
cross-attention and the head, then the head alone. CAMEL alternates between its image task and its text task, with a
head for each; here there is one task on pairs, and what alternates is generated and real ones. CAMEL moves only the
layer norms of the image encoder in its first round, here all of it moves; and no visit's best epoch is chosen, for
want of a split to choose by.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from datasets import Dataset, concatenate_datasets
from transformers import AutoImageProcessor, AutoTokenizer, PrinterCallback, TrainingArguments, set_seed

from ..card import render
from ..errors import InputError
from ..folder import replace_folder, restore_folder
from ..journal import digest, write_json, write_whole
from ..metrics.classification import Classification
from ..models import resolve
from ..produce import DECIDING
from ..stages import last_checkpoint, mark, open_scratch
from ..students.two_tower import TwoTowerForSequenceClassification
from ..trainers.annealing import AnnealingConfig, AnnealingTrainer, Round
from ..trainers.weighted import WeightedTrainer
from .pairs import Pairs, read_pairs
from .settings import FuseConfig, Where
from .source import file_of
from .store import opened

FUSED = (r"^fusion\.", r"^classifier\.")
HEAD = (r"^classifier\.",)
CAMEL = AnnealingConfig(
    rounds=(
        Round("everything", "synthetic"),
        Round("everything", "real"),
        Round(FUSED, "synthetic"),
        Round(FUSED, "real"),
        Round(HEAD, "real", balanced=True),
    )
)
REPORT = "report.json"


@dataclass(frozen=True)
class Collator:
    """Tokenises texts and decodes images of a batch."""

    tokenizer: Any
    processor: Any
    max_length: int

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return what the model reads, and `labels`."""
        import torch

        texts = [row["text"] for row in rows]
        words = self.tokenizer(texts, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt")
        pixels = self.processor([opened(file_of(row["image"]) or b"") for row in rows], return_tensors="pt")
        labels = torch.tensor([row["labels"] for row in rows])
        told = {name: words[name] for name in ("input_ids", "attention_mask")}
        return {**told, "pixel_values": pixels.pixel_values, "labels": labels}


def fuse(config: FuseConfig, folder: Path, private: Sequence[str] = ()) -> dict[str, Any]:
    """Train, judge and write `folder/model` and `folder/report.json`; what was trained before is not trained again.

    Args:
        config: What to train, and on what.
        folder: Gets both; the report lies in the model's folder too.
        private: What real text the model must stay for, in words.

    Returns:
        What the report holds.

    Raises:
        InputError: For data sets that are not as asked, before a model is loaded.
    """
    parts, reference = _read(config)
    data, names = concatenate_datasets([one.data for one in parts]), parts[0].names
    _check(config, data, names)
    sources = {"text_model": resolve(config.text_model), "vision_model": resolve(config.vision_model)}
    text, image = (one.path for one in sources.values())
    collator = Collator(
        AutoTokenizer.from_pretrained(text), AutoImageProcessor.from_pretrained(image), config.max_length
    )
    key = digest(
        [
            _settings(config),
            [one.digest for one in (*parts, *([reference] if reference else []))],
            [one.sha256 for one in sources.values()],
        ]
    )
    restore_folder(folder / "model")
    done = folder / REPORT
    if done.exists() and (folder / "model").is_dir():
        report = json.loads(done.read_text(encoding="utf-8"))
        if report.get("key") == key:  # earlier releases wrote none
            return _write({**report, **mark(private, report)}, folder / "model", folder)
    args = _arguments(config, folder / ".model-training")
    open_scratch(args, key)
    trainer = _trainer(config, args, _model(config, text, image, names), data, collator)
    trainer.train(resume_from_checkpoint=last_checkpoint(Path(str(args.output_dir))))
    metrics = _judged(trainer, reference) if reference else None
    synthetic = int(np.sum(data["synthetic"][:]))
    left_out = sum(one.left_out for one in parts)
    report = {
        "key": key,
        "metrics": metrics,
        "labels": list(names),
        "pairs": {"generated": synthetic, "real": len(data) - synthetic, "left_out": left_out},
        "rounds": _told(trainer),
        "settings": _settings(config),
        "models": {name: one.facts() for name, one in sources.items()},
        "versions": {name: version(name) for name in DECIDING},
        **mark(private),
    }
    fresh = folder / ".model-fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    for one in (trainer.model, collator.tokenizer, collator.processor):
        one.save_pretrained(fresh)
    write_whole(fresh / "README.md", fused_card(report))
    _write(report, fresh)
    replace_folder(fresh, folder / "model")
    _write(report, folder)
    shutil.rmtree(str(args.output_dir), ignore_errors=True)
    return report


def _write(report: dict[str, Any], *folders: Path) -> dict[str, Any]:
    """Write the report into folders and return it."""
    for folder in folders:
        write_json(folder / REPORT, report)
    return report


def fused_card(report: Mapping[str, Any]) -> str:
    """Return the model's README.md.

    Args:
        report: What `report.json` holds.
    """
    header = {"library_name": "transformers", "tags": ["hf_synth", "image-text-classification", "synthetic-data"]}
    return render(
        "fused.md",
        header=yaml.safe_dump(header, sort_keys=False),
        report=report,
        settings=yaml.safe_dump(report["settings"], sort_keys=False, allow_unicode=True),
    )


def _settings(config: FuseConfig) -> dict[str, Any]:
    """Return the settings; of folders their last part, since their path is nobody's business."""
    told = {name: value for name, value in asdict(config).items() if name not in ("output_dir", "private")}
    for name in ("dataset", "real", "reference", "text_model", "vision_model"):
        if told[name] and Path(told[name]).exists():
            told[name] = Path(told[name]).resolve().name
    return told


def _read(config: FuseConfig) -> tuple[list[Pairs], Pairs | None]:
    """Return the pairs to train on, those of `dataset` first, and those to judge on, if any."""

    def pairs(key: str, split: str, names: Sequence[str] | None, generated: bool = False) -> Pairs:
        where = Where(getattr(config, key), split, config.text_column, config.image_column, config.label_column)
        return read_pairs(where, names, generated, key)

    parts = [pairs("dataset", config.split, None, True)]
    names = parts[0].names
    if config.real is not None:
        parts.append(pairs("real", config.real_split, names))
    reference = pairs("reference", config.reference_split, names) if config.reference else None
    return parts, reference


def _model(config: FuseConfig, text: str, image: str, names: Sequence[str]) -> Any:
    set_seed(config.seed)
    return TwoTowerForSequenceClassification.of_towers(
        text,
        image,
        fusion_size=config.fusion_size,
        fusion_heads=config.fusion_heads,
        id2label=dict(enumerate(names)),
        label2id={name: at for at, name in enumerate(names)},
    )


def _check(config: FuseConfig, data: Dataset, names: Sequence[str]) -> None:
    kinds = set(data["synthetic"][:])
    if config.anneal and len(kinds) < 2:
        there = "generated" if True in kinds else "real"
        raise InputError(
            f"rounds go between generated and real pairs; all {len(data)} are {there}: give `real`, or `anneal: false`"
        )
    if len(names) < 2:
        raise InputError(f"a classifier needs two labels or more; {config.dataset!r} has {list(names)}")


def _arguments(config: FuseConfig, scratch: Path) -> TrainingArguments:
    return TrainingArguments(
        str(scratch),
        seed=config.seed,
        num_train_epochs=config.num_train_epochs,
        learning_rate=config.learning_rate,
        per_device_train_batch_size=config.train_batch_size,
        per_device_eval_batch_size=config.train_batch_size,
        lr_scheduler_type="cosine",  # as in CAMEL's code, without warm-up
        weight_decay=0.05,
        save_strategy="epoch",  # of rounds, at the end of each visit: what was done by then is not done again
        save_total_limit=1,
        logging_strategy="no",
        report_to="none",
        remove_unused_columns=False,  # the collator makes the model's inputs of them
        disable_tqdm=not sys.stderr.isatty(),
        dataloader_pin_memory=False,
    )


def _trainer(
    config: FuseConfig, args: TrainingArguments, model: Any, data: Dataset, collator: Collator
) -> WeightedTrainer:
    trainer: WeightedTrainer
    if config.anneal:
        trainer = AnnealingTrainer(model, args, collator, data, config=CAMEL)
    else:
        trainer = WeightedTrainer(model, args, collator, data)
    trainer.remove_callback(PrinterCallback)
    return trainer


def _judged(trainer: WeightedTrainer, reference: Pairs) -> dict[str, Any]:
    logits = np.asarray(trainer.predict(reference.data).predictions)
    found = logits.argmax(axis=1).tolist()
    labels = reference.data["labels"][:]
    return Classification().compute(predictions=found, references=labels, labels=list(reference.names)) or {}


def _told(trainer: WeightedTrainer) -> list[dict[str, Any]]:
    """Return of each visit which rows it saw and how many numbers moved."""
    if not isinstance(trainer, AnnealingTrainer):
        return []
    sizes = {name: parameter.numel() for name, parameter in trainer.model.named_parameters()}
    return [
        {
            "rows": visit.round.rows,
            "balanced": visit.round.balanced,
            "trainable": visit.round.trainable if isinstance(visit.round.trainable, str) else [*visit.round.trainable],
            "parameters": sum(sizes[name] for name in visit.trainable),
        }
        for visit in trainer.visits
    ]
