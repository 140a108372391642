"""Sharing what was made: pull requests, pushes on the way, leaks held back, collections, and what goes wrong."""

import json
import shutil

import pytest
import yaml
from datasets import load_dataset
from test_images_select import FACTS as IMAGES
from test_tables_card import FACTS as TABLE
from tiny_images import png, rows, saved_rows
from transformers import pipeline

from hf_synth.card_merge import BEGIN
from hf_synth.errors import InputError
from hf_synth.images.folder import records, write_image_folder
from hf_synth.images.settings import Where
from hf_synth.images.source import read_original
from hf_synth.images.store import Store
from hf_synth.marks import held_back
from hf_synth.tables.folder import write_table_folder
from hf_synth.tables.impute import Completed
from hf_synth.tables.schema import Column, Schema

COMMIT = "^POST /api/.*/commit/main$"
TITLE = "Films, made by a machine"


def texts(count, word="film"):
    return [f"{word} {number}" for number in range(count)]


def called(hub, function, *arguments, **options):
    """Call a function of this file in the process that sees the Hub."""
    return hub.pool.submit(function, *arguments, **options).result(timeout=480)


def command(*argv, script=None):
    """Run `hf-synth` in the process that sees the Hub, with scripted texts; return its code and what it said."""
    import contextlib
    import io

    import hf_synth.commands.generate as generate
    from hf_synth import retries
    from hf_synth.commands.main import main
    from hf_synth.generators.scripted import ScriptedGenerator

    retries.FIRST_WAIT = 0.01
    generator = ScriptedGenerator(
        script or (lambda prompt, rng: f"a {prompt.cell} text of {rng.random()}"), name="hub"
    )
    generate.open_generator = lambda *_, **__: generator
    out, err = io.StringIO(), io.StringIO()
    generate.console.file = out
    with contextlib.redirect_stderr(err):
        code = main([*argv])
    return code, out.getvalue() + err.getvalue()


def readme(server, name, revision="main", kind="dataset"):
    return server.repo(name, kind).history(revision)[-1].files["README.md"].content.decode()


def streamed(name, **options):
    return list(load_dataset(name, split="train", streaming=True, **options))


def predicted(name, text):
    return pipeline("text-classification", name)(text)[0]["label"]


# All of it


def test_a_data_set_and_its_model_are_pushed_and_used(hub, server, student_folder, tmp_path):
    hub.generate(tmp_path / "out", 60)
    data, model = tmp_path / "out/dataset", tmp_path / "model"
    shutil.copytree(student_folder, model)
    config = json.loads((model / "config.json").read_text())
    config |= {"id2label": {"0": "negative", "1": "positive"}, "label2id": {"negative": 0, "positive": 1}}
    (model / "config.json").write_text(json.dumps(config))
    card = (
        "---\nlibrary_name: transformers\ndatasets:\n- user/whole\n---\n# Student\n\nTrained on [it](../user/whole).\n"
    )
    (model / "README.md").write_text(card)

    for folder, name in ((data, "user/whole"), (model, "user/whole-model")):
        code, said = called(hub, command, "push", "--folder", str(folder), "--hub_id", name, "--collection", TITLE)
        assert code == 0, said

    local = hub.load_folder(data)
    assert hub.load("user/whole") == local
    rows = called(hub, streamed, "user/whole")
    assert [row["sentence"] for row in rows] == [row["sentence"] for row in local["train"][0]]
    assert called(hub, predicted, "user/whole-model", "a fine film") in ("negative", "positive")
    assert len(server.requests("PUT /lfs/.*/part/")) > 1  # the weights
    assert (
        server.repo("user/whole-model", "model").head.files["model.safetensors"].content
        == (model / "model.safetensors").read_bytes()
    )
    assert readme(server, "user/whole") == (data / "README.md").read_text()
    [collection] = [one for one in server.collections.values() if one.title == TITLE]
    assert [(item["type"], item["id"]) for item in collection.items] == [
        ("dataset", "user/whole"),
        ("model", "user/whole-model"),
    ]


def write_images(out):
    """A folder as `illustrate` writes it."""
    original = read_original(Where(str(saved_rows(out / "given", rows(["a", "b"], [png(1), png(2)])))), ())
    added = list(records(original, original.texts, [], True, {"image_model": None, "caption_model": None}))
    write_image_folder(out / "dataset", original, added, [], IMAGES, Store(out / "images"))


def write_table(out):
    """A folder as `impute` writes it."""
    schema, people = Schema({"age": Column("integer", range=(20, 80))}), [{"age": 30}, {"age": 40}]
    done = Completed([people] * 2, people, [])
    write_table_folder(out / "dataset", schema, {"train": people}, {"train": done}, [], TABLE)


@pytest.mark.parametrize("write", [write_images, write_table])
def test_what_illustrate_and_impute_write_is_pushed(hub, server, tmp_path, write):
    write(tmp_path)
    folder, name = tmp_path / "dataset", f"user/{write.__name__}"
    assert held_back(folder) == ""
    code, said = called(hub, command, "push", "--folder", str(folder), "--hub_id", name)
    assert code == 0, said
    assert "hf_synth/facts.json" in server.repo(name).head.files
    facts = json.loads((folder / "hf_synth/facts.json").read_text())
    (folder / "hf_synth/facts.json").write_text(json.dumps({**facts, "private": ["rows of 'wards'"]}))
    code, said = called(hub, command, "push", "--folder", str(folder), "--hub_id", name)
    assert (code, "it was made under `private` and holds rows made with rows of 'wards'" in said) == (2, True)


def test_a_second_push_drops_a_split_and_changes_columns_for_streaming_too(hub, server, tmp_path):
    hub.push(hub.write_folder(tmp_path / "a", {"train": texts(4), "test": texts(2)}), "user/features")
    called(hub, streamed, "user/features")
    hub.push(hub.write_folder(tmp_path / "b", {"train": texts(5)}, extra=True), "user/features")
    assert called(hub, streamed, "user/features")[3] == {"text": "film 3", "label": 1, "logprob": -3.0}
    assert list(hub.load("user/features")) == ["train"]
    assert (
        yaml.safe_load(readme(server, "user/features").split("---\n")[1])["configs"][0]["data_files"][0]["split"]
        == "train"
    )


@pytest.mark.parametrize("broken", ["upload", "commit"])
def test_a_push_that_breaks_half_way_leaves_nothing_and_is_repeated(hub, server, tmp_path, broken):
    name = f"user/half-{broken}"
    hub.push(hub.write_folder(tmp_path / "a", {"train": texts(4)}), name)
    before, folder = (
        readme(server, name),
        hub.write_folder(tmp_path / "b", {"train": texts(900, f"play{broken}")}, shards=3),
    )
    server.log.clear()
    if broken == "upload":  # one shard of three does not arrive, in no way that a second try would mend
        server.fail_next("^PUT /lfs/", 403)
    else:
        server.fail_next(COMMIT, 500, times=5)
    code, said = called(hub, command, "push", "--folder", str(folder), "--hub_id", name)
    assert (code, "Traceback" in said) == (2, False)
    assert said.count("\n") == 1
    assert readme(server, name) == before
    assert hub.load(name)["train"][0][3]["text"] == "film 3"

    arrived = [entry for entry in server.requests("^PUT /lfs/") if entry[2] == 200]
    server.log.clear()
    assert called(hub, command, "push", "--folder", str(folder), "--hub_id", name)[0] == 0
    assert len(arrived) == 3 if broken == "commit" else len(arrived) < 3
    assert len(server.requests("^PUT /lfs/")) == 3 - len(arrived)  # what had arrived is not sent again
    assert [commit.title for commit in server.repo(name).commits[1:]] == ["Push with hf_synth"] * 2
    assert len(hub.load(name)["train"][0]) == 900


def test_somebody_elses_name_and_private_repo_are_refused(hub, server, tmp_path):
    folder = hub.write_folder(tmp_path / "out", {"train": texts(2)})
    server.edit("other/taken", {"README.md": b"# Theirs\n"})
    server.edit("other/hidden", {"README.md": b"# Theirs\n"}, private=True)
    for name in ("other/taken", "other/hidden"):
        for options in ([], ["--create_pr"] if name == "other/hidden" else []):
            code, said = called(hub, command, "push", "--folder", str(folder), "--hub_id", name, *options)
            assert code == 2
            assert f"The Hub does not let this token write to '{name}' (403" in said
        assert len(server.repo(name).commits) == 2


def test_a_private_set_is_seen_by_its_owner_alone(hub, server, tmp_path):
    folder = hub.write_folder(tmp_path / "out", {"train": texts(3)})
    arguments = ["--folder", str(folder), "--hub_id", "user/own", "--private", "--collection", "Mine"]
    assert called(hub, command, "push", *arguments)[0] == 0
    assert len(called(hub, streamed, "user/own")) == 3
    assert [one.private for one in server.collections.values() if one.title == "Mine"] == [True]
    with pytest.raises(Exception, match="doesn't exist on the Hub or cannot be accessed|Repository Not Found"):
        called(hub, streamed, "user/own", token="hf_other")


# Pull requests


def test_a_pull_request_leaves_main_alone_and_loads_by_its_revision(hub, server, tmp_path):
    hub.push(hub.write_folder(tmp_path / "a", {"train": texts(4)}), "user/pulled")
    text = readme(server, "user/pulled").replace(BEGIN, f"My words.\n\n{BEGIN}")
    server.edit("user/pulled", {"README.md": text.encode()})
    before = server.repo("user/pulled").head
    folder = hub.write_folder(tmp_path / "b", {"train": texts(6)}, extra=True)

    for number in (1, 2):  # one of its own each time
        code, said = called(hub, command, "push", "--folder", str(folder), "--hub_id", "user/pulled", "--create_pr")
        assert (code, said) == (0, f"{server.endpoint}/datasets/user/pulled/discussions/{number}\n")
    assert server.repo("user/pulled").head is before
    assert len(hub.load("user/pulled")["train"][0]) == 4
    rows = called(hub, streamed, "user/pulled", revision="refs/pr/2")
    assert (len(rows), rows[0]["logprob"]) == (6, 0.0)
    asked = readme(server, "user/pulled", "refs/pr/1")
    assert "My words." in asked
    assert "6 rows." in asked
    shards = [name for name in server.repo("user/pulled").history("refs/pr/1")[-1].files if name.startswith("data/")]
    assert len(shards) == 1  # the old one goes with it


def test_a_pull_request_may_be_for_somebody_elses_set(hub, server, tmp_path):
    folder = hub.write_folder(tmp_path / "out", {"train": texts(3)})
    hub.push(folder, "other/theirs", token="hf_other")
    again = hub.write_folder(tmp_path / "more", {"train": texts(5)})
    assert hub.push(again, "other/theirs", create_pr=True).endswith("/datasets/other/theirs/discussions/1")
    assert server.repo("other/theirs").history("refs/pr/1")[-1].author == "user"
    assert "3 rows." in readme(server, "other/theirs")


def test_a_lost_reply_does_not_open_two_pull_requests(hub, server, tmp_path):
    hub.push(hub.write_folder(tmp_path / "a", {"train": texts(4)}), "user/lost-pull")
    folder = hub.write_folder(tmp_path / "b", {"train": texts(5)})
    assert hub.push(folder, "user/lost-pull", create_pr=True).endswith("discussions/1")
    server.fail_next(COMMIT, "drop_reply_after_commit")
    assert hub.push(folder, "user/lost-pull", create_pr=True).endswith("discussions/2")
    assert server.repo("user/lost-pull").pulls == ["refs/pr/1", "refs/pr/2"]
    server.fail_next(COMMIT, 503)
    assert hub.push(folder, "user/lost-pull", create_pr=True).endswith("discussions/3")


def test_a_pull_request_in_a_repo_that_is_not_there_yet(hub, server, tmp_path):
    folder = hub.write_folder(tmp_path / "out", {"train": texts(3)})
    assert hub.push(folder, "new-pull", create_pr=True).endswith("/user/new-pull/discussions/1")
    assert [commit.title for commit in server.repo("user/new-pull").commits] == ["initial commit"]


# Leaks


def leaky(hub, folder, **levels):
    hub.write_folder(folder, {"train": texts(3)})
    verdicts = [
        {"check": name.replace("_", " "), "verdict": level, "reason": f"2 rows of {name}."}
        for name, level in levels.items()
    ]
    (folder / "hf_synth/inspect.json").write_text(json.dumps({"verdicts": verdicts, "measures": {}}))
    return folder


def test_a_leak_holds_a_push_back_until_it_is_overruled_by_name(hub, server, tmp_path):
    folder = leaky(hub, tmp_path / "out", test_rows="bad", personal_data="look", empty_texts="bad")
    arguments = ("push", "--folder", str(folder), "--hub_id", "user/leaky")
    code, said = called(hub, command, *arguments)
    assert code == 2
    assert "its leakage check 'test rows' stands at bad: 2 rows of test_rows. Mend" in said
    assert '--overrule "test rows"' in said
    assert said.count("\n") == 1
    assert called(hub, command, *arguments, "--overrule", "canaries")[0] == 2
    assert server.log == []
    assert called(hub, command, *arguments, "--overrule", "test rows")[0] == 0
    assert "hf_synth/inspect.json" in server.repo("user/leaky").head.files


def test_two_leaks_are_named_together_and_overruled_together(hub, server, tmp_path):
    folder = leaky(hub, tmp_path / "out", personal_data="bad", canaries="bad")
    with pytest.raises(InputError, match="'canaries' .*; 'personal data' .*--overrule \"canaries, personal data\""):
        hub.push(folder, "user/two-leaks")
    with pytest.raises(InputError, match="`overrule` must be one of test rows, .*; got 'test row'. Did you mean"):
        hub.push(folder, "user/two-leaks", overrule=["test row"])
    assert (
        called(
            hub,
            command,
            "push",
            "--folder",
            str(folder),
            "--hub_id",
            "user/two-leaks",
            "--overrule",
            "canaries, personal data",
        )[0]
        == 0
    )


def test_what_is_not_bad_is_not_held_back(hub, server, tmp_path):
    hub.push(leaky(hub, tmp_path / "a", test_rows="good", personal_data="look", labels="bad"), "user/clean")
    broken = leaky(hub, tmp_path / "b")
    (broken / "hf_synth/inspect.json").write_text("{")
    with pytest.raises(InputError, match="inspect.json.* cannot be read .*run `hf-synth inspect` again"):
        hub.push(broken, "user/unreadable")


# Collections


def test_a_collection_is_found_by_title_or_slug_and_links_once(hub, server, tmp_path):
    folder = hub.write_folder(tmp_path / "out", {"train": texts(3)})
    arguments = ("push", "--folder", str(folder), "--hub_id", "linked", "--collection")
    code, said = called(hub, command, *arguments, "Sets of mine")
    [collection] = [one for one in server.collections.values() if one.title == "Sets of mine"]
    assert said.splitlines()[1] == f"{server.endpoint}/collections/{collection.slug}"
    assert [(item["id"], item.get("note")) for item in collection.items] == [("user/linked", None)]

    (folder / "hf_synth/report.html").write_text("<p>fine</p>")
    server.fail_next("^PATCH /api/collections", 503)
    for title in ("Sets of mine", collection.slug):
        assert called(hub, command, *arguments, title)[0] == 0
    [item] = collection.items
    note = f"Report: {server.endpoint}/datasets/user/linked/blob/main/hf_synth/report.html"
    assert item["note"] == {"text": note}
    assert [one.title for one in server.collections.values()].count("Sets of mine") == 1

    item["note"] = {"text": "a person's"}
    assert called(hub, command, *arguments, "Sets of mine")[0] == 0
    assert item["note"] == {"text": "a person's"}


def test_a_collection_that_cannot_be_is_one_sentence_after_the_push(hub, server, tmp_path):
    folder = hub.write_folder(tmp_path / "out", {"train": texts(3)})
    for title, reason in (("x" * 80, "less than 60 characters"), ("other/set-" + "0" * 24, "Collection not found")):
        code, said = called(
            hub, command, "push", "--folder", str(folder), "--hub_id", "user/unlinked", "--collection", title
        )
        first, second = said.splitlines()
        assert (code, "/datasets/user/unlinked/commit/" in first) == (2, True)
        assert "does not put 'user/unlinked' into the collection" in second
        assert reason in second
