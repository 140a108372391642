"""What the generator of a data set learnt from, as far as it still lies on this machine.

Cards and records go by names, since the path of a folder is nobody's business. Where the folders are stands in two
files that are never pushed: `.local.json` of an adapter, and `journal/local.json` of the output folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..deidentify import deidentified, open_masks
from ..errors import InputError
from ..journal import write_whole
from ..leaving import real_rows
from ..notes import tagged_notes
from ..real import SPLIT
from ..reference import load_labelled
from ..settings import ShotsConfig, SynthConfig
from ..shots import choose
from ..task import Corpus, Task

BESIDE = ".local.json"  # in an adapter's folder
LOCAL = "journal/local.json"  # in an output folder


@dataclass(frozen=True)
class Learnt:
    """Texts that a generator learnt from or was shown, and others of the same source.

    Attributes:
        texts: Those.
        others: Those that it did not see.
        model: The generator, where it can be opened: a Hub id or folder; None for one that was tuned on the way.
        adapter: What was trained beside it, likewise.
        reference: The real rows that judge, if the user named some.
    """

    texts: Sequence[str]
    others: Sequence[str]
    model: str | None = None
    adapter: str | None = None
    reference: str | None = None


def write_beside(
    folder: Path, given: ShotsConfig, notes: Mapping[str, Any] | None, personal: str | None, masked: bool
) -> None:
    """Note in an adapter's folder where its rows or notes lie; a Hub id stays one."""
    found: dict[str, Any] = {"shots": given.shots and _whole(given.shots)}
    found |= {"notes": notes and {**notes, "path": _whole(notes["path"])}}
    found |= {"per_class": given.shots_per_class, "seed": given.shots_seed}
    found |= {"deidentify": masked, "personal": personal and _whole(personal)}
    write_whole(folder / BESIDE, json.dumps(found, indent=1))


def write_local(out: Path, config: SynthConfig, method_config: Any, reference: str | None) -> None:
    """Note in an output folder where what its generator learnt from lies, if it learnt from anything.

    Args:
        out: The output folder.
        config: What is generated.
        method_config: The method's settings.
        reference: Where the real rows lie that judge.
    """
    rows = real_rows(method_config)
    found: dict[str, Any] = {"reference": reference and _whole(reference)}
    if config.adapter:
        found |= {"model": _whole(config.model), "adapter": _whole(config.adapter)}
    elif rows:
        found |= {"shots": _whole(rows), "per_class": getattr(method_config, "shots_per_class", None)}
        found |= {"seed": getattr(method_config, "shots_seed", 0)}
        found |= {"deidentify": bool(config.deidentify), "personal": config.personal and _whole(config.personal)}
    else:
        return
    write_whole(out / LOCAL, json.dumps(found, indent=1))


def learnt_of(dataset: Path, task: Task) -> Learnt | str | None:
    """Return what the generator of a data set of ours learnt from, why that cannot be had, or None if it did not.

    Args:
        dataset: The data set's folder.
        task: Its task.
    """
    facts = json.loads((dataset / "hf_synth" / "facts.json").read_text(encoding="utf-8"))
    local, adapter = dataset.resolve().parent / LOCAL, facts["generator"].get("adapter")
    if not local.is_file():
        named = "name it with `scorer` and `adapter`, and what it learnt from with `corpus`"
        return f"no record here says where the adapter {adapter['name']!r} lies; {named}" if adapter else None
    found = json.loads(local.read_text(encoding="utf-8"))
    rows, folder = found, found.get("adapter")
    if folder:
        if not (Path(folder) / BESIDE).is_file():
            return f"no {BESIDE} in {folder!r} says what it learnt from; name that with `corpus`"
        rows = json.loads((Path(folder) / BESIDE).read_text(encoding="utf-8"))
    try:
        texts, others = _texts(task, rows)
    except InputError as error:
        return f"what its generator learnt from cannot be read again: {error}"
    return Learnt(texts, others, found.get("model"), folder, found.get("reference"))


def _texts(task: Task, rows: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the texts of the rows that were drawn, or of all, as they were learnt, and of the others."""
    notes, most = rows.get("notes"), rows["per_class"]
    real = tagged_notes(task, Corpus(**notes)) if notes else load_labelled(task, rows["shots"], SPLIT, "shots")
    chosen = choose(task, real.data, most, rows["seed"], real.name) if most else [*range(len(real.data))]
    drawn = real.data.select(chosen)
    others = real.data.select(sorted({*range(len(real.data))} - {*chosen}))
    if masks := open_masks(rows["deidentify"], rows["personal"]):
        drawn, others = (deidentified(task, part, masks)[0] if len(part) else part for part in (drawn, others))
    return _joined(task, drawn), _joined(task, others)


def _joined(task: Task, rows: Any) -> list[str]:
    found = [[row[name] for name in task.columns] for row in rows]
    return ["\n".join(" ".join(own) if isinstance(own, list) else own or "" for own in texts) for texts in found]


def _whole(path: str) -> str:
    return str(Path(path).resolve()) if Path(path).exists() else path
