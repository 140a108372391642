"""Holding back a data set whose inspection found a leak."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from .audit.limits import LEAKAGE
from .errors import InputError, unknown
from .marks import PRIVATE

RECORD = "hf_synth/inspect.json"  # in the folder of a data set


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
