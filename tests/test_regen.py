"""ReGen on a retriever whose corpus is a list of texts and whose nearness is the words shared."""

import dataclasses
import json
from collections import Counter

import pytest
from datasets import Dataset, load_dataset

from hf_synth.builder import build
from hf_synth.commands.main import main
from hf_synth.errors import InputError
from hf_synth.filters.retrieved import OneLabel, SelfConsistent, dealt, judge
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.journal import Journal
from hf_synth.methods import get
from hf_synth.produce import Plan
from hf_synth.queries import expanded_queries, first_queries
from hf_synth.records import Example, Prompt
from hf_synth.run import Run
from hf_synth.settings import SynthConfig
from hf_synth.task import Corpus
from hf_synth.tasks import load_task, parse_task, task_names

TASK = parse_task(
    {
        "name": "sections",
        "labels": {"Sports": "sports", "Business": "business"},
        "prompt": '{label}: "',
        "queries": {"Sports": ["sports news"], "Business": ["business news"]},
        "min_words": 3,
    },
    "sections",
)
# Each passage names its neighbours; the last ones name no section and are found through others only.
SPORTS = [f"sports report match goal{at} kick{at} win{at}" for at in range(6)]
BUSINESS = [f"business report bank share{at} rate{at} loan{at}" for at in range(6)]
FAR_SPORTS = [f"the match goal{at} kick{at} win{at}" for at in range(6)]
FAR_BUSINESS = [f"the bank share{at} rate{at} loan{at}" for at in range(6)]
BOTH = ["sports and business report of something"]
CORPUS = [*SPORTS, *BUSINESS, *FAR_SPORTS, *FAR_BUSINESS, *BOTH]


class Shelf(ScriptedGenerator):
    """A retriever of texts in a list; a score is the number of shared words, ties go to the lower number."""

    def __init__(self, texts=CORPUS, name="shelf"):
        super().__init__(lambda prompt, rng: texts[self._ranked(prompt.text)[prompt.rank]], name=name)
        self.texts, self.searched, self.asked = texts, [], []

    def _score(self, query, at):
        return len(set(query.split()) & set(self.texts[at].split()))

    def _ranked(self, query):
        return sorted(range(len(self.texts)), key=lambda at: (-self._score(query, at), at))

    def complete(self, prompts, **settings):
        self.asked += prompts
        return super().complete(prompts, **settings)

    def prepare(self, **how):
        return {"passages": len(self.texts), "index": "exact"}

    def search(self, queries, count, **how):
        self.searched.append((list(queries), count))
        return [[(at, float(self._score(q, at))) for at in self._ranked(q)[:count]] for q in queries]

    def nearest_queries(self, passages, queries, count, **how):
        order = [sorted(range(len(queries)), key=lambda q: (-self._score(queries[q], at), q)) for at in passages]
        return [ranked[:count] for ranked in order]


PLAIN = {"first_round": "none", "later_rounds": "none", "first_hits": 6, "later_hits": 4, "neighbours": 2, "margin": 0}


def rows_of(task=TASK, generator=None, rows=100, journal=None, **settings):
    generator, method = generator or Shelf(), get("regen")
    run = Run(task, generator, num_rows=rows, journal=journal)
    config = method.config(**{**PLAIN, **settings})
    method.check(task, config)
    return list(method.generate(run, config)), run, generator


def texts_of(rows, label):
    return {row.fields["text"] for row in rows if row.target == label}


def test_one_round_asks_the_tasks_queries():
    rows, run, shelf = rows_of(rounds=1)
    assert shelf.searched == [(["sports news", "business news"], 6)]
    assert [(p.text, p.rank, p.cell) for p in shelf.asked[:7]] == [
        *(("sports news", rank, "Sports") for rank in range(6)),
        ("business news", 0, "Business"),
    ]
    assert (texts_of(rows, "Sports"), texts_of(rows, "Business")) == (set(SPORTS), set(BUSINESS))
    assert list(run.ledger.stages) == ["rows"]


def test_later_rounds_look_for_more_like_what_was_kept():
    rows, run, shelf = rows_of(rounds=2)
    (_, first), (queries, count) = shelf.searched
    assert (first, count) == (6, 4)
    assert set(queries) == {*(f"sports news\n{t}" for t in SPORTS), *(f"business news\n{t}" for t in BUSINESS)}
    assert texts_of(rows, "Sports") == {*SPORTS, *FAR_SPORTS}
    assert texts_of(rows, "Business") == {*BUSINESS, *FAR_BUSINESS}
    assert list(run.ledger.stages) == ["round 1", "rows"]
    first, second = run.ledger.notes["rounds"]
    assert (first["queries"], first["kept"], second["queries"], second["kept"]) == (2, 12, 12, 24)
    assert second["candidates"] == 48


def test_every_row_says_where_it_was_found():
    rows, _, shelf = rows_of(rounds=2)
    assert len(rows) == 24
    for row in rows:
        told = row.prompt.attributes
        assert CORPUS[int(told["docid"])] == row.fields["text"]
        assert float(told["score"]) == shelf._score(row.prompt.text, int(told["docid"]))
        assert (told["round"], told["query"]) == ("2", row.target.lower() + " news")
        assert shelf._ranked(row.prompt.text)[int(told["rank"])] == int(told["docid"])


def test_the_ledger_counts_every_passage_of_every_round():
    _, run, shelf = rows_of(rounds=3)
    stages = run.ledger.stages
    assert sum(stage.asked for stage in stages.values()) == len(shelf.asked)
    assert [stages[f"round {at}"].kept for at in (1, 2)] == [r["kept"] for r in run.ledger.notes["rounds"][:2]]
    assert stages["rows"].dropped["duplicate"] > 0


def test_a_passage_comes_back_to_its_label_or_goes():
    bridge = "sports news of the bank share0 rate0 loan0"
    kept, free = (
        rows_of(generator=Shelf([*CORPUS, bridge], f"shelf {trip}"), rounds=2, first_hits=7, round_trip=trip)
        for trip in (True, False)
    )
    assert bridge not in texts_of(kept[0], "Sports") | texts_of(kept[0], "Business")
    assert bridge in texts_of(free[0], "Sports") | texts_of(free[0], "Business")
    assert kept[1].ledger.stages["rows"].dropped["round trip"] > 0
    assert kept[1].ledger.notes["rounds"][1]["round trip"] < 1
    assert free[1].ledger.notes["rounds"][1]["round trip"] == 1


def claim(docid, label, score):
    prompt = Prompt("q", label, attributes={"docid": str(docid), "score": str(score)})
    return Example({"text": f"passage {docid}"}, label, label, prompt)


def test_a_passage_is_kept_once_under_its_nearest_label():
    claims = [
        claim(1, "Sports", 0.5),
        claim(1, "Sports", 0.7),
        claim(1, "Business", 0.6),
        claim(2, "Sports", 0.61),
        claim(2, "Business", 0.6),
        claim(3, "Business", 0.2),
    ]
    clear = ["duplicate", None, "other label"]
    assert OneLabel(0.0)(claims) == [*clear, None, "other label", None]
    assert OneLabel(0.05)(claims) == [*clear, "ambiguous", "ambiguous", None]
    assert OneLabel(0.15)(claims) == ["duplicate", "ambiguous", "ambiguous", "ambiguous", "ambiguous", None]
    assert OneLabel(0.0)([claim(2, "Sports", 0.6), claim(2, "Business", 0.6)]) == ["ambiguous", "ambiguous"]


def test_rows_take_turns_and_those_of_a_smaller_run_open_a_larger():
    small, few, _ = rows_of(rounds=2, rows=5)
    large, all_, _ = rows_of(rounds=2, rows=11)
    assert [r.fields for r in large[:5]] == [r.fields for r in small]
    assert [r.target for r in large[:4]] == ["Sports", "Business"] * 2
    assert Counter(r.target for r in large) == {"Sports": 6, "Business": 5}
    assert few.ledger.stages["rows"].dropped["surplus"] == 24 - 5
    assert not all_.ledger.accounts


def test_a_corpus_that_has_no_more_is_said():
    rows, run, _ = rows_of(generator=Shelf([*SPORTS, *BUSINESS[:2]]), rounds=1, rows=10, first_hits=5)
    assert Counter(r.target for r in rows) == {"Sports": 5, "Business": 2}
    assert run.ledger.accounts == {"Business": "2 of 5 rows: no more passages were found and kept"}


def test_real_texts_stay_as_they_are():
    asked = dataclasses.replace(TASK, ending="?", stop=("goal",))
    assert texts_of(rows_of(task=asked, rounds=1)[0], "Sports") == set(SPORTS)


def test_the_cap_keeps_the_nearest():
    rows, run, _ = rows_of(rounds=1, per_label=2)
    assert texts_of(rows, "Sports") == set(SPORTS[:2])
    assert run.ledger.stages["rows"].dropped["over the cap"] == 8


def test_a_label_of_which_nothing_was_kept_is_asked_for_again():
    kept = [claim(1, "Sports", 0.5)]
    assert expanded_queries(TASK, kept, 50) == {"business news": "Business", "sports news\npassage 1": "Sports"}
    long = dataclasses.replace(kept[0], fields={"text": "one two three four five"})
    assert "sports news\none two" in expanded_queries(TASK, [long], 4)


def labelled(count, wrong):
    """Examples whose words tell their label, but for some."""
    found = []
    for at in range(count):
        label, words = (("Sports", "good great fine"), ("Business", "bad awful dull"))[at % 2]
        shown = {"Sports": "Business", "Business": "Sports"}[label] if at in wrong else label
        example = claim(at, shown, 0.5)
        found.append(dataclasses.replace(example, fields={"text": f"{words} film {at % 7} {words}"}))
    return found


@pytest.mark.parametrize("how", ["cross_fit", "previous"])
def test_a_classifier_drops_what_it_finds_under_another_label(how, student_folder, one_thread):
    settings = {"student": str(student_folder), "learning_rate": 3e-3, "num_train_epochs": 8, "train_batch_size": 8}
    wrong, run = {5, 12}, Run(TASK, Shelf())
    check = SelfConsistent(run, judge(TASK, settings), how, labelled(40, ()) if how == "previous" else ())
    examples = labelled(40, wrong)
    reasons = check(examples)
    assert {at for at, reason in enumerate(reasons) if reason == "inconsistent"} == wrong
    shares = [float(check.marked(example).prompt.attributes["probability"]) for example in examples]
    assert all((share > 0.5) == (at not in wrong) for at, share in enumerate(shares))


def test_a_label_that_the_round_before_lost_comes_back(student_folder, one_thread):
    """A classifier that has seen one label alone would say it of every passage."""
    settings = {"student": str(student_folder), "learning_rate": 3e-3, "num_train_epochs": 8, "train_batch_size": 8}
    sports = [example for example in labelled(40, ()) if example.cell == "Sports"]
    reasons = SelfConsistent(Run(TASK, Shelf()), judge(TASK, settings), "previous", sports)(labelled(40, ()))
    assert not any(reasons)


def test_without_a_filter_nothing_is_dropped_or_marked():
    check, examples = SelfConsistent(Run(TASK, Shelf()), judge(TASK, {}), "none"), labelled(4, ())
    assert check(examples) == [None] * 4
    assert check.marked(examples[0]) is examples[0]


def test_the_filters_classifier_is_smoothed_as_published():
    # torch spreads s over all C labels: 0.1 on the C - 1 wrong ones together is s (C - 1) / C.
    for name in ("sst2", "ag_news", "dbpedia_14"):
        task = load_task(name)
        smoothing, count = judge(task, {}).label_smoothing, len(task.labels)
        assert smoothing * (count - 1) / count == pytest.approx(0.1, abs=1e-4)
        assert get("regen").defaults(task, {})["label_smoothing"] == smoothing


def test_a_killed_run_goes_on_from_its_journal(tmp_path):
    class Dead(Shelf):
        """Can do nothing any more."""

        def _ranked(self, query):
            raise AssertionError("asked again")

    rows, _, shelf = rows_of(rounds=2, journal=Journal(tmp_path))
    dead = Dead()
    dead.digest = shelf.digest
    again, run, _ = rows_of(generator=dead, rounds=2, journal=Journal(tmp_path))
    assert [(r.fields, r.prompt) for r in again] == [(r.fields, r.prompt) for r in rows]
    assert run.ledger.stages["rows"].asked == 48


def test_dealt_is_random_but_fixed_by_the_seed():
    def order(seed):
        run = Run(TASK, Shelf(), num_rows=40, seed=seed)
        run.ledger.stage("rows").asked = 40
        return [row.prompt.attributes["docid"] for row in dealt(run, labelled(40, ()))]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != sorted(order(0), key=int)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"index": {"depth": 50}}, "`index.depth` is 50, and 100 passages of a query are asked for"),
        ({"index": {"kind": "flat"}}, "`index`: `kind`.*got 'flat'"),
        ({"pretraining": {"steps": 5}}, "`pretraining` needs `contrastive_pretraining: true`"),
        ({"classifier": {"epochs": 5}}, "`classifier`: .*epochs"),
        ({"classifier": {"real_rows": "sst2"}}, "`classifier`: a key must be one of student, .*; got 'real_rows'"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    method = get("regen")
    with pytest.raises(InputError, match=message):
        method.check(TASK, method.config(**settings))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"student": "org/no-such-model"}, "no model 'org/no-such-model'"),
        ({"training_args": {"weight_decoy": 0.1}}, "`training_args`: .*got 'weight_decoy'"),
        ({"loss": "gce", "label_smoothing": 0.1}, "`label_smoothing: 0.1` belongs to `loss: ce`; got gce"),
    ],
)
def test_a_classifier_that_cannot_be_trained_is_refused_before_the_corpus_is_encoded(given, message, student_folder):
    class Long(Shelf):
        def prepare(self, **how):
            raise AssertionError("encoded")

    classifier = {"student": str(student_folder), **given}
    with pytest.raises(InputError, match=message):
        rows_of(generator=Long(), classifier=classifier, first_round="cross_fit")
    with pytest.raises(AssertionError, match="encoded"):  # nothing reads it
        rows_of(generator=Long(), classifier=classifier)


def test_a_classifier_may_learn_by_another_loss(student_folder, one_thread):
    settings = {"student": str(student_folder), "loss": "gce", "num_train_epochs": 1}
    assert len(SelfConsistent(Run(TASK, Shelf()), judge(TASK, settings), "cross_fit")(labelled(12, ()))) == 12


def test_real_test_data_and_pairs_are_refused():
    method = get("regen")
    tested = dataclasses.replace(TASK, corpus=Corpus(path="x", column="text", split="test"))
    with pytest.raises(InputError, match="`corpus.split` is 'test': real test data must not condition generation"):
        method.check(tested, method.config())
    shared = dataclasses.replace(TASK, queries={label: ("film", f"{label} film") for label in TASK.labels})
    with pytest.raises(InputError, match="`queries`: 'film' is looked for as '.*' and as '"):  # the last had them all
        method.check(shared, method.config())
    with pytest.raises(InputError, match="regen is for tasks of kind single"):
        method.check(load_task("rte"), method.config())
    with pytest.raises(InputError, match="scripted writes them: set `backend: corpus`"):
        list(method.generate(Run(TASK, ScriptedGenerator(lambda p, r: "x")), method.config()))


def test_packaged_queries_are_for_every_label():
    with_queries = [name for name in task_names() if load_task(name).queries]
    assert len(with_queries) >= 9
    for name in with_queries:
        task = load_task(name)
        assert set(first_queries(task).values()) == set(task.labels)
        assert set(task.queries) == set(task.labels)
    plain = dataclasses.replace(TASK, queries={})
    assert first_queries(plain) == {"sports": "Sports", "business": "Business"}
    verbalized = dataclasses.replace(plain, words={"Sports": ("football", "tennis"), "Business": ("shares",)})
    assert first_queries(verbalized) == {"football": "Sports", "tennis": "Sports", "shares": "Business"}


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A folder of reviews."""
    monkeypatch.setenv("HF_SYNTH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "reviews"
    sides = ("was a great film with a fine story", "was a bad film with a dull story")
    texts = [f"it {sides[at % 2]} and {['a', 'the', 'of', 'in', 'is'][at % 5]} plot {at}" for at in range(60)]
    (folder / "data").mkdir(parents=True)
    Dataset.from_dict({"sentence": texts}).to_parquet(folder / "data/train-0.parquet")
    return {"path": str(folder), "column": "sentence"}


def test_the_commands_find_rows_train_and_judge(corpus, student_folder, tmp_path, capsys):
    real = tmp_path / "real/data"
    real.mkdir(parents=True)
    Dataset.from_dict({"sentence": ["a great film", "a bad film"], "label": ["positive", "negative"]}).to_parquet(
        real / "test-0.parquet"
    )
    given = {
        "task": "sst2", "method": "regen", "model": str(student_folder), "backend": "corpus", "num_rows": 20,
        "corpus": json.dumps(corpus), "student": str(student_folder), "num_train_epochs": 1, "rounds": 2,
        "first_hits": 20, "later_hits": 5, "margin": 0, "first_round": "none", "later_rounds": "none",
        "neighbours": 1, "reference": str(tmp_path / "real"), "output_dir": str(tmp_path / "out"),
    }  # fmt: skip
    assert main(["run", *(f"--{name}={value}" for name, value in given.items())]) == 0
    data = load_dataset(str(tmp_path / "out/dataset"))
    texts = [text for part in data.values() for text in part["sentence"]]
    known = set(load_dataset(corpus["path"], split="train")["sentence"])
    assert texts
    assert set(texts) <= known
    assert len(set(texts)) == len(texts)
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["metrics"]["rows"] == 2
    assert report["baselines"] == {}
    card = (tmp_path / "out/dataset/README.md").read_text()
    assert "found in a corpus" in card
    assert "extended|reviews" in card
    assert str(tmp_path) not in card
    assert main(["evaluate", *(f"--{n}={v}" for n, v in given.items() if n not in ("corpus", "num_rows"))]) == 0


def test_build_finds_its_backend(corpus, student_folder):
    settings = {
        "task": "sst2",
        "model": str(student_folder),
        "num_rows": 10,
        "rounds": 1,
        "first_hits": 10,
        "margin": 0,
    }
    rows = build("regen", corpus=corpus, first_round="none", **settings)
    assert len(rows) == 10
    assert rows.features["label"].names == ["negative", "positive"]
    with pytest.raises(InputError, match=r"`backend: corpus` finds its texts: give `corpus: \{path:"):
        build("regen", **settings)


def test_the_corpus_is_named_as_a_source():
    plan = Plan.of(SynthConfig(task="sst2", method="regen", corpus={"path": "org/reviews", "column": "text"}))
    assert plan.method.sources(plan.task, plan.method_config) == [Corpus(path="org/reviews", column="text")]
    assert plan.method.texts == "retrieved"
