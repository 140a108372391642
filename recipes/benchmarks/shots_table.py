"""Tables of what shots.py wrote: accuracy, what was tuned at what cost, and whether the paper's orderings hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from methods_table import bits, cells_of, comparison

# The paper's orderings and the bars of this project: the first should be better than the second.
ORDER = [
    ("fewgen, rows alone", "zerogen"),
    ("zerogen + few shots", "few shots"),
    ("fewgen", "few shots"),
    ("fewgen", "zerogen + few shots"),
    ("fewgen", "fewgen - selection"),
    ("fewgen", "fewgen - meta weighting"),
    ("fewgen + ensembling", "fewgen"),
    ("fewgen", "fewgen, rows alone"),
    ("lora", "zerogen + few shots"),
    ("prefix", "zerogen + few shots"),
    ("bias", "zerogen + few shots"),
    ("lora, dpo", "lora"),
]


def show(path: Path) -> None:
    """Print the tables."""
    for task, methods in cells_of(path).items():
        print(f"\n### {task}\n\n| | seeds | accuracy | ± | vocabulary | APS | parameters | tuning s | copies |")
        print("|---|---|---|---|---|---|---|---|---|")
        for method, found in methods.items():
            print(_row(method, list(found.values())))
        print("\n| should be better | than | accuracy, 95% | |\n|---|---|---|---|")
        for ours, theirs in ORDER:
            print(comparison(methods, ours, theirs), end="")
    print("\nIntervals resample test rows and seeds in pairs.")


def _row(method: str, found: list[dict]) -> str:
    accuracies = [np.mean(bits(line)) for line in found]
    spread = f"{np.std(accuracies, ddof=1):.4f}" if len(accuracies) > 1 else ""
    adapters = [line["adapter"] for line in found if "adapter" in line]
    shown = [
        f"{np.mean([line['vocabulary'] for line in found]):.0f}",
        f"{np.mean([line['aps'] for line in found]):.3f}",
        f"{adapters[0]['parameters']:,}" if adapters else "",
        f"{np.mean([one['seconds'] for one in adapters]):.0f}" if adapters else "",
        " ".join(str(copied(line)) for line in found if "few shots" in line.get("notes", {})),
    ]
    return f"| {method} | {len(found)} | {np.mean(accuracies):.4f} | {spread} | {' | '.join(shown)} |"


def copied(line: dict) -> int:
    """Return how many texts were copies of a shot."""
    return line["notes"]["few shots"]["verbatim copies of a row learnt from, dropped"]
