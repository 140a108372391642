"""Trainers, denoising and real rows, chosen by YAML: what is trained on, what is written, what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, load_dataset
from transformers import AutoModelForSequenceClassification

from hf_synth.commands.main import main
from hf_synth.errors import InputError
from hf_synth.folder import write_folder
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.produce import Plan, produce
from hf_synth.real import load_real_rows, mix_in
from hf_synth.request import Request
from hf_synth.row_weights import Weights, choose, joined, weigh
from hf_synth.settings import StudentConfig, SynthConfig
from hf_synth.stages import FIRST_BATCH, last_checkpoint
from hf_synth.student import predict
from hf_synth.tasks import load_task
from hf_synth.train import train_student
from hf_synth.trainers.bilevel import BilevelTrainer
from hf_synth.trainers.weighted import WeightedTrainer

pytestmark = pytest.mark.usefixtures("one_thread")

SST2 = load_task("sst2")
SIDES = {"positive": ["good", "great", "fine"], "negative": ["bad", "awful", "dull"]}
FILLER = ["the", "a", "film", "movie", "story", "plot", "of", "in", "is", "was"]
PLAIN = {"num_train_epochs": 5, "learning_rate": 8e-3, "train_batch_size": 16, "max_length": 16}


def clean(prompt, rng):
    """A review of its label's side."""
    if prompt.cell is None:
        return f'Title {rng.randrange(999)}"'
    return " ".join([*(rng.choice(FILLER) for _ in range(4)), *rng.choices(SIDES[prompt.cell], k=3)]) + '"'


def noisy(prompt, rng):
    """A review of which one in seven is of the other side than its label."""
    if prompt.cell is None:
        return f'Title {rng.randrange(999)}" and more'
    side = prompt.cell if rng.random() > 0.15 else {"positive": "negative", "negative": "positive"}[prompt.cell]
    return " ".join([*(rng.choice(FILLER) for _ in range(4)), *rng.choices(SIDES[side], k=3)]) + '"'


def is_wrong(row):
    said = "positive" if set(row["sentence"].split()) & set(SIDES["positive"]) else "negative"
    return ["negative", "positive"][row["label"]] != said


def real_rows(folder, rows=24, names=("positive", "negative")):
    """Real rows in `train`, whose label names stand the other way round than the task's."""
    texts = [f"a {SIDES[names[at % 2]][at % 3]} film {at}" for at in range(rows)]
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=list(names))})
    (folder / "data").mkdir(parents=True)
    data = Dataset.from_dict({"sentence": texts, "label": [at % 2 for at in range(rows)]}, features=features)
    data.to_parquet(folder / "data/train-0.parquet")
    return folder


@pytest.fixture
def out(tmp_path):
    """An output folder with 160 noisy rows."""
    return generated(tmp_path, noisy)


def generated(tmp_path, script):
    plan = Plan.of(SynthConfig(task="sst2", num_rows=160, min_words=1))
    written = tmp_path / "out" / "dataset"
    produce(
        plan,
        ScriptedGenerator(script, name=script.__name__),
        tmp_path / "out",
        lambda work, facts: write_folder(work, written, plan.task, facts),
    )
    return tmp_path / "out"


def train(out, student, tmp_path, *flags, **settings):
    """Train by a YAML file; return what training recorded."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"task": "sst2", "student": str(student), **PLAIN, **settings}))
    assert main(["train", "--config", str(recipe), "--output_dir", str(out), *flags]) == 0
    return json.loads((out / "model/training.json").read_text())


def load(folder, config=None):
    return load_dataset(str(folder), config, cache_dir=str(folder.parent.parent / "cache"))


ROUNDS = [{"rows": "synthetic", "epochs": 3}, {"trainable": "head", "rows": "real", "balanced": True}]
CHOICES = {
    "weighted": {},
    "ensemble": {"trainer_args": {"preset": "laine_aila", "momentum": 0.5, "keep_above": 0.5}},
    "bilevel": {"trainer_args": {"rounds": 3}, "select": "balanced_top_k", "keep": 0.8},
    "bilevel online": {"trainer_args": {"mode": "online"}},
    "annealing": {"trainer_args": {"kind": "rounds", "rounds": ROUNDS}, "real_per_class": 8},
    "annealing share": {"trainer_args": {"kind": "share", "curve": "cosine"}},
}


@pytest.mark.parametrize("choice", CHOICES)
def test_each_trainer_learns_by_yaml(out, student_folder, tmp_path, choice):
    name = choice.split()[0]
    real = {"real_rows": str(real_rows(tmp_path / "real"))} if name == "annealing" else {}
    facts = train(out, student_folder, tmp_path, trainer=name, **CHOICES[choice], **real)
    texts = [" ".join(["a", "film", *words]) for words in SIDES.values()]
    assert predict(out / "model", [texts]) == ["positive", "negative"]
    assert facts["trainer"] == name
    assert ["its weight 30 (`ramp: 80`)" in note for note in facts["notes"]] == [True] * (name == "ensemble")
    given = {**CHOICES[choice].get("trainer_args", {})}
    given.pop("preset", None)
    given.pop("rounds", None) if name == "annealing" else None
    assert given.items() <= (facts["trainer_settings"] or {}).items()
    rows = {"annealing": 16, "annealing share": 24}.get(choice, 0)
    assert facts["real"] == (rows and {"name": "real", "split": "train", "rows": rows} or None)
    share = 0.8 if choice == "bilevel" else 1
    assert facts["rows"] == pytest.approx(facts["given_rows"] * share + rows, abs=1)
    assert len([entry for entry in facts["log_history"] if "loss" in entry]) >= 8
    assert facts["pictures"] == ["curves.png", *(["weights.png"] if name == "bilevel" else [])]
    assert all((out / "model" / picture).stat().st_size > 1000 for picture in facts["pictures"])
    assert {path.name for path in out.iterdir()} <= {"dataset", "model", "journal", ".lock"}


def test_learnt_weights_are_in_the_data_set_and_come_back(out, student_folder, tmp_path):
    settings = {"trainer": "bilevel", "trainer_args": {"rounds": 4}}
    facts = train(out, student_folder, tmp_path, **settings)
    rows = load(out / "dataset", "weighted")["train"]
    assert rows["index"] == load(out / "dataset")["train"]["index"]
    wrong = np.array([is_wrong(row) for row in rows])
    weights = np.array(rows["hf_synth_weight"])
    assert 10 < wrong.sum() < 40
    assert weights[wrong].mean() < 0.7 * weights[~wrong].mean()
    suspects = load(out / "dataset", "suspects")["train"]
    assert np.mean([is_wrong(row) for row in suspects]) > 0.7
    told = facts["weights"]
    assert (told["weighed"], told["trainer"], told["settings"]["select"]) == (len(rows), "bilevel", "weights")
    assert told["effective_rows"] == round(weights.sum() ** 2 / (weights**2).sum())
    card = (out / "dataset/README.md").read_text()
    assert "no person's label was used" in card
    # `generate` writes the rows anew, without weights; the same training puts them back without training
    before = (out / "model/model.safetensors").stat().st_mtime_ns
    generated(tmp_path, noisy)
    with pytest.raises(ValueError, match="weighted"):
        load(out / "dataset", "weighted")
    train(out, student_folder, tmp_path, **settings)
    assert (out / "model/model.safetensors").stat().st_mtime_ns == before
    assert load(out / "dataset", "weighted")["train"]["hf_synth_weight"] == rows["hf_synth_weight"]


def test_weights_are_learnt_through_the_encoder_where_there_is_one(out, student_folder, tmp_path):
    """By default of a pretrained student, not of one that is built; the steps of a round tell which of them learns."""

    def learnt(name, student, **trainer_args):
        settings = {"trainer": "bilevel", "num_train_epochs": 2, "trainer_args": {"rounds": 3, **trainer_args}}
        folder = tmp_path / name / "out"
        shutil.copytree(out, folder)
        facts = train(folder, student, tmp_path, **settings)
        rows = load(folder / "dataset", "weighted")["train"]
        wrong, weights = np.array([is_wrong(row) for row in rows]), np.array(rows["hf_synth_weight"])
        assert weights[wrong].mean() < 0.8 * weights[~wrong].mean()
        whole = student == "bilstm" or trainer_args.get("through") == "model"
        assert (
            f"would make {'the student' if whole else 'a frozen encoder'}'s loss (rce)" in facts["weights"]["reason"]
        )
        return max(step["step"] for step in facts["rounds_log_history"]), rows["hf_synth_weight"]

    default, encoder = (learnt(f"{given}", student_folder, **given) for given in ({}, {"through": "encoder"}))
    assert default == encoder
    assert default[0] == 3 * 1 * 5  # one epoch a round, of batches of 32
    model = learnt("model", student_folder, through="model")
    assert model[0] == 3 * 2 * 10  # of two epochs, in batches of 16
    assert model[1] != default[1]
    assert learnt("bilstm", "bilstm")[0] == 3 * 2 * 10  # of two epochs, in batches of 16


def test_weights_through_an_encoder_that_is_not_there_are_refused(out, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    settings = {"task": "sst2", "student": "bilstm", **PLAIN, "trainer": "bilevel"}
    recipe.write_text(yaml.safe_dump({**settings, "trainer_args": {"through": "encoder"}}))
    assert main(["train", "--config", str(recipe), "--output_dir", str(out)]) == 2
    assert "`trainer_args.through: encoder`: 'bilstm' has no pretrained encoder" in capsys.readouterr().err


def test_rounds_of_few_steps_lose_no_row(student_folder, tmp_path):
    """The first round learns next to nothing: steps by the size of its gradient put weights at 0 for good."""
    data = DatasetDict(train=data_of()["train"].select(range(3)))
    config = StudentConfig(
        str(student_folder), 2, 2e-3, train_batch_size=32, trainer="bilevel", trainer_args={"rounds": 3}
    )
    facts = train_student(data, SST2, config, tmp_path / "model", 0)
    assert (facts["rows"], facts["weights"]["kept"]) == (3, 3)


def test_denoised_rows_and_the_config_weighted_give_the_same_student(out, student_folder, tmp_path):
    denoised = {"denoise": "hard", "denoise_args": {"folds": 2, "keep": 0.75}}
    facts = train(out, student_folder, tmp_path, **denoised)
    assert facts["rows"] == facts["denoised"]["kept"] == pytest.approx(0.75 * facts["given_rows"], abs=1)
    rows = load(out / "dataset", "weighted")["train"]
    dropped = [row for row in rows if row["hf_synth_weight"] == 0]
    assert len(rows) - len(dropped) == facts["rows"]
    assert sum(map(is_wrong, dropped)) > 0.5 * len(dropped)
    data = ["--dataset", str(out / "dataset"), "--dataset_config", "weighted"]
    again = train(tmp_path / "again", student_folder, tmp_path, *data)
    assert (again["rows"], again["validation_rows"]) == (facts["rows"], facts["validation_rows"])
    assert again["weights"] is None
    first, second = (
        AutoModelForSequenceClassification.from_pretrained(folder / "model").state_dict()
        for folder in (out, tmp_path / "again")
    )
    assert all(torch.equal(second[name], value) for name, value in first.items())


def test_weights_of_both_stages_and_real_rows(out, student_folder, tmp_path):
    """All generated rows are weighed, real ones are none of the data set's, and both are told as a source."""
    real = str(real_rows(tmp_path / "real"))
    settings = {"denoise": "hard", "denoise_args": {"folds": 2}, "real_rows": real, "real_per_class": 4}
    facts = train(out, student_folder, tmp_path, trainer="bilevel", trainer_args={"rounds": 2}, **settings)
    assert facts["rows"] == facts["denoised"]["kept"] + 8
    weighted = load(out / "dataset", "weighted")["train"]
    assert weighted["index"] == load(out / "dataset")["train"]["index"]
    assert sum(weight > 0 for weight in weighted["hf_synth_weight"]) == facts["denoised"]["kept"]
    card = (out / "dataset/README.md").read_text()
    assert "made by the trainer `denoising (hard), then bilevel` from the texts and generated labels" in card
    assert "and 8 real rows of real, split train." in card
    assert "no person's label was used" not in card
    assert facts["settings"]["real_rows"] == "real"  # not the folder's path


@pytest.mark.parametrize("kept", ["last", "best"])
def test_synthetic_rows_do_not_choose_among_the_models_of_annealing(student_folder, tmp_path, kept):
    """Real rows contradict the generated ones, by which the best model is one from before the real rows."""
    out = generated(tmp_path, clean)
    real = real_rows(tmp_path / "real", names=("negative", "positive"))
    turned = load_dataset(str(real), split="train").map(lambda row: {"label": 1 - row["label"]})
    turned.to_parquet(real / "data/train-0.parquet")
    rounds = [{"rows": "synthetic", "epochs": 4}, {"rows": "real", "epochs": 16}]
    given = {"trainer": "annealing", "trainer_args": {"rounds": rounds}, "real_rows": str(real)}
    asked = {"training_args": {"load_best_model_at_end": True}} if kept == "best" else {}
    facts = train(out, student_folder, tmp_path, **given, **asked)
    first, last = (log["eval_accuracy"] for log in facts["log_history"] if "eval_accuracy" in log)
    assert last < 0.6 < 0.8 < first
    rows = load(out / "dataset")["validation"]
    names = rows.features["label"].names
    said = [names.index(name) for name in predict(out / "model", [rows["sentence"][:]])]
    right = np.mean(np.array(said) == rows["label"][:])
    assert right == facts["validation_score"] == {"last": last, "best": first}[kept]
    assert facts["kept"] == kept


def test_real_rows_come_first_for_their_own_epochs(out, student_folder, tmp_path, monkeypatch):
    steps, plain = [], WeightedTrainer.train

    def counted(self, *args, **kwargs):
        outcome = plain(self, *args, **kwargs)
        steps.append(self.state.global_step)
        return outcome

    monkeypatch.setattr(WeightedTrainer, "train", counted)
    real = real_rows(tmp_path / "real", names=("negative", "positive"))
    count = len(load_dataset(str(real), split="train"))
    given = {"real_rows": str(real), "real_first": 2.0, "training_args": {"max_steps": 3}}
    train(out, student_folder, tmp_path, **given)
    assert steps == [2 * -(-count // FIRST_BATCH), 3]


def data_of(rows=96):
    features = {
        "sentence": Value("string"),
        "label": ClassLabel(names=["negative", "positive"]),
        "index": Value("int64"),
    }
    texts = [f"the film was {SIDES[['negative', 'positive'][at % 2]][at % 3]} {at % 7}" for at in range(rows)]
    columns = {"sentence": texts, "label": [at % 2 for at in range(rows)], "index": list(range(rows))}
    data = Dataset.from_dict(columns, features=Features(features))
    return DatasetDict(train=data.select(range(16, rows)), validation=data.select(range(16)))


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def whole(student_folder, tmp_path_factory):
    """How two rounds of two epochs of three steps, then two epochs, are trained, and what they give unkilled."""
    given = {**PLAIN, "num_train_epochs": 2, "train_batch_size": 32}
    rounds = {"trainer_args": {"rounds": 2, "through": "model"}}
    config = StudentConfig(str(student_folder), trainer="bilevel", **rounds, **given)
    folder = tmp_path_factory.mktemp("whole") / "model"
    return config, folder, train_student(data_of(), SST2, config, folder, seed=0)


@pytest.mark.parametrize(("kind", "steps"), [(BilevelTrainer, 8), (WeightedTrainer, 4)])
def test_a_killed_training_goes_on_in_its_stage(whole, tmp_path, monkeypatch, kind, steps):
    """Killed in the second round, and in the training after the rounds."""
    config, unkilled, expected = whole
    seen, step = [], WeightedTrainer.training_step

    def counted(self, *args, **kwargs):
        seen.append((type(self), self.state.global_step))
        if seen.count((kind, steps)) == 1 and seen[-1] == (kind, steps):
            raise Killed
        return step(self, *args, **kwargs)

    monkeypatch.setattr(WeightedTrainer, "training_step", counted)
    with pytest.raises(Killed):
        train_student(data_of(), SST2, config, tmp_path / "model", seed=0)
    assert not (tmp_path / "model").exists()
    seen_before = len(seen)
    facts = train_student(data_of(), SST2, config, tmp_path / "model", seed=0)
    resumed = seen[seen_before:]
    assert resumed[0] == (kind, steps - steps % 3)  # from the last checkpoint
    assert sum(of is BilevelTrainer for of, _ in resumed) == (6 if kind is BilevelTrainer else 0)
    load = AutoModelForSequenceClassification.from_pretrained
    first, second = (load(folder).state_dict() for folder in (unkilled, tmp_path / "model"))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-5, rtol=0)
    assert facts["weights"] == expected["weights"]
    before, after = (Weights.load(folder / "weights.parquet")[0] for folder in (unkilled, tmp_path / "model"))
    np.testing.assert_allclose(after.weight, before.weight, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_every_setting_makes_another_training(student_folder, tmp_path):
    real, source = str(real_rows(tmp_path / "real")), {"name": "student"}
    changed = [
        {},
        {"trainer": "ensemble"},
        {"trainer": "ensemble", "trainer_args": {"ramp": 3}},
        {"trainer": "bilevel"},
        {"trainer": "bilevel", "select": "top_k"},
        {"trainer": "bilevel", "select": "top_k", "keep": 0.3},
        {"denoise": "hard"},
        {"denoise": "hard", "denoise_args": {"folds": 3}},
        {"real_rows": real},
        {"real_rows": real, "real_per_class": 3},
    ]
    requests = [Request.of(SST2, StudentConfig(str(student_folder), **settings), 0) for settings in changed]
    weighted = DatasetDict(train=data_of()["train"].add_column("weight", [0.5, 1.5] * 40))
    renamed = DatasetDict(
        {name: rows.cast_column("label", ClassLabel(names=["bad", "good"])) for name, rows in data_of().items()}
    )
    keys = {request.key(data_of(), source) for request in requests}
    assert len(keys | {requests[0].key(rows, source) for rows in (weighted, renamed)}) == len(changed) + 2
    assert requests[0].key(data_of(), source) in keys


def test_real_rows_come_by_name_marked_and_numbered(tmp_path):
    real = load_real_rows(SST2, str(real_rows(tmp_path / "real")), 3)
    assert real.data["label"][:].count("positive") == real.data["label"][:].count("negative") == 3
    assert load_real_rows(SST2, str(tmp_path / "real"), 3).data[:] == real.data[:]
    mixed = mix_in(weigh(data_of()["train"], np.arange(80)), real, SST2, above=500)
    assert mixed["synthetic"][:] == [True] * 79 + [False] * 6
    assert mixed["index"][79:] == list(range(501, 507))
    assert mixed["weight"][79:] == [1.0] * 6
    names = mixed.features["label"].names
    assert names == ["negative", "positive"]
    assert all(row["sentence"].split()[1] in SIDES[names[row["label"]]] for row in mixed.select(range(79, 85)))


def test_selection_keeps_real_rows_and_no_class_dies():
    labels, synthetic = [0, 0, 0, 0, 1, 1, 1, 1, 1, 1], [True] * 8 + [False] * 2
    rows = Dataset.from_dict({"labels": labels, "synthetic": synthetic})
    score = np.array([9.0, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    learnt = Weights(np.arange(10), np.where(score > 4, 1.6, 0.4), score, "low")
    ways = ("weights", "top_k", "balanced_top_k", "sampling")
    found = {how: choose(learnt, rows, how, 0.5, 0).weight for how in ways}
    assert found["weights"].tolist() == learnt.weight.tolist()
    assert np.flatnonzero(found["top_k"]).tolist() == [0, 1, 2, 3, 8, 9]
    assert np.flatnonzero(found["balanced_top_k"]).tolist() == [0, 1, 4, 5, 8, 9]
    assert np.count_nonzero(found["sampling"]) == 6
    assert all(weight.mean() == pytest.approx(1) for weight in found.values())
    with pytest.raises(InputError, match="`select: top_k` with `keep: 0.4` leaves no row of some label"):
        choose(learnt, rows.remove_columns("synthetic"), "top_k", 0.4, 0)


def test_what_denoising_drops_is_trusted_least():
    dropped = Weights(np.arange(4), np.array([0, 0, 2.0, 2.0]), np.array([0.1, 0.2, 0.8, 0.7]), "hard")
    learnt = Weights(np.array([2, 3]), np.array([0.5, 1.5]), np.array([-30.0, 1]), "far")
    both = joined(dropped, learnt)
    order = both.index[np.argsort(both.score)].tolist()
    assert order == [0, 1, 2, 3]
    assert dict(zip(both.index.tolist(), both.weight.tolist(), strict=True)) == {0: 0, 1: 0, 2: 1.0, 3: 3.0}
    assert joined(None, learnt) is learnt
    assert joined(dropped, None) is dropped


BAD = [
    ({"trainer": "bilvel"}, "Did you mean 'bilevel'?"),
    ({"trainer_args": {"momentum": 0.5}}, "`trainer_args`: the trainer weighted has no settings; got momentum"),
    ({"trainer": "ensemble", "trainer_args": {"momentun": 1}}, "Did you mean 'momentum'?"),
    ({"trainer": "ensemble", "trainer_args": {"momentum": 1.5}}, "`momentum`: input should be less than 1; got 1.5"),
    ({"trainer": "ensemble", "trainer_args": {"preset": "fewgn"}}, "Did you mean 'fewgen'?"),
    ({"trainer": "bilevel", "trainer_args": {"outer_loss": "rec"}}, "got 'rec'. Did you mean 'rce'?"),
    ({"trainer": "bilevel", "trainer_args": [1]}, "`trainer_args`: input should be a valid mapping"),
    ({"trainer": "bilevel", "select": "top"}, "`select`"),
    ({"trainer": "bilevel", "keep": 0}, "`keep`: input should be greater than 0; got 0"),
    ({"loss": "gce", "label_smoothing": 0.1}, "`label_smoothing: 0.1` belongs to `loss: ce`; got gce"),
    ({"select": "top_k"}, "`select: top_k` needs `trainer: bilevel` in the mode sungen; got weighted"),
    ({"trainer": "bilevel", "trainer_args": {"mode": "online"}, "select": "sampling"}, "got bilevel, mode online"),
    ({"trainer": "annealing"}, "give `real_rows`, a file, folder or Hub id"),
    (
        {"trainer": "annealing", "real_rows": "REAL", "early_stopping_patience": 2},
        "`early_stopping_patience: 2` stops by the synthetic validation split",
    ),
    ({"trainer": "ensemble", "trainer_args": {"name": "supergen"}}, "`trainer_args`: a key must be one of"),
    (
        {"trainer": "bilevel", "trainer_args": {"epochs": 2}, "training_args": {"max_steps": 9}},
        "`trainer_args.epochs: 2` is not read",
    ),
    (
        {"trainer": "annealing", "real_rows": "REAL", "training_args": {"max_steps": 9}},
        "`training_args.max_steps: 9`: set the `epochs` of each round instead",
    ),
    ({"trainer": "bilevel", "trainer_args": {"outer": "real"}}, "`trainer_args.outer: real` needs `real_rows`"),
    ({"real_per_class": 3}, "`real_per_class: 3` needs `real_rows`"),
    ({"trainer": "annealing", "real_rows": "REAL", "trainer_args": {"rounds": 3}}, "must be a list of mappings"),
    (
        {"trainer": "annealing", "real_rows": "REAL", "trainer_args": {"rounds": [{}, {"epoch": 1}]}},
        "`trainer_args.rounds`, round 2: a key must be one of",
    ),
    ({"real_rows": "no/such"}, "`real_rows`: there is no folder 'no/such'"),
    (
        {"real_rows": "REAL", "real_per_class": 99},
        "99 rows of each label are wanted, and the split train of real has 12",
    ),
    ({"real_rows": "REAL", "reference_split": "train"}, "are both the split 'train' of 'real'"),
    ({"denoise": "hards"}, "Did you mean 'hard'?"),
    ({"denoise_args": {"keep": 0.5}}, "`denoise_args` needs `denoise`"),
    ({"denoise": "hard", "denoise_args": {"keep": 2}}, "`denoise_args`: `keep`: input should be less than or equal"),
    ({"denoise": "hard", "denoise_args": {"teacher": "./none"}}, "no model './none'"),
]


@pytest.mark.parametrize(("settings", "message"), BAD, ids=lambda v: str(v)[:60] if isinstance(v, dict) else "")
def test_settings_that_cannot_work_are_one_sentence_before_anything_runs(
    settings, message, capsys, tmp_path, tmp_path_factory, student_folder, monkeypatch
):
    real = real_rows(tmp_path_factory.mktemp("rows") / "real")
    settings = {key: str(real) if value == "REAL" else value for key, value in settings.items()}
    recipe = real.parent / "recipe.yaml"
    shared = {"task": "sst2", "student": str(student_folder), "model": "./none", "reference": str(real)}
    recipe.write_text(
        yaml.safe_dump({**shared, "reference_split": "train", "output_dir": str(tmp_path / "out"), **settings})
    )
    monkeypatch.setattr("hf_synth.models.hub_unreachable", lambda: "the network is closed")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert main(["run", "--config", str(recipe)]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-synth: ")]
    assert len(said) == 1
    assert message in said[0]
    assert list(tmp_path.iterdir()) == []


def test_a_config_that_is_not_there(out, tmp_path, student_folder, capsys):
    argv = ["train", "--task", "sst2", "--student", str(student_folder), "--output_dir", str(out)]
    assert main([*argv, "--dataset_config", "weighted"]) == 2
    assert "the config 'weighted' of" in capsys.readouterr().err


def test_a_checkpoint_cut_short_by_a_kill_is_passed_over(tmp_path):
    for step, state in ((9, '{"global_step": 9}'), (12, '{"global'), (15, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-9")
    assert last_checkpoint(tmp_path / "nothing") is None


@pytest.mark.parametrize("weight", [[1.0, float("nan")], [1.0, -1.0], [0.0, 0.0]])
def test_weights_that_are_none_are_refused(weight):
    with pytest.raises(InputError, match="`weight` must be a number, 0 or more"):
        weigh(Dataset.from_dict({"index": [0, 1], "weight": weight}))
