"""What a report draws: a map of the texts, their lengths, and how steadily their labels are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from ..metrics.sampling import drawn
from .records import Floats, Ints, Rows

BINS = 30
REFERENCE = 1_000  # real rows on the map


def text_map(own: Rows, real: Rows | None, seed: int) -> dict[str, Any] | None:
    """Return places in the plane of embedded texts, near where embeddings are (t-SNE, Van der Maaten 2008).

    Args:
        own: Embedded rows.
        real: Embedded real rows, of which some are drawn under the others.
        seed: Decides which, and the start.

    Returns:
        `own`: row, label, x and y; `reference`: x and y. None without embeddings or scikit-learn.
    """
    if own.vectors is None or find_spec("sklearn") is None or len(own) < 10:
        return None
    from sklearn.manifold import TSNE

    some = None if real is None or real.vectors is None else real.take(drawn(len(real), REFERENCE, seed))
    vectors = own.vectors if some is None else np.concatenate([own.vectors, some.vectors])
    # Where all are the same, components have no spread to be scaled by: TSNE would crash the process.
    start = "pca" if vectors.shape[1] > 1 and np.ptp(vectors, axis=0).any() else "random"
    near = TSNE(init=start, random_state=seed, perplexity=min(30.0, (len(vectors) - 1) / 3), metric="cosine")
    places = np.round(_scaled(near.fit_transform(np.asarray(vectors, dtype=np.float32))), 4).tolist()
    return {
        "own": [
            {"row": int(row), "label": own.names[label], "x": x, "y": y}
            for row, label, (x, y) in zip(own.index, own.labels, places, strict=False)
        ],
        "reference": [{"x": x, "y": y} for x, y in places[len(own) :]],
    }


def _scaled(places: Floats) -> Floats:
    """Put places into the unit square."""
    low, high = places.min(0), places.max(0)
    return (places - low) / np.maximum(high - low, 1e-9)


def histograms(own: Rows, lengths: Ints, real: tuple[Rows, Ints] | None) -> dict[str, Any]:
    """Return the share of texts by number of words, for each class and for the reference's class of that name.

    The last bin holds all longer texts, beyond the 99th percentile.
    """
    both = lengths if real is None else np.concatenate([lengths, real[1]])
    top = max(1, int(np.quantile(both, 0.99)))
    step = -(-top // BINS)  # bins of one width in whole words
    edges = np.arange(0, top + step + 1, step)
    found: dict[str, Any] = {"edges": edges.tolist(), "own": _shares(own, lengths, edges)}
    found["reference"] = {} if real is None else _shares(*real, edges)
    return found


def _shares(rows: Rows, lengths: Ints, edges: Ints) -> dict[str, Sequence[float]]:
    found = {}
    for label in np.unique(rows.labels):
        mine = np.clip(lengths[rows.labels == label], edges[0], edges[-1])
        found[rows.names[label]] = (np.histogram(mine, edges)[0] / len(mine)).round(5).tolist()
    return found
