"""Judging a generated data set before the student sees it: what is likely mislabelled, or tells little, is dropped."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from .classifier import fit, load, log_probabilities, log_softmax
from .config import strict
from .errors import InputError, unknown
from .models import resolve
from .row_weights import Floats, Weights
from .settings import StudentConfig
from .student import labels_of
from .trainers.folds import out_of_fold
from .trainers.selection import Policy, Rows, calibrate, check_cleanlab, confident, easy, information, informative

if TYPE_CHECKING:
    from datasets import Dataset

    from .task import Task

How = Literal["confident", "hard", "information"]
REASONS = {
    "confident": "confident learning: {judge} prefers another label",
    "hard": "hard sample: {judge} gives the label less probability than it gives most rows of that label",
    "information": "mutual information: to {judge}, the text tells too little of its label",
}


@strict
class DenoiseConfig:
    """How rows are judged and how many are kept.

    Attributes:
        keep: Of `hard` and `information`: share kept; confident learning decides that itself.
        folds: Without a teacher, each row is judged by a student trained on the other folds.
        policy: Of `information`: what the share is of: `per_class`, or `per_source` (the rows of one prompt);
            `threshold` keeps all above `threshold`. Rows whose label is less likely than chance always go.
        threshold: Of the policy `threshold`, in nats.
        teacher: A trained classifier of the task's labels that judges instead: a folder or Hub id.
    """

    keep: float = Field(0.8, gt=0, le=1)
    folds: int = Field(5, ge=2)
    policy: Policy = "per_class"
    threshold: float = Field(0.0, ge=0)
    teacher: str | None = None


def check_denoise(task: Task, how: str, settings: DenoiseConfig) -> None:
    """Refuse what cannot work before anything is generated or trained for it.

    Raises:
        InputError: For another `how`, a kind of task that is not judged, a package that is missing, or a teacher that
            exists nowhere or whose labels are not the task's.
    """
    if how not in REASONS:
        raise unknown("`how`", how, REASONS)
    if task.kind not in ("single", "pair"):
        raise InputError(f"denoising judges tasks of kind single, pair; {task.name!r} is of kind {task.kind!r}")
    if how == "confident":
        check_cleanlab()
    if settings.teacher is not None:
        theirs = labels_of(settings.teacher)
        if sorted(theirs) != sorted(task.labels):
            raise InputError(
                f"`teacher`: the labels of {settings.teacher!r} are {theirs!r}, those of {task.name} are "
                f"{list(task.labels)!r}"
            )


def denoise(
    train: Dataset, task: Task, config: StudentConfig, how: How, settings: DenoiseConfig, seed: int = 0
) -> Weights:
    """Judge every row and weight it: 0 for those that go, the others alike.

    - `confident`: confident learning (https://huggingface.co/papers/1911.00068), by cleanlab.
    - `hard`: the rows with the highest loss in each class go, as a pretrained classifier sees them
      (https://huggingface.co/papers/2312.03025).
    - `information`: those go whose pointwise mutual information with their label is lowest under a calibrated teacher
      (same paper, which gives no formula).

    Args:
        train: Rows with `index`, the task's text columns and its label as a `ClassLabel`.
        task: Names columns and labels.
        config: The student; without a teacher, those that judge are trained like it but never with label smoothing,
            which makes a classifier a worse teacher.
        how: See above.
        settings: See `DenoiseConfig`.
        seed: Decides the folds and how their students train.

    Raises:
        InputError: For what `check_denoise` refuses, rows that are not as above, a student that diverges, or a class
            of which no row is left.
    """
    check_denoise(task, how, settings)
    _check_rows(train, task, how, settings)
    names, labels = train.features[task.label_column].names, np.asarray(train[task.label_column][:])
    rows = train.select_columns([*task.columns, task.label_column])
    if settings.teacher is not None:
        teacher = load(resolve(settings.teacher).path, config)
        probabilities = np.exp(log_probabilities(teacher, task, rows, config))
    else:
        probabilities = _by_students(rows, task, config, seed, settings.folds)
    kept, score = _select(how, settings, probabilities, labels, train)
    if gone := sorted(set(labels.tolist()) - set(labels[kept].tolist())):
        raise InputError(f"denoising by {how} leaves no row of {', '.join(repr(names[at]) for at in gone)}")
    weight = np.zeros(len(labels))
    weight[kept] = len(labels) / len(kept)
    judge = "the teacher" if settings.teacher is not None else "the out-of-fold student"
    return Weights(np.asarray(train["index"][:]), weight, score, REASONS[how].format(judge=judge))


def _select(
    how: How, settings: DenoiseConfig, probabilities: Floats, labels: Rows, train: Dataset
) -> tuple[Rows, Floats]:
    """Return the rows kept and every row's score."""
    if how == "confident":
        return confident(probabilities, labels)
    if how == "hard":
        return easy(probabilities, labels, settings.keep), probabilities[np.arange(len(labels)), labels]
    logits = np.log(probabilities.clip(min=np.finfo(float).tiny))
    # The judge saw none of these rows' labels, so they can calibrate it.
    logits = logits / calibrate(logits, labels)
    score = information(log_softmax(logits), labels)
    sources = train["prompt_id"][:] if settings.policy == "per_source" else None
    return informative(score, labels, settings.keep, settings.policy, sources, settings.threshold), score


def _check_rows(train: Dataset, task: Task, how: How, settings: DenoiseConfig) -> None:
    """Refuse rows that cannot be judged, or not told apart."""
    from datasets import ClassLabel

    by_source = how == "information" and settings.policy == "per_source"
    for column in ("index", *task.columns, task.label_column, *(["prompt_id"] if by_source else [])):
        if column not in train.column_names:
            raise InputError(f"`train` needs the column {column!r}; it has {train.column_names!r}")
    index, counts = np.unique(train["index"][:], return_counts=True)
    if len(index) < len(train):
        raise InputError(f"`index` must differ from row to row; {index[counts > 1][0]} stands in several")
    label = train.features[task.label_column]
    if not isinstance(label, ClassLabel) or set(label.names) != set(task.labels):
        found = label.names if isinstance(label, ClassLabel) else label
        raise InputError(f"`train` must have the labels of {task.name}, {list(task.labels)!r}; got {found!r}")
    labels = train[task.label_column][:]
    for at, value in zip(train["index"][:], labels, strict=True):
        if value is None or value < 0:
            raise InputError(f"every row of `train` needs one of the labels {label.names!r}; row {at} has {value}")
    if len(set(labels)) < 2:
        raise InputError(f"`train` must hold rows of two labels or more; its {len(labels)} rows do not")


def _by_students(rows: Dataset, task: Task, config: StudentConfig, seed: int, folds: int) -> Floats:
    """Return each row's probabilities by a student that was trained on the other folds."""
    plain = dataclasses.replace(config, label_smoothing=0.0, loss="ce")

    def told(train: Rows, test: Rows) -> Floats:
        trainer = fit(task, rows.select(train), plain, seed)
        return log_probabilities(trainer, task, rows.select(test), plain)

    return out_of_fold(len(rows), folds, seed, rows[task.label_column][:], told)
