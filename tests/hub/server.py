"""A Hub on loopback, in memory, that the unmodified `huggingface_hub` and `datasets` clients talk to.

It speaks whoami, repo create and info, preupload, LFS (batch, upload, verify), commit, tree, paths-info, refs,
commits and resolve, with the Hub's status codes and error headers. It checks what the real one checks: tokens,
private repos, `parentCommit`, object hashes, paths to delete. Faults are injected by `fail_next` and `before_next`.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import yaml

LFS_NAMES = ("*.parquet", "*.safetensors", "*.arrow", "*.bin", "*.gguf", "*.pt", "*.zip")
LFS_BYTES = 10 * 2**20
GITATTRIBUTES = "".join(f"{name} filter=lfs diff=lfs merge=lfs -text\n" for name in LFS_NAMES).encode()


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
    date: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"))


@dataclass
class Repo:
    kind: str
    name: str
    private: bool
    commits: list[Commit] = field(default_factory=list)

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    def add(self, files: dict[str, Blob], title: str, message: str = "", author: str = "hub") -> Commit:
        state = [len(self.commits), title, message, {path: blob.oid for path, blob in sorted(files.items())}]
        oid = hashlib.sha1(json.dumps([self.kind, self.name, *state]).encode()).hexdigest()
        self.commits.append(Commit(oid, title, message, author, files))
        return self.head

    def at(self, revision: str) -> Commit | None:
        if revision in ("main", "refs/heads/main"):
            return self.head
        return next((commit for commit in self.commits if commit.oid == revision), None)


@dataclass
class Fault:
    path: re.Pattern[str]
    action: int | str | Callable[[], object]
    times: int


class Refused(Exception):
    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class HubServer:
    """Start with `with HubServer() as server:`; `server.endpoint` is what HF_ENDPOINT wants."""

    def __init__(self) -> None:
        self.tokens = {"hf_writer": ("user", "write"), "hf_reader": ("user", "read"), "hf_other": ("other", "write")}
        self.repos: dict[tuple[str, str], Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.log: list[tuple[str, str, int]] = []
        self.faults: list[Fault] = []
        self.lock = threading.RLock()
        handler = type("Handler", (_Handler,), {"hub": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.http.server_address[1]}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def fail_next(self, path: str, status: int | str = 503, times: int = 1) -> None:
        """Spoil the next requests whose `METHOD /path` matches: a status to answer with, `drop_request` (hang up
        unanswered, nothing done), `drop_reply_after_commit` (do what was asked, then hang up) or `do_later` (hang up,
        and do it when the same request comes again)."""
        self.faults.append(Fault(re.compile(path), status, times))

    def before_next(self, path: str, act: Callable[[], object], times: int = 1) -> None:
        """Call `act` when the next matching request has come in and before it is served."""
        self.faults.append(Fault(re.compile(path), act, times))

    def repo(self, name: str, kind: str = "dataset") -> Repo:
        return self.repos[kind, name]

    def edit(self, name: str, files: dict[str, bytes], kind: str = "dataset", private: bool = False) -> Commit:
        """Commit as a person in the browser would, on a repo that is created when it is absent."""
        with self.lock:
            repo = self.repos.get((kind, name)) or self.create(kind, name, private)
            blobs = {path: Blob(content, _is_lfs(path, len(content))) for path, content in files.items()}
            return repo.add({**repo.head.files, **blobs}, "Edited by hand", author="person")

    def create(self, kind: str, name: str, private: bool) -> Repo:
        repo = self.repos[kind, name] = Repo(kind, name, private)
        repo.add({".gitattributes": Blob(GITATTRIBUTES)}, "initial commit")
        return repo

    def requests(self, pattern: str) -> list[tuple[str, str, int]]:
        return [entry for entry in self.log if re.search(pattern, f"{entry[0]} {entry[1]}")]

    def take_faults(self, request: str) -> tuple[list[Callable[[], object]], int | str | None]:
        """What to do before this request, and how to spoil it: every call that waits for it, one fault at most."""
        calls: list[Callable[[], object]] = []
        action: int | str | None = None
        with self.lock:
            for fault in self.faults:
                if fault.times == 0 or not fault.path.search(request):
                    continue
                if callable(fault.action):
                    calls.append(fault.action)
                elif action is None:
                    action = fault.action
                else:
                    continue
                fault.times -= 1
        return calls, action


def _is_lfs(path: str, size: int) -> bool:
    return size >= LFS_BYTES or any(fnmatch.fnmatch(path, name) for name in LFS_NAMES)


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.serve()

    do_HEAD = do_POST = do_PUT = do_GET

    def serve(self) -> None:
        parts = urlsplit(self.path)
        self.route, self.query, self.muted = unquote(parts.path), parse_qs(parts.query), False
        self.body = self.read_body()
        calls, action = self.hub.take_faults(f"{self.command} {self.route}")
        for call in calls:
            call()
        if action == "do_later":
            # Slow rather than down: what was asked happens just before the same request comes again.
            self.muted = self.close_connection = True
            self.hub.before_next(f"^{self.command} {re.escape(self.route)}$", self.dispatch)
            return
        if action == "drop_request":
            self.hub.log.append((self.command, self.route, 0))
            self.close_connection = True
            return
        if isinstance(action, int):
            limits = {"RateLimit": '"api";r=0;t=1'} if action == 429 else {}
            self.reply(action, b"<html>a gateway speaks</html>", {"Content-Type": "text/html", **limits})
            return
        self.muted = action == "drop_reply_after_commit"
        try:
            self.dispatch()
        except Refused as refused:
            headers = {"X-Error-Message": refused.message}
            if refused.code:
                headers["X-Error-Code"] = refused.code
            self.reply(refused.status, {"error": refused.message}, headers)

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def reply(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        self.hub.log.append((self.command, self.route, status))
        if self.muted:
            self.close_connection = True
            return
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    # Who asks, and for what

    def user(self) -> tuple[str, str] | None:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        if not token:
            return None
        if kind != "Bearer" or token not in self.hub.tokens:
            raise Refused(401, "Invalid username or password.")
        return self.hub.tokens[token]

    def writer(self, namespace: str) -> str:
        user = self.user()
        if user is None:
            raise Refused(401, "Invalid username or password.")
        if user[1] != "write" or user[0] != namespace:
            raise Refused(403, f"You don't have the rights to write under the namespace {namespace!r}")
        return user[0]

    def find(self, kind: str, name: str) -> Repo:
        user, repo = self.user(), self.hub.repos.get((kind, name))
        if repo is None or (repo.private and (user is None or user[0] != name.split("/")[0])):
            raise Refused(404 if user else 401, "Repository not found", "RepoNotFound")
        return repo

    def commit_of(self, repo: Repo, revision: str) -> Commit:
        commit = repo.at(revision)
        if commit is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def dispatch(self) -> None:
        for method, pattern, name in ROUTES:
            match = re.fullmatch(pattern, self.route)
            if match and self.command in method.split():
                groups = {key: value for key, value in match.groupdict().items() if value is not None}
                if "kind" in groups:
                    groups["kind"] = groups["kind"].removesuffix("s")
                with self.hub.lock:
                    getattr(self, name)(**groups)
                return
        raise Refused(404, f"Not found: {self.command} {self.route}")

    # Accounts and repos

    def whoami(self) -> None:
        user = self.user()
        if user is None:
            raise Refused(401, "Invalid username or password.")
        token = {"type": "access_token", "accessToken": {"displayName": "test", "role": user[1]}}
        self.reply(200, {"type": "user", "name": user[0], "orgs": [], "auth": token})

    def create_repo(self) -> None:
        wanted = json.loads(self.body)
        owner = self.user()
        namespace = wanted.get("organization") or (owner[0] if owner else "")
        self.writer(namespace)
        kind, name = wanted.get("type") or "model", f"{namespace}/{wanted['name']}"
        address = f"{self.hub.endpoint}/{'datasets/' if kind == 'dataset' else ''}{name}"
        if (kind, name) in self.hub.repos:
            error = f"You already created this {kind} repo"
            self.reply(409, {"error": error, "url": address}, {"X-Error-Message": error})
            return
        private = bool(wanted.get("private")) or wanted.get("visibility") == "private"
        self.hub.create(kind, name, private)
        self.reply(200, {"url": address, "name": name, "id": name})

    def validate_yaml(self) -> None:
        text = json.loads(self.body)["content"]
        header = re.match(r"\s*---\r?\n(.*?)\r?\n---", text, re.DOTALL)
        try:
            data = yaml.safe_load(header.group(1)) if header else {}
            errors = [] if isinstance(data or {}, dict) else ["the metadata is not a mapping"]
        except yaml.YAMLError as error:
            errors = [str(error)]
        if "license" in (data or {} if not errors else {}) and data["license"] == "not-a-licence":
            errors = ['"license" must be one of [apache-2.0, mit, other, ...]']
        answer = {"errors": [{"message": message} for message in errors], "warnings": []}
        self.reply(400 if errors else 200, answer)

    def repo_info(self, kind: str, name: str, revision: str = "main") -> None:
        repo = self.find(kind, name)
        commit = self.commit_of(repo, revision)
        siblings: list[dict[str, Any]] = [{"rfilename": path} for path in sorted(commit.files)]
        if "blobs" in self.query:
            blobs = commit.files.items()
            siblings = [{"rfilename": p, "blobId": b.oid, "size": len(b.content)} for p, b in blobs]
        self.reply(
            200,
            {
                "_id": hashlib.md5(name.encode()).hexdigest()[:24],
                "id": name,
                "author": name.split("/")[0],
                "sha": commit.oid,
                "lastModified": commit.date,
                "createdAt": repo.commits[0].date,
                "private": repo.private,
                "gated": False,
                "disabled": False,
                "downloads": 0,
                "likes": 0,
                "tags": [],
                "siblings": siblings,
                "usedStorage": sum(len(blob.content) for blob in commit.files.values()),
            },
        )

    def refs(self, kind: str, name: str) -> None:
        head = self.find(kind, name).head.oid
        branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": head}
        self.reply(200, {"branches": [branch], "tags": [], "converts": []})

    def commits(self, kind: str, name: str, revision: str) -> None:
        repo = self.find(kind, name)
        until = repo.commits.index(self.commit_of(repo, revision)) + 1
        history = [
            {"id": c.oid, "title": c.title, "message": c.message, "date": c.date, "authors": [{"user": c.author}]}
            for c in reversed(repo.commits[:until])
        ]
        self.reply(200, history)

    # Reading

    def tree(self, kind: str, name: str, revision: str, path: str = "") -> None:
        files = self.commit_of(self.find(kind, name), revision).files
        prefix = f"{path.strip('/')}/" if path.strip("/") else ""
        if prefix and not any(file.startswith(prefix) for file in files):
            raise Refused(404, f"{path} does not exist on {revision!r}", "EntryNotFound")
        recursive = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries: dict[str, dict[str, Any]] = {}
        for file, blob in sorted(files.items()):
            if not file.startswith(prefix):
                continue
            steps = file.removeprefix(prefix).split("/")
            for depth in range(1, len(steps) if recursive else min(len(steps), 2)):
                folder = prefix + "/".join(steps[:depth])
                entries[folder] = self.folder_entry(folder)
            if recursive or len(steps) == 1:
                entries[file] = blob.entry(file)
        self.reply(200, list(entries.values()))

    def folder_entry(self, folder: str) -> dict[str, Any]:
        return {"type": "directory", "oid": hashlib.sha1(folder.encode()).hexdigest(), "size": 0, "path": folder}

    def paths_info(self, kind: str, name: str, revision: str) -> None:
        files = self.commit_of(self.find(kind, name), revision).files
        if "json" in self.headers.get("Content-Type", ""):
            paths = json.loads(self.body)["paths"]
        else:
            paths = parse_qs(self.body.decode()).get("paths", [])
        found = [files[path].entry(path) for path in paths if path in files]
        folders = [path for path in paths if any(file.startswith(f"{path.rstrip('/')}/") for file in files)]
        self.reply(200, [*found, *(self.folder_entry(folder) for folder in folders)])

    def resolve(self, name: str, revision: str, path: str, kind: str = "model") -> None:
        commit = self.commit_of(self.find(kind, name), revision)
        base = {"X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
        blob = commit.files.get(path)
        if blob is None:
            headers = {**base, "X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            self.reply(404, b"Entry not found", headers)
            return
        base |= {"ETag": f'"{blob.etag}"', "Content-Type": "application/octet-stream"}
        if blob.lfs:
            base |= {"X-Linked-Size": str(len(blob.content)), "X-Linked-ETag": f'"{blob.etag}"'}
        window = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if window is None:
            self.reply(200, blob.content, base)
            return
        start, size = int(window.group(1)), len(blob.content)
        stop = min(int(window.group(2) or size - 1), size - 1) + 1
        if start >= size:
            raise Refused(416, "Range not satisfiable")
        self.reply(206, blob.content[start:stop], {**base, "Content-Range": f"bytes {start}-{stop - 1}/{size}"})

    # Writing

    def preupload(self, kind: str, name: str, revision: str) -> None:
        self.writer(name.split("/")[0])
        commit = self.commit_of(self.find(kind, name), revision)
        ignore = commit.files[".gitignore"].content.decode().split() if ".gitignore" in commit.files else []
        answer = []
        for file in json.loads(self.body)["files"]:
            path, there = file["path"], commit.files.get(file["path"])
            answer.append(
                {
                    "path": path,
                    "uploadMode": "lfs" if _is_lfs(path, file["size"]) else "regular",
                    "shouldIgnore": any(fnmatch.fnmatch(path, rule) for rule in ignore),
                    "oid": there.etag if there else None,
                }
            )
        self.reply(200, {"files": answer, "commitOid": commit.oid})

    def lfs_batch(self, name: str, kind: str = "model") -> None:
        self.writer(name.split("/")[0])
        self.find(kind, name)
        objects = []
        for item in json.loads(self.body)["objects"]:
            answer: dict[str, Any] = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.hub.objects:
                address = f"{self.hub.endpoint}/lfs/{item['oid']}"
                verify = f"{self.hub.endpoint}/{quote(name)}.git/info/lfs/objects/verify"
                answer["actions"] = {"upload": {"href": address}, "verify": {"href": verify}}
            objects.append(answer)
        self.reply(200, {"transfer": "basic", "objects": objects})

    def lfs_upload(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refused(400, "The object is not what its name says")
        self.hub.objects[oid] = self.body
        self.reply(200, b"")

    def lfs_verify(self, name: str, kind: str = "model") -> None:
        self.writer(name.split("/")[0])
        wanted = json.loads(self.body)
        if len(self.hub.objects.get(wanted["oid"], b"")) != wanted["size"]:
            raise Refused(404, "The object was not uploaded")
        self.reply(200, {})

    def commit(self, kind: str, name: str, revision: str) -> None:
        author = self.writer(name.split("/")[0])
        repo = self.find(kind, name)
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        parent = header.get("parentCommit")
        if revision != "main":
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        if parent and parent != repo.head.oid:
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repo.head.files)
        for line in lines[1:]:
            self.apply(files, line["key"], line["value"])
        made = repo.add(files, header["summary"], header.get("description", ""), author)
        prefix = "datasets/" if kind == "dataset" else ""
        address = f"{self.hub.endpoint}/{prefix}{name}/commit/{made.oid}"
        self.reply(200, {"success": True, "commitOid": made.oid, "commitUrl": address, "hookOutput": ""})

    def apply(self, files: dict[str, Blob], key: str, value: dict[str, Any]) -> None:
        path = value["path"]
        if key == "file":
            files[path] = Blob(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            if value["oid"] not in self.hub.objects:
                raise Refused(400, f"{path}: the LFS object was not uploaded")
            files[path] = Blob(self.hub.objects[value["oid"]], lfs=True)
        elif key == "deletedFile":
            if files.pop(path, None) is None:
                raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
        elif key == "deletedFolder":
            for file in [file for file in files if file.startswith(f"{path.rstrip('/')}/")]:
                del files[file]
        else:
            raise Refused(400, f"Unknown operation {key!r}")


_API = r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)"
_PAGE = r"/(?:(?P<kind>datasets)/)?(?P<name>[^/]+/[^/]+)"

ROUTES = (
    ("GET", r"/api/whoami-v2", "whoami"),
    ("POST", r"/api/repos/create", "create_repo"),
    ("POST", r"/api/validate-yaml", "validate_yaml"),
    ("GET HEAD", _API, "repo_info"),
    ("GET HEAD", _API + r"/revision/(?P<revision>.+)", "repo_info"),
    ("GET", _API + r"/refs", "refs"),
    ("GET", _API + r"/commits/(?P<revision>[^/]+)", "commits"),
    ("GET", _API + r"/tree/(?P<revision>[^/]+)(?:/(?P<path>.*))?", "tree"),
    ("POST", _API + r"/paths-info/(?P<revision>[^/]+)", "paths_info"),
    ("POST", _API + r"/preupload/(?P<revision>[^/]+)", "preupload"),
    ("POST", _API + r"/commit/(?P<revision>[^/]+)", "commit"),
    ("POST", _PAGE + r"\.git/info/lfs/objects/batch", "lfs_batch"),
    ("POST", _PAGE + r"\.git/info/lfs/objects/verify", "lfs_verify"),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "lfs_upload"),
    ("GET HEAD", _PAGE + r"/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
)
