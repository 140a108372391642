"""The data set that is illustrated: which rows have a text, which an image, and whether both can be read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, Image, Value

from ..audit.data import splits_of
from ..errors import InputError, unknown
from .settings import Where
from .store import is_image


@dataclass(frozen=True)
class Original:
    """One split of a data set, its images not decoded.

    Attributes:
        name: What the user gave; of a folder its last part, since its path is nobody's business.
        data: The rows.
        texts: Each row's text; None where it is missing.
        pictured: Whether each row has an image.
        labels: Each row's label by name, where a label column was named; None where it is missing.
        names: The labels.
        digest: Of texts, images and labels.
        image_column: Where the images are, or will be.
    """

    name: str
    data: Dataset
    texts: list[str | None]
    pictured: list[bool]
    labels: list[str | None]
    names: tuple[str, ...]
    digest: str
    image_column: str

    def image(self, row: int) -> bytes | None:
        """Return the bytes of a row's image file, or None."""
        return file_of(self.data[row][self.image_column]) if self.pictured[row] else None


def read_original(config: Where, reserved: Sequence[str], key: str = "dataset") -> Original:
    """Read the rows that the settings name and look at each image once.

    Args:
        config: See `Where`.
        reserved: Columns that the output adds.
        key: The setting that names the data set, for messages.

    Raises:
        InputError: If there are no such rows, columns of another kind, or an image that cannot be read.
    """
    data = _loaded(config, key)
    for name in reserved:
        if name in data.column_names:
            raise InputError(f"the output has a column {name!r} of its own; rename that of {config.dataset!r}")
    text, image, columns = config.text_column, config.image_column, ", ".join(data.column_names)
    if text not in data.column_names and image not in data.column_names:
        raise InputError(
            f"{config.dataset!r} has no text column {text!r} and no image column {image!r}; has {columns}"
        )
    if text in data.column_names and not _is_text(data.features[text]):
        raise InputError(f"`text_column` {text!r} of {config.dataset!r} holds no texts but {data.features[text]}")
    if image in data.column_names and not isinstance(data.features[image], Image):
        raise InputError(f"`image_column` {image!r} of {config.dataset!r} holds no images but {data.features[image]}")
    if image in data.column_names:
        data = data.cast_column(image, Image(decode=False))
    names, labels = _labels(data, config)
    texts = [one if one and one.strip() else None for one in data[text]] if text in data.column_names else []
    texts = texts or [None] * len(data)
    pictured, digest = _looked_at(data, image, texts, labels)
    name = Path(config.dataset).resolve().name if Path(config.dataset).exists() else config.dataset
    return Original(name, data, texts, pictured, labels, names, digest, image)


def _loaded(config: Where, key: str) -> Dataset:
    path = Path(config.dataset).expanduser()
    splits = splits_of(str(path) if path.exists() else config.dataset, key)
    if config.split not in splits:
        raise unknown(f"a split of {config.dataset!r}", config.split, splits)
    data = splits[config.split]
    if not len(data):
        raise InputError(f"split {config.split!r} of {config.dataset!r} has no rows")
    return data.select(range(min(len(data), config.max_rows or len(data))))


def _is_text(feature: Any) -> bool:
    return isinstance(feature, Value) and feature.dtype in ("string", "large_string")


def _labels(data: Dataset, config: Where) -> tuple[tuple[str, ...], list[str | None]]:
    column = config.label_column
    if column is None:
        return (), [None] * len(data)
    if column not in data.column_names:
        raise unknown("`label_column`", column, data.column_names)
    feature, found = data.features[column], data[column][:]
    if isinstance(feature, ClassLabel):
        named = [None if one is None or one < 0 else feature.names[one] for one in found]
        return tuple(feature.names), named
    if not _is_text(feature):
        raise InputError(f"`label_column` {column!r} holds no labels but {feature}")
    return tuple(sorted({one for one in found if one})), [one or None for one in found]


def _looked_at(
    data: Dataset, column: str, texts: Sequence[str | None], labels: Sequence[str | None]
) -> tuple[list[bool], str]:
    """Return which rows have an image, and a digest of all; refuse what is no image, naming its row."""
    total, pictured = hashlib.sha256(), []
    for row, told in enumerate(zip(texts, labels, strict=True)):
        content = file_of(data[row][column]) if column in data.column_names else None
        if content is not None and not is_image(content):
            raise InputError(f"the image in row {row}, column {column!r}, cannot be read")
        pictured.append(content is not None)
        total.update(repr((*told, content and hashlib.sha256(content).hexdigest())).encode())
    return pictured, total.hexdigest()


def file_of(cell: dict[str, Any] | None) -> bytes | None:
    """Return an image's file, which stands in the row or beside the data; None where there is none."""
    if cell is None or (cell["bytes"] is None and not cell["path"]):
        return None
    if cell["bytes"] is not None:
        return cell["bytes"]
    try:
        return Path(cell["path"]).read_bytes()
    except OSError:
        return b""
