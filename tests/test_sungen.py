from itertools import islice

import pytest

from hf_synth.errors import InputError
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.methods import get
from hf_synth.run import Run
from hf_synth.tasks import load_task


def prompts_of(method, task="yelp_polarity", **settings):
    """Return what a method asks for four rows of a task, and the rows."""
    asked = []

    def script(prompt, rng):
        asked.append((prompt.text, prompt.against))
        return f"a review of some more than ten words in all, number {rng.random()}"

    run = Run(load_task(task), ScriptedGenerator(script), num_rows=4, chunk_size=8)
    config = get(method).config(**settings)
    rows = [
        (example.fields[run.task.generated], example.target)
        for example in islice(get(method).generate(run, config), 4)
    ]
    return asked, rows


def test_it_writes_what_zerogen_writes_and_steers_away_from_other_labels():
    asked, rows = prompts_of("sungen")
    plain, _ = prompts_of("zerogen")
    texts = [(text, against) for text, against in asked if "sentences of the review" in text]
    assert texts
    assert all(len(against) == 1 and against[0] != text for text, against in texts)
    assert [text for text, _ in asked] == [text for text, _ in plain]
    assert {label for _, label in rows} == {"1", "2"}


def test_self_debiasing_is_a_switch():
    assert prompts_of("sungen", steer_away=False) == prompts_of("zerogen")


def test_films_are_not_steered_unless_asked():
    """As in the published settings, where films have ZeroGen's."""
    for given, steered in (({}, False), ({"steer_away": True}, True)):
        asked, _ = prompts_of("sungen", "sst2", **given)
        assert any(against for _, against in asked) == steered


def test_labels_that_share_a_prompt_cannot_be_steered_apart():
    with pytest.raises(
        InputError, match="`steer_away: true` needs prompts of other labels; the rows of qnli all have one"
    ):
        get("sungen").check(load_task("qnli"), get("sungen").config(steer_away=True, openings="corpus"))


@pytest.mark.parametrize("task", ["gad", "nlupp_hotels", "bc5cdr", "squad"])
def test_other_kinds_say_that_nothing_is_steered(task):
    with pytest.raises(InputError, match=f"`steer_away: true` is for tasks of kind single, pair; '{task}' is of kind"):
        get("sungen").check(load_task(task), get("sungen").config(steer_away=True))
    get("sungen").check(load_task(task), get("sungen").config())


def test_its_students_learn_weights_in_rounds():
    found = get("sungen").defaults(load_task("sst2"), {})
    assert found["trainer"] == "bilevel"
    assert found["trainer_args"]["mode"] == "sungen"
