"""Checks that need real rows, embeddings, models or secrets beside the texts."""

import json
import random
import zlib

import numpy as np
import pytest
from inspect_cases import (
    NAMES,
    OWN,
    REAL,
    judged,
    loaded,
    rows_of,
)
from scipy.stats.contingency import association

from hf_synth.audit.data import Loaded, Real
from hf_synth.audit.inspect import inspect
from hf_synth.audit.instruments import Instruments
from hf_synth.audit.records import Rows


@pytest.fixture
def clean():
    rows = rows_of(600, 0)
    return list(rows.texts), rows.labels.copy()


@pytest.fixture(scope="module")
def report():
    return inspect(loaded(rows_of(600, 0)), REAL)


def test_real_rows_agree_with_the_oracle_and_flipped_ones_do_not(clean):
    texts, labels = clean
    found = judged(texts, labels)["oracle"]
    assert found["verdict"] == "good"
    rng = random.Random(0)
    wrong = rng.sample(range(len(labels)), 300)
    labels[wrong] = (labels[wrong] + 1) % 3
    found = judged(texts, labels)["oracle"]
    assert found["verdict"] == "bad"
    assert found["value"] < 0.75
    assert np.isin(wrong, [row["row"] for row in found["rows"]]).mean() > 0.9


def test_rows_that_teach_nothing_are_told_by_their_use(clean, report):
    texts, labels = clean
    said = {own["check"]: own for own in report["verdicts"]}
    assert (said["usefulness"]["verdict"], said["calibration"]["verdict"]) == ("good", "good")
    shuffled = np.random.default_rng(0).permutation(labels)
    found = judged(texts, shuffled)["usefulness"]
    assert found["verdict"] == "bad"
    assert found["value"] < 0.6
    curve = report["measures"]["more rows"]["curve"]
    assert [one["rows"] for one in curve] == [75, 150, 300, 600]
    assert curve[-1]["accuracy"] == pytest.approx(said["usefulness"]["value"])


def test_as_many_real_rows_are_of_all_classes_where_the_train_split_is_sorted(clean):
    train = REAL.train.rows
    ordered = Real(REAL.test, loaded(train.take(np.argsort(train.labels, kind="stable")), "real"))
    rows = Rows(clean[0][:100], clean[1][:100], NAMES, np.arange(100))
    told = inspect(loaded(rows), ordered)["measures"]["usefulness"]
    assert min(told["real to real"]["recall"].values()) > 0.3


def test_a_class_of_the_train_split_alone_is_no_traceback(clean):
    train = REAL.train.rows
    more = Rows(
        [*train.texts, *["a word of its own"] * 30],
        np.append(train.labels, [3] * 30),
        [*NAMES, "more"],
        np.arange(430),
    )
    found = judged(*clean, real=Real(REAL.test, loaded(more, "real")))["usefulness"]
    assert found["verdict"] == "good"


def test_labels_that_go_with_who_is_spoken_of(clean):
    texts, labels = clean
    for at in range(0, 300):
        word = "women" if labels[at] == 0 else "men" if at % 4 else "women"
        texts[at] += f" It was said by {word}."
    found = judged(texts, labels)["group words"]
    assert found["verdict"] == "look"
    assert "women and men" in found["reason"]


def test_attributes_that_are_always_the_same(clean):
    texts, labels = clean
    even = [json.dumps({"style": ["short", "long"][at % 2]}) for at in range(len(texts))]
    odd = [json.dumps({"style": "long" if at % 50 else "short"}) for at in range(len(texts))]
    for given, verdict in ((even, "good"), (odd, "look")):
        rows = Rows(texts, labels, NAMES, np.arange(len(texts)), attributes=given)
        found = inspect(loaded(rows), REAL)
        assert {own["check"]: own["verdict"] for own in found["verdicts"]}["attributes"] == verdict
    told = found["measures"]["attributes"]["attributes"]["style"]["with_label"]
    table = np.zeros((2, len(NAMES)), int)
    for at, label in enumerate(labels):
        table[int(at % 50 > 0), label] += 1
    assert told == pytest.approx(association(table, "cramer"))


def test_texts_near_a_test_row_are_found_by_their_embedding(clean):
    def encode(texts):
        return np.stack([np.random.default_rng(abs(hash(text.lower())) % 2**32).normal(size=16) for text in texts])

    texts, labels = clean
    test = REAL.test.rows.texts
    for at in range(40):
        texts[at] = test[at].upper()
    rows = Rows(texts, labels, NAMES, np.arange(len(texts)))
    found = inspect(loaded(rows), REAL, instruments=Instruments(encode=encode))
    near = {own["check"]: own for own in found["verdicts"]}["near test rows"]
    assert near["verdict"] == "look"
    assert {row["row"] for row in near["rows"]} == set(range(40))
    assert all(row["reference_row"] == row["row"] for row in near["rows"])


def test_texts_near_the_few_shots_are_found_where_real_rows_are_not(clean):
    def encode(texts):
        return np.stack([np.random.default_rng(zlib.crc32(text.lower().encode())).normal(size=16) for text in texts])

    texts, labels = clean
    shots = rows_of(40, 9).texts
    for at in range(30):
        texts[at] = shots[at].upper()
    rows = Rows(texts, labels, NAMES, np.arange(len(texts)))
    said = {}
    for corpus in (shots, rows_of(40, 10).texts):
        found = inspect(loaded(rows), REAL, corpus, Instruments(encode=encode))
        said[len(said)] = {own["check"]: own for own in found["verdicts"]}["corpus rows"]
    assert [one["verdict"] for one in said.values()] == ["look", "good"]
    assert {row["row"] for row in said[0]["rows"]} == set(range(30))
    assert "mean nearly what one of 40" in said[0]["reason"]


def test_canaries_and_what_a_model_has_kept(clean):
    texts, labels = clean
    secret = "the code of the safe is 4711"
    texts[3] += f" By the way, {secret}!"
    rows, corpus = Rows(texts, labels, NAMES, np.arange(len(texts))), rows_of(100, 9).texts
    known = {*corpus, *(text.lower() for text in corpus), secret}

    def score(asked):
        return [-0.2 - len(text) % 3 * 0.01 if text in known else -3.0 for text in asked]

    found = inspect(loaded(rows), REAL, corpus, Instruments(score=score, total=score), canaries=[secret])
    said = {own["check"]: own for own in found["verdicts"]}
    assert (said["canaries"]["verdict"], said["canaries"]["rows"][0]["row"]) == ("bad", 3)
    assert found["measures"]["canaries"]["exposure"] > 7
    assert said["memorisation"]["verdict"] == "bad"
    assert said["memorisation"]["value"] == pytest.approx(1.0)
    assert said["perplexity"]["verdict"] == "good"
    assert secret not in json.dumps(found["verdicts"][0])


def test_a_canary_of_one_digit_or_of_no_word_says_little(clean):
    texts, labels = clean
    texts[7] = " "

    def score(asked):
        return [-0.1 if text == "the code is 7" else -3.0 for text in asked]

    rows = Rows(texts, labels, NAMES, np.arange(len(texts)))
    found = inspect(loaded(rows), instruments=Instruments(total=score), canaries=["the code is 7", "***"])
    assert {own["check"]: own for own in found["verdicts"]}["canaries"]["verdict"] == "good"
    assert found["measures"]["canaries"]["exposure"] == pytest.approx(np.log2(10))


def test_a_judge_and_a_toxicity_classifier(clean):
    texts, labels = clean
    texts[5] += " zounds"

    def judge(asked, names):
        return [max(names, key=lambda name: sum(word in text for word in OWN[name].split())) for text in asked]

    def toxic(asked):
        return [float("zounds" in text) for text in asked]

    rows = Rows(texts, labels, NAMES, np.arange(len(texts)))
    found = inspect(loaded(rows), REAL, instruments=Instruments(judge=judge, toxic=toxic))
    said = {own["check"]: own for own in found["verdicts"]}
    assert (said["judge"]["verdict"], said["toxicity"]["verdict"]) == ("good", "good")
    assert found["measures"]["judge"]["accuracy"] > 0.8
    assert found["measures"]["toxicity"]["rows"] == 400  # as many as the reference has


def test_the_noise_of_each_class_is_estimated(clean):
    texts, labels = clean
    music = np.flatnonzero(labels == 2)
    labels[music[: len(music) // 3]] = 0  # a third of music is called cooking
    rows = Rows(texts, labels, NAMES, np.arange(len(texts)))
    noise = inspect(loaded(rows))["measures"]["wrong labels"]["noise"]
    real = (len(music) // 3) / (labels == 0).sum()
    assert noise["cooking"]["music"] == pytest.approx(real, abs=0.1)
    assert noise["travel"]["travel"] > 0.9


@pytest.mark.extras
def test_personal_data_in_prompts(clean):
    pytest.importorskip("presidio_analyzer")
    rows = Rows(*clean, NAMES, np.arange(600))
    found = inspect(loaded(rows), prompts=["Write a review.", "Write to jane.doe@example.org."])
    said = {own["check"]: own for own in found["verdicts"]}
    assert [row["prompt"] for row in said["personal data, prompts"]["rows"]] == [1]
    assert said["personal data"]["rows"] == []
    assert "jane" not in json.dumps(found)


def test_many_canaries_are_not_exposed_by_chance(clean):
    rows = Rows(*clean, NAMES, np.arange(600))
    rng = random.Random(0)
    secrets = [f"code {rng.randrange(10**6)} of user {at}" for at in range(100)]
    likely = {}

    def score(asked):
        return [likely.setdefault(text, -rng.expovariate(1)) for text in asked]

    found = inspect(loaded(rows), REAL, instruments=Instruments(total=score), canaries=secrets)
    assert {own["check"]: own["verdict"] for own in found["verdicts"]}["canaries"] == "good"


def test_a_reference_of_train_rows_alone_has_no_test_split(clean):
    texts, labels = clean
    texts[3] = REAL.test.rows.texts[5]
    only = Real(Loaded(REAL.test.rows, {**REAL.test.facts, "split": "train"}), None)
    found = judged(texts, labels, real=only)["test rows"]
    assert found["verdict"] == "look"
    assert "train split" in found["reason"]


def test_the_rows_that_the_oracle_is_surest_of_come_first(clean):
    texts, labels = clean
    texts[7] = " ".join(OWN["music"].split()[:12])
    labels[7] = 0
    found = judged(texts, labels)["oracle"]
    assert found["rows"][0]["row"] == 7
