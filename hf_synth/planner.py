"""How many rows each label gets next: more where a classifier errs on real rows, and where these are few."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from .config import strict
from .errors import InputError, unknown
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
        prior: Of `planned`: how much labels matter: all the same (`uniform`, for macro scores), as often as they are
            (`natural`), or a mapping of each label to its share of what is to come.
        sharpness: Power of the error in `planned`.
        certainty: Real rows of a label at which its own error counts as much as that of all labels.
        planner: Encodes texts for the classifier whose error it is.
    """

    allocation: Literal["planned", "inverse", "uniform"] = "planned"
    prior: Literal["uniform", "natural"] | dict[str, float] = "uniform"
    sharpness: float = Field(2.0, ge=0)
    certainty: float = Field(5.0, ge=0)
    planner: str = ENCODER
    read_by: ClassVar = {"prior": ("allocation", ("planned",))}


def check_prior(config: PlanConfig, labels: Collection[str]) -> None:
    """Refuse a prior by label that is none.

    Raises:
        InputError: For a label that the task does not have, and for one without a share above 0.
    """
    if isinstance(config.prior, str):
        return
    for name in config.prior:
        if name not in labels:
            raise unknown("`prior`: a label", name, labels)
    for name in labels:
        if not 0 < (share := config.prior.get(name, 0)) < np.inf:
            raise InputError(f"`prior` needs a share above 0 for each label; got {share} for {name!r}")


def left_out(vectors: NDArray, labels: Ints, classes: int, origins: Ints) -> Floats:
    """Return log-probabilities of the real rows, each by a classifier that learnt all rows but its own, [real, K].

    A row's own are itself and those that were written from it, which say what it says. Ridge regression on one
    indicator a class: what it would say of a row without having seen some follows from their block of the hat matrix,
    y - (1 - H)^-1 (y - f), so nothing is trained again. Rows of a class of n weigh n^-1/2; the scores are calibrated
    on the rows themselves.

    Args:
        vectors: Embeddings, [N, D].
        labels: Classes of all rows, [N].
        classes: K.
        origins: Place of the real row that a row was written from, [N]; the real ones come first, and each is its own.
    """
    scale = np.bincount(labels, minlength=classes)[labels] ** -0.25  # the root of a row's weight
    scale = (scale / np.sqrt((scale**2).mean()))[:, None]
    table = scale * np.hstack([np.asarray(vectors, dtype=np.float64), np.full((len(vectors), 1), 0.3)])
    wanted = np.full((len(labels), classes), -1.0 / classes)
    wanted[np.arange(len(labels)), labels] = 1.0
    inverse = np.linalg.solve(table.T @ table + RIDGE * np.eye(table.shape[1]), table.T)
    missed = wanted * scale
    missed = missed - table @ (inverse @ missed)
    real = int((origins == np.arange(len(origins))).sum())
    order = np.argsort(origins, kind="stable")  # each real row, then those that were written from it
    scores = wanted[:real].copy()
    for at, own in enumerate(np.split(order, np.searchsorted(origins[order], np.arange(1, real)))):
        hat = table[own] @ inverse[:, own]
        scores[at] -= np.linalg.solve(np.eye(len(own)) - hat, missed[own])[0] / scale[at]
    scores = scores / calibrate(scores, labels[:real])
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


def shares(config: PlanConfig, counts: Ints, errors: Floats | None, names: Sequence[str] = ()) -> Floats:
    """Return each label's share of all rows to write, [K].

    `planned` is prior * error^sharpness / real rows: where a classifier errs, and a further row is a large part of
    what is there.

    Args:
        config: See `PlanConfig`.
        counts: Real rows of each label, [K], 1 or more.
        errors: Of `planned`: see `label_errors`.
        names: The labels, [K], of a prior by label.
    """
    wanted = {"uniform": np.ones(len(counts)), "inverse": 1 / counts, "planned": 1 / counts}[config.allocation]
    if config.allocation == "planned" and errors is not None:
        wanted = wanted * errors**config.sharpness * _prior(config, counts, names)
    return wanted / wanted.sum()


def _prior(config: PlanConfig, counts: Ints, names: Sequence[str]) -> Floats:
    if config.prior == "uniform":
        return np.ones(len(counts))
    own = counts if isinstance(config.prior, str) else [config.prior[name] for name in names]
    return np.asarray(own, dtype=np.float64)


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
    vectors: NDArray, labels: Ints, classes: int, origins: Ints, certainty: float
) -> tuple[Floats, Mapping[str, Any]]:
    """Return the error of each label, and the figures of a round: mean recall of the labels on real rows."""
    told = left_out(vectors, labels, classes, origins)
    own = labels[: len(told)]
    right = np.bincount(own, told.argmax(1) == own, classes) / np.maximum(np.bincount(own, minlength=classes), 1)
    return label_errors(told, own, certainty), {"recall": float(right.mean())}
