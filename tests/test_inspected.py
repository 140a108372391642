"""An inspection goes into the data set that it judges: card, configs and pictures, and leaves when rows change."""

import json
from collections import Counter

import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard

from hf_synth.commands.main import main
from hf_synth.errors import InputError
from hf_synth.folder import write_folder
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.home import locked
from hf_synth.inspected import write_inspection, write_student
from hf_synth.metrics.self_bleu import self_bleu
from hf_synth.produce import Plan, produce
from hf_synth.settings import SynthConfig
from hf_synth.weighted import write_weights


def make(generator, out, rows=400):
    plan = Plan.of(SynthConfig(task="sst2", num_rows=rows))
    produce(plan, generator, out, lambda work, facts: write_folder(work, out / "dataset", plan.task, facts))
    return out / "dataset"


@pytest.fixture
def folder(scripted, tmp_path):
    """A data set of scripted reviews, some of whose labels are wrong."""
    return make(scripted, tmp_path / "out")


@pytest.fixture
def reference(scripted, tmp_path):
    """Other scripted reviews, as real ones."""
    return make(scripted, tmp_path / "other", 200)


def load(folder, config="default"):
    return load_dataset(str(folder), config, cache_dir=str(folder.parent / "cache"))


def inspected(folder, reference, *more):
    flags = ["--reference", str(reference), "--reference_split", "train", "--encoder", "none"]
    assert main(["inspect", str(folder), *flags, *more]) == 0
    return json.loads((folder / "hf_synth/inspect.json").read_text())


def card_of(folder):
    return (folder / "README.md").read_text()


def test_the_card_states_what_was_found(folder, reference, capsys):
    assert "Not inspected" in card_of(folder)
    before = load(folder)["train"].to_list()
    report = inspected(folder, reference)
    card = card_of(folder)
    assert "Not inspected" not in card
    for level, count in Counter(found["verdict"] for found in report["verdicts"]).items():
        assert f"{count} {level}" in card
    for found in report["verdicts"]:
        if found["verdict"] in ("look", "bad"):
            assert f"| {found['check']} | {found['verdict']} |" in card
    assert (folder / "hf_synth/report.html").stat().st_size > 5_000
    assert "![Words in a text by class](hf_synth/lengths.png)" in card
    assert (folder / "hf_synth/lengths.png").read_bytes().startswith(b"\x89PNG")
    assert load(folder)["train"].to_list() == before
    assert "report.html" in capsys.readouterr().out


def test_the_figures_on_the_card_are_those_of_the_rows(folder, reference):
    report = inspected(folder, reference)
    rows = load(folder)["train"]
    assert "Do not drop rows by this list" not in card_of(folder)
    assert report["n"] == len(rows)
    own = report["measures"]["self-BLEU-4"]["own"]
    line = next(line for line in card_of(folder).splitlines() if line.startswith("| self-BLEU-4 (lower"))
    assert f"| {own['rows']} | {own['self_bleu_4']:.4g} |" in line
    some = min(len(rows), report["reference"]["rows"])
    assert own["rows"] == some
    whole = self_bleu(rows["sentence"][:])["self_bleu_4"]
    assert own["self_bleu_4"] == pytest.approx(whole, abs=0.1)


def test_suspected_rows_are_a_config(folder, reference, monkeypatch):
    monkeypatch.setattr("hf_synth.inspected.BLOCK", 7)  # in many blocks no row is suspected
    report = inspected(folder, reference)
    named = next(found for found in report["verdicts"] if found["check"] == "wrong labels")["rows"]
    assert named
    suspects, rows = load(folder, "suspects")["train"], load(folder)["train"]
    assert len(suspects) == len(named)
    assert suspects["score"] == sorted(suspects["score"])
    by_index = {row["index"]: row for row in rows.to_list()}
    placed = {rows[row["row"]]["index"] for row in named}
    for row in suspects.to_list():
        assert row["sentence"] == by_index[row["index"]]["sentence"]
        assert row["label"] == by_index[row["index"]]["label"]
        assert row["index"] in placed
        assert "suggests" in row["reason"]
    configs = {config["config_name"] for config in DatasetCard(card_of(folder)).data.configs}
    assert configs >= {"default", "suspects"}


def test_a_list_of_doubted_rows_says_where_the_classifier_cannot_judge(tmp_path):
    words = ["film", "plot", "actor", "scene", "sound", "light", "music", "camera", "story", "end"]
    generator = ScriptedGenerator(lambda prompt, rng: " ".join(rng.choices(words, k=9)) + '"')
    folder = make(generator, tmp_path / "out", 120)
    assert main(["inspect", str(folder), "--encoder", "none"]) == 0
    verdicts = json.loads((folder / "hf_synth/inspect.json").read_text())["verdicts"]
    [found] = [one for one in verdicts if one["check"] == "wrong labels"]
    assert (found["verdict"], len(load(folder, "suspects")["train"])) == ("skipped", found["found"])
    assert "a light classifier cannot judge these labels" in found["reason"]
    card = card_of(folder)
    assert f"so it shares their faults. **Do not drop rows by this list**: {found['reason']}.\n\n" in card


def test_weights_and_an_inspection_keep_each_other(folder, reference):
    inspected(folder, reference)
    index = load(folder)["train"]["index"][:]
    weights = {"index": index, "weight": [1.0] * len(index), "score": list(range(len(index)))}
    write_weights(folder, weights, {"trainer": "bilevel", "reason": "the trainer's.", "settings": {}})
    assert set(load(folder, "suspects")["train"]["reason"]) == {"the trainer's."}
    assert (folder / "hf_synth/inspect.json").exists()
    inspected(folder, reference)
    assert set(load(folder, "suspects")["train"]["reason"]) == {"the trainer's."}
    assert len(load(folder, "weighted")["train"]) == len(index)
    assert "Not inspected" not in card_of(folder)


def test_other_rows_have_not_been_inspected(folder, reference, scripted):
    inspected(folder, reference)
    make(scripted, folder.parent, 450)
    assert "Not inspected" in card_of(folder)
    assert not (folder / "hf_synth/inspect.json").exists()
    with pytest.raises(ValueError, match="suspects"):
        load(folder, "suspects")


def test_pictures_are_those_of_the_last_inspection(folder, reference):
    inspected(folder, reference)
    lengths, stale = folder / "hf_synth/lengths.png", folder / "hf_synth/map.png"
    stale.write_bytes(b"of another encoder")
    before = folder.parent / "before.png"
    before.hardlink_to(lengths)
    lengths.write_bytes(b"as it was")
    inspected(folder, reference)
    assert not stale.exists()
    assert lengths.read_bytes().startswith(b"\x89PNG")
    assert before.read_bytes() == b"as it was"  # no file is written in place


def test_without_a_reference_the_card_compares_nothing(folder):
    assert main(["inspect", str(folder), "--encoder", "none"]) == 0
    assert "distinct-2" in card_of(folder)
    assert "rows of both" not in card_of(folder)


def test_a_folder_that_is_written_in_is_not_written_in_twice(folder, capsys):
    """A training that begins clears away what an inspection is writing, and what was left would stand for the set."""
    before = card_of(folder)
    with locked(folder.parent):
        assert main(["inspect", str(folder), "--encoder", "none"]) == 2
    assert "another process is writing in" in capsys.readouterr().err
    assert card_of(folder) == before


def test_a_folder_given_leaves_the_data_set_alone(folder, reference, tmp_path):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    flags = ["--reference", str(reference), "--reference_split", "train", "--encoder", "none"]
    assert main(["inspect", str(folder), *flags, "--output_dir", str(tmp_path / "else")]) == 0
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert {path.name for path in (tmp_path / "else").iterdir()} == {"inspect.json", "report.html"}


def test_a_student_stands_on_the_card_and_stays(folder, reference):
    results = {"trained on these rows": {"rows": 50, "value": 0.9, "interval": [0.78, 0.95]}}
    student = {"base": "org/encoder", "id": None, "metric": "accuracy", "results": results}
    write_student(folder, {**student, "reference": {"name": "org/real", "split": "test"}})
    inspected(folder, reference)
    card = card_of(folder)
    assert "| trained on these rows | 50 | 0.9000 | 0.78 to 0.95 |" in card
    assert "org/real, split test" in card


def test_what_is_not_ours_is_refused(tmp_path):
    with pytest.raises(InputError, match="no data set folder"):
        write_inspection(tmp_path, {})


def test_a_folder_of_another_verb_is_judged_like_any_data_set(folder, tmp_path, monkeypatch):
    """Completed tables and images have facts of their own, and no card that states verdicts."""
    (folder / "hf_synth/facts.json").write_text('{"settings": {}}')
    (folder / "hf_synth/chunks.parquet").unlink()
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", str(folder), "--encoder", "none"]) == 0
    assert (tmp_path / "inspect/dataset/report.html").exists()
    assert not (folder / "hf_synth/inspect.json").exists()
