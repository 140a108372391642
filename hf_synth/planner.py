"""How many rows each label gets next: more where a classifier errs on real rows, and where these are few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from .config import strict
from .retrieval.settings import ENCODER
from .trainers.selection import calibrate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
RIDGE = 1.0


@strict
class PlanConfig:
    """What decides how many rows each label gets.

    Attributes:
        allocation: `planned` by error and count, `inverse` to the real rows of a label, or `uniform`.
        prior: How much labels matter: all the same (`uniform`, for macro scores), or as often as they are (`natural`).
        sharpness: Power of the error in `planned`.
        certainty: Real rows of a label at which its own error counts as much as that of all labels.
        planner: Encodes texts for the classifier whose error it is.
    """

    allocation: Literal["planned", "inverse", "uniform"] = "planned"
    prior: Literal["uniform", "natural"] = "uniform"
    sharpness: float = Field(2.0, ge=0)
    certainty: float = Field(5.0, ge=0)
    planner: str = ENCODER


def left_out(vectors: NDArray, labels: Ints, classes: int, judged: int) -> Floats:
    """Return log-probabilities of the first rows, each by a classifier that learnt all rows but it, [judged, K].

    Ridge regression on one indicator a class: what it would say of a row without having seen it follows from the hat
    matrix, y - (y - f) / (1 - h), so nothing is trained again. Rows of a class of n weigh n^-1/2; the scores are
    calibrated on the rows themselves.

    Args:
        vectors: Embeddings, [N, D].
        labels: Classes of all rows, [N].
        classes: K.
        judged: Rows that are judged: the real ones, which come first.
    """
    scale = np.bincount(labels, minlength=classes)[labels] ** -0.25  # the root of a row's weight
    scale = (scale / np.sqrt((scale**2).mean()))[:, None]
    table = scale * np.hstack([np.asarray(vectors, dtype=np.float64), np.full((len(vectors), 1), 0.3)])
    wanted = np.full((len(labels), classes), -1.0 / classes)
    wanted[np.arange(len(labels)), labels] = 1.0
    inverse = np.linalg.solve(table.T @ table + RIDGE * np.eye(table.shape[1]), table.T)
    fitted = table @ (inverse @ (wanted * scale)) / scale
    hat = np.einsum("nd,dn->n", table, inverse)
    scores = wanted - (wanted - fitted) / (1 - hat)[:, None]
    scores = scores[:judged] / calibrate(scores[:judged], labels[:judged])
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


def label_errors(told: Floats, labels: Ints, certainty: float) -> Floats:
    """Return the error of each label, [K]: the mean probability that its real rows are given to others.

    Few rows say little: the error of all labels counts as `certainty` further rows of each.
    """
    classes = told.shape[1]
    missed = 1 - np.exp(told[np.arange(len(labels)), labels])
    counts, sums = np.bincount(labels, minlength=classes), np.bincount(labels, missed, classes)
    overall = (sums / np.maximum(counts, 1)).mean()
    return (sums + certainty * overall) / np.maximum(counts + certainty, 1e-9)


def shares(config: PlanConfig, counts: Ints, errors: Floats | None) -> Floats:
    """Return each label's share of all rows to write, [K].

    `planned` is prior * error^sharpness / real rows: where a classifier errs, and a further row is a large part of
    what is there.

    Args:
        config: See `PlanConfig`.
        counts: Real rows of each label, [K], 1 or more.
        errors: Of `planned`: see `label_errors`.
    """
    wanted = {"uniform": np.ones(len(counts)), "inverse": 1 / counts, "planned": 1 / counts}[config.allocation]
    if config.allocation == "planned" and errors is not None:
        wanted = wanted * errors**config.sharpness * (counts if config.prior == "natural" else 1)
    return wanted / wanted.sum()


def allotted(size: int, wanted: Floats, written: Sequence[int]) -> list[int]:
    """Return how many of the next rows each label gets, so that all written come nearest to their shares.

    Args:
        size: Rows to allot.
        wanted: The shares, [K].
        written: Rows that each label has.
    """
    lacking = wanted * (sum(written) + size) - np.asarray(written)
    found = [0] * len(written)
    for _ in range(size):
        at = int(lacking.argmax())
        found[at] += 1
        lacking[at] -= 1
    return found


def judged(
    vectors: NDArray, labels: Ints, classes: int, real: int, certainty: float
) -> tuple[Floats, Mapping[str, Any]]:
    """Return the error of each label, and the figures of a round: mean recall of the labels on real rows."""
    told = left_out(vectors, labels, classes, real)
    own = labels[:real]
    right = np.bincount(own, told.argmax(1) == own, classes) / np.maximum(np.bincount(own, minlength=classes), 1)
    return label_errors(told, own, certainty), {"recall": float(right.mean())}
