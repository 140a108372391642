"""Cards: pure functions of recorded facts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from jinja2 import Environment, FunctionLoader, StrictUndefined

from .card_merge import BEGIN, END
from .licences import reasoning
from .methods import get
from .pii import mask
from .shapes import shape
from .task import NONE, Task

SAMPLES = 2  # shown per label
# The Hub's size classes: https://huggingface.co/docs/hub/datasets-cards
SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
    (10**10, "1B<n<10B"),
    (10**11, "10B<n<100B"),
    (10**12, "100B<n<1T"),
)

PICTURES = {"map.png": "Map of the embedded texts by class", "lengths.png": "Words in a text by class"}
# Measures on the card: its name there, the check that takes it, and its key.
FIGURES = (
    ("self-BLEU-4 (lower is more diverse)", "self-BLEU-4", "self_bleu_4"),
    ("distinct-2 (higher is more diverse)", "distinct-2", "distinct_2"),
    ("similarity within a class (lower is more diverse)", "similarity in class", "within"),
    ("Vendi score (higher is more diverse)", "Vendi score", "vendi"),
    ("MAUVE (higher is closer to real texts)", "MAUVE", "mauve"),
    ("readability, school years", "readability", "readability"),
    ("perplexity, median", "perplexity", "perplexity"),
    ("calibration error of what is learnt here (lower is better)", "calibration", "ece"),
)

TRAINERS = {
    "weighted": "cross entropy",
    "ensemble": "temporal ensembling (https://huggingface.co/papers/1610.02242)",
    "bilevel": "how much each row counts was learnt (https://huggingface.co/papers/2205.12679)",
    "annealing": "gradual annealing between synthetic and real rows (https://huggingface.co/papers/2306.08966)",
}
DENOISING = {
    "confident": "confident learning (https://huggingface.co/papers/1911.00068)",
    "hard": "the hardest rows of each class went (https://huggingface.co/papers/2312.03025)",
    "information": "rows that tell little of their label went (https://huggingface.co/papers/2312.03025)",
}


def size_category(rows: int) -> str:
    """Return the Hub's size class of a number of rows."""
    return next((name for limit, name in SIZES if rows < limit), "n>1T")


def fenced(text: str) -> str:
    """Put text into a code fence longer than any run of backticks in it, so that nothing in it is Markdown."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def noted(note: Any) -> str:
    """Return what a method noted as Markdown: a table, a list, or the fenced value."""
    if isinstance(note, list) and note and all(isinstance(row, Mapping) for row in note):
        names = list(dict.fromkeys(name for row in note for name in row))
        lines = [names, ["---"] * len(names), *([row.get(name, "") for name in names] for row in note)]
        return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)
    return fenced(yaml.safe_dump(note, sort_keys=False, allow_unicode=True, width=100).removesuffix("...\n").strip())


def _cell(value: Any) -> str:
    shown = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
    return re.sub(r"[\\|<]", r"\\\g<0>", " ".join(shown.splitlines()))  # of a tag nothing would be seen


def _template(name: str) -> str:
    return (resources.files("hf_synth.cards") / name).read_text(encoding="utf-8")


def render(template: str, **facts: Any) -> str:
    """Fill a card template; a fact that is missing is an error, not a blank."""
    environment = Environment(
        loader=FunctionLoader(_template), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["fenced"] = fenced
    environment.filters["noted"] = noted
    environment.filters["cell"] = _cell
    environment.filters["interval"] = lambda pair: "" if pair is None else f"{pair[0]:.4g} to {pair[1]:.4g}"
    environment.filters["words"] = lambda name: name.replace("f1", "F1").replace("_", " ")
    return environment.get_template(template).render(**facts, begin=BEGIN, end=END) + "\n"


def dataset_card(task: Task, facts: Mapping[str, Any], inspection: Mapping[str, Any] | None = None) -> str:
    """Return the data set's README.md.

    Args:
        task: The task.
        facts: What `hf_synth/facts.json` records.
        inspection: What `hf_synth/inspect.json` records.
    """
    method = get(facts["method"])
    found = method.texts == "retrieved"
    wrote = not found and facts["generator"].get("origin") != "rules"
    kind = "real texts, synthetic labels" if found else "synthetic"
    header: dict[str, Any] = {"pretty_name": f"{task.name}, {kind} ({method.name})"}
    if task.language:
        header["language"] = list(task.language)
    if facts["license"]:
        header["license"] = facts["license"]
    header |= {
        "annotations_creators": ["machine-generated" if found or wrote else "found"],
        "language_creators": [*(["found"] * (not wrote)), *(["machine-generated"] * (not found))],
        "size_categories": [size_category(sum(facts["splits"].values()))],
        "source_datasets": source_datasets(facts),
        "task_categories": [shape(task).category],
        "tags": ["weak-supervision" if found else "synthetic", "hf_synth", method.name],
        **(facts.get("suspects") or facts.get("weights") or facts)["header"],
    }
    prompts: dict[str, list[str]] = {}
    for label, words in task.labels.items():
        prompts.setdefault(task.template(label).replace("{label}", words), []).append(label)
    if task.empty:
        prompts[task.empty] = [NONE]
    return render(
        "dataset.md",
        header=yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=1000),
        task=task,
        method=method,
        facts=facts,
        prompts=prompts,
        means=shape(task).means,
        columns=list(shape(task).features(task)),
        inspection=inspection,
        cost=sum(stage.get("cost") or 0.0 for stage in facts["ledger"]["stages"].values()),
        found_figures=figures(inspection) if inspection else [],
        pictures={name: words for name, words in PICTURES.items() if inspection and name in inspection["pictures"]},
        licences=reasoning(facts["license"], facts["generator"] if wrote else None, facts["sources"]),
        settings=yaml.safe_dump(facts["settings"], sort_keys=False, allow_unicode=True),
        trainer_settings=yaml.safe_dump(facts.get("weights", {}).get("settings"), sort_keys=False, allow_unicode=True),
    )


def figures(inspection: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the measures that were taken of a data set and, with the same number of rows, of real ones."""
    found = []
    for name, check, key in FIGURES:
        measured = inspection["measures"].get(check, {})
        own, real = measured.get("own"), measured.get("reference")
        if own and own.get(key) is not None:
            found.append(
                {
                    "name": name,
                    "rows": own["rows"],
                    "own": own[key],
                    "own_interval": own.get(f"{key}_interval"),
                    "reference": real and real[key],
                    "reference_interval": real and real.get(f"{key}_interval"),
                }
            )
    return found


def source_datasets(facts: Mapping[str, Any]) -> list[str]:
    """Return `original`, or the real data that conditioned generation."""
    return [f"extended|{source['path']}" for source in facts["sources"]] or ["original"]


def samples(task: Task, work: Path) -> dict[str, list[dict[str, str]]]:
    """Return the first rows of each label, personal data masked; the order of rows is fixed by the seed."""
    found: dict[str, list[dict[str, str]]] = {cell: [] for cell in task.cells}
    kind = shape(task)
    wanted = [*kind.features(task), "attributes"]
    for batch in pq.ParquetFile(work / "rows.parquet").iter_batches(1024, columns=wanted):
        for row in batch.to_pylist():
            kept = found[kind.counted(task, row)[0]]
            if len(kept) < SAMPLES:
                kept.append({name: mask(text) for name, text in kind.shown(task, row).items()})
        if all(len(kept) == SAMPLES for kept in found.values()):
            break
    return {label: kept for label, kept in found.items() if kept}


def model_card(task: Task, report: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    """Return the student's README.md.

    Args:
        task: The task.
        report: What `report.json` holds.
        training: The training configuration and what training recorded; `pictures`, if any, are files beside the card.
    """
    category = shape(task).category
    header: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": category}
    if task.language:
        header["language"] = list(task.language)
    real = training["real"]["name"] if training["real"] else ""
    if datasets := [name for name in (report["dataset_id"], real) if name and "/" in name]:
        header["datasets"] = datasets
    if "/" in training["student"] and not Path(training["student"]).exists():
        header["base_model"] = training["student"]
    found = get(report["method"]).texts == "retrieved"
    varied = report["generator"].get("origin") == "rules"
    tag = "weak-supervision" if found else "synthetic-data"
    header["tags"] = ["hf_synth", category, tag, report["method"]]
    if report["metrics"]:
        header["model-index"] = [_result(task, report)]
    return render(
        "model.md",
        header=yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=1000),
        task=task,
        report=report,
        training=training,
        found=found,
        varied=varied,
        pictures=training.get("pictures", []),
        trainer=TRAINERS[training["trainer"]],
        denoising=training["denoise"] and DENOISING[training["denoise"]["how"]],
        trainer_settings=yaml.safe_dump(training["trainer_settings"], sort_keys=False, allow_unicode=True),
        settings=yaml.safe_dump(dict(training["settings"]), sort_keys=False, allow_unicode=True),
    )


def _result(task: Task, report: Mapping[str, Any]) -> dict[str, Any]:
    reference = report["reference"]
    dataset = {"name": reference["name"], "type": reference["name"], "split": reference["split"]}
    metrics = [
        {"type": "f1" if name.endswith("_f1") else name, "name": name, "value": report["metrics"][name]}
        for name in report["headline"]
    ]
    results = [{"task": {"type": shape(task).category}, "dataset": dataset, "metrics": metrics}]
    return {"name": f"{task.name} student", "results": results}


def adapter_card(task: Task, record: Mapping[str, Any]) -> str:
    """Return an adapter's README.md.

    Args:
        task: The task as the generator is asked.
        record: What `adapter.json` holds.
    """
    header: dict[str, Any] = {"library_name": record["library"], "pipeline_tag": "text-generation"}
    if "/" in record["model"]["name"]:
        header |= {"base_model": record["model"]["name"], "base_model_relation": "adapter"}
    if "/" in record["shots"]["name"]:
        header["datasets"] = [record["shots"]["name"]]
    header["tags"] = ["hf_synth", "few-shot", record["adapt"]]
    prompts = {label: task.template(label).replace("{label}", words) for label, words in task.labels.items()}
    return render(
        "adapter.md",
        header=yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=1000),
        task=task,
        record=record,
        replaces=record["library"] == "hf_synth" and record["adapt"] != "bottleneck",
        prompts=prompts if "{label}" in str(task.prompt) or not isinstance(task.prompt, str) else {"all": task.prompt},
    )
