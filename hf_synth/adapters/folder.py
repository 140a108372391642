"""`Adapter`: adapters on disk, with what is known of them."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..journal import write_json
from ..models import hub_unreachable, snapshot
from . import WEIGHTS, Adapters, attach

RECORD = "adapter.json"
ALL = "default"  # the name of a set that answers for every label; peft's own name for the only one


@dataclass(frozen=True)
class Adapter:
    """A folder with one set of trained parameters, or one for each label.

    Attributes:
        name: What the user called it; of a local folder its last part, since its path is nobody's business.
        path: The folder.
        digest: sha256 over its weights.
        record: What `tune` wrote: `adapt`, `adapter_size`, `names`, the `model` it belongs to, and how it was trained.
    """

    name: str
    path: Path
    digest: str
    record: Mapping[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of its sets: labels, or `default` alone."""
        return tuple(self.record["names"])

    def of(self, cell: Any) -> str | None:
        """Return the name of the set that answers prompts of a cell; prompts that ask for no row have none."""
        if cell is None:
            return None
        return next((name for name in (ALL, set_name(str(cell))) if name in self.names), None)

    def check_labels(self, labels: Iterable[str]) -> None:
        """Refuse labels that no set answers for; the model would answer as it was, and nobody would know.

        Raises:
            InputError: Naming the first.
        """
        for label in labels:
            if self.of(label) is None:
                theirs = self.record.get("labels", self.names)
                raise InputError(
                    f"`adapter`: {self.name!r} has a set for each of {', '.join(theirs)}, and none for {label!r}"
                )

    def facts(self) -> dict[str, Any]:
        """Return what provenance records."""
        kept = ("adapt", "adapter_size", "names", "parameters", "shots", "private", "deidentified")
        return {"name": self.name, "sha256": self.digest, **{key: self.record.get(key) for key in kept}}

    def open(self, model: Any) -> Adapters:
        """Put the sets beside their model, which answers as it was until one is used."""
        adapters = attach(model, self.record["adapt"], self.record["adapter_size"] or 0)
        for name in self.names:
            adapters.load(name, place(self.path, name))
        adapters.use(None)
        return adapters


def set_name(label: str) -> str:
    """Return what a label's set is called, in modules and folders: their names have no dots and slashes.

    The prefix keeps it from being the name of anything else, such as `default` or a module's attribute.
    """
    plain = re.sub(r"[./\\]", "_", label)
    return f"label-{plain}" if plain == label else f"label-{plain}-{hashlib.sha256(label.encode()).hexdigest()[:6]}"


def write_record(folder: Path, own: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Write what is known of the sets of a folder, with how many parameters a set has, and return it."""
    record = {**known, "parameters": sum(value.numel() for value in own.values())}
    write_json(folder / RECORD, record)
    return record


def place(folder: Path, name: str) -> Path:
    """Return where a set's files lie: that of all labels in the folder itself, as peft has it."""
    return folder if name == ALL else folder / name


def open_adapter(name: str, weights: str) -> Adapter:
    """Find an adapter: a local folder, or a repository of the Hub.

    Args:
        name: The folder or id.
        weights: sha256 of the model that it shall stand beside.

    Raises:
        InputError: If there is none, or it belongs to another model.
    """
    folder, shown = Path(os.path.expanduser(name)), name
    if folder.is_dir():
        shown = folder.resolve().name
    else:
        try:
            folder = snapshot(name, local_files_only=bool(hub_unreachable()))
        except InputError as error:
            raise InputError(f"`adapter`: {error}") from None
    if not (folder / RECORD).exists():
        raise InputError(f"`adapter`: {name!r} holds no {RECORD}: `hf-synth tune` writes such folders")
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"`adapter`: {RECORD} of {name!r} cannot be read: {error}") from None
    theirs = record["model"]
    if theirs["sha256"] != weights:
        raise InputError(
            f"`adapter`: {name!r} belongs to {theirs['name']} (sha256 {theirs['sha256'][:12]}); "
            f"the model's weights have sha256 {weights[:12]}"
        )
    total = hashlib.sha256(json.dumps([record["adapt"], record["names"]]).encode())
    for one in record["names"]:
        total.update(hashlib.sha256((place(folder, one) / WEIGHTS).read_bytes()).digest())
    return Adapter(shown, folder, total.hexdigest(), record)
