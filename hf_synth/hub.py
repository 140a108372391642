"""Sending a finished folder to the Hub: one commit or pull request, card merged, checked afterwards."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token, hf_hub_url, is_offline_mode
from huggingface_hub import utils as hub_utils
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils.sha import git_hash

from .card_merge import LOCAL, ON_HUB, OUR_FOLDERS, decode_card, merge_card, read_infos
from .errors import InputError, unknown
from .leaks import refuse_leaks
from .marks import refuse_private
from .retries import TRIES, patiently, status_of, transient, wait

README = "README.md"
PULL = "refs/pr/"  # the ref of a pull request is its number behind this


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
    create_pr: bool = False,
    overrule: Sequence[str] = (),
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
        create_pr: Open a pull request, which may be for somebody else's repo, and leave `main` as it is. Each push
            opens one of its own, whether or not an earlier one is still open.
        overrule: Leakage checks that may stand at "bad" in the data set's `hf_synth/inspect.json`, by name; `private`
            for what was made under that of real text.

    Returns:
        The address of the commit or pull request; of the newest commit there when nothing had changed.

    Raises:
        InputError: Bad folder, name, token or README.md, a leak, or no network by request; nothing was committed.
        PushMismatchError: The Hub does not hold what was sent.
    """
    files = _local_files(Path(folder), repo_type)
    refuse_private(Path(folder), overrule)
    check_access(repo_id, token)
    if repo_type == "dataset":
        refuse_leaks(Path(folder), overrule)
    sending = _Push(HfApi(token=token), repo_id, repo_type, files, message or "Push with hf_synth", create_pr)
    try:
        sending.open_repo(private)
        landed = sending.commit()
    except HfHubHTTPError as error:
        raise _refusal(error, sending.repo_id) or error from None
    sending.verify(landed.revision)
    return landed.address


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


@dataclass(frozen=True)
class _Landed:
    """Where our commit stands, by commit or pull request, and the address that shows it."""

    revision: str
    address: str


class _Push:
    def __init__(
        self, api: HfApi, repo_id: str, repo_type: str, files: dict[str, Path], message: str, create_pr: bool
    ) -> None:
        self.api, self.repo_id, self.repo_type, self.files, self.message = api, repo_id, repo_type, files, message
        self.create_pr = create_pr
        self.pulls_before: set[str] = set()
        self.card = decode_card(files[README].read_bytes(), LOCAL)
        merge_card(self.card, None)
        # By this word in its description we know our own commit when the reply was lost.
        self.nonce = uuid.uuid4().hex
        self.sent: list[CommitOperationAdd] = []

    def at(self, revision: str) -> _Landed:
        page = f"{self.api.endpoint}/{'datasets/' if self.repo_type == 'dataset' else ''}{self.repo_id}"
        pull = revision.removeprefix(PULL)
        return _Landed(revision, f"{page}/commit/{revision}" if pull == revision else f"{page}/discussions/{pull}")

    def open_repo(self, private: bool) -> None:
        if "/" not in self.repo_id:
            self.repo_id = f"{patiently(self.api.whoami)['name']}/{self.repo_id}"
        # None rather than False: an organisation may want its new repos private.
        wanted: Any = {"repo_type": self.repo_type, "private": private or None, "exist_ok": True}
        patiently(lambda: self.api.create_repo(self.repo_id, **wanted))
        if private and not self.info().private:
            name = f"{self.repo_id!r} exists and is public, but a private repo was asked for"
            raise InputError(f"{name}; make it private in its settings or choose another name.")

    def info(self) -> Any:
        return patiently(lambda: self.api.repo_info(self.repo_id, repo_type=self.repo_type))

    def tree(self, revision: str) -> dict[str, RepoFile]:
        where: Any = {"recursive": True, "revision": revision, "repo_type": self.repo_type}
        entries = patiently(lambda: list(self.api.list_repo_tree(self.repo_id, **where)))
        return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}

    def readme(self, revision: str) -> str:
        # Not hf_hub_download: when the Hub fails, that returns a cached copy without a word.
        where: Any = {"repo_type": self.repo_type, "revision": revision}
        address = hf_hub_url(self.repo_id, README, **where, endpoint=self.api.endpoint)

        def get() -> bytes:
            response = hub_utils.get_session().get(address, headers=hub_utils.build_hf_headers(token=self.api.token))
            hub_utils.hf_raise_for_status(response)
            return response.content

        return decode_card(patiently(get), ON_HUB)

    def pulls(self) -> set[str]:
        where: Any = {"repo_type": self.repo_type, "include_pull_requests": True}
        refs = patiently(lambda: self.api.list_repo_refs(self.repo_id, **where))
        return {pull.ref for pull in refs.pull_requests or ()}

    def commit(self, attempt: int = 1) -> _Landed:
        """Commit on top of the head that was read, again when somebody else was faster."""
        parent = self.info().sha
        if self.create_pr and attempt == 1:
            self.pulls_before = self.pulls()
        try:
            return self.commit_onto(parent)
        except (HTTPError, json.JSONDecodeError) as error:
            # After a conflict too: the commit that was faster may be our own, done after we gave up on it.
            if landed := self.landed(parent):
                return landed
            if not (status_of(error) == 412 or transient(error)) or attempt == TRIES:
                raise
            wait(attempt, error)
        except RuntimeError as error:  # what the client makes of an upload that failed as often as it tried
            raise error.__cause__ or error from None
        except ValueError as error:
            raise error if isinstance(error, InputError) else _unacceptable(self.repo_id, error) from None
        return self.commit(attempt + 1)

    def commit_onto(self, parent: str) -> _Landed:
        there = self.tree(parent)
        card = merge_card(self.card, self.readme(parent) if README in there else None)
        self.sent = [CommitOperationAdd(name, path) for name, path in self.files.items() if name != README]
        self.sent.append(CommitOperationAdd(README, card.encode()))
        gone = [name for name in there if name.startswith(OUR_FOLDERS) and name not in self.files]
        done = self.api.create_commit(
            self.repo_id,
            [*self.sent, *(CommitOperationDelete(name) for name in gone if self.repo_type == "dataset")],
            commit_message=self.message,
            commit_description=f"hf_synth push {self.nonce}",
            repo_type=self.repo_type,
            parent_commit=parent,
            create_pr=self.create_pr,
        )
        return self.at(done.pr_revision or done.oid)

    def landed(self, parent: str) -> _Landed | None:
        """Look for our commit on top of `parent`, or for our pull request."""
        if self.create_pr:
            return next((self.at(pull) for pull in self.pulls() - self.pulls_before if self.ours(pull)), None)
        if self.info().sha == parent:
            return None
        commit = self.ours("main")
        return self.at(commit) if commit else None

    def ours(self, revision: str) -> str | None:
        where: Any = {"repo_type": self.repo_type, "revision": revision}
        commits = patiently(lambda: self.api.list_repo_commits(self.repo_id, **where))
        return next((commit.commit_id for commit in commits if self.nonce in commit.message), None)

    def verify(self, revision: str) -> None:
        """Compare what stands where we committed with what was sent; a `.gitignore` on the Hub can drop files."""
        there = self.tree(revision)
        theirs = read_infos(self.readme(revision), ON_HUB) if README in there else {}
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
