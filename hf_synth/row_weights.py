"""How much each row of a data set counts: kept between stages, applied to rows, turned into a choice of them."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from .errors import InputError
from .trainers.selection import draw, top

if TYPE_CHECKING:
    from datasets import Dataset

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Weights:
    """How much each row counts in training, and why.

    Attributes:
        index: The rows' `index`, [N].
        weight: Of mean 1 over the data set, 0 for dropped rows, [N].
        score: How far each row is trusted, higher for more, [N].
        reason: What a low score means, one sentence.
    """

    index: NDArray[np.int64]
    weight: Floats
    score: Floats
    reason: str

    def counts(self) -> dict[str, int]:
        """Return how many rows there are, how many are kept, and how many of equal weight would say as much."""
        effective = round(float(self.weight.sum() ** 2 / (self.weight**2).sum()))
        return {"weighed": len(self.weight), "kept": int((self.weight > 0).sum()), "effective_rows": effective}

    def table(self) -> pa.Table:
        """Return the columns `index`, `weight` and `score`."""
        return pa.table({"index": self.index, "weight": self.weight, "score": self.score})

    def of(self, index: ArrayLike) -> Floats:
        """Return the weights of rows that have one, in the order of `index`, [N]."""
        order = np.argsort(self.index)
        return self.weight[order[np.searchsorted(self.index[order], np.asarray(index))]]

    def among(self, chosen: NDArray[np.bool_]) -> Weights:
        """Return the weights of some rows, of mean 1 over these."""
        weight = self.weight[chosen]
        return Weights(self.index[chosen], weight / weight.mean(), self.score[chosen], self.reason)

    def save(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Write a Parquet file that holds the weights and JSON-ready facts, whole or not at all."""
        told = {"facts": json.dumps({**facts, "reason": self.reason})}
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        pq.write_table(self.table().replace_schema_metadata(told), aside)
        aside.rename(path)

    @classmethod
    def load(cls, path: Path) -> tuple[Weights, dict[str, Any]]:
        """Read what `save` wrote."""
        table = pq.read_table(path)
        facts = json.loads(table.schema.metadata[b"facts"])
        index, weight, score = (table[name].to_numpy() for name in ("index", "weight", "score"))
        return cls(index, weight, score, facts.pop("reason")), facts


def weigh(rows: Dataset, weight: ArrayLike = 1.0) -> Dataset:
    """Return the rows of weight above 0; their column `weight` gets mean 1, or is left out where all count alike.

    Args:
        rows: With a column `weight` or without.
        weight: What their weights are multiplied by, [N].

    Raises:
        InputError: For weights that are negative, no numbers, or all 0.
    """
    given = np.asarray(rows["weight"][:] if "weight" in rows.column_names else np.ones(len(rows)), float)
    product = given * weight
    if not np.isfinite(product).all() or product.min(initial=0) < 0 or not product.any():
        raise InputError("`weight` must be a number, 0 or more, in each row, and above 0 in some")
    kept = np.flatnonzero(product > 0)
    values = (product[kept] / product[kept].mean()).astype(np.float32)
    rows = rows.select(kept) if len(kept) < len(rows) else rows
    rows = rows.remove_columns("weight") if "weight" in rows.column_names else rows
    return rows if np.allclose(values, 1, atol=1e-6) else rows.add_column("weight", values)


def choose(learnt: Weights, rows: Dataset, how: str, keep: float, seed: int) -> Weights:
    """Return the weights that a student is trained with once they are learnt; real rows always stay.

    Args:
        learnt: Of each row, in the order of the rows.
        rows: With `labels` and, where some are real, `synthetic`.
        how: `weights` as they are; `top_k`, those of highest score alone; `balanced_top_k`, those of each class;
            `sampling`, as many drawn with probability by weight.
        keep: Share of the synthetic rows that the last three take.
        seed: Decides the draw.

    Raises:
        InputError: If no row of a class would be left.
    """
    if how == "weights":
        return learnt
    synthetic = np.asarray(rows["synthetic"][:] if "synthetic" in rows.column_names else np.ones(len(rows)), bool)
    labels, places = np.asarray(rows["labels"][:]), np.flatnonzero(synthetic)
    if how == "sampling":
        best = draw(learnt.weight[places], keep, seed)
    else:
        best = top(learnt.score[places], keep, labels[places] if how == "balanced_top_k" else None)
    kept = ~synthetic
    kept[places[best]] = True
    if {*labels.tolist()} - {*labels[kept].tolist()}:
        raise InputError(
            f"`select: {how}` with `keep: {keep}` leaves no row of some label; take `balanced_top_k` or `weights`"
        )
    return dataclasses.replace(learnt, weight=kept * (len(kept) / kept.sum()))


def joined(dropped: Weights | None, learnt: Weights | None) -> Weights | None:
    """Return the weights of all rows that were judged, those that denoising dropped below those weighed afterwards."""
    if dropped is None or learnt is None:
        return learnt if dropped is None else dropped
    gone = dropped.weight == 0
    if not gone.any():
        return learnt
    # The two kinds of score do not compare, but what is dropped is trusted less than what is not.
    below = learnt.score.min() - 1 - (dropped.score[gone].max() - dropped.score[gone])
    index = np.concatenate([dropped.index[gone], learnt.index])
    weight = np.concatenate([np.zeros(gone.sum()), learnt.weight * (len(index) / len(learnt.index))])
    reason = f"{learnt.reason}; the lowest ones were dropped before: {dropped.reason}"
    return Weights(index, weight, np.concatenate([below, learnt.score]), reason)
