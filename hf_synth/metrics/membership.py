"""Membership inference against synthetic rows, as an `evaluate` measurement that loads by path."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_synth.metrics.closest_record import checked, enough, nearest

_DESCRIPTION = """Membership inference by distance (Chen et al. 2020, https://huggingface.co/papers/1909.03935): an
attacker who has the synthetic rows, and no access to the generator, takes the real rows nearest to a synthetic one for
those that were learnt from.

score(x) = -min over synthetic s of mean_j |x_j - s_j|      over shared cells, as in `closest_record`

auc:      area under the ROC curve of telling training rows (members) from the holdout's by score, ties counted half.
          0.5: the attacker guesses; 1: knows. Its 95 % interval is the percentile bootstrap's over members and others.
tpr_10:   share of the members that the attacker finds where a tenth of the others are wrongly taken for members,
          between two points of the curve where equal scores leave none there; 0.1 is guessing.
A low figure clears the synthetic rows of this attack, not of every one.
"""
DRAWS = 500


def auc(members: ArrayLike, others: ArrayLike) -> float:
    """Return the probability that a member's score is above another's, ties counted half.

    Args:
        members: Scores, [M].
        others: Scores, [H].
    """
    own, rest = np.asarray(members, np.float64), np.sort(np.asarray(others, np.float64))
    below, upto = np.searchsorted(rest, own, "left"), np.searchsorted(rest, own, "right")
    return float((below + upto).mean() / (2 * len(rest)))


def _found(members: NDArray, others: NDArray, wrongly: float) -> float:
    """Return the share of the members that is found where so many of the others are taken for members."""
    limits = np.unique(np.concatenate([members, others]))[::-1]
    found, wrong = (1 - np.searchsorted(np.sort(part), limits) / len(part) for part in (members, others))
    return float(np.interp(wrongly, [0, *wrong], [0, *found]))


def _interval(members: NDArray, others: NDArray, seed: int) -> list[float]:
    draw = np.random.default_rng(seed)
    found = [auc(draw.choice(members, len(members)), draw.choice(others, len(others))) for _ in range(DRAWS)]
    return [float(value) for value in np.quantile(found, [0.025, 0.975])]


def membership(
    synthetic: ArrayLike, train: ArrayLike, holdout: ArrayLike, *, counted: ArrayLike | None = None, seed: int = 0
) -> dict[str, Any]:
    """Return how well the rows that were learnt from can be told from others by the synthetic rows.

    Args:
        synthetic: [N, D].
        train: What was learnt from, [M, D].
        holdout: Rows of the same source that were not, [H, D].
        counted: See `closest_record.nearest`.
        seed: Of the interval.

    Raises:
        InputError: For tables that cannot be compared.
    """
    rows, learnt, apart = checked(data=synthetic, train=train, holdout=holdout)
    least = enough(learnt, counted)
    members, others = (-nearest(part, rows, counted, least) for part in (learnt, apart))
    return {
        "rows": len(rows),
        "train_rows": len(learnt),
        "holdout_rows": len(apart),
        "auc": auc(members, others),
        "auc_interval": _interval(members, others, seed),
        "tpr_10": _found(members, others, 0.1),
    }


class Membership(evaluate.Measurement):
    """Measures rows of numbers; `train` and `holdout` are rows likewise."""

    def _info(self) -> evaluate.MeasurementInfo:
        return evaluate.MeasurementInfo(
            _DESCRIPTION, "", datasets.Features({"data": datasets.List(datasets.Value("float64"))})
        )

    def _compute(
        self, data: list[list[float]], train: list[list[float]], holdout: list[list[float]], seed: int = 0
    ) -> dict:
        return membership(data, train, holdout, seed=seed)
