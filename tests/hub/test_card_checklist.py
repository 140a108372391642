"""Thirty things a data set's card must do, on a set that `run` made and `inspect` judged, here and after a push.

The set is a thousand rows of a tiny random model, of which three are real test rows and one holds an address.
"""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import yaml
from datasets import ClassLabel, Dataset, Features, Value, load_dataset, load_dataset_builder
from huggingface_hub import DatasetCard, ModelCard

from hf_synth.card import dataset_card, size_category
from hf_synth.card_merge import BEGIN, END
from hf_synth.commands.main import main
from hf_synth.methods import get
from hf_synth.metrics.distinct import distinct
from hf_synth.metrics.sampling import drawn
from hf_synth.tasks import load_task
from hf_synth.weighted import recorded

REPO = "user/checklist"
THEIRS = "# A person's words\n\nThey stay, `as they are`.\n\n{ours}\n\nAnd these, below.\n"
EVIL = "---\nlicense: mit\n---\n````` | <b>x</b> {{ 7*7 }}\n```\n" + END


def real_rows(folder):
    (folder / "data").mkdir(parents=True)
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=["negative", "positive"])})
    side = ["a bad dull awful film that is", "a good great fine story which was"]
    for split, count in (("train", 60), ("test", 60)):
        rows = {
            "sentence": [f"{side[n % 2]} {split} {n}" for n in range(count)],
            "label": [n % 2 for n in range(count)],
        }
        Dataset.from_dict(rows, features=features).to_parquet(folder / f"data/{split}-0.parquet")
    return str(folder)


@pytest.fixture(scope="module")
def made(causal_folder, student_folder, tmp_path_factory):
    """The folder of a run of 1,000 rows, and what its files record."""
    root = tmp_path_factory.mktemp("checklist")
    flags = ["--task", "sst2", "--model", str(causal_folder), "--student", str(student_folder), "--num_rows", "1000"]
    flags += ["--min_words", "1", "--max_new_tokens", "8", "--num_openings", "40", "--num_train_epochs", "1"]
    flags += ["--reference", real_rows(root / "real"), "--baseline_rows", "6", "--output_dir", str(root / "out")]
    assert main(["run", *flags]) == 0
    folder = root / "out/dataset"
    text = (folder / "README.md").read_text()
    return SimpleNamespace(
        root=root,
        folder=folder,
        text=text,
        words=" ".join(text.split()),
        data=DatasetCard(text).data.to_dict(),
        facts=json.loads((folder / "hf_synth/facts.json").read_text()),
        report=json.loads((root / "out/report.json").read_text()),
        inspection=json.loads((folder / "hf_synth/inspect.json").read_text()),
        rows=load_dataset(str(folder), cache_dir=str(root / "cache")),
    )


@pytest.fixture(scope="module")
def pushed(made, hub, _server):
    """The card on the Hub after a push, an edit by a person, and a second push; and the commits."""
    hub.push(made.folder, REPO)
    repo = _server.repo(REPO, "dataset")
    first = repo.head
    ours = first.files["README.md"].content.decode()
    header, body = ours.removeprefix("---\n").split("---\n", 1)
    header = header.replace("tags:\n", "tags:\n- reviews\n") + "pretty_name_of: theirs\nviewer: false\n"
    edited = f"---\n{header}---\n{THEIRS.format(ours=body.strip())}"
    _server.edit(REPO, {"README.md": edited.encode()})
    hub.push(made.folder, REPO)
    text = repo.head.files["README.md"].content.decode()
    return SimpleNamespace(repo=repo, first=first, text=text, data=DatasetCard(text).data.to_dict())


def table(text, start):
    """The rows of the table whose head begins so, as cells."""
    lines = text[text.index(start) :].splitlines()
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_01_size_categories_follow_the_rows(made):
    count = sum(len(rows) for rows in made.rows.values())
    assert count == 1000
    assert made.data["size_categories"] == ["1K<n<10K"]
    assert size_category(10**13) == "n>1T"


def test_02_every_config_is_named_and_loads(made):
    names = [config["config_name"] for config in made.data["configs"]]
    files = {file.name.split("-")[0] for file in (made.folder / "data").glob("*.parquet")}
    assert {"default", "rejects"} <= set(names)
    assert files == {"train", "validation", *(name for name in names if name != "default")}
    for name in names:
        assert load_dataset(str(made.folder), name, cache_dir=str(made.root / "cache"))


def test_03_features_are_those_of_the_files(made):
    built = load_dataset_builder(str(made.folder), cache_dir=str(made.root / "cache")).info.features
    for file in (made.folder / "data").glob("train-*.parquet"):
        assert Features.from_arrow_schema(pq.read_schema(file)) == built
    assert built["label"].names == ["negative", "positive"]


def test_04_splits_and_counts_are_those_of_the_data(made):
    info = next(one for one in made.data["dataset_info"] if one["config_name"] == "default")
    assert {split["name"]: split["num_examples"] for split in info["splits"]} == {
        name: len(rows) for name, rows in made.rows.items()
    }


def test_05_another_column_and_a_split_less_are_followed(hub, server, tmp_path):
    name = "user/checklist-changes"
    hub.push(hub.write_folder(tmp_path / "a", {"train": ["a", "b"], "validation": ["c"]}), name)
    hub.push(hub.write_folder(tmp_path / "b", {"train": ["a", "b", "d"]}, extra=True), name)
    data = DatasetCard(server.repo(name, "dataset").head.files["README.md"].content.decode()).data.to_dict()
    assert [feature["name"] for feature in data["dataset_info"]["features"]] == ["text", "label", "logprob"]
    assert [(one["name"], one["num_examples"]) for one in data["dataset_info"]["splits"]] == [("train", 3)]
    assert {split: len(rows) for split, (rows, _) in hub.load(name).items()} == {"train": 3}


def test_06_no_licence_is_claimed(made):
    assert "license" not in made.data
    assert "No licence was stated when this data set was made" in made.words


def test_07_a_conflict_of_terms_is_written_out(made):
    facts, task = recorded(made.folder)
    source = {"path": "org/rows", "column": "text", "config": None, "split": "train", "license": "cc-by-nc-4.0"}
    card = dataset_card(task, {**facts, "license": "mit", "sources": [source]})
    assert "Conflict: `mit` allows commercial use, which `org/rows` (`cc-by-nc-4.0`) forbids." in card


def test_08_the_language_is_the_tasks(made):
    assert made.data["language"] == ["en"] == list(load_task("sst2").language)
    facts, task = recorded(made.folder)
    from dataclasses import replace

    assert "language" not in DatasetCard(dataset_card(replace(task, language=()), facts)).data.to_dict()


def test_09_tags_are_ours_and_theirs(made, pushed):
    assert {"synthetic", "hf_synth", "zerogen"} <= set(made.data["tags"])
    assert {"reviews", "synthetic", "hf_synth", "zerogen"} <= set(pushed.data["tags"])


def test_10_the_task_category_is_one_of_the_hubs(made):
    assert made.data["task_categories"] == ["text-classification"]


def test_11_who_made_it(made):
    assert made.data["annotations_creators"] == ["machine-generated"]
    assert made.data["language_creators"] == ["machine-generated"]
    assert made.data["source_datasets"] == ["original"]
    facts, task = recorded(made.folder)
    source = {"path": "org/rows", "column": "text", "config": None, "split": "train"}
    assert "extended|org/rows" in dataset_card(task, {**facts, "sources": [source]})


def test_12_other_keys_stay(pushed):
    assert (pushed.data["pretty_name_of"], pushed.data["viewer"]) == ("theirs", False)


def test_13_what_a_person_wrote_is_byte_identical(pushed):
    before, after = THEIRS.split("{ours}")
    body = pushed.text.removeprefix("---\n").split("---\n", 1)[1]
    assert body.startswith(before + BEGIN)
    assert body.endswith(END + after)


def test_14_the_generator_is_named_with_its_digest(made):
    generator = made.facts["generator"]
    assert generator["name"] in made.text
    assert f"`{generator['sha256']}`" in made.text
    assert f"{generator['parameters']:,} parameters" in made.text
    assert generator["dtype"] in made.text
    assert "backend: local" in made.text


def test_15_method_paper_and_differences(made):
    method = get("zerogen")
    assert f"[{method.paper.title}]({method.paper.link})" in made.text
    assert all(sentence in made.text for sentence in method.differs)


def test_16_the_prompts_of_each_label(made):
    task = load_task("sst2")
    for label, words in task.labels.items():
        assert task.template(label).replace("{label}", words) in made.text


def test_17_decoding_seed_and_chunks(made):
    found = yaml.safe_load(made.text.split("All settings")[1].split("```yaml\n")[1].split("```")[0])
    assert (found["temperature"], found["top_p"], found["seed"]) == (1.0, 0.9, 0)
    assert f"chunks of {made.facts['chunk_size']}" in made.text


def test_18_the_command_makes_it_again_and_reproduce_succeeds(made, causal_folder, tmp_path):
    command = "hf-synth generate --config hf_synth/config.yaml"
    assert command in made.text
    assert "hf-synth reproduce" in made.text
    again = ["generate", "--config", str(made.folder / "hf_synth/config.yaml"), "--model", str(causal_folder)]
    assert main([*again, "--output_dir", str(tmp_path / "again")]) == 0
    data = [sorted((folder / "data").glob("train-*")) for folder in (made.folder, tmp_path / "again/dataset")]
    assert [file.name for file in data[0]] == [file.name for file in data[1]]
    assert main(["reproduce", str(made.folder), "--chunks", "2", "--model", str(causal_folder)]) == 0


def test_19_versions(made):
    from importlib.metadata import version

    assert f"transformers {version('transformers')}" in made.text
    assert f"torch {version('torch')}" in made.text


def test_20_asked_is_kept_and_dropped(made):
    for name, asked, kept, dropped, *_ in table(made.text, "| stage | asked")[2:]:
        assert int(asked) == int(kept) + sum(int(found) for found in re.findall(r" (\d+)(?:,|$)", f" {dropped}")), name
    rejects = load_dataset(str(made.folder), "rejects", cache_dir=str(made.root / "cache"))["train"]
    rows = next(row for row in table(made.text, "| stage | asked") if row[0] == "rows")
    assert Counter(rejects["stage"])["rows"] == int(rows[1]) - int(rows[2])


def test_21_rows_and_lengths_of_each_class(made):
    names = ["negative", "positive"]
    for split, *counts in table(made.text, "| split | negative")[2:]:
        found = Counter(made.rows[split]["label"])
        assert [int(count) for count in counts] == [found[0], found[1]]
    lengths = {row[0]: row[1:] for row in table(made.text, "| words in a text")[2:]}
    for place in range(len(names)):
        words = [len(row["sentence"].split()) for rows in made.rows.values() for row in rows if row["label"] == place]
        told = [float(lengths[name][place]) for name in ("min", "median", "max")]
        assert told == [min(words), statistics.median(words), max(words)]


def test_22_samples_cannot_break_the_card(made):
    facts, task = recorded(made.folder)
    sample = facts["samples"]["negative"][0]["sentence"]
    assert sample in made.text

    def card(text):
        return dataset_card(task, {**facts, "samples": {"negative": [{"sentence": text}]}})

    plain, evil = card("SOME TEXT"), card(EVIL)
    fence = "`" * 6
    assert evil == plain.replace("```text\nSOME TEXT\n```", f"{fence}text\n{EVIL}\n{fence}")
    assert DatasetCard(evil).data.to_dict() == DatasetCard(plain).data.to_dict()


def test_23_figures_stand_beside_the_references(made):
    rows = {row[0]: row[1:] for row in table(made.text, "| | rows | here")[2:]}
    count, own, interval, real, beside = rows["distinct-2 (higher is more diverse)"]
    assert interval.count(" to ") == beside.count(" to ") == 1
    seed, texts = made.inspection["seed"], made.rows["train"]["sentence"][:]
    same = distinct([texts[at] for at in drawn(len(texts), 60, seed)], seed=seed)
    assert float(own) == pytest.approx(same["distinct_2"], abs=1e-3)
    assert int(count) == 60
    assert 0 < float(real) < 1
    assert f"seed {made.inspection['seed']}" in made.words


def test_24_leaks_are_told_and_no_personal_data_is_shown(made):
    verdicts = {row[0]: row[1:] for row in table(made.text, "| check | verdict")[2:]}
    assert verdicts["test rows"][0] in ("good", "bad")
    assert "personal data" in verdicts
    facts, task = recorded(made.folder)
    from hf_synth.card import samples

    work = made.root / "work"
    work.mkdir()
    old = pq.read_table(next((made.folder / "data").glob("train-*.parquet"))).slice(0, 1)
    text = ["write to jane.doe@example.org"]
    changed = old.set_column(old.column_names.index("sentence"), "sentence", [text])
    changed = changed.set_column(old.column_names.index("label"), "label", [["negative"]])
    pq.write_table(changed, work / "rows.parquet")
    shown = samples(task, work)["negative"][0]["sentence"]
    assert "jane" not in shown
    assert shown.startswith("write to <")


def test_25_suspected_labels(made):
    named = next(found for found in made.inspection["verdicts"] if found["check"] == "wrong labels")["rows"]
    suspects = load_dataset(str(made.folder), "suspects", cache_dir=str(made.root / "cache"))["train"]
    assert len(suspects) == len(named) > 0
    assert f"The config `suspects` lists {len(named)} rows" in made.text


def test_26_the_student_stands_here_and_links_back(made):
    row = next(row for row in table(made.text, "| | rows | accuracy")[2:] if row[0] == "trained on these rows")
    assert row[1:3] == ["60", f"{made.report['metrics']['accuracy']:.4f}"]
    assert "prompting" in made.text
    model = ModelCard((made.root / "out/model/README.md").read_text())
    result = model.data.eval_results[0]
    assert result.metric_value == made.report["metrics"]["accuracy"]
    assert result.dataset_name == "real"


def test_27_tokens_seconds_and_machine(made):
    stage = next(row for row in table(made.text, "| stage | asked") if row[0] == "rows")
    found = made.facts["ledger"]["stages"]["rows"]
    assert stage[4:6] == [str(found["tokens"]), str(found["seconds"])]
    assert made.facts["generator"]["device"] in made.text
    assert "Neither cost nor energy was measured" in made.text


def test_28_limits(made):
    assert "Not for evaluation" in made.text
    assert "biases" in made.text


def test_29_a_snippet_and_citations(made):
    assert "data = load_dataset(" in made.text
    assert get("zerogen").paper.bibtex in made.text
    assert "@software{hf_synth," in made.text


def test_30_card_and_data_come_in_one_commit(made, pushed, hub):
    """A card of 1,000,000 rows in constant memory is measured in recipes/benchmarks, not here."""
    assert {"README.md", "hf_synth/facts.json", "hf_synth/inspect.json", "hf_synth/report.html"} <= set(
        pushed.first.files
    )
    assert any(name.startswith("data/train-") for name in pushed.first.files)
    there = hub.load(REPO)
    assert {name: len(rows) for name, (rows, _) in there.items()} == {n: len(rows) for n, rows in made.rows.items()}
