"""Students of entities and of sets of labels: trained by every trainer, judged by label names, saved for others."""

import json
import random

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    pipeline,
)

from hf_synth.baselines import dictionary, judge_baselines, prompting
from hf_synth.bio import spans_of, tags_of
from hf_synth.columns import class_names
from hf_synth.errors import InputError
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.learners import learner
from hf_synth.metrics.entities import Entities
from hf_synth.metrics.multi_label import best_threshold, micro_f1
from hf_synth.real import load_real_rows
from hf_synth.reference import RealRows, load_reference
from hf_synth.settings import StudentConfig
from hf_synth.shapes import shape
from hf_synth.tasks import load_task, parse_task
from hf_synth.train import check_training, train_student

pytestmark = pytest.mark.usefixtures("one_thread")

TOKENS = parse_task(
    {
        "name": "t",
        "kind": "tokens",
        "columns": "tokens",
        "label_column": "tags",
        "labels": ["Thing", "Mood"],
        "words": {"Thing": ["film", "movie story"], "Mood": ["good", "awful"]},
        "prompt": '{mentions}: "',
    },
    "t",
)
SETS = parse_task({"name": "s", "kind": "multi_label", "labels": ["film", "plot"], "prompt": '{mentions}: "'}, "s")
FILLER = ["the", "a", "of", "in", "is", "was", "and", "but"]
FAST = {"num_train_epochs": 8, "learning_rate": 8e-3, "train_batch_size": 16, "max_length": 32}


def tagged(count, seed=0):
    """Rows whose entities are certain words, of one or two tokens."""
    draw, rows = random.Random(seed), {"tokens": [], "tags": [], "index": list(range(count))}
    for _ in range(count):
        tokens, tags = [], []
        for _ in range(draw.randrange(3, 7)):
            name = draw.choice([None, None, "film", "movie story", "good", "awful"])
            words = name.split() if name else [draw.choice(FILLER)]
            label = {"film": "Thing", "movie story": "Thing", "good": "Mood", "awful": "Mood"}.get(name)
            tokens += words
            tags += tags_of(len(words), [(0, len(words), label)] if label else [])
        rows["tokens"].append(tokens)
        rows["tags"].append(tags)
    features = Features({**shape(TOKENS).features(TOKENS), "index": Value("int64")})
    rows["tags"] = [[features["tags"].feature.str2int(tag) for tag in tags] for tags in rows["tags"]]
    return Dataset.from_dict(rows, features=features)


def labelled(count, seed=0):
    """Rows whose labels are the words they hold."""
    draw = random.Random(seed)
    texts = [" ".join(draw.choices([*FILLER, "film", "plot"], k=4)) for _ in range(count)]
    labels = [[at for at, name in enumerate(SETS.labels) if name in text.split()] for text in texts]
    features = Features({**shape(SETS).features(SETS), "index": Value("int64")})
    return Dataset.from_dict({"text": texts, "label": labels, "index": list(range(count))}, features=features)


def judged(task, rows, folder):
    """Write rows as a real data set and load them as a reference."""
    (folder / "data").mkdir(parents=True)
    rows.remove_columns("index").to_parquet(folder / "data/test-0.parquet")
    return load_reference(task, str(folder))


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"trainer": "ensemble", "trainer_args": {"preset": "agreement"}},
        {"trainer": "bilevel", "trainer_args": {"mode": "online"}},
        {"trainer": "annealing", "trainer_args": {"kind": "share"}},
    ],
    ids=["weighted", "ensemble", "bilevel", "annealing"],
)
def test_every_trainer_teaches_entities(tmp_path, student_folder, how):
    data = DatasetDict(train=tagged(96), validation=tagged(32, 1))
    if how.get("trainer") == "annealing":
        (tmp_path / "real" / "data").mkdir(parents=True)
        tagged(32, 3).remove_columns("index").to_parquet(tmp_path / "real/data/train-0.parquet")
        how = {**how, "real_rows": str(tmp_path / "real")}
    config = StudentConfig(student=str(student_folder), **FAST, **how)
    facts = train_student(data, TOKENS, config, tmp_path / "model", 0)
    assert (facts["metric"], facts["rows"]) == ("f1", 128 if "real_rows" in how else 96)
    judge = judged(TOKENS, tagged(40, 2), tmp_path / "test")
    said = learner(TOKENS).predict(tmp_path / "model", judge.data, TOKENS)
    assert learner(TOKENS).score(TOKENS, said, judge.data["tags"])["f1"] > 0.9
    saved = AutoModelForTokenClassification.from_pretrained(tmp_path / "model").config
    assert list(saved.id2label.values()) == ["O", "B-Thing", "I-Thing", "B-Mood", "I-Mood"]


def test_tags_behind_the_cut_are_outside_and_counted(tmp_path, student_folder, capsys):
    config = StudentConfig(student=str(student_folder), **{**FAST, "num_train_epochs": 1})
    train_student(DatasetDict(train=tagged(16)), TOKENS, config, tmp_path / "model", 0)
    rows = Dataset.from_dict({"tokens": [["film"] * 50, ["the"]]})
    said = learner(TOKENS).predict(tmp_path / "model", rows, TOKENS, max_length=10)
    assert [len(tags) for tags in said] == [50, 1]
    assert set(said[0][20:]) == {"O"}
    # A film is four pieces: of the third, the first is among ten.
    assert "47 of 51 tokens stand behind `max_length: 10`, and count as `O`" in capsys.readouterr().err
    learner(TOKENS).predict(tmp_path / "model", rows.select([1]), TOKENS, max_length=10)
    assert "tokens stand behind" not in capsys.readouterr().err


def test_a_bilstm_does_not_tag(tmp_path):
    with pytest.raises(InputError, match="`student: bilstm` gives texts a label"):
        train_student(DatasetDict(train=tagged(16)), TOKENS, StudentConfig(student="bilstm"), tmp_path / "m", 0)


def test_real_rows_of_a_number_per_label_of_entities(tmp_path):
    (tmp_path / "data").mkdir()
    tagged(8).remove_columns("index").to_parquet(tmp_path / "data/train-0.parquet")
    rows = load_real_rows(TOKENS, str(tmp_path), 2).data
    for label in TOKENS.labels:
        assert 2 <= sum(any(tag.endswith(label) for tag in tags) for tags in rows[TOKENS.label_column]) < 8


@pytest.mark.parametrize("trainer", ["weighted", "ensemble", "bilevel"])
def test_every_trainer_teaches_sets_of_labels(tmp_path, student_folder, trainer):
    args = {"ensemble": {"preset": "agreement"}, "bilevel": {"mode": "online"}}.get(trainer, {})
    config = StudentConfig(student=str(student_folder), trainer=trainer, trainer_args=args, **FAST)
    data = DatasetDict(train=labelled(128), validation=labelled(32, 1))
    facts = train_student(data, SETS, config, tmp_path / "model", 0)
    assert facts["metric"] == "micro_f1"
    judge = judged(SETS, labelled(40, 2), tmp_path / "test")
    said = learner(SETS).predict(tmp_path / "model", judge.data, SETS)
    found = learner(SETS).score(SETS, said, judge.data["label"])
    assert found["micro_f1"] > 0.9
    saved = json.loads((tmp_path / "model" / "config.json").read_text())
    assert saved["problem_type"] == "multi_label_classification"
    assert facts["reading"] == {"threshold": saved["threshold"]}


def test_how_a_student_was_read_before_it_was_trained_anew_is_forgotten(tmp_path, student_folder):
    """Its old threshold would be that of labels it has not seen, and pipelines would take classes for a set."""
    short = {**FAST, "num_train_epochs": 1}
    rows = DatasetDict(train=labelled(32), validation=labelled(16, 1))
    train_student(rows, SETS, StudentConfig(student=str(student_folder), **short), tmp_path / "sets", 0)
    assert AutoConfig.from_pretrained(tmp_path / "sets").threshold != 0
    again = StudentConfig(student=str(tmp_path / "sets"), **short)
    train_student(DatasetDict(train=labelled(32)), SETS, again, tmp_path / "again", 0)
    found = AutoConfig.from_pretrained(tmp_path / "again")
    assert (found.problem_type, hasattr(found, "threshold")) == ("multi_label_classification", False)
    single = parse_task({"name": "one", "labels": ["a", "b"], "prompt": '{label}: "'}, "one")
    features = Features({**shape(single).features(single), "index": Value("int64")})
    texts = {"text": ["film", "plot"] * 8, "label": [0, 1] * 8, "index": list(range(16))}
    train_student(DatasetDict(train=Dataset.from_dict(texts, features=features)), single, again, tmp_path / "one", 0)
    scores = pipeline("text-classification", str(tmp_path / "one"))(["a film"], top_k=None)[0]
    assert sum(found["score"] for found in scores) == pytest.approx(1)


@pytest.mark.parametrize(("task", "rows"), [(TOKENS, tagged), (SETS, labelled)], ids=["tokens", "sets"])
def test_what_a_student_has_learnt_goes_by_the_names_of_its_labels(tmp_path, student_folder, task, rows):
    config = StudentConfig(student=str(student_folder), **FAST)
    train_student(DatasetDict(train=rows(96)), task, config, tmp_path / "model", 0)
    names = class_names(rows(1).features[task.label_column])
    texts = [["film", "plot"]] if task is SETS else [["the", "film", "was", "awful", "movie", "story"]]
    said = {}
    for order in (names, names[::-1]):
        config = StudentConfig(student=str(tmp_path / "model"))
        model, tokenizer, _ = learner(task).load(config, task, order, [])
        inputs = tokenizer(*texts, is_split_into_words=task is TOKENS, padding=True, return_tensors="pt")
        with torch.no_grad():
            logits = model.eval()(**inputs).logits
        said[order[0]] = logits[..., [order.index(name) for name in names]]
    one, other = said.values()
    torch.testing.assert_close(one, other)
    with torch.no_grad():  # and training goes on from where it was, its logits' level with it
        torch.testing.assert_close(one, learner(task).auto.from_pretrained(tmp_path / "model")(**inputs).logits)


@pytest.mark.parametrize("task", [TOKENS, SETS, load_task("squad")], ids=lambda task: task.kind)
def test_small_steps_of_a_student_kept_in_half_precision_count(tmp_path, student_folder, task):
    model = AutoModelForSequenceClassification.from_pretrained(student_folder, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "half")
    AutoTokenizer.from_pretrained(student_folder).save_pretrained(tmp_path / "half")
    model, _, _ = learner(task).load(StudentConfig(student=str(tmp_path / "half")), task, ["a", "b"], [])
    weights = torch.cat([value.detach().flatten() for value in model.base_model.encoder.parameters()])
    assert (weights + 1e-5 != weights)[weights.abs() < 1].all()


def test_scores_of_entities():
    real = [["B-A", "I-A", "O", "B-B"], ["O", "B-A"], ["O", "O"]]
    said = [["B-A", "O", "O", "B-B"], ["O", "I-A"], ["B-B", "O"]]  # one cut short, two right, one invented
    found = learner(TOKENS).score(TOKENS, said, real)
    assert (found["rows"], found["precision"], found["recall"]) == (3, 0.5, pytest.approx(2 / 3))
    assert found["f1"] == pytest.approx(4 / 7)
    assert found["per_label"]["B"] == {"f1": pytest.approx(2 / 3), "entities": 1}
    low, high = found["f1_interval"]
    assert low < 4 / 7 < high


@pytest.mark.parametrize(
    ("real", "said", "scores"),
    [
        ("B-A I-A O B-B", "B-A O O B-B", (0.5, 0.5, 0.5)),
        ("I-A I-A O I-B", "B-A I-A O I-B", (1.0, 1.0, 1.0)),
        ("B-A I-B I-B O", "B-A I-A I-B O", (0.0, 0.0, 0.0)),
        ("B-A B-A I-A B-B", "B-A I-A I-A B-B", (0.5, 1 / 3, 0.4)),
        ("O O O", "B-A O I-B", (0.0, 0.0, 0.0)),
    ],
)
def test_scores_are_those_of_seqeval(real, said, scores):
    """Of its version 1.2.2, `precision_score`, `recall_score` and `f1_score` in the default mode."""
    found = Entities().compute(predictions=[said.split()], references=[real.split()])
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx(scores)


def test_scores_of_sets():
    said, real = [["film"], ["film", "plot"], []], [["film", "plot"], ["film", "plot"], []]
    found = learner(SETS).score(SETS, said, real)
    assert found["micro_f1"] == pytest.approx(2 * 3 / 7)
    assert found["macro_f1"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["exact_match"] == pytest.approx(2 / 3)


def test_the_threshold_is_that_of_the_highest_f1():
    logits = np.array([[-2.0, -9.0], [-3.0, -9.0], [-8.0, -2.5]])
    real = np.array([[True, False], [True, False], [False, False]])
    best = best_threshold(logits, real)
    every = [micro_f1(logits > cut, real) for cut in np.linspace(-10, 0, 101)]
    assert micro_f1(logits > best, real) == max(every) == pytest.approx(0.8)
    assert -8 < best < -3


def test_the_threshold_gives_all_or_none_where_that_is_best():
    logits = np.array([[-2.0, -9.0], [-3.0, -5.0]])
    assert (logits > best_threshold(logits, np.ones((2, 2), bool))).all()
    assert not (logits > best_threshold(logits, np.zeros((2, 2), bool))).any()


@pytest.mark.parametrize("name", ["entities", "multi_label", "squad", "exact_match"])
def test_metrics_load_by_path(name):
    import evaluate

    given = {
        "entities": ([["B-A"]], [["B-A"]], {}),
        "multi_label": ([["a"]], [["a"]], {"labels": ["a"]}),
        "squad": (["x"], [["x"]], {}),
        "exact_match": (["[IN:A b ]"], ["[IN:A b ]"], {}),
    }
    said, real, more = given[name]
    metric = evaluate.load(f"{__file__.rsplit('/', 2)[0]}/hf_synth/metrics/{name}.py")
    found = metric.compute(predictions=said, references=real, **more)
    assert found["rows"] == 1
    assert 1.0 in found.values()


# --- what students must beat


def test_the_commonest_label_is_given_to_all_rows():
    task = parse_task({"name": "s", "labels": ["a", "b"], "prompt": "{label}"}, "s")
    judge = RealRows(Dataset.from_dict({"text": ["x", "y", "z"], "label": ["b", "a", "b"]}), "real", "test")
    found = judge_baselines(ScriptedGenerator(lambda prompt, rng: ""), judge, task, 0, 4, ["b", "b", "b"])
    assert set(found) == {"the commonest label"}
    scores = found["the commonest label"]
    assert (scores["rows"], scores["accuracy"], scores["student"]) == (3, pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert scores["f1"] == {"a": 0, "b": pytest.approx(0.8)}


def test_the_dictionary_finds_the_names_in_the_prompts():
    tokens = ["A", "Movie", "story", "was", "awful", "movie"]
    assert spans_of(dictionary(TOKENS, [tokens])[0]) == [(1, 3, "Thing"), (4, 5, "Mood")]
    assert dictionary(TOKENS, [["movie"]]) == [["O"]]  # half a name at the end of a text


def test_prompting_gives_as_many_labels_as_prompts_ask_for():
    class Likes:
        def score(self, prompts, texts, *, batch_size):
            return [float(len(prompt)) for prompt in prompts]

    two = parse_task(
        {
            "name": "s",
            "kind": "multi_label",
            "labels": {"a": "x", "b": "xxx", "c": "xx"},
            "mentions": [1, 3],
            "prompt": '{mentions}: "',
        },
        "s",
    )
    assert prompting(Likes(), {"text": ["t"]}, two, 4)["prompting"] == [["b", "c"]]


# --- real data


def test_real_tags_are_mapped_by_the_names_of_their_labels(tmp_path):
    features = Features(
        {"tokens": List(Value("string")), "theirs": List(ClassLabel(names=["O", "B-M", "I-M", "B-Thing", "I-Thing"]))}
    )
    rows = Dataset.from_dict({"tokens": [["good", "film"], []], "theirs": [[1, 3], []]}, features=features)
    (tmp_path / "data").mkdir()
    rows.to_parquet(tmp_path / "data/test-0.parquet")
    task = parse_task(
        {
            "name": "t",
            "kind": "tokens",
            "columns": "tokens",
            "label_column": "tags",
            "labels": ["Thing", "Mood"],
            "words": {"Thing": ["film"], "Mood": ["good"]},
            "prompt": '{mentions}: "',
            "reference": {"label": "theirs", "labels": {"Mood": "M"}},
        },
        "t",
    )
    found = load_reference(task, str(tmp_path))
    assert isinstance(found, RealRows)
    assert found.data["tags"][:] == [["B-Mood", "B-Thing"]]  # the row without tokens is no row


def test_a_reference_may_hold_other_rows_as_well(tmp_path):
    features = Features(
        {"text": Value("string"), "label": List(ClassLabel(names=["film", "plot"])), "part": Value("string")}
    )
    rows = Dataset.from_dict({"text": ["x", "y"], "label": [[0], []], "part": ["ours", "theirs"]}, features=features)
    (tmp_path / "data").mkdir()
    rows.to_parquet(tmp_path / "data/test-0.parquet")
    values = {"name": "s", "kind": "multi_label", "labels": ["film", "plot"], "prompt": '{mentions}: "'}
    task = parse_task({**values, "reference": {"only": {"part": ["ours"]}}}, "s")
    assert load_reference(task, str(tmp_path)).data["text"][:] == ["x"]
    assert load_reference(parse_task(values, "s"), str(tmp_path)).data["label"][:] == [["film"], []]


def test_real_spans_of_characters_become_tags(tmp_path):
    spans = List({"slot": Value("string"), "start": Value("int32"), "end": Value("int32")})
    rows = Dataset.from_dict(
        {"text": ["An awful film!"], "slots": [[{"slot": "Mood", "start": 3, "end": 8}]]},
        features=Features({"text": Value("string"), "slots": spans}),
    )
    (tmp_path / "data").mkdir()
    rows.to_parquet(tmp_path / "data/test-0.parquet")
    task = parse_task(
        {
            "name": "t",
            "kind": "tokens",
            "columns": "tokens",
            "label_column": "tags",
            "labels": ["Thing", "Mood"],
            "words": {"Thing": ["film"], "Mood": ["good"]},
            "prompt": '{mentions}: "',
            "reference": {"columns": {"tokens": "text"}, "label": "slots"},
        },
        "t",
    )
    found = load_reference(task, str(tmp_path)).data
    assert found["tokens"][:] == [["An", "awful", "film", "!"]]
    assert found["tags"][:] == [["O", "B-Mood", "O", "O"]]


@pytest.mark.parametrize(
    ("task", "settings", "sentence"),
    [
        (TOKENS, {"student": "bilstm"}, "`student: bilstm` gives texts a label"),
        (
            TOKENS,
            {"trainer": "bilevel", "select": "top_k"},
            "`select: top_k` is for tasks of kind single, pair, relation",
        ),
        (load_task("squad"), {"label_smoothing": 0.1}, "`label_smoothing` needs classes"),
        (load_task("squad"), {"trainer": "ensemble"}, "`trainer: ensemble` averages what is said of classes"),
        (load_task("topv2"), {"trainer": "bilevel"}, "`trainer` must be 'weighted'"),
    ],
)
def test_what_a_kind_cannot_do_is_refused_before_anything_is_written(task, settings, sentence):
    with pytest.raises(InputError, match=sentence):
        check_training(StudentConfig(**settings), task)
