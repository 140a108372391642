"""Faults planted in generated text are found and named, and a clean set gets no remark."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
from inspect_cases import (
    GERMAN,
    NAMES,
    OWN,
    REAL,
    judged,
    loaded,
    rows_of,
)

from hf_synth.audit.boilerplate import openings
from hf_synth.audit.data import Real
from hf_synth.audit.inspect import inspect
from hf_synth.audit.language import other_languages
from hf_synth.audit.privacy import personal
from hf_synth.audit.records import Rows
from hf_synth.audit.texts import counted, length_tells, short


@pytest.fixture
def clean():
    rows = rows_of(600, 0)
    return list(rows.texts), rows.labels.copy()


@pytest.fixture(scope="module")
def report():
    return inspect(loaded(rows_of(600, 0)), REAL)


def test_a_clean_set_gets_no_remark(report):
    said = {own["check"]: own["verdict"] for own in report["verdicts"]}
    assert not [check for check, verdict in said.items() if verdict in ("look", "bad")]
    for check in (
        "test rows",
        "near-duplicates",
        "wrong labels",
        "class names",
        "balance",
        "long tail",
        "other languages",
    ):
        assert said[check] == "good", check
    assert set(said) == set(report["measures"])
    assert (report["n"], report["seed"]) == (600, 0)
    assert report["versions"]["rensa"]
    json.dumps(report)


def test_test_rows_are_named(clean):
    texts, labels = clean
    for at, source in zip((5, 77, 300), (0, 9, 20), strict=True):
        texts[at] = REAL.test.rows.texts[source].upper()
    found = judged(texts, labels)["test rows"]
    assert found["verdict"] == "bad"
    assert {(row["row"], row["reference_row"]) for row in found["rows"]} == {(5, 0), (77, 9), (300, 20)}


def test_two_words_of_a_test_row_are_no_leak(clean):
    texts, labels = clean
    short = Rows(["lovely soup", *REAL.test.rows.texts], np.append(0, REAL.test.rows.labels), NAMES, np.arange(401))
    texts[3] = "Lovely soup!"
    assert judged(texts, labels, real=Real(loaded(short), None))["test rows"]["verdict"] == "good"


def test_copies_of_the_corpus_are_named(clean):
    texts, labels = clean
    found = judged(texts, labels, corpus=["nothing of the sort is here", texts[8]])["corpus rows"]
    assert (found["verdict"], [row["row"] for row in found["rows"]]) == ("look", [8])


def test_edited_copies_are_named(clean):
    texts, labels = clean
    long = [at for at, text in enumerate(texts) if len(text.split()) >= 12]
    for at, source in zip(long[:30], long[30:60], strict=True):
        own = texts[source].split()
        own[4] = "altered"
        texts[at], labels[at] = " ".join(own), labels[source]
    found = judged(texts, labels)["near-duplicates"]
    named = {row["row"] for row in found["rows"]}
    assert found["verdict"] == "look"
    assert len(named & set(long[:60])) >= 57
    assert len(named - set(long[:60])) <= 3
    assert found["value"] == pytest.approx(30 / 600, abs=0.005)


def test_one_text_that_stands_everywhere_is_bad(clean):
    texts, labels = clean
    texts[100:] = [texts[0]] * 500
    labels[100:] = labels[0]
    found = judged(texts, labels)
    assert [found[check]["verdict"] for check in ("exact duplicates", "near-duplicates")] == ["bad", "bad"]


def test_a_text_with_two_labels_is_named_with_its_group(clean):
    texts, labels = clean
    texts[10], labels[10] = texts[2].lower(), (labels[2] + 1) % 3
    found = judged(texts, labels)
    rows = found["duplicates, two labels"]["rows"]
    assert [(row["row"], row["group"]) for row in rows] == [(2, 2), (10, 2)]
    assert rows[1]["label"] == NAMES[labels[10]]
    assert found["exact duplicates"]["value"] == pytest.approx(1 / 600)


def test_flipped_labels_are_ranked_first(clean):
    texts, labels = clean
    flipped = random.Random(0).sample(range(600), 120)
    truth = labels.copy()
    for at in flipped:
        labels[at] = (labels[at] + 1) % 3
    found = judged(texts, labels)["wrong labels"]
    first = found["rows"][:60]
    assert found["verdict"] in ("look", "bad")
    assert np.mean([row["row"] in flipped for row in first]) >= 0.4
    scores = [row["score"] for row in found["rows"]]
    assert scores == sorted(scores)
    assert np.mean([row["suggested"] == NAMES[truth[row["row"]]] for row in first]) >= 0.4
    assert found["value"] == pytest.approx(0.2, abs=0.08)


def test_labels_that_texts_do_not_tell_are_not_judged(clean):
    texts, labels = clean
    found = judged(texts, np.random.default_rng(0).permutation(labels))["wrong labels"]
    assert found["verdict"] == "skipped"
    assert "cannot judge" in found["reason"]


def test_labels_of_few_rows_are_ranked_and_not_judged(clean):
    texts, labels = clean
    labels[:30] = (labels[:30] + 1) % 3
    found = judged(texts[:90], labels[:90])["wrong labels"]
    assert found["verdict"] == "skipped"
    assert "cannot judge so few labels" in found["reason"]
    assert found["rows"]


def test_swapped_class_names_are_named(clean):
    found = judged(*clean, names=["travel", "cooking", "music"])["class names"]
    assert found["verdict"] == "bad"
    assert "'travel' looks like 'cooking'" in found["reason"]
    assert "'cooking' looks like 'travel'" in found["reason"]
    assert "music" not in found["reason"]


def test_one_class_has_no_name_to_be_swapped_with(clean):
    texts, labels = clean
    own = [text for text, label in zip(texts, labels, strict=True) if label == 1]  # of travel, said to be of cooking
    assert judged(own, [0] * len(own))["class names"]["verdict"] == "skipped"


def test_other_class_names_are_matched_by_texts(clean):
    report = inspect(loaded(Rows(*clean, ["Kochen", "Reise", "Musik"], np.arange(600))), REAL)
    assignment = report["measures"]["class names"]["assignment"]
    assert assignment == {"Kochen": "cooking", "Reise": "travel", "Musik": "music"}


def test_other_names_of_very_small_classes_are_a_whole_sentence(clean):
    texts, _ = clean
    found = judged(texts, np.arange(600) // 6, names=[f"class {at}" for at in range(100)])["class names"]
    assert (found["verdict"], found["reason"]) == ("look", "no class name is the reference's")


def test_imbalance_is_judged_beside_the_reference(clean):
    texts, labels = clean
    kept = [at for at in range(600) if labels[at] != 2 or at < 40]
    some = [texts[at] for at in kept], labels[kept]
    found = judged(*some)["balance"]
    assert found["verdict"] == "bad"
    assert "'music'" in found["reason"]
    rows = Rows(*some, NAMES, np.arange(len(kept)))
    assert judged(*some, real=Real(loaded(rows), None))["balance"]["verdict"] == "good"


def test_a_class_that_is_missing_is_named(clean):
    texts, labels = clean
    kept = np.flatnonzero(labels != 2)
    found = judged([texts[at] for at in kept], labels[kept], names=NAMES[:2])["balance"]
    assert (found["verdict"], found["value"]) == ("bad", 0)
    assert "'music' has 0.0 %" in found["reason"]


def test_a_class_of_two_words(clean):
    texts, labels = clean
    texts = [" ".join(text.split()[:2]) if own == 1 else text for text, own in zip(texts, labels, strict=True)]
    found = judged(texts, labels)["short texts"]
    assert found["verdict"] == "bad"
    assert {row["row"] for row in found["rows"]} == set(np.flatnonzero(labels == 1))


def test_the_limit_of_short_texts_is_that_beside_the_reference(clean):
    real = REAL.test.rows
    cut = [
        " ".join(text.split()[: 2 if at % 20 and real.labels[at] == 1 else 99]) for at, text in enumerate(real.texts)
    ]
    texts = [" ".join(text.split()[:2]) if own == 1 else text for text, own in zip(*clean, strict=True)]
    sides = [replace(rows, texts=own) for rows, own in ((rows_of(600, 0), texts), (real, cut))]
    found = short(sides[0], counted(sides[0]), (sides[1], counted(sides[1])))
    assert (found.verdict, found.value) == ("good", 1.0)
    assert found.limit > 1.0


def test_labels_given_away_by_length(clean):
    texts, labels = clean
    texts = [text + " and so on and so forth" * (3 * own) for text, own in zip(texts, labels, strict=True)]
    found = judged(texts, labels, real=None)["labels by length"]
    assert found["verdict"] == "bad"
    assert found["value"] > 0.9


def test_labels_of_many_classes_given_away_by_length():
    labels = np.repeat(np.arange(100), 15)
    rows = Rows(["so " * (own + 1) for own in labels], labels, [f"c{own}" for own in range(100)], np.arange(1500))
    assert length_tells(rows, labels + 1, 0).verdict == "bad"


def test_a_refusal_that_opens_a_class(clean):
    texts, labels = clean
    opened = np.flatnonzero(labels == 0)[: int(0.3 * (labels == 0).sum())]
    for at in opened:
        texts[at] = f"As an AI language model, I cannot write that. {texts[at]}"
    found = judged(texts, labels)
    assert {row["row"] for row in found["refusals"]["rows"]} == set(opened)
    assert found["refusals"]["verdict"] == "bad"
    assert found["openings"]["verdict"] in ("look", "bad")
    assert "'as an ai language'" in found["openings"]["reason"]
    assert {row["row"] for row in found["openings"]["rows"]} == set(opened)


def test_an_opening_of_the_reference_hides_none_of_another_class(clean):
    texts, labels = clean
    real = REAL.test.rows
    begun = ["", "It is well known that ", ""]
    usual = [begun[own] + text for text, own in zip(real.texts, real.labels, strict=True)]
    for at, own in enumerate(labels):
        if own == 1 or (own == 0 and at % 2):
            texts[at] = (begun[own] or "Here is the text about ") + texts[at]
    found = openings(replace(rows_of(600, 0), texts=texts), replace(real, texts=usual), 0)
    assert found.verdict == "bad"
    assert "of 'cooking' begin with 'here is the text' (reference 0.0 %)" in found.reason


def test_another_language(clean):
    pytest.importorskip("py3langid")
    texts, labels = clean
    for at in range(0, 600, 10):
        texts[at] = f"{GERMAN[at % 4]}. {GERMAN[(at + 1) % 4]}."
    found = judged(texts, labels)["other languages"]
    assert found["verdict"] in ("look", "bad")
    assert {row["row"] for row in found["rows"]} == set(range(0, 600, 10))
    assert {row["language"] for row in found["rows"]} == {"de"}


def test_no_text_is_called_of_another_language_and_of_the_main_one():
    pytest.importorskip("py3langid")
    rng, words = random.Random(1), [*(f"w{at}" for at in range(60)), "film", "plot", "great", "bad"]
    texts = [" ".join(rng.choices(words, k=rng.randrange(3, 25))) for _ in range(200)]
    texts += ["The film is long and the plot is thin."] * 200
    found = other_languages(replace(rows_of(400, 0), texts=texts), np.full(400, 6))
    assert found.measures["main"] == "en"
    assert found.rows
    assert "en" not in found.measures["others"]


def test_an_empty_text_is_named(clean):
    texts, labels = clean
    texts[7] = " \n..."
    found = judged(texts, labels)["empty texts"]
    assert (found["verdict"], [row["row"] for row in found["rows"]]) == ("look", [7])


def test_a_set_of_nothing_but_empty_texts_is_judged():
    found = judged([" "] * 30, [at % 3 for at in range(30)], real=None)
    assert found["empty texts"]["verdict"] == "bad"


def test_texts_of_one_mould_are_less_diverse(clean):
    _, labels = clean
    rng = random.Random(0)
    texts = [f"the {rng.choice(OWN[NAMES[own]].split())} is good and I like it very much" for own in labels]
    found = judged(texts, labels)
    assert found["self-BLEU-4"]["verdict"] == found["distinct-2"]["verdict"] == "look"
    assert found["told apart"]["verdict"] == "look"
    assert found["phrases"]["verdict"] == "bad"


def test_personal_data_is_never_written(clean):
    texts, labels = clean
    texts[4] = texts[9] = "Mail jane.doe@example.org or call +1 (212) 555-0187 now, she said."
    found = judged(texts, labels, corpus=[texts[4]])
    assert {row["row"] for row in found["corpus rows"]["rows"]} == {4, 9}
    written = json.dumps(found)
    assert "jane" not in written
    assert "0187" not in written
    assert "<" in found["corpus rows"]["rows"][0]["text"]


@pytest.mark.extras
def test_personal_data_is_named(clean):
    pytest.importorskip("presidio_analyzer")
    texts, labels = clean
    texts[4] += " Write to jane.doe@example.org."
    texts[5] += " My card is 4111 1111 1111 1111."
    texts[6] += " It ran on 192.168.13.7 then."
    texts[7] += " See https://example.org/a for more."
    found = judged(texts, labels)["personal data"]
    kinds = {row["row"]: set(row["kinds"]) for row in found["rows"]}
    assert kinds == {4: {"EMAIL_ADDRESS"}, 5: {"CREDIT_CARD"}, 6: {"IP_ADDRESS"}}
    assert "<EMAIL_ADDRESS>" in next(row["text"] for row in found["rows"] if row["row"] == 4)
    assert "URL 1" in found["reason"]


@pytest.mark.extras
def test_personal_data_is_named_wherever_it_stands(clean):
    pytest.importorskip("presidio_analyzer")
    texts, _ = clean
    texts[4] += " So it went on." * 900 + " Write to jane.doe@example.org."
    texts[5] = f"{'x ' * 2495} jane.doe@example.org, she said"  # across the end of the first piece
    found = personal(Rows.plain(texts))
    assert found.rows == [{"row": at, "kinds": {"EMAIL_ADDRESS": 1}} for at in (4, 5)]
