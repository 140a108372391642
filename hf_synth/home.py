"""The output folder of a run: refused where it holds something else, held while a process writes in it."""

from __future__ import annotations

import glob
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .errors import InputError
from .journal import console, read_json, write_json
from .ranks import Ranks

ALONE = Ranks()


def check_folder(folder: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a folder that holds rows made with other settings, naming the first setting that differs.

    What under `place` says on what the run computes may differ: that is told, since digits may then differ too.

    Raises:
        InputError: If it does, or if the folder holds something that is not a run of ours.
    """
    record = folder / "journal" / "settings.json"
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        why = "may not be written to" if there.is_dir() else "is no folder"
        raise InputError(f"`output_dir`: {str(folder)!r} cannot be written: {str(there)!r} {why}")
    if not record.exists():
        if glob.has_magic(str(folder.resolve())):
            raise InputError(
                f"`output_dir`: {str(folder.resolve())!r} holds one of * ? [, a pattern to `load_dataset`"
            )
        if (
            folder.exists()
            and any(entry.name != ".lock" for entry in folder.iterdir())
            and not (folder / "journal").exists()
        ):
            raise InputError(f"{str(folder)!r} holds files that no run wrote; give an empty or new `output_dir`")
        return
    before = read_json(record, say="weights" in settings) or dict(settings)  # torn: the journal knows its own chunks
    now = dict(settings)
    for name in ("weights", "dtype"):
        if name not in now:  # asked before the model is loaded
            before.pop(name, None)
    here = now.pop("place", {})
    told: dict[str, Any] = {"versions": here.get("versions"), **before.pop("place", here)}  # older runs did not
    for key, old, new in _differences(before, now):
        raise InputError(
            f"{str(folder)!r} holds a run with other settings: `{key}` is {old!r} there and {new!r} here. "
            "Give another `output_dir`, or the settings of that run."
        )
    if moved := [f"`{key}` was {old!r} and is {new!r}" for key, old, new in _differences(told, here) if here]:
        console.print(
            f"{str(folder)!r} goes on where {', '.join(moved)}: what was recorded stays, and texts written from here "
            "on may not be those that would have been written there"
        )


def claim(folder: Path, settings: Mapping[str, Any]) -> Path:
    """Write down what a folder's rows are made with, and return the record.

    Raises:
        InputError: As `check_folder` does.
    """
    settings = json.loads(json.dumps(settings))  # as it will be read
    check_folder(folder, settings)
    record = folder / "journal" / "settings.json"
    write_json(record, settings)
    return record


def _differences(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*new, *(name for name in old if name not in new)]:
            yield from _differences(old.get(name), new.get(name), f"{key}.{name}" if key else name)
    elif old != new:
        yield key, old, new


def refuse_held(folder: Path, ranks: Ranks = ALONE) -> None:
    """Refuse a folder that another process holds, before a model is loaded for it; nothing is made that is not there.

    Raises:
        InputError: If one does.
    """
    if (folder / ".lock").exists():
        with locked(folder, ranks):
            pass


@contextmanager
def locked(folder: Path, ranks: Ranks = ALONE) -> Iterator[None]:
    """Hold the output folder; a second run in it is refused. Of several ranks the first holds it for all.

    Raises:
        InputError: If another process writes there.
    """
    if ranks.rank:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"another process is writing in {str(folder)!r}; wait for it or give another `output_dir`"
        ) from None
    try:
        for stale in (*folder.glob(".work-*"), *folder.glob(".dataset-*")):  # of a run that was killed
            shutil.rmtree(stale, ignore_errors=True)
        yield
    finally:
        lock.release()
