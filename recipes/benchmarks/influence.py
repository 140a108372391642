"""Does a noise-robust validation loss know which rows help? ProGen's sanity experiment: remove those that help most.

    python recipes/benchmarks/influence.py --data ../shared/data --out influence.jsonl
    python recipes/benchmarks/influence.py --out influence.jsonl --table

40% of the training and validation labels are flipped, a student is trained on all rows, and these are ranked by their
influence on the noisy validation rows' loss: cross entropy, or reverse cross entropy. The 30% of each class that help
most are removed, and a new student is trained on the rest. Where the score is right that does harm; where it takes
noise for help, it does none and removes the noise. The student is noise.py's head, with its settings.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from noise import Cell
from noise_table import difference, unpacked, verdict

from hf_synth.influence import influence
from hf_synth.losses import example_loss

DATASETS, SEEDS, SHARE = ("sst2", "ag_news"), (0, 1, 2), 0.3
RANKED = ("ce", "rce", "random")


def scores_of(cell: Cell, trainer: Any, loss: str) -> np.ndarray:
    """Return the influence of each training row, in their order; below zero it helps."""

    def batches(split: str) -> list[tuple[dict[str, Any], torch.Tensor, torch.Tensor]]:
        found = []
        for batch in trainer.batches_of(cell.splits[split]):
            columns, inputs, labels = trainer.split(batch)
            found.append((inputs, labels, columns["index"]))
        return found

    rows, judges = batches("train"), batches("validation")
    told = influence(
        trainer.model,
        [(inputs, labels) for inputs, labels, _ in rows],
        [(inputs, labels) for inputs, labels, _ in judges],
        loss=example_loss(loss),
    )
    scores = np.empty(len(told))
    scores[torch.cat([index for *_, index in rows]).numpy()] = told.numpy()
    return scores


def helpful(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the rows of each class with the lowest scores, a share of it."""
    found = []
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        found.append(mine[np.argsort(scores[mine], kind="stable")[: round(SHARE * len(mine))]])
    return np.concatenate(found)


def run(options: argparse.Namespace) -> None:
    """Run the cells that are missing, and append a line for each."""
    done = {tuple(json.loads(line)["cell"]) for line in options.out.open()} if options.out.exists() else set()
    for dataset in options.datasets.split(","):
        for seed in SEEDS:
            if (dataset, seed) in done:
                continue
            cell = Cell("head", dataset, "uniform40", seed, options.data)
            cell.load()
            labels, random = cell.given["train"], np.random.default_rng(seed)
            whole = cell.final()
            line: dict[str, Any] = {"cell": [dataset, seed], "flipped": float(cell.flipped.mean())}
            line |= {"tests": len(cell.true["test"]), "ways": {"none removed": {"right": whole["right"]}}}
            for loss in RANKED:
                scores = random.random(len(labels)) if loss == "random" else scores_of(cell, whole["trainer"], loss)
                gone = helpful(scores, labels)
                rest = np.setdiff1d(np.arange(len(labels)), gone)
                line["ways"][loss] = {
                    "right": cell.final(rows=rest)["right"],
                    "flipped": float(cell.flipped[gone].mean()),
                }
            with options.out.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(line["cell"], {name: way.get("flipped") for name, way in line["ways"].items()}, flush=True)


def show(out: Path) -> None:
    """Print the tables."""
    found: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for line in map(json.loads, out.open()):
        for name, way in line["ways"].items():
            right = unpacked(way["right"], line["tests"])
            found[line["cell"][0]][name].append((right, way.get("flipped", line["flipped"])))
    print("| data set | removed: most helpful 30% by | flipped among them | accuracy | less none removed, 95% | |")
    print("|---|---|---|---|---|---|")
    for dataset, ways in found.items():
        plain = np.stack([right for right, _ in ways["none removed"]])
        for name, cells in ways.items():
            ours = np.stack([right for right, _ in cells])
            row = [dataset, name, "" if name == "none removed" else f"{np.mean([share for _, share in cells]):.3f}"]
            row.append(f"{ours.mean():.3f}")
            if name != "none removed":
                gain, low, high = difference(ours, plain)
                row += [f"{gain:+.3f} ({low:+.3f} to {high:+.3f})", verdict(low, high)]
            else:
                row += ["", ""]
            print("| " + " | ".join(row) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--datasets", default=",".join(DATASETS))
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        return show(options.out)
    warnings.filterwarnings("ignore")
    return run(options)


if __name__ == "__main__":
    main()
