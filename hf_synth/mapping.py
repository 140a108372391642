"""Real rows under a task's own names of columns and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import ClassLabel, LargeList, List, Value

from .bio import from_characters
from .columns import class_names, names_of
from .errors import InputError, unknown
from .shapes import shape
from .task import Reference, Task

if TYPE_CHECKING:
    from datasets import Dataset

SPAN_NAMES = ("label", "type", "slot", "entity")


def under_names(task: Task, reference: Reference, data: Dataset, name: str, split: str) -> Dataset:
    """Bring real rows under the task's names; labels are mapped by name and must be the same set.

    Raises:
        InputError: Naming both sides where they differ, or if there is no row with a label.
    """
    for column, values in reference.only.items():
        if column in data.column_names:
            named = [names_of(value, data.features[column]) for value in data[column]]
            data = data.select([at for at, value in enumerate(named) if value in values])
    if task.kind == "tokens":
        data = _tagged(task, reference, data)
    wanted = shape(task).features(task)
    columns = _columns(task, reference, data, f"{name}, split {split}")
    texts, label = {columns[ours] for ours in task.columns}, columns[task.label_column]
    targets = [names_of(value, data.features[label]) for value in data[label]]
    if known := class_names(wanted[task.label_column]):
        ours_of = _ours(known, reference, data.features[label], targets, (name, task.name))
        targets = [_renamed(target, ours_of) for target in targets]
    full = np.all([[_holds(text) for text in data[column]] for column in texts], axis=0)
    rows = [at for at, target in enumerate(targets) if target is not None and full[at]]
    if not rows:
        raise InputError(f"{name}, split {split}, holds no labelled row")
    chosen = data.select(rows)
    columns_of = {ours: chosen[theirs] for ours, theirs in columns.items()}
    return rows_of(task, columns_of, [targets[at] for at in rows])


def _columns(task: Task, reference: Reference, data: Dataset, where: str) -> dict[str, str]:
    """Return our names of columns -> theirs.

    Raises:
        InputError: For a column that is not there, or holds what the task has not.
    """
    columns, wanted = {}, shape(task).features(task)
    for ours, feature in wanted.items():
        theirs = reference.label if ours == task.label_column else reference.columns.get(ours, ours)
        columns[ours] = theirs = theirs if theirs in data.column_names else ours
        if theirs not in data.column_names:
            raise InputError(
                f"{where}, {unknown('a column', theirs, data.column_names)} "
                "Map columns under `reference.columns`, and `reference.label`, in the task's YAML."
            )
        if feature == Value("string"):
            check_texts(data, theirs, where)
    label = columns[task.label_column]
    if isinstance(wanted[task.label_column], ClassLabel) and isinstance(data.features[label], (List, LargeList)):
        raise InputError(f"{where}: {label!r} holds lists of labels; {task.name} has one for each row")
    return columns


def _tagged(task: Task, reference: Reference, data: Dataset) -> Dataset:
    """Return rows of tokens and tags; texts with spans of characters (`start`, `end`, a name) become such."""
    text, label = reference.columns.get(task.generated, task.generated), reference.label
    if text not in data.column_names or data.features[text] != Value("string") or label not in data.column_names:
        return data
    feature: Any = getattr(data.features[label], "feature", None)
    named = next((name for name in SPAN_NAMES if isinstance(feature, dict) and name in feature), None)
    if named is None:
        return data
    rows = []
    for words, spans in zip(data[text], data[label], strict=True):
        names = [(one["start"], one["end"], names_of(one[named], feature[named])) for one in spans]
        rows.append(from_characters(words, names))
    return type(data).from_dict({text: [tokens for tokens, _ in rows], label: [tags for _, tags in rows]})


def check_texts(data: Dataset, column: str, where: str) -> None:
    """Refuse a column that holds something else than texts, such as numbers.

    Raises:
        InputError: Naming it.
    """
    if not isinstance(feature := data.features[column], Value) or feature.dtype not in ("string", "large_string"):
        raise InputError(
            f"{where}: the column {column!r} must hold texts; it holds {getattr(feature, 'dtype', feature)}"
        )


def _holds(text: Any) -> bool:
    """Tell whether a text, or a list of tokens, holds anything."""
    return bool(text.strip() if isinstance(text, str) else text)


def _ours(
    known: list[str], reference: Reference, feature: Any, targets: list[Any], whose: tuple[str, str]
) -> dict[str, str]:
    """Return their label names -> ours.

    Raises:
        InputError: If they are not the same set.
    """
    named = class_names(feature)
    theirs = named or sorted({name for target in targets for name in _flat(target)})
    ours_of = {_theirs(reference, ours): ours for ours in known}
    if not set(theirs) <= set(ours_of) and set(theirs) <= set(known):
        ours_of = {ours: ours for ours in known}
    if set(theirs) - set(ours_of) or (named and set(ours_of) - set(theirs)):
        raise InputError(
            f"the labels of {whose[0]} and of task {whose[1]} differ: {whose[0]} has {list(theirs)!r}, the task has "
            f"{list(known)!r}. Map them by name under `reference.labels` in the task's YAML."
        )
    return ours_of


def _theirs(reference: Reference, ours: str) -> str:
    """Return their name of a label, or of a BIO tag of one."""
    part, dash, label = ours.partition("-")
    if dash and part in ("B", "I") and label in reference.labels:
        return f"{part}-{reference.labels[label]}"
    return reference.labels.get(ours, ours)


def _flat(target: Any) -> list[str]:
    return [] if target is None else list(target) if isinstance(target, list) else [str(target)]


def _renamed(target: Any, ours_of: dict[str, str]) -> Any:
    if isinstance(target, list):
        return [ours_of[name] for name in target]
    return None if target is None else ours_of[str(target)]


def rows_of(task: Task, texts: dict[str, list[Any]], targets: list[Any]) -> Dataset:
    """Return rows of the task's columns."""
    from datasets import Dataset

    return Dataset.from_dict({**{c: list(v) for c, v in texts.items()}, task.label_column: targets})
