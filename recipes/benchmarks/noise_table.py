"""Tables of what noise.py wrote: accuracy, the share of the gap to clean labels that is closed, flip detection."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

RESAMPLES = 2000
SEEDS = (0, 1, 2)


def difference(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """Return the mean accuracy difference and its 95% interval, resampling test rows and seeds in pairs; [S, N]."""
    random = np.random.default_rng(0)
    gains = ours.astype(float) - theirs
    found = []
    for _ in range(RESAMPLES):
        seeds = random.integers(0, len(gains), len(gains))
        rows = random.integers(0, gains.shape[1], gains.shape[1])
        found.append(gains[seeds][:, rows].mean())
    low, high = np.percentile(found, [2.5, 97.5])
    return float(gains.mean()), float(low), float(high)


def packed(right: np.ndarray) -> str:
    """Return a bit for each row, in hexadecimal digits."""
    return np.packbits(right).tobytes().hex()


def unpacked(digits: str, count: int) -> np.ndarray:
    """Return what was packed: 0 or 1 for each of so many rows."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(digits), np.uint8), count=count)


def auroc(flipped: np.ndarray, scores: np.ndarray) -> float | None:
    """Return how well low scores tell flipped rows from others: the area under the ROC curve, ties counted half."""
    from scipy.stats import rankdata

    count = flipped.sum()
    if count in (0, len(flipped)):
        return None
    ranks = rankdata(-scores)
    return float((ranks[flipped].sum() - count * (count + 1) / 2) / (count * (len(flipped) - count)))


def verdict(low: float, high: float) -> str:
    """Say whether a difference holds."""
    return "holds" if low > 0 else "reversed" if high < 0 else "not shown"


def show(path: Path, plan: Sequence[tuple], wanted: Sequence[str]) -> None:
    """Print the tables, and which cells of the plan are missing.

    Args:
        path: What noise.py wrote.
        plan: Student, data set, noise and seed of every cell.
        wanted: What each of them has a line for.
    """
    right: dict[tuple, dict[int, np.ndarray]] = defaultdict(dict)
    areas: dict[tuple, list[float]] = defaultdict(list)
    groups: dict[tuple, set[str]] = defaultdict(set)
    for line in map(json.loads, path.open()):
        student, dataset, noise, seed, group = line["cell"]
        groups[student, dataset, noise, seed].add(group)
        for name, found in line["methods"].items():
            if found["right"]:
                right[student, dataset, noise, name][seed] = unpacked(found["right"], line["tests"])
            if found.get("auroc") is not None:
                areas[student, dataset, noise, name].append(found["auroc"])
    for place in dict.fromkeys(key[:3] for key in right):
        _accuracies(place, right)
    _detection(areas)
    for place in dict.fromkeys(key[:3] for key in plan):
        gone = {key[3]: [name for name in wanted if name not in groups[key]] for key in plan if key[:3] == place}
        if none := [seed for seed, names in gone.items() if len(names) == len(wanted)]:
            print(f"missing: {place}: seeds {none}")
        for seed, names in gone.items():
            if names and seed not in none:
                print(f"missing: {(*place, seed)}: {', '.join(names)}")


def _accuracies(place: tuple, right: dict[tuple, dict[int, np.ndarray]]) -> None:
    print(f"\n### {' · '.join(place)}\n\n| method | seeds | accuracy | ± | minus plain, 95% | | gap closed |")
    print("|---|---|---|---|---|---|---|")
    base, clean = right[(*place, "plain")], right.get((*place[:2], "clean", "plain"), {})
    for key, found in right.items():
        seeds = sorted(set(found) & set(base))
        if key[:3] != place or not seeds:
            continue
        ours, theirs = (np.stack([group[seed] for seed in seeds]) for group in (found, base))
        gain, low, high = difference(ours, theirs)
        closed = ""
        if place[2] != "clean" and set(seeds) <= set(clean):
            gap = np.mean([clean[seed].mean() for seed in seeds]) - theirs.mean()
            closed = f"{gain / gap:.0%} of {gap:.3f}" if gap > 0.005 else f"no gap ({gap:.3f})"
        accuracy = ours.mean(1)
        what = "" if key[3] == "plain" else f"{gain:+.4f} ({low:+.4f} to {high:+.4f})"
        say = "" if key[3] == "plain" else verdict(low, high)
        print(
            f"| {key[3]} | {len(seeds)} | {accuracy.mean():.4f} | {accuracy.std():.4f} | {what} | {say} | {closed} |"
        )


def _detection(areas: dict[tuple, list[float]]) -> None:
    names = list(dict.fromkeys(key[3] for key in areas))
    print("\n### AUROC of low scores as a detector of flipped rows (mean over seeds)\n")
    print(f"| student, data, noise | {' | '.join(names)} |")
    print(f"|---|{'---|' * len(names)}")
    for place in dict.fromkeys(key[:3] for key in areas):
        cells = [areas.get((*place, name)) for name in names]
        print(f"| {' '.join(place)} | {' | '.join(f'{np.mean(c):.3f}' if c else '' for c in cells)} |")
