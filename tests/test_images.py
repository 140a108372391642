"""Images beside text: what is made, what is never changed, what is the same again, what is refused."""

import json

import numpy as np
import pytest
from datasets import load_dataset
from PIL import Image

pytest.importorskip("diffusers")

from tiny_images import png, rows, save_blip, save_captioner, save_pipeline, saved_rows

from hf_synth.commands.main import guarded
from hf_synth.images.captioner import Captioner, find_captioner
from hf_synth.images.painter import Painter, find_pipeline
from hf_synth.images.store import is_image, opened
from hf_synth.marks import held_back

pytestmark = [pytest.mark.extras, pytest.mark.usefixtures("one_thread")]
TEXTS = ["a good great film", "a dull awful movie", "the great plot", "the bad story", None, None]
QUICK = {"--image_model": ["--steps", "2"], "--captioner": ["--caption_tokens", "6"]}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return save_pipeline(tmp_path_factory.mktemp("pipeline") / "tiny-sd")


@pytest.fixture(scope="module")
def captioner(tmp_path_factory):
    return save_captioner(tmp_path_factory.mktemp("captioner") / "tiny-caption")


@pytest.fixture
def holes(tmp_path):
    """Two rows without an image, two whole, one without a text, one with neither."""
    images = [None, None, png(2), png(3), png(4), None]
    return saved_rows(tmp_path / "holes", rows(TEXTS, images, [1, 0, 1, 0, 1, 0]))


def illustrate(data, out, *more):
    quick = [word for model, words in QUICK.items() if model in more for word in words]
    return guarded("illustrate", [str(data), "--output_dir", str(out), *quick, *map(str, more)])


def loaded(out, split="train", config=None):
    return load_dataset(str(out / "dataset"), config, split=split)


def facts_of(out):
    return json.loads((out / "dataset" / "hf_synth" / "facts.json").read_text())


def pixels(rows):
    return [None if image is None else np.asarray(image).tolist() for image in rows["image"]]


def test_a_text_column_gets_images_that_load(pipeline, tmp_path):
    data = saved_rows(tmp_path / "texts", rows(TEXTS[:3], labels=[1, 0, 1]))
    assert illustrate(data, tmp_path / "out", "--image_model", pipeline, "--private") == 0
    found = loaded(tmp_path / "out")
    assert held_back(tmp_path / "out/dataset") == "rows made with rows of 'texts'"
    assert "| made under `private` | rows of 'texts'" in (tmp_path / "out/dataset/README.md").read_text()
    assert found["text"] == TEXTS[:3]
    assert found.features["label"].names == ["neg", "pos"]
    assert all(isinstance(image, Image.Image) and image.size == (16, 16) for image in found["image"])
    assert len({np.asarray(image).tobytes() for image in found["image"]}) == 3
    assert set(found["image_from"]) == {"generated"}
    assert set(found["image_model"]) == {"tiny-sd"}


def test_holes_are_filled_from_the_other_column_and_nothing_else_is_touched(holes, pipeline, captioner, tmp_path):
    assert illustrate(holes, tmp_path / "out", "--image_model", pipeline, "--captioner", captioner) == 0
    before, found = load_dataset(str(holes), split="train"), loaded(tmp_path / "out")
    assert found["image_from"][:] == ["generated", "generated", "given", "given", "given", None]
    assert found["text_from"][:] == ["given"] * 4 + ["captioner", None]
    assert found["text"][:4] == TEXTS[:4]
    assert found["text"][4]
    assert found["label"][:] == before["label"][:]
    assert pixels(found)[2:] == pixels(before)[2:]
    assert found[5]["image"] is None
    counts = facts_of(tmp_path / "out")["counts"]
    assert (counts["without_image"], counts["without_text"], counts["asked"], counts["kept"]) == (1, 1, 2, 2)


def test_a_captioner_alone_captions_and_makes_no_image(holes, captioner, tmp_path):
    assert illustrate(holes, tmp_path / "out", "--captioner", captioner) == 0
    found = loaded(tmp_path / "out")
    assert [image is None for image in found["image"]] == [True, True, False, False, False, True]
    assert found["text"][4]
    assert "generated from texts" not in (tmp_path / "out" / "dataset" / "README.md").read_text()


def test_chains_go_from_text_to_image_to_caption(holes, pipeline, captioner, tmp_path):
    more = ["--image_model", pipeline, "--captioner", captioner, "--hops", 2, "--draws", 2]
    assert illustrate(holes, tmp_path / "out", *more) == 0
    found = loaded(tmp_path / "out").to_pandas()
    made = found[found.image_from == "generated"]
    assert sorted(made.groupby("source_row").size().to_dict().items()) == [(row, 4) for row in range(5)]
    for _, link in made[made.hop == 2].iterrows():
        before = made[(made.source_row == link.source_row) & (made.draw == link.draw) & (made.hop == 1)].iloc[0]
        assert link.text == before.caption
        assert link.text_from == "captioner"
        assert link.label == before.label
    # Row 5 has neither text nor image, so no chain starts there.
    assert facts_of(tmp_path / "out")["counts"]["rows_left_out"] == 1
    assert len({image["bytes"] for image in made.image}) == len(made)


def test_a_row_draws_from_its_own_stream_whatever_the_batch(pipeline, captioner):
    painter = Painter(find_pipeline(str(pipeline)), "auto", num_inference_steps=2)
    texts, seeds = ["a good film", "a bad film", "a good film"], [3, 5, 7]
    together = painter.paint(texts, seeds)
    alone = [painter.paint([t], [s])[0] for t, s in zip(texts, seeds, strict=True)]
    ones, others = (np.stack([opened(image) for image in part]).astype(int) for part in (together, alone))
    assert abs(ones - others).max() <= 1  # of 255 levels: the sums of a larger batch round in another order
    assert abs(ones[0] - others[2]).max() > 9
    writer = Captioner(find_captioner(str(captioner), "", 8), "", 0.9, 8)
    captions = writer.write(together, seeds)
    assert captions == [writer.write([image], [seed])[0] for image, seed in zip(together, seeds, strict=True)]
    assert len({*writer.write([together[0]] * 4, [1, 2, 3, 4])}) > 1


def test_blip_captions_and_takes_a_prompt(tmp_path):
    folder = str(save_blip(tmp_path / "blip"))
    writer = Captioner(find_captioner(folder, "a film", 8), "a film", 0.9, 8)
    captions = writer.write([png(1), png(2)], [1, 2])
    assert captions == [writer.write([png(1)], [1])[0], writer.write([png(2)], [2])[0]]
    assert not any(text.startswith("a film") for text in captions)


def test_killed_in_the_middle_it_goes_on_and_the_rows_are_the_same(pipeline, tmp_path, monkeypatch):
    data = saved_rows(tmp_path / "texts", rows([f"a film {at}" for at in range(7)]))
    more = ["--image_model", pipeline, "--image_batch_size", 2]
    assert illustrate(data, tmp_path / "whole", *more) == 0
    painted, paint = [], Painter.paint

    def dies(self, texts, seeds):
        if len(painted) == 2:
            raise KeyboardInterrupt
        painted.append(texts)
        return paint(self, texts, seeds)

    with monkeypatch.context() as patch:
        patch.setattr(Painter, "paint", dies)
        assert illustrate(data, tmp_path / "cut", *more) == 130
    kept = sorted((tmp_path / "cut" / "journal" / "images").rglob("*.png"))
    assert len(kept) == 4
    kept[0].write_bytes(kept[0].read_bytes()[:-20])  # a failing disk left it torn
    times = {file: file.stat().st_mtime_ns for file in kept[1:]}
    assert illustrate(data, tmp_path / "cut", *more) == 0
    assert {file: file.stat().st_mtime_ns for file in times} == times
    same = [next((tmp_path / name / "dataset" / "data").glob("train-*.parquet")) for name in ("whole", "cut")]
    assert same[0].name == same[1].name
    assert same[0].read_bytes() == same[1].read_bytes()
    monkeypatch.setattr(Painter, "_loaded", lambda self: pytest.fail("everything is there"))
    assert illustrate(data, tmp_path / "cut", *more) == 0


def test_equal_texts_get_different_images(pipeline, tmp_path):
    data = saved_rows(tmp_path / "texts", rows(["a good film"] * 3))
    assert illustrate(data, tmp_path / "out", "--image_model", pipeline) == 0
    assert len({np.asarray(image).tobytes() for image in loaded(tmp_path / "out")["image"]}) == 3


def test_the_card_shows_generated_images_and_tells_of_lost_ends(holes, pipeline, tmp_path, caplog):
    from diffusers.utils import logging

    logging.enable_propagation()
    texts = ["good " * 40, "a film of joe@example.org\r\n\r\n# by him"]
    long = saved_rows(tmp_path / "long", rows(texts, [None, None], [1, 0]))
    assert illustrate(long, tmp_path / "out", "--image_model", pipeline) == 0
    folder, card = tmp_path / "out" / "dataset", (tmp_path / "out" / "dataset" / "README.md").read_text()
    for file in ("hf_synth/thumbnails/0.jpg", "hf_synth/thumbnails/1.jpg"):
        assert f"]({file})" in card
        assert is_image((folder / file).read_bytes())
    assert ("good " * 40)[:100] + "…" in card
    assert ("joe@" in card, "# by him |" in card, "\n# by him" in card) == (False, True, False)
    assert loaded(tmp_path / "out")["text"] == texts  # of which the card shows masked beginnings
    assert "org" not in caplog.text  # of the texts that are cut, which diffusers would log
    assert "**2 of 2 texts are longer than it reads" in card
    assert "2 of the images here were generated" in card
    assert "captioner" not in card.split("## Settings")[0].split("Columns beside")[0]


def test_images_that_the_safety_checker_refuses_are_dropped_and_counted(holes, pipeline, tmp_path, monkeypatch):
    paint = Painter.paint
    monkeypatch.setattr(Painter, "paint", lambda *given: [b"", *paint(*given)[1:]])
    assert illustrate(holes, tmp_path / "out", "--image_model", pipeline) == 0
    found, rejects = loaded(tmp_path / "out"), loaded(tmp_path / "out", config="rejects")
    assert found["image_from"][:2] == [None, "generated"]
    assert rejects["text"][:] == [TEXTS[0]]
    assert "safety checker" in rejects["reason"][0]
    counts = facts_of(tmp_path / "out")["counts"]
    assert counts["asked"] == counts["kept"] + sum(counts["dropped"].values()) == 2


def test_the_command_selects_by_teachers_and_keeps_account(pipeline, captioner, tmp_path, monkeypatch):
    told = [("a good great fine film", 1), ("a bad awful dull film", 0)] * 6
    data = saved_rows(tmp_path / "texts", rows([text for text, _ in told], labels=[label for _, label in told]))
    more = ["--image_model", pipeline, "--captioner", captioner, "--hops", 2, "--label_column", "label"]
    teacher = ["--teacher", "bilstm", "--teacher_args", "{num_train_epochs: 1, max_length: 16}", "--folds", 2]
    assert illustrate(data, tmp_path / "out", *more, "--select", 1, *teacher) == 0
    found, facts = loaded(tmp_path / "out"), facts_of(tmp_path / "out")
    assert min(found["score"]) >= 0
    assert sum(one["kept"] for one in facts["hops"]) == len(found) == facts["counts"]["kept"]
    rejects = loaded(tmp_path / "out", config="rejects")
    assert len(rejects) + len(found) == facts["counts"]["asked"] == 24
    assert "What the captions tell of the labels" in (tmp_path / "out" / "dataset" / "README.md").read_text()
    # Another selection makes no image anew.
    monkeypatch.setattr(Painter, "_loaded", lambda self: pytest.fail("the images are there"))
    assert illustrate(data, tmp_path / "out", *more, "--select", 0.5, *teacher) == 0
    assert len(loaded(tmp_path / "out")) < len(found)


# Bad input


def refused(capsys, words, *more):
    assert guarded("illustrate", [*map(str, words), *map(str, more)]) == 2
    return capsys.readouterr().err


def test_what_is_no_text_to_image_pipeline_is_refused(holes, pipeline, captioner, tmp_path, capsys):
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "norm_num_groups": 8}
    unet = UNet2DModel(sample_size=8, block_out_channels=(8,), layers_per_block=1, **blocks)
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path / "ddpm")
    out = ["--output_dir", tmp_path / "out"]
    assert "is a DDPMPipeline, which makes no images of texts" in refused(
        capsys, [holes, "--image_model", tmp_path / "ddpm", *out]
    )
    assert "is no pipeline of diffusers" in refused(capsys, [holes, "--image_model", captioner, *out])
    assert "no image model 'no/such'" in refused(capsys, [holes, "--image_model", "no/such", *out])
    assert not (tmp_path / "out").exists()
    assert "is a folder without a config.json" in refused(capsys, [holes, "--captioner", pipeline, *out])


def test_a_bad_data_set_is_refused_by_name(holes, pipeline, captioner, tmp_path, capsys):
    out = ["--output_dir", tmp_path / "out", "--image_model", pipeline]
    torn = saved_rows(tmp_path / "torn", rows(["a", "b", "c"], [None, png(1)[:60], None]))
    assert "the image in row 1, column 'image', cannot be read" in refused(capsys, [torn, *out])
    assert "has no text column 'words' and no image column 'photo'" in refused(
        capsys, [holes, *out, "--text_column", "words", "--image_column", "photo"]
    )
    assert "`image_column` 'label'" in refused(capsys, [holes, *out, "--image_column", "label"])
    assert "'no'" in refused(capsys, [holes, *out, "--split", "no"])
    (tmp_path / "rows.parqet").touch()
    assert "got '.parqet'. Did you mean '.parquet'?" in refused(capsys, [tmp_path / "rows.parqet", *out])
    whole = saved_rows(tmp_path / "full", rows(["a", "b"], [png(1), png(2)]))
    assert "nothing to make" in refused(capsys, [whole, *out])
    images = saved_rows(tmp_path / "images", rows([None, None], [png(1), png(2)]))
    assert "nothing to make" in refused(capsys, [images, *out])
    assert not (tmp_path / "out").exists()


def test_settings_that_cannot_work_are_refused_at_once(holes, pipeline, captioner, tmp_path, capsys):
    out = ["--output_dir", tmp_path / "out"]
    assert "give an `image_model`" in refused(capsys, [holes, *out])
    assert "needs both" in refused(capsys, [holes, *out, "--image_model", pipeline, "--hops", 2])
    both = [*out, "--image_model", pipeline, "--captioner", captioner]
    assert "give `label_column`" in refused(capsys, [holes, *both, "--select", 0.5])
    assert "must hold {text}" in refused(capsys, [holes, *both, "--image_prompt", "a film"])
    assert "`caption_prompt` needs a captioner of type 'blip'" in refused(
        capsys, [holes, *both, "--caption_prompt", "a picture of", "--caption_tokens", 6]
    )
    assert "row 0 has none" in refused(
        capsys,
        [saved_rows(tmp_path / "bare", rows(TEXTS[:2], labels=[-1, 1])), *both],
        *["--select", 0.5, "--label_column", "label"],
    )
    assert "`caption_tokens` must be at most 31" in refused(capsys, [holes, *both])
    assert "refuses its settings" in refused(capsys, [holes, *both, "--size", 9, "--caption_tokens", 6])


@pytest.mark.parametrize(
    ("model", "more", "message"),
    [
        ("--image_model", ["--policy", "threshold"], "`policy: threshold` needs `select`"),
        ("--image_model", ["--folds", "3"], "`folds: 3` needs `select`"),
        ("--image_model", ["--top_p", "0.5"], "`top_p: 0.5` needs `captioner`"),
        ("--captioner", ["--guidance", "3"], "`guidance: 3.0` needs `image_model`"),
        ("--captioner", ["--image_prompt", "a film, {text}"], "`image_prompt: a film, {text}` needs `image_model`"),
    ],
)
def test_a_setting_that_nothing_would_read_is_refused(model, more, message, capsys):
    assert f"command line: {message}\n" in refused(capsys, ["data", model, "no/such", *more])


def test_a_folder_of_other_settings_is_refused(holes, pipeline, tmp_path, capsys):
    assert illustrate(holes, tmp_path / "out", "--image_model", pipeline) == 0
    assert illustrate(holes, tmp_path / "out", "--image_model", pipeline, "--seed", 1) == 2
    assert "`seed` is 0 there and 1 here" in capsys.readouterr().err


def test_without_diffusers_one_sentence_names_the_pip_command(holes, pipeline, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("hf_synth.images.painter.find_spec", lambda name: None)
    told = refused(capsys, [holes, "--image_model", pipeline, "--output_dir", tmp_path / "out"])
    assert (
        told.splitlines()[-1] == "hf-synth: making images needs the package diffusers: pip install 'hf_synth[images]'"
    )
