"""Attribute bias: a planted bias is found, measures agree with scipy, and attributes that texts lack are noticed."""

import json
import random

import numpy as np
import pytest

from hf_synth.audit import asked
from hf_synth.audit.records import Rows
from hf_synth.errors import InputError
from hf_synth.metrics.attribute_bias import attribute_bias

PLACES = ["Africa", "Asia", "Europe"]
CITIES = {"Africa": "Nairobi Lagos Cairo", "Asia": "Delhi Tokyo Hanoi", "Europe": "Paris Oslo Rome"}
NAMES = ["sports", "business"]


def seen(shares, seed=0, count=200):
    return random.Random(seed).choices(PLACES, shares, k=count)


def test_measures_are_those_of_scipy():
    entropy = pytest.importorskip("scipy.stats").entropy
    own, real = seen([5, 3, 2]), seen([1, 1, 3], 3)
    found = attribute_bias(own, PLACES, real)
    shares, others = ([side.count(place) / 200 for place in PLACES] for side in (own, real))
    assert found["rows"] == 200
    assert list(found["histogram"].values()) == pytest.approx(shares)
    assert list(found["reference"].values()) == pytest.approx(others)
    assert found["entropy"]["value"] == pytest.approx(entropy(shares) / entropy([1, 1, 1]))
    assert found["kl_uniform"]["value"] == pytest.approx(entropy(shares, [1 / 3] * 3))
    assert found["tv_uniform"]["value"] == pytest.approx(sum(abs(a - 1 / 3) for a in shares) / 2)
    assert found["tv_reference"]["value"] == pytest.approx(sum(map(lambda a, b: abs(a - b), shares, others)) / 2)
    smooth = [[(200 * share + 0.5) / 201.5 for share in side] for side in (shares, others)]
    assert found["kl_reference"]["value"] == pytest.approx(entropy(*smooth))
    for name in ("entropy", "kl_uniform", "tv_uniform", "tv_reference", "kl_reference"):
        low, high = found[name]["interval"]
        assert low < found[name]["value"] < high


def test_intervals_hold_the_true_value_as_often_as_they_say():
    held = 0
    for seed in range(60):
        low, high = attribute_bias(seen([8, 1, 1], seed, 400), PLACES, seed=seed)["tv_uniform"]["interval"]
        held += low <= 0.8 - 1 / 3 <= high
    assert 52 <= held <= 60


def test_one_value_alone_is_as_far_from_uniform_as_can_be():
    found = attribute_bias(["Asia"] * 9, PLACES, ["Africa"])
    assert found["entropy"]["value"] == pytest.approx(0)
    assert found["tv_uniform"]["value"] == pytest.approx(2 / 3)
    assert found["tv_reference"] == {"value": 1.0, "interval": [1.0, 1.0]}


def test_nothing_to_compare_is_refused():
    with pytest.raises(InputError, match="got 1 values, 1 texts"):
        attribute_bias(["Asia"], ["Asia"])
    with pytest.raises(InputError, match="got 3 values, 0 texts"):
        attribute_bias([], PLACES)


def rows(obeys, shares=(1, 1, 1), count=300, seed=0, told=True):
    """Return texts that were asked for a place, which they have where they obey."""
    rng = random.Random(seed)
    texts, labels, given = [], [], []
    for at in range(count):
        wanted = rng.choices(PLACES, shares)[0]
        spoken = wanted if obeys else rng.choice(PLACES)
        texts.append(f"{rng.choice(['news', 'a report', 'a story'])} from {rng.choice(CITIES[spoken].split())}")
        labels.append(at % 2)
        given.append(json.dumps({"place": wanted, "title": f"title {at}", "instruction": f"i{at % 2}"}))
    return Rows(texts, np.array(labels), NAMES, np.arange(count), attributes=given if told else None)


def test_attributes_that_texts_do_not_have_are_worth_a_look():
    pytest.importorskip("sklearn")
    ignored, obeyed = asked.seen(rows(False), None, 0), asked.seen(rows(True), None, 0)
    assert (ignored.verdict, obeyed.verdict) == ("look", "good")
    assert "'place'" in ignored.reason
    assert set(obeyed.measures["attributes"]) == {"place"}  # titles are drawn once, instructions are no attribute
    told = obeyed.measures["attributes"]["place"]
    assert told["accuracy"] == 1.0 > 0.5 > told["most_frequent"]
    assert told["held_out"] == 60


def test_values_that_real_texts_have_more_often_are_seen():
    pytest.importorskip("sklearn")
    own, real = rows(True), rows(True, (8, 1, 1), 400, 1, told=False)
    bias = asked.seen(own, real, 0).measures["attributes"]["place"]["bias"]
    assert set(bias) == set(NAMES)
    for found in bias.values():
        assert found["reference"]["Africa"] == pytest.approx(0.8, abs=0.07)
        assert found["histogram"]["Africa"] == pytest.approx(1 / 3, abs=0.2)
        assert found["tv_reference"]["interval"][0] > 0.2


def test_a_value_of_another_class_is_no_guess():
    pytest.importorskip("sklearn")
    own = rows(False)
    of_class = [json.dumps({"topic": f"{NAMES[label]} {at % 3}"}) for at, label in enumerate(own.labels)]
    texts = [f"{text} {json.loads(given)['topic']}" for text, given in zip(own.texts, of_class, strict=True)]
    told = asked.seen(Rows(texts, own.labels, NAMES, own.index, attributes=of_class), None, 0)
    told = told.measures["attributes"]["topic"]
    assert told["most_frequent"] == pytest.approx(1 / 3, abs=0.12)
    assert set(told["bias"]["sports"]["histogram"]) == {f"sports {at}" for at in range(3)}


def test_rows_without_attributes_are_not_judged():
    assert asked.seen(rows(True, told=False), None, 0).verdict == "skipped"
    few = asked.seen(rows(True, count=12), None, 0)
    assert few.verdict == "skipped"
    assert "10 rows or more" in few.reason
