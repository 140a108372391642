"""Judging every row of a data set by a model that was trained without it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_synth.errors import InputError

Rows = NDArray[np.intp]


def out_of_fold(
    count: int, folds: int, seed: int, labels: ArrayLike, fit: Callable[[Rows, Rows], ArrayLike]
) -> NDArray[np.float64]:
    """Return each row's class probabilities by the model that was trained on all folds but the row's.

    Args:
        count: Rows, N.
        folds: Models to train; 2 to N.
        seed: Decides which fold a row is in.
        labels: Class indices, [N]; each class is spread evenly over the folds.
        fit: Given the rows to train on and the rows to judge, both ascending, returns the log-probabilities of the
            latter, [rows, K].

    Returns:
        [N, K].

    Raises:
        InputError: For labels that are not one for each row, a number of folds outside 2 to N, or a model that gives
            NaN.
    """
    classes = np.asarray(labels)
    if classes.shape != (count,):
        raise InputError(f"`labels` must hold one class index for each of {count} rows; got shape {classes.shape}")
    if not 2 <= folds <= count:
        raise InputError(f"`folds` must be 2 or more and at most the number of rows, {count}; got {folds}")
    fold = _assign(classes, folds, seed)
    found: dict[int, NDArray[np.float64]] = {}
    for at in range(folds):
        train, test = np.flatnonzero(fold != at), np.flatnonzero(fold == at)
        log_probabilities = np.asarray(fit(train, test), float)
        if np.isnan(log_probabilities).any():
            raise InputError(f"the model of fold {at + 1} of {folds} gives NaN; lower `learning_rate`")
        found[at] = log_probabilities
    probabilities = np.empty((count, found[0].shape[-1]))
    for at, log_probabilities in found.items():
        probabilities[fold == at] = np.exp(log_probabilities)
    return probabilities


def _assign(classes: NDArray[np.intp], folds: int, seed: int) -> NDArray[np.intp]:
    """Return each row's fold: rows are shuffled within their class, then dealt out one class after the other."""
    shuffled = np.random.default_rng(seed).permutation(len(classes))
    dealt = shuffled[np.argsort(classes[shuffled], kind="stable")]
    fold = np.empty(len(classes), np.intp)
    fold[dealt] = np.arange(len(classes)) % folds
    return fold
