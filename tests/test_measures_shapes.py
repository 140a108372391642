"""Measures of tags and of questions: by hand, and with planted faults."""

import evaluate
import pytest

from hf_synth.metrics import answerability as questions
from hf_synth.metrics import tag_distribution as tags
from hf_synth.metrics.answerability import answerability, sentences
from hf_synth.metrics.tag_distribution import divergence, span_agreement, tag_distribution

TOKENS = [["Ann", "met", "Bob"], ["ann", "saw", "New", "York"], ["so", "Ann", "left"], ["nobody"]]
TAGS = [["B-P", "O", "B-P"], ["B-P", "O", "B-L", "I-L"], ["O", "O", "O"], ["O"]]
RIVERS = "The Rhine is long. It rises in the Alps. Basel lies on the river."


def test_tags_are_counted_by_label():
    found = tag_distribution(TOKENS, TAGS)
    assert (found["texts"], found["entities_per_text"]) == (4, 1.0)
    assert found["tagged_share"] == 5 / 11
    assert found["labels"]["P"] == {"share": 0.75, "tokens": 1.0, "names": 2, "most_frequent": 1.0}
    assert found["labels"]["L"] == {"share": 0.25, "tokens": 2.0, "names": 1, "most_frequent": 1.0}


def test_a_name_left_untagged_lowers_agreement_and_is_named():
    found = span_agreement(TOKENS, TAGS)
    assert found["span_agreement"] == 4 / 5
    assert found["untagged"] == {"ann": 1}
    low, high = found["span_agreement_interval"]
    assert low < 0.8 < high
    whole = [[*row] for row in TAGS]
    whole[2][1] = "B-P"
    assert span_agreement(TOKENS, whole)["span_agreement"] == 1.0
    whole[2][1] = "B-L"  # tagged, but not as it usually is
    assert span_agreement(TOKENS, whole)["span_agreement"] == 4 / 5
    assert span_agreement([["a"]], [["O"]])["span_agreement"] is None


def test_a_short_name_in_other_case_is_another_word():
    tokens, tags = [["US", "troops"], ["tell", "us"], ["the", "US"]], [["B-L", "O"], ["O", "O"], ["O", "O"]]
    assert span_agreement(tokens[:2], tags[:2])["span_agreement"] == 1.0
    assert span_agreement(tokens, tags)["span_agreement"] == 1 / 2  # the third text lacks a tag


def test_a_name_whose_token_holds_punctuation_is_found_where_it_is_left_untagged():
    found = span_agreement([["the", "U.S.", "won"], ["the", "U.S.", "lost"]], [["O", "B-L", "O"], ["O", "O", "O"]])
    assert (found["span_agreement"], found["untagged"]) == (1 / 2, {"u.s.": 1})


def test_divergence_of_label_shares():
    ours = tag_distribution(TOKENS, TAGS)
    assert divergence(ours, ours) == 0
    other = tag_distribution([["x"]], [["B-Z"]])
    assert divergence(ours, other) == pytest.approx(1.0)
    half = tag_distribution([["x", "y"]], [["B-P", "B-L"]])
    assert 0 < divergence(ours, half) == divergence(half, ours) < 1
    assert divergence(tag_distribution([["x"]], [["O"]]), ours) is None


def test_questions_that_can_be_answered():
    answers, starts = ["the Alps", "Basel"], [RIVERS.index("the Alps"), RIVERS.index("Basel")]
    asked = ["Where does it rise, in what Alps?", "Which city lies on the river?"]
    found = answerability([RIVERS] * 2, asked, answers, starts, ["Alps", "Bonn"])
    assert (found["rows"], found["in_place"], found["given_away"]) == (2, 1.0, 0.5)
    assert (found["located"], found["lead"]) == (1.0, 0.0)
    assert found["located_by_chance"] == pytest.approx(1 / 3)
    assert found["answered"] == 0.5
    wrong = answerability([RIVERS], ["How long is the Rhine?"], ["Basel"], [0])
    assert (wrong["in_place"], wrong["located"], wrong["lead"]) == (0.0, 1.0, 1.0)
    elsewhere = answerability([RIVERS], ["How long is the Rhine?"], ["Basel"], [RIVERS.index("Basel")])
    assert elsewhere["located"] == 0.0
    assert answerability(["One sentence."], ["What?"], ["One"], [0])["located"] is None


def test_an_answer_is_given_away_without_spaces_too():
    text = "北京是中国的首都。"
    asked = ["北京是中国的首都，那么北京在哪里？", "中国的首都是哪里？"]
    assert answerability([text] * 2, asked, ["北京"] * 2, [0, 0])["given_away"] == 0.5


def test_ties_count_as_their_share():
    found = answerability([RIVERS], ["What?"], ["Basel"], [RIVERS.index("Basel")])
    assert found["located"] == pytest.approx(1 / 3)


def test_sentences_end_where_sentences_end():
    text = 'He said "No." Then 3.5 km on, Dr. who left? Yes.'
    assert [text[a:b].strip() for a, b in sentences(text)] == [
        'He said "No."',
        "Then 3.5 km on, Dr. who left?",
        "Yes.",
    ]


def test_both_load_by_path():
    found = evaluate.load(tags.__file__).compute(
        tokens=TOKENS, tags=TAGS, reference_tokens=TOKENS[:2], reference_tags=TAGS[:2]
    )
    assert found["reference"]["span_agreement"] == 1.0
    assert found["divergence"] == 0
    measure = evaluate.load(questions.__file__)
    assert measure.compute(contexts=[RIVERS], questions=["Where?"], answers=["Basel"], starts=[41])["rows"] == 1
    with pytest.raises(ValueError, match="row 0 has 1 tokens and 2 tags"):
        evaluate.load(tags.__file__).compute(tokens=[["a"]], tags=[["O", "O"]])
