"""Sending a finished folder to the Hub: one commit, card merged, checked afterwards. Only this file writes there."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token, hf_hub_url, is_offline_mode
from huggingface_hub import utils as hub_utils
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils.sha import git_hash

from .card_merge import LOCAL, ON_HUB, OUR_FOLDERS, decode_card, merge_card, read_infos
from .errors import InputError, unknown

README = "README.md"
TRIES = 5
FIRST_WAIT = 1.0  # seconds; each further wait is twice as long

T = TypeVar("T")


class PushMismatchError(RuntimeError):
    """What stands on the Hub after a push is not what was sent."""


def push(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    repo_type: str = "dataset",
    token: str | None = None,
    message: str | None = None,
) -> str:
    """Send a Hub-ready folder to the Hub as one commit and check what arrived.

    In a data set, files under `data/` and `hf_synth/` on the Hub that are not in the folder are deleted by the same
    commit; all others stay, and the README.md is merged (`merge_card`). Hidden files and `checkpoint-*` are not sent.

    Args:
        folder: Holds README.md and, for a data set, `data/*.parquet`.
        repo_id: `user/name`, or `name` for a repo of the token's owner; created when absent.
        private: Create the repo private; one that exists and is public is refused.
        repo_type: `dataset` or `model`.
        token: Token that may write; by default that of `hf auth login` or HF_TOKEN.
        message: Title of the commit.

    Returns:
        The address of the commit; of the newest one there when nothing had changed.

    Raises:
        InputError: Bad folder, name, token or README.md, or no network by request; nothing was committed.
        PushMismatchError: The Hub does not hold what was sent.
    """
    files = _local_files(Path(folder), repo_type)
    check_access(repo_id, token)
    sending = _Push(HfApi(token=token), repo_id, repo_type, files, message or "Push with hf_synth")
    try:
        sending.open_repo(private)
        commit = sending.commit()
    except HfHubHTTPError as error:
        raise _refusal(error, sending.repo_id) or error from None
    sending.verify(commit)
    return sending.address(commit)


def check_access(repo_id: str, token: str | None = None) -> None:
    """Refuse a push that cannot succeed, before the work that it would share is done.

    Raises:
        InputError: Bad name, no token, or no network by request.
    """
    try:
        hub_utils.validate_repo_id(repo_id)
    except HFValidationError as error:
        raise InputError(f"`repo_id` must be `user/name` or `name`; got {repo_id!r}. {error}") from None
    if is_offline_mode():
        raise InputError(f"Pushing to {repo_id!r} needs the network, but HF_HUB_OFFLINE is set; unset it.")
    if not (token or get_token()):
        raise InputError(f"Pushing to {repo_id!r} needs a token; run `hf auth login` or set HF_TOKEN.")


def _local_files(folder: Path, repo_type: str) -> dict[str, Path]:
    """List what is sent, by its path on the Hub."""
    if repo_type not in ("dataset", "model"):
        raise unknown("`repo_type`", repo_type, ["dataset", "model"])
    if not folder.is_dir():
        raise InputError(f"The folder to push must exist; there is no folder {str(folder)!r}.")
    paths = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    at_home = {inside for inside in paths if any(part.startswith((".", "checkpoint-")) for part in inside.parts)}
    files = {inside.as_posix(): path for inside, path in paths.items() if inside not in at_home}
    if README not in files:
        raise InputError(f"The folder to push must hold {README}; {str(folder)!r} holds none.")
    if repo_type == "dataset" and not any(name.startswith("data/") and name.endswith(".parquet") for name in files):
        # Such a push would delete every shard on the Hub.
        raise InputError(f"A data set to push must hold data/*.parquet; {str(folder)!r} holds none.")
    return files


class _Push:
    def __init__(self, api: HfApi, repo_id: str, repo_type: str, files: dict[str, Path], message: str) -> None:
        self.api, self.repo_id, self.repo_type, self.files, self.message = api, repo_id, repo_type, files, message
        self.card = decode_card(files[README].read_bytes(), LOCAL)
        merge_card(self.card, None)
        # By this word in its description we know our own commit when the reply was lost.
        self.nonce = uuid.uuid4().hex
        self.sent: list[CommitOperationAdd] = []

    def address(self, commit: str) -> str:
        kind = "datasets/" if self.repo_type == "dataset" else ""
        return f"{self.api.endpoint}/{kind}{self.repo_id}/commit/{commit}"

    def open_repo(self, private: bool) -> None:
        if "/" not in self.repo_id:
            self.repo_id = f"{_patiently(self.api.whoami)['name']}/{self.repo_id}"
        # None rather than False: an organisation may want its new repos private.
        wanted: Any = {"repo_type": self.repo_type, "private": private or None, "exist_ok": True}
        _patiently(lambda: self.api.create_repo(self.repo_id, **wanted))
        if private and not self.info().private:
            name = f"{self.repo_id!r} exists and is public, but a private repo was asked for"
            raise InputError(f"{name}; make it private in its settings or choose another name.")

    def info(self) -> Any:
        return _patiently(lambda: self.api.repo_info(self.repo_id, repo_type=self.repo_type))

    def tree(self, commit: str) -> dict[str, RepoFile]:
        where: Any = {"recursive": True, "revision": commit, "repo_type": self.repo_type}
        entries = _patiently(lambda: list(self.api.list_repo_tree(self.repo_id, **where)))
        return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}

    def readme(self, commit: str) -> str:
        # Not hf_hub_download: when the Hub fails, that returns a cached copy without a word.
        where: Any = {"repo_type": self.repo_type, "revision": commit}
        address = hf_hub_url(self.repo_id, README, **where, endpoint=self.api.endpoint)

        def get() -> bytes:
            response = hub_utils.get_session().get(address, headers=hub_utils.build_hf_headers(token=self.api.token))
            hub_utils.hf_raise_for_status(response)
            return response.content

        return decode_card(_patiently(get), ON_HUB)

    def commit(self, attempt: int = 1) -> str:
        """Commit on top of the head that was read, again when somebody else was faster; return the commit's id."""
        parent = self.info().sha
        try:
            return self.commit_onto(parent)
        except (HTTPError, json.JSONDecodeError) as error:
            # After a conflict too: the commit that was faster may be our own, done after we gave up on it.
            if landed := self.landed(parent):
                return landed
            if not (_status(error) == 412 or _transient(error)) or attempt == TRIES:
                raise
            _wait(attempt, error)
        except ValueError as error:
            raise error if isinstance(error, InputError) else _unacceptable(self.repo_id, error) from None
        return self.commit(attempt + 1)

    def commit_onto(self, parent: str) -> str:
        there = self.tree(parent)
        card = merge_card(self.card, self.readme(parent) if README in there else None)
        self.sent = [CommitOperationAdd(name, path) for name, path in self.files.items() if name != README]
        self.sent.append(CommitOperationAdd(README, card.encode()))
        gone = [name for name in there if name.startswith(OUR_FOLDERS) and name not in self.files]
        return self.api.create_commit(
            self.repo_id,
            [*self.sent, *(CommitOperationDelete(name) for name in gone if self.repo_type == "dataset")],
            commit_message=self.message,
            commit_description=f"hf_synth push {self.nonce}",
            repo_type=self.repo_type,
            parent_commit=parent,
        ).oid

    def landed(self, parent: str) -> str | None:
        """Look for our commit on top of `parent`."""
        if self.info().sha == parent:
            return None
        commits = _patiently(lambda: self.api.list_repo_commits(self.repo_id, repo_type=self.repo_type))
        return next((commit.commit_id for commit in commits if self.nonce in commit.message), None)

    def verify(self, commit: str) -> None:
        """Compare what stands on the Hub at our commit with what was sent; a `.gitignore` there can drop files."""
        there = self.tree(commit)
        theirs = read_infos(self.readme(commit), ON_HUB) if README in there else {}
        for config, info in read_infos(self.card, LOCAL).items():
            if theirs.get(config) != info:
                held, sent = json.dumps(theirs.get(config)), json.dumps(info)
                place = f"Config {config!r} of {self.repo_id!r}"
                raise PushMismatchError(f"{place} is {held} on the Hub; {sent} was sent.")
        for operation in self.sent:
            file = there.get(operation.path_in_repo)
            if file is None or not _same(operation, file):
                held = "missing" if file is None else f"another file, of {file.size} bytes,"
                sent = f"{operation.path_in_repo} of {self.repo_id!r} is {held} on the Hub"
                raise PushMismatchError(f"{sent}; {operation.upload_info.size} bytes were sent.")


def _same(operation: CommitOperationAdd, file: RepoFile) -> bool:
    if file.lfs:
        return operation.upload_info.sha256.hex() == file.lfs.sha256
    with operation.as_file() as content:
        return git_hash(content.read()) == file.blob_id


def _patiently(call: Callable[[], T], attempt: int = 1) -> T:
    """Repeat what the client sends only once."""
    try:
        return call()
    except (HTTPError, json.JSONDecodeError) as error:
        if not _transient(error) or attempt == TRIES:
            raise
        _wait(attempt, error)
    return _patiently(call, attempt + 1)


def _status(error: Exception) -> int | None:
    return error.response.status_code if isinstance(error, HfHubHTTPError) else None


def _transient(error: Exception) -> bool:
    """Tell whether a second try may succeed: no connection, a busy Hub, or a gateway's page where JSON was due."""
    status = _status(error)
    return status is None or status in (408, 429) or status >= 500


def _wait(attempt: int, error: Exception) -> None:
    seconds = FIRST_WAIT * 2 ** (attempt - 1)
    if isinstance(error, HfHubHTTPError) and error.response.status_code == 429:
        limit = hub_utils.parse_ratelimit_headers(error.response.headers)
        seconds = max(seconds, limit.reset_in_seconds if limit else 0)
    time.sleep(seconds)


def _refusal(error: HfHubHTTPError, repo_id: str) -> Exception | None:
    """Turn the Hub's answer into one sentence."""
    status = error.response.status_code
    if status in (401, 403) or isinstance(error, RepositoryNotFoundError):
        answer = f"{status}: {error.server_message or 'refused'}"
        cure = "use a token with write access, by `hf auth login` or HF_TOKEN"
        return InputError(f"The Hub does not let this token write to {repo_id!r} ({answer}); {cure}.")
    if status == 412:
        return RuntimeError(f"{repo_id!r} changed under each of {TRIES} tries to commit; nothing was pushed.")
    return _unacceptable(repo_id, error) if status == 400 else None


def _unacceptable(repo_id: str, error: Exception) -> InputError:
    return InputError(f"The Hub refuses the push to {repo_id!r}: {' '.join(str(error).split())}")
