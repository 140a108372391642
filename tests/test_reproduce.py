"""`hf-synth reproduce`: chunks of a data set are redone from its folder alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from chat_stub import Stub

from hf_synth.commands.main import main
from hf_synth.folder import write_folder
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.produce import Plan, produce
from hf_synth.settings import SynthConfig

RUN = ("--task=sst2", "--num_rows=60", "--chunk_size=24", "--min_words=1", "--max_new_tokens=8", "--num_openings=4")


@pytest.fixture(scope="module")
def made(causal_folder, tmp_path_factory):
    """A data set, alone: its run's journal is gone."""
    out = tmp_path_factory.mktemp("made")
    assert main(["generate", *RUN, "--model", str(causal_folder), "--output_dir", str(out / "run")]) == 0
    (out / "run/dataset").rename(out / "elsewhere")
    shutil.rmtree(out / "run")
    return out / "elsewhere"


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made, tmp_path / "copy")


def redo(folder, model, *options, chunks=99):
    return main(["reproduce", str(folder), "--chunks", str(chunks), "--model", str(model), *options])


def change(file, column, value):
    """Rewrite a Parquet file with the last value of a column replaced by what `value` makes of it."""
    table = pq.read_table(file)
    values = table[column].to_pylist()
    values[-1] = value(values[-1])
    at = table.column_names.index(column)
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type)), file)


def test_every_chunk_matches_without_the_journal(made, causal_folder, capsys):
    assert redo(made, causal_folder) == 0
    said = capsys.readouterr().out.splitlines()
    chunks = pq.read_table(made / "hf_synth/chunks.parquet").to_pylist()
    assert len(said) == len(chunks) > 3
    assert {line.split(" ", 2)[1] for line in said} == {chunk["key"][:12] for chunk in chunks}
    assert all(": match: " in line for line in said)
    rows = [line for line in said if " of them rows of the data set" in line]
    told = sum(int(line.split(" answers, ")[1].split()[0]) for line in rows)
    assert told == 60  # each row of the data set was found to be the answer that it came from
    asked = sum(int(line.split(": match: ")[1].split()[0]) for line in said)
    assert asked == sum(len(chunk["prompt_ids"]) for chunk in chunks)


def test_another_process_redoes_the_same_random_chunks(made, causal_folder, capsys):
    assert [redo(made, causal_folder, f"--seed={seed}", chunks=2) for seed in (0, 5)] == [0, 0]
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4
    assert said[:2] != said[2:]
    command = [sys.executable, "-m", "hf_synth", "reproduce", str(made), "--chunks=2", "--model", str(causal_folder)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines() == said[:2]


PAPERS = Path(__file__).parent.parent / "recipes/paper_tasks"
METHODS = {
    # A given text that is written first, prompts to steer away from.
    "zerogen": [f"--task={PAPERS}/mnli.yaml", "--num_openings=4"],
    "supergen": [
        f"--task={PAPERS}/mnli.yaml",
        "--num_openings=4",
        "--openings=generated",
        "--temperature=0.5",
        "--attempts=2",
    ],  # start words
    "attrprompt": ["--task=sst2", "--prompts=simprompt"],
}


@pytest.mark.parametrize("method", METHODS)
def test_other_methods(causal_folder, tmp_path, capsys, method):
    arguments = [f"--method={method}", *RUN[1:-1], *METHODS[method], "--model", str(causal_folder)]
    assert main(["generate", *arguments, "--output_dir", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert redo(tmp_path / "run/dataset", causal_folder) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if " of them rows" in line]
    assert sum(int(line.split(" answers, ")[1].split()[0]) for line in said) >= 60


def test_a_changed_answer_differs(copy, causal_folder, capsys):
    change(copy / "hf_synth/chunks.parquet", "answers", lambda answers: [*answers[:-1], answers[-1] ^ 1])
    assert redo(copy, causal_folder) == 1
    [line] = [line for line in capsys.readouterr().out.splitlines() if ": match: " not in line]
    last = pq.read_table(copy / "hf_synth/chunks.parquet").to_pylist()[-1]
    count, prompt = len(last["prompt_ids"]), last["prompt_ids"][-1]
    assert line.startswith(f"chunk {last['key'][:12]} (rows): differs: answer {count} of {count} (prompt {prompt})")


def test_a_changed_row_differs(copy, causal_folder, capsys):
    [file] = (copy / "data").glob("train-*.parquet")
    change(file, "sentence", lambda text: f"{text} no")
    index = pq.read_table(file)["index"].to_pylist()[-1]
    assert redo(copy, causal_folder) == 1
    [line] = [line for line in capsys.readouterr().out.splitlines() if ": match: " not in line]
    assert f"differs: row {index} of the data set holds " in line


def test_a_changed_prompt_or_seed_differs(copy, causal_folder, capsys):
    change(copy / "hf_synth/chunks.parquet", "decoding", lambda how: how.replace("0.9", "0.8"))
    change(copy / "hf_synth/prompts.parquet", "text", lambda text: f"{text} ")
    assert redo(copy, causal_folder) == 1
    said = capsys.readouterr().out
    assert said.count("differs: its prompts and settings, as they are recorded, are not those of its key") >= 1


def test_another_processor_or_version_is_named(copy, causal_folder, capsys):
    file = copy / "hf_synth/facts.json"
    facts = json.loads(file.read_text())
    assert facts["generator"]["processor"]
    assert facts["generator"]["threads"] >= 1
    facts["versions"]["torch"] = "1.0"
    facts["generator"]["processor"] = "an abacus"
    file.write_text(json.dumps(facts))
    assert redo(copy, causal_folder) == 0  # the digits are the same all the same
    change(copy / "hf_synth/chunks.parquet", "answers", lambda answers: [answers[0] ^ 1, *answers[1:]])
    capsys.readouterr()
    assert redo(copy, causal_folder) == 1
    [line] = [line for line in capsys.readouterr().out.splitlines() if ": match: " not in line]
    assert ": other processor or versions: torch 1.0 there and 2." in line
    assert "processor an abacus there and " in line
    assert "answer 1 of " in line


def test_another_version_excuses_no_changed_record(copy, causal_folder, capsys):
    file = copy / "hf_synth/facts.json"
    facts = json.loads(file.read_text())
    facts["versions"]["torch"] = "1.0"
    file.write_text(json.dumps(facts))
    change(copy / "hf_synth/chunks.parquet", "seed", lambda seed: seed ^ 1)
    [data] = (copy / "data").glob("train-*.parquet")
    change(data, "sentence", lambda text: f"{text} no")
    assert redo(copy, causal_folder) == 1
    said = [line for line in capsys.readouterr().out.splitlines() if ": match: " not in line]
    assert len(said) in (1, 2)  # the row may be of the last chunk, whose seed is another
    assert all(": differs: " in line for line in said)
    assert "are not those of its key" in said[-1]


def test_it_takes_as_many_threads_as_wrote(copy, causal_folder):
    file, before = copy / "hf_synth/facts.json", torch.get_num_threads()
    facts = json.loads(file.read_text())
    facts["generator"]["threads"] = before + 1
    file.write_text(json.dumps(facts))
    try:
        redo(copy, causal_folder, chunks=1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_what_an_accelerator_wrote_records_no_threads(copy, causal_folder):
    file = copy / "hf_synth/facts.json"
    facts = json.loads(file.read_text())
    del facts["generator"]["threads"]
    file.write_text(json.dumps(facts))
    assert redo(copy, causal_folder, chunks=1) == 0


def refused(capsys, *arguments):
    capsys.readouterr()
    assert main(["reproduce", *map(str, arguments)]) == 2
    [said] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-synth: ")]
    return said


def test_other_weights_are_refused(made, seq2seq_folder, tmp_path, capsys):
    said = refused(capsys, made, "--model", seq2seq_folder)
    assert "give the right ones with `model`" in said
    assert "no model 'nowhere'" in refused(capsys, made, "--model", "nowhere")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"settings": {"backend": "chat"}}, "`backend: chat` asked causal0 over an endpoint, which does not repeat"),
        (
            {"settings": {"backend": "corpus"}, "sources": [{"path": "wiki"}]},
            "`backend: corpus` found its texts in wiki",
        ),
        (
            {"generator": {"adapter": {"name": "few"}}},
            "written beside the adapter few, which the folder does not hold",
        ),
        ({"generator": {"origin": "rules"}}, "not those of a language model but of causal0 (rules)"),
    ],
)
def test_what_cannot_be_redone_is_said(copy, causal_folder, capsys, changes, reason):
    file = copy / "hf_synth/facts.json"
    facts = json.loads(file.read_text())
    for name, value in changes.items():
        facts[name] = {**facts[name], **value} if isinstance(value, dict) else value
    file.write_text(json.dumps(facts))
    assert reason in refused(capsys, copy, "--model", causal_folder)


def test_a_folder_of_a_script_or_of_nobody_is_refused(tmp_path, capsys):
    generator = ScriptedGenerator(lambda prompt, rng: f"a {prompt.cell} text of {rng.random()}")
    plan = Plan.of(SynthConfig(task="sst2", num_rows=20))
    produce(plan, generator, tmp_path / "run", lambda w, f: write_folder(w, tmp_path / "run/dataset", plan.task, f))
    folder = tmp_path / "run/dataset"
    assert "not those of a language model but of scripted (scripted)" in refused(capsys, folder)
    chunks = folder / "hf_synth/chunks.parquet"
    pq.write_table(pq.read_table(chunks).drop_columns(["answers"]), chunks)
    assert "was written before answers were recorded" in refused(capsys, folder)
    (tmp_path / "empty").mkdir()
    assert "holds no hf_synth/facts.json" in refused(capsys, tmp_path / "empty")
    assert "is no folder, and from the Hub: " in refused(capsys, "nobody/nothing")
    assert "`chunks`" in refused(capsys, folder, "--chunks", 0)


def test_a_set_that_an_endpoint_wrote_is_refused(tmp_path, capsys):
    small = ["--task=sst2", "--num_rows=24", "--chunk_size=24", "--min_words=1", "--num_openings=4"]
    with Stub() as stub:
        chat = ["--backend=chat", "--base_url", stub.url, "--model=stub", "--output_dir", str(tmp_path / "run")]
        assert main(["generate", *small, *chat]) == 0
    said = refused(capsys, tmp_path / "run/dataset")
    assert said.endswith("`backend: chat` asked stub over an endpoint, which does not repeat itself")
