"""The classifier of texts beside images, and its rounds."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import saved
from datasets import concatenate_datasets
from PIL import Image
from tiny_images import SIZE, WIDE, rows, saved_rows
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

import hf_synth.students  # noqa: F401 (registers the model)
from hf_synth.commands.main import guarded
from hf_synth.folder import replace_folder
from hf_synth.images.fuse import CAMEL, fused_card
from hf_synth.marks import held_back
from hf_synth.students.two_tower import TwoTowerForSequenceClassification
from hf_synth.trainers.annealing import AnnealingTrainer

pytestmark = pytest.mark.usefixtures("one_thread")
GOLDEN = Path(__file__).parent / "golden" / "fused.md"
REPORT = {
    "metrics": {
        "rows": 40,
        "accuracy": 0.9,
        "accuracy_interval": [0.769, 0.96],
        "macro_f1": 0.85,
        "recall": {"effusion": 0.9, "a|b": None},
    },
    "labels": ["effusion", "a|b"],
    "pairs": {"generated": 64, "real": 32, "left_out": 3},
    "rounds": [
        {"rows": "synthetic", "balanced": False, "trainable": "everything", "parameters": 900},
        {"rows": "real", "balanced": True, "trainable": ["^classifier"], "parameters": 90},
    ],
    "settings": {"reference": "org/real", "reference_split": "test", "seed": 0},
    "models": {
        "text_model": {"name": "org/text", "sha256": "ab" * 32},
        "vision_model": {"name": "org/image", "sha256": "cd" * 32},
    },
    "versions": {"torch": "2", "hf_synth": "0"},
}
QUICK = ["--num_train_epochs", "3", "--learning_rate", "3e-3", "--train_batch_size", "16", "--fusion_size", "32"]


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    """Folders of a text and an image encoder."""
    text = saved(tmp_path_factory.mktemp("text"), BertModel, BertConfig, max_position_embeddings=64, **WIDE)
    image = tmp_path_factory.mktemp("image")
    torch.manual_seed(0)
    ViTModel(ViTConfig(image_size=SIZE, patch_size=8, **WIDE)).save_pretrained(image)
    ViTImageProcessor(size={"height": SIZE, "width": SIZE}).save_pretrained(image)
    return str(text), str(image)


def picture(bright, rng):
    stream = io.BytesIO()
    noise = rng.integers(0, 120, (SIZE, SIZE, 3)) + (130 if bright else 0)
    Image.fromarray(noise.astype(np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


def pairs(count, seed):
    """Pairs whose images alone tell the label: texts are the same for both."""
    rng = np.random.default_rng(seed)
    labels = [at % 2 for at in range(count)]
    return rows(["a film"] * count, [picture(label, rng) for label in labels], labels)


def fuse(towers, out, *more):
    text, image = towers
    words = ["--text_model", text, "--vision_model", image, "--output_dir", out, *QUICK, *more]
    return guarded("fuse", [*map(str, words)])


def test_it_reads_both_sides_and_padding_is_not_seen(towers):
    torch.manual_seed(0)
    model = TwoTowerForSequenceClassification.of_towers(*towers, fusion_size=32, num_labels=2)
    ids, pixels = torch.tensor([[5, 9, 12]]), torch.randn(2, 3, SIZE, SIZE)
    with torch.inference_mode():
        one = model(ids, pixels[:1]).logits
        padded = model(
            torch.tensor([[5, 9, 12, 0, 0]]), pixels[:1], attention_mask=torch.tensor([[1, 1, 1, 0, 0]])
        ).logits
        other_image, other_text = model(ids, pixels[1:]).logits, model(ids + 1, pixels[:1]).logits
    assert torch.allclose(one, padded, atol=1e-5)
    assert not torch.allclose(one, other_image, atol=1e-4)
    assert not torch.allclose(one, other_text, atol=1e-4)
    words = BertModel.from_pretrained(towers[0]).embeddings.word_embeddings.weight
    assert torch.equal(model.text_model.embeddings.word_embeddings.weight, words)


def test_rounds_shrink_what_moves_and_go_from_generated_to_real_pairs(towers, tmp_path, monkeypatch):
    seen, step = [], AnnealingTrainer.training_step

    def watched(self, model, *given):
        seen.append({name.partition(".")[0] for name, p in model.named_parameters() if p.requires_grad})
        return step(self, model, *given)

    monkeypatch.setattr(AnnealingTrainer, "training_step", watched)
    made, real = saved_rows(tmp_path / "made", pairs(32, 0)), saved_rows(tmp_path / "real", pairs(16, 1))
    assert fuse(towers, tmp_path / "out", "--dataset", made, "--real", real, "--num_train_epochs", "1") == 0
    everything = {"text_model", "image_model", "text_projection", "image_projection", "fusion", "classifier"}
    some = {"fusion", "classifier"}
    assert seen == [everything] * 3 + [some] * 3 + [{"classifier"}]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [one["rows"] for one in report["rounds"]] == ["synthetic", "real", "synthetic", "real", "real"]
    sizes = [one["parameters"] for one in report["rounds"]]
    assert sizes[0] == sizes[1] > sizes[2] == sizes[3] > sizes[4] == 2 * 4 * 32 + 2
    assert report["pairs"] == {"generated": 32, "real": 16, "left_out": 0}
    assert len(CAMEL.rounds) == 5


def test_a_killed_training_goes_on_and_a_finished_one_is_not_done_again(towers, tmp_path, monkeypatch):
    made, real = saved_rows(tmp_path / "made", pairs(32, 0)), saved_rows(tmp_path / "real", pairs(16, 1))
    asked = ["--dataset", made, "--real", real, "--reference", real, "--reference_split", "train"]
    asked += ["--num_train_epochs", "1"]
    assert fuse(towers, tmp_path / "whole", *asked) == 0
    seen, step = [], AnnealingTrainer.training_step

    def killed(self, *given):
        seen.append(self.state.global_step)
        if len(seen) == 6:  # in the fourth visit
            raise KeyboardInterrupt
        return step(self, *given)

    monkeypatch.setattr(AnnealingTrainer, "training_step", killed)
    assert fuse(towers, tmp_path / "out", *asked) == 130
    assert not (tmp_path / "out/model").exists()
    assert fuse(towers, tmp_path / "out", *asked) == 0
    assert seen == [0, 1, 2, 3, 4, 5, 5, 6]  # visits of two, one, two, one and one step
    assert fuse(towers, tmp_path / "out", *asked) == 0
    assert len(seen) == 8
    told = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("whole", "out")]
    assert told[0] == told[1]
    weights = [(tmp_path / name / "model/model.safetensors").read_bytes() for name in ("whole", "out")]
    assert weights[0] == weights[1]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", "model", "report.json"]
    shutil.rmtree(tmp_path / "out/model")
    assert fuse(towers, tmp_path / "out", *asked) == 0
    assert len(seen) == 15  # a report alone is no model
    (tmp_path / "out/report.json").write_text("{}")  # as a release without keys might leave it
    assert fuse(towers, tmp_path / "out", *asked) == 0


def test_it_learns_what_only_images_tell_and_loads_again(towers, tmp_path):
    made, real = saved_rows(tmp_path / "made", pairs(64, 0)), saved_rows(tmp_path / "real", pairs(32, 1))
    test = saved_rows(tmp_path / "test", pairs(40, 2))
    more = ["--dataset", made, "--real", real, "--reference", test, "--reference_split", "train"]
    assert fuse(towers, tmp_path / "out", *more) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["metrics"]["accuracy"] > 0.9
    assert report["metrics"]["rows"] == 40
    card = (tmp_path / "out" / "model" / "README.md").read_text()
    assert f"| accuracy | {report['metrics']['accuracy']:.4g} |" in card
    assert "Trained on 64 pairs of which a model made the image or the text, and 32 real ones." in card
    assert str(tmp_path) not in card + json.dumps(report)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / "model")
    assert model.config.id2label == {0: "neg", 1: "pos"}
    assert (tmp_path / "out" / "model" / "preprocessor_config.json").is_file()


def test_what_illustrate_wrote_is_told_apart_by_its_own_columns(towers, tmp_path):
    data = pairs(16, 0).add_column("image_from", ["generated"] * 8 + ["given"] * 8)
    data = data.add_column("text_from", ["given"] * 12 + ["captioner"] * 4)
    bare = rows(["a film", None], [None, None], [0, 1]).add_column("image_from", [None, None])
    data = concatenate_datasets([data, bare.add_column("text_from", ["given", None]).cast(data.features)])
    assert fuse(towers, tmp_path / "out", "--dataset", saved_rows(tmp_path / "d", data)) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["pairs"] == {"generated": 12, "real": 4, "left_out": 2}


def test_card_matches_its_golden_file():
    assert fused_card(REPORT) == GOLDEN.read_text(encoding="utf-8")


def test_bad_pairs_are_refused(towers, tmp_path, capsys):
    made = saved_rows(tmp_path / "made", pairs(8, 0))
    assert fuse(towers, tmp_path / "out", "--dataset", made) == 2
    assert "all 8 are generated: give `real`, or `anneal: false`" in capsys.readouterr().err
    bare = saved_rows(tmp_path / "bare", rows(["a film"] * 4, labels=[0, 1, 0, 1]))
    assert fuse(towers, tmp_path / "out", "--dataset", bare) == 2
    assert "has a text, an image and a label" in capsys.readouterr().err
    assert fuse(towers, tmp_path / "out", "--dataset", made, "--fusion_heads", "5") == 2
    assert "`fusion_size` must be a multiple" in capsys.readouterr().err
    assert fuse(towers, tmp_path / "out", "--dataset", made, "--reference_split", "validation") == 2
    assert "`reference_split: validation` needs `reference`" in capsys.readouterr().err
    assert fuse(towers, tmp_path / "out", "--dataset", made, "--anneal", "false", "--num_train_epochs", "1") == 0
    assert "**It was judged on nothing" in (tmp_path / "out" / "model" / "README.md").read_text()


def test_a_model_of_pairs_that_must_stay_stays(towers, tmp_path, monkeypatch):
    made = saved_rows(tmp_path / "made", pairs(8, 0))
    (made / "hf_synth").mkdir()
    (made / "hf_synth/facts.json").write_text(json.dumps({"private": ["rows of 'wards'"]}))

    before = []
    swap = lambda fresh, target: (before.append(held_back(fresh)), replace_folder(fresh, target))  # noqa: E731
    monkeypatch.setattr("hf_synth.images.fuse.replace_folder", swap)
    quick = ["--anneal", "false", "--num_train_epochs", "1"]
    assert fuse(towers, tmp_path / "out", "--dataset", made, *quick) == 0
    assert held_back(tmp_path / "out/model") == "what a model has learnt from rows made with rows of 'wards'"
    assert before == [held_back(tmp_path / "out/model")]  # no kill leaves a model without its mark
    assert not (tmp_path / "out/model/training.json").exists()  # which `evaluate` and `export` would take for theirs
    real = saved_rows(tmp_path / "scans", pairs(8, 1))
    assert fuse(towers, tmp_path / "own", "--dataset", real, *quick) == 0
    assert held_back(tmp_path / "own/model") == ""
    for more in (["--private"], []):  # neither trains again
        assert fuse(towers, tmp_path / "own", "--dataset", real, *quick, *more) == 0
        assert held_back(tmp_path / "own/model") == "what a model has learnt from rows of 'scans'"
    assert len(before) == 2


if __name__ == "__main__":
    GOLDEN.write_text(fused_card(REPORT), encoding="utf-8")
