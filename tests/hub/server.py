"""A Hub on loopback, in memory, that the unmodified `huggingface_hub` and `datasets` clients talk to.

It speaks whoami, repo create and info, preupload, LFS (batch, upload whole or in parts, verify), commit, pull requests
and their merge, branches, tree, paths-info, refs, commits, resolve (ranges too) and collections, with the Hub's status
codes and error headers; of Xet it knows nothing. It checks what the real one checks: tokens, private repos,
`parentCommit`, object hashes, paths to delete. Faults are injected by `fail_next` and `before_next`.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import yaml

from .store import MAIN, Blob, Collection, Commit, Repo

LFS_NAMES = ("*.parquet", "*.safetensors", "*.arrow", "*.bin", "*.gguf", "*.pt", "*.zip")
LFS_BYTES = 10 * 2**20
PART_BYTES = 2**14  # of a file in LFS that is sent at once; the Hub's parts are larger
GITATTRIBUTES = "".join(f"{name} filter=lfs diff=lfs merge=lfs -text\n" for name in LFS_NAMES).encode()


@dataclass
class Fault:
    path: re.Pattern[str]
    action: int | str | Callable[[], object]
    times: int
    headers: dict[str, str] | None = None


class Refused(Exception):
    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class HubServer:
    """Start with `with HubServer() as server:`; `server.endpoint` is what HF_ENDPOINT wants."""

    def __init__(self) -> None:
        self.tokens = {"hf_writer": ("user", "write"), "hf_reader": ("user", "read"), "hf_other": ("other", "write")}
        self.repos: dict[tuple[str, str], Repo] = {}
        self.collections: dict[str, Collection] = {}
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
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

    def fail_next(
        self, path: str, status: int | str = 503, times: int = 1, headers: dict[str, str] | None = None
    ) -> None:
        """Spoil the next requests whose `METHOD /path` matches: a status to answer with (429 says when to come again,
        in the Hub's header unless `headers` are given), `drop_request` (hang up unanswered, nothing done),
        `drop_reply_after_commit` (do what was asked, then hang up) or `do_later` (hang up, and do it when the same
        request comes again)."""
        limit = {"RateLimit": '"api";r=0;t=1'} if status == 429 else {}
        self.faults.append(Fault(re.compile(path), status, times, limit if headers is None else headers))

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

    def take_faults(self, request: str) -> tuple[list[Callable[[], object]], Fault | None]:
        """What to do before this request, and how to spoil it: every call that waits for it, one fault at most."""
        calls: list[Callable[[], object]] = []
        spoiled: Fault | None = None
        with self.lock:
            for fault in self.faults:
                if fault.times == 0 or not fault.path.search(request):
                    continue
                if callable(fault.action):
                    calls.append(fault.action)
                elif spoiled is None:
                    spoiled = fault
                else:
                    continue
                fault.times -= 1
        return calls, spoiled


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

    do_HEAD = do_POST = do_PUT = do_PATCH = do_GET

    def serve(self) -> None:
        parts = urlsplit(self.path)
        self.route, self.query, self.muted = unquote(parts.path), parse_qs(parts.query), False
        self.body = self.read_body()
        calls, fault = self.hub.take_faults(f"{self.command} {self.route}")
        action = fault and fault.action
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
            headers = {"Content-Type": "text/html", **(fault.headers or {})}
            self.reply(action, b"<html>a gateway speaks</html>", headers)
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

    def writer(self, namespace: str | None) -> str:
        """Return who writes; without a namespace, whoever may write anywhere, as a pull request or an upload needs."""
        user = self.user()
        if user is None:
            raise Refused(401, "Invalid username or password.")
        if user[1] != "write" or user[0] != (namespace or user[0]):
            raise Refused(403, f"You don't have the rights to write under the namespace {namespace!r}")
        return user[0]

    def find(self, kind: str, name: str) -> Repo:
        user, repo = self.user(), self.hub.repos.get((kind, name))
        if repo is None or (repo.private and (user is None or user[0] != name.split("/")[0])):
            raise Refused(404 if user else 401, "Repository not found", "RepoNotFound")
        return repo

    def history(self, repo: Repo, revision: str) -> list[Commit]:
        history = repo.history(revision)
        if history is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return history

    def commit_of(self, repo: Repo, revision: str) -> Commit:
        return self.history(repo, revision)[-1]

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
        repo = self.find(kind, name)
        told: dict[str, list[dict[str, str]]] = {"branches": [], "tags": [], "converts": [], "pullRequests": []}
        for ref, history in repo.refs.items():
            _, group, short = ref.split("/", 2)
            told["pullRequests" if group == "pr" else "branches"].append(
                {"name": short, "ref": ref, "targetCommit": history[-1].oid}
            )
        if "include_prs" not in self.query:
            del told["pullRequests"]
        self.reply(200, told)

    def branch(self, kind: str, name: str, branch: str) -> None:
        self.writer(name.split("/")[0])
        repo = self.find(kind, name)
        if repo.ref(branch):
            raise Refused(409, f"Reference already exists: {branch}")
        start = json.loads(self.body or b"{}").get("startingPoint", MAIN)
        repo.branch(f"refs/heads/{branch}", self.commit_of(repo, start))
        self.reply(200, {})

    def merge(self, kind: str, name: str, number: str) -> None:
        author = self.writer(name.split("/")[0])
        repo = self.find(kind, name)
        pull = self.commit_of(repo, f"refs/pr/{number}")
        repo.add(pull.files, f"{pull.title} (#{number})", pull.message, author)
        self.reply(200, {})

    def commits(self, kind: str, name: str, revision: str) -> None:
        history = [
            {"id": c.oid, "title": c.title, "message": c.message, "date": c.date, "authors": [{"user": c.author}]}
            for c in reversed(self.history(self.find(kind, name), revision))
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
        self.writer(None if "create_pr" in self.query else name.split("/")[0])
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
        self.writer(None)
        self.find(kind, name)
        wanted, objects = json.loads(self.body), []
        for item in wanted["objects"]:
            answer: dict[str, Any] = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.hub.objects:
                address = f"{self.hub.endpoint}/lfs/{item['oid']}"
                verify = f"{self.hub.endpoint}/{quote(name)}.git/info/lfs/objects/verify"
                upload: dict[str, Any] = {"href": address}
                if item["size"] > PART_BYTES and "multipart" in wanted["transfers"]:
                    parts = range(1, -(-item["size"] // PART_BYTES) + 1)
                    header = {"chunk_size": str(PART_BYTES), **{str(n): f"{address}/part/{n}" for n in parts}}
                    upload = {"href": f"{address}/complete", "header": header}
                answer["actions"] = {"upload": upload, "verify": {"href": verify}}
            objects.append(answer)
        self.reply(200, {"transfer": "basic", "objects": objects})

    def lfs_upload(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refused(400, "The object is not what its name says")
        self.hub.objects[oid] = self.body
        self.reply(200, b"")

    def lfs_part(self, oid: str, number: str) -> None:
        if len(self.body) > PART_BYTES:
            raise Refused(400, "The part is too large")
        self.hub.parts.setdefault(oid, {})[int(number)] = self.body
        self.reply(200, b"", {"ETag": f'"{hashlib.md5(self.body).hexdigest()}"'})

    def lfs_complete(self, oid: str) -> None:
        sent, parts = json.loads(self.body), self.hub.parts.get(oid, {})
        told = [(part["partNumber"], part["etag"].strip('"')) for part in sent["parts"]]
        held = [(number, hashlib.md5(part).hexdigest()) for number, part in sorted(parts.items())]
        whole = b"".join(part for _, part in sorted(parts.items()))
        if sent["oid"] != oid or told != held or hashlib.sha256(whole).hexdigest() != oid:
            raise Refused(400, "The parts do not make the object")
        self.hub.objects[oid] = whole
        self.reply(200, b"")

    def lfs_verify(self, name: str, kind: str = "model") -> None:
        self.writer(None)
        wanted = json.loads(self.body)
        if len(self.hub.objects.get(wanted["oid"], b"")) != wanted["size"]:
            raise Refused(404, "The object was not uploaded")
        self.reply(200, {})

    def commit(self, kind: str, name: str, revision: str) -> None:
        pull = "create_pr" in self.query
        author = self.writer(None if pull else name.split("/")[0])
        repo = self.find(kind, name)
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        parent = header.get("parentCommit")
        ref = repo.ref(revision)
        if ref is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        if pull:  # begins where the client says, however far the branch has come since
            ref = repo.branch(f"refs/pr/{len(repo.pulls) + 1}", self.commit_of(repo, parent or ref))
        elif parent and parent != repo.refs[ref][-1].oid:
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repo.refs[ref][-1].files)
        for line in lines[1:]:
            self.apply(files, line["key"], line["value"])
        made = repo.add(files, header["summary"], header.get("description", ""), author, ref)
        address = f"{self.hub.endpoint}/{'datasets/' if kind == 'dataset' else ''}{name}"
        answer = {"success": True, "commitOid": made.oid, "commitUrl": f"{address}/commit/{made.oid}"}
        if pull:
            answer["pullRequestUrl"] = f"{address}/discussions/{ref.rsplit('/', 1)[-1]}"
        self.reply(200, {**answer, "hookOutput": ""})

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

    # Collections

    def collections(self) -> None:
        owners, user = self.query.get("owner", []), self.user()
        seen = [one for one in self.hub.collections.values() if not owners or one.owner in owners]
        self.reply(200, [one.facts() for one in seen if not one.private or (user and user[0] == one.owner)])

    def create_collection(self) -> None:
        wanted = json.loads(self.body)
        owner = self.writer(wanted["namespace"])
        if not 0 < len(wanted["title"]) < 60:
            raise Refused(400, '"title" length must be less than 60 characters long')
        made = Collection.of(wanted["title"], owner, wanted["private"])
        if made.slug in self.hub.collections:
            self.reply(409, {"error": "exists", "slug": made.slug}, {"X-Error-Message": "exists"})
            return
        self.hub.collections[made.slug] = made
        self.reply(200, {**made.facts(), "position": 0})

    def collection_of(self, slug: str, *, write: bool = False) -> Collection:
        if slug not in self.hub.collections:
            raise Refused(404, "Collection not found")
        if write:
            self.writer(slug.split("/")[0])
        return self.hub.collections[slug]

    def collection(self, slug: str) -> None:
        self.reply(200, {**self.collection_of(slug).facts(), "position": 0})

    def add_item(self, slug: str) -> None:
        collection, wanted = self.collection_of(slug, write=True), json.loads(self.body)
        kind, name = wanted["item"]["type"], wanted["item"]["id"]
        self.find(kind, name)
        if any((item["type"], item["id"]) == (kind, name) for item in collection.items):
            raise Refused(409, "The item is in the collection already")
        item = {"_id": f"{len(collection.items):024d}", "id": name, "type": kind, "position": len(collection.items)}
        collection.items.append(item | ({"note": {"text": wanted["note"]}} if "note" in wanted else {}))
        self.reply(200, {**collection.facts(), "position": 0})

    def change_item(self, slug: str, item: str) -> None:
        found = next(one for one in self.collection_of(slug, write=True).items if one["_id"] == item)
        found["note"] = {"text": json.loads(self.body)["note"]}
        self.reply(200, {})


_API = r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)"
_PAGE = r"/(?:(?P<kind>datasets)/)?(?P<name>[^/]+/[^/]+)"
_AT = r"/(?P<revision>refs/\w+/[^/]+|[^/]+)"
_SLUG = r"/api/collections/(?P<slug>[^/]+/[^/]+)"

ROUTES = (
    ("GET", r"/api/whoami-v2", "whoami"),
    ("POST", r"/api/repos/create", "create_repo"),
    ("POST", r"/api/validate-yaml", "validate_yaml"),
    ("GET", r"/api/collections", "collections"),
    ("POST", r"/api/collections", "create_collection"),
    ("GET", _SLUG, "collection"),
    ("POST", _SLUG + r"/items", "add_item"),
    ("PATCH", _SLUG + r"/items/(?P<item>[^/]+)", "change_item"),
    ("GET HEAD", _API, "repo_info"),
    ("GET HEAD", _API + "/revision" + _AT, "repo_info"),
    ("GET", _API + r"/refs", "refs"),
    ("POST", _API + r"/branch/(?P<branch>[^/]+)", "branch"),
    ("POST", _API + r"/discussions/(?P<number>\d+)/merge", "merge"),
    ("GET", _API + "/commits" + _AT, "commits"),
    ("GET", _API + "/tree" + _AT + "(?:/(?P<path>.*))?", "tree"),
    ("POST", _API + "/paths-info" + _AT, "paths_info"),
    ("POST", _API + "/preupload" + _AT, "preupload"),
    ("POST", _API + "/commit" + _AT, "commit"),
    ("POST", _PAGE + r"\.git/info/lfs/objects/batch", "lfs_batch"),
    ("POST", _PAGE + r"\.git/info/lfs/objects/verify", "lfs_verify"),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "lfs_upload"),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})/part/(?P<number>\d+)", "lfs_part"),
    ("POST", r"/lfs/(?P<oid>[0-9a-f]{64})/complete", "lfs_complete"),
    ("GET HEAD", _PAGE + "/resolve" + _AT + "/(?P<path>.+)", "resolve"),
)
