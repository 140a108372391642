"""Diversity measures: each number computed again by its definition, on texts small enough to do so."""

import math
import random
from collections import Counter

import evaluate
import numpy as np
import pytest

from hf_synth.errors import InputError
from hf_synth.metrics import distinct as distinct_module
from hf_synth.metrics import near_duplicates as near_duplicates_module
from hf_synth.metrics import self_bleu as self_bleu_module
from hf_synth.metrics import similarity as similarity_module
from hf_synth.metrics import vendi as vendi_module
from hf_synth.metrics.classification import wilson
from hf_synth.metrics.distinct import distinct, window_types
from hf_synth.metrics.sampling import drawn, groups, jackknife, ratio_interval
from hf_synth.metrics.self_bleu import scores, self_bleu
from hf_synth.metrics.similarity import similarity
from hf_synth.metrics.tokens import tokens, words
from hf_synth.metrics.vendi import vendi

EDGES = [[], ["a"], ["a", "b"], ["z"], ["a", "b", "a", "b", "a", "b"], ["a", "b", "c", "d", "e", "f", "g"], ["z"]]
TIE = [["a", "b"], ["a", "b", "c", "d"], ["a", "b", "c", "d", "e", "f"]]  # two closest lengths: the shorter counts


def some_texts(rows, seed=0, vocabulary=60, longest=18):
    """Texts whose words are as uneven as real ones."""
    draw = random.Random(seed)
    known = [f"w{at}" for at in range(vocabulary)]
    weights = [1 / (at + 1) for at in range(vocabulary)]
    return [" ".join(draw.choices(known, weights, k=draw.randint(3, longest))) for _ in range(rows)]


def bleu(own, others, longest):
    """BLEU by its definition, one pair of texts after another."""
    total = 0.0
    for n in range(1, longest + 1):
        counts = Counter(tuple(own[i : i + n]) for i in range(len(own) - n + 1))
        best = Counter()
        for other in others:
            best |= Counter(tuple(other[i : i + n]) for i in range(len(other) - n + 1))
        hits = sum(min(count, best[gram]) for gram, count in counts.items())
        if n == 1 and hits == 0:
            return 0.0
        total += math.log((hits or 0.1) / max(1, sum(counts.values())))
    reference = min((len(other) for other in others), key=lambda size: (abs(size - len(own)), size))
    return math.exp(total / longest) * (1 if len(own) > reference else math.exp(1 - reference / len(own)))


@pytest.mark.parametrize("texts", [[tokens(t) for t in some_texts(60)], EDGES, EDGES[:2], TIE, [["x"], ["x"]]])
def test_self_bleu_is_that_of_each_text_against_all_others(texts):
    found = scores(texts)
    for at, own in enumerate(texts):
        others = texts[:at] + texts[at + 1 :]
        assert found[at] == pytest.approx([bleu(own, others, n) for n in range(1, 6)], abs=1e-12)


@pytest.mark.parametrize("texts", [[tokens(t) for t in some_texts(80, seed=1)], EDGES, TIE])
def test_self_bleu_is_nltks(texts):
    nltk = pytest.importorskip("nltk.translate.bleu_score")
    smooth, found = nltk.SmoothingFunction().method1, scores(texts)
    for at, own in enumerate(texts):
        others = texts[:at] + texts[at + 1 :]
        theirs = [
            nltk.sentence_bleu(others, own, weights=(1 / n,) * n, smoothing_function=smooth) for n in range(1, 6)
        ]
        assert found[at] == pytest.approx(theirs, abs=1e-12)


def test_self_bleu_of_a_sample_is_that_of_the_texts_drawn():
    texts = some_texts(50)
    found = self_bleu(texts, sample=20, seed=3)
    own = [texts[at] for at in drawn(50, 20, seed=3)]
    assert found["rows"] == 20
    assert found["seed"] == 3
    assert found["self_bleu_4"] == self_bleu(own)["self_bleu_4"]
    assert found["self_bleu_4_interval"][0] < found["self_bleu_4"] < found["self_bleu_4_interval"][1]
    assert found == self_bleu(texts, sample=20, seed=3)
    assert found != self_bleu(texts, sample=20, seed=4)
    with pytest.raises(InputError, match="two texts or more; got 1"):
        self_bleu(["one"])


def test_self_bleu_sees_texts_that_repeat_each_other():
    texts = some_texts(100)
    once, again = self_bleu(texts)["self_bleu_5"], self_bleu(texts[:50] * 2)["self_bleu_5"]
    assert again == pytest.approx(1, abs=0.2)  # texts of less than five words have no 5-gram to repeat
    assert once < 0.5


def test_distinct_and_vocabulary_are_counts_of_sets():
    texts = some_texts(90) + [""]
    found = distinct(texts)
    for n in range(1, 5):
        all_grams = [tuple(own[i : i + n]) for own in map(tokens, texts) for i in range(len(own) - n + 1)]
        assert found[f"distinct_{n}"] == pytest.approx(len(set(all_grams)) / len(all_grams))
    assert found["vocabulary"] == len({word for text in texts for word in tokens(text)})
    assert found["tokens"] == sum(len(tokens(text)) for text in texts)
    assert found["rows"] == 91
    assert distinct(["a b"])["distinct_4"] is None
    with pytest.raises(InputError, match="a text with a word"):
        distinct(["", " "])


def test_intervals_of_distinct_leave_out_one_group_after_another():
    texts = some_texts(60)
    found, of = distinct(texts, seed=5), groups(60, 6)
    order = np.random.default_rng(5).permutation(60)
    left = []
    for group in range(20):
        rest = [tokens(texts[at]) for at, own in zip(order, of, strict=True) if own != group]
        pairs = [pair for own in rest for pair in zip(own, own[1:], strict=False)]
        left.append(len(set(pairs)) / len(pairs))
    half = 2.093 * math.sqrt(19 / 20 * sum((one - sum(left) / 20) ** 2 for one in left))
    assert found["distinct_2_interval"] == pytest.approx([found["distinct_2"] - half, found["distinct_2"] + half])
    assert distinct(texts[:30])["distinct_2_interval"] is None


def test_no_interval_holds_what_a_figure_cannot_be():
    texts = [" ".join(f"{word}{max(at, 1)}" for word in "abcdefgh") for at in range(44)]  # one of them twice
    found = distinct(texts)
    assert found["distinct_4"] < found["distinct_4_interval"][1] == 1
    assert ratio_interval(np.array([1.0, 2, 0]), np.array([1.0, 2, 4]))[0] == 0
    apart = vendi(np.eye(64)[:50])
    assert apart["vendi"] == pytest.approx(50)
    assert apart["vendi_interval"][1] <= 50
    assert [wilson(0, 44)[0], wilson(44, 44)[1]] == [0, 1]  # which rounding made 6.9e-18


def test_intervals_of_distinct_do_not_depend_on_classes_that_stand_in_turn():
    draw = random.Random(0)
    words_of = [[f"{own} w{at}" for at in range(400 if own % 2 else 4)] for own in range(20)]
    turns = [" ".join(draw.choices(words_of[at % 20], k=20)) for at in range(400)]
    wide, usual = (np.ptp(distinct(texts)["distinct_2_interval"]) for texts in (turns, draw.sample(turns, 400)))
    assert wide < 2 * usual


@pytest.mark.parametrize("window", [1, 2, 7, 40])
def test_types_of_each_window(window):
    ids = np.random.default_rng(0).integers(0, 9, 40)
    assert window_types(ids, window).tolist() == [len({*ids[at : at + window]}) for at in range(41 - window)]


def test_mattr_does_not_depend_on_the_number_of_texts_as_distinct_does():
    few, many = distinct(some_texts(200, seed=1)), distinct(some_texts(4000, seed=2))
    assert many["mattr"] == pytest.approx(few["mattr"], abs=0.02)
    assert many["distinct_2"] < 0.4 * few["distinct_2"]
    low, high = few["mattr_interval"]
    assert low < many["mattr"] < high
    assert distinct(["too short"])["mattr"] is None


def cloud(rows=90, width=12, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, width)) + 0.4


def test_similarity_is_the_mean_over_pairs():
    vectors, labels = cloud(), ["a"] * 50 + ["b"] * 39 + ["alone"]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [(i, j, float(unit[i] @ unit[j])) for i in range(90) for j in range(90) if i != j]
    found = similarity(vectors * 3, labels)
    same = [cosine for i, j, cosine in pairs if labels[i] == labels[j]]
    other = [cosine for i, j, cosine in pairs if labels[i] != labels[j]]
    assert found["aps"] == pytest.approx(np.mean([cosine for *_, cosine in pairs]), abs=1e-12)
    assert found["within"] == pytest.approx(np.mean(same), abs=1e-12)
    assert found["between"] == pytest.approx(np.mean(other), abs=1e-12)
    assert found["classes"]["b"] == pytest.approx(np.mean([c for i, j, c in pairs if labels[i] == labels[j] == "b"]))
    assert found["classes"]["alone"] is None


def test_intervals_of_similarity_leave_out_one_text_after_another():
    vectors, labels = cloud(30), ["a", "b", "b"] * 10
    found = similarity(vectors, labels)
    for name in ("aps", "within", "between"):
        left = [similarity(np.delete(vectors, at, 0), labels[:at] + labels[at + 1 :])[name] for at in range(30)]
        assert found[f"{name}_interval"] == pytest.approx(jackknife(found[name], left, 1.96))
    assert similarity(vectors[:10])["aps_interval"] is None
    assert "within" not in similarity(vectors)


def test_similarity_refuses_what_has_no_direction():
    with pytest.raises(InputError, match="row 2 has length 0"):
        similarity(np.array([[1.0, 0], [0, 1], [0, 0]]))
    with pytest.raises(InputError, match="got 1 for 90"):
        similarity(cloud(), ["a"])
    with pytest.raises(InputError, match="shape"):
        similarity(np.ones(4))


@pytest.mark.parametrize("rows", [8, 90])  # fewer and more texts than dimensions
@pytest.mark.parametrize("order", [0.1, 0.5, 1, 2, math.inf])
def test_vendi_is_that_of_the_kernel_of_all_pairs(rows, order):
    vectors = cloud(rows)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(unit @ unit.T / rows)
    values = values[values > 1e-10]
    if order == 1:
        expected = math.exp(-sum(value * math.log(value) for value in values))
    else:
        expected = 1 / max(values) if order == math.inf else sum(values**order) ** (1 / (1 - order))
    name = "vendi" if order == 1 else f"vendi_{order:g}"
    assert vendi(vectors, orders=(order,))[name] == pytest.approx(expected, rel=1e-6)


def test_vendi_of_small_orders_is_not_made_of_rounding():
    vectors = cloud()
    wide = np.hstack([vectors, vectors])  # the same cosines, and twelve eigenvalues of nothing but rounding
    assert vendi(wide, orders=(0.1,))["vendi_0.1"] == pytest.approx(vendi(vectors, orders=(0.1,))["vendi_0.1"])


def test_vendi_counts_the_different_texts():
    assert vendi(np.eye(5))["vendi"] == pytest.approx(5)
    assert vendi(np.tile(np.eye(3), (20, 1)))["vendi"] == pytest.approx(3)
    assert vendi(np.ones((50, 4)))["vendi"] == pytest.approx(1)
    assert vendi(cloud(), sample=60, seed=1)["vendi"] == pytest.approx(vendi(cloud()[drawn(90, 60, 1)])["vendi"])
    with pytest.raises(InputError, match="above 0; got 0"):
        vendi(cloud(), orders=(0,))


def test_intervals_of_vendi_and_ratio_hold_the_truth_as_often_as_they_say():
    """The Vendi score of samples of one size grows with that size, so its truth is the mean over samples."""
    runs = [vendi(cloud(100, 8, seed), seed=seed) for seed in range(100)]
    truth = np.mean([run["vendi"] for run in runs])
    assert np.mean([run["vendi_interval"][0] < truth < run["vendi_interval"][1] for run in runs]) > 0.88
    draw, held = np.random.default_rng(0), 0
    for _ in range(200):
        whole = draw.integers(5, 30, 300)
        low, high = ratio_interval(draw.binomial(whole, 0.3), whole)
        held += low < 0.3 < high
    assert 182 <= held <= 199


def test_words_are_compared_without_what_does_not_matter():
    assert words("It ISN\u2019T  well-made!") == words("it isn't well, made") == ["it", "isnt", "well", "made"]
    assert words("\u4f60\u597d ok") == ["\u4f60", "\u597d", "ok"]  # written without spaces
    assert tokens("Don't.") == ["Don", "'", "t", "."]
    # Vowel signs are no letters to `re`.
    hindi = "\u092f\u0939 \u0915\u093f\u0924\u093e\u092c \u0905\u091a\u094d\u091b\u0940 \u0939\u0948"
    assert words(f"{hindi}!") == hindi.split()
    assert tokens("e\u0301tude?") == ["e\u0301tude", "?"]


@pytest.mark.parametrize("module", [self_bleu_module, distinct_module, near_duplicates_module])
def test_measures_of_texts_load_by_path(module):
    texts = some_texts(60)
    pure = getattr(module, module.__name__.rpartition(".")[2])
    assert evaluate.load(module.__file__).compute(data=texts, seed=2) == pure(texts, seed=2)


@pytest.mark.parametrize("module", [similarity_module, vendi_module])
def test_measures_of_embeddings_load_by_path(module):
    vectors = cloud().astype(np.float32)
    name = module.__name__.rpartition(".")[2]
    found = evaluate.load(module.__file__).compute(data=vectors)
    value = "aps" if name == "similarity" else name
    assert found[value] == pytest.approx(getattr(module, name)(vectors)[value])
