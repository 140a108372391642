"""The columns of a data set that nobody named: where its texts stand, and where its labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..columns import class_names
from ..errors import InputError, unknown
from ..folder import PROVENANCE

if TYPE_CHECKING:
    from datasets import Dataset

LABELS = ("label", "labels", "class", "category", "target", "intent", "sentiment", "topic", "ner_tags", "label_text")
NO_TEXTS = {*PROVENANCE, "id", "idx", "guid", "uuid", "url", "source", "split", "label_text"}
PARSE = "[IN:"  # begins every parse of TOP's kind
LOOKED_AT = 200  # rows by which a text column is told from names and codes


def label_column(data: Dataset, given: str | None, key: str) -> str:
    """Return the label column: the given one of the data set, else what is called so or holds classes or answers.

    Raises:
        InputError: If there is none.
    """
    from datasets import ClassLabel

    if given is not None and key == "dataset":
        if given not in data.column_names:
            raise InputError(f"`label_column` {unknown('of ' + key, given, data.column_names)}")
        return given
    classes = [name for name, feature in data.features.items() if isinstance(feature, ClassLabel)]
    lists = [name for name, feature in data.features.items() if class_names(feature) and name not in classes]
    spans = [
        name for name, feature in data.features.items() if isinstance(feature, dict) and "answer_start" in feature
    ]
    for name in (*LABELS, *classes, *lists, *spans):
        if name in (classes or lists or data.column_names):
            return name
    raise InputError(
        f"`{key}`: no label column found among {', '.join(data.column_names)}; name it with `label_column`"
    )


def label_column_if_any(data: Dataset, given: str | None, key: str) -> str | None:
    """Return what `label_column` does, and None where no column is given or found.

    Raises:
        InputError: If the given one is not there.
    """
    try:
        return label_column(data, given, key)
    except InputError:
        if given is not None:
            raise
        return None


def texts_among(data: Dataset, names: Sequence[str]) -> list[str]:
    """Return those of some columns that hold texts of several words."""
    some = data.select(range(min(len(data), LOOKED_AT)))
    return [name for name in names if sum(map(_worded, some[name])) * 2 >= len(some)]


def _worded(value: Any) -> bool:
    text = str(value).strip()
    return " " in text and not text.startswith(PARSE)  # which repeats the text beside it, in brackets


def text_columns(data: Dataset, given: Sequence[str], label: str | None, key: str) -> list[str]:
    """Return the text columns: the given ones, else those with texts of several words, or of tokens.

    Raises:
        InputError: If there is none.
    """
    from datasets import Value

    if given:
        for name in given:
            if name not in data.column_names:
                raise InputError(f"`text_columns` {unknown('of ' + key, name, data.column_names)}")
            kind = data.features[name]
            if getattr(getattr(kind, "feature", kind), "dtype", "") not in ("string", "large_string"):
                raise InputError(f"`text_columns`: {name!r} of {key} holds no texts but {kind}")
        return list(given)
    strings = [
        name
        for name, feature in data.features.items()
        if isinstance(feature, Value) and feature.dtype in ("string", "large_string")
    ]
    able = [name for name in strings if name != label and name not in NO_TEXTS]
    found = texts_among(data, able)
    tokens = [name for name, feature in data.features.items() if getattr(feature, "feature", None) == Value("string")]
    if not (found or able) and tokens:
        return tokens[:1]
    if not (found or able):
        raise InputError(
            f"`{key}`: no text column found among {', '.join(data.column_names)}; name it with `text_columns`"
        )
    return found or able[:1]
