"""Overlap with a reference: the automaton against a search of every span, planted copies named by row."""

import random

import evaluate
import numpy as np
import pytest

from hf_synth.errors import InputError
from hf_synth.metrics import overlap as overlap_module
from hf_synth.metrics.overlap import Reference, overlap, worst
from hf_synth.metrics.suffix_automaton import SuffixAutomaton
from hf_synth.metrics.tokens import words


def holds(text, part):
    return any(text[at : at + len(part)] == part for at in range(len(text) - len(part) + 1))


@pytest.mark.parametrize("seed", range(30))
def test_automaton_finds_what_a_search_of_every_span_finds(seed):
    draw = random.Random(seed)
    letters = "abc"[: draw.randint(1, 3)]
    reference = [draw.choices(letters, k=draw.randint(0, 14)) for _ in range(draw.randint(0, 7))]
    automaton = SuffixAutomaton(reference)
    assert len(automaton) <= 2 * sum(map(len, reference)) + 1
    for _ in range(10):
        text = draw.choices("abcd", k=draw.randint(0, 14))
        spans = [
            [n for n in range(1, at + 2) if any(holds(own, text[at + 1 - n : at + 1]) for own in reference)]
            for at in range(len(text))
        ]
        expected = [max(own, default=0) for own in spans]
        found, longest, row = automaton.matches(text)
        assert found == expected
        assert longest == max(expected, default=0)
        if longest:
            at = expected.index(longest)
            assert row == min(r for r, own in enumerate(reference) if holds(own, text[at + 1 - longest : at + 1]))
        else:
            assert row == -1


def sentences(rows, seed):
    """Texts of 6 to 25 words, as uneven as real ones."""
    draw = random.Random(seed)
    known = [f"{a}{b}" for a in ("ba", "ce", "di", "fo", "gu") for b in "bcdfghjklmnprstvwz"]
    weights = [1 / (at + 1) for at in range(len(known))]
    return [" ".join(draw.choices(known, weights, k=draw.randint(6, 25))) for _ in range(rows)]


def test_shares_of_n_grams_are_those_of_sets_of_n_grams():
    texts, reference = [*sentences(80, 0), "", "ba"], sentences(200, 1)
    found = overlap(texts, reference)
    for n in range(1, 11):
        known = {tuple(own[i : i + n]) for own in map(words, reference) for i in range(len(own) - n + 1)}
        grams = [tuple(own[i : i + n]) for own in map(words, texts) for i in range(len(own) - n + 1)]
        share = sum(gram in known for gram in grams) / len(grams)
        assert found[f"copied_{n}"] == pytest.approx(share)
        low, high = found[f"copied_{n}_interval"]
        assert low <= share <= high
    assert found["rows"] == 82
    assert found["reference_rows"] == 200
    assert found["words"] == sum(len(words(text)) for text in texts)


def test_planted_copies_are_named_by_row():
    draw = random.Random(0)
    texts, reference = sentences(2000, 2), sentences(500, 3)
    rows, copied = draw.sample(range(2000), 20), draw.sample(range(500), 20)
    for row, at in zip(rows, copied, strict=True):
        changed = reference[at].upper().replace(" ", "  ") + " !"
        texts[row] = draw.choice([reference[at], changed, reference[at].replace(" ", ", ", 2)])
    found = overlap(texts, reference)
    named = {one["row"]: one["reference"] for one in found["offenders"] if one["verbatim"]}
    assert named == dict(zip(rows, copied, strict=True))
    assert found["verbatim"] == 20 / 2000
    low, high = found["verbatim_interval"]
    assert low < 0.01 < high
    assert [one["verbatim"] for one in found["offenders"][:20]] == [True] * 20


def test_a_copied_span_inside_another_text_is_found_and_measured():
    reference = ["one two three four five six seven eight nine ten", "red green blue"]
    texts = ["nothing of it", "So: two, three four FIVE six seven eight nine!", "x red green blue y", "red green blue"]
    found = overlap(texts, reference)
    assert found["offenders"] == [
        {"row": 3, "reference": 1, "verbatim": True, "longest": 3, "words": 3},
        {"row": 1, "reference": 0, "verbatim": False, "longest": 8, "words": 9},
    ]
    assert found["spans"] == 0.25
    assert found["longest"] == 8
    assert found["mean_longest"] == (0 + 8 + 3 + 3) / 4
    assert [one["row"] for one in overlap(texts, reference, span=3)["offenders"]] == [3, 1, 2]
    assert [one["row"] for one in overlap(texts, reference, span=3, most=2)["offenders"]] == [3, 1]


def test_spans_end_where_reference_texts_end():
    found = overlap(["a b c d"], ["a b", "c d"])
    assert found["longest"] == 2
    assert found["copied_2"] == pytest.approx(2 / 3)
    assert found["verbatim"] == 0
    assert found["copied_5"] is None


def test_texts_without_words_are_no_copies():
    assert overlap(["!!", ""], ["??", "a"])["verbatim"] == 0


def test_a_reference_serves_several_sets_and_pieces_make_the_whole(monkeypatch):
    reference, texts = Reference(sentences(100, 4)), sentences(50, 5)
    whole = reference.copies(iter(texts))
    monkeypatch.setattr(overlap_module, "CHUNK", 7)
    again = reference.copies(texts)
    for name in ("words", "longest", "reference", "verbatim", "hits"):
        assert np.array_equal(getattr(whole, name), getattr(again, name))
    assert overlap(texts, reference) == overlap(texts, sentences(100, 4))
    assert all(whole.longest[worst(whole, 4)] >= 4)


def test_it_loads_by_path():
    texts, reference = sentences(20, 6), sentences(30, 7)
    found = evaluate.load(overlap_module.__file__).compute(data=texts, reference=reference, span=3)
    assert found == overlap(texts, reference, span=3)


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(InputError, match="needs a text"):
        overlap([], ["a"])
    with pytest.raises(InputError, match="needs a reference"):
        overlap(["a"], [])
    with pytest.raises(InputError, match="got 0"):
        overlap(["a"], ["a"], span=0)
