"""The long tail: plans by what a classifier gets wrong, rounds that follow them, and what stops them."""

import dataclasses
import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from hf_synth.audit.learnt import learnt_of, write_local
from hf_synth.builder import plan_of
from hf_synth.config import checked
from hf_synth.errors import InputError
from hf_synth.filters.consistency import Consistent, Judge, RoundTrip
from hf_synth.folder import write_folder
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.methods.longtail import LongTailConfig
from hf_synth.metrics.classification import Classification, wilson
from hf_synth.planner import (
    PlanConfig,
    allotted,
    by_frequency,
    cell_errors,
    cells_of,
    check_prior,
    label_errors,
    left_out,
    shares,
    split,
    thirds,
)
from hf_synth.produce import Plan, produce
from hf_synth.records import Example, Prompt
from hf_synth.rounds import GAIN, RoundsConfig, stalled
from hf_synth.run import Run
from hf_synth.settings import SynthConfig
from hf_synth.task import Task
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


def test_rows_left_out_are_judged_as_if_they_and_what_was_written_with_them_had_not_been_there():
    draw = np.random.default_rng(0)
    labels = np.array([0] * 12 + [1] * 5 + [2] * 3)
    table = draw.normal(size=(20, 6)) + 1.5 * np.eye(6)[labels]
    for origins in (np.arange(20), np.array([*range(16), 3, 3, 0, 12])):
        found = left_out(table, labels, 3, origins)
        families = [np.flatnonzero(origins == own) for own in origins]
        slow = np.stack([ridge(table, labels, 3, at, family) for at, family in enumerate(families)])
        # Calibration scales all scores by one number, and the softmax takes one number from each row.
        gaps, slow_gaps = found - found[:, :1], slow - slow[:, :1]
        factor = (gaps * slow_gaps).sum() / (slow_gaps**2).sum()
        assert gaps == pytest.approx(factor * slow_gaps, abs=1e-8)
        assert np.exp(found).sum(1) == pytest.approx(np.ones(20))


def test_rows_written_from_a_row_do_not_judge_it():
    """Labels are drawn at random: nothing tells them but what was written from a row itself."""
    draw = np.random.default_rng(0)
    seeds, labels = draw.normal(size=(60, 90)), np.arange(60) % 3
    table = np.concatenate([seeds, *(seeds + 0.1 * draw.normal(size=seeds.shape) for _ in range(4))])
    every, origins = np.tile(labels, 5), np.tile(np.arange(60), 5)
    clean = (left_out(table, every, 3, origins)[:60].argmax(1) == labels).mean()
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
    task = Task(name="two", labels={"a": "a", "b": "b"}, prompt='{label}: "')
    for scale in (1, 0.1):
        plan = PlanConfig(prior={"b": 2 * scale, "a": 8 * scale})
        assert shares(plan, counts, errors, names) == pytest.approx([8 / 88, 80 / 88])
    check_prior(plan, task)
    for prior, message in (
        ({"a": 1, "c": 1}, "`prior`: a label must be one of a, b; got 'c'"),
        ({"a": 1}, "a share above 0 for each label; got 0 for 'b'"),
        ({"a": 1, "b": -1}, "got -1.0 for 'b'"),
    ):
        with pytest.raises(InputError, match=message):
            check_prior(PlanConfig(prior=prior), task)
    with pytest.raises(InputError, match="`shares` is not read where rows are planned"):
        check_prior(plan, dataclasses.replace(task, shares={"a": 1, "b": 2}))
    with pytest.raises(InputError, match="needs `allocation: planned`; got inverse"):
        checked(LongTailConfig, {"seen_rows": "x", "prior": {"a": 1}, "allocation": "inverse"}, "here")


def test_values_share_a_labels_rows_by_what_is_missed_of_each():
    told = np.log(np.array([[0.9, 0.1], [0.5, 0.5], [0.8, 0.2], [0.4, 0.6]]))
    labels, cells, owners = np.array([0, 0, 0, 1]), np.array([0, 1, 1, 3]), np.array([0, 0, 0, 1, 1])
    assert cell_errors(told, labels, cells, owners, 0) == pytest.approx([0.1, 0.35, 0.8 / 3, 0.4, 0.4], abs=1e-5)
    overall = 0.8 / 3  # of all that was written for the first label, which is all that is known of its third value
    drawn = [(0.1 + 4 * overall) / 5, (0.7 + 4 * overall) / 6, overall, 0.4, 0.4]
    assert cell_errors(told, labels, cells, owners, 4) == pytest.approx(drawn)
    nothing = np.zeros(0, dtype=int)
    assert cell_errors(np.zeros((0, 2)), nothing, nothing, owners, 5).tolist() == [0] * 5
    assert split(PlanConfig(), np.zeros(4)) == pytest.approx([0.25] * 4)
    assert split(PlanConfig(), np.array([0.1, 0.3])) == pytest.approx([0.1, 0.9])
    assert split(PlanConfig(allocation="inverse"), np.array([0.1, 0.3])) == pytest.approx([0.5, 0.5])


def test_recall_is_told_by_how_many_real_rows_a_label_has():
    labels = np.array([0] * 2 + [1] * 8 + [2] * 4 + [3] * 2 + [4] * 3 + [5] * 9)
    told = labels.copy()
    told[[0, 2, 3, 11, 19]] = 5
    parts = {row["part"]: row for row in by_frequency(told, labels, np.bincount(labels))}
    assert {name: own.tolist() for name, own in thirds(np.bincount(labels)).items()} == {
        "head": [1, 5],
        "middle": [4, 2],
        "tail": [0, 3],
    }
    scored = Classification()._compute(told.tolist(), labels.tolist(), [*"abcdef"])
    for name, own in (("head", "bf"), ("middle", "ec"), ("tail", "ad")):
        assert parts[name]["macro recall"] == pytest.approx(np.mean([scored["recall"][one] for one in own]), abs=1e-4)
        assert parts[name]["macro F1"] == pytest.approx(np.mean([scored["f1"][one] for one in own]), abs=1e-4)
        assert parts[name]["real rows"] == sum("abcdef"[label] in own for label in labels)
    # Of as many rows in each label it is Wilson's interval of them all: here three of four.
    assert (parts["tail"]["from"], parts["tail"]["to"]) == pytest.approx(wilson(3, 4), abs=1e-4)
    assert [*thirds(np.array([9, 3]))] == ["head", "tail"]


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


def make(seen, out, student_folder, rows=60, by=None, chunk_size=None, **more):
    settings = {"seen_rows": seen, "first_round": 30, "planner": str(student_folder), **more}
    shared = SynthConfig(task="sst2", method="longtail", num_rows=rows, chunk_size=chunk_size)
    plan = Plan.of(shared, LongTailConfig(**settings))
    generator = by or writer()
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
    assert [row["rows"] for row in facts["ledger"]["notes"]["plan"]] == [0, 30, 60]
    stage = facts["ledger"]["stages"]["rows"]
    assert stage["asked"] == stage["kept"] + sum(stage["dropped"].values())
    assert facts["sources"][0]["path"] == "seen"
    card = (tmp_path / "out/dataset/README.md").read_text()
    assert "Prompts quote real rows of seen" in card


@pytest.mark.parametrize("key", ["tuning_prompt", "score_prompt"])
def test_rows_written_by_another_prompt_are_not_taken_for_these(seen, tmp_path, student_folder, key):
    """The prompts are of these templates: other ones in the same folder were taken for the same settings."""
    task = {"name": "films", "labels": NAMES, "columns": ["sentence"], "prompt": 'One {label}: "'}
    given = {"method": "longtail", "seen_rows": seen, "first_round": 8, "num_rows": 4, "planner": str(student_folder)}

    def made(**own):
        plan = plan_of({"task": {**task, **own}, **given}, "here")
        return produce(plan, writer(), tmp_path / "out", lambda work, told: told["fingerprint"])

    assert made() == made()
    with pytest.raises(InputError, match=f"`task.{key}` is None there and 'A {{label}} film: \"' here"):
        made(**{key: 'A {label} film: "'})


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


def test_curves_by_frequency_are_told_and_end_with_all_rows(seen, tmp_path, student_folder):
    facts, *_ = make(seen, tmp_path / "out", student_folder, 60)
    notes = facts["ledger"]["notes"]
    curves = [(row["rows"], row["part"], row["real rows"]) for row in notes["learning curves"]]
    assert curves == [(rows, *part) for rows in (0, 30, 60) for part in (("head", 40), ("tail", 4))]
    for at, told in enumerate(notes["plan"]):
        both = notes["learning curves"][2 * at : 2 * at + 2]
        assert told["mean recall"] == pytest.approx(np.mean([row["macro recall"] for row in both]), abs=1e-4)
    card = (tmp_path / "out/dataset/README.md").read_text()
    last = notes["learning curves"][-1]
    assert f"| 60 | tail | 1 | 4 | {last['macro recall']:.4g} | {last['from']:.4g} |" in card
    assert (tmp_path / "out/dataset/hf_synth/rounds.png").read_bytes().startswith(b"\x89PNG")
    assert "](hf_synth/rounds.png)" in card


def test_rows_of_a_label_are_split_over_the_values_of_an_attribute(seen, tmp_path, student_folder):
    more = {"sharpness": 0, "growth": 1, "chunk_size": 4}
    plain, *_ = make(seen, tmp_path / "plain", student_folder, 60, **more)
    facts, *_ = make(seen, tmp_path / "out", student_folder, 60, attribute="style", **more)
    cells = facts["ledger"]["notes"]["cells"]
    assert len(cells) == 2 * 6
    for label in NAMES:
        counts = [row["written"] for row in cells if row["label"] == label]
        assert max(counts) - min(counts) <= 1
    files = (tmp_path / "out/dataset/data").glob("[tv][ra]*-*.parquet")
    rows = pa.concat_tables(map(pq.read_table, files)).to_pylist()
    found = Counter((NAMES[row["label"]], json.loads(row["attributes"])["style"]) for row in rows)
    assert found == {(row["label"], row["style"]): row["written"] for row in cells if row["written"]}
    prompts = pq.read_table(tmp_path / "out/dataset/hf_synth/prompts.parquet").to_pylist()
    texts = {row["prompt_id"]: row["text"] for row in prompts}
    for row in rows:
        assert f"1. Style: {json.loads(row['attributes'])['style']}\n" in texts[row["prompt_id"]]
        assert texts[row["prompt_id"]].endswith('\n5) "')
    assert "cells" not in plain["ledger"]["notes"]
    assert facts["ledger"]["notes"]["rows"] == plain["ledger"]["notes"]["rows"]
    stage = facts["ledger"]["stages"]["rows"]
    assert stage["asked"] == stage["kept"] + sum(stage["dropped"].values())


def test_values_that_a_classifier_mistakes_get_more_rows(seen, tmp_path, student_folder):
    def write(prompt, rng):
        label = prompt.cell if prompt.attributes["style"] != "blunt" else NAMES[prompt.cell == NAMES[0]]
        return TEXTS[label].format(rng.random()) + '"'

    more = {"attribute": "style", "growth": 2, "chunk_size": 4}
    facts, *_ = make(seen, tmp_path / "out", student_folder, 90, by=ScriptedGenerator(write), **more)
    told = {row["style"]: row for row in facts["ledger"]["notes"]["cells"] if row["label"] == "positive"}
    blunt = told.pop("blunt")
    assert blunt["error"] > max(row["error"] for row in told.values())
    assert blunt["written"] > 2 * np.mean([row["written"] for row in told.values()])


def test_a_value_that_gives_nothing_is_given_up_alone(seen, tmp_path, student_folder):
    def write(prompt, rng):
        style = prompt.attributes["style"]
        return f'{"short" if style == "ironic" else TEXTS[prompt.cell].format(rng.random())}"'

    more = {"attribute": "style", "allocation": "uniform", "growth": 1, "chunk_size": 4, "max_attempts": 1}
    facts, *_ = make(seen, tmp_path / "out", student_folder, 60, by=ScriptedGenerator(write), **more)
    assert [*facts["ledger"]["accounts"]] == [f"{label}, style: ironic" for label in NAMES]
    assert facts["rows"] == 60
    written = {
        (row["label"], row["style"]): (row["written"], row["error"]) for row in facts["ledger"]["notes"]["cells"]
    }
    assert [written[label, "ironic"] for label in NAMES] == [(0, None)] * 2
    assert [*cells_of(load_task("sst2"), "point")][::10] == [
        "negative, point: the plot makes no sense",
        "positive, point: the plot is clever",
    ]


def test_a_judge_reads_the_label_of_a_row_that_is_counted_in_a_cell():
    task = load_task("sst2")
    run = Run(task, ScriptedGenerator(lambda prompt, rng: "positive" if "good" in prompt.text else "negative"))
    texts, prompt = ("a good one", "a bad one"), Prompt("x", "positive")
    rows = [Example({"sentence": text}, "positive", "positive, style: blunt", prompt) for text in texts]
    assert RoundTrip(run)(rows) == [None, "inconsistent"]
    judge = Judge([], lambda examples: np.array([[0.1, 0.9], [0.8, 0.2]]))
    assert Consistent(run, judge, 0.0)(rows) == [None, "inconsistent"]


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
    for nothing in (None, ""):
        with pytest.raises(InputError, match="`seen_rows` names the real rows"):
            Plan.of(SynthConfig(task="sst2", method="longtail"), LongTailConfig(seen_rows=nothing))
    with pytest.raises(InputError, match="`prior` needs a share above 0 for each label; got 0 for 'positive'"):
        Plan.of(SynthConfig(task="sst2", method="longtail"), LongTailConfig(seen_rows="x", prior={"negative": 1}))
    with pytest.raises(InputError, match=r"`attribute` must be one of point, genre, style; got 'place'"):
        Plan.of(SynthConfig(task="sst2", method="longtail"), LongTailConfig(seen_rows="x", attribute="place"))
    with pytest.raises(InputError, match="`attribute` needs a task with `attributes`; 'banking77' has none"):
        Plan.of(SynthConfig(task="banking77", method="longtail"), LongTailConfig(seen_rows="x", attribute="place"))
    with pytest.raises(InputError, match="longtail"):
        Plan.of(SynthConfig(task="qnli", method="longtail"), LongTailConfig(seen_rows="x"))
