"""Labels that come more often than others: `shares`."""

import dataclasses
from collections import Counter

import pytest

from hf_synth.cells import cut, in_turn, pool
from hf_synth.errors import InputError
from hf_synth.filters.likelihood import by_rank
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.methods import get
from hf_synth.produce import Plan
from hf_synth.records import Example, Prompt
from hf_synth.rounds import due
from hf_synth.run import Run
from hf_synth.settings import SynthConfig
from hf_synth.task import Task
from hf_synth.tasks import load_task

SST2 = dataclasses.replace(load_task("sst2"), shares={"positive": 1, "negative": 3})


@pytest.mark.parametrize("shares", [{"a": 3, "b": 1}, {"a": 0.1, "b": 0.7, "c": 0.2}, {"a": 1, "b": 1, "c": 1}])
def test_rows_are_cut_by_shares_and_fewer_rows_are_never_more(shares):
    before = cut(0, shares)
    for rows in range(1, 200):
        found = cut(rows, shares)
        assert sum(found.values()) == rows
        assert all(found[cell] >= before[cell] for cell in shares)
        before = found
    whole = sum(shares.values())
    assert all(abs(found[cell] - rows * share / whole) <= 1 for cell, share in shares.items())
    if len({*shares.values()}) == 1:
        assert cut(8, shares) == {"a": 3, "b": 3, "c": 2}


def test_a_rare_label_has_a_row():
    assert cut(20, {"a": 1000, "b": 1}) == {"a": 19, "b": 1}


def test_a_pool_is_as_large_for_labels_of_one_share():
    assert pool({"a": 3, "b": 2, "c": 0}, dict.fromkeys("abc", 1.0), 4) == {"a": 12, "b": 12}
    assert pool({"a": 6, "b": 2}, {"a": 3, "b": 1}, 1 / 0.8) == {"a": 8, "b": 3}


def generated(method, rows, task=SST2, **settings):
    films = ScriptedGenerator(lambda prompt, rng: f'the long film {rng.random()} is {rng.random()} of a kind"')
    run = Run(task, films, num_rows=rows, chunk_size=8)
    made = get(method)
    config = made.config(**settings)
    made.check(task, config)
    return list(made.generate(run, config)), run


@pytest.mark.parametrize(
    ("method", "settings"),
    [("zerogen", {}), ("supergen", {"attempts": 2, "selection": "random"}), ("attrprompt", {"prompts": "simprompt"})],
)
def test_methods_write_by_shares(method, settings):
    rows, run = generated(method, 40, **settings)
    assert Counter(example.cell for example in rows) == {"negative": 30, "positive": 10}
    assert not run.ledger.accounts
    assert [example.cell for example in rows] == [cell for cell, _ in zip(in_turn(SST2.weights), rows, strict=False)]


def test_the_rows_of_a_smaller_run_open_those_of_a_larger():
    (few, _), (many, _) = generated("zerogen", 21), generated("zerogen", 90)
    assert [example.fields for example in few] == [example.fields for example in many][:21]
    assert Counter(example.cell for example in few) == {"negative": 16, "positive": 5}


def test_rounds_are_cut_by_shares():
    run = Run(SST2, ScriptedGenerator(lambda prompt, rng: "x"), num_rows=100)
    assert due(run, [], 40) == {"negative": 30, "positive": 10}
    kept = [Example({"sentence": "x"}, "negative", "negative", Prompt("p", "negative"))] * 30
    assert due(run, kept, 60) == {"negative": 15, "positive": 15}


def test_ranked_rows_come_in_turn_by_shares():
    rows = [
        Example({"sentence": str(at)}, cell, cell, Prompt("p", cell), logprob=-float(at))
        for at in range(4)
        for cell in ("negative", "positive")
    ]
    found = [(example.cell[0], example.fields["sentence"]) for example in by_rank(rows, SST2.weights)]
    assert found == [("n", "0"), ("p", "0"), ("n", "1"), ("n", "2"), ("n", "3"), ("p", "1"), ("p", "2"), ("p", "3")]


def test_shares_are_a_setting_and_equal_ones_are_none():
    plain, given = (Plan.of(SynthConfig(task="sst2", shares=shares)) for shares in (None, dict(SST2.shares)))
    assert given.task.shares == SST2.shares
    assert given.settings()["task"]["shares"] == SST2.shares
    assert "shares" not in plain.settings()["task"]


def test_bad_shares_are_one_sentence():
    for shares, message in (
        (
            {"positive": 1},
            r"the task 'sst2': `shares` needs a number for each of \['negative', 'positive'\]; got {'positive': 1.0}",
        ),
        ({"positive": 1, "negative": 1, "mixed": 1}, "`shares` needs a number for each of"),
    ):
        with pytest.raises(InputError, match=message):
            Plan.of(SynthConfig(task="sst2", shares=shares))
    for share in (0, -1, float("inf")):
        with pytest.raises(ValueError, match="shares.positive"):
            SynthConfig(task="sst2", shares={"positive": share, "negative": 1})


def test_texts_without_a_label_have_a_share_too():
    task = Task(
        name="sets",
        kind="multi_label",
        labels={"a": "a", "b": "b"},
        prompt='{mentions}: "',
        empty='nothing: "',
        shares={"a": 1, "b": 1, "none": 2},
    )
    assert cut(8, task.weights) == {"a": 2, "b": 2, "none": 4}
