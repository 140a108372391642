"""Where to spend rows on a long tail: planned, inverse-frequency and uniform allocation at equal budgets.

taskset -c 0 python recipes/benchmarks/longtail.py ../shared/data/banking77 --task banking77

Each seed cuts the train split to 50 rows of one class down to 2 of another, exponentially, in an order that the seed
draws; `longtail` writes `--num_rows` for each allocation, and the first half of them is the smaller budget. A logistic
regression on all-MiniLM-L6-v2 embeddings learns the real rows and the written ones and is judged on the test split, by
macro F1 over the third of the classes with the fewest real rows (tail), the middle third, and all. With `--fine_tuned`
all-MiniLM-L6-v2 itself is trained (ten epochs), and judged at the whole budget alone. What is done is done: the script
goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import precision
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, load_dataset
from sklearn.linear_model import LogisticRegression

from hf_synth.learners import learner
from hf_synth.models import resolve
from hf_synth.retrieval.encode import Encoder
from hf_synth.retrieval.settings import ENCODER
from hf_synth.settings import StudentConfig
from hf_synth.tasks import load_task
from hf_synth.train import train_student

HEAD, TAIL, DRAWS = 50, 2, 1000
PLANS = ("uniform", "inverse", "planned")
STUDENT: dict[str, Any] = {"num_train_epochs": 10, "learning_rate": 5e-4, "train_batch_size": 16, "max_length": 64}
STUDENT |= {"training_args": precision.ARGUMENTS}


def label_of(rows: Dataset) -> str:
    """Return the column of class ids."""
    return next(name for name, feature in rows.features.items() if isinstance(feature, ClassLabel))


def cut(rows: Dataset, seed: int, folder: Path) -> Dataset:
    """Write a long-tailed part of the train split, and return it."""
    column = label_of(rows)
    rng, names = random.Random(seed), rows.features[column].names
    places: dict[int, list[int]] = {}
    for at, label in enumerate(rows[column]):
        places.setdefault(label, []).append(at)
    order = sorted(places)
    rng.shuffle(order)
    kept = []
    for place, label in enumerate(order):
        rng.shuffle(places[label])
        kept += places[label][: round(HEAD * (TAIL / HEAD) ** (place / (len(order) - 1)))]
    some = rows.select(sorted(kept))
    (folder / "data").mkdir(parents=True, exist_ok=True)
    some.to_parquet(folder / "data/train-0.parquet")
    print(f"seed {seed}: {len(some)} real rows of {len(names)} classes", flush=True)
    return some


def written(args: argparse.Namespace, seen: Path, plan: str, seed: int, out: Path) -> list[tuple[str, str]]:
    """Let the method write, unless it has; return text and label of its rows in their order."""
    command = [sys.executable, "-m", "hf_synth", "generate", "--method", "longtail", "--task", args.task]
    command += ["--seen_rows", str(seen), "--allocation", plan, "--seed", str(seed), "--num_rows", str(args.num_rows)]
    command += ["--first_round", str(args.num_rows // 2), "--growth", "1", "--chunk_size", "10"]
    if not (out / "dataset").exists():
        subprocess.run([*command, "--output_dir", str(out)], check=True, stdout=subprocess.DEVNULL)
    data = load_dataset(str(out / "dataset"))
    rows = [row for split in data.values() for row in split.to_list()]
    column = label_of(data["train"])
    names = data["train"].features[column].names
    return [(row["text"], names[row[column]]) for row in sorted(rows, key=lambda row: row["index"])]


def f1(wanted: np.ndarray, told: np.ndarray, classes: int) -> np.ndarray:
    """Return the F1 of each class."""
    right = np.bincount(wanted[wanted == told], minlength=classes)
    return 2 * right / np.maximum(np.bincount(wanted, minlength=classes) + np.bincount(told, minlength=classes), 1)


def fine_tuned(args: argparse.Namespace, texts: list[str], labels: np.ndarray, test: Dataset, seed: int) -> np.ndarray:
    """Train a student on rows and return the classes that it gives the test rows."""
    task, config = load_task(args.task), StudentConfig(**STUDENT)
    names = test.features[label_of(test)].names
    features = Features({task.columns[0]: Value("string"), task.label_column: ClassLabel(names=names)})
    rows = Dataset.from_dict({task.columns[0]: texts, task.label_column: labels}, features)
    with tempfile.TemporaryDirectory() as folder:
        train_student(DatasetDict(train=rows), task, config, Path(folder, "model"), seed)
        told = learner(task).predict(Path(folder, "model"), test, task, config.max_length)
    return np.array([names.index(label) for label in told])


def judge(args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return macro F1 by budget, plan and part of the classes: the value, and that of each bootstrap draw."""
    source = load_dataset(args.data)
    out = Path(args.output_dir) / f"seed{seed}"
    seen = cut(source["train"], seed, out / "seen")
    column, test = label_of(source["train"]), source["test"]
    names, encode = test.features[column].names, Encoder(resolve(ENCODER).path, "mean", True, 64)
    wanted, rows = np.array(test[column]), encode(test["text"][:])
    order = [label for label, _ in sorted(Counter(seen[column]).items(), key=lambda one: one[1])]
    third = len(order) // 3
    parts = {"tail": order[:third], "middle": order[third : 2 * third], "all": order}
    real, labels = encode(seen["text"][:]), np.array(seen[column])
    draw = np.random.default_rng(seed)
    samples = [draw.integers(len(wanted), size=len(wanted)) for _ in range(DRAWS)]
    texts = {plan: written(args, out / "seen", plan, seed, out / plan) for plan in PLANS}
    found: dict[str, Any] = {}
    budgets = (args.num_rows,) if args.fine_tuned else (args.num_rows // 2, args.num_rows)
    for budget, plan in [(0, "real rows alone"), *((budget, plan) for budget in budgets for plan in PLANS)]:
        added = texts[plan][:budget] if budget else []
        classes = np.concatenate([labels, [names.index(label) for _, label in added]]).astype(int)
        if args.fine_tuned:
            told = fine_tuned(args, [*seen["text"], *(text for text, _ in added)], classes, test, seed)
        else:
            table = np.concatenate([real, encode([text for text, _ in added])]) if added else real
            told = LogisticRegression(max_iter=500, C=10).fit(table, classes).predict(rows)
        draws = np.stack([f1(wanted[some], told[some], len(names)) for some in samples])
        value = f1(wanted, told, len(names))
        found[f"{budget} {plan}"] = {
            part: {"value": value[own].mean(), "draws": draws[:, own].mean(1).tolist()} for part, own in parts.items()
        }
    return found


def show(results: list[dict[str, Any]]) -> None:
    columns = ["rows", "allocation", "tail", "middle", "all", "tail, over uniform", "tail, over inverse"]
    print("\n| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for key in results[0]:
        budget, plan = key.split(" ", 1)

        def mean(part: str, key: str = key) -> str:
            values = [result[key][part]["value"] for result in results]
            return f"{np.mean(values):.3f} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.3f}"

        cells = [budget, plan, *(mean(part) for part in ("tail", "middle", "all"))]
        for other in ("uniform", "inverse"):
            beside = f"{budget} {other}"
            if beside not in results[0] or plan == other:
                cells.append("")
                continue
            draws = np.mean(
                [np.subtract(r[key]["tail"]["draws"], r[beside]["tail"]["draws"]) for r in results], axis=0
            )
            value = np.mean([r[key]["tail"]["value"] - r[beside]["tail"]["value"] for r in results])
            low, high = np.quantile(draws, [0.025, 0.975])
            cells.append(f"{value:+.3f} ({low:+.3f} to {high:+.3f})")
        print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder of the data set")
    parser.add_argument("--task", required=True)
    parser.add_argument("--num_rows", type=int, default=462)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--fine_tuned", action="store_true")
    parser.add_argument("--output_dir", default="outputs/longtail")
    args = parser.parse_args()
    results = []
    for seed in args.seeds:
        file = Path(args.output_dir) / f"seed{seed}{'-fine-tuned' if args.fine_tuned else ''}.json"
        if not file.exists():
            found = judge(args, seed)
            file.write_text(json.dumps(found))
        results.append(json.loads(file.read_text()))
    show(results)


if __name__ == "__main__":
    main()
