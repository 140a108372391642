"""What the tests run in a second process, where HF_ENDPOINT is set before `huggingface_hub` is first imported."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LABELS = ("negative", "positive")
OURS = "<!-- hf_synth:begin -->\n# Made by a machine\n\n{rows} rows.\n<!-- hf_synth:end -->\n"


def start(environment: dict[str, str]) -> None:
    """Take the environment of the tests and no other Hub setting of the person who runs them."""
    for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))]:
        del os.environ[name]
    os.environ.update(environment)


def write_folder(folder: Path, splits: dict[str, Sequence[str]], *, extra: bool = False, shards: int = 1) -> Path:
    """Write a Hub-ready folder: rows are (text, label) by turns, `extra` adds a column."""
    import hashlib
    import json

    import yaml
    from datasets import ClassLabel, Dataset, DatasetInfo, Features, Value
    from datasets.info import DatasetInfosDict
    from datasets.splits import SplitDict, SplitInfo
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCardData

    features = Features({"text": Value("string"), "label": ClassLabel(names=list(LABELS))})
    if extra:
        features["logprob"] = Value("float64")
    (folder / "data").mkdir(parents=True)
    (folder / "hf_synth").mkdir()
    data_files, infos = [], SplitDict()
    for split, texts in splits.items():
        columns: dict[str, list[Any]] = {"text": list(texts), "label": [n % 2 for n in range(len(texts))]}
        if extra:
            columns["logprob"] = [-float(n) for n in range(len(texts))]
        rows = Dataset.from_dict(columns, features=features)
        digest = hashlib.sha256(json.dumps(columns).encode()).hexdigest()[:8]
        for shard in range(shards):
            name = f"{split}-{digest}-{shard:05d}-of-{shards:05d}.parquet"
            rows.shard(shards, shard, contiguous=True).to_parquet(folder / "data" / name)
        data_files.append({"split": split, "path": f"data/{split}-{digest}-*"})
        infos.add(SplitInfo(split, num_bytes=rows.data.nbytes, num_examples=len(rows)))
    size = sum(info.num_bytes for info in infos.values())
    info = DatasetInfo(features=features, splits=infos, dataset_size=size, download_size=size)
    card = DatasetCardData(tags=["synthetic", "hf_synth"])
    MetadataConfigs({"default": {"data_files": data_files}}).to_dataset_card_data(card)
    DatasetInfosDict({"default": info}).to_dataset_card_data(card)
    count = sum(len(texts) for texts in splits.values())
    header = yaml.safe_dump(card.to_dict(), sort_keys=False)
    (folder / "README.md").write_text(f"---\n{header}---\n{OURS.format(rows=count)}")
    (folder / "hf_synth" / "ledger.json").write_text(json.dumps({"asked": count, "kept": count}))
    return folder


def push(folder: Path, repo_id: str, **options: Any) -> str:
    from hf_synth import hub, retries

    retries.FIRST_WAIT = 0.01
    return hub.push(folder, repo_id, **options)


def load(repo_id: str) -> dict[str, tuple[list[dict[str, Any]], list[str]]]:
    """Load by name from the Hub: for each split its rows and its label names."""
    from datasets import load_dataset

    loaded = load_dataset(repo_id)
    return {name: (split.to_list(), split.features["label"].names) for name, split in loaded.items()}


def model_type(repo_id: str) -> str:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(repo_id).model_type


def generate(folder: Path, rows: int) -> None:
    """Write a folder as `hf-synth generate` does."""
    from hf_synth.folder import write_folder as write
    from hf_synth.generators.scripted import ScriptedGenerator
    from hf_synth.produce import Plan, produce
    from hf_synth.settings import SynthConfig

    generator = ScriptedGenerator(lambda prompt, rng: f"a {prompt.cell} text of {rng.random()}", name="hub")
    plan = Plan.of(SynthConfig(task="sst2", num_rows=rows))
    produce(plan, generator, folder, lambda work, facts: write(work, folder / "dataset", plan.task, facts))


def load_folder(folder: Path) -> dict[str, tuple[list[dict[str, Any]], list[str]]]:
    """Load a local folder as `load` loads a repository."""
    return load(str(folder))


def resolve(name: str) -> dict[str, Any]:
    """Find a model's weights."""
    from hf_synth import models

    models.hub_unreachable.cache_clear()
    return models.resolve(name).facts()


def reference(repo_id: str) -> tuple[list[dict[str, Any]], str]:
    """Load the real rows of a task whose reference is a data set on the Hub."""
    from hf_synth import models
    from hf_synth.reference import load_reference
    from hf_synth.tasks import parse_task

    models.hub_unreachable.cache_clear()
    names = {"name": "t", "labels": list(LABELS), "prompt": "{label}"}
    judge = load_reference(parse_task({**names, "reference": {"path": repo_id, "split": "train"}}, "t"))
    return judge.data.to_list(), judge.name
