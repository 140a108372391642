"""`hf-synth inspect` of rows that have no one label, and of rows whose generator learnt from real ones."""

import json
import random

import pytest
import torch
from conftest import WORDS
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_synth.audit.instruments import open_instruments
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
    assert found["near-duplicates"]["verdict"] in ("good", "skipped")


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
    assert {*said[:4]} == {"memorisation", "canaries", "corpus rows", "personal data"}
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
