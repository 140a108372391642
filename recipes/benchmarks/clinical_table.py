"""Tables of what clinical.py wrote: scores, and what generated rows gain over the real ones alone."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from hf_synth.bio import spans_of
from hf_synth.metrics.entities import f1
from hf_synth.produce import Plan
from hf_synth.reference import load_reference
from hf_synth.settings import SynthConfig

RESAMPLES = 2000


def show(lines: Path, data: Path, split: str) -> None:
    """Print a row for each way, with F1 and its gains, of 95 % intervals, over real rows alone and over `names`."""
    cells: dict[tuple, dict[int, dict]] = defaultdict(dict)
    for line in map(json.loads, lines.open()):
        *cell, seed = line["cell"]
        cells[tuple(cell)][seed] = line
    print(f"Judged on the split {split}.\n")
    print("| task | real sentences | rows | how | seeds | precision | recall | F1 | over real alone | over `names` |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for (task, size, made, how), found in sorted(cells.items(), key=lambda one: [str(part) for part in one[0]]):
        scores = [line["scores"] for line in found.values()]
        shown = " | ".join(f"{np.mean([own[name] for own in scores]):.3f}" for name in ("precision", "recall", "f1"))
        gains = []
        for against in [("", "real"), ("names", how)]:
            other = cells.get((task, size, *against), {}) if (made, how) != against else {}
            seeds = [seed for seed in found if seed in other]
            gains.append(_gain(task, data, split, found, other, seeds) if seeds else "")
        print(f"| {task} | {size} | {made or 'none'} | {how} | {len(found)} | {shown} | {' | '.join(gains)} |")


def _gain(task: str, data: Path, split: str, ours: dict, theirs: dict, seeds: list[int]) -> str:
    """Return the gain in F1, resampling texts and seeds in pairs."""
    known = Plan.of(SynthConfig(task=task)).task
    real = load_reference(known, str(data / task), split).data[known.label_column][:]
    tables = [[_counts(part[seed]["said"], real) for seed in seeds] for part in (ours, theirs)]
    draws, gains = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        rows, drawn = draws.integers(0, len(real), len(real)), draws.integers(0, len(seeds), len(seeds))
        mine, other = (np.mean([f1(*part[at][rows].sum(0)) for at in drawn]) for part in tables)
        gains.append(mine - other)
    mine, other = (np.mean([f1(*table.sum(0)) for table in part]) for part in tables)
    low, high = np.quantile(gains, (0.025, 0.975))
    return f"{mine - other:+.3f} ({low:+.3f} to {high:+.3f})"


def _counts(said: list, real: list) -> np.ndarray:
    """Return right, predicted and real entities of each text, [N, 3]."""
    spans = [(set(spans_of(ours)), set(spans_of(theirs))) for ours, theirs in zip(said, real, strict=True)]
    return np.array([(len(ours & theirs), len(ours), len(theirs)) for ours, theirs in spans])
