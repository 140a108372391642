"""Attribute bias: a planted bias is found, measures agree with scipy, and the classifier's own accuracy is told."""

import random

import pytest

from hf_synth.errors import InputError
from hf_synth.metrics.attribute_bias import attribute_bias

PLACES = ["Asia", "Europe", "Africa"]


class ByWord:
    """Knows a value by its name."""

    def fit(self, texts, values):
        self.values = sorted(set(values))

    def predict(self, texts):
        return [next((value for value in self.values if value in text), self.values[0]) for text in texts]


def rows(shares, label, seed=0, count=200):
    rng = random.Random(seed)
    return [(f"news {rng.random()} from {rng.choices(PLACES, shares)[0]}", label) for _ in range(count)]


def known(count=60):
    return [(f"a report {at} from {PLACES[at % 3]}", PLACES[at % 3]) for at in range(count)]


def test_a_planted_bias_is_found_in_its_class():
    texts = [*rows([1, 1, 1], "sports"), *rows([8, 1, 1], "business", seed=1)]
    found = attribute_bias(known(), texts, classifier=ByWord)
    assert found["classifier"]["accuracy"] == 1.0
    assert found["classifier"]["held_out"] == 12
    assert set(found) == {"classifier", "all", "sports", "business"}
    assert found["business"]["histogram"]["Asia"] == pytest.approx(0.8, abs=0.06)
    assert sum(found["business"]["histogram"].values()) == pytest.approx(1)
    assert found["sports"]["entropy"]["interval"][0] > found["business"]["entropy"]["interval"][1]
    assert found["all"]["rows"] == 400


def test_measures_are_those_of_scipy():
    entropy = pytest.importorskip("scipy.stats").entropy
    texts, real = rows([5, 3, 2], "a"), rows([1, 1, 3], "a", seed=3)
    found = attribute_bias(known(), texts, reference=real, classifier=ByWord)["a"]
    shares = [sum(place in text for text, _ in texts) / 200 for place in sorted(PLACES)]
    others = [sum(place in text for text, _ in real) / 200 for place in sorted(PLACES)]
    assert list(found["histogram"].values()) == pytest.approx(shares)
    assert found["entropy"]["value"] == pytest.approx(entropy(shares) / entropy([1, 1, 1]))
    assert found["kl_uniform"]["value"] == pytest.approx(entropy(shares, [1 / 3] * 3))
    assert found["tv_uniform"]["value"] == pytest.approx(sum(abs(a - 1 / 3) for a in shares) / 2)
    assert found["tv_reference"]["value"] == pytest.approx(sum(map(lambda a, b: abs(a - b), shares, others)) / 2)
    smooth = [[(200 * share + 0.5) / 201.5 for share in side] for side in (shares, others)]
    assert found["kl_reference"]["value"] == pytest.approx(entropy(*smooth))
    for name in ("entropy", "kl_uniform", "tv_uniform", "tv_reference", "kl_reference"):
        low, high = found[name]["interval"]
        assert low < found[name]["value"] < high


def test_one_value_alone_is_as_far_from_uniform_as_can_be():
    found = attribute_bias(known(), [("from Asia", "a")] * 9, reference=[("from Africa", "a")], classifier=ByWord)["a"]
    assert found["entropy"]["value"] == pytest.approx(0)
    assert found["tv_uniform"]["value"] == pytest.approx(2 / 3)
    assert found["tv_reference"] == {"value": 1.0, "interval": [1.0, 1.0]}


def test_logistic_regression_learns_and_repeats_itself():
    pytest.importorskip("sklearn")
    first = attribute_bias(known(), rows([2, 1, 1], "a"), seed=4)
    assert first["classifier"]["accuracy"] > 0.9 > first["classifier"]["most_frequent"]
    assert first == attribute_bias(known(), rows([2, 1, 1], "a"), seed=4)


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(InputError, match="got 6 rows, 1 values and 1 texts"):
        attribute_bias([("x", "Asia")] * 6, [("y", "a")], classifier=ByWord)
    with pytest.raises(InputError, match="4 rows not held out have one"):
        attribute_bias([("x", "Asia")] * 4 + [("y", "Africa")], [("y", "a")], classifier=ByWord, seed=7)
    with pytest.raises(InputError, match="and 0 texts"):
        attribute_bias(known(), [], classifier=ByWord)
