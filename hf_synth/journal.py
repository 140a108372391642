"""`Journal`: the durable record of completions and of `once` results that makes a run resumable and repeatable."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .records import Completion, Prompt


def digest(value: Any) -> str:
    """Return the sha256 of a JSON-able value, independent of key order.

    Raises:
        TypeError: If the value is not JSON-able.
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def write_whole(path: Path, text: str) -> None:
    """Write a file so that after a crash it is there whole or not at all: write aside, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    aside.rename(path)


@dataclass(frozen=True)
class Chunk:
    """One recorded chunk: its key, the seed its rows drew from, its answers and the seconds they took."""

    key: str
    seed: int
    completions: list[Completion]
    seconds: float


class Journal:
    """Records chunks and `once` results under a folder; without a folder it records nothing.

    A chunk's key is the digest of its prompts, the weights' digest, the decoding settings, the run's seed, the batch
    size, and its ordinal among chunks of equal content, so identical prompts still get new answers.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder
        self._seen: Counter[str] = Counter()
        self._sequence = 0
        self._halvings: list[int] = []
        if folder is not None:
            (folder / "chunks").mkdir(parents=True, exist_ok=True)
            events = folder / "halvings.json"
            self._halvings = json.loads(events.read_text()) if events.exists() else []

    def open_chunk(self, prompts: Sequence[Prompt], settings: Mapping[str, Any], batch_size: int) -> tuple[str, int]:
        """Return the key of the next chunk and the batch size in force for it.

        Args:
            prompts: The chunk's prompts.
            settings: Everything else that decides its text: weights, decoding, seed.
            batch_size: The configured batch size; recorded out-of-memory events halve it.
        """
        for at in self._halvings:
            if at <= self._sequence:
                batch_size = max(1, batch_size // 2)
        content = digest([settings, batch_size, [_content(prompt) for prompt in prompts]])
        ordinal = self._seen[content]
        self._seen[content] += 1
        self._sequence += 1
        return hashlib.sha256(f"{content}:{ordinal}".encode()).hexdigest(), batch_size

    def halve(self, batch_size: int) -> None:
        """Record that the newest chunk did not fit, so that it and all later ones use half the batch size.

        Raises:
            MemoryError: If the batch cannot be halved.
        """
        if batch_size <= 1:
            raise MemoryError("out of memory with a batch of one; use a smaller model or fewer max_new_tokens")
        self._sequence -= 1
        self._halvings.append(self._sequence)
        if self.folder is not None:
            write_whole(self.folder / "halvings.json", json.dumps(self._halvings))

    def read(self, key: str) -> Chunk | None:
        """Return a recorded chunk, or `None`."""
        if self.folder is None or not (path := self._path(key)).exists():
            return None
        record = json.loads(path.read_text(encoding="utf-8"))
        columns = (record["text"], record["logprob"], record["tokens"], record["finish"])
        completions = [Completion(*row) for row in zip(*columns, strict=True)]
        return Chunk(key, seed_of(key), completions, record["seconds"])

    def write(self, chunk: Chunk) -> None:
        """Record a chunk, atomically."""
        if self.folder is None:
            return
        record = {
            "text": [c.text for c in chunk.completions],
            "logprob": [c.logprob for c in chunk.completions],
            "tokens": [c.tokens for c in chunk.completions],
            "finish": [c.finish for c in chunk.completions],
            "seconds": chunk.seconds,
        }
        write_whole(self._path(chunk.key), json.dumps(record, ensure_ascii=False))

    def once(self, name: str, inputs: Any, compute: Callable[[], Any]) -> Any:
        """Return the recorded JSON result of `compute` for these inputs, computing and recording it the first time."""
        path = None if self.folder is None else self.folder / "once" / f"{name}-{digest([name, inputs])[:32]}.json"
        if path is not None and path.exists():
            return json.loads(path.read_text(encoding="utf-8"))["result"]
        text = json.dumps({"result": compute()}, ensure_ascii=False)
        if path is not None:
            write_whole(path, text)
        return json.loads(text)["result"]

    def once_folder(self, name: str, inputs: Any, compute: Callable[[Path], None]) -> Path:
        """Return the folder that `compute` filled for these inputs, filling it the first time."""
        root = self.folder or Path(tempfile.mkdtemp(prefix="hf_synth-"))
        target = root / "once" / f"{name}-{digest([name, inputs])[:32]}"
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix=".", dir=target.parent))
            try:
                compute(aside)
                aside.rename(target)
            except BaseException:
                shutil.rmtree(aside, ignore_errors=True)
                raise
        return target

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / "chunks" / key[:2] / f"{key}.json"


def seed_of(key: str) -> int:
    """Return the 64-bit seed of a chunk's row streams, a function of its key."""
    return int(key[:16], 16)


def _content(prompt: Prompt) -> list[Any]:
    return [prompt.text, *prompt.against]
