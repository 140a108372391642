"""`hf-synth run` of each kind beyond one label a text: from YAML to a real score, computed another way here."""

import json
import re
from collections import Counter
from itertools import accumulate

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, List, Value, load_dataset
from sklearn.metrics import accuracy_score, f1_score
from test_shapes import ENTITIES, QUESTIONS, RELATION, REQUESTS, SETS

from hf_synth import deploy
from hf_synth.commands import run
from hf_synth.commands.main import main
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.learners import learner
from hf_synth.records import label_set
from hf_synth.reference import load_reference
from hf_synth.tasks import load_task
from hf_synth.trees import spoken

pytestmark = pytest.mark.usefixtures("one_thread")
YAML = {"sets": SETS, "entities": ENTITIES, "relation": RELATION, "questions": QUESTIONS, "requests": REQUESTS}
NAMES, TEXT, ADA = ["rain", "wind", "sun"], Value("string"), "Ada Lovelace wrote programs in 1843."
TYPES = {
    "sets": List(ClassLabel(names=NAMES)),
    "entities": List(ClassLabel(names=["O", "B-Drug", "I-Drug", "B-Disease", "I-Disease"])),
    "relation": ClassLabel(names=["linked", "apart"]),
    "questions": {"text": List(TEXT), "answer_start": List(Value("int32"))},
    "requests": TEXT,
}


def answer(prompt, rng):
    """What a generator writes that does as it is asked, whatever the kind."""
    asked, some = prompt.attributes, rng.randrange(999)
    if "kind" in asked:
        return f" wrote programs {some}?"
    if "gene" in asked:
        return f'{asked["gene"]} {"leads to" if prompt.cell == "linked" else "is no"} {asked["disease"]} {some}"'
    if "entities" in asked:
        return f'{some} had {" and ".join(json.loads(asked["entities"])) or "none"} here"'
    if "slots" in asked:
        words = str(some).translate(str.maketrans("0123456789", "abcdefghij"))  # no number stands outside a slot
        return f'say {words} {" ".join(map(spoken, json.loads(asked["slots"]).values()))}"'
    return f'{" ".join(label_set(prompt)) or "hello"} {some}"'


def answers(text):
    return {"text": [text], "answer_start": [ADA.index(text)]}


def asked(at, question, text):
    return {"id": at, "title": "", "context": ADA, "question": question, "answers": answers(text)}


REAL = {
    "sets": [
        {"text": "rain 7", "label": ["rain"]},
        {"text": "wind rain", "label": ["rain", "wind"]},
        {"text": "hello 3", "label": []},
        {"text": "sun", "label": ["sun"]},
    ],
    "entities": [
        {"tokens": ["7", "had", "lung", "cancer"], "tags": ["O", "O", "B-Disease", "I-Disease"]},
        {"tokens": ["no", "aspirin"], "tags": ["O", "B-Drug"]},
        {"tokens": ["the", "flu", "season"], "tags": ["O", "B-Disease", "O"]},
    ],
    "relation": [
        {"sentence": "@GENE$ leads to @DISEASE$ 7", "label": "linked"},
        {"sentence": "@GENE$ is no @DISEASE$ 3", "label": "apart"},
        {"sentence": "no @DISEASE$ by @GENE$", "label": "apart"},
    ],
    "questions": [asked("1", "Who wrote programs?", "Ada Lovelace"), asked("2", "When did Ada write?", "1843")],
    "requests": [
        {"utterance": "say 7 Rome", "parse": "[IN:GET_WEATHER say 7 [SL:LOCATION Rome ] ]"},
        {"utterance": "say 3 Oslo", "parse": "[IN:GET_SUNSET say 3 [SL:LOCATION Oslo ] ]"},
    ],
}


def of_sets(said, real):
    said, real = ([[name in row for name in NAMES] for row in rows] for rows in (said, real))
    micro, macro = (f1_score(real, said, average=over, zero_division=0) for over in ("micro", "macro"))
    return {"micro_f1": micro, "macro_f1": macro, "exact_match": accuracy_score(real, said)}


def f1_of(said, real):
    """F1, precision and recall of bags of anything."""
    right = (said & real).total()
    precision, recall = (right / side.total() if side else 0.0 for side in (said, real))
    return {"f1": right and 2 / (1 / precision + 1 / recall), "precision": precision, "recall": recall}


def spans(rows):
    """Rows, labels, first tokens and lengths of entities: an `I-` goes on with the tag of its label before it."""
    found = Counter()
    for row, tags in enumerate(rows):
        own = [
            *accumulate(tag[0] == "B" or tag[1:] != last[1:] for last, tag in zip(["O", *tags], tags, strict=False))
        ]
        found |= Counter(
            {(row, tags[at][1:], own.index(n), own.count(n)) for at, n in enumerate(own) if tags[at] != "O"}
        )
    return found


def of_relation(said, real):
    return {"accuracy": accuracy_score(real, said), "macro_f1": f1_score(real, said, average="macro", zero_division=0)}


def of_questions(said, real):
    """Answers here have no article."""
    said, real = ([re.findall(r"\w+", row["text"][0].lower()) for row in rows] for rows in (said, real))
    f1 = [f1_of(Counter(a), Counter(b))["f1"] for a, b in zip(said, real, strict=True)]
    return {"f1": np.mean(f1), "exact_match": np.mean([a == b for a, b in zip(said, real, strict=True)])}


def of_requests(said, real):
    """Slots here are not nested, and what is no parse has none."""
    slots = [Counter(re.findall(r"\[SL:\w+ [^\[\]]+\]", " ; ".join(rows))) for rows in (said, real)]
    pairs = [*zip(said, real, strict=True)]
    return {
        "exact_match": np.mean([a == b for a, b in pairs]),
        "exact_match_loose": np.mean([a.lower().split() == b.lower().split() for a, b in pairs]),
        "intent_accuracy": np.mean([a.split()[:1] == b.split()[:1] for a, b in pairs]),
        "slot_f1": f1_of(*slots)["f1"],
    }


SCORES = {
    "sets": of_sets,
    "entities": lambda said, real: f1_of(spans(said), spans(real)),
    "relation": of_relation,
    "questions": of_questions,
    "requests": of_requests,
}
BEATEN = {
    "sets": {"prompting", "prompting, calibrated"},
    "entities": {"dictionary of the prompts' names"},
    "relation": {"prompting", "prompting, calibrated", "the commonest label"},
    "questions": {"a random name, number or date"},
    "requests": set(),
}


@pytest.mark.parametrize("name", YAML)
def test_from_yaml_to_a_real_score(name, tmp_path, monkeypatch, request):
    monkeypatch.setattr(run, "open_generator", lambda plan, **_: ScriptedGenerator(answer))
    monkeypatch.setattr(deploy, "SECONDS", 0.05)  # of timing
    (tmp_path / f"{name}.yaml").write_text(YAML[name])
    rows = REAL[name]
    if name == "entities":  # of which one is malformed
        rows = [*rows * 40, {"tokens": ["no"], "tags": []}]
    if name == "relation":  # of which one has no label
        rows = [*rows, {**rows[0], [*rows[0]][-1]: None}]
    Dataset.from_list(rows).to_parquet(tmp_path / "real.parquet")
    student = request.getfixturevalue("causal_folder" if name == "requests" else "student_folder")
    flags = {"task": tmp_path / f"{name}.yaml", "reference": tmp_path / "real.parquet", "output_dir": tmp_path / "out"}
    flags |= {"student": student, "num_rows": 32, "num_train_epochs": 1, "learning_rate": 8e-3}
    flags |= {"max_length": 200 if name == "requests" else 128, "inspect": name in ("relation", "entities")}
    assert main(["run", *(word for key, value in flags.items() for word in (f"--{key}", str(value)))]) == 0
    task, folder = load_task(str(flags["task"])), flags["output_dir"]
    data = load_dataset(str(folder / "dataset"), cache_dir=str(tmp_path / "cache"))
    assert sum(map(len, data.values())) == 32
    assert data["train"].features[task.label_column] == TYPES[name]
    report = json.loads((folder / "report.json").read_text())
    assert set(report["baselines"]) == BEATEN[name]
    real = load_reference(task, str(flags["reference"])).data
    said = learner(task).predict(folder / "model", real, task, flags["max_length"])
    found = SCORES[name](said, real[task.label_column][:])
    assert report["headline"] == [*found]
    assert {key: report["metrics"][key] for key in found} == pytest.approx(found)
    assert report["metrics"]["rows"] == report["reference"]["rows"] == len(real)
    if name == "entities":
        assert (len(real), report["reference"]["malformed"]) == (120, 1)
        assert "split whole file (malformed rows left out: 1) | rows |" in (folder / "model/README.md").read_text()
    if flags["inspect"]:  # beside a reference that is one file, too
        inspected = json.loads((folder / "dataset/hf_synth/inspect.json").read_text())
        assert inspected["reference"]["rows"] == len(real)
        assert inspected["reference"]["malformed" if name == "entities" else "blank"] == len(rows) - len(real) == 1
    if name == "relation":
        for card in ("model", "dataset"):
            said = (folder / card / "README.md").read_text()
            assert "split whole file (rows without a text or a label left out: 1)" in said
        assert {"marks", "mark order", "words between marks"} <= {*inspected["measures"]}
