"""The stage before training: flipped rows are found, dropped and named."""

import os
import tempfile
from dataclasses import replace

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from transformers import AutoModelForSequenceClassification

from hf_synth.config import checked
from hf_synth.denoise import DenoiseConfig, check_denoise, denoise
from hf_synth.errors import InputError
from hf_synth.settings import StudentConfig
from hf_synth.tasks import load_task

pytestmark = pytest.mark.usefixtures("one_thread")

SST2 = load_task("sst2")
SIDES = ["awful dull bad", "good great fine"]
FLIPPED = set(range(5, 120, 7))  # of both labels


def reviews(flipped=FLIPPED, names=("negative", "positive"), **columns) -> Dataset:
    """120 reviews whose words tell their label, some of them with the other one; `index` counts from 1000."""
    draw = np.random.default_rng(0)
    true = [row % 2 for row in range(120)]
    filler = ["the", "a", "film", "movie", "story", "plot", "of", "in", "is", "was"]
    texts = [" ".join([*draw.choice(filler, 4), *draw.choice(SIDES[side].split(), 2)]) for side in true]
    labels = [names.index(["negative", "positive"][side ^ (row in flipped)]) for row, side in enumerate(true)]
    features = {"sentence": Value("string"), "label": ClassLabel(names=list(names)), "index": Value("int64")}
    rows = {"sentence": texts, "label": labels, "index": list(range(1000, 1120))} | columns
    features |= {name: Value("string") for name in columns if name not in features}
    return Dataset.from_dict(rows, features=Features(features))


def auroc(score) -> float:
    """How often a flipped row scores lower than another one."""
    flipped = np.array([row in FLIPPED for row in range(120)])
    return float((score[flipped][:, None] < score[~flipped][None]).mean())


@pytest.fixture(scope="module")
def student(student_folder):
    return StudentConfig(student=str(student_folder), num_train_epochs=4, learning_rate=8e-3, train_batch_size=16)


@pytest.fixture(scope="module")
def teacher(student, student_folder, tmp_path_factory):
    """A classifier trained on clean rows, whose labels stand in the other order."""
    from datasets import DatasetDict

    from hf_synth.train import train_student

    folder = tmp_path_factory.mktemp("teacher") / "model"
    train_student(DatasetDict(train=reviews(set(), ("positive", "negative"))), SST2, student, folder, seed=0)
    return str(folder)


@pytest.mark.parametrize("how", ["confident", "hard", "information"])
def test_flipped_rows_score_lower_and_go(student, how):
    found = denoise(reviews(), SST2, student, how, DenoiseConfig(folds=3, keep=0.8))
    assert auroc(found.score) > 0.9
    assert found.index.tolist() == list(range(1000, 1120))
    dropped = found.index[found.weight == 0]
    flipped = {1000 + row for row in FLIPPED}
    assert len(flipped & set(dropped.tolist())) > 0.7 * len(flipped)
    assert len(dropped) < 30
    assert set(found.weight[found.weight > 0]) == {120 / (120 - len(dropped))}
    assert found.weight.mean() == pytest.approx(1)
    lowest = found.index[found.score.argsort(kind="stable")][:5]
    assert {*lowest.tolist()} <= flipped & {*dropped.tolist()}


def test_nothing_is_smoothed_kept_or_left_behind(student, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    student, settings = replace(student, student="bilstm", num_train_epochs=1), DenoiseConfig(folds=2)
    trained = {"save_strategy": "steps", "eval_strategy": "steps", "load_best_model_at_end": True}
    other = replace(student, label_smoothing=0.4, training_args=trained)
    plain = denoise(reviews(), SST2, student, "hard", settings, seed=3).score.tolist()
    weighted = reviews().add_column("weight", [0.1, 1.9] * 60)
    assert denoise(weighted, SST2, other, "hard", settings, seed=3).score.tolist() == plain
    assert denoise(reviews(), SST2, student, "hard", settings, seed=4).score.tolist() != plain
    assert os.listdir(tmp_path) == []


def test_the_teachers_labels_are_mapped_by_name(student, teacher):
    names = AutoModelForSequenceClassification.from_pretrained(teacher).config.id2label
    assert names == {0: "positive", 1: "negative"}
    found = denoise(reviews(), SST2, student, "confident", DenoiseConfig(teacher=teacher))
    assert auroc(found.score) > 0.95
    assert found.reason == "confident learning: the teacher prefers another label"
    assert set(found.index[found.weight == 0] - 1000) <= FLIPPED


def test_information_of_a_teacher_by_source_and_threshold(student, teacher):
    sources = [str(row // 4) for row in range(120)]  # four rows each, of which one at most is flipped
    settings = DenoiseConfig(teacher=teacher, policy="per_source", keep=0.5)
    found = denoise(reviews(prompt_id=sources), SST2, student, "information", settings)
    kept = np.flatnonzero(found.weight)
    assert np.bincount(kept // 4, minlength=30).tolist() == [2] * 30
    assert not set(kept.tolist()) & FLIPPED
    settings = DenoiseConfig(teacher=teacher, policy="threshold")
    assert set(np.flatnonzero(denoise(reviews(), SST2, student, "information", settings).weight == 0)) == FLIPPED


def test_a_teacher_of_other_labels_is_refused(student, student_folder):
    with pytest.raises(InputError) as error:
        denoise(reviews(), SST2, student, "hard", DenoiseConfig(teacher=str(student_folder)))
    assert f"labels of {str(student_folder)!r} are ['LABEL_0', 'LABEL_1']" in str(error.value)
    assert "those of sst2 are ['negative', 'positive']" in str(error.value)


def test_a_class_that_would_lose_all_rows_is_refused(student, teacher):
    with pytest.raises(InputError, match="denoising by information leaves no row of 'negative', 'positive'"):
        denoise(reviews(set(range(120))), SST2, student, "information", DenoiseConfig(teacher=teacher))


@pytest.mark.parametrize(
    ("data", "how", "message"),
    [
        (reviews(), "hards", "`how` must be one of confident, hard, information; got 'hards'. Did you mean 'hard'?"),
        (reviews().remove_columns("index"), "hard", "`train` needs the column 'index'"),
        (reviews(index=[7] * 120), "hard", "`index` must differ from row to row; 7 stands in several"),
        (reviews(label=[0] * 119 + [-1]), "hard", "row 1119 has -1"),
        (reviews(label=[1] * 120), "hard", "`train` must hold rows of two labels or more"),
        (reviews(names=("positive", "negative", "neutral")), "hard", "got ['positive', 'negative', 'neutral']"),
        (reviews().cast_column("label", Value("int64")), "hard", "got Value('int64')"),
    ],
)
def test_rows_that_cannot_be_judged_are_refused(data, how, message):
    with pytest.raises(InputError) as error:
        denoise(data, SST2, StudentConfig(), how, DenoiseConfig())
    assert message in str(error.value)


def test_settings_that_cannot_work_are_refused(monkeypatch):
    with pytest.raises(InputError, match="`train` needs the column 'prompt_id'"):
        denoise(reviews(), SST2, StudentConfig(), "information", DenoiseConfig(policy="per_source"))
    with pytest.raises(InputError, match="no model './nowhere'"):
        check_denoise(SST2, "hard", DenoiseConfig(teacher="./nowhere"))
    with pytest.raises(InputError, match="`keep`: input should be less than or equal to 1; got 2"):
        checked(DenoiseConfig, {"keep": 2}, "settings")
    monkeypatch.setattr("hf_synth.trainers.selection.find_spec", lambda name: None)
    with pytest.raises(InputError, match="hf_synth\\[cleanlab\\]"):
        check_denoise(SST2, "confident", DenoiseConfig())
