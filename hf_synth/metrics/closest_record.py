"""Distance of synthetic rows to the closest real ones, as an `evaluate` measurement that loads by path."""

from __future__ import annotations

from functools import partial
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_synth.errors import InputError
from hf_synth.metrics.classification import wilson
from hf_synth.metrics.sampling import bootstrap

_DESCRIPTION = """Distance to closest record (DCR; Zhao et al. 2021, https://huggingface.co/papers/2102.08369): how
near synthetic rows lie to the rows that were learnt from, beside rows of the same source that were not.

dcr(x, R) = min over r in R of mean_j |x_j - r_j|     numbers are expected in [0, 1], categories as 1/2 in two places

The mean is over the cells that both rows hold, as in Gower (1971, https://doi.org/10.2307/2528823); a missing one is
NaN. So a row that fills the holes of another is its copy. Two rows that share fewer cells than half of what a training
row holds (the median) are at distance 1: what so few tell is chance.

copies:   share of synthetic rows at distance 0 from a training row; `holdout_copies` of the holdout's rows, which are
          such by chance. 0 to 1, lower is better.
dcr, dcr_5: mean, and 5 % quantile, of dcr(synthetic, train); `holdout_dcr`, `holdout_dcr_5` of dcr(holdout, train): a
          synthetic set that is nearer to the training rows than real rows are gives them away.
nearer:   share of synthetic rows that are nearer to the training rows than to the holdout's, of which as many are
          drawn as there are of the fewer; equally near counts half. 0.5 where nothing was memorised, 1 is worst.
Intervals of 95 %: Wilson's for shares, the bootstrap's over synthetic rows for the mean.
"""
BLOCK = 256


def nearest(
    rows: ArrayLike, others: ArrayLike, counted: ArrayLike | None = None, least: float = 1
) -> NDArray[np.float64]:
    """Return each row's distance to the closest of others, [N].

    Args:
        rows: [N, D]; NaN where a cell is missing.
        others: [M, D].
        counted: 1 for a place that counts as a cell, [D]: one of each category's; all where left out.
        least: Rows that share fewer cells are at distance 1.
    """
    own, theirs = np.asarray(rows, np.float64), np.asarray(others, np.float64)
    there, found = _held(theirs, counted), []
    holes = bool(np.isnan(own).any() or np.isnan(theirs).any())
    for at in range(0, len(own), BLOCK):
        part = own[at : at + BLOCK]
        both = _held(part, None) @ there.T
        apart = _apart(part, theirs, holes)
        found.append(np.where(both >= max(least, 1), apart / np.maximum(both, 1), 1.0).min(1))
    return np.concatenate(found)


def _apart(rows: NDArray[np.float64], others: NDArray[np.float64], holes: bool) -> NDArray[np.float64]:
    """Return the sum of differences over the cells that both hold, [N, M]; quicker where none of all is missing."""
    if not holes:
        import torch

        return torch.cdist(torch.from_numpy(rows), torch.from_numpy(others), p=1).numpy()
    apart = np.zeros((len(rows), len(others)))
    for mine, other in zip(rows.T, others.T, strict=True):
        apart += np.nan_to_num(np.abs(mine[:, None] - other))
    return apart


def enough(train: ArrayLike, counted: ArrayLike | None = None) -> float:
    """Return how many cells two rows must share to be compared: half of what the median training row holds."""
    return float(np.median(_held(np.asarray(train, np.float64), counted).sum(1))) / 2


def _held(rows: NDArray[np.float64], counted: ArrayLike | None) -> NDArray[np.float64]:
    """Return where rows hold a cell that counts, [N, D]."""
    return ~np.isnan(rows) * (1.0 if counted is None else np.asarray(counted, np.float64))


def checked(**tables: ArrayLike) -> list[NDArray[np.float64]]:
    """Return tables as arrays of one width.

    Raises:
        InputError: If one is empty, holds something infinite, or has another width.
    """
    found: list[NDArray[np.float64]] = []
    for name, table in tables.items():
        rows = np.asarray(table, np.float64)
        if rows.ndim != 2 or not rows.size or np.isinf(rows).any():
            allowed = "a row or more of finite numbers, NaN where one is missing"
            raise InputError(f"`{name}` must be {allowed}; got shape {rows.shape}")
        if found and rows.shape[1] != found[0].shape[1]:
            raise InputError(f"`{name}` has {rows.shape[1]} columns; the synthetic rows have {found[0].shape[1]}")
        found.append(rows)
    return found


def closest_record(
    synthetic: ArrayLike, train: ArrayLike, holdout: ArrayLike, *, counted: ArrayLike | None = None, seed: int = 0
) -> dict[str, Any]:
    """Return how near synthetic rows lie to training rows, beside a holdout.

    Args:
        synthetic: [N, D].
        train: What was learnt from, [M, D].
        holdout: Rows of the same source that were not, [H, D].
        counted: See `nearest`.
        seed: Draws as many rows of the larger of the two.

    Raises:
        InputError: For tables that cannot be compared.
    """
    rows, learnt, apart = checked(data=synthetic, train=train, holdout=holdout)
    to = partial(nearest, counted=counted, least=enough(learnt, counted))
    own, real = to(rows, learnt), to(apart, learnt)
    draw, few = np.random.default_rng(seed), min(len(learnt), len(apart))
    some, others = (part[draw.choice(len(part), few, replace=False)] for part in (learnt, apart))
    near, far = to(rows, some), to(rows, others)
    wins, same = int((near < far).sum()), int((near == far).sum())
    copies, chance = int((own == 0).sum()), int((real == 0).sum())
    return {
        "rows": len(rows),
        "train_rows": len(learnt),
        "holdout_rows": len(apart),
        "copies": copies / len(rows),
        "copies_interval": list(wilson(copies, len(rows))),
        "holdout_copies": chance / len(apart),
        "dcr": float(own.mean()),
        "dcr_interval": list(bootstrap(own, seed=seed)),
        "dcr_5": float(np.quantile(own, 0.05)),
        "holdout_dcr": float(real.mean()),
        "holdout_dcr_5": float(np.quantile(real, 0.05)),
        "nearer": (wins + same / 2) / len(rows),
        "nearer_interval": list(wilson(wins + same / 2, len(rows))),
        "compared_with": few,
    }


class ClosestRecord(evaluate.Measurement):
    """Measures rows of numbers; `train` and `holdout` are rows likewise."""

    def _info(self) -> evaluate.MeasurementInfo:
        return evaluate.MeasurementInfo(
            _DESCRIPTION, "", datasets.Features({"data": datasets.List(datasets.Value("float64"))})
        )

    def _compute(
        self, data: list[list[float]], train: list[list[float]], holdout: list[list[float]], seed: int = 0
    ) -> dict:
        return closest_record(data, train, holdout, seed=seed)
