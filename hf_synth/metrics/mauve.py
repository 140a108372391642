"""MAUVE between texts and real ones, as an `evaluate` measurement that loads by path."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike

from hf_synth.errors import InputError
from hf_synth.metrics.vectors import checked

_DESCRIPTION = """MAUVE (Pillutla et al. 2021, https://huggingface.co/papers/2102.01454), computed by `mauve-text`.

Both sets of vectors are put into shared clusters by k-means; mauve is the area under the divergence curve
{(exp(-c KL(Q|R)), exp(-c KL(P|R))): R = m P + (1 - m) Q, 0 < m < 1}, c the scaling factor. 0 to 1, higher is closer.
It depends on the vectors (the paper's are GPT-2's last hidden states; name yours), on both numbers of texts and of
clusters: compare under equal ones only, and with two halves of the real texts, which do not reach 1 either.
mauve: mean over `runs` k-means seeds; mauve_interval: the lowest and highest of them (of k-means alone); clusters:
their number (rows / 20, so that clusters are not single rows).
"""
SCALE = 5.0
RUNS = 5
ROWS_A_CLUSTER = 20


def check_mauve() -> None:
    """Refuse to go on without mauve-text.

    Raises:
        InputError: With the pip command.
    """
    if find_spec("mauve") is None:
        raise InputError("MAUVE needs mauve-text: pip install 'hf_synth[inspect]'")


def mauve(
    embeddings: ArrayLike, references: ArrayLike, *, clusters: int | None = None, runs: int = RUNS, seed: int = 0
) -> dict[str, Any]:
    """Return MAUVE of two sets of vectors.

    Args:
        embeddings: [N, D].
        references: [M, D], of the same encoder.
        clusters: k of k-means; rows / 20 where left out.
        runs: k-means seeds, from `seed` on.
        seed: See `runs`.

    Raises:
        InputError: Without mauve-text, or for fewer than 40 rows of either, or vectors of two widths.
    """
    check_mauve()
    from mauve import compute_mauve

    mine, theirs = checked(embeddings), checked(references)
    least = min(len(mine), len(theirs))
    if least < 2 * ROWS_A_CLUSTER or mine.shape[1] != theirs.shape[1]:
        raise InputError(
            f"MAUVE needs {2 * ROWS_A_CLUSTER} vectors of each, of one width; got {mine.shape}, {theirs.shape}"
        )
    count = clusters or max(2, least // ROWS_A_CLUSTER)
    found = [
        float(
            compute_mauve(
                p_features=theirs,
                q_features=mine,
                num_buckets=count,
                mauve_scaling_factor=SCALE,
                seed=seed + run,
                verbose=False,
            ).mauve
        )
        for run in range(runs)
    ]
    return {
        "rows": len(mine),
        "reference_rows": len(theirs),
        "clusters": count,
        "scale": SCALE,
        "seed": seed,
        "mauve": float(np.mean(found)),
        "mauve_interval": [min(found), max(found)],
    }


class Mauve(evaluate.Measurement):
    """Measures vectors beside `references`; other arguments as in `mauve`."""

    def _info(self) -> evaluate.MeasurementInfo:
        features = {name: datasets.List(datasets.Value("float32")) for name in ("data", "references")}
        return evaluate.MeasurementInfo(_DESCRIPTION, "", datasets.Features(features))

    def _compute(
        self,
        data: list[list[float]],
        references: list[list[float]],
        clusters: int | None = None,
        runs: int = RUNS,
        seed: int = 0,
    ) -> dict:
        return mauve(np.array(data), np.array(references), clusters=clusters, runs=runs, seed=seed)
