"""The local Hub against the real client: what our own pushes do not ask of it."""

import json
import random
import time

import pytest
from datasets import load_dataset
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download

from .server import PART_BYTES

WHERE = {"repo_type": "dataset"}


def called(hub, function, *arguments):
    """Call a function of this file in the process that sees the Hub."""
    return hub.pool.submit(function, *arguments).result(timeout=480)


def commit(name, files, **options):
    """Commit with the client itself; return what it says of the commit."""
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    done = HfApi().create_commit(name, operations, commit_message="By the client", **WHERE, **options)
    return done.oid, done.pr_revision


def read(name, path, revision=None):
    with open(hf_hub_download(name, path, revision=revision, **WHERE), "rb") as stream:
        return stream.read()


@pytest.mark.parametrize("fault", [None, 503])
def test_a_large_file_goes_in_parts(hub, server, fault):
    content = random.Random(str(fault)).randbytes(3 * PART_BYTES + 5)
    name = f"user/parts-{fault}"
    server.edit(name, {})
    if fault:
        server.fail_next("^PUT /lfs/.*/part/2$", fault)
    called(hub, commit, name, {"a.bin": content, "b.bin": content[:PART_BYTES]})
    sent = [(path.split("/part/")[1], status) for _, path, status in server.requests("PUT /lfs/.*/part/")]
    assert sent == [("1", 200), *([("2", 503)] if fault else []), ("2", 200), ("3", 200), ("4", 200)]
    assert len(server.requests("POST /lfs/.*/complete$")) == 1
    assert len(server.requests("PUT /lfs/[0-9a-f]+$")) == 1  # what fits into one part goes whole
    assert server.repo(name).head.files["a.bin"].content == content
    assert called(hub, read, name, "a.bin") == content


def first_rows(name, count):
    rows = load_dataset(name, split="train", streaming=True)
    return [row["text"] for row in rows.take(count)]


def test_rows_are_streamed_by_ranges(hub, server, tmp_path):
    words = random.Random(0)
    texts = [" ".join(str(words.random()) for _ in range(20)) for _ in range(3_000)]
    hub.push(hub.write_folder(tmp_path / "out", {"train": texts}), "user/streamed")
    server.log.clear()
    assert called(hub, first_rows, "user/streamed", 5) == texts[:5]
    answers = {status for _, path, status in server.requests("^GET .*/resolve/.*parquet$")}
    assert answers == {206}  # never the whole file


def paths(name, revision, wanted):
    return {entry.path: entry.size for entry in HfApi().get_paths_info(name, wanted, revision=revision, **WHERE)}


def branch(name, new, start):
    HfApi().create_branch(name, branch=new, revision=start, **WHERE)
    return [ref.name for ref in HfApi().list_repo_refs(name, **WHERE).branches]


def test_a_branch_begins_where_it_is_told_and_leaves_main_alone(hub, server):
    server.edit("user/branches", {"a.txt": b"one"})
    start = server.repo("user/branches").head.oid
    server.edit("user/branches", {"a.txt": b"three"})
    assert called(hub, branch, "user/branches", "old", start) == ["main", "old"]
    assert called(hub, read, "user/branches", "a.txt", "old") == b"one"
    assert called(hub, paths, "user/branches", "old", ["a.txt", "b.txt"]) == {"a.txt": 3}
    hub.pool.submit(commit, "user/branches", {"b.txt": b"aside"}, revision="old").result(timeout=480)
    assert called(hub, read, "user/branches", "b.txt", "old") == b"aside"
    assert "b.txt" not in server.repo("user/branches").head.files
    with pytest.raises(Exception, match="Invalid rev id: nowhere"):
        called(hub, read, "user/branches", "a.txt", "nowhere")


def merge(name, number):
    HfApi().merge_pull_request(name, number, **WHERE)
    return len(HfApi().list_repo_refs(name, include_pull_requests=True, **WHERE).pull_requests)


def test_a_pull_request_begins_at_its_parent_and_is_merged(hub, server):
    server.edit("other/asked", {"a.txt": b"one"})
    start = server.repo("other/asked").head.oid
    server.edit("other/asked", {"a.txt": b"two"})
    opened = hub.pool.submit(commit, "other/asked", {"b.txt": b"new"}, create_pr=True, parent_commit=start)
    oid, revision = opened.result(timeout=480)
    assert revision == "refs/pr/1"
    assert called(hub, read, "other/asked", "a.txt", revision) == b"one"
    assert called(hub, read, "other/asked", "b.txt", oid) == b"new"
    with pytest.raises(Exception, match="rights to write"):
        called(hub, merge, "other/asked", 1)
    assert list(server.repo("other/asked").head.files) == [".gitattributes", "a.txt"]


def commits(name):
    return len(HfApi().list_repo_commits(name, **WHERE))


def test_the_owner_merges_a_pull_request(hub, server):
    server.edit("user/merged", {"a.txt": b"one"})
    hub.pool.submit(commit, "user/merged", {"b.txt": b"new"}, create_pr=True).result(timeout=480)
    assert called(hub, commits, "user/merged") == 2
    assert called(hub, merge, "user/merged", 1) == 1
    assert called(hub, commits, "user/merged") == 3
    assert server.repo("user/merged").head.files["b.txt"].content == b"new"


@pytest.mark.parametrize("headers", [None, {"Retry-After": "1"}])
def test_a_rate_limit_says_when_to_come_again(hub, server, tmp_path, headers):
    name = f"user/limit-{'standard' if headers else 'hub'}"
    folder = hub.write_folder(tmp_path / "out", {"train": ["a film"]})
    server.fail_next("^POST .*/commit/main$", 429, headers=headers)
    start = time.monotonic()
    hub.push(folder, name)
    assert time.monotonic() - start >= 1
    assert [status for *_, status in server.requests("/commit/main$")] == [429, 200]
    assert json.loads(server.repo(name).head.files["hf_synth/ledger.json"].content)["kept"] == 1
