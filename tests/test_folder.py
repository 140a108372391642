"""The Hub-ready folder: what loads from it, what stands on its card, what survives a rewrite."""

import json
from collections import Counter
from random import Random

import pyarrow.parquet as pq
import pytest
import yaml
from datasets import ClassLabel, load_dataset
from huggingface_hub import DatasetCard

from hf_synth.card import fenced, size_category
from hf_synth.card_merge import BEGIN, END
from hf_synth.errors import InputError
from hf_synth.folder import replace_folder, write_folder
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.produce import Plan, produce
from hf_synth.prompts import ExamplesConfig, shown_in, with_examples
from hf_synth.records import Example, Prompt
from hf_synth.settings import SynthConfig
from hf_synth.tasks import load_task


def make(generator, folder, rows=400, **settings):
    plan = Plan.of(SynthConfig(task="sst2", num_rows=rows, **settings))
    return produce(
        plan, generator, folder, lambda work, facts: write_folder(work, folder / "dataset", plan.task, facts)
    )


@pytest.fixture
def made(scripted, tmp_path):
    facts = make(scripted, tmp_path / "out", license="cc0-1.0")
    return tmp_path / "out" / "dataset", facts


def load(folder, config="default", cache=None):
    return load_dataset(str(folder), config, cache_dir=str(cache or folder.parent / "cache"))


def test_the_folder_loads(made):
    folder, _ = made
    data = load(folder)
    assert set(data) == {"train", "validation"}
    assert sum(map(len, data.values())) == 400
    label = data["train"].features["label"]
    assert isinstance(label, ClassLabel)
    assert label.names == ["negative", "positive"]
    rows = [row for part in data.values() for row in part]
    assert sorted(row["index"] for row in rows) == list(range(400))
    assert Counter(label.int2str(row["label"]) for row in rows) == {"negative": 200, "positive": 200}
    for row in rows:  # the label is the one whose prompt wrote the text
        words = row["sentence"].split()[-2:]
        side = {"bad", "awful", "dull"} if row["label"] == 0 else {"good", "great", "fine"}
        assert side.issuperset(words) or row["sentence"] == "the same film again"
    assert set(data["train"].column_names) == {
        "sentence", "label", "index", "prompt_id", "attributes", "logprob", "model", "model_sha256",
    }  # fmt: skip
    assert rows[0]["model"] == "reviews"
    assert json.loads(rows[0]["attributes"])["opening"].startswith("Title")


def test_every_number_on_the_card_is_in_the_data(made):
    folder, _ = made
    card = DatasetCard.load(folder / "README.md")
    data, rejects = load(folder), load(folder, "rejects")["train"]
    info = {entry["config_name"]: entry for entry in card.data.to_dict()["dataset_info"]}
    sizes = {split["name"]: split["num_examples"] for split in info["default"]["splits"]}
    assert sizes == {name: len(part) for name, part in data.items()}
    for name, part in data.items():
        counts = Counter(part["label"])
        assert f"| {name} | {counts[0]} | {counts[1]} |" in card.text
    assert card.data.size_categories == ["n<1K"]
    assert card.data.license == "cc0-1.0"
    assert card.data.language == ["en"]
    assert card.data.tags == ["synthetic", "hf_synth", "zerogen"]
    reasons = Counter(zip(rejects["stage"], rejects["reason"], strict=True))
    chunks = pq.read_table(folder / "hf_synth/chunks.parquet").to_pylist()
    for stage in ("openings", "rows"):
        asked = sum(len(chunk["prompt_ids"]) for chunk in chunks if chunk["stage"] == stage)
        dropped = {reason: count for (where, reason), count in sorted(reasons.items()) if where == stage}
        kept = asked - sum(dropped.values())
        if stage == "rows":
            assert kept == 400
        told = ", ".join(f"{reason} {count}" for reason, count in dropped.items()) or "none"
        assert f"| {stage} | {asked} | {kept} | {told} |" in card.text
    assert 'A movie critic hated the movie "{opening}".' in card.text
    assert "`{word}` is one of: terrible, boring," in card.text


def test_rejects_keep_the_raw_text(made):
    rejects = load(made[0], "rejects")["train"]
    assert {"short", "duplicate", "surplus"} <= set(rejects["reason"])
    assert all(text is not None for text in rejects["text"])
    assert set(rejects.filter(lambda row: row["stage"] == "rows")["cell"]) == {"negative", "positive"}


def test_every_prompt_id_leads_to_its_prompt(made):
    folder, _ = made
    prompts = {row["prompt_id"]: row["text"] for row in pq.read_table(folder / "hf_synth/prompts.parquet").to_pylist()}
    for row in load(folder)["train"].select(range(50)):
        drawn = json.loads(row["attributes"])
        critic = f'A movie critic {["hated", "loved"][row["label"]]} the movie "{drawn["opening"]}".'
        review = f'Write one sentence of the review that says how {drawn["word"]} it is.\n"'
        assert prompts[row["prompt_id"]] == f"{critic} {review}"


def test_no_licence_is_claimed(scripted, tmp_path):
    make(scripted, tmp_path / "out")
    card = DatasetCard.load(tmp_path / "out/dataset/README.md")
    assert card.data.license is None
    assert "not stated when this was made" in card.text


def test_new_rows_are_loaded_after_a_rewrite_in_place(scripted, tmp_path):
    make(scripted, tmp_path / "out", rows=100)
    before = load(tmp_path / "out/dataset", cache=tmp_path / "cache")
    make(scripted, tmp_path / "out", rows=300)
    after = load(tmp_path / "out/dataset", cache=tmp_path / "cache")
    assert sum(map(len, after.values())) == 300
    for name, part in before.items():  # a row keeps its index and its split as the set grows
        rows = {row["index"]: row for row in after[name]}
        assert all(rows[row["index"]] == row for row in part)
    assert len(list((tmp_path / "out/dataset/data").iterdir())) == 3


def test_what_a_person_wrote_stays(made, scripted):
    folder, _ = made
    card = folder / "README.md"
    text = card.read_text().replace("pretty_name:", "annotator: me\npretty_name:")
    card.write_text(text.replace(BEGIN, "My own words.\n\n" + BEGIN).replace(END, END + "\n\nAnd more."))
    make(scripted, folder.parent, rows=600, license="cc0-1.0")
    after = card.read_text()
    assert "My own words.\n\n" + BEGIN in after
    assert after.endswith(END + "\n\nAnd more.\n") or "And more." in after.partition(END)[2]
    header = yaml.safe_load(after.split("---")[1])
    assert header["annotator"] == "me"
    assert sum(split["num_examples"] for split in header["dataset_info"][0]["splits"]) == 600


def test_a_card_that_cannot_be_merged_is_named(made, scripted):
    folder, _ = made
    for broken, why in (
        (b"caf\xe9", "must be UTF-8 text"),
        (BEGIN.encode(), "it holds 1 and 0"),
        (b"---\na: [\n---\n", "YAML"),
    ):
        (folder / "README.md").write_bytes(broken)
        with pytest.raises(InputError, match=why) as caught:
            make(scripted, folder.parent)
        assert str(folder / "README.md") in str(caught.value)
        assert (folder / "README.md").read_bytes() == broken


def test_a_folder_behind_a_link_is_replaced_again_and_again(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/mine.txt").touch()
    (tmp_path / "dataset").symlink_to(tmp_path / "disk")
    for text in ("one", "two"):
        (tmp_path / "fresh").mkdir()
        (tmp_path / "fresh/file").write_text(text)
        replace_folder(tmp_path / "fresh", tmp_path / "dataset")
    assert (tmp_path / "dataset/file").read_text() == "two"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "disk"]
    assert (tmp_path / "disk/mine.txt").exists()


def test_texts_cannot_break_the_card(tmp_path):
    nasty = "a ``` fence ~~~ | pipe <b>html</b> {{ 7*7 }} --- # head <!-- hf_synth:end --> tail"
    generator = ScriptedGenerator(lambda prompt, rng: f"{nasty} {rng.randrange(10**9)}", name="nasty|name")
    make(generator, tmp_path / "out", rows=20)
    text = (tmp_path / "out/dataset/README.md").read_text()
    assert "{{ 7*7 }}" in text
    assert "nasty\\|name" in text
    data = load(tmp_path / "out/dataset")
    assert sum(map(len, data.values())) == 20
    make(generator, tmp_path / "out", rows=30)
    again = (tmp_path / "out/dataset/README.md").read_text()
    assert again.count("## Citation") == 1


def test_words_of_scripts_without_spaces_are_characters(tmp_path):
    generator = ScriptedGenerator(lambda prompt, rng: f"这部电影很好{rng.choice('一二三四')}{rng.choice('五六七八')}")
    facts = make(generator, tmp_path / "out", rows=8)
    assert facts["lengths"]["positive"] == {"min": 8, "median": 8.0, "max": 8}
    rows = [Example({"sentence": "这部电影很好" * 10}, "positive", "positive", Prompt(""))] * 3
    config = ExamplesConfig(examples=3, example_words=150, feedback_ratio=1.0)
    (prompt,) = with_examples(load_task("sst2"), [Prompt("x")], rows, range(3), Random(0), config)
    assert len(shown_in(prompt)) == 2  # each has 60, and the words around them


def test_a_fence_is_longer_than_any_in_the_text():
    assert fenced("a ```` b").startswith("`````text\n")
    assert fenced("plain").startswith("```text\n")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M"), (10**9, "1B<n<10B"), (10**12, "n>1T")],
)
def test_size_categories(rows, expected):
    assert size_category(rows) == expected


def test_shards_are_cut(scripted, tmp_path, monkeypatch):
    monkeypatch.setattr("hf_synth.folder.SHARD_ROWS", 100)
    make(scripted, tmp_path / "out", rows=500)
    shards = list((tmp_path / "out/dataset/data").glob("train-*.parquet"))
    assert len(shards) > 3
    data = load(tmp_path / "out/dataset")["train"]
    assert sorted(data["index"]) == data["index"][:]
    assert len(data) == sum(pq.read_metadata(shard).num_rows for shard in shards)
