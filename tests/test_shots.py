"""Few shots: which rows are drawn, what would have asked for them, and `hf-synth tune` on them."""

import json

import pytest
from conftest import WORDS
from datasets import ClassLabel, Dataset, load_dataset
from filelock import FileLock
from huggingface_hub import DatasetCard

from hf_synth import InputError, Task
from hf_synth.commands.main import main
from hf_synth.shots import choose, shots_of, tuned
from hf_synth.tasks import load_task

SINGLE = Task(name="t", labels={"a": "good", "b": "bad"}, prompt='{label}: "')
SETS = Task(name="s", labels={"x": "ask x", "y": "ask y"}, kind="multi_label", prompt='{mentions}: "', mentions=(1, 2))
TOKENS = Task(
    name="n",
    labels={"P": "a person", "L": "a place"},
    kind="tokens",
    columns=("tokens",),
    prompt='{mentions}: "',
    words={"P": ("Ann",), "L": ("Rome",)},
)
YAML = """
labels: {negative: bad awful dull, positive: good great fine}
columns: text
prompt: 'review of {opening}, {label}: "'
tuning_prompt: 'the {label} movie review is "'
opening: {values: [the film]}
min_words: 1
max_new_tokens: 8
"""


def rows(**columns):
    return Dataset.from_dict(columns)


@pytest.fixture
def real(tmp_path):
    words = [word for word in WORDS for _ in range(1)]
    data = rows(text=[f"the {word} story" for word in words], label=[at % 2 for at in range(len(words))])
    (tmp_path / "real").mkdir()
    data.cast_column("label", ClassLabel(names=["negative", "positive"])).to_parquet(tmp_path / "real/train.parquet")
    return tmp_path / "real"


def test_so_many_of_each_label_the_same_ones_for_a_seed():
    data = rows(text=[str(at) for at in range(40)], label=["a" if at % 4 else "b" for at in range(40)])
    chosen = choose(SINGLE, data, 5, 13, "real")
    assert [data[at]["label"] for at in chosen].count("a") == 5
    assert len(chosen) == len(set(chosen)) == 10
    assert chosen == choose(SINGLE, data, 5, 13, "real") != choose(SINGLE, data, 5, 21, "real")
    with pytest.raises(InputError, match="11 rows of each label are wanted, and real has 10 of 'b'"):
        choose(SINGLE, data, 11, 13, "real")


def test_rows_of_several_labels_count_for_each():
    sets = [["x"]] * 20 + [["x", "y"]] * 3 + [[]] * 5
    data = rows(text=[str(at) for at in range(28)], label=sets)
    chosen = choose(SETS, data, 4, 0, "real")
    assert set(chosen) >= {20, 21, 22}  # the rare label has all of its rows
    assert sum("x" in sets[at] for at in chosen) == 4
    with pytest.raises(InputError, match="1 rows of each label are wanted, and real has 0 of 'y'"):
        choose(SETS, data.select(range(20)), 1, 0, "real")


def test_what_would_have_asked_for_a_row():
    [shot] = shots_of(tuned(SINGLE), rows(text=[' so "fine"\n text '], label=["b"]), 0)
    assert (shot.prompt.text, shot.label, shot.answer) == ('bad: "', "b", "so 'fine' text\"")
    [shot, *rest] = shots_of(tuned(SETS), rows(text=["hello", "none"], label=[["y", "x"], []]), 0)
    assert shot.prompt.text in ('ask x and ask y: "', 'ask y and ask x: "')
    assert (set(shot.prompt.attributes["labels"].split("; ")), rest) == ({"x", "y"}, [])
    data = rows(tokens=[["Ann", "saw", "New", "Rome", "."]], label=[["B-P", "O", "B-L", "I-L", "O"]])
    [shot] = shots_of(tuned(TOKENS), data, 0)
    assert json.loads(shot.prompt.attributes["entities"]) == {"Ann": "P", "New Rome": "L"}
    assert shot.answer == 'Ann saw New Rome ."'
    topv2 = tuned(load_task("topv2"))
    tree = "[IN:CREATE_REMINDER remind me to [SL:TODO feed the cat ] ]"
    [shot] = shots_of(topv2, rows(**{topv2.generated: ["x"], topv2.label_column: [tree]}), 0)
    assert json.loads(shot.prompt.attributes["slots"]) == {"SL:TODO": "feed the cat"}


def test_a_pair_without_its_given_text_is_left_out():
    rte = tuned(load_task("rte"))
    first, second = rte.columns
    label = next(iter(rte.labels))
    data = rows(**{first: ["", " ", "It rains."], second: ["a", "b", "c"], rte.label_column: [label] * 3})
    assert [shot.text for shot in shots_of(rte, data, 0)] == ["c"]


@pytest.mark.parametrize("name", ["sst2", "ag_news", "qnli", "mnli", "rte", "mrpc", "qqp", "cola", "nlupp_hotels"])
def test_packaged_tasks_can_be_tuned_for(name):
    assert tuned(load_task(name)).prompt


def test_tuning_then_writing(causal_folder, real, tmp_path, capsys):
    (tmp_path / "t.yaml").write_text(YAML)
    flags = ["--task", str(tmp_path / "t.yaml"), "--model", str(causal_folder)]
    tune = [*flags, "--shots", str(real), "--shots_per_class", "4", "--adapt", "lora", "--tune_epochs", "1"]
    assert main(["tune", *tune, "--output_dir", str(tmp_path / "a")]) == 0
    assert "give it to any method with `--adapter" in capsys.readouterr().out
    record = json.loads((tmp_path / "a" / "adapter.json").read_text())
    assert record["shots"] == {"name": "real", "split": "train", "per_class": 4, "seed": 0}
    card = (tmp_path / "a" / "README.md").read_text()
    assert "8 rows of real, split train" in " ".join(card.split())
    assert 'the good great fine movie review is "' in card
    assert str(tmp_path) not in card + json.dumps(record)
    write = [*flags, "--adapter", str(tmp_path / "a"), "--num_rows", "10", "--output_dir", str(tmp_path / "out")]
    assert main(["generate", *write]) == 0
    folder = tmp_path / "out" / "dataset"
    assert len(load_dataset(str(folder), split="train")) <= 10
    text = DatasetCard.load(folder / "README.md").text
    assert "real, split train" in text  # the rows learnt from are source data
    assert 'the good great fine movie review is "' in text
    assert "| adapter | a: `lora`" in text
    assert "`model_sha256` (of weights and adapter together)." in text
    assert "verbatim copies of a row learnt from, dropped" in text
    other = [*flags, "--num_rows", "10", "--output_dir", str(tmp_path / "out")]
    assert main(["generate", *other]) == 2  # the same folder without the adapter
    assert "holds a run with other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ([], "`shots` names the real rows to learn from"),
        (["--shots", "no/such"], "`shots`: there is no folder 'no/such'"),
        (["--shots", "REAL", "--adapt", "loar"], "`adapt`"),
        (["--shots", "REAL", "--adapt", "prefix", "--prefer_epochs", "1"], "`prefer_epochs` is for `adapt: lora`"),
        (["--shots", "REAL", "--task", "gad"], "tuning a generator is for tasks of kind"),
    ],
)
def test_bad_input_of_tune(flags, sentence, causal_folder, real, tmp_path, capsys):
    (tmp_path / "t.yaml").write_text(YAML)
    flags = [str(real) if flag == "REAL" else flag for flag in flags]
    argv = ["tune", "--task", str(tmp_path / "t.yaml"), "--model", str(causal_folder), *flags]
    assert main([*argv, "--shots_per_class", "2", "--output_dir", str(tmp_path / "a")]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_an_adapter_needs_a_model_in_this_process(capsys, tmp_path):
    argv = ["generate", "--task", "sst2", "--adapter", "x", "--backend", "chat", "--base_url", "http://localhost:1"]
    assert main([*argv, "--output_dir", str(tmp_path / "o")]) == 2
    assert "set `backend: local`; got chat" in capsys.readouterr().err


def test_a_tuning_that_is_stopped_leaves_nothing(causal_folder, real, tmp_path, capsys, monkeypatch):
    (tmp_path / "t.yaml").write_text(YAML)
    argv = ["tune", "--task", str(tmp_path / "t.yaml"), "--model", str(causal_folder), "--shots", str(real)]
    argv += ["--shots_per_class", "2", "--tune_epochs", "1", "--output_dir", str(tmp_path / "out" / "a")]
    stale = tmp_path / "out" / ".a-tuning" / "of another that was killed"
    stale.mkdir(parents=True)

    def interrupted(task, record):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hf_synth.commands.tune.adapter_card", interrupted)
        assert main(argv) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "hf-synth: stopped."
    assert not list((tmp_path / "out").iterdir())
    stale.mkdir(parents=True)
    with FileLock(stale.parent / ".lock"):
        assert main(argv) == 2
    assert "another process is writing in" in capsys.readouterr().err
    assert stale.exists()
    assert main(argv) == 0
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["a"]
    names = {entry.name for entry in (tmp_path / "out" / "a").iterdir()}
    assert names == {"README.md", "adapter.json", "adapter_config.json", "adapter_model.safetensors", ".local.json"}


def test_a_file_in_place_of_the_output_folder(causal_folder, real, tmp_path, capsys):
    (tmp_path / "t.yaml").write_text(YAML)
    (tmp_path / "a").write_text("")
    argv = ["tune", "--task", str(tmp_path / "t.yaml"), "--model", str(causal_folder), "--shots", str(real)]
    assert main([*argv, "--output_dir", str(tmp_path / "a")]) == 2
    assert "is no empty folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "library", "kept"),
    [("last_layer", "hf_synth", False), ("bottleneck", "hf_synth", True), ("lora", "peft", True)],
)
def test_the_card_says_what_became_of_the_weights(kind, library, kept, causal_folder, real, tmp_path):
    (tmp_path / "t.yaml").write_text(YAML)
    argv = ["tune", "--task", str(tmp_path / "t.yaml"), "--model", str(causal_folder), "--shots", str(real)]
    argv += ["--shots_per_class", "2", "--tune_epochs", "1", "--adapt", kind, "--output_dir", str(tmp_path / "a")]
    assert main(argv) == 0
    card = (tmp_path / "a" / "README.md").read_text()
    assert f"library_name: {library}" in card
    assert ("every weight of that is as it was" in card) == kept
    assert ("in place of some of its weights stand the adapter's" in card) != kept
