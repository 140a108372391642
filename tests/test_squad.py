"""SQuAD's exact match and F1: examples of the official script and of `evaluate`'s card, and numbers made by hand."""

import re
import string
from collections import Counter

import evaluate
import pytest

from hf_synth.metrics import squad
from hf_synth.metrics.squad import Squad, exact_match, f1, normalized


def official_f1(prediction, truth):
    """The F1 of the official script's definition, written with its regular expression for articles."""

    def words(text):
        text = "".join(ch for ch in text.lower() if ch not in set(string.punctuation))
        return re.sub(r"\b(a|an|the)\b", " ", text).split()

    said, true = words(prediction), words(truth)
    same = sum((Counter(said) & Counter(true)).values())
    if same == 0:
        return 0
    precision, recall = same / len(said), same / len(true)
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize(
    ("prediction", "reference", "exact", "overlap"),
    [
        ("The Beatles!", "beatles", 1, 1),
        ("  Santa   Clara, California ", "santa clara california", 1, 1),
        ("U.S.", "us", 1, 1),
        ("the well-known", "wellknown", 1, 1),
        ("Denver Broncos", "The Denver Broncos of 2015", 0, 2 * 1 * 0.5 / 1.5),  # 2 of 2 words, 2 of 4
        ("to be or not to be", "to be", 0, 2 * (2 / 6) * 1 / (2 / 6 + 1)),  # words count as often as they stand
        ("Carolina Panthers", "Denver Broncos", 0, 0),
        ("", "Denver", 0, 0),
        ("the", "a", 1, 0),  # the script's own oddity: nothing is left of either
        ("another theatre", "nother theatre", 0, 0.5),  # articles are words, not letters
    ],
)
def test_scores_of_one_answer(prediction, reference, exact, overlap):
    assert exact_match(prediction, reference) == exact
    assert f1(prediction, reference) == pytest.approx(overlap)
    assert f1(prediction, reference) == pytest.approx(official_f1(prediction, reference))


def test_punctuation_goes_before_articles_and_is_ascii_alone():
    assert normalized("A-B (the) end") == ["ab", "end"]
    assert normalized("1990–1995\u00a0the war") == ["1990–1995", "war"]
    assert normalized("from 1990–the end") == ["from", "1990–", "end"]


def test_published_examples():
    """Of the card of `evaluate`'s metric `squad`, which writes percent."""
    metric = Squad()
    one = metric.compute(predictions=["1976"], references=[["1976"]])
    assert (one["exact_match"], one["f1"]) == (1.0, 1.0)
    three = metric.compute(
        predictions=["1976", "Beyonce", "climate change"],
        references=[["1976"], ["Beyoncé and Bruno Mars"], ["climate change"]],
    )
    assert three["exact_match"] * 100 == pytest.approx(66.66666666666667)
    assert three["f1"] * 100 == pytest.approx(66.66666666666667)
    assert three["rows"] == 3


def test_the_best_reference_counts_for_each_score():
    found = Squad().compute(
        predictions=["Santa Clara", "in 2016"],
        references=[["Levi's Stadium", "Santa Clara, California"], ["2016", "February 2016"]],
    )
    assert found["exact_match"] == 0
    assert found["f1"] == pytest.approx((0.8 + 2 / 3) / 2)


def test_interval_holds_the_mean_and_repeats():
    rows = {"predictions": ["x"] * 60 + ["y"] * 40, "references": [["x"]] * 100}
    one, again = (Squad().compute(**rows) for _ in range(2))
    low, high = one["f1_interval"]
    assert one == again
    # Normal approximation: 0.6 +- 1.96 sqrt(0.24 / 100) = 0.504 to 0.696.
    assert (low, high) == pytest.approx((0.504, 0.696), abs=0.015)
    sure = Squad().compute(predictions=["x"], references=[["x"]])
    assert sure["f1_interval"] == [1.0, 1.0]


def test_it_loads_by_path():
    metric = evaluate.load(squad.__file__)
    assert metric.compute(predictions=["a film"], references=[["film", "book"]])["exact_match"] == 1


def test_a_row_without_an_answer_is_refused():
    with pytest.raises(ValueError, match="row 1 has none"):
        Squad().compute(predictions=["x", "y"], references=[["x"], []])
