"""Tables of what tables.py wrote: masked-cell error, AUROC, coverage, each with its interval."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hf_synth.metrics.classification import wilson
from hf_synth.metrics.membership import auc

RESAMPLES = 1000
Line = dict[str, Any]


def nrmse(lines: Sequence[Line], method: str, rows: Sequence[np.ndarray]) -> float:
    """Return the root mean squared error of masked cells in standard deviations of their column, mean over columns.

    Args:
        lines: One of each seed.
        method: An imputer.
        rows: How often each test row counts, [N], of each seed.
    """
    squares, counts = defaultdict(float), defaultdict(float)
    for line, times in zip(lines, rows, strict=True):
        weights = times[np.array(line["rows"], int)]
        columns, errors = np.array(line["columns"]), np.array(line["errors"][method])
        for column in range(len(line["names"])):
            hit = columns == column
            squares[column] += float((weights[hit] * errors[hit] ** 2).sum())
            counts[column] += float(weights[hit].sum())
    return float(np.mean([np.sqrt(squares[column] / counts[column]) for column in squares if counts[column]]))


def auroc(lines: Sequence[Line], method: str, rows: Sequence[np.ndarray]) -> float:
    """Return the area under the ROC curve, mean over seeds; see `nrmse`."""
    found = []
    for line, times in zip(lines, rows, strict=True):
        labels, scores = np.repeat(line["labels"], times), np.repeat(line["scores"][method], times)
        found.append(auc(scores[labels], scores[~labels]))
    return float(np.mean(found))


def resampled(lines: Sequence[Line], measure: Callable[[list[np.ndarray]], float]) -> tuple[float, float, float]:
    """Return a figure and its 95 % interval, from resampled test rows, the same of every seed."""
    random, size = np.random.default_rng(0), len(lines[0]["labels"])
    draws = [np.bincount(random.integers(0, size, size), minlength=size) for _ in range(RESAMPLES)]
    found = [measure([times] * len(lines)) for times in draws]
    low, high = np.percentile(found, [2.5, 97.5])
    return measure([np.ones(size, int)] * len(lines)), float(low), float(high)


def _by_share(lines: Sequence[Line]) -> dict[float, list[Line]]:
    found = defaultdict(list)
    for line in sorted(lines, key=lambda one: (one["share"], one["seed"])):
        found[line["share"]].append(line)
    return found


def _figure(figure: tuple[float, float, float]) -> str:
    return f"{figure[0]:.3f} ({figure[1]:.3f} to {figure[2]:.3f})"


def _gain(figure: tuple[float, float, float]) -> str:
    sure = "" if figure[1] <= 0 <= figure[2] else " *"
    return f"{figure[0]:+.3f} ({figure[1]:+.3f} to {figure[2]:+.3f}){sure}"


def _row(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def show(lines: Sequence[Line]) -> str:
    """Return the tables of imputers."""
    parts, shares = [], _by_share(lines)
    methods = [name for name in lines[0]["errors"] if name != "ours"]
    head = ["masked", "seeds", "cells", "ours", *(f"ours less {name}" for name in methods), "covered by 90 %"]
    parts += [
        "Error of masked test cells, in standard deviations of the column\n",
        _row(head),
        _row(["---"] * len(head)),
    ]
    for share, own in shares.items():
        if not share:
            continue
        cells = sum(len(line["rows"]) for line in own)
        line = [f"{share:.0%}", len(own), cells, _figure(resampled(own, lambda rows, o=own: nrmse(o, "ours", rows)))]
        for name in methods:
            line.append(_gain(resampled(own, lambda rows, o=own, n=name: nrmse(o, "ours", rows) - nrmse(o, n, rows))))
        covered = [hit for one in own for hit in one["covered"]]
        low, high = wilson(sum(covered), len(covered))
        parts.append(_row([*line, f"{np.mean(covered):.3f} ({low:.3f} to {high:.3f})"]))
    scores = sorted({name for line in lines for name in line["scores"] if name != "ours"})
    head = ["masked", "ours", *(f"ours less {name}" for name in scores)]
    parts += ["\nAUROC of a logistic regression on the completed test rows\n", _row(head), _row(["---"] * len(head))]
    for share, own in shares.items():
        line = [f"{share:.0%}" if share else "none: natural holes"]
        line.append(_figure(resampled(own, lambda rows, o=own: auroc(o, "ours", rows))))
        for name in scores:
            known = name in own[0]["scores"]
            gain = known and resampled(own, lambda rows, o=own, n=name: auroc(o, "ours", rows) - auroc(o, n, rows))
            line.append(_gain(gain) if gain else "")
        parts.append(_row(line))
    seconds = {name: np.mean([line["seconds"][name] for line in lines]) for name in lines[0]["seconds"]}
    parts.append("\nSeconds: " + ", ".join(f"{name} {took:.2g}" for name, took in seconds.items()))
    parts.append(f"Cells left empty: {sum(line['empty'] for line in lines)}")
    parts.append("`*`: the 95 % interval (test rows resampled in pairs, the same of every seed) leaves out 0.")
    return "\n".join(parts)


def show_minority(lines: Sequence[Line]) -> str:
    """Return the table of rows of the minority class."""
    head = ["classifier, train rows", "AUROC", "less as they are"]
    parts = [_row(head), _row(["---"] * 3)]
    for name in lines[0]["scores"]:
        plain = f"{name.partition(',')[0]}, as they are"
        own = resampled(lines, lambda rows, n=name: auroc(lines, n, rows))
        gain = resampled(lines, lambda rows, n=name, p=plain: auroc(lines, n, rows) - auroc(lines, p, rows))
        parts.append(_row([name, _figure(own), "" if name == plain else _gain(gain)]))
    near, attack = ([line["privacy"][key] for line in lines] for key in ("closest_record", "membership"))
    parts.append(f"\n{np.mean([line['written'] for line in lines]):.0f} rows written; mean over {len(lines)} seeds of")
    for told, key in (
        (near, "copies"),
        (near, "dcr"),
        (near, "holdout_dcr"),
        (near, "nearer"),
        (attack, "auc"),
        (attack, "tpr_10"),
    ):
        parts.append(f"- `{key}` {np.mean([one[key] for one in told]):.3f}")
    return "\n".join(parts)
