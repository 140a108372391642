"""AttrPrompt and its baselines, with a scripted generator that answers every kind of question."""

import json
import re
from collections import Counter

import pyarrow.parquet as pq
import pytest

from hf_synth.attributes import attributed_prompt
from hf_synth.elicit import listed
from hf_synth.errors import InputError
from hf_synth.filters.refusal import is_refusal
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.journal import Journal
from hf_synth.methods import get
from hf_synth.run import Run
from hf_synth.tasks import load_task, parse_task
from hf_synth.work import Work

CLASSES = ["apples", "pears", "plums", "cars", "trains", "ships", "cats"]
TOPICS = {label: [f"{label} topic {at}" for at in range(6)] for label in CLASSES}
COLUMNS = ("values", "dropped by the class filter")
STYLES = ["plain", "odd", "long-winded"]


def fruit(**attributes):
    values = {"name": "fruit", "labels": CLASSES, "prompt": 'A text about {label}: "', "min_words": 2}
    return parse_task({**values, "attributes": attributes}, "fruit")


def answer(prompt, rng):
    """Answer as a model that follows its examples would, and now and then as one that does not."""
    text = prompt.text
    if text.endswith('differ:\n["'):
        return 'topic", "writing style", "cars", "topic"]'
    if "Those most like" in text:
        own = re.search(r'like "(\w+)":\n\["$', text)[1]
        at = CLASSES.index(own)
        return f'{CLASSES[at - 1]}", "{own}", "wolves", "{CLASSES[at - 2].upper()}"]'
    if found := re.search(r'Values of "([^"]+)" for texts about (\w+)[^\n]*\n\["$', text):
        listed = ", ".join(f'"{found[2]} {found[1]} {at}"' for at in range(8))
        return rng.choice([listed[1:] + "]", f"Sure:\n[{listed}]", "no list here"])
    if text.endswith("Answer:"):
        return "Yes." if "0" in text or "1" in text else rng.choice([" no", "No, it is not"])
    if text.endswith('"Write'):
        label = re.search(r"name (.+)\.\n", text)[1]
        good = f"a lively report number {rng.randrange(30)} about {label} with care."
        return rng.choice([good, good, "well", "something of another kind altogether here", f"so on {label}: 'a b'"])
    if rng.random() < 0.1:
        return "I'm sorry, but I can't help with that request."
    return f"{rng.random()} words of a text"


class Asked(ScriptedGenerator):
    """Keeps prompts and decoding settings."""

    def __init__(self):
        super().__init__(answer, name="asked")
        self.prompts, self.decoding = [], []

    def complete(self, prompts, *, seed, batch_size, **decoding):
        self.prompts += prompts
        self.decoding += [decoding] * len(prompts)
        return super().complete(prompts, seed=seed, batch_size=batch_size, **decoding)


def rows_of(task, generator=None, rows=84, run=None, **settings):
    method = get("attrprompt")
    run = run or Run(task, generator or Asked(), num_rows=rows)
    config = method.config(**settings)
    method.check(task, config)
    return list(method.generate(run, config)), run


def noted(run):
    """Return (attribute, class) -> values and -> values dropped, as the card's table has them."""
    rows = run.ledger.notes["attributes"]
    tables = [{(r["attribute"], r["class"]): r.get(column, "").split("; ") for r in rows} for column in COLUMNS]
    return [{key: [value for value in own if value] for key, own in table.items()} for table in tables]


def given():
    return fruit(topic=TOPICS, style=STYLES)


# --- given attributes


def test_rows_have_configurations_balanced_in_each_label():
    rows, run = rows_of(given(), similar_classes=0)
    assert Counter(row.target for row in rows) == dict.fromkeys(CLASSES, 12)
    asked = [prompt for prompt in run.generator.prompts if prompt.cell == "pears"]
    for name, count in (("topic", 6), ("style", 3)):
        used = Counter(prompt.attributes[name] for prompt in asked)
        assert len(used) == count
        assert max(used.values()) - min(used.values()) <= 1
    assert "attributes" not in run.ledger.stages


def test_no_value_of_one_label_stands_in_a_prompt_of_another():
    rows, _ = rows_of(given(), similar_classes=0)
    for row in rows:
        topics = [topic for own in TOPICS.values() for topic in own if topic in row.prompt.text]
        assert topics == [row.prompt.attributes["topic"]]
        assert topics[0] in TOPICS[row.target]


def test_the_stored_configuration_gives_the_stored_prompt_again(tmp_path):
    task = given()
    run = Run(task, Asked(), num_rows=70)
    method = get("attrprompt")
    Work(tmp_path, run).write(method.generate(run, method.config(similar_classes=2)))
    prompts = {row["prompt_id"]: row["text"] for row in pq.read_table(tmp_path / "prompts.parquet").to_pylist()}
    rows = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert len(rows) == 70
    for row in rows:
        attributes = json.loads(row["attributes"])
        assert set(attributes) == {"topic", "style", "not_about"}
        assert attributed_prompt(task, row["label"], attributes) == prompts[row["prompt_id"]]


def test_the_switches_change_what_is_drawn():
    rows, _ = rows_of(given(), similar_classes=0, fixed_attribute="topic")
    assert {len({r.prompt.attributes["topic"] for r in rows if r.target == label}) for label in CLASSES} == {1}
    assert {row.prompt.attributes["style"] for row in rows} == set(STYLES)
    rows, _ = rows_of(given(), similar_classes=0, fixed_attribute="all")
    assert len({row.prompt.text for row in rows}) == len(CLASSES)
    rows, run = rows_of(given(), similar_classes=0, configurations="uniform")
    used = Counter(prompt.attributes["style"] for prompt in run.generator.prompts if prompt.cell == "pears")
    assert max(used.values()) - min(used.values()) > 1


def test_decoding_and_refusals():
    rows, run = rows_of(given(), similar_classes=0)
    assert run.generator.decoding[-1] == {
        "max_new_tokens": 40, "stop": ('"',), "chat": True, "temperature": 1.0, "top_p": 0.9,
    }  # fmt: skip
    assert run.ledger.stage("rows").dropped["refusal"] > 0
    assert not any("sorry" in row.fields["text"] for row in rows)


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("I'm sorry, but I can't assist with that.", True),
        ("I’m sorry. I cannot write such a text", True),
        ("As an AI language model, I have no opinion.", True),
        ("Sorry, as an AI I do not eat", True),
        ("I am unable to fulfill this request", True),
        ("I'm sorry I ever saw this film.", False),
        ("I am sorry to say that I cannot recommend it", False),
        ("I can't help but love this film", False),
        ("As an airline goes bankrupt, shares fall", False),
        ("The minister said: I'm sorry, but I can't help with that", False),
    ],
)
def test_only_what_begins_as_a_refusal_is_one(text, refusal):
    assert is_refusal(text) == refusal


# --- similar classes, elicitation, the class filter


def test_similar_classes_are_the_generators_choice_among_the_tasks():
    rows, run = rows_of(given(), similar_classes=2)
    assert noted(run)[0]["not_about", "plums"] == ["pears, apples"]  # not itself, no wolves, whatever the case
    row = next(row for row in rows if row.target == "plums")
    assert row.prompt.attributes["not_about"] == "pears, apples"
    assert "3. About plums, not about pears, apples\nA text" in row.prompt.text


def test_without_a_choice_none_is_named():
    _, run = rows_of(given(), similar_classes=6)
    assert {name for name, _ in noted(run)[0]} == {"topic", "style"}
    assert "attributes" not in run.ledger.stages


def test_attributes_are_elicited_filtered_and_used():
    rows, run = rows_of(fruit(), similar_classes=2, values_per_attribute=6)
    values, dropped = noted(run)
    assert {name for name, _ in values} == {"topic", "writing style", "not_about"}  # "cars" is a class
    assert values["topic", "pears"] == [f"pears topic {at}" for at in (2, 3, 4, 5)]
    assert dropped["topic", "pears"] == ["pears topic 0", "pears topic 1"]
    assert dropped["writing style", "pears"] == ["pears writing style 0", "pears writing style 1"]
    assert all(row.prompt.attributes["topic"] in values["topic", row.target] for row in rows)
    stage = run.ledger.stage("attributes")
    assert stage.dropped["no list"] > 0
    assert stage.asked == stage.kept + stage.dropped.total()
    asked = next(p.text for p in run.generator.prompts if '"topic" for texts about plums' in p.text)
    assert 'Values of "topic" for texts about plums, not about pears, not about apples:\n["' in asked


def test_a_generator_tuned_for_each_label_answers_questions_as_it_was():
    """What was trained beside it answers any prompt of a label with a row of that label."""

    def tuned(prompt, rng):
        return answer(prompt, rng) if prompt.cell is None else f"{rng.random()} words of a text"

    _, run = rows_of(fruit(), ScriptedGenerator(tuned), similar_classes=2)
    values, dropped = noted(run)
    assert values["not_about", "plums"] == ["pears, apples"]
    assert len(values["topic", "pears"] + dropped["topic", "pears"]) == 8
    assert dropped["topic", "pears"] == ["pears topic 0", "pears topic 1"]
    _, run = rows_of(fruit(), ScriptedGenerator(tuned), prompts="metaprompt", num_instructions=3)
    assert all(run.ledger.notes["instructions"].values())


def test_the_class_filter_can_be_left_out():
    _, run = rows_of(fruit(), similar_classes=2, class_filter=False)
    values, dropped = noted(run)
    assert values["topic", "pears"][0] == "pears topic 0"
    assert not any(dropped.values())
    assert not any(prompt.text.endswith("Answer:") for prompt in run.generator.prompts)


def test_the_class_filter_drops_five_at_most_and_keeps_one():
    def says_yes(prompt, rng):
        return "yes" if prompt.text.endswith("Answer:") else answer(prompt, rng)

    for count, left in ((8, 3), (4, 1)):
        generator = ScriptedGenerator(says_yes)
        _, run = rows_of(fruit(), generator, similar_classes=2, values_per_attribute=count)
        assert {len(own) for (name, _), own in noted(run)[0].items() if name == "topic"} == {left}


def test_dimensions_of_ones_own_have_the_scope_they_are_given():
    dimensions = {"topic": "class-dependent", "style": "class-independent"}
    _, run = rows_of(given(), attributes="elicited", dimensions=dimensions, similar_classes=0)
    values = noted(run)[0]
    assert values["style", "all"] == [f"any style {at}" for at in range(8)]
    assert {label for name, label in values if name == "topic"} == set(CLASSES)
    assert not any("differ" in prompt.text for prompt in run.generator.prompts)


def test_a_generator_that_lists_nothing_is_named():
    def silent(prompt, rng):
        return 'topic"]' if prompt.text.endswith('differ:\n["') else "nothing to say"

    with pytest.raises(InputError, match=r"scripted listed no values that can be read for topic; give the task"):
        rows_of(fruit(), ScriptedGenerator(silent), similar_classes=0)


def test_what_was_elicited_is_replayed_and_not_asked_again(tmp_path):
    first, second = Asked(), Asked()
    settings = {"similar_classes": 2}
    rows, _ = rows_of(fruit(), run=Run(fruit(), first, num_rows=40, journal=Journal(tmp_path)), **settings)
    again, run = rows_of(fruit(), run=Run(fruit(), second, num_rows=40, journal=Journal(tmp_path)), **settings)
    assert second.prompts == []
    assert [row.fields for row in again] == [row.fields for row in rows]
    assert run.ledger.stage("attributes").asked > 0
    more, _ = rows_of(fruit(), run=Run(fruit(), second, num_rows=80, journal=Journal(tmp_path)), **settings)
    assert [row.fields for row in more[:40]] == [row.fields for row in rows]


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ('["a", "b c", "A"]', ["A", "b c"]),
        ('```json\n{"values": ["a", "b"]}\n```', ["a", "b"]),
        ("Here they are:\n1. a b\n2) **c**\n- d.", ["a b", "c", "d"]),
        ("red, green, blue", ["red", "green", "blue"]),
        ("There is nothing, I think, that I could list here\nfor you, sadly, today", []),
        ("[1, 2]", []),
        (r'["a\ud83d", "b"]', ["a", "b"]),
        ('["a", "b', []),
        ("[" * 100_000, []),
        ("", []),
    ],
)
def test_lists_are_read_as_they_come(text, items):
    assert listed(text) == items


# --- baselines


def test_simprompt_names_the_class_and_nothing_else():
    rows, run = rows_of(given(), prompts="simprompt")
    assert {row.prompt.text for row in rows if row.target == "cats"} == {
        'Write one text about cats.\nA text about cats: "'
    }
    assert all(row.prompt.attributes == {} for row in rows)
    assert list(run.ledger.stages) == ["rows"]


def test_metaprompt_uses_the_generators_instructions_in_rotation():
    rows, run = rows_of(given(), prompts="metaprompt", num_instructions=3)
    written = run.ledger.notes["instructions"]
    for label in CLASSES:
        assert 1 <= len(written[label]) <= 3
        assert all(text.startswith("Write") and label in text for text in written[label])
        used = Counter(row.prompt.attributes["instruction"] for row in rows if row.target == label)
        assert set(used) == set(written[label])
    assert all(
        row.prompt.text == f'{row.prompt.attributes["instruction"]}\nA text about {row.target}: "' for row in rows
    )
    assert {"off class", "short", "example"} <= set(run.ledger.stage("instructions").dropped)


def test_a_label_without_an_instruction_is_named():
    def no_cats(prompt, rng):
        return "a longer text that names something else" if "name cats" in prompt.text else answer(prompt, rng)

    with pytest.raises(InputError, match="wrote no usable instruction for the label 'cats'"):
        rows_of(given(), ScriptedGenerator(no_cats), prompts="metaprompt")


# --- packaged tasks


@pytest.mark.parametrize("prompts", ["attrprompt", "simprompt"])
@pytest.mark.parametrize("name", ["ag_news", "sst2", "reddit"])
def test_packaged_tasks_are_written(name, prompts):
    task = load_task(name)
    rows, run = rows_of(task, ScriptedGenerator(lambda p, rng: " ".join(str(rng.random()) for _ in range(20))),
                        rows=2 * len(task.labels), prompts=prompts, similar_classes=0)  # fmt: skip
    assert Counter(row.target for row in rows) == dict.fromkeys(task.labels, 2)
    assert [row["label"] for row in run.ledger.notes["first prompts"]] == list(task.labels)


def test_pairs_are_refused():
    with pytest.raises(InputError, match="attrprompt is for tasks of kind single; 'rte' is of kind 'pair'"):
        rows_of(load_task("rte"))
