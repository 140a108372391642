"""`hf-synth inspect`: what it prints and writes, and what it refuses."""

import json

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, load_dataset
from inspect_cases import (
    NAMES,
    rows_of,
)

from hf_synth.commands.main import main


@pytest.fixture
def folders(tmp_path):
    """A data set with names for labels and columns of its own, and a reference with class ids."""
    own, test = rows_of(120, 0), rows_of(80, 1)
    names = [NAMES[at] for at in own.labels]
    rows = {"id": [f"no. {at}" for at in range(120)], "utterance": own.texts, "intent": names, "number": [*range(120)]}
    Dataset.from_dict(rows).to_json(tmp_path / "own.jsonl")
    features = Features({"text": Value("string"), "label": ClassLabel(names=NAMES)})
    real = Dataset.from_dict({"text": test.texts, "label": test.labels.tolist()}, features=features)
    folder = tmp_path / "real"
    (folder / "data").mkdir(parents=True)
    DatasetDict({"test": real})["test"].to_parquet(folder / "data/test-0.parquet")
    return str(tmp_path / "own.jsonl"), str(folder)


def test_the_command_writes_what_it_prints(folders, student_folder, tmp_path, capsys):
    own, real = folders
    flags = ["--reference", real, "--encoder", str(student_folder), "--output_dir", str(tmp_path / "out")]
    assert main(["inspect", own, *flags]) == 0
    report = json.loads((tmp_path / "out/inspect.json").read_text())
    assert (report["dataset"]["text_columns"], report["dataset"]["label_column"]) == (["utterance"], "intent")
    assert report["reference"]["split"] == "test"
    assert report["instruments"]["encoder"]["name"] == "student0"
    checks = {found["check"]: found for found in report["verdicts"]}
    assert checks["Vendi score"]["value"] == report["measures"]["Vendi score"]["own"]["vendi"]
    assert checks["balance"]["verdict"] == "good"
    for found in report["verdicts"]:
        assert found["verdict"] in ("good", "look", "bad", "skipped")
        assert {"check", "value", "limit", "reason", "rows"} <= set(found)
    printed = capsys.readouterr().out
    assert "near-duplicates" in printed
    assert "inspect.json" in printed


def test_eighty_columns_are_enough_to_read_a_reason(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    rows = rows_of(200, 0)
    names = [NAMES[at] for at in rows.labels]
    Dataset.from_dict({"text": [*rows.texts[:100], *rows.texts[:100]], "label": names}).to_csv(tmp_path / "a.csv")
    assert main(["inspect", str(tmp_path / "a.csv"), "--encoder", "none", "--output_dir", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert "rows 0, 100, 1, 101, 2 +195" in " ".join(printed.split())
    assert len(printed.splitlines()) < 80


@pytest.mark.parametrize("between", [";", "\t"])
def test_a_table_need_not_be_separated_by_commas(between, tmp_path):
    rows = rows_of(60, 0)
    names = [NAMES[at] for at in rows.labels]
    texts = [f"well, {text}, or so" for text in rows.texts]
    Dataset.from_dict({"text": texts, "label": names}).to_csv(tmp_path / "a.csv", sep=between)
    assert main(["inspect", str(tmp_path / "a.csv"), "--encoder", "none", "--output_dir", str(tmp_path / "out")]) == 0
    told = json.loads((tmp_path / "out/inspect.json").read_text())["dataset"]
    assert (told["rows"], told["text_columns"], told["label_column"]) == (60, ["text"], "label")


def test_without_a_reference_and_with_a_sample(folders, tmp_path):
    flags = ["--encoder", "none", "--max_rows", "50", "--output_dir", str(tmp_path / "out")]
    assert main(["inspect", folders[0], *flags]) == 0
    report = json.loads((tmp_path / "out/inspect.json").read_text())
    assert report["n"] == 50
    assert report["sampled"] == {"read": 50, "of": 120, "embedded_and_labels_judged": 50}
    skipped = {found["check"] for found in report["verdicts"] if found["verdict"] == "skipped"}
    assert {"test rows", "self-BLEU-4", "Vendi score"} <= skipped
    texts = load_dataset("json", data_files=folders[0], split="train", cache_dir=str(tmp_path))["utterance"]
    for found in report["verdicts"]:
        for row in found["rows"]:
            assert texts[row["row"]].startswith(row["text"].removesuffix("…"))


def test_rows_of_a_reference_that_is_one_file_are_leaks(tmp_path):
    own, test = rows_of(60, 0), rows_of(60, 1)
    for name, texts in (("own", [*own.texts[:50], *test.texts[:10]]), ("test", test.texts)):
        Dataset.from_dict({"text": texts, "label": ["a", "b"] * 30}).to_csv(tmp_path / f"{name}.csv")
    flags = ["--reference", str(tmp_path / "test.csv"), "--encoder", "none", "--output_dir", str(tmp_path / "out")]
    assert main(["inspect", str(tmp_path / "own.csv"), *flags]) == 0
    verdicts = json.loads((tmp_path / "out/inspect.json").read_text())["verdicts"]
    found = next(found for found in verdicts if found["check"] == "test rows")
    assert (found["verdict"], found["value"]) == ("bad", 10)
    assert "rows of the reference, word for word: drop them" in found["reason"]


def test_one_row_of_a_test_split_is_found_however_few_rows_are_read(tmp_path):
    own, test = rows_of(20, 0), rows_of(60, 1)
    for name, texts in (("own", [*own.texts[:-1], test.texts[-1]]), ("test", test.texts)):
        Dataset.from_dict({"text": texts, "label": ["a", "b"] * (len(texts) // 2)}).to_csv(tmp_path / f"{name}.csv")
    flags = ["--encoder", "none", "--max_rows", "20", "--output_dir", str(tmp_path / "out")]
    assert main(["inspect", str(tmp_path / "own.csv"), "--reference", str(tmp_path / "test.csv"), *flags]) == 0
    verdicts = json.loads((tmp_path / "out/inspect.json").read_text())["verdicts"]
    assert [one["value"] for one in verdicts if one["check"] == "test rows"] == [1]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--label_column", "intnt"], "Did you mean 'intent'?"),
        (["--text_columns", "[utterence]"], "Did you mean 'utterance'?"),
        (["--text_columns", "utterence"], "Did you mean 'utterance'?"),
        (["--text_columns", "number"], "`text_columns`: 'number' of dataset holds no texts but Value"),
        (["--split", "test"], "must be one of train"),
        (["--reference", "no/such-set"], "`reference`: 'no/such-set'"),
        (["--max_rows", "2"], "`max_rows`"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_written(folders, tmp_path, capsys, monkeypatch, flags, sentence):
    monkeypatch.setattr("hf_synth.models.hub_unreachable", lambda: "HF_HUB_OFFLINE is set")
    out = tmp_path / "out"
    assert main(["inspect", folders[0], "--encoder", "none", "--output_dir", str(out), *flags]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.splitlines()[-1].startswith("hf-synth: ")
    assert "Traceback" not in error
    assert not out.exists()


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "folder/train.jsonl", "broken.json"])
def test_a_file_without_rows_or_one_that_is_broken(name, tmp_path, capsys):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("{broken" if name == "broken.json" else "")
    where = file.parent if file.parent != tmp_path else file
    assert main(["inspect", str(where), "--encoder", "none", "--output_dir", str(tmp_path / "out")]) == 2
    assert "cannot be loaded: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_column_of_numbers_is_no_label(tmp_path, capsys):
    rows = {
        "text": [f"a text of some words, number {at}" for at in range(200)],
        "label": [at / 7 for at in range(200)],
    }
    Dataset.from_dict(rows).to_json(tmp_path / "rows.jsonl")
    assert main(["inspect", str(tmp_path / "rows.jsonl"), "--encoder", "none"]) == 2
    assert "200 values in 200 rows: no labels" in capsys.readouterr().err
