"""Answers that a context offers: by rules, by a trained student, and one at random."""

import random
import time

import pytest
import torch
from transformers import BertConfig, BertForTokenClassification

from hf_synth.candidates import Candidate, by_student, random_answer, rules
from hf_synth.errors import InputError
from hf_synth.students import build_reader_tokenizer


def found(context):
    return [(context[start:end], kind) for start, end, kind in rules(context)]


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ("It opened on 4 July 1776 and closed on July 4, 1801.", ["4 July 1776", "July 4, 1801"]),
        ("It ran from March 2001 until the 3rd of May.", ["March 2001", "3rd of May"]),
        ("Born 1936-04-07, died in 44 BC or AD 79.", ["1936-04-07", "44 BC", "AD 79"]),
        ("The 1990s, the war of 1939–45, the late 19th century.", ["1990s", "1939–45", "late 19th century"]),
        ("It rained on Tuesday and in October.", ["Tuesday", "October"]),
        ("You may march in 1999.", ["1999"]),
    ],
)
def test_dates(context, expected):
    assert [text for text, kind in found(context) if kind == "date"] == expected


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ("it cost $5.5 million and 12% of 1,234,567 people", ["$5.5 million", "12%", "1,234,567"]),
        ("over 40 km away, 3 hours or seven days later", ["40 km", "3 hours", "seven days"]),
        ("the 2nd of twenty-one, at 37 °C", ["2nd", "twenty-one", "37 °C"]),
        ("version x86 of v2.0b", []),
        ("about 65 kilometers, 0.5 percent.", ["65 kilometers", "0.5 percent"]),
    ],
)
def test_numbers(context, expected):
    assert [text for text, kind in found(context) if kind == "number"] == expected


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ("Rain fell. Then Marie Curie met Albert Einstein in Paris.", ["Marie Curie", "Albert Einstein", "Paris"]),
        ("In the end the Bank of England and J. R. R. Tolkien won.", ["Bank of England", "J. R. R. Tolkien"]),
        ("Rain fell. NASA was late. Snow fell.", ["NASA"]),
        ("The Beatles sang. During World War II it ended.", ["Beatles", "World War II"]),
        ("they saw Super Bowl 50 near São Paulo's Óbidos-Gate", ["Super Bowl 50", "São Paulo's Óbidos-Gate"]),
        ("The. And In. A", []),
        ("he said: Films are art. Art is long", []),
    ],
)
def test_names(context, expected):
    assert [text for text, kind in found(context) if kind == "name"] == expected


def test_quoted_titles_lose_their_quotes_and_hide_what_is_inside():
    context = 'He wrote "The Raven," then “Annabel Lee 2” and said "no way".'
    assert found(context) == [("The Raven", "quote"), ("Annabel Lee 2", "quote")]


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (
            "The seeds are carried by strong winds, and in the autumn of that year.",
            ["seeds", "strong winds", "autumn"],
        ),
        ("Workers were paid in well-known coins with a hole.", ["well-known coins", "hole"]),
        ("It was done by five large red coal barges quickly and badly, as stated.", []),  # too long; no nouns
        ("They came from Rome in 1999 with it.", []),
        ("In general, for example, it is well known in part as one of them.", []),
    ],
)
def test_phrases_stand_between_function_words(context, expected):
    assert [text for text, kind in found(context) if kind == "phrase"] == expected


def test_candidates_are_in_order_apart_and_of_the_context():
    context = 'In 1979 Pink Floyd sold 30 million copies of "The Wall" in May 1980 in New York and on 5th Avenue.'
    spans = rules(context)
    assert spans == sorted(spans)
    assert all(one.end <= other.start for one, other in zip(spans, spans[1:], strict=False))
    names = ("1979", "Pink Floyd", "30 million", "The Wall", "May 1980", "New York", "5th", "Avenue")
    assert tuple(context[a:b] for a, b, _ in spans) == names
    assert rules("") == []


def test_a_hostile_context_takes_no_time():
    started = time.perf_counter()
    rules("A " * 5000 + "1," * 5000 + '"' * 5000 + "Aa-" * 5000 + "of " + "ab-" * 5000 + "of the " * 5000)
    assert time.perf_counter() - started < 20  # minutes where a pattern goes back over what it has read


def test_random_answers_are_candidates_each_in_its_turn():
    context = "Ann met Bo in 1999 and Max Mai in 2001 at the station."
    drawn = {random_answer(context, random.Random(seed)) for seed in range(100)}
    assert drawn == {one for one in rules(context) if one.kind != "phrase"} != set(rules(context))
    assert random_answer(context, random.Random(3)) == random_answer(context, random.Random(3))
    plain = "nothing here"
    assert {plain[a:b] for a, b, _ in (random_answer(plain, random.Random(seed)) for seed in range(20))} == {
        "nothing",
        "here",
    }
    with pytest.raises(InputError, match="needs a word"):
        random_answer(" . ", random.Random(0))


LABELS = ["O", "B-name", "I-name", "B-year", "I-year"]
TAGS = {"ann": 1, "lee": 2, "bo": 1, "max": 1, "1999": 3, "ad": 4}


@pytest.fixture(scope="module")
def entity_folder(tmp_path_factory):
    """A token classifier that tags words by a list: each word's vector is its tag."""
    return saved_tagger(tmp_path_factory.mktemp("entities"), LABELS)


def saved_tagger(folder, labels):
    tokenizer = build_reader_tokenizer([*TAGS, "and then came by in , . the of film rain"] * 3)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 0, "num_attention_heads": 1}
    names = {"id2label": dict(enumerate(labels)), "label2id": {name: at for at, name in enumerate(labels)}}
    model = BertForTokenClassification(BertConfig(vocab_size=len(tokenizer), **sizes, **names)).eval()
    with torch.no_grad():
        for part in (model.bert.embeddings.position_embeddings, model.bert.embeddings.token_type_embeddings):
            part.weight.zero_()
        weight = model.bert.embeddings.word_embeddings.weight.zero_()
        for word, at in tokenizer.get_vocab().items():
            weight[at, TAGS.get(word, 0)] = 1.0
        model.classifier.weight.copy_(torch.eye(len(labels), 8))
        model.classifier.bias.zero_()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_students_tags_become_spans(entity_folder):
    contexts = ["Then Ann Lee came, and Bo Max.", "", "By Lee in 1999 AD lee . ", "annlee came"]
    spans = by_student(entity_folder, contexts, batch_size=3)
    texts = [[(context[a:b], kind) for a, b, kind in some] for context, some in zip(contexts, spans, strict=True)]
    assert texts[0] == [("Ann Lee", "name"), ("Bo", "name"), ("Max", "name")]
    assert texts[1] == []
    assert texts[2] == [("Lee", "name"), ("1999 AD", "year"), ("lee", "name")]
    # The first piece of a word that is not known decides for the whole of it.
    assert texts[3] in ([("annlee", "name")], [])
    assert spans[0][0] == Candidate(5, 12, "name")


def test_long_contexts_are_read_in_pieces(entity_folder):
    context = "the film of rain and " * 30 + "Ann Lee " * 3
    whole = by_student(entity_folder, [context, "Bo"], max_length=1000)
    assert len(whole[0]) == 3
    for length in (16, 17, 37):  # names fall on both sides of a cut
        assert by_student(entity_folder, [context, "Bo"], max_length=length, batch_size=2) == whole


def test_other_labels_are_refused(tmp_path):
    folder = saved_tagger(tmp_path, ["O", "PERSON", "B-x", "I-x", "B-y"])
    with pytest.raises(InputError, match="must be O, B-kind and I-kind; got 'PERSON'"):
        by_student(folder, ["Ann"])
