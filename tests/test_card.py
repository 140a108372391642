"""Cards against golden files, from facts written by hand; `python tests/test_card.py` writes the golden files anew."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard, ModelCard
from jinja2 import UndefinedError

from hf_synth.card import dataset_card, model_card, samples
from hf_synth.licences import reasoning
from hf_synth.tasks import load_task, parse_task

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
            "rows": [{"label": "negative", "real": 40, "written": 2}, {"label": "positive", "real": 4, "written": 9}],
        },
    },
    "sources": [{"path": "org/rows", "column": "sentence", "config": None, "split": "train", "license": "mit"}],
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


SCORED = {"rows": 100, "f1": 0.5, "f1_interval": [0.4, 0.6], "precision": 0.6, "recall": 0.4}
KINDS = {
    "entities": {
        "kind": "tokens",
        "columns": "tokens",
        "labels": {"Drug": "a drug"},
        "words": {"Drug": ["aspirin", "vitamin C"]},
        "mentions": [1, 2],
        "prompt": 'A sentence with {mentions}: "',
        "empty": 'A sentence about numbers: "',
    },
    "sets": {"kind": "multi_label", "labels": ["rain", "wind"], "mentions": [1, 2], "prompt": 'On {mentions}: "'},
    "relation": {
        "kind": "relation",
        "labels": ["linked", "apart"],
        "marks": {"gene": "@GENE$", "disease": "@DISEASE$"},
        "attributes": {"gene": ["BRCA1"], "disease": ["cancer"]},
        "prompt": '{gene} and {disease} are {label}: "',
    },
    "questions": {
        "kind": "qa",
        "columns": ["context", "question"],
        "label_column": "answers",
        "labels": {"name": "a name", "date": "a date"},
        "opening": {"prompt": 'A paragraph: "'},
        "prompt": 'The context is: "{context}" "{answer}" is the answer of: "',
    },
    "requests": {
        "kind": "parse",
        "columns": "utterance",
        "label_column": "parse",
        "labels": {"IN:GET_WEATHER": "hear the weather", "IN:GET_SUNSET": "hear when the sun sets"},
        "attributes": {"SL:LOCATION": {"IN:GET_WEATHER": ["Rome"]}},
        "prompt": 'A request to {label}, with {mentions}: "',
    },
}
ROWS = {
    "entities": [{"tokens": ["Take", "vitamin", "C", "."], "label": ["O", "B-Drug", "I-Drug", "O"]}],
    "sets": [{"text": "wet and stormy", "label": ["rain", "wind"]}],
    "relation": [{"text": "@GENE$ leads to @DISEASE$.", "label": "linked"}],
    "questions": [
        {
            "context": "Ada was born in 1815.",
            "question": "Who was born in 1815?",
            "answers": {"text": ["Ada"], "answer_start": [0]},
            "attributes": '{"kind": "name"}',
        }
    ],
    "requests": [{"utterance": "sunny in Rome ?", "parse": "[IN:GET_WEATHER sunny in [SL:LOCATION Rome ] ? ]"}],
}


def kind_card(name, folder, more=None, inspection=None):
    """The card of a data set of another kind than one label a text."""
    task = parse_task({"name": name, "language": "en", **KINDS[name]}, name)
    own = folder / name
    own.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(ROWS[name]), own / "rows.parquet")
    counts = {split: dict.fromkeys(task.cells, 1) for split in ("train", "validation")}
    return dataset_card(
        task, {**FACTS, "task": name, "labels": counts, "samples": samples(task, own), **(more or {})}, inspection
    )


def private_card(folder):
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
        "generator": {**FACTS["generator"], "adapter": adapter},
        "private": ["the adapter 'notes-lora', which has learnt from real rows"],
        "settings": {**FACTS["settings"], "deidentify": True},
    }
    said = [("memorisation", "bad", 0.91), ("corpus rows", "look", 2), ("personal data", "good", 0.0)]
    first = [
        {**VERDICT, "check": name, "verdict": level, "value": value, "reason": "why"} for name, level, value in said
    ]
    inspection = {**INSPECTION, "verdicts": [*first, *INSPECTION["verdicts"]], "pictures": []}
    return kind_card("entities", folder, facts, inspection)


def work_of(folder):
    texts = ["a dull film", "a `fine` film | with a pipe", "stale", "warm and wise ```"]
    table = pa.table({"sentence": texts, "label": ["negative", "positive", "negative", "positive"]})
    pq.write_table(table, folder / "rows.parquet")
    return folder


def facts_of(folder):
    return {**FACTS, "samples": samples(load_task("sst2"), work_of(folder))}


def cards(folder):
    task = load_task("sst2")
    facts = facts_of(folder)
    return {
        "dataset.md": dataset_card(task, facts),
        "dataset_inspected.md": dataset_card(task, {**INSPECTED, "samples": facts["samples"]}, INSPECTION),
        "dataset_longtail.md": dataset_card(task, {**LONG_TAIL, "samples": facts["samples"]}),
        "dataset_retrieved.md": dataset_card(task, {**FOUND, "samples": facts["samples"]}),
        "dataset_weighted.md": dataset_card(task, {**facts, "weights": WEIGHTS}),
        **{f"dataset_{name}.md": kind_card(name, folder) for name in KINDS},
        "dataset_private.md": private_card(folder),
        "model_entities.md": model_card(
            parse_task({"name": "entities", **KINDS["entities"]}, "entities"),
            {
                **REPORT,
                "headline": ["f1", "precision", "recall"],
                "metrics": SCORED,
                "baselines": {"dictionary of the prompts' names": {**SCORED, "f1": 0.45}},
                "deployment": {**REPORT["deployment"], "prompting": None},
            },
            {**TRAINING, "metric": "f1"},
        ),
        "model.md": model_card(task, REPORT, TRAINING),
        "model_mixed.md": model_card(task, REPORT, MIXED),
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


@pytest.mark.parametrize(
    "name",
    [
        "dataset.md",
        "dataset_inspected.md",
        "dataset_longtail.md",
        "dataset_retrieved.md",
        "dataset_weighted.md",
        *(f"dataset_{name}.md" for name in KINDS),
        "dataset_private.md",
        "model_entities.md",
        "model.md",
        "model_mixed.md",
        "model_not_evaluated.md",
    ],
)
def test_golden(name, tmp_path):
    assert cards(tmp_path)[name] == (GOLDEN / name).read_text(encoding="utf-8")


def test_the_hub_reads_the_headers(tmp_path):
    made = cards(tmp_path)
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


def test_a_copy_is_never_called_the_hubs_revision(tmp_path):
    text = cards(tmp_path)["dataset.md"]
    assert "a 4-bit copy; package some-wheel 1.0" in text
    assert "revision" not in text.partition("## How it was made")[0]


def test_the_model_card_names_all_that_the_student_learnt_from(tmp_path):
    text = cards(tmp_path)
    plain, mixed = (" ".join(text[name].split()) for name in ("model.md", "model_mixed.md"))
    assert "trained on 10 rows that org/model wrote with zerogen; no label is a person's" in plain
    assert "Trainer `weighted`: cross entropy." in plain
    assert "no label is a person's" not in mixed
    rows = "trained on 9 rows that org/model wrote with zerogen, plus 32 real rows of stanfordnlp/sst2, split train"
    assert f"{rows}; no longer zero-shot." in mixed
    assert "Of 10 generated rows 9 were kept before training: confident learning" in mixed
    assert "judged by students trained on the other 4 of 5 folds." in mixed
    assert "Of 10 generated rows 9 have a weight above 0; effectively 7 are left" in mixed
    assert "mode: sungen rounds: 10" in mixed


def test_texts_that_were_found_are_not_called_generated(tmp_path):
    text = cards(tmp_path)["dataset_retrieved.md"]
    data = DatasetCard(text).data
    assert (data.annotations_creators, data.language_creators) == (["machine-generated"], ["found"])
    assert data.source_datasets == ["extended|org/reviews"]
    assert "synthetic" not in data.tags
    words = " ".join(text.split())
    assert "Every text here was found in a corpus" in words
    assert "| texts from | org/reviews, config plain, column text, split unsupervised |" in words
    assert "it was a great film" in words
    for untrue in ("written by a language model", "terms of `org/model`", "invented facts", "The prompts"):
        assert untrue in " ".join(cards(tmp_path)["dataset.md"].split())
        assert untrue not in words
    model = " ".join(model_card(load_task("sst2"), {**REPORT, "method": "regen"}, TRAINING).split())
    assert "trained on retrieved data" in model
    assert "10 rows that org/model found in a corpus with regen; no label is a person's" in model


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
