"""`hf-synth inspect` of rows that have no one label, and of rows whose generator learnt from real ones."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import WORDS
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_synth.audit.entities import spread
from hf_synth.audit.instruments import open_instruments
from hf_synth.audit.parses import checks as checks_of_parses
from hf_synth.audit.records import Rows
from hf_synth.audit.relations import checks as checks_of_marks
from hf_synth.audit.relations import marks_of
from hf_synth.audit.sets import sizes, together
from hf_synth.audit.settings import InspectConfig
from hf_synth.commands.main import main

TAGS = ["O", "B-Disease", "I-Disease"]
NAMES = ["gout", "breast cancer", "asthma", "lupus", "sickle cell anemia", "measles", "rickets", "scurvy"]
REST = "the a patient study family gene with of showed had seen in was reported rare severe child these two"
REST = [*REST.split()]
LABEL_CHECKS = ("wrong labels", "class names", "oracle", "balance", "usefulness", "more rows", "data map")


def tagged(count, seed, missed=0.0):
    """Return sentences with a name each, of which a share is left untagged."""
    rng, tokens, tags = random.Random(seed), [], []
    for _ in range(count):
        name, before = rng.choice(NAMES).split(), [rng.choice(REST) for _ in range(rng.randint(3, 9))]
        after = [rng.choice(REST) for _ in range(rng.randint(2, 6))]
        own = [0] * len(name) if rng.random() < missed else [1, *[2] * (len(name) - 1)]
        tokens.append([*before, *name, *after])
        tags.append([*[0] * len(before), *own, *[0] * len(after)])
    features = Features(
        {"id": Value("string"), "tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=TAGS))}
    )
    return Dataset.from_dict({"id": [f"a {at}" for at in range(count)], "tokens": tokens, "ner_tags": tags}, features)


def saved(folder, **splits):
    for name, data in splits.items():
        data.to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")
    return str(folder)


def inspected(own, out, *more):
    assert main(["inspect", own, "--encoder", "none", "--output_dir", str(out), *more]) == 0
    return json.loads((out / "inspect.json").read_text())


def by_check(report):
    return {found["check"]: found for found in report["verdicts"]}


def test_names_out_of_the_reference_are_not_written():
    names = (["Ann", "Lee", "left"], ["B-P", "I-P", "O"]), (["Maria", "Gonzalez", "left"], ["B-P", "I-P", "O"])
    own, real = (
        replace(Rows.plain(["a", "b"]), tags=[one, (one[0], ["O"] * 3)])
        for one in names  # the second is untagged
    )
    told = spread(own, real).measures
    assert told["own"]["untagged"] == {"ann lee": 1}
    assert "gonzalez" not in json.dumps(told).lower()


def test_tags_are_found_and_judged_beside_the_reference(tmp_path, capsys):
    real = saved(tmp_path / "real-tags", train=tagged(300, 1), test=tagged(300, 2))
    own = saved(tmp_path / "own-tags", train=tagged(300, 3, missed=0.4))
    report = inspected(own, tmp_path / "out", "--reference", real)
    found = by_check(report)
    assert report["dataset"]["text_columns"] == ["tokens"]
    assert report["dataset"]["label_column"] == "ner_tags"
    for check in LABEL_CHECKS:
        assert found[check]["verdict"] == "skipped", check
    assert found["tags"]["verdict"] == "look"
    assert found["tags"]["value"] == pytest.approx(0.6, abs=0.1)
    assert "(the reference: 1.00, 100.0 %)" in found["tags"]["reason"]
    for check in ("test rows", "test spans", "near-duplicates", "personal data", "readability", "distinct-2"):
        assert check in found
    assert found["test rows"]["verdict"] == "good"
    out = capsys.readouterr().out
    assert "tags" in out
    clean = saved(tmp_path / "own-clean", train=tagged(300, 4))
    assert by_check(inspected(clean, tmp_path / "out2", "--reference", real))["tags"]["verdict"] == "good"


def questions(count, seed, **wrong):
    """Return paragraphs of three sentences, and questions in the words of the one that holds the answer."""
    rng, rows = random.Random(seed), []
    things = ["harbour", "railway", "cathedral", "orchestra", "vineyard", "parliament", "university", "observatory"]
    for at in range(count):
        chosen = rng.sample(things, 3)
        years = [str(rng.randint(1200, 1999)) for _ in chosen]
        context = " ".join(f"The {thing} opened in {year}." for thing, year in zip(chosen, years, strict=True))
        own = 1 if at < count * wrong.get("astray", 0) else 0
        held = f" ({years[0]})" if at < count * wrong.get("told", 0) else ""
        start = context.index(years[0]) + (at < count * wrong.get("moved", 0))
        question, answers = f"When was the {chosen[own]} opened?{held}", {"text": [years[0]], "answer_start": [start]}
        rows.append({"id": f"{seed}-{at}", "context": context, "question": question, "answers": answers})
    return Dataset.from_list(rows)


@pytest.mark.parametrize(
    ("wrong", "verdict", "reason"),
    [
        ({}, "good", "0.0 % of the questions hold their answer; the words of 100.0 % lead to the answer's sentence"),
        (
            {"astray": 0.3},
            "look",
            "0.0 % of the questions hold their answer; the words of 70.0 % lead to the answer's",
        ),
        ({"told": 0.06}, "look", "6.0 % of the questions hold their answer"),
        ({"told": 0.3}, "bad", "30.0 % of the questions hold their answer"),
        ({"moved": 0.01}, "bad", "1 of 100 answers do not stand where they say"),
    ],
)
def test_questions_are_judged_by_where_their_words_lead(tmp_path, wrong, verdict, reason):
    real = saved(tmp_path / "real-asked", train=questions(60, 1), test=questions(60, 2))
    own = saved(tmp_path / "own-asked", train=questions(100, 3, **wrong))
    report = inspected(own, tmp_path / "out", "--reference", real)
    found = by_check(report)["answerability"]
    assert report["dataset"]["label_column"] == "answers"
    assert (found["verdict"], found["reason"][: len(reason)]) == (verdict, reason)
    assert "tags" not in by_check(report)


def test_a_test_row_is_found_among_tagged_rows(tmp_path):
    test = tagged(100, 2)
    real = saved(tmp_path / "real-leak", train=tagged(100, 1), test=test)
    own = saved(
        tmp_path / "own-leak", train=Dataset.from_list([*tagged(100, 3), *test.select(range(3))], test.features)
    )
    found = by_check(inspected(own, tmp_path / "out", "--reference", real))["test rows"]
    assert found["verdict"] == "bad"
    assert {row["row"] for row in found["rows"]} == {100, 101, 102}


def test_tags_of_another_scheme_are_not_counted_as_bio():
    rows = Rows(["a b"], np.zeros(1, int), ["text"], np.arange(1), labelled=False, tags=[(["a", "b"], ["B-X", "E-X"])])
    found = spread(rows, None)
    assert (found.verdict, found.reason) == ("skipped", "the tag 'E-X' is none of `O`, `B-X` and `I-X`")


def test_questions_with_holes_are_no_traceback(tmp_path):
    rows = questions(30, 3)
    answers = [*rows["answers"][:28], {"text": ["1999"], "answer_start": []}, {"text": [], "answer_start": []}]
    asked = Dataset.from_dict({**rows.to_dict(), "question": [None, *rows["question"][1:]], "answers": answers})
    found = by_check(inspected(saved(tmp_path / "own-holes", train=asked), tmp_path / "out"))["answerability"]
    assert found["verdict"] == "good"


def test_rows_with_other_tags_than_tokens_are_refused(tmp_path, capsys):
    rows = [*tagged(30, 1).to_list(), {"id": "x", "tokens": ["a", "b"], "ner_tags": [0]}]
    own = saved(tmp_path / "own-odd", train=Dataset.from_list(rows, tagged(1, 0).features))
    assert main(["inspect", own, "--encoder", "none", "--output_dir", str(tmp_path / "out")]) == 2
    assert "row 30 has 2 tokens in 'tokens', and 1 in 'ner_tags'" in capsys.readouterr().err
    Dataset.from_list(rows[:30]).to_parquet(tmp_path / "numbers.parquet")
    assert main(["inspect", str(tmp_path / "numbers.parquet"), "--output_dir", str(tmp_path / "out")]) == 2
    assert "'ner_tags' holds tags by number, without names" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["sets", "parses"])
def test_sets_and_parses_are_inspected_without_label_checks(kind, tmp_path):
    rng = random.Random(0)
    texts = [" ".join(rng.choice(REST) for _ in range(8)) for _ in range(60)]
    labels = [["x"] if at % 2 else ["x", "y"] for at in range(60)]
    features = Features({"text": Value("string"), "labels": List(ClassLabel(names=["x", "y"]))})
    data = Dataset.from_dict({"text": texts, "labels": labels}, features)
    if kind == "parses":
        data = Dataset.from_dict({"text": texts, "label": [f"[IN:X [SL:Y {text} ] ]" for text in texts]})
    found = by_check(inspected(saved(tmp_path / f"own-{kind}", train=data), tmp_path / "out"))
    assert found["wrong labels"]["verdict"] == "skipped"
    assert "tags" not in found
    own = {"sets": {"labels a text", "labels together"}, "parses": {"parses", "parse depth", "slots"}}
    assert own[kind] <= {*found}
    assert found["parse depth" if kind == "parses" else "labels a text"]["reason"].endswith("needs a `reference`")
    assert found["near-duplicates"]["verdict"] in ("good", "skipped")


def test_a_parse_beside_its_text_and_intent_is_no_text(tmp_path):
    texts = [f"wake me at {at} in the morning" for at in range(40)]
    rows = {"utterance": texts, "semantic_parse": [f"[IN:X [SL:Y {text} ] ]" for text in texts], "intent": ["X"] * 40}
    report = inspected(saved(tmp_path / "own", train=Dataset.from_dict(rows)), tmp_path / "out")
    assert report["dataset"]["text_columns"] == ["utterance"]


def judged(verdicts):
    return {found.check: found.verdict for found in verdicts}


def sets_of(count, seed, none=0.25, pairs=(("date", "when"), ("date", "book"), ("greet", "book"))):
    """Sets of no label, of one or of a pair, which are as often."""
    rng = random.Random(seed)
    return [[] if rng.random() < none else list(rng.choice(pairs))[: rng.randint(1, 2)] for _ in range(count)]


def test_sets_are_judged_by_how_many_labels_there_are_and_which_together():
    real = sets_of(150, 1)
    assert sizes(sets_of(300, 2), real, 0).verdict == "good"
    lacking = sizes(sets_of(300, 2, none=0.02), real, 0)
    assert (lacking.verdict, lacking.measures["own"]["shares"]["0"] < 0.05) == ("look", True)
    assert together(sets_of(300, 2), real).verdict == "good"
    strange = together([*sets_of(300, 2), *[["when", "greet"]] * 40], real)
    assert (strange.verdict, strange.reason.endswith("most often not: greet with when")) == ("look", True)
    pairs = [row for row in sets_of(300, 2) if len(row) == 2]
    assert strange.value == pytest.approx(len(pairs) / (len(pairs) + 40))
    alone = [["a", "b"], ["a", "b"], ["c", "d"], ["e"]]  # of three pairs one stands in one row alone
    assert together(alone, alone).measures["expected"] == pytest.approx(2 / 3)
    assert together([["a"], []], alone).verdict == "skipped"


def related(count, seed, first=0.8, apart=4):
    rng, texts = random.Random(seed), []
    for _ in range(count):
        marks = ["@GENE$", "@DISEASE$"] if rng.random() < first else ["@DISEASE$", "@GENE$"]
        texts.append(f" {' '.join(rng.choices(REST, k=rng.randint(1, 2 * apart)))} ".join(marks))
    return Rows(texts, np.arange(count) % 2, ["linked", "apart"], np.arange(count))


def test_marks_are_judged_by_number_order_and_distance():
    real, marks = related(200, 1), ("@GENE$", "@DISEASE$")
    assert marks_of(real.texts) == ("@DISEASE$", "@GENE$")
    assert marks_of(["a @GENE$ alone", "no mark"]) == ()
    good = judged(checks_of_marks(related(200, 2), real, marks, 0))
    assert good == {"marks": "good", "mark order": "good", "words between marks": "good"}
    always = judged(checks_of_marks(related(200, 2, first=1, apart=10), real, marks, 0))
    assert always == {"marks": "good", "mark order": "look", "words between marks": "look"}
    twice = related(200, 2)
    twice.texts[7] += " @GENE$"
    first, *_ = checks_of_marks(twice, None, marks, 0)
    assert (first.verdict, first.value, first.rows) == ("look", 1 / 200, [{"row": 7}])
    twice.texts[8:20] = ["no mark"] * 12
    assert next(checks_of_marks(twice, None, marks, 0)).verdict == "bad"
    one = Rows(["@GENE$ of a b @DISEASE$"], np.zeros(1, int), ["linked"], np.arange(1))
    _, _, between = checks_of_marks(one, one, marks, 0)
    assert between.measures["own"][2] == 3


def parsed(count, seed, nested=0.3, most=3):
    """Requests of some intent with slots, of which one may hold an intent."""
    rng, texts, trees = random.Random(seed), [], []
    for _ in range(count):
        slots = [f"[SL:PLACE {rng.choice(REST)} ]" for _ in range(rng.randint(1, most))]
        if rng.random() < nested:
            slots[0] = f"[SL:PLACE [IN:FIND {rng.choice(REST)} ] ]"
        trees.append(f"[IN:{rng.choice('AB')} say {' '.join(slots)} ]")
        texts.append(" ".join(word for word in trees[-1].split() if word[0] not in "[]"))
    return Rows(texts, np.zeros(count, int), ["text"], np.arange(count), labelled=False, parses=trees)


def test_parses_are_judged_by_form_depth_and_slots_within_their_intent():
    real = parsed(200, 1)
    assert judged(checks_of_parses(parsed(200, 2), real, 0)) == {
        "parses": "good",
        "parse depth": "good",
        "slots": "good",
    }
    flat = [*checks_of_parses(parsed(200, 2, nested=0, most=1), real, 0)]
    assert judged(flat) == {"parses": "good", "parse depth": "look", "slots": "look"}
    assert flat[1].measures["own"]["shares"] == {"2": 1.0}
    assert flat[2].measures["own"]["mean"] == 1
    # More of one intent is no other depth: it is compared within each.
    some = [at for at, tree in enumerate(real.parses) if tree.startswith("[IN:A") or at % 5 == 0]
    assert judged(checks_of_parses(real.take(some), real, 0))["slots"] == "good"
    broken = parsed(100, 2)
    broken.parses[3], broken.texts[4] = broken.parses[3][:-1], "other words"
    first = next(checks_of_parses(broken, None, 0))
    assert (first.verdict, first.value) == ("look", 0.02)
    assert first.rows == [{"row": 3, "problem": "unbalanced brackets"}, {"row": 4, "problem": "other words"}]


YAML = """
labels: {negative: bad awful dull, positive: good great fine}
columns: text
prompt: 'review of {opening}, {label}: "'
tuning_prompt: 'the {label} movie review is "'
opening: {values: [the film]}
min_words: 1
max_new_tokens: 12
"""


@pytest.fixture(scope="module")
def made(causal_folder, tmp_path_factory):
    """A data set of a tiny model that learnt twenty of many real rows by heart."""
    out, rng = tmp_path_factory.mktemp("made"), random.Random(0)
    texts = [" ".join(rng.choice(WORDS) for _ in range(8)) for _ in range(120)]
    features = Features({"text": Value("string"), "label": ClassLabel(names=["negative", "positive"])})
    parts = {
        name: Dataset.from_dict({"text": texts[at:end], "label": [0, 1] * 30}, features)
        for name, at, end in (("train", 0, 60), ("test", 60, 120))
    }
    real = saved(out / "notes-real", **DatasetDict(parts))
    (out / "mine.yaml").write_text(YAML)
    task = ["--task", str(out / "mine.yaml"), "--model", str(causal_folder)]
    shots = ["--shots", real, "--shots_per_class", "10"]
    tuning = ["--tune_epochs", "60", "--tune_learning_rate", "0.01", "--output_dir", str(out / "adapter")]
    assert main(["tune", *task, *shots, *tuning]) == 0
    more = ["--adapter", str(out / "adapter"), "--num_rows", "40", "--reference", real, "--max_attempts", "4"]
    assert main(["generate", *task, *more, "--output_dir", str(out / "run")]) == 0
    return out


def test_what_a_generator_learnt_is_judged_first_and_without_flags(made, capsys):
    assert main(["inspect", str(made / "run/dataset"), "--encoder", "none"]) == 0
    report = json.loads((made / "run/dataset/hf_synth/inspect.json").read_text())
    said = [found["check"] for found in report["verdicts"]]
    assert {*said[:5]} == {"memorisation", "canaries", "corpus rows", "corpus spans", "personal data"}
    found = by_check(report)["memorisation"]
    assert found["verdict"] != "good"
    assert found["value"] > 0.75
    assert "base" in report["measures"]["memorisation"]["scores"]
    assert report["reference"]["split"] == "test"
    checks = tuple(said)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip().startswith(checks)]
    assert lines[0].startswith("memorisation")
    card = (made / "run/dataset/README.md").read_text()
    table = card[card.index("| check | verdict |") :].splitlines()
    assert table[2].startswith(f"| memorisation | {found['verdict']} |")
    assert str(made) not in card  # where it lies is nobody's business


def test_an_adapter_that_is_gone_is_said(made, tmp_path, capsys):
    (made / "adapter/.local.json").rename(tmp_path / "aside")
    try:
        assert (
            main(["inspect", str(made / "run/dataset"), "--encoder", "none", "--output_dir", str(tmp_path / "o")]) == 0
        )
    finally:
        (tmp_path / "aside").rename(made / "adapter/.local.json")
    assert "memorisation is not judged by itself: no .local.json in" in " ".join(capsys.readouterr().out.split())


def test_a_secret_is_ranked_by_all_its_tokens(causal_folder):
    """Candidates with other digits may be other numbers of tokens; a mean would rank the longer ones too high."""
    through = open_instruments(InspectConfig(dataset="x", encoder="none", scorer=str(causal_folder)))
    texts = [" ".join(WORDS[:3]), " ".join(WORDS[:7])]
    means, totals = through.score(texts), through.total(texts)
    tokens = AutoTokenizer.from_pretrained(causal_folder)
    model = AutoModelForCausalLM.from_pretrained(causal_folder).eval()
    for text, mean, total in zip(texts, means, totals, strict=True):
        ids = torch.tensor([[tokens.eos_token_id, *tokens(text, add_special_tokens=False).input_ids]])
        with torch.no_grad():
            own = model(ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None]).sum().item()
        assert total == pytest.approx(own, rel=3e-3)  # in bfloat16, where there is one
        assert total / mean == pytest.approx(ids.shape[1] - 1, rel=1e-4)
