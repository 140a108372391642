"""What few real rows add to many synthetic ones, and in which order: the tables in recipes/benchmarks/README.md.

    python recipes/benchmarks/annealing.py --data ../shared/data --synthetic SEEDS --out annealing.jsonl
    python recipes/benchmarks/annealing.py ... --students head --methods mixed 'share linear *'
    python recipes/benchmarks/annealing.py --out annealing.jsonl --table

`SEEDS` holds `<data set>-seed<number>/dataset`, as recipes/benchmarks/seeds.py leaves them. A seed draws its real rows
(those of 16 a class are among those of 64), its 1,000 synthetic rows (where its own data set has fewer, those of the
next seeds fill up, and its lines say so) and the student's start. All have as many optimizer steps, 4 epochs' worth
over real and synthetic rows, and the same batch, schedule and learning rate; nothing is tuned, so nothing is chosen by
validation.

- `real`, `synthetic`, `mixed`: plain training on these rows, or all of them.
- `share`, `weight`: `AnnealingTrainer` from 1 to 0 and back, along each curve.
- `judged`: SunGen's weights, learnt before in 10 rounds of these steps with the real rows as judge; `judged by all`:
  by all rows.
- `rounds`: CAMEL's default rounds, equally many epochs each as in its code; `rounds even`: equally many steps each.

A cell that stands in the results file is not run again. The table alone looks at the test rows.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import itertools
import json
import time
import warnings
from collections.abc import Sequence
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from annealing_table import DATASETS, METHODS, SEEDS, SIZES, STUDENTS, SYNTHETIC, lines_of, show
from datasets import Dataset, concatenate_datasets, load_dataset
from head import embed
from noise import BATCH, RATES, TOKENS
from noise_table import packed
from transformers import DataCollatorWithPadding, PrinterCallback, TrainingArguments
from transformers.utils import logging

from hf_synth.settings import StudentConfig
from hf_synth.student import load_student
from hf_synth.students.head import FrozenHead
from hf_synth.trainers.annealing import AnnealingConfig, AnnealingTrainer, Round
from hf_synth.trainers.bilevel import BilevelConfig, BilevelTrainer
from hf_synth.trainers.weighted import WeightedTrainer

EPOCHS = 4


@cache
def splits_of(folder: Path) -> tuple[Any, str]:
    """Return a data set, and the name of its column of texts."""
    data = load_dataset(str(folder))
    return data, "sentence" if "sentence" in data["train"].column_names else "text"


def texts_of(folder: Path, split: str, names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Return texts and labels, numbered as `names` are."""
    data, text = splits_of(folder)
    own = data[split].features["label"].names
    if set(own) != set(names):
        raise SystemExit(f"{folder}: labels {own}, but the real rows have {list(names)}")
    return data[split][text][:], np.array([names.index(name) for name in own])[np.array(data[split]["label"])]


class Rows:
    """The rows of one seed: real ones, synthetic ones, and those it is judged on.

    Args:
        options: Where the data lie.
        dataset: Name of the data set.
        size: Real rows of each class.
        seed: Draws them.
    """

    def __init__(self, options: argparse.Namespace, dataset: str, size: int, seed: int) -> None:
        real = options.data / dataset
        self.names = splits_of(real)[0]["train"].features["label"].names
        self.seed, random = seed, np.random.default_rng([seed, 5])
        texts, labels = texts_of(real, "train", self.names)
        found = [random.permutation(np.flatnonzero(labels == at))[:size] for at in range(len(self.names))]
        rows = np.concatenate(found)
        self.parts = {
            "real": ([texts[at] for at in rows], labels[rows]),
            "synthetic": self._synthetic(options, dataset),
        }
        self.parts |= {split: texts_of(real, split, self.names) for split in ("validation", "test")}
        self.steps = EPOCHS * -(-(len(rows) + SYNTHETIC) // BATCH)

    def _synthetic(self, options: argparse.Namespace, dataset: str) -> tuple[list[str], np.ndarray]:
        random, chosen, self.drawn = np.random.default_rng([self.seed, 6]), {}, {}
        for at in range(len(SEEDS)):
            name = f"{dataset}-seed{(self.seed + at) % len(SEEDS)}"
            folder = options.synthetic / name / "dataset"
            parts = [texts_of(folder, split, self.names) for split in ("train", "validation")]
            pairs = [pair for texts, labels in parts for pair in zip(texts, labels.tolist(), strict=True)]
            before = len(chosen)
            for row in random.permutation(len(pairs))[: SYNTHETIC - before]:
                chosen.setdefault(*pairs[row])
            self.drawn[name] = len(chosen) - before
            if len(chosen) == SYNTHETIC:
                return list(chosen), np.array(list(chosen.values()))
        raise SystemExit(f"{options.synthetic}: {len(chosen)} synthetic rows of {dataset}, {SYNTHETIC} wanted")

    def encode(self, student: str, cached: Path) -> dict[str, Dataset]:
        """Return the parts as a student takes them, and make what it needs."""
        self.student, ids = student, {}
        if student == "head":
            tables = [self._table(texts, cached) for texts, _ in self.parts.values()]
            self.table, start = torch.cat(tables), 0
            for name, (texts, _) in self.parts.items():
                ids[name] = [[row] for row in range(start, start + len(texts))]
                start += len(texts)
            self.collate: Any = lambda rows: {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}
        else:
            _, tokenizer, _ = load_student(StudentConfig(), self.names, [])
            for name, (texts, _) in self.parts.items():
                ids[name] = tokenizer(texts, truncation=True, max_length=TOKENS)["input_ids"]
            self.collate = DataCollatorWithPadding(tokenizer)
        found = {}
        for name, (_, labels) in self.parts.items():
            columns = {"input_ids": ids[name], "labels": labels, "index": range(len(labels))}
            found[name] = Dataset.from_dict({**columns, "synthetic": [name == "synthetic"] * len(labels)})
        return found

    def _table(self, texts: list[str], cached: Path) -> torch.Tensor:
        return embed(texts, cached / f"{hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]}.pt")

    def model(self) -> Any:
        """Return an untrained student."""
        torch.manual_seed(self.seed)
        if self.student == "head":
            return FrozenHead(self.table, len(self.names))
        return load_student(StudentConfig(), self.names, [])[0]


def rounds_of(student: str, real: int, steps: int, even: bool) -> tuple[Round, ...]:
    """Return CAMEL's five visits, together of so many steps: each of as many epochs, or as many steps."""
    parts: tuple[Any, ...] = ("everything", "upper", "head")
    if student == "head":  # it has no encoder: its last layer stands for both smaller sets
        parts = ("everything", (r"layers\.3\.",), (r"layers\.3\.",))
    plan = [(part, rows, False) for part in parts[:2] for rows in ("synthetic", "real")] + [(parts[2], "real", True)]
    sizes = np.array([SYNTHETIC if rows == "synthetic" else real for _, rows, _ in plan])
    ends = np.cumsum(np.ones(len(plan)) if even else sizes)
    each = np.diff(np.rint(ends / ends[-1] * steps), prepend=0)
    # Half a row less, so that rounding up gives the number of steps whatever the last digit.
    return tuple(
        Round(part, rows, epochs=(count * BATCH - 0.5) / size, balanced=balanced)
        for (part, rows, balanced), size, count in zip(plan, sizes.tolist(), each.tolist(), strict=True)
    )


def trainer_of(method: str, rows: Rows, parts: dict[str, Dataset], folder: Path) -> WeightedTrainer:
    """Return the trainer of a method."""
    kind, *rest = method.split(" ")
    both = concatenate_datasets([parts["real"], parts["synthetic"]])
    both = both.remove_columns("index").add_column("index", list(range(len(both))))
    args = TrainingArguments(
        str(folder),
        seed=rows.seed,
        max_steps=-1 if kind == "rounds" else rows.steps,
        learning_rate=RATES[rows.student],
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=256,
        warmup_steps=0.1,
        weight_decay=0.01,
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    given: dict[str, Any] = {"model": rows.model(), "args": args, "data_collator": rows.collate}
    if kind in ("real", "synthetic", "mixed"):
        return WeightedTrainer(train_dataset=both if kind == "mixed" else parts[kind], **given)
    if kind == "judged":
        config = BilevelConfig(outer="all" if rest else "real", seed=rows.seed)
        longer = copy.copy(args)
        longer.max_steps *= config.rounds
        judge = BilevelTrainer(train_dataset=both, config=config, **given | {"args": longer})
        judge.train()
        weighed = both.add_column("weight", judge.weights.tolist())
        return WeightedTrainer(train_dataset=weighed, **given | {"model": rows.model()})
    if kind == "rounds":
        visits = rounds_of(rows.student, len(parts["real"]), rows.steps, rest == ["even"])
        config = AnnealingConfig(kind="rounds", rounds=visits)
    else:
        settings: dict[str, Any] = {"kind": kind, "curve": rest[0], "order": rest[1]}
        config = AnnealingConfig(**settings)
    return AnnealingTrainer(train_dataset=both, config=config, **given)


@torch.no_grad()
def right(trainer: WeightedTrainer, data: Dataset) -> np.ndarray:
    """Return which rows the student labels right, [N]."""
    found = np.zeros(len(data), bool)
    trainer.model.eval()
    for batch in trainer.batches_of(data):
        columns, inputs, labels = trainer.split(batch)
        output = trainer.model(**inputs)
        logits = output["logits"] if isinstance(output, dict) else output.logits
        found[columns["index"].cpu().numpy()] = (logits.argmax(-1) == labels).cpu().numpy()
    return found


def run(options: argparse.Namespace) -> None:
    """Run the cells that are missing, and append a line for each."""
    done = {tuple(line["cell"]) for line in lines_of(options.out)}
    for seed, student, dataset, size in itertools.product(
        options.seeds, options.students, options.datasets, options.sizes
    ):
        methods = [name for name in METHODS if any(fnmatch(name, pattern) for pattern in options.methods)]
        if not (missing := [name for name in methods if (student, dataset, size, seed, name) not in done]):
            continue
        rows = Rows(options, dataset, size, seed)
        parts = rows.encode(student, options.cache)
        for method in missing:
            start = time.perf_counter()
            trainer = trainer_of(method, rows, parts, options.cache)
            trainer.remove_callback(PrinterCallback)
            trainer.train()
            line = {
                "cell": [student, dataset, size, seed, method],
                "steps": trainer.state.global_step,
                "rows": {name: len(parts[name]) for name in ("real", "synthetic")},
                "drawn": rows.drawn,
                "validation": round(float(right(trainer, parts["validation"]).mean()), 4),
                "right": packed(right(trainer, parts["test"])),
                "tests": len(parts["test"]),
                "seconds": round(time.perf_counter() - start, 1),
            }
            with options.out.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(
                line["cell"], line["steps"], "steps", line["seconds"], "s, validation", line["validation"], flush=True
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of data sets with splits train, validation, test")
    parser.add_argument("--synthetic", type=Path, help="folder of <data set>-seed<number>/dataset")
    parser.add_argument("--out", type=Path, required=True, help="results, one JSON line a cell")
    parser.add_argument("--cache", type=Path, default=Path("annealing-cache"), help="embeddings of the head's texts")
    for name, every in (("students", STUDENTS), ("datasets", DATASETS), ("sizes", SIZES), ("seeds", SEEDS)):
        kind, chosen = type(every[0]), ",".join(map(str, every))
        parser.add_argument(f"--{name}", type=lambda text, kind=kind: [*map(kind, text.split(","))], default=chosen)
    parser.add_argument("--methods", nargs="+", default=["*"], help="names or patterns, such as 'share linear *'")
    parser.add_argument("--table", action="store_true", help="print the results and run nothing")
    options = parser.parse_args()
    if not options.table:
        if options.data is None or options.synthetic is None:
            parser.error("--data and --synthetic are needed to run")
        warnings.filterwarnings("ignore")
        logging.set_verbosity_error()
        return run(options)
    return show(options.out)


if __name__ == "__main__":
    main()
