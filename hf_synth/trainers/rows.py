"""Where a data set's rows stand in state that a trainer keeps for each of them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from hf_synth.config import yaml_word
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
        InputError: For a set without a length or `index`, an index that is no integer or stands twice, or a label
            that is no class.
    """

    def __init__(self, data: Any, classes: int | None) -> None:
        names = getattr(data, "column_names", ())
        if "index" not in names:
            raise InputError(f"`train_dataset` needs a column `index` that names each row; it has {list(names)!r}")
        if not hasattr(data, "__len__"):
            raise InputError(
                "`train_dataset` must have a length, as each of its rows has a state; got an iterable one"
            )
        index = numbers(data["index"][:], "iu", "`index` must be an integer in each row").astype(np.int64)
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


def check_same_config(config: Any, before: Mapping[str, Any]) -> None:
    """Refuse to go on from a checkpoint of other settings.

    Args:
        config: A trainer's settings, a dataclass.
        before: Those of the checkpoint, as `dataclasses.asdict` gives them; one that does not say has none.

    Raises:
        InputError: Naming the first setting that differs.
    """
    for name, now in dataclasses.asdict(config).items():
        if name in before and before[name] != now:
            then = f"`{name}: {yaml_word(before[name])}`"
            raise InputError(f"`resume_from_checkpoint` was trained with {then}; got {yaml_word(now)}")


def labels_of(data: Any) -> tuple[np.ndarray, list[int] | None]:
    """Return the labels of all predictions of a training set, and how many each row makes if its tokens have labels.

    Args:
        data: Has a column `labels` or `label`.

    Returns:
        Labels [P], or [N, K] where each class is a choice of its own; labelled tokens of each row, or `None`.

    Raises:
        InputError: For a set without labels, or labels that are no numbers.
    """
    if not {"labels", "label"} & {*(names := getattr(data, "column_names", None) or ())}:
        raise InputError(
            f"a column `labels` or `label` is needed; a {type(data).__name__} with {list(names)!r} has none"
        )
    data = data.with_format(None) if isinstance(data, Dataset) else data  # tensors would hide what labels are
    column = data["labels" if "labels" in data.column_names else "label"][:]
    first = next((labels for labels in column if labels is not None), None)
    if not isinstance(first, (list, np.ndarray)):
        return numbers(column, "biu", "`labels` must be one class index per prediction").astype(np.int32), None
    if any(isinstance(label, (float, np.floating)) for label in first):
        return numbers(column, "biuf", "`labels` must be one class index per prediction or a target per class"), None
    what = "`labels` of tokens must be class indices"
    if None in column:
        raise InputError(f"{what}; got null in row {column.index(None)}")
    flat = numbers(list(chain.from_iterable(column)), "biu", what)
    own, counted = np.repeat(np.arange(len(column)), [len(labels) for labels in column]), flat != IGNORED
    return flat[counted].astype(np.int32), np.bincount(own[counted], minlength=len(column)).tolist()


def numbers(values: Any, kinds: str, what: str) -> np.ndarray:
    """Return a column as an array.

    Args:
        values: Of all rows.
        kinds: Numpy's letters of the types that it may have.
        what: The beginning of the message for others.

    Raises:
        InputError: For values of another type, none, or lists of different lengths.
    """
    try:
        found = np.asarray(values)
    except ValueError:
        raise InputError(f"{what}; got lists of different lengths") from None
    if found.size and found.dtype.kind not in kinds:
        some = next((value for value in found.ravel().tolist() if not isinstance(value, (int, float))), found.dtype)
        raise InputError(f"{what}; got {some if some is found.dtype else repr(some)}")
    return found


def check_labels(labels: np.ndarray, classes: int | None, name: str = "train_dataset") -> None:
    """Refuse labels that are no class.

    Args:
        labels: [P], or [N, K] with a target between 0 and 1 for each class.
        classes: Classes of the model; `None` where labels are places in a text.
        name: The set that has them.

    Raises:
        InputError: For such labels.
    """
    low, high = (labels.min(), labels.max()) if labels.size else (0, 0)
    classes = int(high) + 1 if classes is None else classes
    if low < 0 or high >= (classes if labels.ndim == 1 else 1 + 1e-6):
        said = f"labels of `{name}` must lie between 0 and {classes - 1}"
        raise InputError(f"{said}; they go from {low} to {high}")


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
    found = labels_of(data.select(rows))[0].ravel().astype(int)
    found = found[found != IGNORED]
    if len(there := np.unique(found)) < 2:
        what = "one class only" if len(there) else "no label"
        raise InputError(f"the {len(rows)} outer rows have {what}; give more of them, of each class")
    if there[0] < 0 or there[-1] >= classes:
        raise InputError(f"labels of outer rows must lie between 0 and {classes - 1}; got {there.tolist()}")
    return torch.from_numpy(np.bincount(found, minlength=classes))
