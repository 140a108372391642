"""`Journal`: the durable record of completions and of `once` results that makes a run resumable and repeatable."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from rich.console import Console

from .records import Completion, Prompt

REPORTED = ("cost", "prompt_tokens")  # of a completion, what some endpoints say
PATIENCE = 6 * 3600.0  # seconds that one rank waits for a piece of another

console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def digest(value: Any) -> str:
    """Return the sha256 of a JSON-able value, independent of key order.

    Raises:
        TypeError: If the value is not JSON-able.
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that after a crash it is there whole or not at all: write aside, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("wb") as stream:
        stream.write(content.encode() if isinstance(content, str) else content)
        stream.flush()
        os.fsync(stream.fileno())
    aside.rename(path)


def write_json(path: Path, value: Any) -> None:
    """Write a record that people read too, as `write_whole` does."""
    write_whole(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path, say: bool = False) -> Any:
    """Return a record, or `None` where there is none; one that a failing disk left torn counts as none."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        if say:
            console.print(f"{path.name} in the journal is torn; it is made again")
        return None


def fill(target: Path, compute: Callable[[Path], Any]) -> None:
    """Make a folder of what `compute` writes, there whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".", dir=target.parent))
    try:
        compute(aside)
        aside.rename(target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


@dataclass(frozen=True)
class Chunk:
    """One recorded chunk: its key, the seed its rows drew from, its answers and the seconds they took."""

    key: str
    seed: int
    completions: list[Completion]
    seconds: float


@dataclass(frozen=True)
class Place:
    """Where a chunk stands in a run.

    Attributes:
        content: Digest of what it asks.
        ordinal: How many of equal content were placed before.
        sequence: How many were placed before.
        batch_size: Forward rows at once, as far as was known then.
    """

    content: str
    ordinal: int
    sequence: int
    batch_size: int


class Journal:
    """Records chunks and `once` results under a folder; without a folder it records nothing.

    A chunk's key is the digest of its prompts, the weights' digest, the decoding settings, the run's seed, the batch
    size, and its ordinal among chunks of equal content, so identical prompts still get new answers.

    Args:
        folder: Where to record.
        computes: Whether `once` results are made by this process; otherwise they are waited for.
    """

    def __init__(self, folder: Path | None, computes: bool = True):
        self.folder, self.computes = folder, computes
        self._seen: Counter[str] = Counter()
        self._sequence = 0
        self._halved: dict[str, int] = {}
        if folder is not None:
            (folder / "chunks").mkdir(parents=True, exist_ok=True)

    def place(self, prompts: Sequence[Prompt], settings: Mapping[str, Any], batch_size: int) -> Place:
        """Give the next chunk its place.

        Args:
            prompts: The chunk's prompts.
            settings: Everything else that decides its text: weights, decoding, seed.
            batch_size: Forward rows at once.
        """
        content = digest([settings, [_content(prompt) for prompt in prompts]])
        place = Place(content, self._seen[content], self._sequence, batch_size)
        self._seen[content] += 1
        self._sequence += 1
        return place

    def key(self, place: Place) -> tuple[str, int]:
        """Return a chunk's key and the batch size in force for it: it halves when the chunk does not fit."""
        batch_size = self._halvings().get(str(place.sequence), place.batch_size)
        return digest([place.content, batch_size, place.ordinal]), batch_size

    def halve(self, place: Place, batch_size: int) -> None:
        """Record that a chunk did not fit, for every later sitting and every rank.

        Raises:
            MemoryError: If the batch cannot be halved.
        """
        if batch_size <= 1:
            raise MemoryError("out of memory with a batch of one; use a smaller model or fewer max_new_tokens")
        if self.folder is None:
            self._halved[str(place.sequence)] = batch_size // 2
            return
        with FileLock(self.folder / ".halvings.lock"):
            halvings = {**self._halvings(), str(place.sequence): batch_size // 2}
            write_whole(self.folder / "halvings.json", json.dumps(halvings))

    def _halvings(self) -> dict[str, int]:
        """Return the batch size of each chunk that did not fit, by its sequence number.

        Where the file is torn, the chunks find out again.
        """
        return self._halved if self.folder is None else read_json(self.folder / "halvings.json") or {}

    def read(self, key: str, say: bool = False) -> Chunk | None:
        """Return a recorded chunk, or `None` where there is none or its file is torn, which is said if `say`."""
        record = read_json(self._path(key), say) if self.folder is not None else None
        if record is None:
            return None
        columns = (record["text"], record["logprob"], record["tokens"], record["finish"])
        reported = (record.get(name, [None] * len(record["text"])) for name in REPORTED)
        completions = [Completion(*row) for row in zip(*columns, *reported, strict=True)]
        return Chunk(key, seed_of(key), completions, record["seconds"])

    def write(self, chunk: Chunk) -> None:
        """Record a chunk, atomically."""
        if self.folder is None:
            return
        record: dict[str, Any] = {
            "text": [c.text for c in chunk.completions],
            "logprob": [c.logprob for c in chunk.completions],
            "tokens": [c.tokens for c in chunk.completions],
            "finish": [c.finish for c in chunk.completions],
            "seconds": chunk.seconds,
        }
        for name in REPORTED:
            if any(getattr(c, name) is not None for c in chunk.completions):
                record[name] = [getattr(c, name) for c in chunk.completions]
        write_whole(self._path(chunk.key), json.dumps(record, ensure_ascii=False))

    def once(self, name: str, inputs: Any, compute: Callable[[], Any]) -> Any:
        """Return the recorded JSON result of `compute` for these inputs, computing and recording it the first time."""
        if self.folder is None:
            return json.loads(json.dumps(compute()))
        path = self.folder / "once" / f"{name}-{digest([name, inputs])[:32]}.json"
        if not self.computes:
            return waited(lambda: read_json(path), f"`{name}`, which rank 0 computes")["result"]
        if (record := read_json(path, say=True)) is None:
            record = {"result": compute()}
            write_whole(path, json.dumps(record, ensure_ascii=False))
        return json.loads(json.dumps(record["result"]))

    def once_folder(self, name: str, inputs: Any, compute: Callable[[Path], None]) -> Path:
        """Return the folder that `compute` filled for these inputs, filling it the first time."""
        root = self.folder or Path(tempfile.mkdtemp(prefix="hf_synth-"))
        target = root / "once" / f"{name}-{digest([name, inputs])[:32]}"
        if not self.computes:
            return waited(lambda: target if target.exists() else None, f"`{name}`, which rank 0 computes")
        if not target.exists():
            fill(target, compute)
        return target

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / "chunks" / key[:2] / f"{key}.json"


def waited(ready: Callable[[], Any], what: str) -> Any:
    """Return what `ready` gives once it gives something; another process is at work on it.

    Raises:
        TimeoutError: After `PATIENCE` seconds.
    """
    start = time.monotonic()
    while (found := ready()) is None:
        if time.monotonic() - start > PATIENCE:
            raise TimeoutError(f"waited {PATIENCE / 3600:.0f} hours for {what}")
        time.sleep(0.02)
    return found


def answer_digest(answer: Completion) -> int:
    """Return 64 bits that stand for an answer: its text, log-probability, tokens and how it ended."""
    return int(digest([answer.text, answer.logprob, answer.tokens, answer.finish])[:16], 16)


def seed_of(key: str) -> int:
    """Return the 64-bit seed of a chunk's row streams, a function of its key."""
    return int(key[:16], 16)


def _content(prompt: Prompt) -> list[Any]:
    return [prompt.text, *prompt.against, dict(prompt.given), *([prompt.rank] if prompt.rank else [])]
