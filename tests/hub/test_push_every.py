"""`--push_every`: rows go to the Hub while they are written, and what is written does not depend on it."""

import os
import subprocess
import sys

import yaml
from datasets import ClassLabel, Dataset, Features, Value, load_dataset

from .test_sharing import called, command, readme


def data_of(folder):
    return {file.name: file.read_bytes() for file in (folder / "data").iterdir()}


RUN = ("generate", "--task=sst2", "--num_rows=250", "--chunk_size=32", "--license=mit")


def test_rows_are_pushed_on_the_way_and_the_end_is_the_same(hub, server, tmp_path):
    code, said = called(
        hub, command, *RUN, f"--output_dir={tmp_path / 'a'}", "--hub_id=user/grown", "--push_every=100"
    )
    assert code == 0, said
    commits = server.repo("user/grown").commits[1:]
    assert [one.title for one in commits] == [
        "Push 100 rows with hf_synth, unfinished",
        "Push 200 rows with hf_synth, unfinished",
        "Push with hf_synth",
    ]
    for rows, one in zip((100, 200), commits, strict=False):
        card = one.files["README.md"].content.decode()
        assert "**Unfinished: the run asks for 250 rows, and was still going when these were pushed.**" in card
        assert "(asked for 250)" in card
        assert f"{rows} rows pushed: {server.endpoint}/datasets/user/grown/commit/{one.oid}" in said
        assert yaml.safe_load(one.files["hf_synth/config.yaml"].content)["num_rows"] == 250
    assert "nfinished" not in readme(server, "user/grown")
    parts = [called(hub, by_index, "user/grown", one.oid) for one in commits]
    assert [len(part) for part in parts] == [100, 200, 250]
    assert parts[0].items() <= parts[1].items() <= parts[2].items()

    assert called(hub, command, *RUN, f"--output_dir={tmp_path / 'b'}")[0] == 0
    assert data_of(tmp_path / "a/dataset") == data_of(tmp_path / "b/dataset")
    keys = [{file.name for file in (tmp_path / run / "journal/chunks").rglob("*.json")} for run in "ab"]
    assert keys[0] == keys[1]  # and nothing was asked twice


def by_index(name, revision):
    splits = load_dataset(name, revision=revision)
    return {row["index"]: row["sentence"] for rows in splits.values() for row in rows}


def test_a_push_on_the_way_that_fails_is_a_line(hub, server, tmp_path):
    server.fail_next("^POST /api/repos/create", 500, times=5)
    code, said = called(
        hub, command, *RUN, f"--output_dir={tmp_path / 'a'}", "--hub_id=user/stormy", "--push_every=100"
    )
    assert code == 0
    [warning] = [line for line in said.splitlines() if line.startswith("warning:")]
    assert warning.startswith("warning: 100 rows were not pushed, generation goes on: ")
    assert [one.title for one in server.repo("user/stormy").commits[1:]] == [
        "Push 200 rows with hf_synth, unfinished",
        "Push with hf_synth",
    ]


def test_a_run_that_goes_on_does_not_push_the_past(hub, server, tmp_path):
    arguments = (*RUN, f"--output_dir={tmp_path / 'a'}", "--hub_id=user/resumed", "--push_every=100")
    assert called(hub, command, *arguments)[0] == 0
    assert called(hub, command, *arguments, "--num_rows=350")[0] == 0
    titles = [one.title for one in server.repo("user/resumed").commits[1:]]
    assert titles[3:] == ["Push 300 rows with hf_synth, unfinished", "Push with hf_synth"]


def test_settings_of_sharing_that_do_not_go_together(hub, server, tmp_path):
    where = f"--output_dir={tmp_path / 'a'}"
    for arguments, message in (
        (["--push_every=5"], "`push_every: 5` is read with `hub_id` alone"),
        (["--create_pr"], "`create_pr: True` is read with `hub_id` alone"),
        (["--collection=x"], "`collection: x` is read with `hub_id` alone"),
        (["--hub_id=user/x", "--push_every=5", "--create_pr"], "would open a pull request at each push"),
    ):
        code, said = called(hub, command, *RUN, where, *arguments)
        assert (code, message in said) == (2, True), said
    assert not (tmp_path / "a").exists()
    assert server.log == []


def test_a_run_pushes_data_set_and_model_and_links_both(hub, server, causal_folder, student_folder, tmp_path):
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=["negative", "positive"])})
    real = Dataset.from_dict({"sentence": ["a dull story", "a good film"] * 8, "label": [0, 1] * 8}, features=features)
    (tmp_path / "real/data").mkdir(parents=True)
    real.to_parquet(tmp_path / "real/data/test-0.parquet")
    rows = ["--num_rows=64", "--chunk_size=32", "--min_words=1", "--max_new_tokens=8", "--num_openings=4"]
    models = ["--model", str(causal_folder), "--student", str(student_folder), "--num_train_epochs=1"]
    sharing = ["--hub_id=user/ran", "--push_every=40", "--collection=Ran"]
    where = ["--reference", str(tmp_path / "real"), "--baseline_rows=0", "--output_dir", str(tmp_path / "out")]
    code, said = called(hub, command, "run", "--task=sst2", *rows, *models, *sharing, *where)
    assert code == 0, said
    titles = [one.title for one in server.repo("user/ran").commits[1:]]
    assert titles == ["Push 40 rows with hf_synth, unfinished", "Push with hf_synth"]
    assert "model.safetensors" in server.repo("user/ran-model", "model").head.files
    [collection] = [one for one in server.collections.values() if one.title == "Ran"]
    assert [item["id"] for item in collection.items] == ["user/ran", "user/ran-model"]


def test_of_two_ranks_one_pushes(environment, server, tmp_path, causal_folder):
    flags = ["--task=sst2", "--num_rows=120", "--chunk_size=16", "--min_words=1", "--max_new_tokens=8"]
    flags += [f"--model={causal_folder}", f"--output_dir={tmp_path / 'a'}", "--hub_id=user/ranks", "--push_every=50"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "hf_synth.commands.generate", *flags],
        env={**os.environ, **environment, "HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=480,
    )
    assert done.returncode == 0, done.stderr
    assert [one.title for one in server.repo("user/ranks").commits[1:]] == [
        "Push 50 rows with hf_synth, unfinished",
        "Push 100 rows with hf_synth, unfinished",
        "Push with hf_synth",
    ]
    assert done.stdout.count("50 rows pushed") == 1
