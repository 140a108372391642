"""Which images of the chains are kept, by what their captions tell of the label; the card against a golden file."""

import copy
import io
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import DatasetCard
from jinja2 import UndefinedError
from PIL import Image, ImageDraw
from tiny_images import rows, saved_rows

from hf_synth.errors import InputError
from hf_synth.images.chain import REFUSED, SILENT, Link
from hf_synth.images.folder import image_card
from hf_synth.images.judge import BEHIND, NEGATIVE, REPEATED, difference_hash, judge, reasons, select
from hf_synth.images.settings import IllustrateConfig, Where
from hf_synth.images.source import read_original
from hf_synth.images.store import Store, keyed, opened
from hf_synth.journal import Journal
from hf_synth.settings import StudentConfig

GOLDEN = Path(__file__).parent / "golden" / "images.md"
GOOD, BAD = "good great fine", "bad awful dull"
STUDENT = StudentConfig(student="bilstm", num_train_epochs=6, learning_rate=2e-2, max_length=16)


def picture(seed, spot=None):
    """A smooth image; with a spot of a few pixels, nearly the same one."""
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8))
    image = coarse.resize((64, 64), Image.Resampling.BICUBIC)
    if spot:
        ImageDraw.Draw(image).point((spot, spot), fill=(0, 0, 0))
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def settings(data, **more):
    told = {"label_column": "label", "select": 0.5, "folds": 2, "teacher": "bilstm", "hops": 2, "draws": 2}
    return IllustrateConfig(str(data), image_model="m", captioner="c", **{**told, **more})


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Forty reviews whose words tell their label."""
    rng = np.random.default_rng(0)
    told = [(GOOD, 1), (BAD, 0)] * 20
    texts = [" ".join([*rng.permutation(words.split()), "film", f"n{at}"]) for at, (words, _) in enumerate(told)]
    data = saved_rows(tmp_path_factory.mktemp("reviews") / "r", rows(texts, labels=[label for _, label in told]))
    return read_original(Where(str(data), label_column="label"), ())


def links_of(store, wanted):
    """Links of (row, hop, draw, caption, image)."""
    found = []
    for at, (row, hop, draw, caption, image) in enumerate(wanted):
        found.append(Link(row, draw, hop, "text", "given", f"{at:064x}", caption))
        store.keep_image(found[-1].key, image)
    return found


def test_a_caption_scores_by_what_it_tells_of_the_label(original, tmp_path):
    store, config = Store(tmp_path), settings("unused", select=1.0)
    wanted = [(0, 1, 1, GOOD, picture(1)), (0, 2, 1, BAD, picture(3)), (1, 1, 1, BAD, picture(4))]
    wanted += [(1, 1, 2, GOOD, picture(5)), (2, 1, 1, None, picture(6)), (2, 1, 2, None, b"")]
    links = links_of(store, wanted)
    links[5].dropped = REFUSED
    told = judge(original, links, config, STUDENT, Journal(None))
    hops = select(original, links, store, config)
    assert told["accuracy"] > 0.9
    assert [link.dropped for link in links] == [None, NEGATIVE, None, NEGATIVE, SILENT, REFUSED]
    # log q(y|x) - log p(y), of two labels that are equally common, is at most log 2.
    assert 0.3 < links[0].score <= np.log(2) + 1e-9
    assert links[1].score < 0
    assert [one["images"] for one in hops] == [3, 1]
    assert hops[0]["score"] == pytest.approx(np.mean([links[at].score for at in (0, 2, 3)]), abs=1e-4)
    assert [one["kept"] for one in hops] == [2, 0]
    assert dict(reasons(links)) == {NEGATIVE: 2, REFUSED: 1, SILENT: 1}


def scored(store, wanted, scores):
    links = links_of(store, wanted)
    for link, score in zip(links, scores, strict=True):
        link.score = score
    return links


def test_the_best_share_of_each_row_stays_and_nothing_below_nothing(original, tmp_path):
    wanted = [(at // 4, 1, at % 4 + 1, "caption", picture(at)) for at in range(8)]
    scores = [0.1, 0.4, 0.3, 0.2, -0.1, 0.01, -2.0, -0.3]
    links = scored(Store(tmp_path), wanted, scores)
    select(original, links, Store(tmp_path), settings("unused"))
    assert [link.dropped for link in links] == [BEHIND, None, None, BEHIND, NEGATIVE, None, NEGATIVE, NEGATIVE]
    links = scored(Store(tmp_path), wanted, scores)
    select(original, links, Store(tmp_path), settings("unused", policy="threshold"))
    assert [not link.dropped for link in links] == [score > 0 for score in scores]


def test_the_share_is_of_all_that_were_made(original, tmp_path):
    """Of eight images of a row four tell less than nothing, one is a copy and one has no caption: a quarter is two."""
    wanted = [(0, 1, at + 1, "caption" if at < 7 else None, picture(at % 6)) for at in range(8)]
    scores = [0.3, 0.2, -0.1, -0.2, -0.3, -0.4, 0.1]
    links = scored(Store(tmp_path), wanted, [*scores, None])
    links[7].dropped = SILENT
    select(original, links, Store(tmp_path), settings("unused", select=0.25))
    assert [link.dropped for link in links] == [None, None, *[NEGATIVE] * 4, REPEATED, SILENT]


def test_a_near_duplicate_of_a_better_image_of_the_row_goes(original, tmp_path):
    wanted = [(0, 1, 1, "c", picture(1, spot=9)), (0, 1, 2, "c", picture(1)), (0, 2, 1, "c", picture(2))]
    wanted += [(2, 1, 1, "c", picture(1))]  # of another row: stays
    links = scored(Store(tmp_path), wanted, [0.1, 0.2, 0.05, 0.3])
    select(original, links, Store(tmp_path), settings("unused", select=1.0))
    assert [link.dropped for link in links] == [REPEATED, None, None, None]


def test_no_teacher_saw_the_row_that_it_judges(original, tmp_path, monkeypatch):
    from hf_synth.images import judge as module

    fit, seen = module.fit, []

    def spy(task, data, *rest):
        seen.append(set(data["text"]))
        return fit(task, data, *rest)

    monkeypatch.setattr(module, "fit", spy)
    judged, log_probabilities = [], module.log_probabilities

    def told(teacher, task, data, student):
        judged.append(data["text"][:])
        return log_probabilities(teacher, task, data, student)

    monkeypatch.setattr(module, "log_probabilities", told)
    quick = StudentConfig(student="bilstm", num_train_epochs=1, max_length=16)
    links = links_of(Store(tmp_path), [(row, 1, 1, f"caption {row}", picture(row)) for row in range(40)])
    judge(original, links, settings("unused"), quick, Journal(None))
    for train, texts in zip(seen, judged, strict=True):
        rows_judged = [int(text.removeprefix("caption ")) for text in texts if text.startswith("caption")]
        assert len(rows_judged) == 20
        assert not train & {original.texts[row] for row in rows_judged}
        assert sum(original.labels[row] == "pos" for row in rows_judged) == 10


def test_verdicts_are_recorded_and_not_made_again(original, tmp_path, monkeypatch):
    store, config = Store(tmp_path / "images"), settings("unused")
    wanted = [(0, 1, 1, GOOD, picture(1))]
    first, again = links_of(store, wanted), links_of(store, wanted)
    judge(original, first, config, STUDENT, Journal(tmp_path))
    monkeypatch.setattr("hf_synth.images.judge.fit", lambda *given: pytest.fail("trained again"))
    judge(original, again, config, STUDENT, Journal(tmp_path))
    assert again[0].score == first[0].score


def test_teachers_need_two_texts_of_each_label(tmp_path):
    from hf_synth.images.judge import teachers_task

    few = saved_rows(tmp_path / "few", rows(["a", "b", "c"], labels=[0, 1, 1]))
    with pytest.raises(InputError, match="with 2 given texts each; there are {'neg': 1, 'pos': 2}"):
        teachers_task(read_original(Where(str(few), label_column="label"), ()))


def test_the_hash_tells_images_apart_and_not_copies():
    one, copy_, other = (difference_hash(opened(content)) for content in (picture(1), picture(1, 30), picture(2)))
    assert (one ^ copy_).bit_count() <= 3
    assert (one ^ other).bit_count() > 10


def test_equal_requests_get_keys_of_their_own_and_the_same_ones_again():
    from collections import Counter

    def keys(settings, *texts):
        seen = Counter()
        return [keyed(text, settings, seen) for text in texts]

    assert len({*keys({"seed": 0}, "a", "b", "a", "a")}) == 4
    assert keys({"seed": 0}, "a", "b", "a") == keys({"seed": 0}, "a", "b", "a")
    assert not {*keys({"seed": 0}, "a")} & {*keys({"seed": 1}, "a")}
    # More rows at the end leave the keys of those before as they are.
    assert keys({"seed": 0}, "a", "b") == keys({"seed": 0}, "a", "b", "a")[:2]


# The card; `python tests/test_images_select.py` writes the golden file anew.

FACTS = {
    "name": "org/reports",
    "license": "cc-by-4.0",
    "image_model": {
        "pipeline": "StableDiffusionPipeline",
        "name": "org/painter",
        "origin": "hub",
        "revision": "ab12",
        "sha256": "cd" * 32,
        "license": "openrail",
    },
    "captioner": {"name": "captioner", "origin": "local", "sha256": "ef" * 32},
    "precision": "float16",
    "settings": {
        "split": "train",
        "text_column": "text",
        "image_column": "image",
        "label_column": "label",
        "image_prompt": "a chest X-ray: {text}",
        "hops": 2,
        "draws": 2,
        "select": 0.5,
        "policy": "per_source",
        "folds": 5,
        "teacher": "org/encoder",
        "seed": 3,
    },
    "fills": False,
    "rows": 12,
    "made": {"images": 9, "texts": 1},
    "counts": {
        "rows": 8,
        "given_texts": 6,
        "given_images": 3,
        "asked": 28,
        "kept": 9,
        "dropped": {NEGATIVE: 7, BEHIND: 11, REFUSED: 1},
        "captions": 26,
        "uncaptioned": 1,
        "without_text": 1,
        "without_image": 0,
        "rows_left_out": 2,
    },
    "cut": 4,
    "teachers": {"rows": 6, "accuracy": 0.8333, "temperature": 1.2},
    "hops": [
        {"hop": 1, "images": 14, "score": 0.41, "kept": 7},
        {"hop": 2, "images": 13, "score": 0.08, "kept": 2},
    ],
    "thumbnails": [
        {
            "file": "hf_synth/thumbnails/0.jpg",
            "label": "effusion",
            "text": "fluid | left",
            "caption": "a\nchest",
            "hop": 1,
            "source_row": 0,
        },
        {
            "file": "hf_synth/thumbnails/1.jpg",
            "label": None,
            "text": "clear",
            "caption": None,
            "hop": 2,
            "source_row": 1,
        },
    ],
    "versions": {"torch": "2", "hf_synth": "0"},
    "header": {"configs": [{"config_name": "default"}], "dataset_info": [{"config_name": "default"}]},
}


def changed(**facts):
    return {**copy.deepcopy(FACTS), **facts}


def test_card_matches_its_golden_file():
    assert image_card(FACTS) == GOLDEN.read_text(encoding="utf-8")


def test_the_header_is_the_hubs():
    card = DatasetCard(image_card(FACTS))
    assert card.data.license == "cc-by-4.0"
    assert card.data.task_categories == ["text-to-image", "image-to-text", "image-classification"]
    assert {"synthetic", "image", "chained-generation"} <= set(card.data.tags)


def test_it_says_what_is_not_good():
    words = " ".join(image_card(FACTS).split())
    assert "**9 of the images here were generated from texts, and 27 captions were written" in words
    assert "**4 of 28 texts are longer than it reads: their ends had no say.**" in words
    assert "| 2 | 13 | 0.08 | 2 |" in words
    assert "2; they are left out" in words
    assert "| ![generated](hf_synth/thumbnails/0.jpg) | effusion | 1 | fluid \\| left | a chest |" in words
    assert "no evidence of anything" in words


def test_what_was_not_made_is_not_claimed():
    alone = {"captioner": None, "teachers": None, "hops": [], "fills": True, "cut": 0}
    words = image_card(changed(**alone))
    assert "captioner |" not in words
    assert "What the captions tell" not in words
    assert "imputation across modalities" in words
    captions = changed(image_model=None, made={"images": 0, "texts": 4}, fills=True, teachers=None, thumbnails=[])
    told = image_card(captions)
    assert "**4 of the texts here were written by a model" in told
    assert "images asked for" not in told
    assert "text-to-image" not in told


def test_a_forgotten_fact_is_an_error():
    with pytest.raises(UndefinedError, match="thumbnails"):
        image_card({key: value for key, value in FACTS.items() if key != "thumbnails"})


if __name__ == "__main__":
    GOLDEN.write_text(image_card(FACTS), encoding="utf-8")
