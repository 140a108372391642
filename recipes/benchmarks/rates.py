"""At which learning rate, and in batches of how many rows, the default student learns from a few generated rows.

    python recipes/benchmarks/rates.py ../shared/data out [--tasks trec] [--seeds 0] [--settings 5e-5/32 2e-4/16]
    python recipes/benchmarks/rates.py ../shared/data out --table

The rows are those that tasks.py writes; three epochs; judged on 600 rows of the real validation split, since defaults
are chosen by it. A cell that was done is not done again.
"""

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import precision
from tasks import written

from hf_synth.commands.options import parse
from hf_synth.commands.train import load_splits
from hf_synth.learners import learner
from hf_synth.reference import load_reference
from hf_synth.settings import StudentConfig, SynthConfig
from hf_synth.tasks import load_task
from hf_synth.train import train_student

TASKS = ["trec", "rotten_tomatoes", "amazon_polarity", "dbpedia_14"]
SETTINGS = ["5e-5/32", "2e-4/16", "3e-4/16", "5e-4/32"]
JUDGED = 600


def judge(name: str, setting: str, seed: int, data: Path, out: Path) -> float:
    """Return a student's accuracy."""
    folder = written(name, "ours", seed, out)
    if folder is None:
        raise SystemExit(f"{name}, seed {seed}: not written")
    task, (rate, batch) = load_task(name), setting.split("/")
    flags = ["--task", name, "--learning_rate", rate, "--train_batch_size", batch, "--max_length", "96"]
    flags += precision.FLAGS
    config = parse(flags, "rates", SynthConfig, StudentConfig)[StudentConfig]
    real = load_reference(task, str(data / name), "validation").data.shuffle(0)
    real = real.select(range(min(JUDGED, len(real))))
    with tempfile.TemporaryDirectory() as scratch:
        train_student(load_splits(folder / "dataset", task), task, config, Path(scratch) / "model", seed)
        said = learner(task).predict(Path(scratch) / "model", real, task, config.max_length)
    return float(np.mean([ours == theirs for ours, theirs in zip(said, real[task.label_column], strict=True)]))


def show(lines: Path) -> None:
    """Print a row for each task, a column for each setting; means over seeds."""
    cells: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in map(json.loads, lines.open()):
        name, setting, _ = line["cell"]
        cells[name][setting].append(line["accuracy"])
    print(f"| task | {' | '.join(SETTINGS)} |\n|---|{'---|' * len(SETTINGS)}")
    for name, by in cells.items():
        print(f"| {name} | {' | '.join(f'{np.mean(by[s]):.3f}' if s in by else '' for s in SETTINGS)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--settings", nargs="+", default=SETTINGS, choices=SETTINGS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--table", action="store_true", help="show what was done")
    given = parser.parse_args()
    lines = given.out / "rates.jsonl"
    if given.table:
        show(lines)
        return
    given.out.mkdir(parents=True, exist_ok=True)
    for seed in given.seeds:
        for name in given.tasks:
            for setting in given.settings:
                done = {tuple(json.loads(line)["cell"]) for line in lines.open()} if lines.exists() else set()
                if (name, setting, seed) not in done:
                    accuracy = judge(name, setting, seed, given.data, given.out)
                    with lines.open("a") as stream:
                        stream.write(json.dumps({"cell": [name, setting, seed], "accuracy": accuracy}) + "\n")
                    print(name, setting, seed, f"{accuracy:.3f}", flush=True)


if __name__ == "__main__":
    main()
