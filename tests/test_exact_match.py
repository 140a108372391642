"""Scores of parses: what is right, what is nearly right, what is malformed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hf_synth
from hf_synth.metrics.exact_match import ExactMatch, bootstrap

RAIN = "[IN:GET_WEATHER rain [SL:DATE_TIME today ] ]"
TODO = "[IN:CREATE_REMINDER remind [SL:PERSON_REMINDED me ] to [SL:TODO eat ] ]"


def scores(*pairs):
    said, true = zip(*pairs, strict=True)
    return ExactMatch().compute(predictions=said, references=true)


def test_parses_are_scored_as_by_hand():
    found = scores(
        (RAIN, RAIN),
        (RAIN.replace("rain", "Rain  "), RAIN),
        ("[IN:GET_SUNSET rain [SL:DATE_TIME today ] ]", RAIN),
        (TODO.replace("eat", "sleep"), TODO),
        (TODO[:-2], TODO),
    )
    assert (found["rows"], found["malformed"]) == (5, 1)
    assert found["exact_match"] == 1 / 5
    assert found["exact_match_loose"] == 2 / 5
    assert found["intent_accuracy"] == 3 / 5
    # hits: three dates and a person; named: 3 + 2 + 0; true: 3 + 2 + 2
    assert found["slot_f1"] == pytest.approx(2 * 4 / (5 + 7))


def test_a_slot_named_twice_counts_twice():
    twice = "[IN:A [SL:B x ] [SL:B x ] ]"
    assert scores(("[IN:A [SL:B x ] ]", twice))["slot_f1"] == pytest.approx(2 / 3)
    assert scores(("[IN:A x ]", "[IN:A x ]"))["slot_f1"] == 1


def test_the_interval_is_that_of_resampled_rows():
    rng, right = np.random.default_rng(1), np.repeat([1.0, 0.0], [60, 140])
    means = rng.choice(right, (4000, 200)).mean(1)
    assert bootstrap(60, 200) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.01)
    assert bootstrap(0, 5) == [0, 0]
    with pytest.raises(ValueError, match="one row"):
        bootstrap(0, 0)


def test_a_reference_that_is_no_parse_is_refused():
    with pytest.raises(ValueError, match="every reference must be a parse; got 'rain': no intent at the root"):
        scores((RAIN, "rain"))


def test_it_loads_by_path(tmp_path):
    path = Path(hf_synth.__file__).parent / "metrics/exact_match.py"
    code = (
        f"import evaluate; m = evaluate.load({str(path)!r}); "
        f"print(m.compute(predictions=[{RAIN!r}], references=[{RAIN!r}])['exact_match'])"
    )
    env = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(path.parents[2]), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1.0"
