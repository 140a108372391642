"""The long tail: plans by what a classifier gets wrong, rounds that follow them, and what stops them."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from hf_synth.audit.learnt import learnt_of, write_local
from hf_synth.config import checked
from hf_synth.errors import InputError
from hf_synth.folder import write_folder
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.methods.longtail import LongTailConfig
from hf_synth.planner import PlanConfig, allotted, check_prior, label_errors, left_out, shares
from hf_synth.produce import Plan, produce
from hf_synth.rounds import GAIN, RoundsConfig, stalled
from hf_synth.settings import SynthConfig
from hf_synth.tasks import load_task

NAMES = ["negative", "positive"]
TEXTS = {"negative": "a bad dull story number {}", "positive": "a good fine film number {}"}


def ridge(table, labels, classes, at, own=()):
    """Scores of one row by a ridge regression that never saw it, nor its own others, the slow way."""
    others = np.delete(np.arange(len(labels)), [at, *own])
    weights = np.bincount(labels, minlength=classes)[labels] ** -0.5
    weights = weights / weights.mean()
    full = np.hstack([table, np.full((len(table), 1), 0.3)])
    wanted = np.full((len(labels), classes), -1 / classes)
    wanted[np.arange(len(labels)), labels] = 1
    own, w = full[others], np.diag(weights[others])
    solved = np.linalg.solve(own.T @ w @ own + np.eye(full.shape[1]), own.T @ w @ wanted[others])
    return full[at] @ solved


def test_rows_left_out_are_judged_as_if_they_had_not_been_there():
    draw = np.random.default_rng(0)
    labels = np.array([0] * 12 + [1] * 5 + [2] * 3)
    table = draw.normal(size=(20, 6)) + 1.5 * np.eye(6)[labels]
    for origins in (np.arange(20), np.array([*range(16), 3, 3, 0, 12])):
        found, real = left_out(table, labels, 3, origins), origins.max() + 1
        slow = np.stack([ridge(table, labels, 3, at, np.flatnonzero(origins == at)) for at in range(real)])
        # Calibration scales all scores by one number, and the softmax takes one number from each row.
        gaps, slow_gaps = found - found[:, :1], slow - slow[:, :1]
        factor = (gaps * slow_gaps).sum() / (slow_gaps**2).sum()
        assert gaps == pytest.approx(factor * slow_gaps, abs=1e-8)
        assert np.exp(found).sum(1) == pytest.approx(np.ones(real))


def test_rows_written_from_a_row_do_not_judge_it():
    """Labels are drawn at random: nothing tells them but what was written from a row itself."""
    draw = np.random.default_rng(0)
    seeds, labels = draw.normal(size=(60, 90)), np.arange(60) % 3
    table = np.concatenate([seeds, *(seeds + 0.1 * draw.normal(size=seeds.shape) for _ in range(4))])
    every, origins = np.tile(labels, 5), np.tile(np.arange(60), 5)
    clean = (left_out(table, every, 3, origins).argmax(1) == labels).mean()
    alone = [ridge(table, every, 3, at).argmax() == label for at, label in enumerate(labels)]
    assert clean < 0.5
    assert np.mean(alone) > 0.9


def test_errors_of_few_rows_are_drawn_to_that_of_all():
    told = np.log(np.array([[0.9, 0.1], [0.9, 0.1], [0.8, 0.2]]))
    labels = np.array([0, 0, 1])
    assert label_errors(told, labels, 0) == pytest.approx([0.1, 0.8])
    overall = (0.1 + 0.8) / 2
    assert label_errors(told, labels, 4) == pytest.approx([(0.2 + 4 * overall) / 6, (0.8 + 4 * overall) / 5])


def test_shares_follow_count_and_error():
    counts, errors = np.array([50, 5]), np.array([0.2, 0.4])
    assert shares(PlanConfig(allocation="uniform"), counts, errors) == pytest.approx([0.5, 0.5])
    assert shares(PlanConfig(allocation="inverse"), counts, errors) == pytest.approx([1 / 11, 10 / 11])
    assert shares(PlanConfig(), counts, errors) == pytest.approx([1 / 41, 40 / 41])
    assert shares(PlanConfig(prior="natural"), counts, errors) == pytest.approx([0.2, 0.8])


def test_a_prior_can_be_given_by_label():
    counts, errors, names = np.array([50, 5]), np.array([0.2, 0.4]), ["a", "b"]
    for scale in (1, 0.1):
        plan = PlanConfig(prior={"b": 2 * scale, "a": 8 * scale})
        assert shares(plan, counts, errors, names) == pytest.approx([8 / 88, 80 / 88])
    check_prior(plan, names)
    for prior, message in (
        ({"a": 1, "c": 1}, "`prior`: a label must be one of a, b; got 'c'"),
        ({"a": 1}, "a share above 0 for each label; got 0 for 'b'"),
        ({"a": 1, "b": float("nan")}, "got nan for 'b'"),
    ):
        with pytest.raises(InputError, match=message):
            check_prior(PlanConfig(prior=prior), names)
    with pytest.raises(InputError, match="needs `allocation: planned`; got inverse"):
        checked(LongTailConfig, {"seen_rows": "x", "prior": {"a": 1}, "allocation": "inverse"}, "here")


def test_rounds_stop_after_as_many_bad_ones_as_patience_says():
    table = [{"rows": 0, GAIN: None}, {GAIN: 2.0}, {GAIN: 0.1}, {GAIN: 0.2}]
    assert stalled(RoundsConfig(min_gain=0.5), table[:2], "x") == ""
    assert stalled(RoundsConfig(min_gain=0.5), table[:3], "x").startswith("the last round gained 0.1 in x per 1,000")
    patient = RoundsConfig(min_gain=0.5, patience=2)
    assert stalled(patient, table[:3], "x") == ""
    assert stalled(patient, table, "x").startswith("each of the last 2 rounds gained 0.1 and 0.2 in x per 1,000 rows")
    assert stalled(RoundsConfig(min_gain=0.5, patience=3), table, "x") == ""
    assert stalled(RoundsConfig(patience=2), table, "x") == ""


def test_rounds_make_up_for_what_earlier_ones_gave():
    assert allotted(10, np.array([0.2, 0.8]), [0, 0]) == [2, 8]
    assert allotted(10, np.array([0.5, 0.5]), [8, 2]) == [2, 8]
    assert sum(allotted(7, np.array([0.3, 0.3, 0.4]), [9, 0, 0])) == 7


@pytest.fixture
def seen(tmp_path):
    """Forty negative rows and four positive ones."""
    folder = tmp_path / "seen"
    (folder / "data").mkdir(parents=True)
    labels = [0] * 40 + [1] * 4
    rows = {"sentence": [TEXTS[NAMES[label]].format(at) for at, label in enumerate(labels)], "label": labels}
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=NAMES)})
    Dataset.from_dict(rows, features=features).to_parquet(folder / "data/train-0.parquet")
    return str(folder)


def writer():
    def write(prompt, rng):
        if rng.random() < 0.1:
            return prompt.text.split('"')[-3] + '"'  # a copy of the example that was shown last
        return TEXTS[prompt.cell].format(rng.random()) + '"'

    return ScriptedGenerator(write, name="writer")


def make(seen, out, student_folder, rows=60, **more):
    settings = {"seen_rows": seen, "first_round": 30, "planner": str(student_folder), **more}
    plan = Plan.of(SynthConfig(task="sst2", method="longtail", num_rows=rows), LongTailConfig(**settings))
    generator = writer()
    facts = produce(plan, generator, out, lambda work, told: write_folder(work, out / "dataset", plan.task, told))
    table = pq.read_table(out / "work/rows.parquet") if (out / "work/rows.parquet").exists() else None
    return facts, table, generator


def labels_of(out):
    files = sorted((out / "dataset/data").glob("[tv][ra]*-*.parquet"))
    return Counter(label for file in files for label in pq.read_table(file)["label"].to_pylist())


def test_most_rows_go_where_few_real_ones_are(seen, tmp_path, student_folder):
    facts, _, generator = make(seen, tmp_path / "out", student_folder, 60)
    written = {row["label"]: row["written"] for row in facts["ledger"]["notes"]["rows"]}
    assert sum(written.values()) == 60
    assert written["positive"] > 3 * written["negative"]
    assert labels_of(tmp_path / "out")[1] == written["positive"]
    assert facts["ledger"]["stages"]["rows"]["dropped"]["copy of a shot"] > 0
    assert [row["rows"] for row in facts["ledger"]["notes"]["plan"]] == [0, 30]
    stage = facts["ledger"]["stages"]["rows"]
    assert stage["asked"] == stage["kept"] + sum(stage["dropped"].values())
    assert facts["sources"][0]["path"] == "seen"
    card = (tmp_path / "out/dataset/README.md").read_text()
    assert "Prompts quote real rows of seen" in card


def test_allocations_differ_and_a_smaller_run_is_the_beginning(seen, tmp_path, student_folder):
    make(seen, tmp_path / "even", student_folder, 40, allocation="uniform")
    assert labels_of(tmp_path / "even") == {0: 20, 1: 20}
    make(seen, tmp_path / "small", student_folder, 20)
    make(seen, tmp_path / "large", student_folder, 60)

    def texts(name):
        rows = [pq.read_table(f) for f in (tmp_path / name / "dataset/data").glob("[tv][ra]*-*.parquet")]
        return [row["sentence"] for row in pa.concat_tables(rows).sort_by("index").to_pylist()]

    assert texts("large")[:20] == texts("small")


def test_rounds_stop_when_they_gain_nothing(seen, tmp_path, student_folder):
    facts, *_ = make(seen, tmp_path / "out", student_folder, 2000, min_gain=0.9, growth=1)
    assert facts["rows"] < 2000
    assert "less than `min_gain`" in json.dumps(facts["ledger"]["accounts"])
    assert facts["ledger"]["notes"]["plan"][-1]["rows"] == facts["rows"]  # none is written after what was judged


def test_a_plan_is_replayed_and_not_made_again(seen, tmp_path, student_folder, monkeypatch):
    first, *_ = make(seen, tmp_path / "out", student_folder, 40)
    monkeypatch.setattr("hf_synth.plans.Plans._compute", lambda *_: pytest.fail("made again"))
    again, _, generator = make(seen, tmp_path / "out", student_folder, 40)
    assert again["ledger"]["notes"] == first["ledger"]["notes"]


def test_labels_without_a_real_row_are_named(tmp_path, student_folder):
    rows = {"sentence": [TEXTS["negative"].format(at) for at in range(6)], "label": [0] * 6}
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=NAMES)})
    (tmp_path / "one/data").mkdir(parents=True)
    Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "one/data/train-0.parquet")
    with pytest.raises(InputError, match="`seen_rows` holds no row of positive: a label's rows are written from"):
        make(str(tmp_path / "one"), tmp_path / "out", student_folder, 20)


def test_rows_that_are_quoted_are_what_inspections_look_for(seen, tmp_path, student_folder):
    make(seen, tmp_path / "out", student_folder, 20)
    config = LongTailConfig(seen_rows=seen, planner=str(student_folder))
    write_local(tmp_path / "out", SynthConfig(task="sst2", method="longtail"), config, None)
    found = learnt_of(tmp_path / "out/dataset", load_task("sst2"))
    assert len(found.texts) == 44
    assert found.texts[0] == TEXTS["negative"].format(0)
    assert (found.others, found.model) == ([], None)


def test_bad_settings_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match="`seen_rows` names the real rows"):
        Plan.of(SynthConfig(task="sst2", method="longtail"), LongTailConfig())
    with pytest.raises(InputError, match="`prior` needs a share above 0 for each label; got 0 for 'positive'"):
        Plan.of(SynthConfig(task="sst2", method="longtail"), LongTailConfig(seen_rows="x", prior={"negative": 1}))
    with pytest.raises(InputError, match="longtail"):
        Plan.of(SynthConfig(task="qnli", method="longtail"), LongTailConfig(seen_rows="x"))
