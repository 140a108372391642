"""Checks that need real rows, embeddings, models or secrets beside the texts."""

import json
import random
import zlib
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from inspect_cases import (
    NAMES,
    OWN,
    REAL,
    judged,
    loaded,
    rows_of,
)
from scipy.stats.contingency import association

from hf_synth.audit import duplicates, leakage, naturalness
from hf_synth.audit.balance import long_tail
from hf_synth.audit.bias import groups
from hf_synth.audit.data import Loaded, Real
from hf_synth.audit.inspect import inspect
from hf_synth.audit.instruments import Instruments
from hf_synth.audit.learnt import learnt_of, write_local
from hf_synth.audit.memorisation import canaries
from hf_synth.audit.records import Rows, percent, skipped
from hf_synth.audit.usefulness import learnt
from hf_synth.filters.copies import Copies, fingerprints
from hf_synth.methods import get
from hf_synth.records import Example, Prompt
from hf_synth.settings import SynthConfig
from hf_synth.task import Task


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


def test_repetitions_grow_with_the_rows_of_one_source():
    draw = np.random.default_rng(0)
    source = [f"{a} {b} {c} in the {d}" for a in "abcdefghij" for b in "klmnopqrst" for c in "uvwxyz" for d in "äöüß"]
    few, many = (draw.choice(source, rows).tolist() for rows in (300, 2400))
    reference = [Rows(few, np.zeros(300, int), ("one",), np.arange(300))]
    group = duplicates.grouped(reference[0], 0)[0]
    own = Rows(many, np.zeros(2400, int), ("one",), np.arange(2400))
    same = duplicates.grouped(own, 0)[0]
    real = (duplicates.rate(group), 300)
    found = duplicates.exact(own, same, 0, real)
    assert duplicates.rate(same) > 3 * real[0] > 0
    assert found.verdict == "good"
    assert f"(reference {percent(real[0])} of 300 rows)" in found.reason
    assert duplicates.exact(own, same, 0, (0.0, 300)).verdict == "bad"


def test_fewer_real_rows_are_not_called_as_many(clean):
    own, train = Rows(clean[0][:150], clean[1][:150], NAMES, np.arange(150)), REAL.train.rows
    reasons = [learnt(own, some, REAL.test.rows, 0)[0].reason for some in (train.take(range(90)), train)]
    assert "with 90 real ones" in reasons[0]
    assert "with as many real ones" in reasons[1]


def test_classes_of_few_rows_are_counted(clean):
    texts, labels = clean
    kept = [at for at in range(600) if labels[at] != 2 or at < 12]
    rows = Rows([texts[at] for at in kept], labels[kept], NAMES, np.arange(len(kept)))
    found, counts = long_tail(rows, skipped("usefulness", "no reference")), np.bincount(labels[kept])
    assert (found.verdict, found.value) == ("look", 1 / 3)
    assert found.measures["fewest"]["music"] == counts[2] < 10
    assert found.measures["gini"] == pytest.approx(np.abs(counts[:, None] - counts).mean() / 2 / counts.mean())
    assert "1 of 3 fewer than 10" in found.reason


@pytest.mark.parametrize("taught", [True, False])
def test_classes_that_are_rare_in_the_reference_are_judged_by_what_is_learnt_of_them(clean, taught):
    texts, labels = (part[:300] for part in clean)
    train, test = REAL.train.rows, REAL.test.rows
    rare = train.take([at for at in range(400) if train.labels[at] != 2 or at < 180])
    if not taught:  # the texts of another label under that name
        others = [text for text, own in zip(texts, labels, strict=True) if own == 0]
        texts = [others[at % len(others)] if own == 2 else texts[at] for at, own in enumerate(labels)]
    rows = Rows(texts, labels, NAMES, np.arange(300))
    useful = learnt(rows, rare, test, 0)[0]
    found = long_tail(rows, useful)
    told = found.measures
    assert told["head_to_tail"] == pytest.approx(np.bincount(rare.labels).max() / (rare.labels == 2).sum())
    for side in ("synthetic to real", "real to real", "both to real"):
        assert told[side][-1]["macro recall"] == pytest.approx(useful.measures[side]["recall"]["music"], abs=1e-4)
    assert found.verdict == ("good" if taught else "look")
    assert "of the 1 that are rarest in the reference" in found.reason
    if not taught:
        assert found.value < found.limit == pytest.approx(told["real to real"][-1]["macro recall"] - 0.1)
    even = skipped("usefulness", "", tail={**useful.measures["tail"], "head_to_tail": 1.9})
    assert "rarest" not in long_tail(rows, even).reason  # where all are about as frequent, none is rare


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


def test_labels_of_few_rows_do_not_go_with_who_is_spoken_of():
    texts = [f"{'she' if at % 2 else 'he'} said so" for at in range(120)]
    rows = Rows(texts, np.random.default_rng(0).permutation(120), [f"l{at}" for at in range(120)], np.arange(120))
    found = groups(rows, None, 0)
    assert (found.verdict, found.value) == ("good", pytest.approx(1.0))


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


def test_the_reference_repeats_itself_by_meaning_at_as_many_rows():
    def encode(texts):
        return np.stack([np.random.default_rng(zlib.crc32(text[-9:].encode())).normal(size=16) for text in texts])

    own, real = rows_of(9, 0), REAL.test.rows.take(range(100))
    texts = [f"{text} number {at % 10}" for at, text in enumerate(real.texts)]
    said = Real(loaded(replace(real, texts=texts), "real", "test"), None)
    found = inspect(loaded(own), said, instruments=Instruments(encode=encode))["measures"]["duplicates by meaning"]
    assert found["reference_rate"] < 0.6  # of all 100 rows 0.9


def test_mauve_is_of_all_classes_where_rows_are_sorted_by_class(monkeypatch):
    def mauve(one, other, **_):
        like = 1 - abs(one.mean() - other.mean())
        return {"mauve": like, "mauve_interval": [like, like]}

    monkeypatch.setattr(naturalness, "mauve", mauve)
    classes = np.repeat([0.0, 1.0], 100)[:, None]
    sides = [Rows([""] * 200, np.zeros(200, int), [""], np.arange(200), own) for own in (classes[::-1], classes)]
    found = naturalness.closeness(*sides, 0).measures
    assert found["own"]["mauve"] > 0.8 < found["reference"]["mauve"]


def test_rows_with_words_of_the_corpus_are_judged_beside_rows_it_was_not_made_of():
    shots = [" ".join(f"{a}{b}" for b in "pqrstuvwxy") for a in "abcde"]
    rows = rows_of(60, 0)
    texts = [f"so {shots[at % 5][3:-3]} then" if at < 20 else text for at, text in enumerate(rows.texts)]
    rows, read = Rows(texts, rows.labels, NAMES, np.arange(60)), leakage.read(shots)
    found = leakage.corpus_spans(rows, read.copies(texts), None)
    copies = Copies(fingerprints(shots), "text")
    deque(copies.counted(Example({"text": text}, "a", "a", Prompt("x")) for text in texts), 0)
    assert (found.verdict, found.value) == ("look", 20 / 60)
    assert copies.note()["share of the rows with 8 words in a row from one"] == pytest.approx(found.value, abs=1e-4)
    assert {row["row"] for row in found.rows} == {*range(20)}
    usual = leakage.corpus_spans(rows, read.copies(texts), 0.2)
    assert (usual.verdict, usual.limit) == ("good", 0.4)
    assert "(20.0 % of rows it was not made from)" in usual.reason
    shots = ["a whole text of six words", *shots]
    read = leakage.read(shots)
    found = leakage.corpus_spans(rows, read.copies([*texts[:59], shots[0]]), None)
    assert {row["row"] for row in found.rows} == {*range(20)}  # the last row is a text, and no eight words


@pytest.mark.parametrize("method", ["fewgen", "msp", "augment"])
def test_what_a_method_learnt_on_its_way_is_looked_for_in_its_rows(method, tmp_path):
    real = rows_of(90, 5)
    features = Features({"text": Value("string"), "label": ClassLabel(names=NAMES)})
    (tmp_path / "real").mkdir()
    table = Dataset.from_dict({"text": real.texts, "label": real.labels.tolist()}, features=features)
    table.to_parquet(tmp_path / "real/train.parquet")
    task = Task(name="t", labels={name: name for name in NAMES}, prompt='{label}: "')
    (tmp_path / "out/dataset/hf_synth").mkdir(parents=True)
    (tmp_path / "out/journal").mkdir()
    (tmp_path / "out/dataset/hf_synth/facts.json").write_text('{"generator": {"adapter": {"name": "own"}}}')
    settings = get(method).config(shots=str(tmp_path / "real"), shots_per_class=4, shots_seed=1)
    write_local(tmp_path / "out", SynthConfig(task="t", method=method), settings, None)
    known = learnt_of(tmp_path / "out/dataset", task)
    assert (len(known.texts), len(known.others)) == (12, 78)
    own = rows_of(60, 0)
    texts = [known.texts[0], f"Yes: {known.texts[1]}", *own.texts[2:]]
    said = inspect(loaded(Rows(texts, own.labels, NAMES, np.arange(60))), learnt=known)["verdicts"]
    found = {one["check"]: one for one in said[:5]}
    assert [row["row"] for row in found["corpus rows"]["rows"]] == [0]
    assert [row["row"] for row in found["corpus spans"]["rows"]] == [0, 1]
    assert found["corpus spans"]["value"] == 2 / 60


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


def test_a_row_with_two_canaries_is_one_row(clean):
    clean[0][3] += " The code is 4711 and the name is Rumpel."
    found = canaries(Rows.plain(clean[0]), ["the code is 4711", "the name is Rumpel"], None, 0)
    assert (found.value, found.reason, len(found.rows)) == (1, "1 of 600 rows hold one of 2 canaries", 2)


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


def test_calibration_is_not_judged_where_no_real_rows_teach(clean):
    found = judged(clean[0][:100], clean[1][:100], real=Real(REAL.test, None))["calibration"]
    assert found["verdict"] == "skipped"
    assert "less sure than right" in found["reason"]
    assert found["reason"].endswith("the reference has no train split to compare with")


def test_the_rows_that_the_oracle_is_surest_of_come_first(clean):
    texts, labels = clean
    texts[7] = " ".join(OWN["music"].split()[:12])
    labels[7] = 0
    found = judged(texts, labels)["oracle"]
    assert found["rows"][0]["row"] == 7
