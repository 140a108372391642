"""Tables of what methods.py wrote: accuracy, diversity, and whether the papers' orderings hold."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from head import embeddings
from noise_table import difference, verdict

# The papers' orderings: the first is said to be better than the second.
ACCURACY = [
    ("zerogen, consistent", "zerogen"),
    ("zerogen, consistent, smoothing", "zerogen, smoothing"),
    ("zerogen, consistent, smoothing", "zerogen"),
    ("sungen", "zerogen"),
    ("sungen, top 60%", "zerogen"),
    ("progen", "progen, random"),
    ("progen", "progen, ce"),
    ("progen, weights", "progen, random"),
    ("progen, random", "zerogen"),
    ("progen", "zerogen"),
    ("supergen", "supergen - selection"),
    ("supergen", "supergen - smoothing"),
    ("supergen", "supergen - ensembling"),
    ("supergen", "supergen - all three"),
    ("attrprompt", "simprompt"),
    ("regen", "regen, first round"),
]


def diversity(rows, task) -> dict[str, float]:
    """Return the vocabulary (distinct words) of the written column, and its texts' average pairwise similarity.

    The latter is the mean cosine over all pairs of MiniLM embeddings, (|sum e|^2 - N) / (N (N - 1)).
    """
    texts = rows[task.generated][:]
    vectors = torch.nn.functional.normalize(embeddings(texts)).double().numpy()
    count = len(vectors)
    similarity = (np.linalg.norm(vectors.sum(0)) ** 2 - count) / (count * (count - 1))
    words = {word for text in texts for word in text.lower().split()}
    return {"vocabulary": len(words), "aps": round(float(similarity), 4)}


def cells_of(path: Path) -> dict[str, dict[str, dict[int, dict]]]:
    """Return task -> method -> seed -> what was written of it."""
    cells: dict[str, dict[str, dict[int, dict]]] = defaultdict(lambda: defaultdict(dict))
    for line in map(json.loads, path.open()):
        task, method, seed = line["cell"]
        cells[task][method][seed] = line
    return cells


def show(path: Path) -> None:
    """Print the tables."""
    for task, methods in cells_of(path).items():
        print(f"\n### {task}\n\n| method | seeds | accuracy | ± | vocabulary | APS | asked | tokens |")
        print("|---|---|---|---|---|---|---|---|")
        for method, found in methods.items():
            print(_row(method, list(found.values())))
        print("\n| said to be better | than | accuracy, 95% | |\n|---|---|---|---|")
        for ours, theirs in ACCURACY:
            print(comparison(methods, ours, theirs), end="")
    print("\nIntervals resample test rows and seeds in pairs.")


def _row(method: str, found: list[dict]) -> str:
    accuracies = [np.mean(bits(line)) for line in found]
    spread = f"{np.std(accuracies, ddof=1):.4f}" if len(accuracies) > 1 else ""
    means = [
        f"{np.mean([line[key] for line in found]):.{digits}f}" if key in found[0] else ""
        for key, digits in (("vocabulary", 0), ("aps", 3), ("asked", 0), ("tokens", 0))
    ]
    return f"| {method} | {len(found)} | {np.mean(accuracies):.4f} | {spread} | {' | '.join(means)} |"


def comparison(methods: dict[str, dict[int, dict]], ours: str, theirs: str) -> str:
    """Return the line of two methods' difference; empty where they have no seed in common."""
    seeds = sorted(set(methods.get(ours, ())) & set(methods.get(theirs, ())))
    if not seeds:
        return ""
    pair = [np.array([bits(methods[name][seed]) for seed in seeds]) for name in (ours, theirs)]
    mean, low, high = difference(*pair)
    return (
        f"| {ours} | {theirs} | {mean:+.4f} ({low:+.4f} to {high:+.4f}) | {verdict(low, high)}, {len(seeds)} seeds |\n"
    )


def bits(line: dict) -> np.ndarray:
    """Return which test rows were right."""
    return np.array([int(bit) for bit in line["right"]])
