"""What we write goes to the Hub and comes back; what we need comes from the Hub, then from its cache."""

import pytest
from datasets import load_dataset

from hf_synth.models import weights_digest
from hf_synth.weighted import write_weights


def by_index(splits):
    return {row["index"]: (name, row) for name, (rows, _) in splits.items() for row in rows}


def test_a_generated_folder_is_pushed_and_grows(hub, server, tmp_path):
    hub.generate(tmp_path / "out", 60)
    hub.push(tmp_path / "out/dataset", "user/round-trip")
    first = hub.load("user/round-trip")
    assert first == hub.load_folder(tmp_path / "out/dataset")
    assert first["train"][1] == ["negative", "positive"]
    hub.generate(tmp_path / "out", 140)
    hub.push(tmp_path / "out/dataset", "user/round-trip")
    second = by_index(hub.load("user/round-trip"))
    assert len(second) == 140
    assert all(second[index] == row for index, row in by_index(first).items())
    commits = [line for line in server.log if "/commit/main" in str(line)]
    assert len(commits) == 2


def config(repo_id, name):
    """Load one config by name from the Hub; called in the process that sees the Hub."""
    rows = load_dataset(repo_id, name, split="train")
    return rows.to_list(), rows.features["label"].names


def test_row_weights_go_to_the_hub_and_leave_it(hub, server, tmp_path):
    hub.generate(tmp_path / "out", 60)
    folder = tmp_path / "out/dataset"
    rows = hub.load_folder(folder)["train"][0]
    weights = {row["index"]: 2 * n / (len(rows) - 1) for n, row in enumerate(rows)}
    scores = {index: float(-index) for index in weights}
    facts = {"trainer": "bilevel", "reason": "because.", "settings": {}}
    columns = {"index": list(weights), "weight": list(weights.values()), "score": list(scores.values())}
    write_weights(folder, columns, facts)
    hub.push(folder, "user/weighted")
    assert hub.load("user/weighted") == hub.load_folder(folder)
    there, names = hub.pool.submit(config, "user/weighted", "weighted").result(timeout=480)
    assert names == ["negative", "positive"]
    assert {row["index"]: row["hf_synth_weight"] for row in there} == pytest.approx(weights)
    suspects, names = hub.pool.submit(config, "user/weighted", "suspects").result(timeout=480)
    assert names == ["negative", "positive"]
    assert [row["index"] for row in suspects] == sorted(weights, reverse=True)[: len(weights) // 10]
    assert {row["reason"] for row in suspects} == {"because."}
    hub.generate(tmp_path / "out", 70)  # drops them here, and the next push there
    hub.push(folder, "user/weighted")
    left = [name for name in server.repo("user/weighted", "dataset").head.files if "weighted" in name]
    assert left == []
    with pytest.raises(ValueError, match="weighted"):
        hub.pool.submit(config, "user/weighted", "weighted").result(timeout=480)


def test_weights_come_from_the_hub_with_their_revision_then_from_the_cache(hub, server, causal_folder):
    files = {file.name: file.read_bytes() for file in causal_folder.iterdir()}
    server.edit("user/tiny-lm", files, kind="model")
    found = hub.resolve("user/tiny-lm")
    assert (found["origin"], found["revision"]) == ("hub", server.repo("user/tiny-lm", "model").head.oid)
    assert found["sha256"] == weights_digest(causal_folder)
    asked = len(server.log)
    assert hub.resolve("user/tiny-lm") == found
    assert len(server.log) == asked


def test_the_reference_comes_from_the_hub(hub, server, tmp_path):
    hub.write_folder(tmp_path / "real", {"train": ["dull", "fine", "stale"]})
    hub.push(tmp_path / "real", "user/real")
    rows, name = hub.reference("user/real")
    assert name == "user/real"
    assert rows == [
        {"text": "dull", "label": "negative"},
        {"text": "fine", "label": "positive"},
        {"text": "stale", "label": "negative"},
    ]


def adapter(name, weights):
    """Find an adapter from the Hub; called in the process that sees it."""
    from hf_synth import models
    from hf_synth.adapters.folder import open_adapter

    models.hub_unreachable.cache_clear()
    found = open_adapter(name, weights)
    return found.name, found.digest, found.names


def test_an_adapter_goes_to_the_hub_and_writes_from_there(hub, server, causal_folder, tmp_path):
    """One set a label: files in folders of their own."""
    from hf_synth.adapters.folder import open_adapter
    from hf_synth.adapters.settings import TuningConfig
    from hf_synth.generators.tuning import tune
    from hf_synth.records import Prompt
    from hf_synth.shots import Shot

    folder, weights = tmp_path / "adapter", weights_digest(causal_folder)
    folder.mkdir()
    shots = [Shot(Prompt(f"{label}: ", label), "fine", 'fine"') for label in ("good", "bad")]
    settings = TuningConfig(adapt="lora", per_label=True, tune_epochs=1)
    tune(str(causal_folder), {"name": "tiny", "sha256": weights}, shots, settings, folder, 0)
    (folder / "README.md").write_text("---\ntags: [hf_synth]\n---\n")
    hub.push(folder, "user/tiny-adapter", repo_type="model")
    here = open_adapter(str(folder), weights)
    found = hub.pool.submit(adapter, "user/tiny-adapter", weights).result(timeout=480)
    assert found == ("user/tiny-adapter", here.digest, ("label-good", "label-bad"))


def redo(*arguments):
    """Run `hf-synth reproduce` in the process that sees the Hub; return its code and what it said."""
    import io

    import hf_synth.commands.generate as generate
    from hf_synth.commands.main import main

    generate.console.file = io.StringIO()
    return main(["reproduce", *arguments]), generate.console.file.getvalue()


def test_a_set_on_the_hub_is_reproduced_by_its_id(hub, server, causal_folder, tmp_path):
    from hf_synth.commands.main import main

    model, out = ["--model", str(causal_folder)], ["--output_dir", str(tmp_path / "out")]
    small = ["--num_rows=40", "--chunk_size=24", "--min_words=1", "--max_new_tokens=8", "--num_openings=4"]
    assert main(["generate", "--task=sst2", *small, *model, *out]) == 0
    hub.push(tmp_path / "out/dataset", "user/redone")
    code, said = hub.pool.submit(redo, "user/redone", "--chunks=2", *model).result(timeout=480)
    assert code == 0, said
    assert said.count(": match: ") == 2
