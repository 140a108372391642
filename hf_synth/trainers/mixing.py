"""In which order the rows of a training set are visited, planned before the first step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from hf_synth.errors import InputError
from hf_synth.losses import IGNORED


class Order(Sampler[int]):
    """Sampler that visits given rows in the order given."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[int]:
        return iter(self.rows.tolist())


def draw(groups: Sequence[np.ndarray], count: int, random: np.random.Generator) -> np.ndarray:
    """Return `count` rows, each group's turn coming equally often; a group is shuffled anew when it is through."""
    turns = -(-count // len(groups))
    each = [
        np.concatenate([random.permutation(group) for _ in range(-(-turns // len(group)) or 1)])[:turns]
        for group in groups
    ]
    order = random.permuted(np.tile(np.arange(len(groups)), (turns, 1)), axis=1)
    return np.take_along_axis(np.stack(each, axis=1), order, axis=1).reshape(-1)[:count]


def rows_of(synthetic: np.ndarray, which: str, labels: np.ndarray | None) -> list[np.ndarray]:
    """Return the `synthetic`, the `real` or `all` rows: as one group, or with `labels` as one for each class."""
    chosen = {"synthetic": synthetic, "real": ~synthetic}.get(which, np.full(len(synthetic), True))
    if labels is None:
        return [np.flatnonzero(chosen)]
    found = np.setdiff1d(labels[chosen], [IGNORED])
    return [np.flatnonzero(chosen & (labels == label)) for label in found]


def passes(rows: int, batch: int, steps: int) -> list[int]:
    """Return after which of `steps` steps a pass over as many rows is over, and the last step."""
    return sorted({min(-(-number * rows // batch), steps) for number in range(1, steps * batch // rows + 2)})


def epoch(groups: Sequence[np.ndarray]) -> int:
    """Return how many draws from the groups visit every row."""
    return len(groups) * max(map(len, groups))


def in_turn(visits: Sequence[tuple[Sequence[np.ndarray], int]], seed: int) -> np.ndarray:
    """Return the rows of several visits, one after the other, of which each has its groups and its count of rows."""
    return np.concatenate(
        [draw(groups, count, np.random.default_rng([seed, at])) for at, (groups, count) in enumerate(visits)]
    )


def mix(
    shares: Sequence[float], batch: int, synthetic: np.ndarray, real: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Return the rows of all steps, `batch` for each, of which `shares` says how many are synthetic.

    What one step's rounding takes from its share, the next ones give back.
    """
    first = np.diff(np.floor(np.cumsum(np.multiply(shares, batch)) + 0.5), prepend=0).astype(int)
    left = np.split(draw([synthetic], first.sum(), random), first.cumsum()[:-1])
    right = np.split(draw([real], (batch - first).sum(), random), (batch - first).cumsum()[:-1])
    return np.concatenate([part for pair in zip(left, right, strict=True) for part in pair])


def is_synthetic(data: Any) -> np.ndarray:
    """Return which rows are synthetic, [N].

    Raises:
        InputError: If the data set does not say, or has rows of one kind only.
    """
    names = getattr(data, "column_names", None) or ()
    if "synthetic" not in names or not hasattr(data, "__len__"):
        what = f"a {type(data).__name__} with the columns {list(names)!r}"
        raise InputError(f"`train_dataset` needs a length and a column `synthetic` of true and false; got {what}")
    column = np.asarray(data["synthetic"][:])
    if column.dtype != bool:
        raise InputError(f"`synthetic` must be true or false in each row; got values of type {column.dtype}")
    if column.all() or not column.any():
        kind = "real" if not column.any() else "synthetic"
        raise InputError(f"`train_dataset` needs both synthetic and real rows; all {len(column)} are {kind}")
    return column


def masses(data: Any, synthetic: np.ndarray) -> tuple[float, float]:
    """Return which part of the mean weight the synthetic and the real rows have, by the column `weight` if any."""
    weight = np.asarray(data["weight"][:] if "weight" in data.column_names else np.ones(len(synthetic)))
    return float((weight * synthetic).mean()), float((weight * ~synthetic).mean())


def classes(data: Any) -> np.ndarray | None:
    """Return the class of each row, [N], or None where a row has not just one."""
    column = np.asarray(data["labels" if "labels" in data.column_names else "label"][:1])
    if column.ndim != 1 or column.dtype.kind not in "iu":
        return None
    return np.asarray(data["labels" if "labels" in data.column_names else "label"][:])
