"""SunGen's weights beside plain training on rows that lie there already, over seeds of the training alone.

    python recipes/benchmarks/pools.py --data ../shared/data --out pools.jsonl --task sst2 FOLDER [FOLDER ...]
    python recipes/benchmarks/pools.py --out pools.jsonl --table

A folder is what `methods.py` or a recipe wrote (`.../dataset`), its task one of `methods.py`, whose settings students
are trained with. Each (folder, seed, way) gives one JSON line when it is done; done ones are not done again.
"""

import argparse
import json
from collections import defaultdict
from dataclasses import replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from methods import TASKS, right_of, student_of
from noise_table import difference, verdict

from hf_synth.commands.train import load_splits
from hf_synth.settings import StudentConfig

WAYS = ("plain", "smoothing", "encoder", "model")


def student(task: str, way: str) -> StudentConfig:
    """Return the student of a way; `encoder` and `model` say what SunGen's weights are learnt through."""
    if way in ("plain", "smoothing"):
        return student_of(task, "zerogen", ("--label_smoothing", "0.15") if way == "smoothing" else ())
    config = student_of(task, "sungen")
    return replace(config, trainer_args={**config.trainer_args, "through": way})


def show(path: Path) -> None:
    """Print each pool's accuracies, mean and standard deviation, and what they are over plain training."""
    found: dict[tuple, dict[int, np.ndarray]] = defaultdict(dict)
    for line in map(json.loads, path.open()):
        right = np.array([int(bit) for bit in line["right"]])
        found[line["task"], line["pool"], line["way"]][line["seed"]] = right
    print("| rows | way | trainings | accuracy | over plain, the same seeds |\n|---|---|---|---|---|")
    for (task, pool, way), runs in sorted(found.items()):
        means = [run.mean() for run in runs.values()]
        plain = found[task, pool, "plain"]
        both = sorted({*runs} & {*plain})
        over = ""
        if way != "plain" and both:
            mean, low, high = difference(*(np.array([one[seed] for seed in both]) for one in (runs, plain)))
            over = f"{mean:+.3f} ({low:+.3f} to {high:+.3f}), {verdict(low, high)}"
        spread = np.std(means, ddof=1) if len(means) > 1 else 0.0
        print(f"| {task}, {pool} | {way} | {len(means)} | {np.mean(means):.3f} ± {spread:.3f} | {over} |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pools", nargs="*", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--task", choices=TASKS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if args.table:
        return show(args.out)
    done = [json.loads(line) for line in args.out.open()] if args.out.exists() else []
    known = {(line["task"], line["pool"], line["seed"], line["way"]) for line in done}
    for pool, seed, way in product(args.pools, args.seeds, args.ways):
        key = {"task": args.task, "pool": pool.parent.name, "seed": seed, "way": way}
        if tuple(key.values()) in known:
            continue
        task, real = TASKS[args.task].plan.task, args.data / TASKS[args.task].data
        with TemporaryDirectory() as folder:
            line = right_of(task, real, Path(folder), way, student(args.task, way), load_splits(pool, task), seed)
        with args.out.open("a") as out:
            out.write(json.dumps({**key, **line}) + "\n")


if __name__ == "__main__":
    main()
