"""What a local Hub holds: repos with their refs and commits, and collections of them."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

MAIN = "refs/heads/main"


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


@dataclass(frozen=True)
class Blob:
    content: bytes
    lfs: bool = False

    @property
    def oid(self) -> str:
        """The git id: of the pointer file where the content is in LFS."""
        data = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.content)}\n"
        return text.encode()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid

    def entry(self, path: str) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "oid": self.oid, "size": len(self.content), "path": path}
        if self.lfs:
            entry["lfs"] = {"oid": self.sha256, "size": len(self.content), "pointerSize": len(self.pointer)}
        return entry


@dataclass
class Commit:
    oid: str
    title: str
    message: str
    author: str
    files: dict[str, Blob]
    date: str = field(default_factory=now)


@dataclass
class Repo:
    """Its refs, each with its commits from the first on; a pull request is the ref `refs/pr/N`."""

    kind: str
    name: str
    private: bool
    refs: dict[str, list[Commit]] = field(default_factory=lambda: {MAIN: []})

    @property
    def commits(self) -> list[Commit]:
        return self.refs[MAIN]

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    @property
    def pulls(self) -> list[str]:
        return [ref for ref in self.refs if ref.startswith("refs/pr/")]

    def add(
        self, files: dict[str, Blob], title: str, message: str = "", author: str = "hub", ref: str = MAIN
    ) -> Commit:
        history = self.refs[ref]
        state = [ref, len(history), title, message, {path: blob.oid for path, blob in sorted(files.items())}]
        oid = hashlib.sha1(json.dumps([self.kind, self.name, *state]).encode()).hexdigest()
        history.append(Commit(oid, title, message, author, files))
        return history[-1]

    def branch(self, ref: str, start: Commit) -> str:
        """Begin a ref at a commit."""
        history = next(history for history in self.refs.values() if start in history)
        self.refs[ref] = history[: history.index(start) + 1]
        return ref

    def ref(self, revision: str) -> str | None:
        """Return the ref that a revision names, if it names one."""
        return next((ref for ref in (revision, f"refs/heads/{revision}") if ref in self.refs), None)

    def history(self, revision: str) -> list[Commit] | None:
        """Return the commits up to a revision: a ref, a branch's name or a commit's id."""
        if ref := self.ref(revision):
            return self.refs[ref]
        for history in self.refs.values():
            for place, commit in enumerate(history, 1):
                if commit.oid == revision:
                    return history[:place]
        return None


@dataclass
class Collection:
    slug: str
    title: str
    owner: str
    private: bool
    items: list[dict[str, Any]] = field(default_factory=list)
    updated: str = field(default_factory=now)

    @classmethod
    def of(cls, title: str, owner: str, private: bool) -> Collection:
        name = re.sub(r"\W+", "-", title.lower()).strip("-")
        return cls(
            f"{owner}/{name}-{hashlib.md5(f'{owner}/{title}'.encode()).hexdigest()[:24]}", title, owner, private
        )

    def facts(self) -> dict[str, Any]:
        told = {"slug": self.slug, "title": self.title, "owner": self.owner, "private": self.private}
        return {**told, "items": self.items, "lastUpdated": self.updated, "theme": "green", "upvotes": 0}
