"""`hf-synth inspect` of a data set with images: checks of the images, beside those of its texts where it has some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..audit.columns import label_column_if_any, texts_among
from ..audit.data import chosen_split, split_told, splits_of
from ..audit.records import skipped
from ..audit.report import report
from ..audit.settings import InspectConfig
from ..columns import names_of
from ..errors import InputError
from ..models import known_as

if TYPE_CHECKING:
    from datasets import Dataset

    from .gallery import Gallery

OPENED = 20_000  # images that are looked at
PAIRED = 500  # texts and images that a model compares


def image_column(data: Dataset) -> str | None:
    """Return the first column of images; None where there is none."""
    from datasets import Image

    return next((name for name, feature in data.features.items() if isinstance(feature, Image)), None)


def inspect_images(config: InspectConfig) -> dict[str, Any]:
    """Run the checks of images.

    Args:
        config: The settings; of the models, `clip` is used.

    Returns:
        What `audit.report.report` returns.

    Raises:
        InputError: If something cannot be loaded, the reference has no images, or pillow is missing.
    """
    if find_spec("PIL") is None:
        raise InputError("images need the package pillow: pip install 'hf_synth[images]'")
    from . import checks

    data = splits_of(config.dataset, "dataset")
    split = chosen_split(data, config.split, ("train",), "dataset", config.dataset)
    own, own_facts = _gallery(data, config.dataset, split, config, "dataset", config.label_column)
    test = train = None
    facts: list[dict[str, Any] | None] = [None, None]
    if config.reference is not None:
        theirs = splits_of(config.reference, "reference")
        judge = chosen_split(theirs, config.reference_split, ("test", "validation"), "reference", config.reference)
        test, told = _gallery(theirs, config.reference, judge, config, "reference", None)
        facts[0] = {**told, "split": split_told(config.reference, judge, config.reference_split)}
        if judge != "train" and "train" in theirs:
            train, facts[1] = _gallery(theirs, config.reference, "train", config, "reference", None)
    verdicts = [checks.files(own)]
    if test is None or facts[0] is None:
        verdicts.append(skipped("test images", "needs a `reference`, whose test split must not stand in the data set"))
    else:
        verdicts.append(checks.leaked(own, test, train, facts[0]))
    verdicts += [checks.repeats(own, train or test, config.seed), checks.two_labels(own)]
    verdicts.append(checks.colour_tells(own, train or test, config.seed))
    if test is not None:
        verdicts.append(checks.told_apart(own, test, config.seed))
    likeness, looked_through = _likeness(config)
    verdicts.append(checks.belongs(own, test, likeness, config.seed))
    verdicts = [replace(one, found=one.found or len(one.rows)) for one in verdicts]
    figures: dict[str, Any] = {"lengths": None, "map": None, "data_map": []}
    sides = (own_facts, facts[0], facts[1])
    counts: Any = {"rows": own.of, "judged": len(own), "seed": config.seed}
    return report(verdicts, sides, figures, **counts, instruments={"encoder": None, "clip": looked_through})


def beside_texts(texts: Mapping[str, Any], images: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report on a data set's texts with that on its images."""
    joined = {name: {**images[name], **texts[name]} for name in ("measures", "instruments")}  # the texts' encoder
    return {**texts, "verdicts": [*texts["verdicts"], *images["verdicts"]], **joined}


def has_texts(data: Dataset) -> bool:
    """Tell whether a data set with images has texts as well."""
    from datasets import Value

    strings = [name for name, feature in data.features.items() if feature == Value("string")]
    return bool(texts_among(data, strings))


def _gallery(
    splits: Mapping[str, Dataset], path: str, split: str, config: InspectConfig, key: str, label: str | None
) -> tuple[Gallery, dict[str, Any]]:
    from datasets import Image

    from .gallery import look_at

    data = splits[split]
    column = image_column(data)
    if column is None:
        raise InputError(f"`{key}`: {path!r} has no column of images; it has {', '.join(data.column_names)}")
    labels, name = None, _label(data, label, key)
    if name is not None:
        found = [names_of(value, data.features[name]) for value in data[name][:]]
        labels = [None if value is None else str(value) for value in found]
    own = look_at(
        data.cast_column(column, Image(decode=False)), column, labels, min(config.max_rows, OPENED), config.seed
    )
    told: dict[str, Any] = {
        "name": known_as(path),
        "split": split,
        "text_columns": [],
        "label_column": name,
        "image_column": column,
    }
    return own, {**told, "rows": len(data), "read": own.of}


def _label(data: Dataset, given: str | None, key: str) -> str | None:
    """Return the column of one label a row, if there is one."""
    if (name := label_column_if_any(data, given, key)) is None:
        return None
    feature = data.features[name]
    one = hasattr(feature, "names") or getattr(feature, "dtype", "float").startswith(("int", "uint", "bool", "string"))
    return name if one else None


def _likeness(config: InspectConfig) -> tuple[Callable[[Gallery], NDArray[np.float64]] | None, dict[str, Any] | None]:
    """Return what gives the cosine of some texts with each of their images, and which model that is."""
    if config.clip is None:
        return None, None
    import torch
    from transformers import AutoModel, AutoProcessor

    from ..models import resolve
    from .source import file_of
    from .store import opened

    source = resolve(config.clip)
    model, processor = AutoModel.from_pretrained(source.path).eval(), AutoProcessor.from_pretrained(source.path)
    if not hasattr(model, "get_image_features"):
        raise InputError(f"`clip`: {config.clip!r} is no model of images and texts")

    def likeness(own: Gallery) -> NDArray[np.float64]:
        column = next(iter(texts_among(own.data, [n for n in own.data.column_names if n != own.column])), None)
        rows = [row for row in own.data.select(range(min(PAIRED, len(own)))) if column and row[column]]
        if not rows:
            return np.zeros((0, 0))
        pictures = processor(images=[opened(file_of(row[own.column]) or b"") for row in rows], return_tensors="pt")
        words = processor(text=[row[column] for row in rows], return_tensors="pt", padding=True, truncation=True)
        with torch.inference_mode():
            sides = [model.get_image_features(**pictures), model.get_text_features(**words)]
        one, other = (torch.nn.functional.normalize(_pooled(side).float(), dim=-1) for side in sides)
        return (one @ other.T).double().numpy()

    return likeness, source.facts()


def _pooled(found: Any) -> Any:
    return getattr(found, "pooler_output", found)  # newer releases give the whole output
