"""Measures of calibration, naturalness and memorisation, each against a second way of getting the number."""

import math
import zlib

import evaluate
import numpy as np
import pytest

from hf_synth.errors import InputError
from hf_synth.metrics.calibration import calibration
from hf_synth.metrics.exposure import exposure
from hf_synth.metrics.extraction import extraction, interval, scores
from hf_synth.metrics.mauve import mauve
from hf_synth.metrics.perplexity import perplexity
from hf_synth.metrics.readability import grades, readability


def test_calibration_is_the_weighted_gap_of_each_bin():
    table = np.array([[0.95, 0.05], [0.92, 0.08], [0.3, 0.7], [0.45, 0.55]])
    found = calibration(table, [0, 1, 1, 1], bins=10)
    # (0.9, 1]: mean 0.935, half right; (0.6, 0.7]: 0.7, right; (0.5, 0.6]: 0.55, right.
    assert found["ece"] == pytest.approx((2 * 0.435 + 0.3 + 0.45) / 4)
    assert [(b["rows"], round(b["confidence"], 3), b["accuracy"]) for b in found["bins"]] == [
        (1, 0.55, 1.0),
        (1, 0.7, 1.0),
        (2, 0.935, 0.5),
    ]
    assert found["ece_interval"][0] <= found["ece"] <= found["ece_interval"][1]


def test_a_calibrated_classifier_has_almost_no_error_and_an_overconfident_one_has():
    draw = np.random.default_rng(0)
    sure = draw.uniform(0.5, 1, 20_000)
    labels = (draw.random(20_000) > sure).astype(int)
    assert calibration(np.stack([sure, 1 - sure], 1), labels)["ece"] < 0.02
    assert calibration(np.tile([0.99, 0.01], (20_000, 1)), labels)["ece"] == pytest.approx(0.24, abs=0.02)


def test_mauve_tells_the_same_texts_from_others():
    draw = np.random.default_rng(0)
    real, same, other = draw.normal(size=(3, 200, 8))
    near, far = mauve(same, real, runs=2), mauve(other + 4, real, runs=2)
    assert far["mauve"] < 0.1 < 0.9 < near["mauve"]
    assert near["mauve_interval"][0] <= near["mauve"] <= near["mauve_interval"][1]
    assert near["clusters"] == 10
    with pytest.raises(InputError, match="40 vectors"):
        mauve(same[:30], real)


def test_readability_by_hand():
    text = "The cat sat. The dog, though old, ran quickly!"  # 9 words of 34 letters in two sentences
    assert grades([text])[0] == pytest.approx(4.71 * 34 / 9 + 0.5 * 9 / 2 - 21.43)
    found = readability([text, text, "..."])
    assert (found["rows"], found["readability"]) == (2, pytest.approx(grades([text])[0]))
    assert math.isnan(grades(["!?"])[0])


def test_perplexity_is_the_mean_of_exponentials_not_the_exponential_of_the_mean():
    found = perplexity([-1.0, -2.0, -6.0])
    assert found["perplexity"] == pytest.approx(math.e**2)
    assert found["mean_perplexity"] == pytest.approx((math.e + math.e**2 + math.e**6) / 3)
    assert found["log_perplexity"] == pytest.approx(3)
    with pytest.raises(InputError, match="at most 0"):
        perplexity([0.5])


def test_extraction_scores_by_hand():
    texts = ["abcabcabcabcabcabcabcabc" * 4, "Quite another text, with more in it."]
    found = scores(texts, [-0.5, -2.0], lower=[-0.5, -3.0], base=[-1.5, -2.0])
    assert found["lower"].tolist() == pytest.approx([1.0, 1.5])
    assert found["base"].tolist() == pytest.approx([3.0, 1.0])
    assert found["zlib"][1] == pytest.approx(8 * len(zlib.compress(texts[1].encode(), 9)) / len(texts[1]) / 2)
    assert found["zlib"][0] * 0.5 < found["zlib"][1] * 2  # repetition is what zlib finds cheap


def test_more_texts_narrow_the_interval():
    few, many = interval(0.7, 60, 40), interval(0.7, 600, 400)
    assert few[0] < many[0] < 0.7 < many[1] < few[1]


def test_one_text_of_each_side_proves_nothing():
    assert interval(1.0, 1, 1)[0] < 0.5 < interval(0.0, 1, 1)[1]
    assert interval(1.0, 500, 500)[0] > 0.99


def test_what_is_no_number_is_refused():
    with pytest.raises(InputError, match="text 1 has NaN"):
        scores(["a", "b"], [-1.0, math.nan])
    with pytest.raises(InputError, match="sum to 1"):
        calibration([[0.5, 0.5], [math.nan, math.nan]], [0, 1])


def test_members_that_are_likelier_are_found():
    texts = [f"text number {at} of the source" for at in range(100)]
    found = extraction(texts, [-0.1] * 50 + [-3.0] * 50, members=[1] * 50 + [0] * 50)
    assert (found["likelihood"]["auc"], found["likelihood"]["tpr"]) == (1.0, 1.0)
    assert found["likelihood"]["auc_interval"] == pytest.approx([0.997, 1.0], abs=0.001)
    assert {row["row"] for row in found["top"][:50]} == set(range(50))


def test_exposure_of_a_canary_that_is_likeliest_and_of_one_that_is_not():
    others = np.linspace(-9, -1, 255)
    found = exposure([0.0, -9.5], others)
    assert found["ranks"] == [1, 256]
    assert found["exposures"] == pytest.approx([8.0, 0.0])
    assert found["exposure"] == pytest.approx(8.0)


@pytest.mark.parametrize("name", ["calibration", "mauve", "readability", "perplexity", "extraction", "exposure"])
def test_each_loads_by_path(name):
    measure = evaluate.load(f"hf_synth/metrics/{name}.py")
    given = {
        "calibration": {"predictions": [[0.5, 0.5], [0.9, 0.1]], "references": [0, 0]},
        "mauve": {"data": np.eye(48).tolist(), "references": np.eye(48).tolist(), "runs": 1},
        "readability": {"data": ["Some words here."]},
        "perplexity": {"data": [-1.0]},
        "extraction": {"data": ["a text"], "logprobs": [-1.0]},
        "exposure": {"data": [-1.0], "candidates": [-2.0, -3.0]},
    }[name]
    assert measure.compute(**given)
