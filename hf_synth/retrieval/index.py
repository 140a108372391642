"""Searching vectors by inner product: all of them, or with FAISS the likely ones of very many."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .encode import Floats, Vectors
from .settings import IndexConfig

SPARE = 16  # more hits than wanted are looked at, so that rounding inside an index drops none that belongs there
SAMPLE = 64  # vectors for each cell of an `ivf` index that its cells are fitted on
TOGETHER = 256  # queries at once
DIGITS = 6
Places = NDArray[np.int64]


def kind_of(vectors: Vectors, config: IndexConfig) -> str:
    """Return which index is used for so many vectors."""
    if config.kind == "auto":
        return "exact" if len(vectors) <= config.exact_limit else "ivf"
    return config.kind


class Index:
    """Finds the vectors of highest inner product with a query.

    Whatever index proposes the hits, their scores are computed anew from the vectors on disk and rounded, and ties go
    to the lower place: what a query finds depends neither on the queries beside it nor on how many hits are wanted.

    Args:
        vectors: What is searched.
        config: See `IndexConfig`.
        folder: Where an index that takes time to build is kept.

    Raises:
        InputError: If the index needs FAISS and it is not installed.
    """

    def __init__(self, vectors: Vectors, config: IndexConfig, folder: Path):
        self.vectors, self.kind = vectors, kind_of(vectors, config)
        self.depth = min(config.depth, len(vectors))
        if self.kind == "exact":
            self.searcher = _flat(vectors)
        else:
            self.searcher = _approximate(vectors, config, self.kind, folder)

    def search(self, queries: Floats) -> list[tuple[Places, NDArray[np.float64]]]:
        """Return, for each query, places and scores of its hits, best first."""
        found = []
        count = min(self.depth + SPARE, len(self.vectors))
        for start in range(0, len(queries), TOGETHER):
            block = np.ascontiguousarray(queries[start : start + TOGETHER], np.float32)
            _, proposed = self.searcher.search(block, count)
            for query, places in zip(block, proposed, strict=True):
                places = places[places >= 0]
                scores = (self.vectors.rows(places).astype(np.float64) @ query.astype(np.float64)).round(DIGITS)
                order = np.lexsort((places, -scores))[: self.depth]
                found.append((places[order], scores[order]))
        return found


class Blocks:
    """Exact search without FAISS: a matrix product a block, its hits merged."""

    def __init__(self, blocks: Any):
        self.blocks = blocks

    def search(self, queries: Floats, count: int) -> tuple[Floats, Places]:
        """Return scores and places of the `count` best vectors of each query, [Q, count]."""
        scores: Floats = np.empty((len(queries), 0), np.float32)
        places: Places = np.empty((len(queries), 0), np.int64)
        for start, block in self.blocks():
            scores = np.concatenate([scores, queries @ block.T], axis=1)
            here = np.broadcast_to(np.arange(start, start + len(block)), (len(queries), len(block)))
            places = np.concatenate([places, here], axis=1)
            if scores.shape[1] > count:
                best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
                scores, places = np.take_along_axis(scores, best, 1), np.take_along_axis(places, best, 1)
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(scores, order, 1), np.take_along_axis(places, order, 1)


def nearest(queries: Floats, vectors: Floats, count: int) -> Places:
    """Return the places of the `count` vectors of highest inner product with each query, best first, [Q, count]."""
    whole, most = Blocks(lambda: iter([(0, vectors)])), min(count, len(vectors))
    parts = range(0, len(queries), TOGETHER)
    return np.concatenate([whole.search(queries[start : start + TOGETHER], most)[1] for start in parts])


def _flat(vectors: Vectors) -> Any:
    try:
        import faiss
    except ImportError:
        return Blocks(vectors.blocks)
    index = faiss.IndexFlatIP(vectors.width)
    for _, block in vectors.blocks():
        index.add(block)
    return index


def _approximate(vectors: Vectors, config: IndexConfig, kind: str, folder: Path) -> Any:
    try:
        import faiss
    except ImportError:
        raise InputError(
            f"an index of kind {kind!r} over {len(vectors):,} passages needs FAISS: pip install 'hf_synth[faiss]' "
            "(or `index: {kind: exact}`, which compares a query with every passage)"
        ) from None
    lists = config.lists or max(1, round(4 * len(vectors) ** 0.5))
    shape = f"IVF{lists},SQfp16" if kind == "ivf" else f"HNSW{config.links}_SQfp16"
    file = folder / f"{shape}.faiss"
    if not file.exists():
        aside = file.with_name(f".{file.name}.{os.getpid()}")
        faiss.write_index(_built(faiss, vectors, shape, SAMPLE * lists if kind == "ivf" else 1), str(aside))
        aside.rename(file)
    # The cells of `ivf` stay on disk; a graph is read whole.
    index: Any = faiss.read_index(str(file), faiss.IO_FLAG_MMAP if kind == "ivf" else 0)
    if kind == "ivf":
        index.nprobe = config.probes
    else:
        index.hnsw.efSearch = max(config.ef, config.depth + SPARE)
    return index


def _built(faiss: Any, vectors: Vectors, shape: str, sample: int) -> Any:
    """Build an index that holds half-precision vectors, piece by piece."""
    index = faiss.index_factory(vectors.width, shape, faiss.METRIC_INNER_PRODUCT)
    drawn = np.random.default_rng(0).choice(len(vectors), min(sample, len(vectors)), replace=False)
    index.train(vectors.rows(np.sort(drawn)))
    for _, block in vectors.blocks():
        index.add(block)
    return index
