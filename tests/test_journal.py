"""What a journal and an output folder hold, refuse and keep."""

import json
import subprocess
import sys

import pytest

from hf_synth.answers import Answers
from hf_synth.commands import generate
from hf_synth.commands.main import main
from hf_synth.errors import InputError
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.home import check_folder, locked, refuse_held
from hf_synth.journal import Journal, write_whole
from hf_synth.produce import Plan, produce
from hf_synth.records import Completion, Prompt
from hf_synth.settings import OutputConfig, SynthConfig


@pytest.fixture
def finished(tmp_path):
    generator = ScriptedGenerator(lambda prompt, rng: f"a {prompt.cell} text of {rng.random()}", name="one")
    plan = Plan.of(SynthConfig(task="sst2", num_rows=20))
    produce(plan, generator, tmp_path, lambda work, facts: None)
    return tmp_path, generator


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "`seed` is 0 there and 1 here"),
        ({"min_words": 9}, "`task.min_words` is 4 there and 9 here"),
        ({"task": "imdb"}, "`task.name` is 'sst2' there and 'imdb' here"),
        ({"chunk_size": 8}, "`chunk_size` is None there and 8 here"),
        ({"model": "other"}, "`model` is"),
    ],
)
def test_other_settings_are_refused_by_name(finished, change, named):
    folder, _ = finished
    config = SynthConfig(**{"task": "sst2", "num_rows": 20, **change})
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError, match="other settings") as error:
        check_folder(folder, Plan.of(config).settings())
    assert named in str(error.value)
    assert sorted(folder.rglob("*")) == before


def test_other_weights_are_refused(finished):
    folder, generator = finished
    generator.digest = "scripted:two"
    with pytest.raises(InputError, match="`weights` is 'scripted:one:[0-9a-f]+' there and 'scripted:two' here"):
        produce(Plan.of(SynthConfig(task="sst2", num_rows=20)), generator, folder, lambda work, facts: None)


def test_a_run_that_goes_on_elsewhere_says_so_once(finished, capsys):
    folder, generator = finished
    plan = Plan.of(SynthConfig(task="sst2", num_rows=20))

    def told(**place):
        generator.source = {**generator.source, **place}
        produce(plan, generator, folder, lambda work, facts: None)
        return capsys.readouterr().err

    assert told() == ""
    record = json.loads((folder / "journal/settings.json").read_text())
    assert record.pop("place") == {}
    (folder / "journal/settings.json").write_text(json.dumps(record))  # as runs before wrote it
    assert told(threads=2, processor="A") == ""
    assert told(threads=2) == ""
    assert told(threads=1).startswith(f"{str(folder)!r} goes on where `threads` was 2 and is 1: what was recorded")
    assert told() == ""
    check_folder(folder, plan.settings())  # before the model is loaded
    assert capsys.readouterr().err == ""


def test_a_run_that_goes_on_under_other_libraries_says_so(finished, monkeypatch, capsys):
    folder, generator = finished
    generator.source = {**generator.source, "processor": "A"}
    plan = Plan.of(SynthConfig(task="sst2", num_rows=20))
    for now in ("9.1", "9.2"):
        monkeypatch.setattr("hf_synth.produce.version", lambda name, now=now: now)
        produce(plan, generator, folder, lambda work, facts: None)
    assert "goes on where `versions.torch` was '9.1' and is '9.2', `versions.transformers`" in capsys.readouterr().err


@pytest.mark.parametrize("before", [True, False])
def test_a_run_that_cannot_go_on_keeps_the_folder_to_itself_if_it_has_rows(finished, tmp_path, monkeypatch, before):
    """An encoder that is out of reach today opens no folder to other settings."""
    folder, generator = finished[0] if before else tmp_path / "new", finished[1]
    monkeypatch.setattr("hf_synth.produce.expanded", lambda *_: (_ for _ in ()).throw(InputError("no model 'x'")))
    with pytest.raises(InputError, match="no model"):
        produce(Plan.of(SynthConfig(task="sst2", num_rows=20)), generator, folder, lambda work, facts: None)
    assert (folder / "journal/settings.json").exists() == before


def test_a_run_without_a_row_says_so(tmp_path, scripted, monkeypatch):
    monkeypatch.setattr("hf_synth.produce.examples", lambda plan, run: iter(()))
    with pytest.raises(InputError, match="there is no row to write"):
        produce(Plan.of(SynthConfig(task="sst2", num_rows=20)), scripted, tmp_path, lambda work, facts: None)


def test_a_refused_run_does_not_say_what_the_rows_were_learnt_from(finished, monkeypatch):
    folder, generator = finished
    generator.digest = "scripted:two"
    monkeypatch.setattr(generate, "write_local", lambda *_: pytest.fail("of another generator"))
    with pytest.raises(InputError, match="`weights` is"):
        generate.generate(Plan.of(SynthConfig(task="sst2", num_rows=20)), generator, folder, OutputConfig())


def test_more_rows_are_welcome(finished):
    folder, generator = finished
    check_folder(folder, Plan.of(SynthConfig(task="sst2", num_rows=99)).settings())


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="holds files that no run wrote"):
        check_folder(tmp_path, {})


def test_a_folder_that_datasets_would_take_for_a_pattern_is_refused(tmp_path):
    with pytest.raises(InputError, match="a pattern to `load_dataset`"):
        check_folder(tmp_path / "sst2 [2]", {})


def test_two_runs_do_not_share_a_folder(tmp_path):
    with locked(tmp_path):
        holder = f"import pathlib, hf_synth.home as p\nwith p.locked(pathlib.Path({str(tmp_path)!r})): pass"
        other = subprocess.run([sys.executable, "-c", holder], capture_output=True, text=True)
    assert "InputError: another process is writing in" in other.stderr


def test_a_held_folder_is_refused_before_a_model_is_loaded(tmp_path, monkeypatch, capsys):
    """A lock is of an open file, so that this process may stand for two."""
    monkeypatch.setattr(generate, "open_generator", lambda *_, **__: pytest.fail("a model was loaded"))
    with locked(tmp_path):
        assert main(["generate", "--task", "sst2", "--output_dir", str(tmp_path)]) == 2
    assert "another process is writing in" in capsys.readouterr().err
    refuse_held(tmp_path)
    refuse_held(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_write_whole_leaves_the_old_file_when_it_fails(tmp_path, monkeypatch):
    target = tmp_path / "file.json"
    write_whole(target, "old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_whole(target, "new")
    assert target.read_text() == "old"


def test_what_a_failing_disk_left_of_a_record_is_made_again(finished, capsys):
    folder, generator = finished
    for name in ("settings.json", "halvings.json"):
        (folder / "journal" / name).write_bytes(b'{"seed": 0, "ta')
    check_folder(folder, Plan.of(SynthConfig(task="sst2", num_rows=20)).settings())
    produce(Plan.of(SynthConfig(task="sst2", num_rows=20)), generator, folder, lambda work, facts: None)
    assert "settings.json in the journal is torn; it is made again" in capsys.readouterr().err
    assert json.loads((folder / "journal/settings.json").read_text())["seed"] == 0
    journal = Journal(folder / "journal")
    place = journal.place([Prompt("p")], {}, 64)
    journal.halve(place, 64)
    assert journal.key(place)[1] == 32


def test_a_line_that_a_failing_disk_left_is_ignored(tmp_path):
    path = tmp_path / "side.jsonl"
    answers = Answers(path)
    for ordinal in range(4):
        answers[ordinal, 0] = Completion(f"text {ordinal}")
    answers.close()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b'[1, 0, "te\0\0\xff\n' + b"[2]\n" + lines[3])
    assert [answer.text for answer in Answers(path).values()] == ["text 0", "text 3"]
    again = Answers(path)
    again[1, 0] = Completion("another")
    assert sorted(Answers(path)) == [(0, 0), (1, 0), (3, 0)]


def test_a_journal_without_a_folder_records_nothing():
    assert Journal(None).read("0" * 64) is None
