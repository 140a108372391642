"""The packaged tasks, one YAML file each, and how a task is read from one."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from ..config import checked, read_yaml
from ..errors import InputError, unknown
from ..records import BETWEEN
from ..task import Corpus, Opening, Reference, Task

# Settings whose values are words, also where they look like numbers.
WORDS = ("words", "queries", "starts", "attributes", "mismatched", "together", "labels", "only")


def task_names() -> tuple[str, ...]:
    """Return the names of the packaged tasks."""
    return tuple(
        sorted(entry.name[:-5] for entry in resources.files(__name__).iterdir() if entry.name.endswith(".yaml"))
    )


def parse_task(values: Mapping[str, Any], where: str) -> Task:
    """Build a task from a mapping; nested mappings become `Opening` and `Reference`.

    Labels may be numbers, and are strings from here on.
    """
    values = {key: value if key == "labels" else _named(value, key in WORDS) for key, value in values.items()}
    if isinstance(values.get("labels"), list | tuple | Mapping):
        values["labels"] = _labels(values["labels"], where)
    for key in ("words", "queries", "starts"):
        if isinstance(values.get(key), Mapping):
            values[key] = {k: (w,) if isinstance(w, str) else w for k, w in values[key].items()}
    for key in ("columns", "language", "stop", "starts"):
        if isinstance(values.get(key), str):
            values[key] = (values[key],)
    for key, kind in (("opening", Opening), ("corpus", Corpus), ("reference", Reference)):
        if isinstance(values.get(key), Mapping):
            values[key] = checked(kind, values[key], f"{where}: {key}")
    return checked(Task, values, where)


def load_task(name: str | Mapping[str, Any]) -> Task:
    """Load a packaged task by name, a user's task by the path of its YAML file, or one whose values are given.

    Raises:
        InputError: If there is no such task or it is not valid.
    """
    if isinstance(name, Mapping):
        return parse_task(name, "task")
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        return parse_task({"name": path.stem, **read_yaml(path)}, str(path))
    if name not in task_names():
        raise InputError(f"{unknown('`task`', name, task_names())} A task of your own is a path ending in .yaml.")
    with resources.as_file(resources.files(__name__) / f"{name}.yaml") as path:
        return parse_task({"name": name, **read_yaml(path)}, f"task {name}")


def _labels(labels: Any, where: str) -> dict[str, str]:
    """Return label name -> words; a plain list uses the names as words."""
    words = labels.values() if isinstance(labels, Mapping) else ()
    for name in [*labels, *words]:
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise InputError(f"{where}: `labels`: names and words are strings; put {name!r} in quotes")
        if name in labels and BETWEEN in str(name):
            raise InputError(f"{where}: `labels`: {name!r} holds {BETWEEN!r}, which parts the names of a row's labels")
    if len({str(name) for name in labels}) < len(labels):
        raise InputError(f"{where}: `labels` names a label twice: {list(labels)!r}")
    if not all(str(name).strip() for name in labels):
        raise InputError(f"{where}: `labels`: a name is empty: {list(labels)!r}")
    if isinstance(labels, Mapping):
        return {str(name): str(text) for name, text in labels.items()}
    return {str(name): str(name).replace("_", " ") for name in labels}


def _named(value: Any, words: bool) -> Any:
    """Return a setting whose keys are strings, as labels are; of words and names the numbers, too."""
    if isinstance(value, Mapping):
        return {k if isinstance(k, bool) else str(k): _named(own, words or k in WORDS) for k, own in value.items()}
    if isinstance(value, list) and words:
        return [_named(own, words) for own in value]
    return str(value) if words and isinstance(value, int) and not isinstance(value, bool) else value
