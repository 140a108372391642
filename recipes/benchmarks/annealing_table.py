"""Tables of what annealing.py wrote: each way to use real rows beside mixing them in plainly."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from noise_table import difference, unpacked, verdict

DATASETS, STUDENTS, SIZES, SEEDS = ("sst2", "ag_news"), ("minilm", "head"), (16, 64), (0, 1, 2)
SYNTHETIC = 1000
CURVES, ORDERS = ("linear", "cosine", "step", "exponential"), ("synthetic_to_real", "real_to_synthetic")
METHODS = (
    *("mixed", "real", "synthetic", "judged", "judged by all"),
    *(" ".join(way) for way in itertools.product(("share", "weight"), CURVES, ORDERS)),
    *("rounds", "rounds even"),
)


def lines_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.open()] if out.exists() else []


def show(out: Path) -> None:
    """Print the tables, and the cells that are missing."""
    found: dict[tuple, dict[str, dict[int, np.ndarray]]] = defaultdict(lambda: defaultdict(dict))
    for line in lines_of(out):
        *place, seed, method = line["cell"]
        found[tuple(place)][method][seed] = unpacked(line["right"], line["tests"])
    for place, methods in found.items():
        student, dataset, size = place
        print(f"\n### {student} · {dataset} · {size} real rows a class, {SYNTHETIC} synthetic\n")
        print("| method | seeds | accuracy | ± | minus mixed, 95% | |\n|---|---|---|---|---|---|")
        for method in (name for name in METHODS if methods.get(name)):
            print(f"| {' | '.join(_row(method, methods[method], methods.get('mixed', {})))} |")
    for student in STUDENTS:
        _show_together(student, found)
    for place in itertools.product(STUDENTS, DATASETS, SIZES):
        for seed in SEEDS:
            gone = [name for name in METHODS if seed not in found.get(place, {}).get(name, {})]
            if gone:
                print(f"missing: {place}, seed {seed}: {'all' if len(gone) == len(METHODS) else ', '.join(gone)}")


def _row(method: str, ours: dict[int, np.ndarray], mixed: dict[int, np.ndarray]) -> list[str]:
    accuracies = [group.mean() for group in ours.values()]
    spread = f"{np.std(accuracies, ddof=1):.4f}" if len(accuracies) > 1 else ""
    row = [method, str(len(ours)), f"{np.mean(accuracies):.4f}", spread]
    if method == "mixed" or not (seeds := sorted({*ours} & {*mixed})):
        return [*row, "", ""]
    gain, low, high = difference(*(np.stack([group[seed] for seed in seeds]) for group in (ours, mixed)))
    return [*row, f"{gain:+.4f} ({low:+.4f} to {high:+.4f})", verdict(low, high)]


def _show_together(student: str, found: dict[tuple, dict[str, dict[int, np.ndarray]]]) -> None:
    """Print each method's difference over the test rows of all data sets, the mean of all numbers of real rows."""
    places = list(itertools.product([student], DATASETS, SIZES))
    methods = [name for name in METHODS if all({*SEEDS} <= {*found.get(place, {}).get(name, {})} for place in places)]
    if "mixed" not in methods:
        return
    print(f"\n### {student} · all of the above\n\n| method | minus mixed, 95% | |\n|---|---|---|")

    def rows(method: str) -> np.ndarray:
        each = [
            np.mean([[found[student, name, size][method][seed] for seed in SEEDS] for size in SIZES], 0)
            for name in DATASETS
        ]
        return np.concatenate(each, axis=1)

    for method in methods[1:]:
        gain, low, high = difference(rows(method), rows("mixed"))
        print(f"| {method} | {gain:+.4f} ({low:+.4f} to {high:+.4f}) | {verdict(low, high)} |")
