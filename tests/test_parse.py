import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from hf_synth.parse import labelled, until_stop
from hf_synth.prompts import Rotation, label_prompts
from hf_synth.records import Completion, Prompt
from hf_synth.tasks import load_task, parse_task

PAPERS = Path(__file__).parent.parent / "recipes/paper_tasks"


@pytest.mark.parametrize(
    ("text", "finish", "ending", "expected"),
    [
        ("A fine film.", "stop", "", "A fine film."),
        ("  two \n lines ", "stop", "", "two lines"),
        ("Who wrote it", "stop", "?", "Who wrote it?"),
        ("Who wrote it", "length", "?", None),
        ("First line\nsecond line. More", "length", "", "First line"),
        ("One. Two. Thr", "length", "", "One. Two."),
        ("never ends and never stops", "length", "", None),
        ("They won. It cost $3.5 milli", "length", "", "They won."),  # and not `It cost $3.`
        ("All is on www.exam", "length", "", None),
        ("这部电影很好。演员们", "length", "", "这部电影很好。"),
        ("फ़िल्म अच्छी है। कहा", "length", "", "फ़िल्म अच्छी है।"),
        ("", "stop", "", None),
        ("\n\n", "length", "", None),
    ],
)
def test_the_cut(text, finish, ending, expected):
    assert until_stop(Completion(text, finish=finish), ending) == expected


@pytest.mark.parametrize(
    ("start", "text", "expected"),
    [
        ("Who", " wrote it to the town", "Who wrote it to the town?"),
        ("Who", "se cat is that one", "Whose cat is that one?"),
        ("Who", "Who wrote it to the town", "Who wrote it to the town?"),
        ("I", " Is it what I want", "I Is it what I want?"),  # `Is` does not repeat `I`
        ("Can", " Canada win the game", "Can Canada win the game?"),
        ("What actor", "Who played it on the stage", "other start"),
        ("Who", "Whose cat is that one", "other start"),  # and not `WhoWhose cat`
    ],
)
def test_first_words_that_stood_in_the_prompt(start, text, expected):
    prompt = Prompt(f'A question: "{start}', cell="HUM", attributes={"start word": start})
    found = labelled(load_task("trec"))(prompt, Completion(text))
    assert (found if isinstance(found, str) else found.fields["text"]) == expected


@pytest.mark.parametrize(
    ("text", "kept"), [("这部电影很好", True), ("好", False), ("とても良い", True), ("so good", False)]
)
def test_scripts_without_spaces_are_long_enough_by_their_characters(text, kept):
    prompt = Prompt("p", cell="negative")
    found = labelled(replace(load_task("sst2"), min_words=3))(prompt, Completion(text))
    assert found != "short" if kept else found == "short"


def test_reasons():
    parse = labelled(load_task("sst2"))
    prompt = Prompt("p", cell="negative", attributes={"opening": "The Long Dark Night"})
    assert parse(prompt, Completion("too short now")) == "short"
    assert parse(prompt, Completion("The Long Dark Night")) == "echo"
    assert parse(prompt, Completion("no end in sight at all", finish="length")) == "unfinished"
    example = parse(prompt, Completion("a tired and dull film", -2.5))
    assert (example.fields, example.target, example.logprob) == (
        {"sentence": "a tired and dull film"},
        "negative",
        -2.5,
    )


def test_an_example_of_the_tasks_prompt_is_no_new_text():
    task = replace(load_task("sst2"), prompt='{label}: "A tired and dull film." {label}: "')
    parse, prompt = labelled(task), Prompt("p", cell="negative")
    assert parse(prompt, Completion("a tired and dull film")) == "echo"
    assert parse(prompt, Completion("a tired and dull film of a kind")).fields["sentence"].startswith("a tired")


def test_a_pair_keeps_its_given_column():
    task = load_task("qnli")
    prompt = next(label_prompts(task, "entailment", ["Paris is the capital of France."], random.Random(0)))
    example = labelled(task)(prompt, Completion(" is the capital of France"))
    assert example.fields == {
        "sentence": "Paris is the capital of France.",
        "question": f"{prompt.attributes['start word']} is the capital of France?",
    }


def test_papers_prompts_verbatim():
    rotten_tomatoes, qnli = (load_task(str(PAPERS / f"{name}.yaml")) for name in ("rotten_tomatoes", "qnli"))
    prompt = next(label_prompts(rotten_tomatoes, "pos", ["Alien"], random.Random(0)))
    assert prompt.text == 'The movie review in positive sentiment for movie "Alien" is: "'
    assert prompt.against == ()
    prompt = next(label_prompts(qnli, "not_entailment", ["X"], random.Random(0)))
    assert prompt.text == 'Information: "X"\nQuestion (answer not in above information): "'
    assert prompt.against == ('Information: "X"\nQuestion (answer in above information): "',)


def test_steering_can_be_turned_on_and_off():
    assert next(label_prompts(load_task("sst2"), "positive", ["x"], random.Random(0), steer=True)).against
    assert not next(label_prompts(load_task("qnli"), "entailment", ["x"], random.Random(0), steer=False)).against
    assert len(next(label_prompts(load_task("ag_news"), "World", [""], random.Random(0), steer=True)).against) == 3


def test_a_rotation_draws_only_what_is_read():
    drawn = []

    def source():
        for text in "abc":
            drawn.append(text)
            yield text

    rotation = Rotation(source())
    first, second = iter(rotation), iter(rotation)
    assert next(first) == "a"
    assert drawn == ["a"]
    assert [next(second) for _ in range(5)] == ["a", "b", "c", "a", "b"]
    assert [next(first) for _ in range(3)] == ["b", "c", "a"]
    assert list(Rotation(iter(()))) == []


def test_each_prompt_draws_a_verbalizer():
    values = {"labels": ["bad", "good"], "words": {"bad": ["dull", "stale"], "good": ["fine", "warm", "wise"]}}
    task = parse_task({"name": "t", **values, "prompt": 'A {word} film ({label}): "'}, "t")
    prompts = [
        p for p, _ in zip(label_prompts(task, "good", iter([""] * 300), random.Random(1)), range(300), strict=True)
    ]
    counts = Counter(p.attributes["word"] for p in prompts)
    assert set(counts) == {"fine", "warm", "wise"}
    assert min(counts.values()) > 60
    assert all(p.text == f'A {p.attributes["word"]} film (good): "' for p in prompts)
    again = label_prompts(task, "good", iter([""] * 300), random.Random(1), steer=True)
    assert next(again).against[0] in {'A dull film (bad): "', 'A stale film (bad): "'}
    assert task.render("bad", scoring=True) == 'A dull film (bad): "'
