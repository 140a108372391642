"""Holding back a data set whose inspection found a leak."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .adapters.folder import RECORD as ADAPTER
from .audit.limits import LEAKAGE
from .errors import InputError, unknown
from .leaving import real_texts, sources_of
from .produce import Plan, known_as

PRIVATE = "private"  # the name under which real text is let go
RECORD = "hf_synth/inspect.json"  # in the folder of a data set
FACTS = "hf_synth/facts.json"
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
    learnt = [what for name in TRAINED for what in _read(folder / name).get("private", ())]
    return " and ".join(f"what a model has learnt from {what}" for what in learnt)


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
    before = [what for source in sources_of(plan) for what in marks(source.path)]
    return [*dict.fromkeys([*(real_texts(plan) if private else []), *before])]


def learnt_from(path: str | None) -> list[str]:
    """Return what would stand behind a model that learns rows which must stay on this machine; nothing of others."""
    made = marks(path) if path else []
    return [f"rows made with {' and '.join(made)}"] if made else []


def marks(path: str) -> list[str]:
    """Return what real text rows were made with under `private`, in words; `path` is a file, a folder or a Hub id."""
    given = Path(os.path.expanduser(path))  # Path's own raises where there is no such user
    whole = given.resolve()
    around = (whole, *whole.parents[:2]) if given.exists() else ()  # a file or folder may be one of its data/
    return next((made for folder in around if (made := made_with(folder))), [])


def _read(record: Path) -> dict[str, Any]:
    return json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}


def refuse_leaks(folder: Path, overrule: Sequence[str] = ()) -> None:
    """Refuse a data set whose `hf_synth/inspect.json` says `bad` of a leakage check.

    Args:
        folder: The data set's folder.
        overrule: Checks that are let pass, by name.

    Raises:
        InputError: If one is bad and not overruled, or no leakage check has such a name.
    """
    for name in overrule:
        if name not in (*LEAKAGE, PRIVATE):
            raise unknown("`overrule`", name, (*LEAKAGE, PRIVATE))
    record = folder / RECORD
    if not record.exists():
        return
    try:
        verdicts = json.loads(record.read_text(encoding="utf-8"))["verdicts"]
        bad = {one["check"]: one.get("reason") or "no reason given" for one in verdicts if one["verdict"] == "bad"}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{str(record)!r} cannot be read ({error!r}); run `hf-synth inspect` again") from None
    found = [name for name in LEAKAGE if name in bad and name not in overrule]
    if found:
        reasons = "; ".join(f"{name!r} stands at bad: {bad[name].rstrip('.')}" for name in found)
        names = ", ".join([*overrule, *found])
        raise InputError(
            f"{str(folder)!r} is not pushed, since its leakage check {reasons}. Mend the data set and inspect it "
            f'again, or push it all the same with `--overrule "{names}"`'
        )
