"""Tables of what kinds.py wrote: scores, and whether students beat what is to beat, with paired intervals."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from noise_table import verdict

from hf_synth.bio import spans_of
from hf_synth.learners import learner
from hf_synth.metrics.squad import f1 as overlap
from hf_synth.produce import Plan
from hf_synth.reference import load_reference
from hf_synth.settings import SynthConfig
from hf_synth.task import Task

RESAMPLES = 2000
ORDER = [("msp", "few shots"), ("msp", "eda"), ("msp", "paraphrase"), ("eda", "few shots"), ("msp", "msp, pooling")]


def show(path: Path, references: dict[str, Path]) -> None:
    """Print a table of each task, and students' gains over its baselines and over each other."""
    cells: dict[str, dict[str, dict[int, dict]]] = defaultdict(lambda: defaultdict(dict))
    baselines: dict[str, dict] = {}
    for line in map(json.loads, path.open()):
        task, which, seed = line["cell"]
        if "places" in line:
            baselines[task] = line
        for name, scores in line["scores"].items():
            cells[task][name][seed] = {**line, "scores": scores}
    for name, found in cells.items():
        task = Plan.of(SynthConfig(task=name)).task
        kind = learner(task)
        metrics = (kind.metric, *kind.beside)
        print(f"\n### {name}\n\n| | seeds | rows learnt from | {' | '.join(metrics)} |")
        print("|---|---|---|" + "---|" * len(metrics))
        for which, seeds in found.items():
            print(_row(which, list(seeds.values()), metrics))
        real = load_reference(task, str(references[name])).data[task.label_column][:]
        for ours, theirs in ORDER:
            if seeds := sorted({*found.get(ours, ())} & {*found.get(theirs, ())}):
                pair = [[found[which][seed]["said"] for seed in seeds] for which in (ours, theirs)]
                print(_gain(task, real, range(len(real)), ours, theirs, *pair))
        generated = [line["said"] for line in found.get("generated", {}).values()]
        if generated and (line := baselines.get(name)):
            places = line["places"]
            students = [[said[at] for at in places] for said in generated]
            for theirs, said in line["said"].items():
                print(_gain(task, real, places, "generated", theirs, students, [said] * len(students)))


def _row(which: str, lines: list[dict], names: tuple[str, ...]) -> str:
    shown = []
    for name in names:
        values = [line["scores"][name] for line in lines]
        spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
        shown.append(f"{np.mean(values):.4f}{spread}")
    rows = lines[0].get("rows", "")
    return f"| {which} | {len(lines)} | {rows} | {' | '.join(shown)} |"


def _gain(
    task: Task, real: list[Any], places: Any, ours: str, theirs: str, first: list[list[Any]], second: list[list[Any]]
) -> str:
    """Return how much some students score above others on `places`, resampling texts and seeds in pairs."""
    known = [real[at] for at in places]
    tables = [[_by_row(task, said, known) for said in part] for part in (first, second)]
    draws, gains = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        rows = draws.integers(0, len(known), len(known))
        seeds = draws.integers(0, len(first), len(first))
        gains.append(np.mean([_score(tables[0][at][rows]) - _score(tables[1][at][rows]) for at in seeds]))
    mean = np.mean([_score(a) - _score(b) for a, b in zip(*tables, strict=True)])
    low, high = np.quantile(gains, (0.025, 0.975))
    told = f"{mean:+.4f} ({low:+.4f} to {high:+.4f}), {len(known)} rows, {len(first)} seeds: {verdict(low, high)}"
    return f"\n{learner(task).metric} of {ours} above {theirs}: {told}"


def _by_row(task: Task, said: list[Any], real: list[Any]) -> np.ndarray:
    """Return right, said and real entities or labels of each row, [N, 3], or how right its answer is, [N]."""
    pairs = zip(said, real, strict=True)
    if task.kind in ("tokens", "multi_label"):
        those = spans_of if task.kind == "tokens" else list
        sets = ((set(those(ours)), set(those(theirs))) for ours, theirs in pairs)
        return np.array([(len(ours & theirs), len(ours), len(theirs)) for ours, theirs in sets])
    if task.kind == "qa":
        return np.array([max(overlap(ours["text"][0], text) for text in theirs["text"]) for ours, theirs in pairs])
    return np.array([float(ours == theirs) for ours, theirs in pairs])


def _score(table: np.ndarray) -> float:
    if table.ndim == 1:
        return float(table.mean())
    hit, said, real = table.sum(0)
    return 2 * hit / (said + real) if said + real else 0.0
