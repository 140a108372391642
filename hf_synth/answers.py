"""`Answers`: the answers of one unfinished chunk, each on disk as soon as it came."""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path

from .records import Completion

Key = tuple[int, int]


class Answers(MutableMapping[Key, Completion]):
    """Completions by (prompt ordinal, attempt), kept in an append-only file beside the journal's chunks.

    A process that is killed loses the requests in flight and nothing else. A last line that was torn is ignored and
    written over; what a failing disk left of another one is ignored.

    Args:
        path: The file; `None` keeps the answers in memory only.
        spent: US dollars recorded for earlier chunks of the run.
    """

    def __init__(self, path: Path | None, spent: float = 0.0):
        self.path, self.spent = path, spent
        self._found: dict[Key, Completion] = {}
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = 0
        if path.exists():
            for line in path.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                with suppress(ValueError, TypeError):
                    ordinal, attempt, *completion = json.loads(line)
                    self._found[ordinal, attempt] = Completion(*completion)
            with path.open("ab") as stream:
                stream.truncate(whole)
        self._stream = path.open("a", encoding="utf-8")

    def __getitem__(self, key: Key) -> Completion:
        return self._found[key]

    def __setitem__(self, key: Key, completion: Completion) -> None:
        self._found[key] = completion
        if self.path is not None:
            self._stream.write(json.dumps([*key, *astuple(completion)], ensure_ascii=False) + "\n")
            self._stream.flush()  # to the kernel: outlives the process; a power cut may cost the last few

    def __delitem__(self, key: Key) -> None:
        raise TypeError("answers are never taken back")

    def __iter__(self) -> Iterator[Key]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def close(self) -> None:
        """Close the file."""
        if self.path is not None:
            self._stream.close()
