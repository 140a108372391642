"""`hf_synth.hub.push` against a local Hub, with the real clients on the other end."""

from __future__ import annotations

import json
import time
from functools import partial

import pytest
import yaml

from hf_synth.card_merge import BEGIN, END
from hf_synth.errors import InputError

COMMIT = r"^POST /api/\w+/.*/commit/main$"


def texts(count: int, word: str = "film") -> list[str]:
    return [f"{word} {number}" for number in range(count)]


def rows(*batch: str) -> list[dict]:
    return [{"text": text, "label": number % 2} for number, text in enumerate(batch)]


def header(readme: str) -> dict:
    return yaml.safe_load(readme.split("---\n")[1])


def readme(server, name: str, kind: str = "dataset") -> str:
    return server.repo(name, kind).head.files["README.md"].content.decode()


def test_a_pushed_folder_loads_by_name(hub, server, tmp_path):
    folder = hub.write_folder(tmp_path / "out", {"train": texts(7), "test": texts(3, "play")})

    address = hub.push(folder, "user/first", message="Seven films")

    repo = server.repo("user/first")
    assert [commit.title for commit in repo.commits] == ["initial commit", "Seven films"]
    assert address == f"{server.endpoint}/datasets/user/first/commit/{repo.head.oid}"
    assert not repo.private
    sent = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    there = {path: blob.content for path, blob in repo.head.files.items() if path != ".gitattributes"}
    assert there == sent
    names = ["negative", "positive"]
    assert hub.load("user/first") == {
        "train": (rows(*texts(7)), names),
        "test": (rows(*texts(3, "play")), names),
    }


def test_a_second_push_replaces_rows_and_shards_in_one_commit(hub, server, tmp_path):
    hub.push(hub.write_folder(tmp_path / "a", {"train": texts(4)}, shards=3), "user/grows")
    hub.load("user/grows")
    server.edit("user/grows", {"notes.txt": b"mine", "figures/a.parquet": b"mine too"})
    before = len(server.repo("user/grows").commits)
    folder = hub.write_folder(tmp_path / "b", {"train": texts(9, "song")}, shards=2)
    (folder / "hf_synth" / "ledger.json").unlink()

    hub.push(folder, "user/grows")

    repo = server.repo("user/grows")
    assert len(repo.commits) == before + 1
    local = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert set(repo.head.files) == local | {".gitattributes", "notes.txt", "figures/a.parquet"}
    assert hub.load("user/grows")["train"][0] == rows(*texts(9, "song"))
    hub.push(folder, "user/grows")
    assert len(repo.commits) == before + 1, "an unchanged folder made a commit"


def test_a_new_column_and_a_lost_split_reach_the_card(hub, server, tmp_path):
    hub.push(hub.write_folder(tmp_path / "a", {"train": texts(4), "test": texts(2)}), "user/changes")
    hub.push(hub.write_folder(tmp_path / "b", {"train": texts(5)}, extra=True), "user/changes")

    info = header(readme(server, "user/changes"))["dataset_info"]
    assert [feature["name"] for feature in info["features"]] == ["text", "label", "logprob"]
    assert [(split["name"], split["num_examples"]) for split in info["splits"]] == [("train", 5)]
    loaded = hub.load("user/changes")
    assert list(loaded) == ["train"]
    assert loaded["train"][0][3] == {"text": "film 3", "label": 1, "logprob": -3.0}


def test_what_a_person_wrote_on_the_hub_survives(hub, server, tmp_path):
    hub.push(hub.write_folder(tmp_path / "a", {"train": texts(4)}), "user/edited")
    top, bottom = "\r\nMy words,  kept.\n\n", "\n\n## Mine\t\nend without a line break"
    block = readme(server, "user/edited").partition("---\n")[2].partition("---\n")[2]
    theirs = "license: cc-by-4.0 # I decided\nlanguage: no\ntags: [reviews, synthetic]\npretty_name: 'Films'\n"
    edited = f"---\n{theirs}dataset_info: old\n---\n{top}{block.strip()}{bottom}"
    server.edit("user/edited", {"README.md": edited.encode()})

    hub.push(hub.write_folder(tmp_path / "b", {"train": texts(6)}), "user/edited")

    text = readme(server, "user/edited")
    assert text.partition(BEGIN)[0].endswith(f"---\n{top}")
    assert text.partition(END)[2] == bottom
    assert "6 rows." in text
    assert "4 rows." not in text
    assert "license: cc-by-4.0 # I decided\nlanguage: no\n" in text
    assert "pretty_name: 'Films'\n" in text
    data = header(text)
    assert data["tags"] == ["reviews", "synthetic", "hf_synth"]
    assert data["dataset_info"]["splits"][0]["num_examples"] == 6
    assert len(hub.load("user/edited")["train"][0]) == 6


def test_a_commit_in_between_is_kept(hub, server, tmp_path):
    hub.push(hub.write_folder(tmp_path / "a", {"train": texts(4)}), "user/busy")
    edits = iter(range(9))

    def meddle():
        number = next(edits)
        text = readme(server, "user/busy").replace(BEGIN, f"Edit {number}.\n\n{BEGIN}")
        server.edit("user/busy", {"README.md": text.encode(), f"note{number}.txt": b"kept"})

    server.before_next(COMMIT, meddle, times=2)
    hub.push(hub.write_folder(tmp_path / "b", {"train": texts(5)}), "user/busy")

    assert [status for *_, status in server.requests(COMMIT)][-3:] == [412, 412, 200]
    assert {"note0.txt", "note1.txt"} <= set(server.repo("user/busy").head.files)
    text = readme(server, "user/busy")
    assert "Edit 0.\n\nEdit 1.\n\n" in text
    assert "5 rows." in text

    server.before_next(COMMIT, meddle, times=5)
    with pytest.raises(RuntimeError, match="changed under each of 5"):
        hub.push(hub.write_folder(tmp_path / "c", {"train": texts(6)}), "user/busy")
    assert "5 rows." in readme(server, "user/busy")


@pytest.mark.parametrize("then", ["nothing", "an edit"])
def test_a_lost_reply_does_not_commit_twice(hub, server, tmp_path, then):
    name = f"user/lost-{then.split()[-1]}"
    folder = hub.write_folder(tmp_path / "out", {"train": texts(4)})
    server.fail_next(COMMIT, "drop_reply_after_commit")
    if then == "an edit":
        # Somebody commits on top of ours before we look.
        look = rf"^GET /api/datasets/{name}$"
        edit = partial(server.edit, name, {"note.txt": b"mine"})
        server.before_next(COMMIT, lambda: server.before_next(look, edit))

    address = hub.push(folder, name, message="Once")

    commits = server.repo(name).commits
    assert [commit.title for commit in commits].count("Once") == 1
    assert address.endswith(next(commit.oid for commit in commits if commit.title == "Once"))
    assert len(server.requests(COMMIT)) == 1


def test_a_commit_that_lands_late_is_not_repeated(hub, server, tmp_path):
    server.fail_next(COMMIT, "do_later")
    address = hub.push(hub.write_folder(tmp_path / "out", {"train": texts(4)}), "user/late", message="Once")
    assert [commit.title for commit in server.repo("user/late").commits] == ["initial commit", "Once"]
    assert address.endswith(server.repo("user/late").head.oid)
    assert [status for *_, status in server.requests(COMMIT)] == [200, 412]


@pytest.mark.parametrize("fault", [503, "drop_request"])
@pytest.mark.parametrize(
    "request_",
    [
        r"^GET /api/whoami",
        r"^POST /api/repos/create",
        r"^GET /api/datasets/[^/]+/[^/]+$",
        r"^GET .*/resolve/.*README.md",
        r"^POST /api/validate-yaml",
        COMMIT,
    ],
)
def test_passing_trouble_is_waited_out(hub, server, tmp_path, request_, fault):
    folder = hub.write_folder(tmp_path / "out", {"train": texts(2)})
    server.fail_next(request_, fault, times=2)

    hub.push(folder, tmp_path.name)

    titles = [commit.title for commit in server.repo(f"user/{tmp_path.name}").commits]
    assert titles == ["initial commit", "Push with hf_synth"]
    assert [status for *_, status in server.requests(request_)][:2] == [{"drop_request": 0}.get(fault, fault)] * 2


def test_a_rate_limit_is_waited_for_as_long_as_the_hub_says(hub, server, tmp_path):
    folder = hub.write_folder(tmp_path / "out", {"train": texts(2)})
    server.fail_next(COMMIT, 429)
    start = time.monotonic()
    hub.push(folder, "user/limited")
    assert time.monotonic() - start >= 1
    assert [status for *_, status in server.requests(COMMIT)] == [429, 200]


def test_lasting_trouble_ends(hub, server, tmp_path):
    folder = hub.write_folder(tmp_path / "out", {"train": texts(2)})
    server.fail_next(COMMIT, 503, times=5)
    with pytest.raises(OSError, match="503"):
        hub.push(folder, "user/down")
    assert len(server.repo("user/down").commits) == 1


def test_private_is_private(hub, server, tmp_path):
    folder = hub.write_folder(tmp_path / "out", {"train": texts(2)})
    hub.push(folder, "secret", private=True)
    assert server.repo("user/secret").private
    assert len(hub.load("user/secret")["train"][0]) == 2

    server.edit("user/open", {"README.md": b"# Open\n"})
    with pytest.raises(InputError, match="'user/open' exists and is public"):
        hub.push(folder, "user/open", private=True)
    assert len(server.repo("user/open").commits) == 2


def test_what_a_gitignore_on_the_hub_drops_is_noticed(hub, server, tmp_path):
    server.edit("user/ignores", {".gitignore": b"*.json\n"})
    with pytest.raises(RuntimeError, match=r"ledger\.json of 'user/ignores' is missing on the Hub"):
        hub.push(hub.write_folder(tmp_path / "a", {"train": texts(2)}), "user/ignores")

    folder = hub.write_folder(tmp_path / "b", {"train": texts(2)})
    hub.push(folder, "user/stale")
    server.edit("user/stale", {".gitignore": b"*.json\n"})
    (folder / "hf_synth" / "ledger.json").write_text("{}")
    with pytest.raises(RuntimeError, match=r"ledger\.json of .* is another file, of 23 bytes, .*; 2 bytes were sent"):
        hub.push(folder, "user/stale")
    server.edit("user/stale", {".gitignore": b"README.md\n"})
    with pytest.raises(RuntimeError, match=r'"rows": {"train": 2}} on the Hub; .*"rows": {"train": 3}} was sent'):
        hub.push(hub.write_folder(tmp_path / "c", {"train": texts(3)}), "user/stale")


@pytest.mark.parametrize(
    ("token", "repo_id", "status"),
    [("hf_wrong", "user/refused", 401), ("hf_reader", "user/refused", 403), ("hf_writer", "other/refused", 403)],
)
def test_a_refused_token_is_one_sentence(hub, server, tmp_path, token, repo_id, status):
    folder = hub.write_folder(tmp_path / "out", {"train": texts(2)})
    with pytest.raises(InputError, match=f"does not let this token write to '{repo_id}' \\({status}: ") as caught:
        hub.push(folder, repo_id, token=token)
    assert "\n" not in str(caught.value)
    assert ("dataset", repo_id) not in server.repos

    server.edit("other/theirs", {"README.md": b"# Theirs\n"})
    with pytest.raises(InputError, match="'other/theirs'"):
        hub.push(folder, "other/theirs", token="hf_writer")
    assert readme(server, "other/theirs") == "# Theirs\n"


def test_malformed_yaml_stops_before_writing(hub, server, tmp_path):
    folder = hub.write_folder(tmp_path / "out", {"train": texts(2)})
    server.edit("user/broken", {"README.md": b"---\ntags: [a\nlicense: mit\n---\n# Broken\n"})
    with pytest.raises(InputError, match="^The YAML header of the README.md on the Hub cannot be read") as caught:
        hub.push(folder, "user/broken")
    assert "\n" not in str(caught.value)
    server.edit("user/half", {"README.md": f"# Half\n{BEGIN}\nno end\n".encode()})
    with pytest.raises(InputError, match="once each"):
        hub.push(folder, "user/half")
    (folder / "README.md").write_text("---\nlicense: not-a-licence\n---\n")
    with pytest.raises(InputError, match='"license" must be one of'):
        hub.push(folder, "user/unlicensed")
    (folder / "README.md").write_text("---\ntags: [a\n---\n")
    with pytest.raises(InputError, match="the local README.md cannot be read"):
        hub.push(folder, "user/never")
    assert [server.requests(COMMIT), len(server.repo("user/broken").commits)] == [[], 2]
    assert ("dataset", "user/never") not in server.repos


def test_bad_input_is_named_before_any_request(hub, server, tmp_path):
    folder = hub.write_folder(tmp_path / "out", {"train": texts(2)})
    (tmp_path / "empty").mkdir()
    (tmp_path / "cardless").mkdir()
    (tmp_path / "cardless" / "README.md").write_text("# No data\n")
    cases = [
        (tmp_path / "nowhere", "user/x", {}, "there is no folder"),
        (tmp_path / "empty", "user/x", {}, "must hold README.md"),
        (tmp_path / "cardless", "user/x", {}, "must hold data/\\*.parquet"),
        (folder, "a/b/c", {}, "must be `user/name` or `name`.*got 'a/b/c'"),
        (folder, "user/my set", {}, "got 'user/my set'"),
        (folder, "", {}, "got ''"),
        (folder, "user/x", {"repo_type": "datasets"}, "got 'datasets'. Did you mean 'dataset'"),
    ]
    for path, repo_id, options, message in cases:
        with pytest.raises(InputError, match=message):
            hub.push(path, repo_id, **options)
    assert server.log == []


def test_offline_and_without_a_token(bare_client, hub, server, tmp_path):
    folder = hub.write_folder(tmp_path / "out", {"train": texts(2)})
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        bare_client(HF_HUB_OFFLINE="1").push(folder, "user/x")
    with pytest.raises(InputError, match="needs a token"):
        bare_client(HF_TOKEN=None).push(folder, "user/x")
    assert server.log == []


def test_a_model_folder(hub, server, tmp_path):
    folder = tmp_path / "model"
    (folder / "checkpoint-5").mkdir(parents=True)
    (folder / "checkpoint-5" / "optimizer.pt").write_bytes(b"large")
    (folder / "README.md").write_text("---\nlibrary_name: transformers\n---\n# Student\n")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 32}))
    (folder / "model.safetensors").write_bytes(b"weights")
    server.edit("user/student", {"data/kept.txt": b"kept"}, kind="model")

    address = hub.push(folder, "user/student", repo_type="model")

    repo = server.repo("user/student", "model")
    assert address == f"{server.endpoint}/user/student/commit/{repo.head.oid}"
    assert set(repo.head.files) == {".gitattributes", "README.md", "config.json", "data/kept.txt", "model.safetensors"}
    assert repo.head.files["model.safetensors"].lfs
    assert "# Student" in readme(server, "user/student", "model")
    assert hub.model_type("user/student") == "bert"
