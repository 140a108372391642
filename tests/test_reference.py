"""Real rows come under the task's names by name, or not at all."""

import io
import tarfile

import datasets
import pytest
from datasets import ClassLabel, Dataset, Features, LargeList, List, Value

from hf_synth import models, reference
from hf_synth.audit.data import splits_of
from hf_synth.commands.evaluate import refuse_leak
from hf_synth.errors import InputError
from hf_synth.real import load_real_rows
from hf_synth.reference import (
    NotEvaluated,
    check_corpus,
    corpus_texts,
    load_corpus,
    load_real,
    load_reference,
    refuse_judged,
)
from hf_synth.tables.source import read_table
from hf_synth.task import Corpus
from hf_synth.tasks import load_task, parse_task

TOKENS = {
    **{"name": "t", "kind": "tokens", "columns": "tokens", "label_column": "tags", "prompt": '{mentions}: "'},
    **{"labels": ["A"], "words": {"A": ["x"]}, "reference": {"label": "spans", "columns": {"tokens": "text"}}},
}
SETS = {"name": "s", "kind": "multi_label", "labels": ["a", "b"], "prompt": '{mentions}: "'}
PARSES = {
    **{"name": "p", "kind": "parse", "labels": {"IN:A": "a", "IN:B": "b"}, "label_column": "parse"},
    **{"attributes": {"SL:C": {"IN:A": ["c"], "IN:B": ["c"]}}, "prompt": '{label} {mentions}: "'},
}
ASKED = {"id": ["0", "1"], "title": ["", ""], "context": ["Bo is in.", "Al is out."], "question": ["Who?", "Who?"]}
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


@pytest.mark.parametrize(
    "load",
    [
        lambda: load_reference(load_task("sst2"), ""),
        lambda: load_real_rows(load_task("sst2"), "", None),
        lambda: splits_of("", "dataset"),
        lambda: read_table(""),
    ],
)
def test_an_empty_name_is_not_the_folder_that_the_command_runs_in(tmp_path, monkeypatch, load):
    """`--reference "$REAL"`, and the variable is not set."""
    folder_of(tmp_path / "real", ["dull", "moving"], [0, 1], ["negative", "positive"], split="train")
    monkeypatch.chdir(tmp_path / "real")
    with pytest.raises(InputError, match="the name is empty"):
        load()


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


@pytest.mark.parametrize("given", ["rows.csv", ""])
def test_texts_and_labels_that_pandas_takes_for_missing_are_read(tmp_path, given):
    task = parse_task({"name": "t", "labels": ["None", "NA"], "columns": "text", "prompt": 'A {label} text: "'}, "t")
    (tmp_path / "rows.csv").write_text("text,label\nfine,None\nnull,NA\n,None\nbad,\n")
    found = load_real_rows(task, str(tmp_path / given), None).data
    assert found["text"] == ["fine", "null"]
    assert found["label"] == ["None", "NA"]


def test_a_file_without_rows_is_said(tmp_path):
    (tmp_path / "head.csv").write_text("sentence,label\n")
    with pytest.raises(InputError, match="head.csv' cannot be loaded: a file holds no rows"):
        load_reference(load_task("sst2"), str(tmp_path / "head.csv"))


def test_a_number_that_is_too_long_is_said(tmp_path):
    (tmp_path / "long.csv").write_text(f"sentence,label,n\nfine,positive,{10**25}\n")
    with pytest.raises(InputError, match="long.csv' cannot be loaded: a whole number has more than 64 bits"):
        load_reference(load_task("sst2"), str(tmp_path / "long.csv"))


def test_rows_left_out_are_said(tmp_path, capsys):
    path = folder_of(tmp_path, ["x", " ", "y"], [0, 1, -1], ["negative", "positive"])
    real = load_reference(load_task("sst2"), path)
    assert (len(real.data), real.blank, real.malformed) == (1, 2, 0)
    assert "2 of 3 rows have no text or no label, and are left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ({"sentence": [1, 2], "label": ["positive", "negative"]}, "'sentence' must hold texts; it holds int64"),
        ({"sentence": [["a"], ["b"]], "label": ["positive", "negative"]}, "'sentence' must hold texts; it holds List"),
        (
            {"sentence": ["a", "b"], "label": [["positive"], ["negative"]]},
            "'label' must hold labels; it holds lists of texts",
        ),
        ({"text": ["a", "b"], "label": ["positive", "negative"]}, "Map columns under `reference.columns`"),
    ],
)
def test_columns_of_another_kind_are_refused(tmp_path, rows, sentence):
    Dataset.from_dict(rows).to_parquet(tmp_path / "test.parquet")
    with pytest.raises(InputError, match=sentence):
        load_reference(load_task("sst2"), str(tmp_path))
    if "must hold texts" in sentence:
        with pytest.raises(InputError, match=sentence):
            load_corpus(Corpus(str(tmp_path), "sentence", split="test"))


def answers(*texts, starts=(0, 0)):
    return [{"text": own, "answer_start": [at] * len(own)} for own, at in zip(texts, starts, strict=True)]


@pytest.mark.parametrize(
    ("values", "rows", "sentence"),
    [
        (TOKENS, {"tokens": [["a"], ["a", "b"]], "tags": [["O"], ["O"]]}, ", row 1, column 'tags': 1 tags for 2 tok"),
        (TOKENS, {"tokens": [["a", "b"]], "tags": [["O", None]]}, ", row 0, column 'tags': the tag of token 1 is nu"),
        (TOKENS, {"tokens": [["a", None]], "tags": [["O", "O"]]}, ", row 0, column 'tags': token 1 is null"),
        (TOKENS, {"tokens": ["a b"], "tags": [["O", "O"]]}, ": the column 'tokens' must hold lists of texts; it hol"),
        (TOKENS, {"tokens": [["a"]], "tags": ["O"]}, ": the column 'tags' must hold lists of labels; it holds texts"),
        (
            TOKENS,
            {"text": ["x y"], "spans": [[{"start": None, "end": 1, "label": "A"}]]},
            ", row 0, column 'spans': a span lacks its start, end or label",
        ),
        (
            TOKENS,
            {"text": ["x", "x y"], "spans": [None, [{"start": 0, "end": 3, "label": "A"}] * 2]},
            ", row 1, column 'spans': the span 0 to 2 of 'A' is empty, overlaps one",
        ),
        (SETS, {"text": ["x"], "label": ["a"]}, ": the column 'label' must hold lists of labels; it holds texts"),
        (SETS, {"text": ["x"], "label": [["a", None]]}, ", row 0, column 'label': a label is null"),
        (
            "squad",
            {**ASKED, "answers": [[own] for own in answers(["Bo"], ["Al"])]},
            ": the column 'answers' must hold {text: lists of texts, answer_start: lists of integers}; it holds lists",
        ),
        ("squad", {**ASKED, "answers": answers(["Bo"], [" "])}, ", row 1, column 'answers': an answer without words"),
        (
            "squad",
            {**ASKED, "answers": [*answers(["Bo"], starts=[0]), {"text": ["Al"], "answer_start": None}]},
            ", row 1, column 'answers': `text` holds ['Al'], and `answer_start` None",
        ),
        (PARSES, {"text": ["c"], "parse": ["[IN:A c"]}, ", row 0, column 'parse': no parse (unbalanced brackets): '"),
    ],
)
def test_rows_that_nothing_could_be_judged_on_are_named(tmp_path, values, rows, sentence):
    (tmp_path / "real").mkdir()
    Dataset.from_dict(rows).to_parquet(tmp_path / "real/test.parquet")
    task = load_task(values) if isinstance(values, str) else parse_task(values, values["name"])
    with pytest.raises(InputError) as raised:
        load_reference(task, str(tmp_path / "real"))
    assert f"real, split test{sentence}" in str(raised.value)


@pytest.mark.parametrize(
    ("values", "good", "bad", "flaw"),
    [
        (
            TOKENS,
            {"text": "x y", "spans": [{"start": 0, "end": 1, "label": "A"}]},
            {"text": "x y", "spans": [{"start": 0, "end": 3, "label": "A"}] * 2},
            "the span 0 to 2 of 'A' is empty, overlaps one",
        ),
        (PARSES, {"text": "c", "parse": "[IN:A c ]"}, {"text": "c", "parse": "[IN:A c"}, "no parse (unbalanced"),
    ],
)
def test_a_few_malformed_rows_are_left_out_and_counted(tmp_path, capsys, values, good, bad, flaw):
    task, file = parse_task(values, values["name"]), tmp_path / "real.parquet"
    Dataset.from_list([*[good] * 70, bad, *[good] * 29]).to_parquet(file)
    judge = load_reference(task, str(file))
    assert (len(judge.data), judge.malformed) == (99, 1)
    said = " ".join(capsys.readouterr().err.split())
    assert f"real.parquet, split whole file: 1 of 100 rows is malformed, and left out (row 70: {flaw}" in said
    assert "no text or no label" not in said
    Dataset.from_list([*[good] * 70, bad, *[good] * 28, bad]).to_parquet(file)
    with pytest.raises(InputError, match=r"row 70, column .*; 2 of 100 rows are malformed"):
        load_reference(task, str(file))


def test_a_tag_without_a_name_is_named_by_its_place_in_the_split(tmp_path):
    """Also where other rows were left out before."""
    tags = List(ClassLabel(names=["O", "B-A", "I-A"]))
    features = Features({"tokens": List(Value("string")), "tags": tags, "part": Value("string")})
    rows = {"tokens": [["a"]] * 3, "tags": [[-1], [0], [-1]], "part": ["other", "ours", "ours"]}
    Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "test.parquet")
    task = parse_task({**TOKENS, "reference": {"only": {"part": ["ours"]}}}, "t")
    with pytest.raises(InputError, match="row 2, column 'tags': the tag of token 0 is null, or a number without"):
        load_reference(task, str(tmp_path))


def test_questions_without_an_answer_are_left_out(tmp_path, capsys):
    rows = Dataset.from_dict({**ASKED, "answers": answers(["Bo"], [])})
    for split in ("train", "test"):
        rows.to_parquet(tmp_path / f"{split}.parquet")
    assert load_reference(load_task("squad"), str(tmp_path)).data["id"][:] == ["0"]
    assert "1 of 2 rows have no text or no answer, and are left out" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(InputError, match="does not tell of which kind an answer is: take all"):
        load_real_rows(load_task("squad"), str(tmp_path), 1)


def test_a_loading_script_is_a_sentence(monkeypatch):
    def load_dataset(*args, **kwargs):
        raise RuntimeError("Dataset scripts are no longer supported, but found gad.py")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(models, "hub_unreachable", lambda: None)
    said = "found gad.py; give its rows as a folder or a file"
    with pytest.raises(NotEvaluated, match=f"bigbio/gad cannot be loaded .*{said}"):
        load_reference(load_task("gad"))
    with pytest.raises(InputError, match=said):
        load_reference(load_task("gad"), "bigbio/gad")


def test_long_lists_of_labels_go_by_name(tmp_path):
    features = Features({"text": Value("string"), "label": LargeList(ClassLabel(names=["a", "b"]))})
    rows = Dataset.from_dict({"text": ["x", "y"], "label": [[0], [1, 0]]}, features=features)
    rows.to_parquet(tmp_path / "test.parquet")
    assert load_reference(parse_task(SETS, "s"), str(tmp_path)).data["label"][:] == [["a"], ["b", "a"]]


def test_a_line_of_more_cells_than_columns_is_named(tmp_path):
    """Of which pandas would make names of rows, and of the rest the texts."""
    (tmp_path / "notes.csv").write_text("text\nGood, and long\nBad, and short\n")
    with pytest.raises(
        InputError, match="line 3 has 2 cells, the first line 1: put quotes around texts that hold ','"
    ):
        load_corpus(Corpus(str(tmp_path / "notes.csv"), "text"))
    (tmp_path / "notes.csv").write_text(f'text\n"Good, and {"long" * 50_000}"\nBad\n')
    assert len(load_corpus(Corpus(str(tmp_path / "notes.csv"), "text"))) == 2
    (tmp_path / "notes.csv").write_text("text,label\n1,Good,pos\n2,Bad,neg\n")  # as R writes names of rows
    assert load_corpus(Corpus(str(tmp_path / "notes.csv"), "text"))["text"][:] == ["Good", "Bad"]


def test_a_file_in_another_encoding_is_a_sentence(tmp_path):
    (tmp_path / "notes.csv").write_bytes("text\nUn café\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"it is not UTF-8 \(byte 0xe9\); save it as UTF-8"):
        load_corpus(Corpus(str(tmp_path / "notes.csv"), "text"))
