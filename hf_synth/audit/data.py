"""Any labelled text data set as rows: its columns found, its labels by name, a sample where it is large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..columns import names_of
from ..errors import InputError, reason_of, unknown
from ..folder import PROVENANCE
from ..metrics.sampling import drawn
from ..models import known_as
from ..reference import WHOLE, RealRows, load_labelled, load_real, load_reference
from ..task import Task
from .columns import PARSE, label_column, text_columns
from .records import Asked, Rows, Tagged

if TYPE_CHECKING:
    from datasets import Dataset

MANY = 100  # rows; where more than half of them have a value of their own, these are no labels
ONE = "text"  # the class of rows that do not have one label each


@dataclass(frozen=True)
class Loaded:
    """Rows, or a sample of them, and where they come from.

    Attributes:
        rows: Those that are read.
        facts: Name, split, columns, rows in all, read, without a label, and left out before as malformed.
    """

    rows: Rows
    facts: dict[str, Any]


@dataclass(frozen=True)
class Real:
    """The reference: the split that judges, and its train split where it has one."""

    test: Loaded
    train: Loaded | None


def splits_of(path: str, key: str) -> dict[str, Dataset]:
    """Load all splits of a folder, a file or a Hub id (`id:config` for a config); they stay on disk.

    Raises:
        InputError: If it cannot be loaded.
    """
    file = Path(path)
    name, _, config = (path, "", "") if file.exists() else path.partition(":")
    try:
        return dict(load_real(name, config or None))
    except (OSError, ValueError) as error:  # what datasets and the Hub's client raise
        what = "cannot be loaded" if file.exists() else "is no folder or file here, and on the Hub"
        raise InputError(f"`{key}`: {path!r} {what}: {reason_of(error)}") from None


def chosen_split(splits: Mapping[str, Any], given: str | None, prefer: Sequence[str], key: str, path: str) -> str:
    """Return the split that is asked for, else the first that is preferred, else the first.

    Raises:
        InputError: If there is none of that name.
    """
    if given is not None and given not in splits:
        raise InputError(f"`{key}`: {unknown('a split of ' + repr(path), given, splits)}")
    return given or next((name for name in prefer if name in splits), next(iter(splits)))


def split_told(path: str, split: str, given: str | None) -> str:
    """Return what a reference's split is told as: a file's only one is `train` whatever its rows are for."""
    return WHOLE if given is None and Path(path).is_file() else split


def load(
    path: str,
    key: str,
    prefer: Sequence[str],
    most: int | None,
    seed: int,
    *,
    split: str | None = None,
    texts: Sequence[str] = (),
    label: str | None = None,
) -> Loaded:
    """Load a split as rows.

    Args:
        path: See `splits_of`.
        key: The setting that names it, for messages.
        prefer: Splits to take, in this order, else the first.
        most: Rows that are read at most, drawn by the seed; all where left out.
        seed: See `most`.
        split: The split, where it is given.
        texts: The text columns, likewise.
        label: The label column, likewise.

    Raises:
        InputError: If it cannot be loaded, or has no such split or column.
    """
    splits = splits_of(path, key)
    split = chosen_split(splits, split, prefer, key, path)
    data = splits[split]
    label = label_column(data, label, key)
    columns = text_columns(data, texts, label, key)
    name = known_as(path)
    return rows_of(data, columns, label, name, split, most, seed, key)


def rows_of(
    data: Dataset, columns: Sequence[str], label: str, name: str, split: str, most: int | None, seed: int, key: str
) -> Loaded:
    """Return a data set's rows, or a sample of them.

    Raises:
        InputError: If no row has a label, or rows do not have as many tags as tokens.
    """
    places = drawn(len(data), most, seed)
    some = data.select(places) if len(places) < len(data) else data
    values, labelled = names_of_all(some, label)
    if not (kept := [at for at, value in enumerate(values) if value is not None]):
        raise InputError(f"`{key}`: {name!r}, split {split!r}, holds no labelled row")
    named = getattr(data.features[label], "names", None)
    names = list(named or sorted({values[at] for at in kept}))
    if not named and len(kept) >= MANY and 2 * len(names) > len(kept):
        raise InputError(f"`{key}`: the column {label!r} holds {len(names)} values in {len(kept)} rows: no labels")
    of = {name: at for at, name in enumerate(names)}
    texts = _joined([some[column][:] for column in columns])
    own = {} if labelled else _kinds(some.select(kept), columns[0], label, key)
    rows = Rows(
        [texts[at] for at in kept],
        np.array([of[values[at]] for at in kept]),
        names,
        np.array([places[at] for at in kept]),
        attributes=[some["attributes"][at] for at in kept] if _has_attributes(data) else None,
        labelled=labelled,
        **own,
    )
    facts = {"name": name, "split": split, "text_columns": list(columns), "label_column": label}
    counts = {"rows": len(data), "read": len(places), "unlabelled": len(places) - len(kept)}
    return Loaded(rows, {**facts, **counts, "classes": names})


def _has_attributes(data: Dataset) -> bool:
    """Tell whether the column `attributes` is that of our own data sets: JSON in strings."""
    feature = data.features.get("attributes")
    return getattr(feature, "dtype", "") == "string" and set(PROVENANCE) <= set(data.column_names)


def names_of_all(data: Dataset, label: str) -> tuple[list[str | None], bool]:
    """Return the label of each row by name, `None` where it has none, and whether it is one label.

    Rows of tags, sets, answers or parses are all of the class `ONE`.
    """
    feature = data.features[label]
    found = [names_of(value, feature) for value in data[label][:]]
    given = [value for value in found if value is not None]
    if any(isinstance(value, (list, dict)) or str(value).startswith(PARSE) for value in given):
        return [None if value is None else ONE for value in found], False
    return [None if value is None else str(value) for value in found], True


def _kinds(data: Dataset, column: str, label: str, key: str) -> dict[str, Any]:
    """Return what rows without one label each hold, by its name in `Rows`.

    Raises:
        InputError: If a row has more or fewer tags than tokens, or tags without names.
    """
    found: dict[str, Any] = {"tags": _tagged(data, column, label, key), "asked": _asked(data, label)}
    return {**found, "sets": _sets(data, column, label), "parses": _parses(data, label)}


def _tagged(data: Dataset, column: str, label: str, key: str) -> list[Tagged] | None:
    """Return tokens and BIO tags of each row; none where rows hold something else.

    Raises:
        InputError: If a row has more or fewer tags than tokens, or tags without names.
    """
    tokens, tags = data[column][:], [names_of(value, data.features[label]) for value in data[label][:]]
    if not all(isinstance(own, list) for own in (*tokens, *tags)):
        return None
    for at, (words, own) in enumerate(zip(tokens, tags, strict=True)):
        if not all(isinstance(tag, str) for tag in own):
            raise InputError(
                f"`{key}`: {label!r} holds tags by number, without names: write `B-X`, or give a ClassLabel"
            )
        if len(words) != len(own):
            raise InputError(f"`{key}`: row {at} has {len(words)} tokens in {column!r}, and {len(own)} in {label!r}")
    return list(zip(tokens, tags, strict=True))


def _asked(data: Dataset, label: str) -> list[Asked] | None:
    """Return the questions of rows in the schema of SQuAD; none where rows hold something else."""
    answers = data[label][:]
    if not {"context", "question"} <= {*data.column_names} or not all(
        isinstance(answer, dict) and {"text", "answer_start"} <= {*answer} for answer in answers
    ):
        return None
    firsts = [next(zip(answer["text"], answer["answer_start"], strict=False), ("", 0)) for answer in answers]
    texts = zip(data["context"], data["question"], firsts, strict=True)
    return [Asked(context or "", question or "", *first) for context, question, first in texts]


def _sets(data: Dataset, column: str, label: str) -> list[list[str]] | None:
    """Return the labels of each row of a text and any number of them; none where rows hold something else."""
    feature: Any = data.features[label]
    kind = getattr(getattr(feature, "feature", None), "dtype", None)
    if isinstance(data[0][column], list) or kind not in ("string", "int64"):
        return None
    return [[str(name) for name in names_of(value, feature)] for value in data[label][:]]


def _parses(data: Dataset, label: str) -> list[str] | None:
    """Return the parse of each row; none where rows hold something else."""
    values = data[label][:]
    return values if all(isinstance(value, str) for value in values) else None


def load_real_rows(path: str, task: Task | None, own: Loaded, split: str | None, most: int, seed: int) -> Real:
    """Load the reference: the split that judges, and `train` where it has one.

    Args:
        path: A folder, a file or a Hub id.
        task: Under whose names it is brought; without one, columns are found as the data set's are.
        own: The data set, whose text columns are looked for first.
        split: The split that judges.
        most: Rows that are read of `train`; the split that judges is read whole.
        seed: Decides which.

    Raises:
        InputError: As `load` does.
    """
    if task is not None:
        return real_of(load_reference(task, path, split), path, task, most, seed)
    splits = splits_of(path, "reference")
    wanted = own.facts["text_columns"]
    columns = wanted if all(column in next(iter(splits.values())).column_names for column in wanted) else ()
    test = load(path, "reference", ("test", "validation"), None, seed, split=split, texts=columns)  # one row may leak
    test = replace(test, facts=test.facts | {"split": split_told(path, test.facts["split"], split)})
    if test.facts["split"] in ("train", WHOLE) or "train" not in splits:
        return Real(test, None)
    return Real(test, load(path, "reference", ("train",), most, seed, texts=columns))


def real_of(judge: RealRows, path: str | None, task: Task, most: int, seed: int) -> Real:
    """Return loaded real rows under a task's names, with the `train` split where it has one.

    Args:
        judge: The split that judges.
        path: The file, folder or Hub id it is of; the task's own reference where left out.
        task: The task.
        most: Rows that are read of `train`; the split that judges is read whole.
        seed: Decides which.
    """

    def of(real: RealRows, most: int | None) -> Loaded:
        columns = list(task.columns)
        found = rows_of(real.data, columns, task.label_column, real.name, real.split, most, seed, "reference")
        left = {"malformed": real.malformed, "blank": real.blank}
        return Loaded(found.rows, found.facts | {why: rows for why, rows in left.items() if rows})

    own = task.reference.path if task.reference else None
    path = path or (own if judge.name == own else None)
    if path is None or judge.split in ("train", WHOLE) or "train" not in splits_of(path, "reference"):
        return Real(of(judge, None), None)
    return Real(of(judge, None), of(load_labelled(task, path, "train", "reference"), most))


def load_corpus_texts(path: str, own: Loaded, most: int, seed: int) -> list[str]:
    """Load the texts that conditioned the generation, of every split.

    Raises:
        InputError: If they cannot be loaded or have no text column.
    """
    found: list[str] = []
    for data in splits_of(path, "corpus").values():
        wanted = own.facts["text_columns"]
        columns = wanted if all(column in data.column_names for column in wanted) else ()
        some = data.select(drawn(len(data), most, seed))
        found += _joined([some[column][:] for column in text_columns(data, columns, None, "corpus")])
    return found


def prompts_of(folder: Path) -> list[str] | None:
    """Return the prompts of a data set that `generate` wrote; None of any other."""
    import pyarrow.parquet as pq

    file = folder / "hf_synth" / "prompts.parquet"
    return pq.read_table(file, columns=["text"])["text"].to_pylist() if file.is_file() else None


def _joined(columns: Sequence[Sequence[str | None]]) -> list[str]:
    own = [[" ".join(value) if isinstance(value, list) else value for value in column] for column in columns]
    return ["\n".join(value for value in values if value) for values in zip(*own, strict=True)]
