"""Average pairwise similarity of embedded texts, as an `evaluate` measurement that loads by path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_synth.errors import InputError
from hf_synth.metrics.sampling import NORMAL, jackknife
from hf_synth.metrics.vectors import checked, unit_blocks

_DESCRIPTION = """Average pairwise cosine similarity of texts (APS), exactly and in O(N), as AttrPrompt reports it
(https://huggingface.co/papers/2306.15895). With unit vectors e_i, S = sum_i e_i, and S_c, n_c of each class:

aps     = (|S|^2 - N) / (N (N - 1))                            all pairs
within  = sum_c (|S_c|^2 - n_c) / sum_c n_c (n_c - 1)          pairs of one class
between = (|S|^2 - sum_c |S_c|^2) / (N^2 - sum_c n_c^2)        pairs of two classes
classes = (|S_c|^2 - n_c) / (n_c (n_c - 1)) of each class; None for a class of one text

-1 to 1, lower is more diverse; `within` well above `between` means classes that differ. They do not depend on N, only
on the encoder, which should be named beside them.
*_interval: 95 %, value +- 1.96 standard errors of the jackknife over texts, in closed form; None below 20 texts.
"""
LEAST = 20  # texts below which a standard error says nothing


class _Sums:
    """S, each S_c and n_c, and of every text e_i S and e_i S_c."""

    def __init__(self, embeddings: NDArray, class_of: NDArray[np.int64]):
        classes = int(class_of.max()) + 1
        self.class_of, self.sizes = class_of, np.bincount(class_of, minlength=classes).astype(np.float64)
        self.own = np.zeros((classes, embeddings.shape[1]))
        for start, block in unit_blocks(embeddings):
            here = class_of[start : start + len(block)]
            order = np.argsort(here, kind="stable")
            firsts = np.flatnonzero(np.diff(here[order], prepend=-1))
            self.own[here[order][firsts]] += np.add.reduceat(block[order], firsts)
        self.total = self.own.sum(axis=0)
        self.rows = len(embeddings)
        self.all_squared = float(self.total @ self.total)
        self.squared = np.einsum("cd,cd->c", self.own, self.own)
        self.with_all, self.with_own = np.zeros(self.rows), np.zeros(self.rows)
        for start, block in unit_blocks(embeddings):
            rows = slice(start, start + len(block))
            self.with_all[rows] = block @ self.total
            self.with_own[rows] = np.einsum("nd,nd->n", block, self.own[class_of[rows]])

    def aps(self) -> tuple[float, NDArray]:
        """Return the value of all pairs, and its values without each text."""
        pairs, n = self.all_squared - self.rows, self.rows
        left = pairs - 2 * (self.with_all - 1)
        return pairs / (n * (n - 1)), left / max((n - 1) * (n - 2), 1)

    def within(self) -> tuple[float | None, NDArray | None]:
        """Return the value of pairs of one class, and its values without each text."""
        pairs, count = float((self.squared - self.sizes).sum()), float((self.sizes * (self.sizes - 1)).sum())
        fewer = count - 2 * (self.sizes[self.class_of] - 1)
        if not count:
            return None, None
        return pairs / count, (pairs - 2 * (self.with_own - 1)) / fewer if fewer.all() else None

    def between(self) -> tuple[float | None, NDArray | None]:
        """Return the value of pairs of two classes, and its values without each text."""
        pairs = self.all_squared - float(self.squared.sum())
        count = self.rows**2 - float(np.square(self.sizes).sum())
        fewer = count - 2 * (self.rows - self.sizes[self.class_of])
        if not count:
            return None, None
        return pairs / count, (pairs - 2 * (self.with_all - self.with_own)) / fewer if fewer.all() else None

    def classes(self) -> list[float | None]:
        """Return the value of each class."""
        pairs = self.sizes * (self.sizes - 1)
        return [float(v / p) if p else None for v, p in zip(self.squared - self.sizes, pairs, strict=True)]


def similarity(embeddings: ArrayLike, labels: Sequence[str] | None = None) -> dict[str, Any]:
    """Return average pairwise cosine similarities with intervals; those of classes where labels are given.

    Args:
        embeddings: [N, D], of any lengths but zero.
        labels: Class of each text.

    Raises:
        InputError: If there are fewer than two embeddings, one is zero, or labels are not as many.
    """
    vectors = checked(embeddings)
    if labels is not None and len(labels) != len(vectors):
        raise InputError(f"there must be a label for each embedding; got {len(labels)} for {len(vectors)}")
    names, class_of = np.unique(labels if labels is not None else [""] * len(vectors), return_inverse=True)
    sums = _Sums(vectors, class_of)
    measured = {"aps": sums.aps()}
    if labels is not None:
        measured |= {"within": sums.within(), "between": sums.between()}  # type: ignore[dict-item]
    found: dict[str, Any] = {"rows": len(vectors)}
    for name, (value, without) in measured.items():
        found[name] = value
        sure = value is not None and without is not None and len(vectors) >= LEAST
        found[f"{name}_interval"] = jackknife(value, without, NORMAL, -1, 1) if sure else None
    if labels is not None:
        found["classes"] = dict(zip(map(str, names), sums.classes(), strict=True))
    return found


class Similarity(evaluate.Measurement):
    """Measures embeddings, one list of numbers a text; `labels` names their classes."""

    def _info(self) -> evaluate.MeasurementInfo:
        return evaluate.MeasurementInfo(
            _DESCRIPTION, "", datasets.Features({"data": datasets.List(datasets.Value("float32"))})
        )

    def _compute(self, data: list[list[float]], labels: list[str] | None = None) -> dict:
        return similarity(np.array(data), labels)
