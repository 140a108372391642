"""Which texts each judge drops and why, that it is asked once, and that nothing is judged where nobody asked."""

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import repeat

import numpy as np
import pytest
import torch
from conftest import saved
from torch.distributed import HashStore
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForSequenceClassification

from hf_synth.config import checked
from hf_synth.errors import InputError
from hf_synth.filters.consistency import RoundTrip, label_scores
from hf_synth.folder import write_folder
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.parse import labelled
from hf_synth.produce import Plan, produce
from hf_synth.ranks import Ranks
from hf_synth.records import Completion, Prompt
from hf_synth.run import Run
from hf_synth.settings import BackendConfig, SynthConfig
from hf_synth.tasks import load_task, parse_task

SIDES = {"positive": "good", "negative": "bad"}
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}


class Torn(ScriptedGenerator):
    """A third of its texts are of the other side. It knows sides, and leans to texts after `loved` by `lean`."""

    def __init__(self, lean=0.0):
        self.scored, self.questions = [], []
        self.lean = lean
        super().__init__(self.answer, name=f"torn {lean}", scores=self.likelihood)

    def answer(self, prompt, rng):
        if prompt.text.endswith("Answer:"):
            self.questions.append(prompt.text)
            text = re.search(r'Sentence: "(.*)"', prompt.text)[1]
            return "No idea" if "plot" in text else " It LOVED it, I think" if "good" in text else "hated.\nloved"
        if prompt.cell is None:
            return f'Title {rng.randrange(10**6)}"'
        side = SIDES[prompt.cell] if rng.random() < 0.67 else rng.choice([*SIDES.values()])
        return f'the {side} {rng.choice(["film", "movie", "plot"])} number {rng.randrange(10**6)} of many"'

    def likelihood(self, prompt, text):
        self.scored.append((prompt, text))
        loved = "loved" in prompt
        fits = {True: "good", False: "bad"}[loved] in text
        return -3.0 + fits + (self.lean if loved else 0.0)


def made(folder, generator, ranks=None, use=None, **settings):
    plan = Plan.of(SynthConfig(**{"task": "sst2", "num_rows": 60, "chunk_size": 32, "ahead": 1, **settings}))

    def written(work, facts):
        out = folder / "dataset"
        write_folder(work, out, plan.task, facts)
        return facts

    return produce(plan, generator, folder, written, ranks=ranks or Ranks())


def rows(folder):
    import pyarrow.parquet as pq

    files = [file for split in ("train", "validation") for file in folder.glob(f"dataset/data/{split}-*.parquet")]
    table = [row for file in files for row in pq.read_table(file).to_pylist()]
    return [(row["sentence"], ["negative", "positive"][row["label"]]) for row in table]


def rejects(folder):
    import pyarrow.parquet as pq

    (file,) = folder.glob("dataset/data/rejects*.parquet")
    return [(row["text"], row["cell"], row["reason"]) for row in pq.read_table(file).to_pylist()]


def test_the_generator_keeps_the_texts_it_would_label_so(tmp_path):
    generator = Torn()
    facts = made(tmp_path, generator, consistency="self")
    assert len(rows(tmp_path)) == 60
    assert all(SIDES[label] in text for text, label in rows(tmp_path))
    dropped = [(text, cell) for text, cell, reason in rejects(tmp_path) if reason == "inconsistent"]
    assert dropped
    assert all(SIDES[cell] not in text for text, cell in dropped)
    stage = facts["ledger"]["stages"]["rows"]
    assert stage["dropped"]["inconsistent"] == len(dropped)
    assert stage["asked"] == 60 + sum(stage["dropped"].values())
    task = load_task("sst2")
    assert {prompt for prompt, _ in generator.scored} == {task.render(label, scoring=True) for label in task.labels}


def test_verdicts_are_recorded_and_more_rows_reuse_them(tmp_path):
    few = made(tmp_path, Torn(), consistency="self") and rows(tmp_path)
    again = Torn()
    made(tmp_path, again, consistency="self")
    assert (again.scored, rows(tmp_path)) == ([], few)
    made(tmp_path, again, consistency="self", num_rows=200)
    more = rows(tmp_path)
    assert again.scored
    made(tmp_path / "fresh", fresh := Torn(), consistency="self", num_rows=200)
    assert rows(tmp_path / "fresh") == more
    assert len(again.scored) < len(fresh.scored)
    with pytest.raises(InputError, match="`calibrate` is False there and True here"):
        made(tmp_path, Torn(), consistency="self", calibrate=True)


def test_ranks_share_one_judge(tmp_path):
    made(tmp_path / "one", Torn(), consistency="round_trip")
    generators, store = [Torn(), Torn()], HashStore()
    with ThreadPoolExecutor() as pool:
        both = [
            pool.submit(
                made, tmp_path / "two", generators[rank], Ranks(rank, 2, store=store), consistency="round_trip"
            )
            for rank in (0, 1)
        ]
        [rank.result(timeout=240) for rank in both]
    assert rows(tmp_path / "two") == rows(tmp_path / "one")
    assert all(generator.questions for generator in generators)  # chunks of questions are shared as all chunks are

    made(tmp_path / "self", Torn(), consistency="self")
    scores = [Torn(), Torn()]
    with ThreadPoolExecutor() as pool:
        both = [
            pool.submit(made, tmp_path / "pair", scores[rank], Ranks(rank, 2, store=store), consistency="self")
            for rank in (0, 1)
        ]
        [rank.result(timeout=240) for rank in both]
    assert rows(tmp_path / "pair") == rows(tmp_path / "self")
    assert scores[0].scored
    assert not scores[1].scored


def test_calibration_takes_out_a_lean(tmp_path):
    leaning = {"consistency": "self", "num_rows": 20}
    plain = made(tmp_path / "plain", Torn(5.0), **leaning)  # to it everything is loved
    assert [*plain["ledger"]["accounts"]] == ["negative"]
    calibrated = made(tmp_path / "calibrated", Torn(5.0), calibrate=True, **leaning)
    assert calibrated["ledger"]["accounts"] == {}
    assert all(SIDES[label] in text for text, label in rows(tmp_path / "calibrated"))


def test_a_judge_that_is_not_sure_enough_drops_too(tmp_path):
    # The softmax of -2 and -3 is 0.731.
    facts = made(tmp_path / "below", Torn(), consistency="self", min_confidence=0.73)
    assert "unsure" not in facts["ledger"]["stages"]["rows"]["dropped"]
    with pytest.raises(InputError, match=r"nothing of the first \d+ rows could be kept \(mostly: unsure\)"):
        made(tmp_path / "above", Torn(), consistency="self", min_confidence=0.74)


def test_the_label_is_asked_for_on_a_round_trip(tmp_path):
    generator = Torn()
    facts = made(tmp_path, generator, consistency="round_trip")
    assert all(SIDES[label] in text and "plot" not in text for text, label in rows(tmp_path))
    reasons = Counter(reason for _, _, reason in rejects(tmp_path))
    stages = facts["ledger"]["stages"]
    assert reasons["unreadable"] == 2 * stages["rows"]["dropped"]["unreadable"]  # as rows and as answers
    assert stages["round_trip"]["dropped"] == {"unreadable": stages["rows"]["dropped"]["unreadable"]}
    wrong = [(text, cell) for text, cell, reason in rejects(tmp_path) if reason == "inconsistent"]
    assert wrong
    assert all(SIDES[cell] not in text for text, cell in wrong)
    text, _ = rows(tmp_path)[0]
    question = next(question for question in generator.questions if text in question)
    assert question == (
        f'{load_task("sst2").description}\nSentence: "{text}"\nAnswer with one of: hated, loved.\nAnswer:'
    )
    made(tmp_path, again := Torn(), consistency="round_trip")
    assert again.questions == []


def test_a_tuned_generator_judges_as_the_model_it_was(tmp_path):
    """What was trained beside it for a label answers where rows of that are asked for, and would say its name."""

    class Tuned(Torn):
        def answer(self, prompt, rng):
            leaks = prompt.cell is not None and prompt.text.endswith("Answer:")
            return prompt.cell if leaks else super().answer(prompt, rng)

    made(tmp_path, Tuned(), consistency="round_trip")
    assert "inconsistent" in {reason for _, _, reason in rejects(tmp_path)}


def test_the_longest_name_is_read_first():
    def read(task, answer):
        found = RoundTrip(Run(task, Torn())).parse(Prompt("q"), Completion(answer))
        return found if isinstance(found, str) else found.target

    pair = load_task("qnli")
    assert [read(pair, answer) for answer in ("Not in.", "in", "not_entailment", "indeed within")] == [
        *("not_entailment", "entailment", "not_entailment", "unreadable")
    ]
    task = parse_task({"name": "t", "labels": {"a": "sport", "b": "sport of kings"}, "prompt": "{label}"}, "t")
    assert [read(task, answer) for answer in ("Sport.", "the sport of kings, or sport")] == ["a", "b"]
    # A label's number is no answer where it stands in the words of another: one star was read as two.
    task = parse_task({"name": "t", "labels": {0: "1 star", 1: "2 stars", 7: "bad"}, "prompt": "{label}"}, "t")
    assert [read(task, answer) for answer in ("1", "2 stars", "1 star", "7")] == ["unreadable", "1", "0", "7"]


def judge(folder, names):
    """Save a random classifier of these labels that gives each of them to some of the texts."""
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: at for at, name in enumerate(names)}}
    more = {"max_position_embeddings": 128, "initializer_range": 0.6, **labels}
    saved(folder, BertForSequenceClassification, BertConfig, **SIZES, **more)
    model = BertForSequenceClassification.from_pretrained(folder)
    texts = [
        f"the {side} {what} number {at} of many"
        for side in SIDES.values()
        for what in ("film", "plot")
        for at in range(9)
    ]
    with torch.no_grad():
        model.classifier.bias -= torch.tensor(np.log(probabilities(folder, texts))).median(0).values
    model.save_pretrained(folder)
    return str(folder)


def probabilities(path, *columns):
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    with torch.inference_mode():
        logits = [model(**tokenizer(*row, return_tensors="pt")).logits[0] for row in zip(*columns, strict=True)]
    return torch.stack(logits).softmax(-1).numpy()


def test_a_classifier_keeps_what_it_labels_so(tmp_path):
    path = judge(tmp_path / "judge", ["positive", "negative"])  # in another order than the task's
    facts = made(tmp_path / "out", Torn(), consistency="classifier", consistency_model=path, min_confidence=0.55)
    kept, seen = rows(tmp_path / "out"), rejects(tmp_path / "out")
    found = probabilities(path, [text for text, _ in kept])
    for (_, label), row in zip(kept, found, strict=True):
        own = row[["positive", "negative"].index(label)]
        assert own == row.max()
        assert own >= 0.5499
    dropped = [entry for entry in seen if entry[2] in ("inconsistent", "unsure")]
    for (_, cell, reason), row in zip(dropped, probabilities(path, [text for text, *_ in dropped]), strict=True):
        own = row[["positive", "negative"].index(cell)]
        assert (own < 0.5) if reason == "inconsistent" else (0.5 <= own < 0.5501)
    assert {reason for *_, reason in dropped} == {"inconsistent", "unsure"}
    assert facts["settings"]["consistency_model"] == "judge"


def test_entailment_keeps_the_label_whose_hypothesis_follows_most(tmp_path):
    path = judge(tmp_path / "judge", ["CONTRADICTION", "ENTAILMENT", "NEUTRAL"])
    hypothesis = "the story was {label} fine"
    made(tmp_path / "out", Torn(), consistency="nli", consistency_model=path, hypothesis=hypothesis)
    kept = rows(tmp_path / "out")
    dropped = [(text, cell) for text, cell, reason in rejects(tmp_path / "out") if reason == "inconsistent"]
    assert dropped
    words = load_task("sst2").labels
    for some, agrees in ((kept, True), (dropped, False)):
        texts = [text for text, _ in some]
        entailed = np.stack(
            [probabilities(path, texts, [hypothesis.format(label=w)] * len(texts))[:, 1] for w in words.values()], 1
        )
        best = [list(words)[at] for at in entailed.argmax(1)]
        assert all((label == found) is agrees for (_, label), found in zip(some, best, strict=True))


def test_only_rows_are_judged_and_those_once():
    run = Run(replace(load_task("sst2"), min_words=1), Torn(), chunk_size=8)
    parse = labelled(run.task)
    seen = []
    run.filters = (lambda block: seen.extend(block) or ["no" if len(seen) % 2 else None for _ in block],)
    prompts = repeat(Prompt("p", cell="positive"), 16)
    titles = list(run.complete(prompts, parse, stage="openings"))
    assert (len(titles), seen) == (16, [])
    examples = list(run.complete(repeat(Prompt("p", cell="positive"), 16), parse))
    assert len(seen) == 16
    list(run.keep(examples, whole=True))
    assert len(seen) == 16


def test_scores_of_pairs_are_those_of_the_second_text_after_the_first():
    task = load_task("qnli")
    generator = ScriptedGenerator(lambda prompt, rng: "", scores=lambda prompt, text: len(prompt) + len(text) / 100)
    found = label_scores(generator, task, ["a sentence", "more"], ["who?", "where was it?"], 8)
    assert found.shape == (2, 2)
    for at, (given, text) in enumerate([("a sentence", "who?"), ("more", "where was it?")]):
        for column, label in enumerate(task.labels):
            assert found[at, column] == len(task.render(label, opening=given, scoring=True)) + len(text) / 100


def test_a_generator_that_tells_no_likelihoods_is_refused_before_anything_runs(tmp_path):
    class Mute:
        name = digest = "mute"
        source = {}

        def complete(self, prompts, **settings):
            raise AssertionError("asked")

    with pytest.raises(InputError, match="`consistency: self` scores texts, which mute cannot; take a local model"):
        made(tmp_path / "out", Mute(), consistency="self")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"consistency": "oracle"},
            "`consistency`: input should be 'none', 'self', 'classifier', 'nli' or 'round_trip'",
        ),
        ({"consistency": "nli"}, "`consistency: nli` needs `consistency_model`, a folder or Hub id"),
        ({"consistency_model": "x"}, "`consistency_model` belongs to `consistency: classifier` or `nli`; got none"),
        ({"consistency": "round_trip", "min_confidence": 0.6}, "`min_confidence` needs a judge with probabilities"),
        ({"min_confidence": 0.6}, "`min_confidence` needs a judge with probabilities: .*; got none"),
        (
            {"consistency": "round_trip", "task": {"name": "t", "labels": ["US", "us"], "prompt": "{label}"}},
            r"two labels have the same words: \['US', 'us'\]",
        ),
        ({"calibrate": True}, "`calibrate` belongs to `consistency: self`; got none"),
        ({"consistency": "classifier", "consistency_model": "JUDGE"}, r"\['no', 'yes'\], those of sst2 \['negative'"),
        ({"consistency": "nli", "consistency_model": "JUDGE"}, r"none of the labels of .* is `entailment`: \['no'"),
        (
            {"consistency": "nli", "consistency_model": "J", "hypothesis": "It is."},
            r"`hypothesis` needs the slot \{la",
        ),
        (
            {"consistency": "nli", "consistency_model": "J", "task": "qnli"},
            "`consistency: nli` is for tasks of kind si",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_loaded(tmp_path, settings, sentence):
    if settings.get("consistency_model") == "JUDGE":
        settings = {**settings, "consistency_model": judge(tmp_path / "judge", ["no", "yes"])}
    with pytest.raises(InputError, match=sentence):
        Plan.of(checked(SynthConfig, {"task": "sst2", **settings}, "command line"))


def test_a_retriever_is_not_asked_for_labels():
    with pytest.raises(InputError, match="`consistency: self` asks a language model; `backend: corpus` has none"):
        Plan.of(SynthConfig(task="sst2", consistency="self"), None, BackendConfig(backend="corpus"))
