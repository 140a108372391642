"""Embeddings of texts as unit vectors, read in blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_synth.errors import InputError

BLOCK = 8_192


def checked(embeddings: ArrayLike, rows: int = 2) -> NDArray:
    """Return embeddings as an array, [N, D]; a memory-mapped one stays mapped.

    Raises:
        InputError: If there are fewer than `rows`, or they are no table of numbers.
    """
    found = np.asanyarray(embeddings)
    if found.ndim != 2 or len(found) < rows or not found.shape[1]:
        raise InputError(f"embeddings must be {rows} rows or more of one width; got shape {found.shape}")
    return found


def unit_blocks(embeddings: NDArray, block: int = BLOCK) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield the first place and the vectors of each block, scaled to length 1.

    Raises:
        InputError: If a vector is zero or no number.
    """
    for start in range(0, len(embeddings), block):
        found = np.asarray(embeddings[start : start + block], dtype=np.float64)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        if len(bad := np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))):
            raise InputError(
                f"every embedding needs a direction; row {start + bad[0]} has length {lengths[bad[0], 0]}"
            )
        yield start, found / lengths
