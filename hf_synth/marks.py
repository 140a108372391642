"""Marks of `private`: what must stay on this machine for the real text behind it, and what is made of that."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .adapters.folder import RECORD as ADAPTER
from .errors import InputError
from .leaving import real_texts, sources_of
from .models import known_as
from .produce import Plan

PRIVATE = "private"  # the name under which real text is let go
FACTS = "hf_synth/facts.json"  # in the folder of a data set
TRAINED = ("training.json", "report.json")  # in the folder of a model: a student's, that of `fuse`


def refuse_private(folder: Path, overrule: Sequence[str] = ()) -> None:
    """Refuse what was made under `private` of real text: an adapter, a data set or a model that says so.

    Args:
        folder: Of one of these.
        overrule: Lets it pass where `private` is among them.

    Raises:
        InputError: Saying what would leave this machine.
    """
    leaving = held_back(folder)
    if leaving and PRIVATE not in overrule:
        raise InputError(
            f"{str(folder)!r} is not pushed, since it was made under `private` and holds {leaving}. Read its "
            "inspection, and if it may leave this machine push it with `--overrule private`"
        )


def held_back(folder: Path) -> str:
    """Return what real text stands behind a folder that was made under `private`; nothing of others."""
    adapter = _read(folder / ADAPTER)
    if adapter.get("private"):
        return f"what has learnt from real rows of {adapter['shots']['name']}"
    if made := made_with(folder):
        return f"rows made with {' and '.join(made)}"
    return " and ".join(f"what a model has learnt from {what}" for what in behind(str(folder)))


def made_with(folder: Path) -> list[str]:
    """Return what real text the rows of a data set were made with under `private`, in words; nothing of others."""
    facts = _read(folder / FACTS)
    adapter = facts.get("generator", {}).get("adapter") or {}  # of images there is no one generator
    if adapter.get("private") and not facts.get("private"):
        return [f"an adapter that has learnt from real rows of {adapter['shots']['name']}"]
    return facts.get("private", [])


def stays(path: str, private: bool) -> list[str]:
    """Return what real text would stand behind rows that are made of others and shall stay on this machine, in words.

    Args:
        path: The others: a file, folder or Hub id.
        private: Whether they shall stay. What they were made with under `private` shall in any case.
    """
    return marks(path) or ([f"rows of {known_as(path)!r}"] if private else [])


def kept_here(plan: Plan, private: bool) -> list[str]:
    """Return what real text a plan's rows would be made with and shall stay on this machine for, in words.

    Args:
        plan: The run.
        private: Whether rows of real text shall stay. Those of what was made under `private` shall in any case.
    """
    before = [*behind(plan.config.model), *(what for source in sources_of(plan) for what in marks(source.path))]
    return [*dict.fromkeys([*(real_texts(plan) if private else []), *before])]


def behind(model: str) -> list[str]:
    """Return what real text a trained model must stay on this machine for, in words; nothing of others."""
    folder = Path(os.path.expanduser(model))
    return [*dict.fromkeys(what for name in TRAINED for what in _read(folder / name).get("private", ()))]


def learnt_from(path: str | None) -> list[str]:
    """Return what would stand behind a model that learns rows which must stay on this machine; nothing of others."""
    made = marks(path) if path else []
    return [f"rows made with {' and '.join(made)}"] if made else []


def marks(path: str) -> list[str]:
    """Return what real text rows were made with under `private`, in words; `path` is a file, a folder or a Hub id."""
    given = Path(os.path.expanduser(path))  # Path's own raises where there is no such user
    whole = given.resolve()
    # A file or folder may be one of its data/; of a whole output folder `datasets` reads what is in dataset/.
    around = (whole, whole / "dataset", *whole.parents[:2]) if given.exists() else ()
    return next((made for folder in around if (made := made_with(folder))), [])


def _read(record: Path) -> dict[str, Any]:
    found = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    return found if isinstance(found, dict) else {}  # a file of another program
