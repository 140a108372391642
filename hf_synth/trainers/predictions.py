"""Moving averages of what a model predicts for each row, and which rows to trust by them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hf_synth.errors import InputError
from hf_synth.losses import IGNORED
from hf_synth.trainers.rows import Rows

LARGE = 256 * 2**20  # bytes; an array above lies in a file
BLOCK = 16_384  # rows added up over ranks and averaged at once
# Fixed point in 16 bits: half precision takes as much and is 30 times coarser near 1, where a filter has to decide.
ONE = 65_535

Array = NDArray[Any]
Reduce = Callable[[Array], Array]


def alone(array: Array) -> Array:
    """Add up an array over one rank."""
    return array


class Predictions:
    """The probabilities that a model gave each prediction of a data set, averaged over time.

    `averages`, [P, K], holds `Z / (1 - momentum^c)` of temporal ensembling (https://huggingface.co/papers/1610.02242)
    for a row after `c = counts` updates: already corrected, so that one update of a row gives what was predicted. What
    is predicted between two updates is added up in a buffer, on each rank its own. `kept`, [N], tells the rows that
    the last filter let through.

    Args:
        rows: The rows, and what their labels are.
        classes: Classes of the model, K.
        momentum: Share of the past in an average.
        folder: Where large arrays lie, in files without a name that end with the process.
    """

    def __init__(self, rows: Rows, classes: int, momentum: float, folder: str | Path) -> None:
        self.rows, self.momentum, self.folder = rows, momentum, folder
        self.averages = self._zeros((int(rows.starts[-1]), classes), np.uint16)
        self.counts = np.zeros(len(rows), np.uint16)
        self.kept = np.ones(len(rows), bool)
        self.updates = 0
        self._sums: Array | None = None
        self._seen: Array | None = None
        self._judged()

    def clear(self) -> None:
        """Forget everything, before a training that starts anew."""
        self.averages[:], self.counts[:], self.kept[:], self.updates = 0, 0, True, 0
        self._sums = self._seen = None
        self._judged()

    def add(self, rows: Array, labels: Array, probabilities: Array) -> None:
        """Add what was predicted to the buffer; what has the label -100 is left out.

        Args:
            rows: Positions of the rows, [N].
            labels: [N], or [N, T] for tokens, or [N, K].
            probabilities: [N, K] or [N, T, K].

        Raises:
            InputError: For probabilities that are not numbers.
        """
        sums, seen = self._buffers()
        places = self._places(rows, labels)
        counted = (labels != IGNORED).reshape(*places.shape, -1).any(-1)
        if not np.isfinite(probabilities[counted]).all():
            raise InputError("the model predicts probabilities that are not numbers; lower `learning_rate`")
        np.add.at(sums, places[counted], probabilities[counted])
        np.add.at(seen, rows[counted.reshape(len(rows), -1).any(-1)], 1)

    def update(self, reduce: Reduce = alone) -> None:
        """Take the buffers of all ranks into the averages of the rows that were seen, and empty them.

        Args:
            reduce: Adds up an array over ranks; called equally often on each.
        """
        sums, seen = self._buffers()
        for block, places in self._blocks():
            times = reduce(seen[block])
            new = reduce(sums[places]).astype(float)
            past = self.momentum * (1 - self.momentum ** self.counts[block].astype(float))
            past = np.where(times > 0, past / (past + 1 - self.momentum), 1.0)
            lengths = np.diff(self.rows.starts[block.start : block.stop + 1])
            new /= np.repeat(np.maximum(times, 1), lengths)[:, None]
            past = np.repeat(past, lengths)[:, None]
            self.averages[places] = np.rint(past * self.averages[places] + (1 - past) * new * ONE).astype(np.uint16)
            self.counts[block] += (times > 0) & (self.counts[block] < ONE)
        self.updates += 1
        self._sums = self._seen = None

    def of(self, rows: Array, labels: Array) -> Array:
        """Return averages, [N, K] or [N, T, K]; all 0 for rows that have none yet.

        Args:
            rows: Positions of the rows, [N].
            labels: Their labels in a batch, [N] or [N, T] or [N, K].
        """
        found = self.averages[self._places(rows, labels)].astype(np.float32)
        if self.rows.labels.ndim == 2:
            return found / ONE
        return found / np.maximum(found.sum(-1, keepdims=True), 1)  # rounded numbers do not quite sum to one

    def keep(self, above: float, least: int) -> None:
        """Choose the rows to keep: those whose label the averages give a probability above a threshold.

        A label of one class must also be the likeliest. For tokens, and where each class is a choice of its own, the
        probability is the mean over a row's labels. Of classes with fewer than `least` rows kept, and of all classes
        if no row is kept, the better half is kept too. Rows without an average are kept.
        """
        trust, likeliest = self._trust()
        self.kept[:] = (self.counts == 0) | (likeliest & (trust > above))
        classes = self._classes()
        groups = np.zeros(len(trust), np.int8) if classes is None else classes
        few = np.bincount(groups[self.kept], minlength=groups.max() + 1) < (least if self.kept.any() else np.inf)
        for group in np.flatnonzero(few):
            members = np.flatnonzero(groups == group)
            best = np.argsort(-trust[members], kind="stable")[: (len(members) + 1) // 2]
            self.kept[members[best]] = True
        self._judged()

    def weights(self, rows: Array) -> Array:
        """Return how much rows count, [N]: 0 where dropped; the mean over the data set is 1."""
        return self.kept[rows].astype(np.float32) / self.share

    def class_shares(self) -> Array | None:
        """Return the share of each class's rows that is kept, [K]; None where a row has several labels."""
        if (classes := self._classes()) is None:
            return None
        size = self.averages.shape[1]
        return np.bincount(classes[self.kept], minlength=size) / np.bincount(classes, minlength=size).clip(min=1)

    def state(self, reduce: Reduce = alone) -> dict[str, Any]:
        """Return what `load` takes, with the buffers of all ranks added up; called on each."""
        state = {
            "rows": self.rows.fingerprint(),
            "updates": self.updates,
            "averages": torch.from_numpy(self.averages.view(np.int16)),
            "counts": torch.from_numpy(self.counts.view(np.int16)),
        }
        if self._sums is not None and self._seen is not None:
            sums, seen = self._zeros(self._sums.shape, np.float32), np.zeros_like(self._seen)
            for block, places in self._blocks():
                sums[places], seen[block] = reduce(self._sums[places]), reduce(self._seen[block])
            state |= {"sums": torch.from_numpy(sums), "seen": torch.from_numpy(seen)}
        return state

    def load(self, state: dict[str, Any], buffers: bool = True) -> None:
        """Take back what `state` returned; without its `buffers` on all ranks but one, or they would count twice.

        Raises:
            InputError: If it belongs to other rows or labels.
        """
        if state["rows"] != self.rows.fingerprint():
            raise InputError(
                "`resume_from_checkpoint` holds averaged predictions for other rows or labels than `train_dataset`"
            )
        self.updates = state["updates"]
        self.averages[:] = state["averages"].numpy().view(np.uint16)
        self.counts[:] = state["counts"].numpy().view(np.uint16)
        self._sums = self._seen = None
        if "sums" in state:
            sums, seen = self._buffers()
            if buffers:
                sums[:], seen[:] = state["sums"].numpy(), state["seen"].numpy()

    def _buffers(self) -> tuple[Array, Array]:
        if self._sums is None or self._seen is None:
            self._sums = self._zeros(self.averages.shape, np.float32)
            self._seen = np.zeros(len(self.rows), np.int32)
        return self._sums, self._seen

    def _blocks(self) -> Iterator[tuple[slice, slice]]:
        """Yield rows, and the predictions that are theirs."""
        starts = self.rows.starts
        for start in range(0, len(self.rows), BLOCK):
            stop = min(start + BLOCK, len(self.rows))
            yield slice(start, stop), slice(int(starts[start]), int(starts[stop]))

    def _places(self, rows: Array, labels: Array) -> Array:
        """Return where a batch's predictions stand, [N] or [N, T]; anywhere for tokens without a label."""
        starts = self.rows.starts
        if not self.rows.tokens:
            return rows
        counted = labels != IGNORED
        found, expected = counted.sum(1), starts[rows + 1] - starts[rows]
        if (wrong := (found > 0) & (found != expected)).any():
            raise InputError(
                f"a batch has {found[wrong][0]} labelled tokens of a row that has {expected[wrong][0]} in "
                "`train_dataset`; the collator must neither cut nor mask labels"
            )
        return np.where(counted, starts[rows][:, None] + counted.cumsum(1) - 1, 0)

    def _classes(self) -> Array | None:
        return None if self.rows.tokens or self.rows.labels.ndim == 2 else self.rows.labels

    def _trust(self) -> tuple[Array, Array]:
        """Return the probability of each row's labels, [N], and whether they are the likeliest, [N]."""
        labels, starts = self.rows.labels, self.rows.starts
        if labels.ndim == 2:
            given = self.averages / ONE
            return np.where(labels > 0.5, given, 1 - given).mean(1), np.ones(len(labels), bool)
        given = np.take_along_axis(self.averages, labels[:, None], 1)[:, 0] / ONE
        if not self.rows.tokens:
            return given, self.averages.argmax(1) == labels
        total = np.concatenate([[0.0], given.cumsum()])
        return (total[starts[1:]] - total[starts[:-1]]) / np.diff(starts).clip(min=1), np.ones(len(self.rows), bool)

    def _judged(self) -> None:
        self.share = float(self.kept.mean())

    def _zeros(self, shape: tuple[int, ...], kind: Any) -> Array:
        if np.prod(shape) * np.dtype(kind).itemsize <= LARGE:
            return np.zeros(shape, kind)
        Path(self.folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.folder) as file:
            return np.memmap(file, kind, "w+", shape=shape)
