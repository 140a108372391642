"""Weights in a data set's folder: what loads, what the card says, what is refused, what stays."""

import json
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import ClassLabel, Value, load_dataset
from huggingface_hub import DatasetCard

from hf_synth.card_merge import BEGIN, END
from hf_synth.errors import InputError
from hf_synth.folder import write_folder
from hf_synth.produce import Plan, produce
from hf_synth.settings import SynthConfig
from hf_synth.tasks import load_task
from hf_synth.weighted import write_weights

FACTS = {"trainer": "bilevel", "reason": "the row hurts the others.", "settings": {"outer_loss": "rce", "steps": 3}}


def make(generator, out, rows=400, task="sst2"):
    plan = Plan.of(SynthConfig(task=task, num_rows=rows))
    produce(plan, generator, out, lambda work, facts: write_folder(work, out / "dataset", plan.task, facts))
    return out / "dataset"


@pytest.fixture
def folder(scripted, tmp_path):
    return make(scripted, tmp_path / "out")


def load(folder, config="default"):
    return load_dataset(str(folder), config, cache_dir=str(folder.parent / "cache"))


def weights_of(index, seed=0):
    """Weights in an order of their own, a fifth of them 0, scores with ties."""
    rng = np.random.default_rng(seed)
    index = rng.permutation(np.asarray(index))
    weight = np.where(rng.random(len(index)) < 0.2, 0, rng.random(len(index)))
    return {"index": index, "weight": weight / weight.mean(), "score": rng.integers(-9, 9, len(index)) / 2}


def train_weights(folder, seed=0):
    return weights_of(load(folder)["train"]["index"], seed)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_row_has_its_weight_and_default_stays(folder):
    before, weights = load(folder), train_weights(folder)
    write_weights(folder, weights, FACTS)
    after, weighted = load(folder), load(folder, "weighted")
    assert {name: part.to_list() for name, part in after.items()} == {n: p.to_list() for n, p in before.items()}
    assert list(weighted) == ["train"]
    features = dict(weighted["train"].features)
    assert features.pop("hf_synth_weight") == Value("float32")
    assert features == dict(before["train"].features)
    expected = dict(zip(weights["index"].tolist(), weights["weight"].astype(np.float32).tolist(), strict=True))
    rows = weighted["train"].to_list()
    assert {row["index"]: row.pop("hf_synth_weight") for row in rows} == expected
    assert rows == before["train"].to_list()


def test_rows_without_a_weight_are_not_in_weighted(folder):
    weights = weights_of([3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377])
    write_weights(folder, pa.table(weights), FACTS)
    rows = load(folder, "weighted")["train"]
    assert set(rows["index"]) == set(weights["index"])
    assert len(load(folder, "suspects")["train"]) == 1
    splits = {name: len(set(part["index"]) & set(weights["index"])) for name, part in load(folder).items()}
    assert splits["validation"] > 0
    text = (folder / "README.md").read_text()
    assert "do not judge on that split" in text
    sizes = {name: len(part) for name, part in load(folder).items()}
    told = ", ".join(f"{name} {count} of {sizes[name]}" for name, count in splits.items())
    assert f"| rows with a weight | 11 ({told}) |" in text


def test_suspects_are_the_lowest_scores_in_order(folder):
    weights = train_weights(folder)
    write_weights(folder, weights, FACTS)
    suspects = load(folder, "suspects")["train"]
    assert suspects.column_names == ["sentence", "label", "index", "reason", "score"]
    assert suspects.features["label"] == ClassLabel(names=["negative", "positive"])
    assert suspects.features["score"] == Value("float32")
    lowest = sorted(zip(weights["score"].tolist(), weights["index"].tolist(), strict=True))
    count = len(weights["index"]) // 10
    assert list(zip(suspects["score"], suspects["index"], strict=True)) == lowest[:count]
    texts = {row["index"]: (row["sentence"], row["label"]) for row in load(folder)["train"]}
    assert all(texts[row["index"]] == (row["sentence"], row["label"]) for row in suspects)
    assert set(suspects["reason"]) == {"the row hurts the others."}


def test_there_are_never_more_suspects_than_a_person_would_read(folder, monkeypatch):
    monkeypatch.setattr("hf_synth.weighted.MAX_SUSPECTS", 7)
    write_weights(folder, train_weights(folder), FACTS)
    assert len(load(folder, "suspects")["train"]) == 7


def test_a_few_rows_have_no_suspects(folder):
    write_weights(folder, train_weights(folder), FACTS)
    write_weights(folder, {"index": [1, 0], "weight": [0.5, 1.5], "score": [1, 2]}, FACTS)
    assert load(folder, "weighted")["train"]["index"] == [0, 1]
    header = DatasetCard.load(folder / "README.md").data.to_dict()
    assert [entry["config_name"] for entry in header["configs"]] == ["default", "rejects", "weighted"]
    assert not list((folder / "data").glob("suspects-*"))


def test_every_number_on_the_card_is_in_the_data(folder):
    write_weights(folder, train_weights(folder), {**FACTS, "source": "tea leaves"})
    card, rows = DatasetCard.load(folder / "README.md"), load(folder, "weighted")["train"]
    weights = defaultdict(list)
    for row in rows:
        weights[rows.features["label"].int2str(row["label"])].append(row["hf_synth_weight"])
    every = [weight for part in weights.values() for weight in part]
    left = sum(every) ** 2 / sum(weight**2 for weight in every)
    assert f"| rows with a weight | {len(rows)} (train {len(rows)} of {len(rows)}, validation 0 of " in card.text
    assert f"| of weight above 0 | {sum(weight > 0 for weight in every)} |" in card.text
    assert f"| rows effectively left, (Σw)²/Σw² | {left:.0f} |" in card.text
    assert f"| listed in `suspects` | {len(load(folder, 'suspects')['train'])} |" in card.text
    for label, part in weights.items():
        assert f"| {label} | {sum(part) / len(part):.4f} |" in card.text
    assert "**A low weight is a suspicion, not a verdict**" in card.text
    assert "trainer `bilevel` from tea leaves." in card.text
    assert "What a low score means: the row hurts the others." in card.text
    assert "outer_loss: rce\nsteps: 3\n" in card.text
    assert "do not judge on that split" not in card.text
    facts = json.loads((folder / "hf_synth/facts.json").read_text())["weights"]
    assert (facts["trainer"], facts["rows"], facts["effective_rows"]) == ("bilevel", len(rows), round(left))
    sizes = {entry["config_name"]: entry["splits"][0]["num_examples"] for entry in card.data.to_dict()["dataset_info"]}
    assert (sizes["weighted"], sizes["suspects"]) == (len(rows), len(rows) // 10)
    assert card.data.size_categories == ["n<1K"]


def test_the_card_says_that_no_person_labelled(folder):
    write_weights(folder, train_weights(folder), FACTS)
    assert "of this data set alone; no person's label was used." in (folder / "README.md").read_text()


def test_writing_again_replaces_and_repeats(folder):
    first, second = train_weights(folder, 1), train_weights(folder, 2)
    bare = contents(folder)
    write_weights(folder, first, FACTS)
    once = contents(folder)
    write_weights(folder, second, FACTS)
    assert len(list((folder / "data").glob("weighted-*"))) == 1
    weighted = load(folder, "weighted")["train"]  # and not the first ones out of the cache
    expected = dict(zip(second["index"].tolist(), second["weight"].astype(np.float32).tolist(), strict=True))
    assert dict(zip(weighted["index"], weighted["hf_synth_weight"], strict=True)) == expected
    order = np.argsort(first["index"])
    write_weights(folder, pa.table({name: values[order] for name, values in first.items()}), FACTS)
    assert contents(folder) == once
    assert {name: once[name] for name in bare if name.startswith("data/")}.items() <= bare.items()


def test_what_a_person_wrote_stays(folder):
    (folder / "figure.png").write_bytes(b"a person's")
    card = folder / "README.md"
    text = card.read_text().replace("pretty_name:", "annotator: me\npretty_name:")
    card.write_text(text.replace(BEGIN, "My own words.\n\n" + BEGIN).replace(END, END + "\n\nAnd more."))
    for seed in (0, 1):
        write_weights(folder, train_weights(folder, seed), FACTS)
    after = card.read_text()
    assert "My own words.\n\n" + BEGIN in after
    assert "And more." in after.partition(END)[2]
    assert after.count("## Row weights") == 1
    assert yaml.safe_load(after.split("---")[1])["annotator"] == "me"
    assert (folder / "figure.png").read_bytes() == b"a person's"


def test_a_folder_that_a_killed_process_left_aside_is_found(folder):
    weights = train_weights(folder)
    folder.rename(folder.with_name(".dataset.old"))
    write_weights(folder, weights, FACTS)
    assert len(load(folder, "weighted")["train"]) == len(weights["index"])
    assert {path.name for path in folder.parent.iterdir()} == {"dataset", "journal", "cache"}


def test_a_card_that_cannot_be_merged_leaves_the_folder(folder):
    weights, card = train_weights(folder), folder / "README.md"
    card.write_text(card.read_text().replace(END, ""))
    before = contents(folder)
    with pytest.raises(InputError, match="once each"):
        write_weights(folder, weights, FACTS)
    assert contents(folder) == before


def test_generating_more_drops_the_weights(folder, scripted):
    write_weights(folder, train_weights(folder), FACTS)
    make(scripted, folder.parent, rows=500)
    fresh = make(scripted, folder.parent.with_name("fresh"), rows=500)
    mine, new = contents(folder), contents(fresh)
    assert "## Row weights" not in mine["README.md"].decode()
    for name in ("hf_synth/chunks.parquet", "hf_synth/ledger.json", "hf_synth/facts.json", "README.md"):
        mine.pop(name)  # these tell what was paid for and when
        new.pop(name)
    assert mine == new
    with pytest.raises(ValueError, match="weighted"):
        load(folder, "weighted")


def test_many_shards_and_blocks(scripted, tmp_path, monkeypatch):
    monkeypatch.setattr("hf_synth.folder.SHARD_ROWS", 100)
    monkeypatch.setattr("hf_synth.weighted.BLOCK", 7)
    folder = make(scripted, tmp_path / "out")
    weights = train_weights(folder)
    write_weights(folder, weights, FACTS)
    shards = sorted((folder / "data").glob("weighted-*.parquet"))
    assert [pq.read_metadata(shard).num_rows for shard in shards[:-1]] == [100] * (len(shards) - 1)
    weighted = load(folder, "weighted")["train"]
    expected = dict(zip(weights["index"].tolist(), weights["weight"].astype(np.float32).tolist(), strict=True))
    assert dict(zip(weighted["index"], weighted["hf_synth_weight"], strict=True)) == expected


def test_a_task_of_ones_own(scripted, tmp_path):
    """The card is written anew from recorded facts alone: the task's file may be gone."""
    task = tmp_path / "cut.yaml"
    text = "labels: {positive: good | fine, negative: bad}\nprompt: 'A {word} one, {opening}: \"'\nlanguage: en\n"
    text += "words: {positive: nice, negative: [poor, 'no']}\nopening: {values: [a, b]}\ndescription: Is it?\n"
    task.write_text(text + "columns: body\nlabel_column: side\n")
    folder = make(scripted, tmp_path / "out", rows=60, task=str(task))
    task.unlink()
    write_weights(folder, train_weights(folder), FACTS)
    card = (folder / "README.md").read_text()
    assert "Task: Is it?" in card
    assert load(folder, "suspects")["train"].column_names == ["body", "side", "index", "reason", "score"]


def changed(weights, **columns):
    return {**weights, **{name: change(weights[name].copy()) for name, change in columns.items()}}


def put(value):
    def change(values):
        values[3] = value
        return values

    return change


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"index": put(4000)}, "names row 4000, but the data set has no such `index`"),
        ({"index": lambda index: np.where(index == index[5], index[3], index)}, "twice or more"),
        ({"index": lambda index: index + 0.5}, "must hold integers; got float64"),
        ({"weight": put(np.nan)}, "must be finite and 0 or more; it is nan for row"),
        ({"weight": put(-1.0)}, "must be finite and 0 or more; it is -1.0 for row"),
        ({"weight": lambda weight: weight * 2}, "must have mean 1; its mean is 2"),
        ({"weight": lambda weight: weight[1:]}, "as many indices as weights"),
        ({"score": put(np.inf)}, "`weights.score` must be finite; it is inf for row"),
    ],
)
def test_bad_weights_are_refused_and_nothing_changes(folder, columns, message):
    before = contents(folder)
    with pytest.raises(InputError, match=message):
        write_weights(folder, changed(train_weights(folder), **columns), FACTS)
    assert contents(folder) == before
    assert {path.name for path in folder.parent.iterdir()} == {"dataset", "journal", "cache"}


def test_what_is_not_ours_is_refused(folder, tmp_path):
    weights = train_weights(folder)
    (tmp_path / "other").mkdir()
    for place in ("other", "nowhere"):
        with pytest.raises(InputError, match=f"{place}' is no data set folder"):
            write_weights(tmp_path / place, weights, FACTS)
    assert not list((tmp_path / "other").iterdir())
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(InputError, match="must hold index, weight, score; got index"):
        write_weights(folder, {"index": weights["index"]}, FACTS)
    with pytest.raises(InputError, match="'reason' is missing"):
        write_weights(folder, weights, {"trainer": "bilevel", "settings": {}})
    with pytest.raises(InputError, match="Did you mean 'reason'"):
        write_weights(folder, weights, {**FACTS, "reasons": ""})


@pytest.mark.parametrize("name", ["score", "weight"])
def test_a_column_that_would_be_overwritten_is_refused(tmp_path, name):
    task = tmp_path / "cut.yaml"
    task.write_text(f"labels: [a, b]\nprompt: 'A {{label}}: \"'\nlabel_column: {name}\n")
    with pytest.raises(InputError, match="columns need names of their own"):
        load_task(str(task))
