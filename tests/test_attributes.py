"""Attributes: what a task may say of them, how configurations are drawn, and the prompts they make."""

import random
from collections import Counter
from itertools import islice, pairwise

import pytest

from hf_synth.attributes import (
    AttributesConfig,
    attributed_prompt,
    check_attributes,
    configurations,
    hold,
    of_label,
)
from hf_synth.errors import InputError
from hf_synth.tasks import load_task, parse_task, task_names

OWN = {"topic": ("a", "b", "c", "d", "e"), "place": ("x", "y", "z"), "length": ("short", "long")}
VALUES = {"topic": {"one": ("a", "b", "c"), "two": ("d", "e", "f")}, "style": ("plain", "odd")}
LABELS = ["one", "two", "three"]


def task_of(attributes=None, **values):
    given = {"name": "t", "labels": LABELS, "prompt": 'A text about {label}: "', **values}
    return parse_task({**given, "attributes": attributes or {}}, "t")


def drawn(count, own=OWN, seed=0, **settings):
    return list(islice(configurations(own, random.Random(seed), **settings), count))


# --- configurations


@pytest.mark.parametrize("count", [1, 7, 30, 44])
def test_values_are_used_equally_often_within_one(count):
    for name, values in OWN.items():
        used = Counter(configuration[name] for configuration in drawn(count))
        assert max(used.values()) - min(used[value] for value in values) <= 1


def test_no_configuration_comes_twice_while_another_is_left():
    seen = Counter(tuple(configuration.values()) for configuration in drawn(30))
    assert len(seen) >= 29
    square = {"a": tuple("abcd"), "b": tuple("efgh")}
    for seed in range(20):
        assert (
            len({tuple(configuration.values()) for configuration in drawn(16, square, seed)}) >= 13
        )  # at random, about 10
    uniform = {tuple(configuration.values()) for configuration in drawn(30, balanced=False)}
    assert len(uniform) < 25


def test_passes_pair_values_at_random():
    pairs = Counter((one["topic"], one["place"]) for one in drawn(300))
    assert len(pairs) == 15
    assert max(pairs.values()) < 40


def test_a_longer_draw_opens_with_the_shorter():
    assert drawn(40)[:13] == drawn(13)
    assert drawn(40) != drawn(40, seed=1)


def test_nothing_to_draw_is_drawn_without_end():
    assert drawn(3, {}) == [{}, {}, {}]


def test_one_attribute_or_all_can_be_held():
    held = hold(VALUES, "topic", random.Random(0))
    assert [len(own) for own in held["topic"].values()] == [1, 1]
    assert held["style"] == VALUES["style"]
    assert all(held["topic"][label][0] in VALUES["topic"][label] for label in held["topic"])
    held = hold(VALUES, "all", random.Random(0))
    assert len(set(map(str, drawn(9, of_label(held, "one"))))) == 1
    with pytest.raises(InputError, match="`fixed_attribute` must be one of topic, style, all; got 'topics'"):
        hold(VALUES, "topics", random.Random(0))


def test_a_label_sees_no_value_of_another():
    assert of_label(VALUES, "one") == {"topic": ("a", "b", "c"), "style": ("plain", "odd")}
    assert of_label(VALUES, "two")["topic"] == ("d", "e", "f")
    assert of_label({"not_about": {"one": ("two",)}}, "two") == {}


# --- prompts


def test_a_prompt_numbers_its_points_and_ends_as_the_tasks():
    text = attributed_prompt(task_of(), "two", {"topic": "d", "writing_style": "odd", "not_about": "one, three"})
    assert text == (
        "Write one text about two. It must meet these points:\n1. Topic: d\n2. Writing style: odd\n"
        '3. About two, not about one, three\nA text about two: "'
    )
    assert attributed_prompt(task_of(), "two", {}) == 'Write one text about two.\nA text about two: "'


def test_no_text_is_about_one_of_two_sides():
    task = task_of(labels={"neg": "hated", "pos": "loved"}, prompt='A critic {label} it: "')
    assert attributed_prompt(task, "pos", {}) == 'Write one text. A critic loved it.\nA critic loved it: "'


def test_an_instruction_stands_in_place_of_ours():
    text = attributed_prompt(task_of(), "one", {"instruction": "Write well about one."})
    assert text == 'Write well about one.\nA text about one: "'


def test_a_prompt_of_two_lines_keeps_its_own_request():
    task = task_of(prompt='Write a tale of {word} about {label}.\n"', words={label: ["x"] for label in LABELS})
    assert attributed_prompt(task, "one", {"topic": "a"}) == (
        'Write a tale of one about one. It must meet these points:\n1. Topic: a\n"'
    )


@pytest.mark.parametrize("name", [name for name in task_names() if load_task(name).kind == "single"])
def test_every_packaged_task_names_its_label_and_opens_a_quote(name):
    task = load_task(name)
    check_attributes(task, AttributesConfig())
    prompts = [attributed_prompt(task, label, {}) for label in task.labels]
    assert len(set(prompts)) == len(prompts)
    assert all(prompt.endswith(task.render(task.cells[0], scoring=True)[-1]) for prompt in prompts)
    assert not any(mark in prompt for prompt in prompts for mark in ('""', "{", "}"))


@pytest.mark.parametrize("name", [name for name in task_names() if load_task(name).attributes])
def test_values_of_packaged_tasks_stand_under_one_label(name):
    task = load_task(name)
    for given in task.attributes.values():
        if not isinstance(given, tuple) and task.kind != "parse":  # intents take the same dates and places
            own = [value for label in task.labels for value in given[label]]
            assert len(set(own)) == len(own), sorted(a for a, b in pairwise(sorted(own)) if a == b)


# --- what a task may say


@pytest.mark.parametrize(
    ("attributes", "settings", "sentence"),
    [
        ({"topic": {"one": ["a"], "two": ["b"]}}, {}, "`attributes.topic` needs a value or more .* 'three' it has"),
        ({"style": ["a", "b", "a"]}, {}, "`attributes.style` .* there twice"),
        ({"style": [" "]}, {}, "`attributes.style` .* none of them empty"),
        ({"instruction": ["a"]}, {}, "an attribute cannot be called 'instruction'"),
        ({}, {"dimensions": {"not_about": "class-dependent"}}, "an attribute cannot be called 'not_about'"),
        ({}, {"attributes": "given"}, "`attributes: given` needs a task with `attributes`; 't' has none"),
        ({"style": ["a"]}, {"dimensions": {"topic": "class-dependent"}}, "set `attributes: elicited`"),
        ({"style": ["a"]}, {"fixed_attribute": "styl"}, "must be one of style, all; got 'styl'. Did you mean 'style'"),
    ],
)
def test_what_does_not_go_together_is_refused(attributes, settings, sentence):
    with pytest.raises(InputError, match=sentence):
        check_attributes(task_of(attributes), AttributesConfig(**settings))
