"""The packaged tasks beside the papers' prompts and gold rows: what plain `hf-synth generate --task X` is worth.

    python recipes/benchmarks/tasks.py ../shared/data out [--tasks trec subj] [--seeds 0 1] [--split validation]
    python recipes/benchmarks/tasks.py ../shared/data out --table

ZeroGen writes the rows and a logistic regression on frozen MiniLM embeddings learns from them, which tells rows apart
and not ways to train. A cell that was done is not done again.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from datasets import Dataset, concatenate_datasets
from head import embeddings
from methods_table import bits
from noise_table import difference, verdict
from seeds import gold_of
from sklearn.linear_model import LogisticRegression

from hf_synth.commands.main import main as hf_synth
from hf_synth.commands.train import load_splits
from hf_synth.reference import load_reference
from hf_synth.task import Task
from hf_synth.tasks import load_task, task_names

PAPERS = Path(__file__).resolve().parent.parent / "paper_tasks"
ROWS, CHUNK = 240, 48  # a chunk holds one label: of many labels, small ones leave less over


def written(name: str, prompts: str, seed: int, out: Path) -> Path | None:
    """Write a task's rows, once, and return their folder; nothing where the generator gives none with its prompts."""
    folder = out / f"{name}-{prompts}-seed{seed}"
    if not (folder / "dataset" / "README.md").exists():
        task = name if prompts == "ours" else str(PAPERS / f"{name}.yaml")
        flags = ["--num_rows", str(ROWS), "--chunk_size", str(CHUNK), "--seed", str(seed)]
        if hf_synth(["generate", "--task", task, *flags, "--output_dir", str(folder)]):
            return None
    return folder


def predicted(task: Task, rows: Dataset, test: Dataset) -> list[str]:
    """Return what a student of `rows` calls the test rows."""
    names = rows.features[task.label_column].names
    labels = [names[at] for at in rows[task.label_column]]
    student = LogisticRegression(max_iter=1000, C=10).fit(_vectors(task, rows), labels)
    return list(student.predict(_vectors(task, test)))


def _vectors(task: Task, rows: Dataset) -> np.ndarray:
    vectors = embeddings(rows[task.generated][:]).numpy()
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def judge(name: str, prompts: str, seed: int, data: Path, out: Path, split: str) -> dict:
    """Return a cell's line."""
    task, found = load_task(name), {}
    if prompts == "gold":
        rows = concatenate_datasets([*gold_of(task, str(data / name), ROWS, seed).values()])
    else:
        folder = written(name, prompts, seed, out)
        if folder is None:
            return {"right": "", "rows": 0}
        rows = concatenate_datasets([*load_splits(folder / "dataset", task).values()])
        stages = json.loads((folder / "dataset" / "hf_synth" / "ledger.json").read_text())["stages"].values()
        found = {key: sum(stage[key] for stage in stages) for key in ("asked", "seconds")}
    test = load_reference(task, str(data / name), split).data
    pairs = zip(predicted(task, rows, test), test[task.label_column], strict=True)
    return {"right": "".join("01"[ours == real] for ours, real in pairs), "rows": len(rows), **found}


def show(lines: Path) -> None:
    """Print a row for each task: mean and standard deviation over seeds, and ours less the paper's."""
    cells: dict[str, dict[str, dict[int, dict]]] = defaultdict(lambda: defaultdict(dict))
    for line in map(json.loads, lines.open()):
        name, prompts, seed, split = line["cell"]
        cells[f"{name}, {split}"][prompts][seed] = line
    print(
        "| task | rows | ours | the paper's prompts | gold | ours less the paper's, 95% | completions for a row kept |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, by in sorted(cells.items()):
        ours = by["ours"]
        both = [seed for seed in ours if by["paper"].get(seed, {}).get("right")]
        gain = ""
        if both:
            mean, low, high = difference(*(np.stack([bits(by[k][seed]) for seed in both]) for k in ("ours", "paper")))
            gain = f"{mean:+.3f} ({low:+.3f} to {high:+.3f}), {verdict(low, high)}"
        failed = any(not line["right"] for line in by["paper"].values())
        paper = "nothing could be kept" if failed else _spread(by["paper"])
        asked = np.mean([line["asked"] / line["rows"] for line in ours.values() if line["rows"]] or [np.nan])
        count = np.mean([line["rows"] for line in ours.values()]) if ours else np.nan
        print(f"| {name} | {count:.0f} | {_spread(ours)} | {paper} | {_spread(by['gold'])} | {gain} | {asked:.1f} |")


def _spread(found: dict[int, dict]) -> str:
    shares = [bits(line).mean() for line in found.values() if line["right"]]
    if not shares:
        return ""
    return f"{np.mean(shares):.3f} ± {np.std(shares, ddof=1):.3f}" if len(shares) > 1 else f"{shares[0]:.3f} (1 seed)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tasks", nargs="+", choices=task_names())
    parser.add_argument("--prompts", nargs="+", default=["ours", "paper", "gold"], choices=["ours", "paper", "gold"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--split", default="test")
    parser.add_argument("--table", action="store_true", help="show what was done")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    lines = given.out / "tasks.jsonl"
    if given.table:
        show(lines)
        return
    single = [name for name in task_names() if load_task(name).kind == "single" and (given.data / name).exists()]
    for seed in given.seeds:
        for name in given.tasks or single:
            for prompts in given.prompts:
                done = {tuple(json.loads(line)["cell"]) for line in lines.open()} if lines.exists() else set()
                cell = (name, prompts, seed, given.split)
                if cell in done or (prompts == "paper" and not (PAPERS / f"{name}.yaml").exists()):
                    continue
                line = {"cell": cell, **judge(name, prompts, seed, given.data, given.out, given.split)}
                with lines.open("a") as stream:
                    stream.write(json.dumps(line) + "\n")
                print(*cell, f"{np.mean([int(bit) for bit in line['right']] or [0]):.3f}", flush=True)


if __name__ == "__main__":
    main()
