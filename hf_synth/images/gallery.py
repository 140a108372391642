"""What images look like, in a few numbers: hashes, thumbnails, colours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..metrics.sampling import drawn
from .source import file_of
from .store import is_image, opened

if TYPE_CHECKING:
    from datasets import Dataset

SIDE = 8  # of a thumbnail
BITS = 3  # of 64 in which hashes of near-duplicates may differ
CORRELATED = 0.97  # and how like grey thumbnails are at least: simple pictures, such as digits, share hashes


@dataclass(frozen=True)
class Gallery:
    """Images of a data set's rows, or of a sample of them.

    Attributes:
        data: The rows that have an image which can be read, its file not decoded.
        column: Where the images stand.
        index: Their places in the split, [N].
        digests: Of their pixels: equal images have equal ones, whatever their files.
        hashes: Difference hashes, [N].
        looks: Mean and standard deviation of red, green and blue, and the longer and shorter side, [N, 8].
        thumbnails: [N, SIDE * SIDE * 3], 0 to 1.
        labels: Class of each, places in `names`; None without labels.
        names: The classes.
        missing: Rows without an image.
        broken: Places of files that are no whole image.
        of: Rows that were looked at.
    """

    data: Dataset
    column: str
    index: Sequence[int]
    digests: Sequence[str]
    hashes: NDArray[np.uint64]
    looks: NDArray[np.float64]
    thumbnails: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    names: Sequence[str]
    missing: int
    broken: Sequence[int]
    of: int

    def __len__(self) -> int:
        return len(self.index)

    @property
    def plain(self) -> NDArray[np.bool_]:
        """Which are of one colour, or nearly: less than two of 255 levels of any spread."""
        return self.looks[:, 3:6].max(1) < 2


def difference_hash(image: Image.Image) -> int:
    """Return 64 bits: whether each pixel of a grey 9 x 8 copy is brighter than its right neighbour."""
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BILINEAR), int)
    return int("".join("1" if bright else "0" for bright in (grey[:, :-1] > grey[:, 1:]).ravel()), 2)


def look_at(data: Dataset, column: str, labels: Sequence[str | None] | None, most: int, seed: int) -> Gallery:
    """Look at each image once, or at some, drawn by the seed.

    Args:
        data: Rows, the column's images not decoded.
        column: Where the images stand.
        labels: By name, None where a row has none.
        most: Images that are opened.
        seed: Decides which.
    """
    places = drawn(len(data), most, seed)
    names = sorted({name for name in labels or () if name is not None})
    kept: list[int] = []
    broken, missing = [], 0
    digests, hashes, looks, thumbnails = [], [], [], []
    for at in places:
        content = file_of(data[at][column])
        if content is None:
            missing += 1
            continue
        if not is_image(content):
            broken.append(at)
            continue
        image = opened(content)
        kept.append(at)
        digests.append(hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest())
        hashes.append(difference_hash(image))
        looks.append(_look(image))
        thumbnails.append(np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32).ravel() / 255)
    classes: Any = None
    if labels is not None and all(labels[at] is not None for at in kept):
        of = {name: at for at, name in enumerate(names)}
        classes = np.array([of[str(labels[at])] for at in kept], dtype=np.int64)
    return Gallery(
        data.select(kept),
        column,
        kept,
        digests,
        np.array(hashes, np.uint64),
        np.array(looks, np.float64).reshape(len(kept), 8),
        np.array(thumbnails, np.float32).reshape(len(kept), SIDE * SIDE * 3),
        classes,
        names,
        missing,
        broken,
        len(places),
    )


def _look(image: Image.Image) -> list[float]:
    pixels = np.asarray(image.resize((64, 64), Image.Resampling.BILINEAR), np.float64).reshape(-1, 3)
    return [*pixels.mean(0), *pixels.std(0), max(image.size), min(image.size)]


def alike(one: Gallery, others: Gallery) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield the place of each image and of those of the others that are nearly the same, those of one colour aside."""
    mine, theirs = (np.flatnonzero(~part.plain) for part in (one, others))
    own, real = _grey(one.thumbnails), _grey(others.thumbnails)
    for at, found in zip(mine.tolist(), near(one.hashes[mine], others.hashes[theirs], BITS), strict=True):
        places = theirs[found]
        yield at, places[real[places] @ own[at] > CORRELATED]


def _grey(thumbnails: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return grey thumbnails, centred and of length 1, whose products are correlations."""
    grey = thumbnails.reshape(len(thumbnails), SIDE * SIDE, 3) @ np.array([0.299, 0.587, 0.114], np.float32)
    grey = grey - grey.mean(1, keepdims=True)
    return grey / np.maximum(np.linalg.norm(grey, axis=1, keepdims=True), 1e-6)


def near(one: NDArray[np.uint64], others: NDArray[np.uint64], bits: int) -> list[NDArray[np.intp]]:
    """Return, for each hash, the places of the others that differ in so many bits or fewer."""
    return [np.flatnonzero(np.bitwise_count(others ^ own) <= bits) for own in one]
