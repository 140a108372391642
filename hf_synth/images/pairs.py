"""Pairs of texts and images with labels, out of data sets of which some rows lack one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datasets import Dataset, Features, Image, Value

from ..errors import InputError
from .settings import Where
from .source import read_original

ORIGINS = ("image_from", "text_from")  # columns of `illustrate`


@dataclass(frozen=True)
class Pairs:
    """Rows that have a text, an image and a label.

    Attributes:
        data: Columns `text`, `image` (not decoded), `labels` and `synthetic`.
        names: The labels, in the order of their ids.
        left_out: Rows that lacked one of the three.
        digest: Of the data set that they are of.
    """

    data: Dataset
    names: tuple[str, ...]
    left_out: int
    digest: str


def read_pairs(where: Where, names: Sequence[str] | None, generated: bool, key: str) -> Pairs:
    """Read the whole pairs of a data set.

    Args:
        where: See `Where`.
        names: The labels whose ids count; those of the data set where None.
        generated: Rows of which nothing says where they come from are generated ones.
        key: The setting that names the data set, for messages.

    Raises:
        InputError: For a data set without pairs, or with other labels.
    """
    original = read_original(where, (), key)
    names = tuple(names or original.names)
    if other := sorted({*original.names} - {*names}):
        raise InputError(f"the labels of {where.dataset!r} must be among {list(names)}; it has {other}")
    whole = zip(original.texts, original.pictured, original.labels, strict=True)
    rows = [at for at, (text, image, label) in enumerate(whole) if text and image and label is not None]
    if not rows:
        raise InputError(f"no row of {where.dataset!r}, split {where.split!r}, has a text, an image and a label")
    data = original.data.select(rows)
    made = [generated] * len(rows)
    if set(ORIGINS) <= set(data.column_names):
        made = [
            (image, text) != ("given", "given") for image, text in zip(*(data[one] for one in ORIGINS), strict=True)
        ]
    columns = {where.text_column: "text", where.image_column: "image"}
    data = data.select_columns([*columns]).rename_columns({old: new for old, new in columns.items() if old != new})
    data = data.cast(Features({"text": Value("string"), "image": Image(decode=False)}))
    data = data.add_column("labels", [names.index(str(original.labels[row])) for row in rows])
    return Pairs(data.add_column("synthetic", made), names, len(original.texts) - len(rows), original.digest)
