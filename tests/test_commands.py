"""The commands as a user types them: exit codes, sentences, what is written and what is not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value, load_dataset

from hf_synth.commands import run
from hf_synth.commands.main import main
from hf_synth.home import locked

ROWS = ["--num_rows", "64", "--min_words", "1", "--max_new_tokens", "8", "--num_openings", "4"]


@pytest.fixture
def real(tmp_path):
    """A folder with real rows to judge on."""
    return real_rows(tmp_path / "real")


def real_rows(folder, split="test"):
    (folder / "data").mkdir(parents=True)
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=["negative", "positive"])})
    rows = {"sentence": ["a good film", "a dull story", "very fine"] * 5, "label": [1, 0, 1] * 5}
    Dataset.from_dict(rows, features=features).to_parquet(folder / f"data/{split}-0.parquet")
    return str(folder)


@pytest.fixture
def flags(causal_folder, student_folder, tmp_path, real):
    return [
        "--task", "sst2", "--model", str(causal_folder), "--student", str(student_folder), "--reference", real,
        "--output_dir", str(tmp_path / "out"), "--num_train_epochs", "1", "--baseline_rows", "6", *ROWS,
    ]  # fmt: skip


def test_run_leaves_data_set_model_and_report(flags, tmp_path, capsys):
    assert main(["run", *flags]) == 0
    out = tmp_path / "out"
    report = json.loads((out / "report.json").read_text())
    needed = (
        "task method generator rows seconds tokens_per_second asked kept dropped student reference metrics baselines"
    )
    assert set(needed.split()) <= set(report)
    assert report["rows"] == report["kept"] == 64
    assert report["asked"] == report["kept"] + sum(report["dropped"].values())
    assert report["metrics"]["rows"] == 15
    assert set(report["baselines"]) == {"prompting", "prompting, calibrated", "the commonest label"}
    assert report["baselines"]["prompting"]["rows"] == 6
    assert report["generator"]["sha256"]
    data = load_dataset(str(out / "dataset"), cache_dir=str(tmp_path / "cache"))
    assert sum(map(len, data.values())) == 64
    printed = capsys.readouterr().out
    assert "probe: kept" in printed
    assert f"{report['metrics']['accuracy']:.4f}" in printed
    card = (out / "model/README.md").read_text()
    assert f"| this model | 15 | {report['metrics']['accuracy']:.4f} |" in card
    # the saved model alone gives the report's accuracy
    from transformers import pipeline

    classify = pipeline("text-classification", str(out / "model"))
    rows = ["a good film", "a dull story", "very fine"] * 5
    found = [entry["label"] for entry in classify(rows)]
    right = sum(a == b for a, b in zip(found, ["positive", "negative", "positive"] * 5, strict=True))
    assert right / 15 == report["metrics"]["accuracy"]
    # the verbs one by one give the same, and nothing is asked again
    before = sorted((out / "journal/chunks").glob("*/*"))
    assert main(["generate", *flags[:4], *flags[8:10], *ROWS]) == 0
    assert sorted((out / "journal/chunks").glob("*/*")) == before
    assert main(["evaluate", *flags]) == 0
    assert json.loads((out / "report.json").read_text())["metrics"] == report["metrics"]
    for name, said in (("me/imdb", True), ("imdb", False)):  # a name alone is another's data set
        assert main(["evaluate", *flags, "--hub_id", name]) == 0
        assert (f"](https://huggingface.co/datasets/{name})" in (out / "model/README.md").read_text()) == said
        assert (f"](https://huggingface.co/{name}-model)" in (out / "dataset/README.md").read_text()) == said
    with locked(out):
        assert main(["evaluate", *flags]) == 2
    assert "another process is writing in" in capsys.readouterr().err
    record = out / "model/training.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "given_sha256": "of as many other rows"}))
    assert main(["evaluate", *flags]) == 2
    assert "holds others: train again first" in capsys.readouterr().err


def test_without_a_reference_the_run_ends_well_and_says_so(flags, tmp_path, capsys, monkeypatch):
    mine = tmp_path / "mine.yaml"
    mine.write_text("labels: [dull, fine]\nprompt: 'a {label} film is \"'\ncolumns: [sentence]\n")
    at = flags.index("--reference")
    argv = ["run", *flags[:at], *flags[at + 2 :], "--task", str(mine)]
    argv.remove("sst2")
    argv.remove("--task")
    argv = [word for word in argv if word not in ("--num_openings", "4")] + ["--num_openings", "4"]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert "not evaluated: the task names no real data set" in printed
    assert "hf-synth evaluate --task" in printed
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["metrics"] is None
    assert "Not evaluated on real data" in (tmp_path / "out/model/README.md").read_text()


def test_a_folder_of_another_run_is_refused(flags, tmp_path, capsys):
    argv = ["generate", *flags[:4], *flags[8:10], *ROWS]
    assert main(argv) == 0
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    assert main([*argv, "--seed", "1"]) == 2
    assert "`seed` is 0 there and 1 here" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()} == before


def test_what_a_person_may_change_afterwards(flags, tmp_path, capsys):
    """A description or a licence decides no text, so the rows stay; a person's words in a card stay too."""
    mine = tmp_path / "mine.yaml"
    mine.write_text("labels: [dull, fine]\nprompt: 'a {label} film is \"'\ncolumns: [sentence]\n")
    argv = ["run", "--task", str(mine), *flags[2:6], *flags[8:14], *ROWS[:6], "--num_openings", "4"]
    assert main(argv) == 0
    card = tmp_path / "out/model/README.md"
    card.write_text(card.read_text() + "\nAnd more.\n")
    trained = (tmp_path / "out/model/model.safetensors").stat().st_mtime_ns
    with mine.open("a") as stream:
        stream.write("description: Is it?\nlanguage: en\n")
    assert main([*argv, "--license", "mit"]) == 0
    assert "And more." in card.read_text()
    assert (tmp_path / "out/model/model.safetensors").stat().st_mtime_ns == trained  # nothing was trained twice
    assert "license: mit" in (tmp_path / "out/dataset/README.md").read_text()
    capsys.readouterr()
    assert main(["evaluate", *argv[1:], "--num_rows", "64", "--model", flags[3]]) == 0
    assert f"--model {flags[3]}" in capsys.readouterr().out
    assert main(["generate", *argv[1:5], *argv[7:9], *ROWS[2:6], "--num_openings", "4", "--num_rows", "80"]) == 0
    assert main(["evaluate", *argv[1:]]) == 2
    assert "holds 80: train again first" in capsys.readouterr().err


def test_run_with_learnt_weights_and_real_rows(flags, tmp_path):
    """All stages in one go; a second time nothing is trained, though the rows were written anew without weights."""
    real_rows(tmp_path / "mixed", "train")
    argv = ["run", *flags, "--denoise", "hard", "--denoise_args", "{folds: 2}", "--trainer", "bilevel"]
    argv += ["--trainer_args", "{rounds: 2, outer: real}"]
    argv += ["--real_rows", str(tmp_path / "mixed"), "--real_per_class", "4"]
    assert main(argv) == 0
    out = tmp_path / "out"
    training = json.loads((out / "model/training.json").read_text())
    card = " ".join((out / "model/README.md").read_text().split())
    kept = training["denoised"]["kept"]
    assert f"trained on {kept} rows that" in card
    assert "plus 8 real rows of mixed, split train; no longer zero-shot" in card
    assert f"generated rows {kept} were kept before training" in card
    assert "a frozen encoder's loss (rce) on the real rows larger" in training["weights"]["reason"]
    assert f"effectively {training['weights']['effective_rows']} are left" in card
    before = load_dataset(str(out / "dataset"), "weighted", cache_dir=str(tmp_path / "cache"))["train"][:]
    trained = (out / "model/model.safetensors").stat().st_mtime_ns
    assert main(argv) == 0
    assert (out / "model/model.safetensors").stat().st_mtime_ns == trained
    assert load_dataset(str(out / "dataset"), "weighted", cache_dir=str(tmp_path / "cache"))["train"][:] == before


def test_train_runs_under_a_launcher(flags, tmp_path):
    """Two ranks on the CPU see the rows, in as many steps, that one process sees which accelerate launches."""
    assert main(["generate", *flags[:4], *flags[8:10], *ROWS]) == 0
    data = ["--dataset", str(tmp_path / "out/dataset")]
    shared = ["--task", "sst2", "--student", flags[5], *data, "--num_train_epochs", "2"]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "hf_synth.commands.train"]
    gloo = ["--training_args", "{use_cpu: true, ddp_backend: gloo}"]
    two = [*shared, *gloo, "--train_batch_size", "16", "--output_dir", str(tmp_path / "two")]
    done = subprocess.run([sys.executable, *launch, *two], capture_output=True, text=True, timeout=480)
    assert done.returncode == 0, done.stderr
    assert "model in" in done.stdout
    config = Path(__file__).parents[1] / "recipes/accelerate/cpu.yaml"
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(config), "-m", "hf_synth.commands.train"]
    one = [*shared, "--train_batch_size", "32", "--output_dir", str(tmp_path / "one")]
    done = subprocess.run([sys.executable, *launch, *one], capture_output=True, text=True, timeout=480)
    assert done.returncode == 0, done.stderr
    one, two = (json.loads((tmp_path / name / "model/training.json").read_text()) for name in ("one", "two"))
    assert one["rows"] == two["rows"] > 0
    assert [log["step"] for log in one["log_history"]] == [log["step"] for log in two["log_history"]]
    assert sorted(entry.name for entry in (tmp_path / "two").iterdir()) == [".lock", "model"]


def test_preview_shows_rows_with_prompts_and_writes_nothing(flags, tmp_path, capsys):
    assert main(["generate", *flags[:4], *flags[8:10], *ROWS, "--preview", "5"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("\nprompt  A movie critic") == 5
    assert "5 shown of" in printed
    assert not (tmp_path / "out").exists()


BAD = [
    (["run", "--task", "sst3"], "Did you mean 'sst2'?"),
    (["run", "--task", "sst2", "--method", "zerogn"], "Did you mean 'zerogen'?"),
    (["run", "--task", "sst2", "--num_row", "5"], "Did you mean '--num_rows'?"),
    (["run", "--task", "sst2", "--num_rows", "0"], "`num_rows`"),
    (["run", "--task", "sst2", "--num_rows", "many"], "`num_rows`"),
    (["run", "--task", "sst2", "--training_args", "5"], "`training_args`: input should be a valid mapping"),
    (["run", "--task", "missing.yaml"], "cannot read 'missing.yaml'"),
    (["run", "--config", "missing.yaml"], "cannot read 'missing.yaml'"),
    (["run", "--config", "a.yaml", "--config", "b.yaml"], "`--config` names one YAML file"),
    (["run", "--task", "sst2", "--seed", "4294967296"], "`seed`: input should be less than 4294967296"),
    (["inspect", "x", "--seed", "-1"], "`seed`: input should be greater than or equal to 0"),
    *(
        ([verb, "x", "--seed", "4294967296"], "`seed`: input should be less than 4294967296")
        for verb in ("inspect", "impute", "illustrate", "fuse")
    ),
    (["train", "--task", "sst2", "--learning_rate", "inf"], "`learning_rate`: input should be a finite number"),
    (["generate", "--task", "sst2", "--method", "longtail", "--sharpness", ".inf"], "`sharpness`"),
    (["run"], "`task` is missing"),
    (["rnu"], "Did you mean 'run'?"),
    (["generate", "--task", "sst2", "--openings", "corpus"], "'sst2' has none"),
    (["generate", "--task", "sst2", "--backend", "corpus", "--corpus", "{path: x, column: text}"], "zerogen has its"),
    (["generate", "--task", "ag_news", "--method", "regen", "--backend", "local"], "`backend: corpus`; got local"),
    (["generate", "--task", "ag_news", "--method", "regen", "--corpus", "{path: x, column: a, split: all}"], "'all'"),
    (["generate", "--task", "ag_news", "--method", "regen"], "corpus"),
    (["generate", "--task", "sst2", "--method", "attrprompt", "--expand_words", "model"], "prompts of attrprompt"),
    (["generate", "--task", "qnli", "--method", "attrprompt"], "attrprompt is for tasks of kind single"),
    (["generate", "--task", "sst2", "--method", "progen", "--quality_data", "oracle"], "`oracle_rows`"),
    (["generate", "--task", "sst2", "--hub_id", "not a name", "--model", "x"], "`repo_id`"),
    (["run", "--task", "sst2", "--reference", "no/such"], "`reference`"),
    (["evaluate", "--task", "sst2"], "is missing: run `hf-synth run`"),
    (["train", "--task", "sst2"], "no data set in"),
    (
        ["run", "--task", "sst2", "--training_args", "{lerning_rate: 1}", "--reference", "REAL"],
        "Did you mean 'learning_rate'",
    ),
    (["run", "--task", "sst2", "--student", "typo/x", "--reference", "REAL"], "no model 'typo/x'"),
    (["run", "--task", "sst2", "--training_args", "{a: "], "not valid YAML"),
    (["generate", "--task", "sst2", "--preview", "-5"], "`preview`"),
    (["tasks", "sst3"], "Did you mean 'sst2'?"),
    (["methods", "zero"], "Did you mean 'zerogen'?"),
    (["push", "--folder", "nowhere", "--hub_id", "me/x"], "nowhere"),
]


@pytest.mark.parametrize(("argv", "message"), BAD, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_bad_input_is_one_sentence(argv, message, capsys, tmp_path, tmp_path_factory, monkeypatch):
    real = real_rows(tmp_path_factory.mktemp("real"))
    argv = [real if word == "REAL" else word for word in argv]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hf_synth.models.hub_unreachable", lambda: "the network is closed")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert main(argv) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in said if line.startswith("hf-synth: ")]) == 1
    assert message in said[-1]
    assert "Traceback" not in "\n".join(said)
    assert list(tmp_path.iterdir()) == []


def test_yaml_and_flags_give_the_same_and_flags_win(tmp_path):
    from hf_synth.commands.options import parse
    from hf_synth.settings import SynthConfig

    recipe = tmp_path / "r.yaml"
    recipe.write_text("task: sst2\nnum_rows: 7\ntop_p: 0.5\nsteer_away: true\nlearning_rate: 2e-5\n")
    found = parse(["--config", str(recipe), "--num_rows", "9", "--steer_away", "false"], "x", SynthConfig)
    assert found[SynthConfig].num_rows == 9
    assert found["method"].top_p == 0.5
    assert found["method"].steer_away is False


def test_a_recipe_of_a_run_serves_push_which_reads_its_own_keys_alone(tmp_path):
    from hf_synth.commands.options import parse
    from hf_synth.commands.push import PushConfig

    recipe = tmp_path / "r.yaml"
    recipe.write_text("task: elsewhere.yaml\nmethod: longtail\nfirst_round: 7\nhub_id: me/x\nprivate: true\n")
    found = parse(["--config", str(recipe), "--folder", "data"], "x", PushConfig)[PushConfig]
    assert (found.hub_id, found.private, found.folder) == ("me/x", True, "data")


def test_a_method_stands_in_for_what_is_left_out():
    from hf_synth.commands.options import parse
    from hf_synth.settings import StudentConfig, SynthConfig

    def student(*flags):
        return parse(["--task", "sst2", "--method", "sungen", *flags], "x", SynthConfig, StudentConfig)[StudentConfig]

    assert (student().trainer, student().trainer_args["mode"]) == ("bilevel", "sungen")
    assert student("--select", "top_k").select == "top_k"
    changed = student("--trainer_args", "{step: adam}").trainer_args  # the others stay
    assert (changed["step"], changed["mode"]) == ("adam", "sungen")
    plain = student("--trainer", "weighted")  # its settings go with the trainer they belong to
    assert (plain.trainer, plain.trainer_args) == ("weighted", {})


@pytest.mark.parametrize(
    ("method", "key", "value", "sentence"),
    [
        ("fewgen", "shots_per_class", "many", "`shots_per_class`: input should be a valid integer"),
        ("fewgen", "shots_seed", "-1", "`shots_seed`: input should be greater"),
        ("longtail", "seen_rows", "[a]", "`seen_rows`: input should be a valid string"),
    ],
)
def test_a_wrong_setting_goes_by_the_name_that_the_user_wrote(tmp_path, method, key, value, sentence):
    """Of a method's real rows, the student's `real_rows` are made."""
    from hf_synth.commands.options import parse
    from hf_synth.errors import InputError
    from hf_synth.settings import StudentConfig, SynthConfig

    shots = "shots: real\n" if method == "fewgen" else ""
    (tmp_path / "r.yaml").write_text(f"task: ag_news\nmethod: {method}\n{shots}{key}: {value}\n")
    with pytest.raises(InputError, match=sentence):
        parse(["--config", str(tmp_path / "r.yaml")], "x", SynthConfig, StudentConfig)


def test_a_task_in_the_recipe_is_like_one_in_a_file(tmp_path, monkeypatch):
    from hf_synth.commands.options import parse
    from hf_synth.settings import OutputConfig, StudentConfig, SynthConfig

    monkeypatch.setenv("HOME", str(tmp_path))
    task = {"name": "mine", "labels": ["good", "bad"], "prompt": 'A {label} text: "'}
    recipe = {"task": task, "method": "supergen", "output_dir": "~/out"}
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    found = parse(["--config", str(tmp_path / "r.yaml")], "x", SynthConfig, StudentConfig, OutputConfig)
    assert found[StudentConfig].trainer == "ensemble"
    assert found[OutputConfig].output_dir == str(tmp_path / "out")


def test_naming_what_a_method_brings_along_changes_nothing():
    from hf_synth.commands.options import parse
    from hf_synth.settings import BackendConfig, StudentConfig, SynthConfig

    def found(*flags):
        return parse(["--task", "ag_news", *flags], "x", SynthConfig, BackendConfig, StudentConfig)

    regen = ("--method", "regen")
    assert found(*regen, "--backend", "corpus") == found(*regen)
    assert found(*regen, "--backend", "local")[SynthConfig].model == SynthConfig.model
    supergen = ("--method", "supergen")
    assert found(*supergen, "--loss", "ce") == found(*supergen)
    assert found(*supergen, "--loss", "gce")[StudentConfig].label_smoothing == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("num_row: 5", "Did you mean 'num_rows'?"),
        ("num_rows: [5]", "`num_rows`"),
        ("- a list", "`key: value` lines"),
        ("a: [", "is not valid YAML at line"),
    ],
)
def test_bad_recipes(tmp_path, capsys, line, message):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"task: sst2\n{line}\n" if ":" in line else line)
    assert main(["generate", "--config", str(recipe)]) == 2
    assert message in capsys.readouterr().err


def run_in_background(flags, **settings):
    command = [sys.executable, "-m", "hf_synth", "generate", *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings)


def test_ctrl_c_is_130_and_keeps_what_was_done(flags, tmp_path):
    argv = [*flags[:4], *flags[8:10], *ROWS[2:], "--num_rows", "100000"]
    process = run_in_background(argv)
    chunks = tmp_path / "out/journal/chunks"
    for _ in range(2400):
        if len(list(chunks.glob("*/*.json"))) > 3 or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 130, errors
    assert errors.strip().splitlines()[-1].startswith("hf-synth: stopped.")
    assert "Traceback" not in errors
    assert not (tmp_path / "out/dataset").exists()
    for file in chunks.glob("*/*.json"):
        json.loads(file.read_text())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."), "lower `train_batch_size` or"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), "lower `train_batch_size` or"),
        (MemoryError(), "lower `train_batch_size` or"),
        (MemoryError("a batch of one"), "hf-synth: a batch of one. What was written so far is kept: the same"),
    ],
)
def test_no_room_in_memory_is_one_sentence(error, said, monkeypatch, capsys):
    def fails(argv):
        raise error

    monkeypatch.setattr("hf_synth.commands.train.main", fails)
    before = signal.getsignal(signal.SIGTERM)
    assert main(["train"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
    assert line.endswith("What was written so far is kept: the same command goes on from there.")
    assert signal.getsignal(signal.SIGTERM) == before
    error = RuntimeError("something else")
    with pytest.raises(RuntimeError, match="something else"):
        main(["train"])


def test_an_output_folder_that_is_a_file_is_one_sentence_which_promises_nothing(flags, tmp_path, capsys):
    file = tmp_path / "out"
    file.write_text("mine")
    assert main(["run", *flags]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-synth: ")]
    assert str(file) in line
    assert "kept" not in line
    assert file.read_text() == "mine"


def test_a_full_disk_is_one_sentence(flags, tmp_path):
    """A limit on file size stands for a full disk: the write fails in the middle in the same way."""
    import resource

    argv = [*flags[:4], *flags[8:10], *ROWS[2:], "--num_rows", "3000"]

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))

    process = run_in_background(argv, preexec_fn=limit, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    _, errors = process.communicate(timeout=480)
    assert process.returncode == 2, errors
    assert "File too large" in errors.strip().splitlines()[-1]
    assert "Traceback" not in errors
    assert not (tmp_path / "out/dataset").exists()


@pytest.mark.parametrize("verb", ["tasks", "--version", "--help", "tune --help"])
@pytest.mark.parametrize("buffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_reader_that_has_read_enough_is_no_error(verb, buffered):
    command, env = f"{sys.executable} -m hf_synth {verb} | true", {**os.environ, "PYTHONUNBUFFERED": buffered}
    found = subprocess.run(command, shell=True, capture_output=True, text=True, env=env)
    assert found.stderr == ""


def test_labels_without_rows_are_said(flags, tmp_path, capsys):
    """Fewer rows than labels, and a student that would never say a label."""
    assert main(["generate", *flags[:4], *flags[8:10], *ROWS[2:], "--num_rows", "1"]) == 0
    assert "2 labels, and `num_rows: 1`: some will have no row" in capsys.readouterr().out
    assert main(["train", *flags[:8], "--num_train_epochs", "1", *flags[8:10]]) == 0
    assert "no row of positive: the student will not learn it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("task", "student", "encoder"), [("sst2", "bilstm", "none"), ("squad", "bidaf", "none"), ("sst2", "own", "own")]
)
def test_rows_are_inspected_by_the_students_own_weights_if_it_has_some(tmp_path, monkeypatch, task, student, encoder):
    asked = []
    for name in ("generate", "train", "judge", "refuse_leak", "say_not_evaluated"):
        monkeypatch.setattr(run, name, lambda *args, **kwargs: None)
    monkeypatch.setattr(run, "open_generator", lambda *args, **kwargs: SimpleNamespace(source={}))
    monkeypatch.setattr("hf_synth.train.check_training", lambda *args: SimpleNamespace(real_facts=lambda: None))
    monkeypatch.setattr(run, "reference_or_reason", lambda *args: "there is none")
    monkeypatch.setattr(run, "inspect_run", lambda *args: asked.append(args[4]))
    openings = ["--openings", "corpus"] if task == "squad" else []
    argv = ["--task", task, "--student", student, *openings, "--output_dir", str(tmp_path / "out")]
    assert run.main(argv) == 0
    assert asked == [encoder]


@pytest.mark.parametrize("what", ["corpus", "adapter"])
def test_texts_that_the_rows_would_learn_from_never_judge(tmp_path, monkeypatch, capsys, what):
    path = real_rows(tmp_path / "real", "train")
    learnt = {"adapter": {"shots": {"name": "real", "split": "train"}}} if what == "adapter" else {}
    monkeypatch.setattr(run, "open_generator", lambda *args, **kwargs: SimpleNamespace(source=learnt))
    argv = ["run", "--task", "sst2", "--reference", path, "--reference_split", "train"]
    words = ["--expand_words", "neighbours", "--corpus", f"{{path: {path}, column: sentence}}"]
    assert main([*argv, *(words if what == "corpus" else []), "--output_dir", str(tmp_path / "out")]) == 2
    assert f"`{what}` and `reference` are both the split 'train' of 'real'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_written_is_refused_before_anything_is_loaded(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    argv = ["generate", "--task", "sst2", "--model", "no/such", "--num_rows", "4"]
    assert main([*argv, "--output_dir", str(tmp_path / "file" / "x")]) == 2
    said = capsys.readouterr().err
    assert "cannot be written" in said
    assert "file' is no folder" in said
