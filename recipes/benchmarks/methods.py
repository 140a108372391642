"""The methods side by side: equal numbers of rows, one student, real test rows, three seeds of everything.

    python recipes/benchmarks/methods.py ../shared/data out [--tasks sst2] [--methods zerogen sungen] [--seeds 0 1]
    python recipes/benchmarks/methods.py ../shared/data out --table

Real data lies under the first folder, a data set for each task: `test` judges, `train` gives the gold rows and the
first texts of pairs. What a seed's methods ask in common is asked once. A cell that was done is not done again.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import precision
from datasets import concatenate_datasets, load_dataset
from methods_table import diversity, show
from seeds import gold_of

from hf_synth.backends import open_generator
from hf_synth.baselines import prompting
from hf_synth.commands.main import main as hf_synth
from hf_synth.commands.options import parse
from hf_synth.commands.train import load_splits
from hf_synth.learners import learner
from hf_synth.produce import Plan
from hf_synth.reference import load_reference
from hf_synth.row_weights import Weights, choose
from hf_synth.settings import BackendConfig, StudentConfig, SynthConfig
from hf_synth.task import Task
from hf_synth.train import WEIGHTS, train_student


@dataclass(frozen=True)
class Bench:
    """A folder of real data, the task (or its file) that asks for rows, how many, the tokens a student reads, a model.

    `corpus` is the part of the unlabelled texts where ReGen looks; first texts of pairs are real ones.
    """

    data: str
    task: str
    rows: int
    max_length: int
    corpus: str | None = None
    model: str | None = None

    @property
    def flags(self) -> list[str]:
        """Return the flags that say so."""
        return ["--task", self.task, *(["--model", self.model] if self.model else [])]

    @property
    def plan(self) -> Plan:
        """Return a plan whose task is the one read."""
        return Plan.of(parse(self.flags, "methods", SynthConfig)[SynthConfig], backend=BackendConfig())


PAPERS = Path(__file__).parents[1] / "paper_tasks"
TASKS = {
    "sst2": Bench("sst2", "sst2", 1200, 64, "reviews"),
    "ag_news": Bench("ag_news", "ag_news", 800, 96, "news"),
    "qnli": Bench("qnli", "qnli", 1200, 128),
    "sst2-gemma": Bench("sst2", str(PAPERS / "sst2.yaml"), 1200, 64, "reviews", "google/gemma-3-270m"),
}
SHARED = ["--learning_rate", "1e-4", "--train_batch_size", "16", *precision.FLAGS]


@dataclass(frozen=True)
class Cell:
    """A pool of rows, the method that writes it and how, and the method whose students learn from it and how.

    Those of `keep` learn from that share of each label's rows alone, of highest weight by the cell `sungen`.
    """

    pool: str
    method: str
    writes: tuple[str, ...] = ()
    learns: str | None = None
    trains: tuple[str, ...] = ()
    keep: float | None = None


ROUNDS = ("--first_round", "300")  # so that 1,200 rows have three
WARM = ("--temperature", "1")  # at the paper's 0.2 a small model writes the same few texts: a pool takes hours
SELF = ("--consistency", "self")
METHODS = {
    "zerogen": Cell("zerogen", "zerogen"),
    "zerogen, smoothing": Cell("zerogen", "zerogen", trains=("--label_smoothing", "0.15")),
    "zerogen, consistent": Cell("zerogen-self", "zerogen", SELF),
    "zerogen, consistent, smoothing": Cell("zerogen-self", "zerogen", SELF, trains=("--label_smoothing", "0.15")),
    "sungen": Cell("zerogen", "zerogen", learns="sungen"),
    "sungen, top 60%": Cell("zerogen", "zerogen", keep=0.6),
    "sungen, top 20%": Cell("zerogen", "zerogen", keep=0.2),
    "supergen": Cell("supergen", "supergen", WARM),
    "supergen - selection": Cell("supergen-random", "supergen", (*WARM, "--selection", "random")),
    "supergen - smoothing": Cell("supergen", "supergen", WARM, trains=("--label_smoothing", "0")),
    "supergen - ensembling": Cell("supergen", "supergen", WARM, trains=("--trainer", "weighted")),
    "supergen - all three": Cell("supergen-random", "supergen", (*WARM, "--selection", "random"), learns="zerogen"),
    "progen": Cell("progen", "progen", ROUNDS),
    "progen, weights": Cell("progen-weights", "progen", (*ROUNDS, "--feedback", "weights")),
    "progen, random": Cell("progen-random", "progen", (*ROUNDS, "--feedback", "random")),
    "progen, ce": Cell("progen-ce", "progen", (*ROUNDS, "--validation_loss", "ce")),
    "attrprompt": Cell("attrprompt", "attrprompt"),
    "simprompt": Cell("simprompt", "attrprompt", ("--prompts", "simprompt")),
    "regen": Cell("regen", "regen"),
    "regen, first round": Cell("regen-first", "regen", ("--rounds", "1")),
}
SINGLE = {"attrprompt", "simprompt", "regen", "regen, first round"}  # write one text a row


def corpus_of(task: str, data: Path, out: Path) -> dict[str, str]:
    """Return real texts of the task's kind: a part of the unlabelled corpus, or the first texts of real pairs."""
    domain = TASKS[task].corpus
    if domain is None:
        return {"path": str(data / TASKS[task].data), "column": TASKS[task].plan.task.columns[0]}
    file = out / "corpora" / domain / "train.parquet"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = load_dataset(str(data / "unlabeled_corpus"), split="train")
        place = rows.features["domain"].str2int(domain)
        rows.filter(lambda row: row["domain"] == place).select_columns("text").to_parquet(file)
    return {"path": str(file.parent), "column": "text"}


def write(task: str, cell: Cell, data: Path, out: Path, seed: int) -> Path:
    """Write a pool of rows, once, and return its folder; chunks are shared among the pools of a seed."""
    folder = out / task / f"{cell.pool}-seed{seed}"
    if (folder / "dataset" / "README.md").exists():
        return folder
    shared = (out / task / f"chunks-seed{seed}").resolve()
    shared.mkdir(parents=True, exist_ok=True)
    (folder / "journal").mkdir(parents=True, exist_ok=True)
    if not (folder / "journal" / "chunks").exists():
        (folder / "journal" / "chunks").symlink_to(shared)
    flags = [*TASKS[task].flags, "--num_rows", str(TASKS[task].rows), "--seed", str(seed)]
    if task == "qnli" or cell.method == "regen":
        flags += ["--corpus", json.dumps(corpus_of(task, data, out))]
    flags += ["--openings", "corpus"] if task == "qnli" else []
    flags += ["--method", cell.method, *cell.writes, "--output_dir", str(folder)]
    if hf_synth(["generate", *flags]):
        raise SystemExit(f"{task}, {cell.pool}: not written")
    return folder


def student_of(task: str, method: str, trains: Sequence[str] = ()) -> StudentConfig:
    """Return the student's settings: the same for all, then the method's, then the cell's."""
    bench = TASKS[task]
    flags = [*bench.flags, "--method", method, "--max_length", str(bench.max_length), *SHARED, *trains]
    return parse(flags, "methods", SynthConfig, StudentConfig)[StudentConfig]


def right_of(task: Task, real: Path, folder: Path, name: str, config: StudentConfig, splits, seed: int) -> dict:
    """Train a student, judge it, and return what is reported of it."""
    judge = load_reference(task, str(real))
    started = time.perf_counter()
    facts = train_student(splits, task, config, folder / name, seed)
    labels = learner(task).predict(folder / name, judge.data, task, config.max_length)
    answers = judge.data[task.label_column]
    rows = concatenate_datasets([splits[part] for part in splits])
    return {
        "right": "".join("01"[ours == theirs] for ours, theirs in zip(labels, answers, strict=True)),
        "rows": len(rows),
        "validation": facts["validation_score"],
        "train_seconds": round(time.perf_counter() - started, 1),
        **diversity(rows, task),
    }


def run_cell(task: str, method: str, data: Path, out: Path, seed: int) -> dict:
    """Return a method's line for one seed."""
    if method == "prompting":
        return by_prompting(task, data)
    known, real = TASKS[task].plan.task, data / TASKS[task].data
    if method == "gold":
        splits = gold_of(known, str(real), TASKS[task].rows, seed)
        folder = out / task / f"gold-seed{seed}"
        return right_of(known, real, folder, "gold", student_of(task, "zerogen"), splits, seed)
    cell = METHODS[method]
    folder = write(task, cell, data, out, seed)
    config = student_of(task, cell.learns or cell.method, cell.trains)
    splits = load_splits(folder / "dataset", known)
    if cell.keep:
        weights, _ = Weights.load(folder / "sungen" / WEIGHTS)
        kept = choose(
            weights, splits["train"].rename_column(known.label_column, "labels"), "balanced_top_k", cell.keep, seed
        )
        splits["train"] = splits["train"].select(np.flatnonzero(kept.of(splits["train"]["index"][:])))
    ledger = json.loads((folder / "dataset" / "hf_synth" / "ledger.json").read_text())
    spent = {key: sum(stage[key] for stage in ledger["stages"].values()) for key in ("asked", "tokens", "seconds")}
    name = method.replace(" ", "").replace(",", "-").replace("%", "")
    return right_of(known, real, folder, name, config, splits, seed) | spent | {"notes": ledger["notes"]}


def by_prompting(task: str, data: Path) -> dict:
    """Return the generator's own labels of the test rows, calibrated; it knows no seed."""
    plan = TASKS[task].plan
    judge = load_reference(plan.task, str(data / TASKS[task].data))
    found = prompting(open_generator(plan), {c: judge.data[c] for c in plan.task.columns}, plan.task, 64)
    real = judge.data[plan.task.label_column]
    shares = {
        name: float(np.mean([a == b for a, b in zip(labels, real, strict=True)])) for name, labels in found.items()
    }
    best = max(shares, key=shares.__getitem__)
    return {"right": "".join("01"[a == b] for a, b in zip(found[best], real, strict=True)), "prompting": shares}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tasks", nargs="+", default=["sst2", "ag_news", "qnli"], choices=list(TASKS))
    parser.add_argument("--methods", nargs="+", default=["gold", "prompting", *METHODS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="show what was done")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    lines = given.out / "methods.jsonl"
    if given.table:
        show(lines)
        return
    for seed in given.seeds:
        for task in given.tasks:
            for method in given.methods:
                done = {tuple(json.loads(line)["cell"]) for line in lines.open()} if lines.exists() else set()
                only_once = method == "prompting" and seed != given.seeds[0]
                if (task, method, seed) in done or only_once or (task == "qnli" and method in SINGLE):
                    continue
                found = {"cell": [task, method, seed], **run_cell(task, method, given.data, given.out, seed)}
                with lines.open("a") as stream:
                    stream.write(json.dumps(found) + "\n")
                print(task, method, seed, f"{np.mean([int(bit) for bit in found['right']]):.4f}", flush=True)


if __name__ == "__main__":
    main()
