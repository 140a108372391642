"""What 16 real rows a class are worth: to the student alone, beside ZeroGen's rows, and to a tuned generator.

    python recipes/benchmarks/shots.py ../shared/data out [--tasks sst2] [--methods fewgen lora] [--seeds 0 1]
    python recipes/benchmarks/shots.py ../shared/data out --table

Every seed draws other shots from the real `train` split, tunes, writes and trains anew; `test` judges. The 16-shot
protocol of GLUE is `--tasks sst2 qnli mnli qqp rte mrpc cola --seeds 13 21 42 87 100`. Where nothing else is said,
students are trained on the shots for ten epochs, then on the written rows, with smoothed labels. A cell that was done
is not done again.
"""

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import precision
from datasets import DatasetDict
from methods import right_of
from shots_table import show

from hf_synth.commands.main import main as hf_synth
from hf_synth.commands.options import parse
from hf_synth.commands.train import load_splits
from hf_synth.produce import Plan
from hf_synth.real import load_real_rows, mix_in
from hf_synth.settings import StudentConfig, SynthConfig

TASKS = {
    "sst2": {"rows": 600, "max_length": 64},
    "ag_news": {"rows": 400, "max_length": 96},
    "qnli": {"rows": 400, "max_length": 128},
    **{name: {"rows": 600, "max_length": 128} for name in ("mnli", "qqp", "rte", "mrpc", "cola")},
}
SHOTS = 16
SHARED = ["--learning_rate", "1e-4", "--train_batch_size", "16", *precision.FLAGS]


@dataclass(frozen=True)
class Cell:
    """How rows are written and how a student learns from them.

    `adapt` names what is tuned for ZeroGen's prompts; a student `alone` sees no shots.
    """

    pool: str
    method: str = "fewgen"
    writes: tuple[str, ...] = ()
    trains: tuple[str, ...] = ()
    adapt: str | None = None
    alone: bool = False
    rows: tuple[str, ...] = ()


ALONE = {"real_rows": None, "real_per_class": None, "real_first": 0.0}
ENSEMBLING = ("--trainer", "ensemble", "--trainer_args", "{preset: fewgen, every: 20}")
METHODS = {
    "zerogen": Cell("zerogen", "zerogen", alone=True),
    "zerogen + few shots": Cell("zerogen", "zerogen"),
    "fewgen": Cell("fewgen"),
    "fewgen - selection": Cell("fewgen-all", writes=("--attempts", "1")),
    "fewgen - meta weighting": Cell("fewgen-plain", writes=("--meta_weighting", "false")),
    "fewgen + ensembling": Cell("fewgen", trains=ENSEMBLING),
    "fewgen, rows alone": Cell("fewgen", alone=True),
    **{kind: Cell(kind, "zerogen", adapt=kind) for kind in ("lora", "prefix", "bias", "prompt", "bottleneck")},
    "lora, self-consistent": Cell("lora-self", "zerogen", adapt="lora", rows=("--consistency", "self")),
    "lora, dpo": Cell("lora-dpo", "zerogen", ("--prefer_epochs", "3"), adapt="lora"),
}


def done(argv: list[str]) -> None:
    """Run a command; stop where it fails."""
    if hf_synth(argv):
        raise SystemExit(f"failed: {argv}")


def write(task: str, cell: Cell, data: Path, out: Path, seed: int) -> Path:
    """Tune if need be, write a pool of rows, once, and return its folder."""
    folder = out / task / f"{cell.pool}-seed{seed}"
    if (folder / "dataset" / "README.md").exists():
        return folder
    for part in ("chunks", "once"):  # what the pools of a seed ask and train in common is asked and trained once
        shared = (out / task / f"{part}-seed{seed}").resolve()
        shared.mkdir(parents=True, exist_ok=True)
        (folder / "journal").mkdir(parents=True, exist_ok=True)
        if not (folder / "journal" / part).exists():
            (folder / "journal" / part).symlink_to(shared)
    shots = ["--shots", str(data / task), "--shots_per_class", str(SHOTS), "--shots_seed", str(seed)]
    flags = ["--task", task, "--seed", str(seed)]
    rows = ["--method", cell.method, "--num_rows", str(TASKS[task]["rows"]), "--output_dir", str(folder), *cell.rows]
    known = Plan.of(SynthConfig(task=task)).task
    if known.kind == "pair":  # the given texts of real pairs, without their labels
        corpus = {"path": str(data / task), "column": known.columns[0]}
        rows += ["--corpus", json.dumps(corpus), "--openings", "corpus"]
    if cell.adapt:
        adapter = out / task / f"adapter-{cell.pool}-seed{seed}"
        if not (adapter / "README.md").exists():
            done(["tune", *flags, *shots, "--adapt", cell.adapt, *cell.writes, "--output_dir", str(adapter)])
        rows += ["--adapter", str(adapter)]
    elif cell.method == "fewgen":
        rows += [*shots, *cell.writes]
    done(["generate", *flags, *rows])
    return folder


def student_of(task: str, data: Path, seed: int, trains: tuple[str, ...], alone: bool) -> StudentConfig:
    """Return the student's settings: the same for all, then the cell's."""
    real = ["--real_rows", str(data / task), "--real_per_class", str(SHOTS), "--real_seed", str(seed)]
    flags = ["--task", task, "--max_length", str(TASKS[task]["max_length"]), "--label_smoothing", "0.15", *SHARED]
    found = parse([*flags, *real, "--real_first", "10", *trains], "shots", SynthConfig, StudentConfig)[StudentConfig]
    return replace(found, **ALONE) if alone else found


def run_cell(task: str, method: str, data: Path, out: Path, seed: int) -> dict:
    """Return a method's line for one seed."""
    known = Plan.of(SynthConfig(task=task)).task
    if method == "few shots":
        config = student_of(task, data, seed, ("--num_train_epochs", "30", "--train_batch_size", "8"), alone=True)
        real = load_real_rows(known, str(data / task), SHOTS, seed)
        names = load_splits(write(task, METHODS["zerogen"], data, out, seed) / "dataset", known)["train"]
        splits = DatasetDict(train=mix_in(names.select([]), real, known, -1))
        return right_of(known, data / task, out / task / f"shots-seed{seed}", "student", config, splits, seed)
    cell = METHODS[method]
    started = time.perf_counter()
    folder = write(task, cell, data, out, seed)
    seconds = time.perf_counter() - started
    splits = load_splits(folder / "dataset", known)
    config = student_of(task, data, seed, cell.trains, cell.alone)
    found = right_of(known, data / task, folder, method.replace(" ", "").replace(",", "-"), config, splits, seed)
    records = [*(out / task).glob(f"adapter-{cell.pool}-seed{seed}/adapter.json")]
    records += folder.glob("journal/once/prefixes-*/adapter.json")
    for file in records:
        record = json.loads(file.read_text())
        if record.get("meta_weighting", True) != ("--meta_weighting" not in cell.writes):
            continue  # of another pool of the seed
        found["adapter"] = {key: record[key] for key in ("adapt", "parameters", "seconds", "loss")}
    facts = json.loads((folder / "dataset" / "hf_synth" / "ledger.json").read_text())
    return found | {"write_seconds": round(seconds, 1), "notes": facts["notes"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tasks", nargs="+", default=["sst2", "ag_news", "qnli"], choices=list(TASKS))
    parser.add_argument("--methods", nargs="+", default=["few shots", *METHODS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="show what was done")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    lines = given.out / "shots.jsonl"
    if given.table:
        show(lines)
        return
    for seed in given.seeds:
        for task in given.tasks:
            for method in given.methods:
                there = {tuple(json.loads(line)["cell"]) for line in lines.open()} if lines.exists() else set()
                if (task, method, seed) in there:
                    continue
                found = {"cell": [task, method, seed], **run_cell(task, method, given.data, given.out, seed)}
                with lines.open("a") as stream:
                    stream.write(json.dumps(found) + "\n")
                print(task, method, seed, f"{np.mean([int(bit) for bit in found['right']]):.4f}", flush=True)


if __name__ == "__main__":
    main()
