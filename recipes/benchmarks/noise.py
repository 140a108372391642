"""Do the trainers survive label noise? Flip labels of real data sets, train on them, test on rows nobody flipped.

    python recipes/benchmarks/noise.py --data ../shared/data --out noise.jsonl            # the head, every cell
    python recipes/benchmarks/noise.py --data ../shared/data --out noise.jsonl --students minilm,bilstm
    python recipes/benchmarks/noise.py --out noise.jsonl --table

Each (student, data set, noise, seed) gives one JSON line per method when it is done, so a run that was killed goes on.
Train and validation rows are noisy, test rows are not. Every method has as many optimizer steps for its final student
as 3 epochs over all rows take, and the best epoch of these by *noisy* validation accuracy.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import precision
import torch
from datasets import Dataset, load_dataset
from head import embed
from noise_table import SEEDS, auroc, packed, show
from transformers import DataCollatorWithPadding, PrinterCallback, TrainingArguments
from transformers.trainer_callback import TrainerCallback

from hf_synth.settings import MINILM, StudentConfig
from hf_synth.student import load_student
from hf_synth.students.head import FrozenHead
from hf_synth.trainers import selection
from hf_synth.trainers.bilevel import BilevelConfig, BilevelTrainer
from hf_synth.trainers.ensemble import EnsembleConfig, EnsembleTrainer
from hf_synth.trainers.folds import out_of_fold
from hf_synth.trainers.weighted import WeightedTrainer

DATASETS, NOISE = ("sst2", "imdb", "ag_news", "trec"), ("clean", "uniform20", "uniform40", "toward40")
HEAD = {"datasets": DATASETS, "noise": NOISE}
TUNED = {"datasets": ("sst2", "ag_news"), "noise": ("clean", "uniform40")}  # what fine-tuned students are tried on
BATCH, EPOCHS, TOKENS = 32, 3, 64
SMOOTH = {"label_smoothing_factor": 0.15}
CHECKPOINTS = {"minilm": MINILM, "bilstm": "bilstm"}
RATES = {"head": 2e-3, "minilm": 1e-4, "bilstm": 3e-3}
LABELLED = {"weigh": "network", "features": ("margin", "label")}
WAYS: dict[str, dict[str, dict[str, Any]]] = {
    "head": {
        "sungen": {"rounds": 8},
        "sungen network": {"rounds": 8, "weigh": "network", "weight_lr": 0.01},
        "sungen network, label": {**LABELLED, "rounds": 6, "weight_lr": 0.015},
    },
    "tuned": {"sungen network, label": {**LABELLED, "rounds": 4, "weight_lr": 0.02, "derivative": "difference"}},
}
ROWS = {"minilm": 1600}  # of the training split; all where nothing stands
Found = Iterator[tuple[str, dict[str, Any]]]


def flip(labels: np.ndarray, classes: int, noise: str, random: np.random.Generator) -> np.ndarray:
    """Return labels with noise: a share of them drawn anew among the others, or 40% of all others made class 0."""
    found = labels.copy()
    if noise.startswith("uniform"):
        hit = random.random(len(labels)) < int(noise[7:]) / 100
        found[hit] = (found[hit] + random.integers(1, classes, hit.sum())) % classes
    elif noise.startswith("toward"):
        found[(random.random(len(labels)) < int(noise[6:]) / 100) & (labels != 0)] = 0
    return found


@dataclass
class Cell:
    """One student on one data set under one kind of noise, with one seed."""

    student: str
    dataset: str
    noise: str
    seed: int
    data: Path
    data_cache = Path("noise-cache")

    @cached_property
    def real(self) -> Any:
        """Return texts and true labels by split."""
        data = load_dataset(str(self.data / self.dataset))
        text = "sentence" if self.dataset == "sst2" else "text"
        label = "coarse_label" if self.dataset == "trec" else "label"
        self.names = data["train"].features[label].names
        splits = {name: (part[text][:], np.array(part[label])) for name, part in data.items()}
        if self.student in ROWS:
            keep = np.random.default_rng(0).permutation(len(splits["train"][1]))[: ROWS[self.student]]
            splits["train"] = ([splits["train"][0][at] for at in keep], splits["train"][1][keep])
        return splits

    def load(self) -> None:
        """Make the noisy splits, tokenised, and the collator."""
        random = np.random.default_rng([self.seed, 7])
        self.true = {name: labels for name, (_, labels) in self.real.items()}
        self.given = {
            n: y if n == "test" else flip(y, len(self.names), self.noise, random) for n, y in self.true.items()
        }
        texts = {name: part for name, (part, _) in self.real.items()}
        ids: dict[str, list[list[int]]] = {}
        if self.student == "head":
            self.table = embed(sum(texts.values(), []), self.data_cache / f"{self.dataset}.pt")
            start = 0
            for name, part in texts.items():
                ids[name] = [[row] for row in range(start, start + len(part))]
                start += len(part)
            self.collate: Callable = lambda rows: {c: torch.tensor([row[c] for row in rows]) for c in rows[0]}
        else:
            torch.manual_seed(self.seed)
            config = StudentConfig(student=CHECKPOINTS[self.student])
            _, tokenizer, _ = load_student(config, self.names, texts["train"])
            ids = {n: tokenizer(part, truncation=True, max_length=TOKENS)["input_ids"] for n, part in texts.items()}
            self.collate, self.train_texts = DataCollatorWithPadding(tokenizer), texts["train"]
        self.splits = {
            name: Dataset.from_dict(
                {"input_ids": ids[name], "labels": self.given[name], "index": range(len(ids[name]))}
            )
            for name in ids
        }
        self.flipped = self.given["train"] != self.true["train"]

    def model(self) -> Any:
        """Return an untrained student."""
        torch.manual_seed(self.seed)
        if self.student == "head":
            return FrozenHead(self.table, len(self.names))
        return load_student(StudentConfig(student=CHECKPOINTS[self.student]), self.names, self.train_texts)[0]

    def arguments(self, **changes: Any) -> TrainingArguments:
        """Return arguments of a run over all rows; `max_steps` where the rows are fewer."""
        steps = EPOCHS * -(-len(self.given["train"]) // BATCH)
        ours = {"learning_rate": RATES[self.student], "per_device_train_batch_size": BATCH, "max_steps": steps}
        ours |= {"per_device_eval_batch_size": 256, "weight_decay": 0.01, "seed": self.seed, "use_cpu": True}
        ours |= {"save_strategy": "no", "logging_steps": 10**6, "report_to": "none", "disable_tqdm": True}
        ours |= {"bf16": precision.ARGUMENTS["bf16"] and self.student == "minilm"}
        return TrainingArguments("noise-cache", **{**ours, **changes})

    def trainer(self, kind: Callable = WeightedTrainer, rows: Any = None, weight: Any = None, **options: Any) -> Any:
        """Return a trainer over the noisy rows, or some of them, or weighted ones."""
        data = self.splits["train"] if rows is None else self.splits["train"].select(rows)
        data = data if weight is None else data.add_column("weight", np.asarray(weight, np.float32))
        args = self.arguments(**options.pop("arguments", {}))
        made = kind(self.model(), args, train_dataset=data, data_collator=self.collate, **options)
        made.remove_callback(PrinterCallback)
        return made

    def logits(self, trainer: Any, data: Dataset) -> np.ndarray:
        """Return logits in the order of the data, without dropout."""
        found = np.zeros((len(data), len(self.names)), np.float32)
        trainer.model.eval()
        with torch.no_grad():
            for batch in trainer.batches_of(data):
                _, inputs, _ = trainer.split(batch)
                found[batch["index"].numpy()] = trainer.model(**inputs)["logits"].numpy()
        return found

    def final(self, kind: Callable = WeightedTrainer, **options: Any) -> dict[str, Any]:
        """Train a final student and return which test rows its best epoch by noisy validation gets right."""
        trainer = self.trainer(kind, **options)
        best = _Best(self, trainer)
        trainer.add_callback(best)
        trainer.train()
        trainer.model.load_state_dict(best.state)
        right = self.logits(trainer, self.splits["test"]).argmax(-1) == self.true["test"]
        return {"right": packed(right), "validation": best.value, "trainer": trainer}


class _Best(TrainerCallback):
    """Keeps the student of the best of three epochs' worth of steps, by noisy validation accuracy."""

    def __init__(self, cell: Cell, trainer: Any) -> None:
        self.cell, self.trainer, self.value, self.state = cell, trainer, -1.0, {}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step * EPOCHS % state.max_steps >= EPOCHS:
            return
        found = self.cell.logits(self.trainer, self.cell.splits["validation"]).argmax(-1)
        if (value := float((found == self.cell.given["validation"]).mean())) > self.value:
            self.value = value
            self.state = {name: tensor.clone() for name, tensor in self.trainer.model.state_dict().items()}
        self.trainer.model.train()


def plain(cell: Cell) -> Found:
    """Plain training, label smoothing, a noise-robust loss."""
    yield "plain", cell.final()
    yield "smoothing", cell.final(arguments=SMOOTH)
    if cell.student == "head":
        yield "gce", cell.final(loss="gce")


def ensembles(cell: Cell) -> Found:
    """Temporal ensembling, by each preset; one of them for fine-tuned students."""
    for name in ("laine_aila", "supergen", "fewgen", "agreement") if cell.student == "head" else ("agreement",):
        arguments = {} if name == "laine_aila" else SMOOTH
        yield f"ensemble {name}", cell.final(EnsembleTrainer, config=EnsembleConfig.preset(name), arguments=arguments)


def bilevel(cell: Cell) -> Found:
    """SunGen's loop, then each use of its weights; the same with a weight network; weights learnt online."""
    for name, settings in WAYS["head" if cell.student == "head" else "tuned"].items():
        config = BilevelConfig(**settings)
        learner = cell.trainer(BilevelTrainer, config=config, arguments={"max_steps": -1, "num_train_epochs": 1})
        learner.train()
        weights, scores = learner.weights.numpy(), learner.scores.numpy()
        yield name, {**cell.final(weight=weights, arguments=SMOOTH), "scores": scores}
        if cell.student == "head":
            best = selection.top(scores, 0.6)
            yield f"{name} top 60%", {**cell.final(rows=best, arguments=SMOOTH), "scores": scores}
            yield f"{name}, gce", {**cell.final(weight=weights, loss="gce"), "scores": scores}
    if cell.student == "head":
        online = BilevelConfig(mode="online", derivative="difference", outer_momentum=0.97, weight_lr=1.0)
        found = cell.final(BilevelTrainer, config=online)
        yield "online", {**found, "scores": found["trainer"].scores.numpy()}


def folds(cell: Cell) -> Found:
    """What out-of-fold students of the noisy rows can tell; beside them, those of the clean rows."""
    labels = cell.given["train"]

    def fit(train: Any, test: Any) -> np.ndarray:
        trainer = cell.trainer(rows=train, arguments={"max_steps": -1, "num_train_epochs": 1})
        trainer.train()
        part = cell.splits["train"].select(test)
        data = part.remove_columns("index").add_column("index", list(range(len(test))))
        return torch.tensor(cell.logits(trainer, data)).double().log_softmax(-1).numpy()

    if cell.student != "head":
        return
    found = out_of_fold(len(labels), 5, cell.seed, labels, fit)
    trust = np.log(np.clip(found[np.arange(len(labels)), labels], 1e-12, 1))
    kept, _ = selection.confident(found, labels)
    yield "confident learning", {**cell.final(rows=kept), "scores": trust}
    yield "hard samples out", {**cell.final(rows=selection.easy(found, labels, 0.7)), "scores": trust}
    scores = selection.information(np.log(np.clip(found, 1e-12, 1)), labels)
    rows = selection.informative(scores, labels, 0.7)
    yield "mutual information", {**cell.final(rows=rows), "scores": scores}
    noisy = cell.splits["train"]
    cell.splits["train"] = noisy.remove_columns("labels").add_column("labels", cell.true["train"])
    clean = out_of_fold(len(labels), 5, cell.seed, cell.true["train"], fit)
    cell.splits["train"] = noisy
    trust = np.log(np.clip(clean[np.arange(len(labels)), labels], 1e-12, 1))
    yield "clean folds (not a method)", {"right": None, "validation": None, "scores": trust}


GROUPS = {"plain": plain, "folds": folds, "bilevel": bilevel, "ensembles": ensembles}


def main() -> None:
    """Run the cells that are missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    for name, default in (("students", "head"), ("datasets", None), ("noise", None), ("groups", ",".join(GROUPS))):
        parser.add_argument(f"--{name}", default=default)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        return show(options.out, list(planned(["head", *CHECKPOINTS])), list(GROUPS))
    warnings.filterwarnings("ignore")
    done = {tuple(json.loads(line)["cell"]) for line in options.out.open()} if options.out.exists() else set()
    chosen = {name: given.split(",") for name in ("datasets", "noise") if (given := getattr(options, name))}
    for place in planned(options.students.split(","), map(int, options.seeds.split(",")), chosen):
        cell, loaded = Cell(*place, options.data), False
        for group in options.groups.split(","):
            if (*place, group) in done:
                continue
            if not loaded:
                cell.load()
                loaded = True
            _run(cell, group, options.out)


def planned(
    students: Sequence[str], seeds: Iterable[int] = SEEDS, chosen: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> Iterator[tuple[str, str, str, int]]:
    """Yield student, data set, noise and seed of every cell, or of those on data sets and noise that are chosen."""
    for seed, student in product(seeds, students):
        own = {**(HEAD if student == "head" else TUNED), **chosen}
        for dataset, noise in product(own["datasets"], own["noise"]):
            yield student, dataset, noise, seed


def _run(cell: Cell, group: str, out: Path) -> None:
    start, methods = time.perf_counter(), {}
    for name, found in GROUPS[group](cell):
        methods[name] = {"right": found["right"], "validation": found["validation"]}
        if "scores" in found:
            methods[name]["auroc"] = auroc(cell.flipped, np.asarray(found["scores"]))
    line = {
        "cell": [cell.student, cell.dataset, cell.noise, cell.seed, group],
        "rows": len(cell.flipped),
        "flipped": int(cell.flipped.sum()),
        "tests": len(cell.true["test"]),
        "seconds": round(time.perf_counter() - start, 1),
        "methods": methods,
    }
    with out.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(line["cell"], line["seconds"], "s", *methods, flush=True)  # accuracies on test rows stand in the table alone


if __name__ == "__main__":
    main()
