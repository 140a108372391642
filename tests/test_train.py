"""Students: trained on the synthetic splits alone, saved whole, resumed after a kill."""

import json
import shutil

import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_synth.arguments import refuse_trackers, training_arguments
from hf_synth.baselines import prompting
from hf_synth.commands.train import load_splits
from hf_synth.errors import InputError
from hf_synth.learners import check_names
from hf_synth.learners.label import score
from hf_synth.settings import StudentConfig
from hf_synth.stages import open_scratch
from hf_synth.student import predict
from hf_synth.tasks import load_task
from hf_synth.train import check_training, train_student
from hf_synth.trainers.weighted import WeightedTrainer


def data_of(rows=96):
    features = Features(
        {"sentence": Value("string"), "label": ClassLabel(names=["negative", "positive"]), "index": Value("int64")}
    )
    texts = [("a very good fine film" if at % 2 else "an awful dull story") + f" {at % 7}" for at in range(rows)]
    columns = {"sentence": texts, "label": [at % 2 for at in range(rows)], "index": list(range(rows))}
    data = Dataset.from_dict(columns, features=features)
    return DatasetDict(train=data.select(range(16, rows)), validation=data.select(range(16)))


def config_of(student, **settings):
    return StudentConfig(
        **{"student": str(student), "num_train_epochs": 8, "learning_rate": 2e-3, "train_batch_size": 32, **settings}
    )


@pytest.mark.parametrize("bilstm", [False, True])
def test_a_student_learns_and_is_saved_with_its_label_names(student_folder, tmp_path, bilstm):
    config = config_of("bilstm" if bilstm else student_folder, learning_rate=0.01 if bilstm else 5e-3)
    facts = train_student(data_of(), load_task("sst2"), config, tmp_path / "model", seed=0)
    assert (facts["rows"], facts["validation_rows"]) == (80, 16)
    assert facts["validation_score"] == 1.0
    assert predict(tmp_path / "model", [["a fine good film 1", "awful dull 2"]]) == ["positive", "negative"]
    assert json.loads((tmp_path / "model/training.json").read_text()) == facts
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_tensorboards_curves_stay_and_are_not_published(student_folder, tmp_path):
    config = config_of(student_folder, num_train_epochs=2, training_args={"report_to": "tensorboard"})
    train_student(data_of(), load_task("sst2"), config, tmp_path / "model", seed=0)
    events = [
        path for path in (tmp_path / "runs").rglob("events.out.tfevents.*") if b"train/loss" in path.read_bytes()
    ]
    assert len(events) == 1
    assert {entry.name for entry in tmp_path.iterdir()} == {"model", "runs"}
    assert not list((tmp_path / "model").rglob("*tfevents*"))


def test_pairs_reach_both_streams(tmp_path):
    """The label is whether both texts are alike, which no single text tells."""
    features = Features(
        {
            "sentence": Value("string"),
            "question": Value("string"),
            "label": ClassLabel(names=["entailment", "not_entailment"]),
        }
    )
    pairs = [(a, b) for a in "xyzw" for b in "xyzw"] * 12
    columns = {
        "sentence": [a for a, _ in pairs],
        "question": [b for _, b in pairs],
        "label": [int(a != b) for a, b in pairs],
    }
    data = Dataset.from_dict(columns, features=features)
    config = config_of("bilstm", num_train_epochs=30, learning_rate=3e-3)
    task = load_task("qnli")
    train_student(DatasetDict(train=data, validation=data.select(range(16))), task, config, tmp_path / "model", seed=0)
    labels = predict(tmp_path / "model", [["x", "x", "y", "w"], ["x", "y", "y", "z"]])
    assert labels == ["entailment", "not_entailment", "entailment", "not_entailment"]


def test_the_untrained_model_is_not_the_best_epoch(student_folder, tmp_path):
    """An epoch is one step, and none scores higher than chance: the first one is kept."""
    data = data_of(48)
    data["validation"] = data["validation"].select([0, 0])  # alike, but for their labels
    data["validation"] = data["validation"].remove_columns("label").add_column("label", [0, 1])
    data["validation"] = data["validation"].cast(data["train"].features)
    facts = train_student(data, load_task("sst2"), config_of(student_folder), tmp_path / "model", seed=0)
    assert (facts["validation_score"], facts["log_history"][-1]["step"]) == (0.5, 8)
    before, after = (
        AutoModelForSequenceClassification.from_pretrained(f) for f in (student_folder, tmp_path / "model")
    )
    assert not torch.equal(before.bert.pooler.dense.weight, after.bert.pooler.dense.weight)


def test_the_score_told_is_an_accuracy_whatever_chose_the_epoch(student_folder, tmp_path):
    by_loss = {"metric_for_best_model": "eval_loss", "greater_is_better": False}
    config = config_of(student_folder, num_train_epochs=3, training_args=by_loss)
    facts = train_student(data_of(), load_task("sst2"), config, tmp_path / "model", seed=0)
    best = min((log for log in facts["log_history"] if "eval_loss" in log), key=lambda log: log["eval_loss"])
    assert (facts["kept"], facts["chosen_by"]) == ("best", "loss")
    assert (facts["metric"], facts["validation_score"]) == ("accuracy", best["eval_accuracy"])


def test_a_model_that_no_score_chose_is_the_last(student_folder, tmp_path):
    config = config_of(student_folder, num_train_epochs=2, training_args={"eval_delay": 3})
    facts = train_student(data_of(), load_task("sst2"), config, tmp_path / "model", seed=0)
    assert (facts["kept"], facts["chosen_by"], facts["validation_score"]) == ("last", None, None)


def test_without_validation_rows_nothing_is_evaluated_whatever_was_asked(student_folder, tmp_path):
    data, asked = data_of(), {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
    by_steps, empty = {**asked, "load_best_model_at_end": True}, {"validation": data["validation"].select([])}
    for name, rows, args in (
        ("none", {}, by_steps),
        ("empty", empty, by_steps),
        ("best", {}, {"save_strategy": "best"}),
    ):
        config = config_of(student_folder, num_train_epochs=1, training_args=args)
        facts = train_student(DatasetDict(train=data["train"], **rows), load_task("sst2"), config, tmp_path / name, 0)
        assert (facts["rows"], facts["kept"], facts["validation_score"]) == (80, "last", None)


def test_training_that_was_killed_goes_on(student_folder, tmp_path, monkeypatch):
    config, task = config_of(student_folder, num_train_epochs=2), load_task("sst2")
    train_student(data_of(), task, config, tmp_path / "whole", seed=0)

    class Killed(BaseException):
        pass

    steps = []
    step = WeightedTrainer.training_step

    def counted(self, *args, **kwargs):
        steps.append(self.state.global_step)
        if len(steps) == 5:  # after the checkpoint of the first epoch, three steps long
            raise Killed
        return step(self, *args, **kwargs)

    monkeypatch.setattr(WeightedTrainer, "training_step", counted)
    with pytest.raises(Killed):
        train_student(data_of(), task, config, tmp_path / "model", seed=0)
    assert not (tmp_path / "model").exists()
    train_student(data_of(), task, config, tmp_path / "model", seed=0)
    assert steps == [0, 1, 2, 3, 4, 3, 4, 5]
    load = AutoModelForSequenceClassification.from_pretrained
    first, second = (load(tmp_path / name).state_dict() for name in ("whole", "model"))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-5, rtol=0)


def test_another_training_does_not_resume_it(student_folder, tmp_path):
    scratch = tmp_path / ".model-training"
    args = training_arguments(config_of(student_folder), scratch, 0, True)
    open_scratch(args, "one")
    (scratch / "checkpoint-3").mkdir()
    open_scratch(args, "one")
    assert (scratch / "checkpoint-3").exists()
    open_scratch(args, "two")
    assert not (scratch / "checkpoint-3").exists()


def test_seeds_change_the_student(student_folder, tmp_path):
    weights = []
    for seed in (0, 1):
        train_student(
            data_of(), load_task("sst2"), config_of(student_folder, num_train_epochs=1), tmp_path / str(seed), seed
        )
        weights.append(AutoModelForSequenceClassification.from_pretrained(tmp_path / str(seed)).classifier.weight)
    assert not torch.allclose(*weights)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"learning_rat": 1}, "Did you mean 'learning_rate'?"),
        ({"learning_rate": 1}, "set `learning_rate` instead"),
        ({"per_device_train_batch_size": 4}, "set `train_batch_size` instead"),
        ({"eval_strategy": "sometimes"}, "`training_args`"),
        ({"push_to_hub": True}, "`training_args.push_to_hub`: the Trainer's own push has no card; give `run` a `hub"),
        ({"hub_model_id": "me/x"}, "`training_args.hub_model_id`: the Trainer's own push has no card"),
    ],
)
def test_bad_training_args(tmp_path, given, message):
    with pytest.raises(InputError) as error:
        training_arguments(StudentConfig(training_args=given), tmp_path, 0, True)
    assert message in str(error.value)


@pytest.mark.deepspeed
def test_the_launchers_precision_is_the_trainers_under_deepspeed(tmp_path, monkeypatch):
    """Transformers refuses a DeepSpeed configuration that says other than its arguments."""
    pytest.importorskip("deepspeed")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    for precision, expected in (("bf16", True), ("no", False)):
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", precision)
        found = training_arguments(StudentConfig(training_args={"use_cpu": True}), tmp_path, 0, True)
        assert (found.bf16, found.fp16) == (expected, False)


def test_private_trainings_report_to_nobody_else(monkeypatch):
    monkeypatch.delenv("TRACKIO_SPACE_ID", raising=False)
    for kept in ({}, {"report_to": "tensorboard"}, {"report_to": ["trackio", "tensorboard"]}, {"report_to": None}):
        refuse_trackers(StudentConfig(training_args=kept))
    for given, named in (
        ({"report_to": "wandb"}, "report_to: wandb"),
        ({"report_to": ["tensorboard", "mlflow"]}, "report_to: mlflow"),
        ({"report_to": "all"}, "report_to: all"),
        ({"report_to": "trackio", "trackio_space_id": "me/curves"}, "trackio_space_id"),
    ):
        with pytest.raises(InputError, match=f"`private` keeps everything .* `training_args.{named}`"):
            refuse_trackers(StudentConfig(training_args=given))
    monkeypatch.setenv("TRACKIO_SPACE_ID", "me/curves")
    with pytest.raises(InputError, match="`TRACKIO_SPACE_ID` names a Space"):
        refuse_trackers(StudentConfig(training_args={"report_to": "trackio"}))


def test_scores():
    found = score(
        load_task("ag_news"), ["World", "World", "Sports", "Business"], ["World", "Sports", "Sports", "World"]
    )
    assert found["accuracy"] == 0.5
    assert found["macro_f1"] == pytest.approx((0.5 + 2 / 3 + 0 + 0) / 4)
    assert found["recall"] == {"World": 0.5, "Sports": 0.5, "Business": None, "Sci/Tech": None}
    low, high = found["accuracy_interval"]
    assert (low, high) == pytest.approx((0.1500, 0.8500), abs=1e-3)  # Wilson, 2 of 4


def test_the_metric_loads_by_path():
    import evaluate

    from hf_synth.metrics import classification

    metric = evaluate.load(classification.__file__)
    assert metric.compute(predictions=[0, 1], references=[0, 0], labels=["a", "b"])["accuracy"] == 0.5


def test_more_tokens_than_the_student_reads_are_refused(student_folder, tmp_path):
    shutil.copytree(student_folder, tmp_path / "short")
    tokenizer = AutoTokenizer.from_pretrained(student_folder)
    tokenizer.model_max_length = 128
    tokenizer.save_pretrained(tmp_path / "short")
    check_training(config_of(tmp_path / "short", max_length=128), load_task("sst2"))
    with pytest.raises(InputError, match="`max_length: 129`: '.*short' reads 128 tokens at most"):
        check_training(config_of(tmp_path / "short", max_length=129), load_task("sst2"))


def test_a_model_of_other_labels_is_refused():
    with pytest.raises(
        InputError, match=r"labels are \['LABEL_0', 'LABEL_1'\], those of sst2 are \['negative', 'positive'\]"
    ):
        check_names(load_task("sst2"), ["negative", "positive"], {0: "LABEL_0", 1: "LABEL_1"})


class Scores:
    """Prefers the negative prompt by a constant, and the label whose side the text is on by less."""

    def score(self, prompts, texts, *, batch_size):
        return [-1.0 + ("negative" in p) + 0.5 * (t in p) for p, t in zip(prompts, texts, strict=True)]


def test_calibration_takes_the_prompts_own_pull_away():
    found = prompting(Scores(), {"text": ["positive", "negative", "positive"]}, load_task("yelp_polarity"), 4)
    assert found["prompting"] == ["1"] * 3
    assert found["prompting, calibrated"] == ["2", "1", "2"]


def test_pairs_are_scored_after_their_given_text():
    seen = []

    class Keeps:
        def score(self, prompts, texts, *, batch_size):
            seen.extend(zip(prompts, texts, strict=True))
            return [0.0] * len(texts)

    prompting(Keeps(), {"sentence": ["S1", "S2"], "question": ["Q1", "Q2"]}, load_task("qnli"), 4)
    assert ('Information: "S2"\nQuestion (answer in above information): "', "Q2") in seen


def test_rows_that_cannot_be_read_are_one_sentence(tmp_path):
    (tmp_path / "train.csv").write_text("sentence,label\ngood,positive\ngood, and long,positive\n")
    with pytest.raises(InputError, match="`dataset`: .* cannot be loaded"):
        load_splits(tmp_path, load_task("sst2"))
