"""Tasks of other kinds than one label a text: students on generated rows, on as many real ones, and what to beat.

    python recipes/benchmarks/kinds.py ../shared/data out [--tasks gad squad] [--seeds 0 1 2]
    python recipes/benchmarks/kinds.py ../shared/data out --tasks nlupp_hotels --which "few shots" eda paraphrase msp
    python recipes/benchmarks/kinds.py ../shared/data out --table

Real data lies under the first folder, a data set for each task: `test` judges, `train` gives the gold rows and the
contexts of questions. The cells of few shots know 16 real rows a label, other ones for each seed: students learn from
these alone, or together with variants of them or with what MSP writes. A cell that was done is not done again.
"""

import argparse
import json
import random
import time
from pathlib import Path

import precision
from datasets import Dataset, DatasetDict, load_dataset
from kinds_table import show

from hf_synth.backends import open_generator
from hf_synth.baselines import baselines
from hf_synth.columns import ids_of
from hf_synth.commands.main import main as hf_synth
from hf_synth.commands.options import parse
from hf_synth.commands.train import load_splits
from hf_synth.learners import learner
from hf_synth.produce import Plan
from hf_synth.real import load_real_rows
from hf_synth.reference import load_reference
from hf_synth.settings import StudentConfig, SynthConfig
from hf_synth.shapes import shape
from hf_synth.train import train_student

FAST = ["--train_batch_size", "16", *precision.FLAGS]
# Folder of the real data, rows, and the student's epochs, learning rate and tokens of a text.
TASKS = {
    "ncbi_disease": ("ncbi_disease", 1200, ("5", "3e-4", "96")),
    "bc5cdr": ("bc5cdr", 1200, ("5", "3e-4", "96")),
    "gad": ("gad", 800, ("3", "1e-4", "96")),
    "nlupp_hotels": ("nlupp/hotels", 1640, ("10", "5e-4", "48")),
    "squad": ("squad", 900, ("4", "3e-4", "256")),
    "topv2": ("topv2", 1000, ("2", "3e-4", "192")),
    "crossner_ai": ("crossner/ai", 700, ("5", "3e-4", "96")),
}
STUDENT = ("--num_train_epochs", "--learning_rate", "--max_length")
WRITES = {
    "gad": ["--temperature", "0.7"],
    "nlupp_hotels": ["--temperature", "0.7"],
    "squad": ["--openings", "corpus", "--temperature", "0.4"],
    "topv2": ["--temperature", "0.5", "--max_attempts", "40"],
}
SMALL = ("--mixer", "attention", "--instruction", "20", "--length", "5", "--tune_epochs", "3")
FEW = {
    "few shots": (),
    "eda": ("--method", "augment", "--how", "eda"),
    "paraphrase": ("--method", "augment", "--how", "paraphrase"),
    "msp": ("--method", "msp", *SMALL),
    "msp, pooling": ("--method", "msp", *SMALL, "--mixer", "pooling"),
    "msp, concat": ("--method", "msp", *SMALL, "--mixer", "concat"),
}
FEW_ROWS, SHOTS = 600, 16
PLAIN = ("generated", "gold", "baselines")


def flags_of(task: str, data: Path, seed: int) -> list[str]:
    """Return the settings of a generation."""
    folder, rows, _ = TASKS[task]
    flags = ["--task", task, "--num_rows", str(rows), "--seed", str(seed), *WRITES.get(task, [])]
    if task == "squad":
        flags += ["--corpus", json.dumps({"path": str(data / folder), "column": "context"})]
    return flags


def splits_of(task: str, which: str, data: Path, out: Path, seed: int) -> DatasetDict:
    """Return generated rows, or as many real ones, with a tenth of them to choose the epoch by."""
    folder, rows, _ = TASKS[task]
    plan = Plan.of(SynthConfig(task=task))
    if which in FEW:
        return few_of(task, which, data, out, seed)
    if which == "generated":
        target = out / f"{task}-seed{seed}"
        if not (target / "dataset" / "README.md").exists() and hf_synth(
            ["generate", *flags_of(task, data, seed), "--output_dir", str(target)]
        ):
            raise SystemExit(f"{task}, seed {seed}: not written")
        return load_splits(target / "dataset", plan.task)
    real = load_dataset(str(data / folder), split="train")
    if plan.task.reference and plan.task.reference.only:
        (column, values), *_ = plan.task.reference.only.items()
        real = real.filter(lambda row: real.features[column].int2str(row[column]) in values)
    chosen = random.Random(seed).sample(range(len(real)), min(rows, len(real)))
    cut = len(chosen) // 10
    return DatasetDict(train=real.select(chosen[cut:]), validation=real.select(chosen[:cut]))


def few_of(task: str, which: str, data: Path, out: Path, seed: int) -> DatasetDict:
    """Return rows made of few shots, or these alone."""
    known, real = Plan.of(SynthConfig(task=task)).task, str(data / TASKS[task][0])
    if which == "few shots":
        features = shape(known).features(known)
        found = load_real_rows(known, real, SHOTS, seed).data.shuffle(seed)
        columns = {name: [ids_of(value, kind) for value in found[name]] for name, kind in features.items()}
        rows = Dataset.from_dict(columns, features)
        cut = len(rows) // 10
        return DatasetDict(train=rows.select(range(cut, len(rows))), validation=rows.select(range(cut)))
    target = out / f"{task}-{which.replace(', ', '-')}-seed{seed}"
    if not (target / "dataset" / "README.md").exists():
        flags = ["--task", task, "--num_rows", str(FEW_ROWS), "--seed", str(seed), "--chunk_size", "16", *FEW[which]]
        shots = ["--shots", real, "--shots_per_class", str(SHOTS), "--shots_seed", str(seed)]
        if hf_synth(["generate", *flags, *shots, "--output_dir", str(target)]):
            raise SystemExit(f"{task}, {which}, seed {seed}: not written")
    return load_splits(target / "dataset", known)


def run_cell(task: str, which: str, data: Path, out: Path, seed: int) -> dict:
    """Return what one student, or the baselines, say of the test rows."""
    plan = Plan.of(SynthConfig(task=task))
    judge, kind = load_reference(plan.task, str(data / TASKS[task][0])), learner(plan.task)
    if which == "baselines":
        places, answers = baselines(open_generator(plan), judge, plan.task, 300, 64)
        real = judge.data.select(places)[plan.task.label_column]
        scores = {name: kind.score(plan.task, said, real) for name, said in answers.items()}
        return {"scores": scores, "places": places, "said": answers}
    own = [word for pair in zip(STUDENT, TASKS[task][2], strict=True) for word in pair]
    if which in FEW and which != "few shots":
        own += ["--real_rows", str(data / TASKS[task][0]), "--real_per_class", str(SHOTS), "--real_seed", str(seed)]
    own += ["--outside", "0.15" if which == "generated" else "1"] if plan.task.kind == "tokens" else []
    config = parse(["--task", task, *own, *FAST], "kinds", SynthConfig, StudentConfig)[StudentConfig]
    splits = splits_of(task, which, data, out, seed)
    started = time.perf_counter()
    facts = train_student(splits, plan.task, config, out / f"{task}-{which}-seed{seed}", seed)
    seconds = time.perf_counter() - started
    said = kind.predict(out / f"{task}-{which}-seed{seed}", judge.data, plan.task, config.max_length)
    scores = kind.score(plan.task, said, judge.data[plan.task.label_column])
    return {"scores": {which: scores}, "said": said, "rows": facts["rows"], "seconds": round(seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--which", nargs="+", default=[*PLAIN], choices=[*PLAIN, *FEW])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="show what was done")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    lines = given.out / "kinds.jsonl"
    if given.table:
        show(lines, {task: given.data / folder for task, (folder, _, _) in TASKS.items()})
        return
    for seed in given.seeds:
        for task in given.tasks:
            for which in given.which:
                done = {tuple(json.loads(line)["cell"]) for line in lines.open()} if lines.exists() else set()
                if (task, which, seed) in done or (which == "baselines" and seed != given.seeds[0]):
                    continue
                found = {"cell": [task, which, seed], **run_cell(task, which, given.data, given.out, seed)}
                with lines.open("a") as stream:
                    stream.write(json.dumps(found, ensure_ascii=False) + "\n")
                shown = {name: round(scores[learner_of(task)], 4) for name, scores in found["scores"].items()}
                print(task, seed, shown, flush=True)


def learner_of(task: str) -> str:
    """Return the metric of a task."""
    return learner(Plan.of(SynthConfig(task=task)).task).metric


if __name__ == "__main__":
    main()
