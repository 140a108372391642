"""`hf-synth inspect` of data sets with images: planted faults are found and named, clean images get no remark."""

import io
import json

import numpy as np
import pytest
import torch
from conftest import WORDS, word_tokenizer
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as Pictures
from tiny_images import SIZE, WIDE
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

from hf_synth.commands.main import main
from hf_synth.images.gallery import look_at, near
from hf_synth.images.inspect import beside_texts
from hf_synth.images.store import is_image, opened


def picture(seed, *, quality=None, warm=0, size=32):
    """A smooth picture as a PNG file; with `quality` a JPEG of it, which has other pixels."""
    rng = np.random.default_rng(seed)
    small = Pictures.fromarray(rng.integers(0, 200, (5, 5, 3), np.uint8))
    image = np.asarray(small.resize((size, size), Pictures.Resampling.BICUBIC), int)
    image = Pictures.fromarray((image + np.array([warm, 0, 0])).clip(0, 255).astype(np.uint8))
    stream = io.BytesIO()
    image.save(stream, format="JPEG" if quality else "PNG", **({"quality": quality} if quality else {}))
    return stream.getvalue()


def saved(folder, texts=None, **splits):
    """A data set's folder of images with labels and, if asked, texts."""
    kinds = {"image": Image(), "label": ClassLabel(names=["cat", "dog"])}
    kinds |= {"text": Value("string")} if texts else {}
    (folder / "data").mkdir(parents=True)
    for split, files in splits.items():
        rows = {"image": [file and {"bytes": file, "path": None} for file in files]}
        rows["label"] = [at % 2 for at in range(len(files))]
        if texts:
            rows["text"] = texts[split]
        Dataset.from_dict(rows, Features(kinds)).to_parquet(folder / f"data/{split}-0.parquet")
    return str(folder)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    splits = {"train": [picture(at) for at in range(80)], "test": [picture(1_000 + at) for at in range(60)]}
    return saved(tmp_path_factory.mktemp("real"), **splits)


def own_files():
    return [picture(5_000 + at) for at in range(80)]


def judged(own, real, out, *more):
    beside = ["--reference", real] if real else []
    assert main(["inspect", own, *beside, "--encoder", "none", "--output_dir", str(out), *more]) == 0
    report = json.loads((out / "inspect.json").read_text())
    return {found["check"]: found for found in report["verdicts"]}, report


def remarks(verdicts):
    return {check for check, found in verdicts.items() if found["verdict"] in ("look", "bad")}


def test_clean_images_get_no_remark_and_a_page(real, tmp_path):
    verdicts, report = judged(saved(tmp_path / "own", train=own_files()), real, tmp_path / "out")
    assert remarks(verdicts) == set()
    judgements = {check for check, found in verdicts.items() if found["verdict"] == "good"}
    assert {"images", "test images", "image duplicates", "labels by colour", "images told apart"} <= judgements
    assert report["dataset"]["image_column"] == "image"
    assert "test images" in (tmp_path / "out/report.html").read_text()


def test_images_of_the_test_split_are_named_even_in_another_file(real, tmp_path):
    files = own_files()
    files[3], files[8] = picture(1_004), picture(1_009, quality=90)  # the second was compressed anew
    found = judged(saved(tmp_path / "own", train=files), real, tmp_path / "out")[0]["test images"]
    assert (found["verdict"], found["value"]) == ("bad", 1)
    assert [(row["row"], row["reference_row"]) for row in found["rows"]] == [(3, 4), (8, 9)]


@pytest.mark.parametrize(
    ("whole", "wanted", "said"),
    [(False, "look", "images of the train split"), (True, "bad", "images of the reference")],
)
def test_copies_of_a_reference_that_is_one_split(whole, wanted, said, tmp_path):
    files = own_files()
    beside = saved(tmp_path / "real", train=files[:30]) + ("/data/train-0.parquet" if whole else "")
    more = ("--max_rows", "20")
    found = judged(saved(tmp_path / "own", train=files), beside, tmp_path / "out", *more)[0]["test images"]
    assert found["verdict"] == wanted
    assert said in found["reason"]
    assert found["reason"].endswith("of which 20 of 30 were searched")


def broken(files):
    files[5], files[6] = files[5][:60], None
    white = io.BytesIO()
    Pictures.new("RGB", (32, 32), "white").save(white, format="PNG")
    return [*files[:7], white.getvalue(), *files[8:]]


def repeated(files):
    return [*files[:40], *(picture(5_000 + at, quality=85) for at in range(40))]


def two_labels(files):
    return [*files[:70], *(files[at] for at in range(1, 11))]  # odd places become even ones


def coloured(files):
    return [picture(5_000 + at, warm=60 * (at % 2)) for at in range(len(files))]


def bright(files):
    return [picture(5_000 + at, warm=150) for at in range(len(files))]


@pytest.mark.parametrize(
    ("check", "plant", "rows"),
    [
        ("images", broken, [5, 7]),
        ("image duplicates", repeated, [*range(40, 80)]),
        ("images, two labels", two_labels, None),
        ("labels by colour", coloured, None),
        ("images told apart", bright, None),
    ],
)
def test_a_planted_fault_is_found(check, plant, rows, real, tmp_path):
    verdicts, report = judged(saved(tmp_path / "own", train=plant(own_files())), real, tmp_path / "out")
    assert check in remarks(verdicts)
    if rows:
        assert sorted(row["row"] for row in verdicts[check]["rows"]) == rows
    if check == "images":
        told = report["measures"]["images"]
        assert (told["missing"], told["broken"], told["one_colour"]) == (1, 1, 1)


def test_digits_and_blank_images_are_no_copies_of_each_other(tmp_path):
    from sklearn.datasets import load_digits

    digits, blank = load_digits(), io.BytesIO()
    Pictures.new("RGB", (8, 8), "white").save(blank, format="PNG")
    kinds = Features({"image": Image(), "label": Value("int64")})  # numbers without names
    places = np.random.default_rng(0).permutation(len(digits.images))
    for name, some in (("own", places[:400]), ("test", places[400:500])):
        files = [blank.getvalue()] * 2
        for at in some:
            stream = io.BytesIO()
            Pictures.fromarray((digits.images[at] * 15.9).astype(np.uint8)).save(stream, format="PNG")
            files.append(stream.getvalue())
        labels = [0, 1, *(int(digits.target[at]) for at in some)]
        rows = {"image": [{"bytes": file, "path": None} for file in files], "label": labels}
        (tmp_path / name / "data").mkdir(parents=True)
        split = "test" if name == "test" else "train"
        Dataset.from_dict(rows, kinds).to_parquet(tmp_path / name / f"data/{split}-0.parquet")
    verdicts, report = judged(str(tmp_path / "own"), str(tmp_path / "test"), tmp_path / "out")
    assert report["measures"]["images"]["one_colour"] == 2
    assert remarks(verdicts) <= {"images", "test images"}
    assert verdicts["test images"]["verdict"] != "bad"
    assert verdicts["images, two labels"]["verdict"] == "good"
    assert "labels by colour" in verdicts
    alone, _ = judged(str(tmp_path / "own"), None, tmp_path / "out2")
    assert alone["image duplicates"]["verdict"] == "good"


def test_texts_are_judged_beside_their_images(real, tmp_path):
    torch.manual_seed(0)
    sizes = {"image_size": SIZE, "patch_size": 8, **WIDE}
    words = {"vocab_size": len(word_tokenizer()), "max_position_embeddings": 16, "eos_token_id": 1, **WIDE}
    CLIPModel(CLIPConfig(text_config=words, vision_config=sizes, projection_dim=16)).save_pretrained(tmp_path / "clip")
    shown = CLIPImageProcessor(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})
    tokenizer = word_tokenizer()
    tokenizer.model_max_length = 16
    CLIPProcessor(shown, tokenizer).save_pretrained(tmp_path / "clip")
    rng = np.random.default_rng(0)
    texts = {"train": [" ".join(rng.choice(WORDS, 5)) for _ in range(80)]}
    own = saved(tmp_path / "own", texts, train=own_files())
    verdicts, report = judged(own, None, tmp_path / "out", "--clip", str(tmp_path / "clip"))
    assert {"exact duplicates", "images", "image and text"} <= set(verdicts)  # of texts, of images, of both
    assert verdicts["image and text"]["verdict"] == "look"  # weights that know nothing of either
    assert 0.3 < verdicts["image and text"]["value"] < 0.7
    assert report["measures"]["image and text"]["rows"] == 80
    assert report["instruments"]["clip"]["sha256"]
    skipped, _ = judged(own, None, tmp_path / "out2")
    assert "`clip`" in skipped["image and text"]["reason"]


def test_a_reference_without_images_is_one_sentence(tmp_path, capsys):
    own, other = saved(tmp_path / "own", train=own_files()[:20]), tmp_path / "other"
    (other / "data").mkdir(parents=True)
    Dataset.from_dict({"text": ["a b"], "label": [0]}).to_parquet(other / "data/test-0.parquet")
    assert main(["inspect", own, "--reference", str(other)]) == 2
    assert "has no column of images; it has text, label" in " ".join(capsys.readouterr().err.split())


def test_hashes_differ_in_as_many_bits_as_counted():
    rows = Dataset.from_dict(
        {"image": [{"bytes": picture(at), "path": None} for at in range(12)]}, Features({"image": Image()})
    )
    own = look_at(rows.cast_column("image", Image(decode=False)), "image", None, 100, 0)
    for bits in (0, 12, 30):
        found = [{*places.tolist()} for places in near(own.hashes, own.hashes, bits)]
        slow = [{at for at, b in enumerate(own.hashes) if bin(int(a) ^ int(b)).count("1") <= bits} for a in own.hashes]
        assert found == slow


def test_a_report_on_texts_and_images_names_the_encoder_of_the_texts():
    texts = {"verdicts": [], "measures": {}, "instruments": {"encoder": {"name": "minilm"}}}
    images = {"verdicts": [], "measures": {}, "instruments": {"encoder": None, "clip": {"name": "clip"}}}
    told = beside_texts(texts, images)["instruments"]
    assert told == {"encoder": {"name": "minilm"}, "clip": {"name": "clip"}}


def test_a_reference_repeats_images_as_often_as_at_as_many(tmp_path):
    real = saved(tmp_path / "real", train=[picture(at % 10) for at in range(80)])
    own = saved(tmp_path / "own", train=[picture(5_000 + at // 2) for at in range(8)])
    report = judged(own, real, tmp_path / "out")[1]
    assert report["measures"]["image duplicates"]["reference"] < 0.6  # of all 80 images 0.875


def test_images_of_sixteen_bits_are_not_all_white():
    grey, stream = np.arange(1024, dtype=np.uint16).reshape(32, 32) * 64, io.BytesIO()
    Pictures.fromarray(grey).save(stream, format="PNG")
    assert (np.asarray(opened(stream.getvalue()))[:, :, 0] == grey // 256).all()


def test_a_damaged_image_of_any_kind_is_none():
    stream = io.BytesIO()
    Pictures.new("RGB", (8, 8), "red").save(stream, format="DDS")
    damaged = bytearray(stream.getvalue())
    damaged[80:84] = b"\0\0\0\x01"  # the flags of its pixels
    with pytest.raises(NotImplementedError):
        Pictures.open(io.BytesIO(damaged))
    assert not is_image(bytes(damaged))
