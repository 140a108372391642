"""How many rows each label gets next: more where a classifier errs on real rows, and where these are few.

With an attribute, the rows of a label are split over its values: evenly at first, then more of the values for which
rows were written that a classifier, which did not see them, gives to other labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from .attributes import AttributesConfig, check_attributes, of_label
from .config import strict
from .errors import InputError, unknown
from .exemplars import SEED
from .retrieval.settings import ENCODER
from .task import Task
from .trainers.selection import calibrate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
RIDGE = 1.0
LEAST = 1e-6  # error of a value, so that one which is never mistaken is still written


@strict
class PlanConfig:
    """What decides how many rows each label gets.

    Attributes:
        allocation: `planned` by error and count, `inverse` to the real rows of a label, or `uniform`.
        prior: Of `planned`: how much labels matter: all the same (`uniform`, for macro scores), as often as they are
            (`natural`), or a mapping of each label to its share of what is to come.
        sharpness: Power of the error in `planned`.
        certainty: Real rows of a label at which its own error counts as much as that of all labels; of a value of
            `attribute`, rows written for it, beside those of its label.
        planner: Encodes texts for the classifier whose error it is.
        attribute: One of the task's attributes, over whose values the rows of a label are split; by default none.
    """

    allocation: Literal["planned", "inverse", "uniform"] = "planned"
    prior: Literal["uniform", "natural"] | dict[str, float] = "uniform"
    sharpness: float = Field(2.0, ge=0)
    certainty: float = Field(5.0, ge=0)
    planner: str = ENCODER
    attribute: str | None = None
    read_by: ClassVar = {"prior": ("allocation", ("planned",))}


def check_attribute(task: Task, name: str | None) -> None:
    """Refuse an attribute that the task does not have, or not for each label.

    Raises:
        InputError: If it does not.
    """
    if name is None:
        return
    if not task.attributes:
        raise InputError(f"`attribute` needs a task with `attributes`; {task.name!r} has none")
    if name not in task.attributes:
        raise unknown("`attribute`", name, task.attributes)
    if name == SEED:
        raise InputError(f"`attribute` cannot be {SEED!r}, which tells from which real row a text was written")
    check_attributes(task, AttributesConfig(attributes="given"))


def cells_of(task: Task, attribute: str | None) -> dict[str, tuple[str, dict[str, str]]]:
    """Return cell -> label and the attributes that a prompt states: a cell for each label, or for each of its values.

    A written row's value is the one that its prompt asked for; real rows have none.
    """
    if attribute is None:
        return {label: (label, {}) for label in task.labels}
    own = {label: of_label(task.attributes, label)[attribute] for label in task.labels}
    return {cell_of(label, attribute, value): (label, {attribute: value}) for label in own for value in own[label]}


def cell_of(label: str, attribute: str | None, value: str) -> str:
    """Return the cell of a label and, with an attribute, its value."""
    return label if attribute is None else f"{label}, {attribute}: {value}"


def check_prior(config: PlanConfig, task: Task) -> None:
    """Refuse a prior by label that is none, and a task's shares, which the plan stands in for.

    Raises:
        InputError: For shares, a label that the task does not have, and one without a prior above 0.
    """
    labels = task.labels
    if task.shares:
        raise InputError("`shares` is not read where rows are planned: say by `prior` how much labels matter")
    if isinstance(config.prior, str):
        return
    for name in config.prior:
        if name not in labels:
            raise unknown("`prior`: a label", name, labels)
    for name in labels:
        if not 0 < (share := config.prior.get(name, 0)) < np.inf:
            raise InputError(f"`prior` needs a share above 0 for each label; got {share} for {name!r}")


def left_out(vectors: NDArray, labels: Ints, classes: int, origins: Ints) -> Floats:
    """Return log-probabilities of all rows, each by a classifier that learnt all rows but its own, [N, K].

    A row's own are the real row that it is or was written from, and all others that were written from that: they say
    what it says. Ridge regression on one indicator a class: what it would say of rows without having seen them
    follows from their block of the hat matrix, y - (1 - H)^-1 (y - f), so nothing is trained again. Rows of a class
    of n weigh n^-1/2; the scores are calibrated on the real rows.

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
    scores = wanted.copy()
    for own in np.split(order, np.searchsorted(origins[order], np.arange(1, real))):
        hat = table[own] @ inverse[:, own]
        scores[own] -= np.linalg.solve(np.eye(len(own)) - hat, missed[own]) / scale[own]
    scores = scores / calibrate(scores[:real], labels[:real])
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


def cell_errors(told: Floats, labels: Ints, cells: Ints, owners: Ints, certainty: float) -> Floats:
    """Return the error of each cell, [C]: the mean probability that the rows written for it are given to other labels.

    Few rows say little: the error of all that was written for the label counts as `certainty` further rows of each of
    its cells, and alone where a cell has none. A value that is hard and one that is written badly look alike.

    Args:
        told: Log-probabilities of the written rows, by a classifier that did not see them, [N, K].
        labels: Their labels, [N].
        cells: Their cells, [N].
        owners: The label of each cell, [C].
        certainty: See `PlanConfig`.
    """
    missed, weight = 1 - np.exp(told[np.arange(len(labels)), labels]), max(certainty, LEAST)
    counts, sums = np.bincount(cells, minlength=len(owners)), np.bincount(cells, missed, len(owners))
    overall = np.bincount(owners, sums) / np.maximum(np.bincount(owners, counts), 1)
    return (sums + weight * overall[owners]) / (counts + weight)


def split(config: PlanConfig, errors: Floats) -> Floats:
    """Return the share of each cell of a label in the label's rows, [C]: by error where `planned`, else the same.

    No real row is known to be of a value, so there is no count to divide by as in `shares`.
    """
    wanted = np.maximum(errors, LEAST) ** (config.sharpness if config.allocation == "planned" else 0)
    return wanted / wanted.sum()


def thirds(counts: Ints) -> dict[str, Ints]:
    """Return the labels of most real rows (`head`), as many of fewest (`tail`), and those between (`middle`)."""
    order = np.argsort(counts, kind="stable")
    size = max(1, len(order) // 3)
    parts = {"head": order[len(order) - size :], "middle": order[size : len(order) - size], "tail": order[:size]}
    return {name: own for name, own in parts.items() if len(own)}


def recall_and_f1(predicted: Ints, labels: Ints, classes: int) -> tuple[Floats, Floats]:
    """Return the recall and the F1 of each label on real rows, [K] each."""
    counts, right = np.bincount(labels, minlength=classes), np.bincount(labels, predicted == labels, classes)
    f1 = 2 * right / np.maximum(counts + np.bincount(predicted, minlength=classes), 1)
    return right / np.maximum(counts, 1), f1


def by_frequency(predicted: Ints, labels: Ints, rows: Ints) -> list[dict[str, Any]]:
    """Return macro recall, with its interval, and macro F1 on real rows, for each third of the labels that these have.

    The interval is Wilson's over as many rows as would tell one share as well as the mean over labels is told,
    L^2 / sum_l 1/n_l: the mean of labels of two rows each is known no better than a share of these few rows.

    Args:
        predicted: What a classifier says of the real rows, [N].
        labels: What they are, [N].
        rows: Rows by which a label is frequent or rare, [K].
    """
    from .metrics.classification import wilson

    counts = np.bincount(labels, minlength=len(rows))
    there, (recall, f1), found = np.flatnonzero(counts), recall_and_f1(predicted, labels, len(rows)), []
    for name, part in thirds(rows[there]).items():
        own = there[part]
        value, worth = float(recall[own].mean()), len(own) ** 2 / float((1 / counts[own]).sum())
        low, high = wilson(value * worth, worth)
        told = {"macro recall": value, "from": low, "to": high, "macro F1": float(f1[own].mean())}
        counted = {"part": name, "labels": len(own), "real rows": int(counts[own].sum())}
        found.append(counted | {key: round(figure, 4) for key, figure in told.items()})
    return found
