"""Where a data set's rows stand in state that a trainer keeps for each of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from hf_synth.errors import InputError
from hf_synth.losses import IGNORED
from hf_synth.trainers.spans import SpanLogits


class Rows:
    """The rows of a training set by their `index` column, and what their labels are.

    A row of a token task makes one prediction for each labelled token, every other row one; `labels` holds the labels
    of all predictions, [P], or [N, K] where each class is a choice of its own, and `starts` where each row's begin,
    [N + 1]. `tokens` tells whether it is a token task.

    Args:
        data: The training set; it has a length and columns.
        classes: Classes of the model; `None` where labels are places in a text.

    Raises:
        InputError: For a set without `index`, an index that stands twice, or a label that is no class.
    """

    def __init__(self, data: Any, classes: int | None) -> None:
        names = getattr(data, "column_names", ())
        if "index" not in names:
            raise InputError(f"`train_dataset` needs a column `index` that names each row; it has {list(names)!r}")
        index = np.asarray(data["index"][:], np.int64)
        small = np.int32 if len(index) < 2**31 else np.int64
        self._order = np.argsort(index, kind="stable").astype(small)
        self._sorted = index[self._order]
        if len(twice := self._sorted[1:][self._sorted[1:] == self._sorted[:-1]]):
            raise InputError(f"`index` must name each row once; {twice[0]} stands on several rows")
        self.labels, counts = labels_of(data)
        self.tokens = counts is not None
        lengths = np.ones(len(index), small) if counts is None else counts
        self.starts = np.concatenate([[0], np.cumsum(lengths)]).astype(small)
        check_labels(self.labels, classes)

    def __len__(self) -> int:
        return len(self._sorted)

    def at(self, index: Tensor) -> Tensor:
        """Return the positions in the data set of rows named by `index`, [N], on the CPU."""
        found = self._order[np.searchsorted(self._sorted, index.cpu().numpy())]
        return torch.from_numpy(found.astype(np.int64))

    def fingerprint(self) -> str:
        """Return what tells these rows and labels from others, so that a checkpoint of others is refused."""
        return hashlib.sha256(self._order.tobytes() + self._sorted.tobytes() + self.labels.tobytes()).hexdigest()


def labels_of(data: Any) -> tuple[np.ndarray, list[int] | None]:
    """Return the labels of all predictions of a training set, and how many each row makes if its tokens have labels.

    Args:
        data: Has a column `labels` or `label`.

    Returns:
        Labels [P], or [N, K] where each class is a choice of its own; labelled tokens of each row, or `None`.
    """
    data = data.with_format(None) if isinstance(data, Dataset) else data  # tensors would hide what labels are
    column = data["labels" if "labels" in data.column_names else "label"][:]
    several = len(column) > 0 and isinstance(column[0], (list, np.ndarray))
    if not several or any(isinstance(label, (float, np.floating)) for label in column[0]):
        labels = np.asarray(column)
        return labels if labels.ndim == 2 else labels.astype(np.int32), None
    flat = [np.asarray(labels, np.int64) for labels in column]
    flat = [labels[labels != IGNORED] for labels in flat]
    return np.concatenate(flat).astype(np.int32), [len(labels) for labels in flat]


def check_labels(labels: np.ndarray, classes: int | None) -> None:
    """Refuse labels that are no class.

    Args:
        labels: [P], or [N, K] with a target between 0 and 1 for each class.
        classes: Classes of the model; `None` where labels are places in a text.

    Raises:
        InputError: For such labels.
    """
    low, high = (labels.min(), labels.max()) if labels.size else (0, 0)
    classes = int(high) + 1 if classes is None else classes
    if low < 0 or high >= (classes if labels.ndim == 1 else 1 + 1e-6):
        raise InputError(f"labels must lie between 0 and {classes - 1}; they go from {low} to {high}")


def classes_of(model: Any) -> int | None:
    """Return how many classes a model's labels have; `None` where they are places in a text."""
    return None if isinstance(model, SpanLogits) else model.config.num_labels


def class_counts(data: Any, rows: Sequence[int], classes: int | None) -> Tensor:
    """Return how many labels of each class some rows of a data set hold, [K]; all as one class where there are none.

    Raises:
        InputError: If they are all of one class, or one is no class of the model.
    """
    if classes is None:
        return torch.tensor([len(rows)])
    labels = data.select(rows)["labels" if "labels" in data.column_names else "label"]
    found = np.concatenate([np.ravel(row) for row in labels]).astype(int)
    found = found[found != IGNORED]
    if len(there := np.unique(found)) < 2:
        raise InputError(f"the {len(rows)} outer rows have one class only; give more of them, of each class")
    if there[0] < 0 or there[-1] >= classes:
        raise InputError(f"labels of outer rows must lie between 0 and {classes - 1}; got {there.tolist()}")
    return torch.from_numpy(np.bincount(found, minlength=classes))
