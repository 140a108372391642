"""Tables of what kinds.py wrote: scores, and whether students beat what is to beat, with paired intervals."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from noise_table import verdict

from hf_synth.baselines import dictionary
from hf_synth.bio import spans_of
from hf_synth.learners import learner
from hf_synth.produce import Plan
from hf_synth.reference import load_reference
from hf_synth.settings import SynthConfig

RESAMPLES = 2000
ORDER = [("msp", "few shots"), ("msp", "eda"), ("msp", "paraphrase"), ("eda", "few shots"), ("msp", "msp, pooling")]


def show(path: Path, references: dict[str, Path]) -> None:
    """Print a table of each task, and the difference to its baseline where that labels the same rows."""
    cells: dict[str, dict[str, dict[int, dict]]] = defaultdict(lambda: defaultdict(dict))
    for line in map(json.loads, path.open()):
        task, which, seed = line["cell"]
        for name, scores in line["scores"].items():
            cells[task][name][seed] = {**line, "scores": scores}
    for task, found in cells.items():
        kind = learner(Plan.of(SynthConfig(task=task)).task)
        names = (kind.metric, *kind.beside)
        print(f"\n### {task}\n\n| | seeds | rows learnt from | {' | '.join(names)} |")
        print("|---|---|---|" + "---|" * len(names))
        for which, seeds in found.items():
            print(_row(which, list(seeds.values()), names))
        for ours, theirs in ORDER:
            if seeds := sorted({*found.get(ours, ())} & {*found.get(theirs, ())}):
                pair = [[found[name][seed]["said"] for seed in seeds] for name in (ours, theirs)]
                print(_against(task, references[task], ours, theirs, *pair))
        if "dictionary of the prompts' names" in found and "generated" in found:
            print(_against_dictionary(task, references[task], [line["said"] for line in found["generated"].values()]))


def _row(which: str, lines: list[dict], names: tuple[str, ...]) -> str:
    shown = []
    for name in names:
        values = [line["scores"][name] for line in lines]
        spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
        shown.append(f"{np.mean(values):.4f}{spread}")
    rows = lines[0].get("rows", "")
    return f"| {which} | {len(lines)} | {rows} | {' | '.join(shown)} |"


def _against(task: str, reference: Path, ours: str, theirs: str, first: list, second: list) -> str:
    """Return the gain in micro F1 of some students over others, resampling texts and seeds in pairs."""
    own = Plan.of(SynthConfig(task=task)).task
    real = load_reference(own, str(reference)).data[own.label_column][:]
    tables = [[_counts(said, real) for said in part] for part in (first, second)]
    draws, gains = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        rows = draws.integers(0, len(real), len(real))
        seeds = draws.integers(0, len(first), len(first))
        gains.append(np.mean([_f1(tables[0][at][rows]) - _f1(tables[1][at][rows]) for at in seeds]))
    mean = np.mean([_f1(a) - _f1(b) for a, b in zip(*tables, strict=True)])
    low, high = np.quantile(gains, (0.025, 0.975))
    told = f"{mean:+.4f} ({low:+.4f} to {high:+.4f}), {len(first)} seeds: {verdict(low, high)}"
    return f"\nF1 of {ours} above {theirs}: {told}"


def _against_dictionary(task: str, reference: Path, said: list[list[list[str]]]) -> str:
    """Return the gain in F1 over the dictionary, resampling texts and seeds."""
    own = Plan.of(SynthConfig(task=task)).task
    judge = load_reference(own, str(reference))
    real = judge.data[own.label_column][:]
    base = _counts(dictionary(own, judge.data[own.generated]), real)
    ours = [_counts(tags, real) for tags in said]
    draws = np.random.default_rng(0)
    gains = []
    for _ in range(RESAMPLES):
        rows, seed = draws.integers(0, len(real), len(real)), draws.integers(0, len(ours))
        gains.append(_f1(ours[seed][rows]) - _f1(base[rows]))
    low, high = np.quantile(gains, (0.025, 0.975))
    mean = np.mean([_f1(table) for table in ours]) - _f1(base)
    return (
        f"\nOver the dictionary: {mean:+.4f} ({low:+.4f} to {high:+.4f}), {verdict(low, high)}, {len(ours)} seed(s)."
    )


def _counts(said: list[list[str]], real: list[list[str]]) -> np.ndarray:
    """Return right, said and real entities of each text's tags, or labels of its set, [N, 3]."""

    def those(row: list[str]) -> set:
        return set(spans_of(row)) if any(name == "O" or name[1:2] == "-" for name in row) else set(row)

    pairs = [(those(ours), those(theirs)) for ours, theirs in zip(said, real, strict=True)]
    return np.array([(len(ours & theirs), len(ours), len(theirs)) for ours, theirs in pairs])


def _f1(table: np.ndarray) -> float:
    hit, said, real = table.sum(0)
    return 2 * hit / (said + real) if said + real else 0.0
