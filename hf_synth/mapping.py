"""Real rows under a task's own names of columns and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import ClassLabel, Features, LargeList, List, Value

from .bio import from_characters
from .columns import class_names, names_of
from .errors import InputError, unknown
from .shapes import shape
from .task import Reference, Task

if TYPE_CHECKING:
    from datasets import Dataset

LISTS = (List, LargeList)
SPAN_NAMES = ("label", "type", "slot", "entity")
MALFORMED = 0.01  # share of malformed rows above which something else than a few rows is wrong


def under_names(
    task: Task, reference: Reference, data: Dataset, name: str, split: str
) -> tuple[Dataset, dict[int, str]]:
    """Bring real rows under the task's names; labels are mapped by name and must be the same set.

    Rows without a text or a label, which a question without an answer is, are left out, and so are malformed ones
    where these are few.

    Returns:
        The rows, and the places of malformed ones with what is wrong there.

    Raises:
        InputError: Naming both sides where they differ, a malformed row where these are many, or if none has a label.
    """
    places, where = list(range(len(data))), f"{name}, split {split}"
    for column, values in reference.only.items():
        if column in data.column_names:
            named = [names_of(value, data.features[column]) for value in data[column]]
            kept = [at for at, value in enumerate(named) if value in values]
            data, places = data.select(kept), [places[at] for at in kept]
    malformed: dict[int, str] = {}
    if task.kind == "tokens":
        data = _tagged(task, reference, data, places, malformed)
    wanted = shape(task).features(task)
    columns = _columns(task, reference, data, where)
    texts, label = {columns[ours] for ours in task.columns}, columns[task.label_column]
    targets = [names_of(value, data.features[label]) for value in data[label]]
    full = np.all([[_holds(text) for text in data[column]] for column in texts], axis=0)
    rows = [at for at, target in enumerate(targets) if _told(target) and full[at]]
    given = {ours: data[theirs][:] for ours, theirs in columns.items()} | {task.label_column: targets}
    for at in rows:
        if flaw := shape(task).flaw(task, {ours: values[at] for ours, values in given.items()}):
            malformed[places[at]] = flaw
    if len(malformed) > MALFORMED * len(data):
        first = min(malformed)
        more = f"; {len(malformed)} of {len(data)} rows are malformed" if len(malformed) > 1 else ""
        raise InputError(f"{where}, row {first}, column {label!r}: {malformed[first]}{more}")
    rows = [at for at in rows if places[at] not in malformed]
    if not rows:
        raise InputError(f"{where}, holds no labelled row")
    columns_of = {ours: [values[at] for at in rows] for ours, values in given.items()}
    targets = columns_of[task.label_column]
    if known := class_names(wanted[task.label_column]):
        ours_of = _ours(known, reference, data.features[label], targets, (name, task.name))
        targets = [_renamed(target, ours_of) for target in targets]
    return rows_of(task, columns_of, targets), malformed


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
        elif not _alike(feature, data.features[theirs]):
            raise InputError(
                f"{where}: the column {theirs!r} must hold {_form(feature)}; it holds {_form(data.features[theirs])}"
            )
    return columns


def _alike(ours: Any, theirs: Any) -> bool:
    """Tell whether a column has the form of the task's; labels may be names or numbers."""
    if isinstance(ours, dict):
        return isinstance(theirs, dict) and all(
            name in theirs and _alike(own, theirs[name]) for name, own in ours.items()
        )
    if isinstance(ours, List):
        return isinstance(theirs, LISTS) and _alike(ours.feature, theirs.feature)
    if isinstance(theirs, (dict, *LISTS)):
        return False
    return isinstance(ours, ClassLabel) or theirs.dtype == "null" or _form(ours) == _form(theirs)


def _form(feature: Any) -> str:
    """Return in words what a column holds."""
    if isinstance(feature, dict):
        return "{" + ", ".join(f"{name}: {_form(own)}" for name, own in feature.items()) + "}"
    if isinstance(feature, LISTS):
        return f"lists of {_form(feature.feature)}"
    if isinstance(feature, ClassLabel):
        return "labels"
    kind = str(getattr(feature, "dtype", feature))
    return next((word for part, word in (("string", "texts"), ("int", "integers")) if part in kind), kind)


def _tagged(
    task: Task, reference: Reference, data: Dataset, places: Sequence[int], malformed: dict[int, str]
) -> Dataset:
    """Return rows of tokens and tags; texts with spans of characters (`start`, `end`, a name) become such.

    Rows with a span that lacks one of these, overlaps another or leaves its text become empty, and are told in
    `malformed`.
    """
    text, label = reference.columns.get(task.generated, task.generated), reference.label
    if text not in data.column_names or data.features[text] != Value("string") or label not in data.column_names:
        return data
    feature: Any = getattr(data.features[label], "feature", None)
    named = next((name for name in SPAN_NAMES if isinstance(feature, dict) and name in feature), None)
    if named is None or not {"start", "end"} <= {*feature}:
        return data
    rows: list[tuple[Any, Any]] = []
    for place, words, spans in zip(places, data[text], data[label], strict=True):
        if words is None or spans is None:
            rows.append((None, None))
            continue
        names: list[Any] = [
            (one["start"], one["end"], names_of(one[named], feature[named])) if one else (None,) for one in spans
        ]
        try:
            if any(part is None for one in names for part in one):
                raise InputError(f"a span lacks its start, end or {named}")
            rows.append(from_characters(words, names))
        except InputError as error:
            malformed[place] = str(error)
            rows.append((None, None))
    features = Features(dict.fromkeys((text, label), List(Value("string"))))
    return type(data).from_dict({text: [own for own, _ in rows], label: [tags for _, tags in rows]}, features)


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


def _told(target: Any) -> bool:
    """Tell whether a row has a label; a question's is its answers, of which there may be none."""
    return bool(target["text"]) if isinstance(target, dict) else target is not None


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
