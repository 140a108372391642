"""Entities of medical abstracts from few real sentences: what rows of a generator that was tuned on them add to them.

    python recipes/benchmarks/clinical.py ../shared/data out [--tasks ncbi_disease] [--sizes 50 200] [--seeds 0 1 2]
    python recipes/benchmarks/clinical.py ../shared/data out --judge validation   # to choose settings by
    python recipes/benchmarks/clinical.py ../shared/data out --table

Real data lies under the first folder, a data set for each task. Of `train` so many sentences are drawn, with entities
or without, the smaller draw a part of the larger. A small model is tuned on those that have some (LoRA) and writes
rows. Students learn from real rows, from these, from both together, from a share of these in each batch that falls
from one to none (`annealed`), or from these and then from real ones.

`marked` rows say themselves where their names are, `asked` ones are tagged where a name stands that was asked for or
that the task knows. Both take names of the task's list, beside those of the real sentences: `own` rows are marked and
take the latter alone. `names` rows are the real sentences with names of the list in place of theirs: without a model.
A cell that was done is not done again.
"""

import argparse
import json
import time
from importlib import resources
from pathlib import Path

import precision
import yaml
from clinical_table import show
from datasets import Dataset, DatasetDict, concatenate_datasets, load_dataset

from hf_synth.bio import spans_of
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

SYNTHETIC = 500
TUNE = ["--adapt", "lora", "--tune_learning_rate", "1e-3"]
TUNE_EPOCHS = {50: "10", 200: "5", 1000: "3"}
MADE = {
    "marked": ["--method", "zerogen", "--temperature", "0.8"],
    "asked": ["--method", "zerogen", "--temperature", "0.8"],
    "own": ["--method", "zerogen", "--temperature", "0.8"],
    "names": ["--method", "augment", "--how", "names"],
}
REAL_EPOCHS = {50: 30, 200: 12, 1000: 5}
EPOCHS = 4  # over synthetic rows
HOW = ("synthetic", "both", "annealed", "then real")
FAST = ["--train_batch_size", "16", "--learning_rate", "2e-4", "--max_length", "96", "--outside", "1"]
FAST += precision.FLAGS


def task_file(task: str, made: str, out: Path, rows: Dataset) -> str:
    """Return the task, or a file of one whose texts mark their names."""
    if made not in ("marked", "own"):
        return task
    spec = yaml.safe_load((resources.files("hf_synth.tasks") / f"{task}.yaml").read_text(encoding="utf-8"))
    if made == "own":
        names: dict[str, set[str]] = {label: set() for label in spec["labels"]}
        for row in rows:
            for start, end, label in spans_of(row["ner_tags"]):
                names[label].add(" ".join(row["tokens"][start:end]))
        spec["words"] = {label: sorted(found) for label, found in names.items()}
    file = out / f"{task}-{made}-{len(rows)}" / f"{task}.yaml"  # the task goes by the file's name
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump({**spec, "annotate": "markup", "max_new_tokens": 90}), encoding="utf-8")
    return str(file)


def real_folder(task: str, size: int, seed: int, data: Path, out: Path) -> Path:
    """Return a data set of so many real sentences."""
    folder = out / f"{task}-real-{size}-{seed}"  # of its own name: `datasets` caches by that
    if not folder.exists():
        real = load_dataset(str(data / task), split="train").shuffle(seed).select(range(size))
        real.to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    return folder


def written(task: str, made: str, size: int, seed: int, given: argparse.Namespace) -> DatasetDict:
    """Return the rows of a generator that was tuned on the real ones, all to train on."""
    known, out = Plan.of(SynthConfig(task=task)).task, given.out
    real = real_folder(task, size, seed, given.data, out)
    rows = load_real_rows(known, str(real), None).data
    counts = [sum(label in shape(known).counted(known, row) for row in rows) for label in known.labels]
    shots = ["--shots", str(real), "--shots_per_class", str(min(counts) if len(counts) == 1 else max(counts))]
    target, own = out / f"{task}-{made}-{size}-{seed}", task_file(task, made, out, rows)
    flags = ["--task", own, "--num_rows", str(SYNTHETIC), "--seed", str(seed), *MADE[made]]
    if made == "names":
        flags += shots
    else:
        adapter = out / f"{task}-{'asked' if made == 'asked' else 'marked'}-adapter-{size}-{seed}"
        tune = ["tune", "--task", own, *shots, *TUNE, "--tune_epochs", TUNE_EPOCHS[size], "--seed", str(seed)]
        if not adapter.exists() and hf_synth([*tune, "--output_dir", str(adapter)]):
            raise SystemExit(f"{adapter.name}: not tuned")
        flags += ["--adapter", str(adapter), "--chunk_size", "64"]
    if not (target / "dataset" / "README.md").exists():
        started = time.perf_counter()
        if hf_synth(["generate", *flags, "--output_dir", str(target)]):
            raise SystemExit(f"{target.name}: not written")
        (target / "seconds").write_text(f"{time.perf_counter() - started:.0f}")
    splits = load_splits(target / "dataset", known)
    return DatasetDict(train=concatenate_datasets([*splits.values()]))


def settings_of(task: str, size: int, how: str, real: Path) -> StudentConfig:
    """Return how a student is trained; `real` sees as many rows as `annealed`, twice as many real ones."""
    again = REAL_EPOCHS[size]
    rounds = [{"rows": "synthetic", "epochs": EPOCHS}, {"rows": "real", "epochs": again}]
    # From synthetic rows alone to real rows alone, so that half of all rows seen are real.
    linear = 2 * again * size / (size + SYNTHETIC)
    own: dict[str, list[str]] = {
        "real": ["--num_train_epochs", str(2 * again)],
        "synthetic": ["--num_train_epochs", str(EPOCHS)],
        "both": ["--num_train_epochs", str(EPOCHS), "--real_rows", str(real)],
        "annealed": [
            "--trainer",
            "annealing",
            "--trainer_args",
            "{kind: share}",
            "--num_train_epochs",
            f"{linear:.2f}",
        ],
        "then real": ["--trainer", "annealing", "--trainer_args", json.dumps({"rounds": rounds})],
    }
    more = ["--real_rows", str(real)] if how in ("annealed", "then real") else []
    return parse(["--task", task, *own[how], *more, *FAST], "clinical", SynthConfig, StudentConfig)[StudentConfig]


def run_cell(task: str, size: int, made: str, how: str, seed: int, given: argparse.Namespace) -> dict:
    """Return what a student says of the rows that judge."""
    known = Plan.of(SynthConfig(task=task)).task
    real = real_folder(task, size, seed, given.data, given.out)
    if how == "real":
        features, found = shape(known).features(known), load_real_rows(known, str(real), None).data
        columns = {name: [ids_of(value, kind) for value in found[name]] for name, kind in features.items()}
        splits = DatasetDict(train=type(found).from_dict(columns, features=features))
    else:
        splits = written(task, made, size, seed, given)
    config, kind = settings_of(task, size, how, real), learner(known)
    folder, started = given.out / f"{task}-{size}-{made}-{how.replace(' ', '_')}-{seed}-student", time.perf_counter()
    facts = train_student(splits, known, config, folder, seed)
    seconds = time.perf_counter() - started
    judge = load_reference(known, str(given.data / task), given.judge)
    said = kind.predict(folder, judge.data, known, config.max_length)
    scores = kind.score(known, said, judge.data[known.label_column])
    return {"scores": scores, "said": said, "rows": facts["rows"], "seconds": round(seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tasks", nargs="+", default=["ncbi_disease", "bc5cdr"], choices=["ncbi_disease", "bc5cdr"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[50, 200, 1000], choices=[*REAL_EPOCHS])
    parser.add_argument("--made", nargs="+", default=[*MADE], choices=[*MADE])
    parser.add_argument("--how", nargs="+", default=["real", *HOW], choices=["real", *HOW])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--judge", default="test", choices=["test", "validation"])
    parser.add_argument("--table", action="store_true", help="show what was done")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    lines = given.out / f"clinical-{given.judge}.jsonl"
    if given.table:
        show(lines, given.data, given.judge)
        return
    wanted = [
        (task, size, made, how, seed)
        for seed in given.seeds
        for task in given.tasks
        for size in given.sizes
        for made in ["", *given.made]
        for how in given.how
        if (made == "") == (how == "real")
    ]
    for cell in wanted:
        done = {tuple(json.loads(line)["cell"]) for line in lines.open()} if lines.exists() else set()
        if cell in done:
            continue
        found = {"cell": cell, **run_cell(*cell, given)}
        with lines.open("a") as stream:
            stream.write(json.dumps(found, ensure_ascii=False) + "\n")
        shown = {name: round(found["scores"][name], 4) for name in ("f1", "precision", "recall")}
        print(*cell, shown, found["seconds"], flush=True)


if __name__ == "__main__":
    main()
