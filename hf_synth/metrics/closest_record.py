"""Distance of synthetic rows to the closest real ones, as an `evaluate` measurement that loads by path."""

from __future__ import annotations

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

copies:   share of synthetic rows at distance 0 from a training row; `holdout_copies` of the holdout's rows, which are
          such by chance. 0 to 1, lower is better.
dcr, dcr_5: mean, and 5 % quantile, of dcr(synthetic, train); `holdout_dcr`, `holdout_dcr_5` of dcr(holdout, train): a
          synthetic set that is nearer to the training rows than real rows are gives them away.
nearer:   share of synthetic rows that are nearer to the training rows than to the holdout's, of which as many are
          drawn as there are of the fewer; equally near counts half. 0.5 where nothing was memorised, 1 is worst.
Intervals of 95 %: Wilson's for shares, the bootstrap's over synthetic rows for the mean.
"""
BLOCK = 256


def nearest(rows: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """Return each row's distance to the closest of others, [N].

    Args:
        rows: [N, D].
        others: [M, D].
    """
    own, theirs = np.asarray(rows, np.float64), np.asarray(others, np.float64)
    parts = [np.abs(own[at : at + BLOCK, None] - theirs[None]).mean(-1).min(1) for at in range(0, len(own), BLOCK)]
    return np.concatenate(parts)


def checked(**tables: ArrayLike) -> list[NDArray[np.float64]]:
    """Return tables as arrays of one width.

    Raises:
        InputError: If one is empty, holds something that is no number, or has another width.
    """
    found: list[NDArray[np.float64]] = []
    for name, table in tables.items():
        rows = np.asarray(table, np.float64)
        if rows.ndim != 2 or not rows.size or not np.isfinite(rows).all():
            raise InputError(f"`{name}` must be a row or more of finite numbers; got shape {rows.shape}")
        if found and rows.shape[1] != found[0].shape[1]:
            raise InputError(f"`{name}` has {rows.shape[1]} columns; the synthetic rows have {found[0].shape[1]}")
        found.append(rows)
    return found


def closest_record(synthetic: ArrayLike, train: ArrayLike, holdout: ArrayLike, *, seed: int = 0) -> dict[str, Any]:
    """Return how near synthetic rows lie to training rows, beside a holdout.

    Args:
        synthetic: [N, D].
        train: What was learnt from, [M, D].
        holdout: Rows of the same source that were not, [H, D].
        seed: Draws as many rows of the larger of the two.

    Raises:
        InputError: For tables that cannot be compared.
    """
    rows, learnt, apart = checked(data=synthetic, train=train, holdout=holdout)
    own, real = nearest(rows, learnt), nearest(apart, learnt)
    draw, few = np.random.default_rng(seed), min(len(learnt), len(apart))
    some, others = (part[draw.choice(len(part), few, replace=False)] for part in (learnt, apart))
    near, far = nearest(rows, some), nearest(rows, others)
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
        "nearer_interval": list(wilson(round(wins + same / 2), len(rows))),
        "compared_with": few,
    }


class ClosestRecord(evaluate.Measurement):
    """Measures rows of numbers; `train` and `holdout` are rows likewise."""

    def _info(self) -> evaluate.MeasurementInfo:
        return evaluate.MeasurementInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description="",
            features=datasets.Features({"data": datasets.List(datasets.Value("float64"))}),
        )

    def _compute(
        self, data: list[list[float]], train: list[list[float]], holdout: list[list[float]], seed: int = 0
    ) -> dict:
        return closest_record(data, train, holdout, seed=seed)
