"""Parse trees: the bracket notation there and back, reasons for malformed ones, and parses made of known slots."""

import random
from collections import Counter

import pytest

from hf_synth.slots import drawn, listed, said, unasked
from hf_synth.trees import Tree, compose, parse, spoken, tokenised

NESTED = (
    "[IN:CREATE_REMINDER Remind [SL:PERSON_REMINDED me ] of [SL:TODO [IN:GET_TODO [SL:TODO the party ] "
    "[SL:DATE_TIME at 9 : 30 ] ] ] ]"
)


@pytest.mark.parametrize("text", [NESTED, "[IN:GET_SUNSET when ]", "[IN:X [SL:A [IN:Y ] b ] ]"])
def test_a_parse_is_written_as_it_was_read(text):
    assert str(parse(text)) == text


def test_a_tree_knows_its_utterance_its_slots_and_its_structure():
    tree = parse(NESTED)
    assert " ".join(tree.words()) == "Remind me of the party at 9 : 30"
    assert tree.slots() == [
        ("SL:PERSON_REMINDED", "me"),
        ("SL:TODO", "the party at 9 : 30"),
        ("SL:TODO", "the party"),
        ("SL:DATE_TIME", "at 9 : 30"),
    ]
    assert str(tree.structure()) == NESTED.replace(" Remind", "").replace(" of", "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no intent at the root"),
        ("rain today", "no intent at the root"),
        ("[SL:B b ]", "no intent at the root"),
        ("[IN:A [SL:B " * 600 + "a" + " ] ]" * 600, "nested too deep"),
        ("[IN:A b", "unbalanced brackets"),
        ("[IN:A b ] ]", "unbalanced brackets"),
        ("[IN:A b ] c", "unbalanced brackets"),
        ("[IN:A b ] [IN:A b ]", "unbalanced brackets"),
        ("[IN:A b] ]", "unbalanced brackets"),
        ("[IN:A [b ] ]", "unknown name"),
        ("[IN:A [SL: b ] ]", "unknown name"),
        ("[IN:A [SL:C b ] ]", "unknown name"),
        ("[IN:A [SL:B [SL:B b ] ] ]", "slot inside slot"),
        ("[IN:A [IN:A b ] ]", "intent inside intent"),
        ("[IN:A [SL:B ] ]", "empty slot"),
        ("[IN:A [SL:B [IN:A ] ] ]", "empty slot"),
    ],
)
def test_malformed_parses_have_one_reason(text, reason):
    assert parse(text, names={"IN:A", "SL:B"}) == reason


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Don't wake me at 9:30am!", "Don ' t wake me at 9 : 30 am !"),
        ("I’m up by 6 p.m.", "I ' m up by 6 p . m ."),
        ("my brother-in-law, on 8/1", "my brother - in - law , on 8 / 1"),
        ("the 7th, 80s and 5K", "the 7th , 80s and 5K"),
        ("already 9 : 30 am", "already 9 : 30 am"),
        ("मुझे 5 बजे जगाओ।", "मुझे 5 बजे जगाओ ।"),  # vowel signs are no marks of their own
    ],
)
def test_texts_are_cut_as_topv2_cuts_them(text, tokens):
    assert tokenised(text) == tokens.split()


def test_a_parse_is_composed_of_known_slots_in_the_texts_own_writing():
    value = "[IN:GET_TODO [SL:TODO the Party ] [SL:DATE_TIME at 9:30 ] ]"
    slots = {"SL:TODO": "[IN:GET_TODO [SL:TODO the party ] [SL:DATE_TIME at 9 : 30 ] ]", "SL:PERSON_REMINDED": "ME"}
    assert str(compose("IN:CREATE_REMINDER", "Remind me of the party at 9:30", slots)) == NESTED
    assert compose("IN:CREATE_REMINDER", "Remind me of THE PARTY at 9:30", slots).slots()[2] == (
        "SL:TODO",
        "THE PARTY",
    )
    assert spoken(value) == "the Party at 9:30"
    assert str(compose("IN:A", "No slots, please", {})) == "[IN:A No slots , please ]"


@pytest.mark.parametrize(
    ("text", "slots", "reason"),
    [
        ("rain on Monday", {"SL:A": "sun"}, "slot missing"),
        ("it is sunny", {"SL:A": "sun"}, "slot missing"),
        ("rain, rain, go away", {"SL:A": "rain"}, "slot twice"),
        ("Boston Common on Monday", {"SL:A": "Boston Common", "SL:B": "common on"}, "slots overlap"),
        ("Boston Common", {"SL:A": "boston", "SL:B": "Boston Common"}, "slots overlap"),
        ("rain [today ]", {"SL:A": "rain"}, "brackets in text"),
        ("rain", {"SL:A": "[IN:B rain"}, "unbalanced brackets"),
        ("rain", {"SL:A": "[SL:B rain ]"}, "slot inside slot"),
        ("rain", {"SL:A": " "}, "empty slot"),
    ],
)
def test_what_cannot_be_composed_has_a_reason(text, slots, reason):
    assert compose("IN:X", text, slots) == reason


VALUES = {
    "SL:TODO": {"IN:A": ["eat", "sleep"], "IN:B": ["run"]},
    "SL:WHEN": {"IN:A": ["today", "for today"], "IN:C": []},
    "SL:WHO": {"IN:A": ["me"]},
}


def test_slots_are_drawn_within_bounds_the_first_most_often():
    rng = random.Random(0)
    draws = [drawn(VALUES, "IN:A", rng, (1, 2)) for _ in range(2000)]
    assert {len(draw) for draw in draws} == {1, 2}
    often = Counter(slot for draw in draws for slot in draw)
    assert often["SL:TODO"] > often["SL:WHEN"] > often["SL:WHO"] > 150
    assert all([*draw] == [slot for slot in VALUES if slot in draw] for draw in draws)
    assert {draw["SL:TODO"] for draw in draws if "SL:TODO" in draw} == {"eat", "sleep"}
    assert drawn(VALUES, "IN:B", rng, (2, 3)) == {"SL:TODO": "run"}
    assert drawn(VALUES, "IN:C", rng) == {}
    assert drawn(VALUES, "IN:A", random.Random(3)) == drawn(VALUES, "IN:A", random.Random(3))


def test_values_are_listed_without_brackets():
    assert listed({"a": "me", "b": "[IN:X [SL:Y mom ] ]", "c": "at 5"}) == '"me", "mom" and "at 5"'
    assert listed({"a": "me"}) == '"me"'


@pytest.mark.parametrize(
    ("text", "slots", "more"),
    [
        ("remind me to eat", {"SL:TODO": "eat", "SL:WHO": "me"}, False),
        ("remind me to eat", {"SL:TODO": "eat"}, True),
        ("eat for today", {"SL:WHEN": "today", "SL:TODO": "eat"}, True),
        ("eat for today", {"SL:WHEN": "for today", "SL:TODO": "eat"}, False),
        ("a reminder to run", {"SL:TODO": "run"}, False),
        ("eat at 8", {"SL:TODO": "eat"}, True),
    ],
)
def test_a_text_that_says_more_than_its_parse_is_found(text, slots, more):
    assert unasked(compose("IN:A", text, slots), VALUES) is more


@pytest.mark.parametrize(
    ("text", "asked", "found"),
    [
        ("remind me to eat", {"SL:TODO": "eat"}, {"SL:TODO": "eat", "SL:WHO": "me"}),
        ("eat for today", {"SL:WHEN": "today", "SL:TODO": "eat"}, {"SL:WHEN": "for today", "SL:TODO": "eat"}),
        ("eat today", {"SL:WHEN": "for today"}, {"SL:WHEN": "for today", "SL:TODO": "eat"}),
        ("run me through", {"SL:TODO": "eat"}, {"SL:TODO": "eat", "SL:WHO": "me"}),
    ],
)
def test_a_text_says_what_was_asked_and_known_values_of_other_slots(text, asked, found):
    assert said("IN:A", text, asked, VALUES) == found


def test_malformed_trees_are_never_trees():
    rng = random.Random(1)
    pieces = ["[IN:A", "[SL:B", "]", "word", "[", "[SL:B]", "a]b"]
    for _ in range(3000):
        text = " ".join(rng.choices(pieces, k=rng.randrange(9)))
        tree = parse(text)
        assert isinstance(tree, str) or (isinstance(tree, Tree) and str(tree) == text)
