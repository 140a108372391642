"""The baselines of few shots: EDA without a language model, and paraphrases that keep what carries a label."""

import json
import random

import pytest
from datasets import Dataset

from hf_synth import build
from hf_synth.bio import spans_of
from hf_synth.commands.main import main
from hf_synth.exemplars import SEED, Seeds
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.records import Prompt
from hf_synth.run import Run
from hf_synth.shapes import shape
from hf_synth.shots import Shot, shots_of, tuned
from hf_synth.tasks import load_task, parse_task
from hf_synth.variants import by_asking, by_eda, by_names, fixed, shots_synonyms

TAGS = """
kind: tokens
columns: tokens
label_column: tags
labels: [Thing, Mood]
words: {Thing: [film], Mood: [awful]}
prompt: 'with {mentions}: "'
"""
TAGGED = [
    ("we saw a very long picture show in the old town", "O O O O O B-Thing I-Thing O O O O"),
    ("nobody there was really sad about anything", "O O O O B-Mood O O"),
    ("their picture show was so very sad that everyone left", "O B-Thing I-Thing O O O B-Mood O O O"),
]
SYNONYMS = {"long": ("short",), "town": ("city",), "left": ("went",), "sad": ("glad",), "picture": ("photo",)}


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A task file and a folder of real rows."""
    import yaml

    folder = tmp_path_factory.mktemp("real")
    (folder / "tags.yaml").write_text(TAGS)
    task = parse_task({"name": "tags", **yaml.safe_load(TAGS)}, "tags")
    features = shape(task).features(task)
    names = features["tags"].feature
    rows = {
        "tokens": [text.split() for text, _ in TAGGED],
        "tags": [names.str2int(tags.split()) for _, tags in TAGGED],
    }
    (folder / "rows/data").mkdir(parents=True)
    Dataset.from_dict(rows, features=features).to_parquet(folder / "rows/data/train-0.parquet")
    named = Dataset.from_dict({**rows, "tags": [tags.split() for _, tags in TAGGED]})
    settings = {"task": str(folder / "tags.yaml"), "shots": str(folder / "rows"), "shots_per_class": 2}
    return tuned(task), shots_of(tuned(task), named, 0), settings


def refuses(prompt, rng):
    raise AssertionError("no language model is asked")


def test_eda_keeps_names_and_asks_nobody(tmp_path, real, student_folder):
    _, _, settings = real
    settings = {**settings, "encoder": str(student_folder), "alpha": 0.3, "chunk_size": 16, "max_attempts": 50}
    generator = ScriptedGenerator(refuses, name="none")
    data = build("augment", generator=generator, cache_dir=str(tmp_path), num_rows=12, **settings)
    names = data.features["tags"].feature.names
    assert len(data) == 12
    assert {*data["model"]} == {"EDA"}
    shown = [" ".join(row["tokens"]) for row in data]
    assert len({*shown}) == 12
    assert not {*shown} & {text for text, _ in TAGGED}
    for row in data:
        found = {" ".join(row["tokens"][a:b]): label for a, b, label in spans_of([names[at] for at in row["tags"]])}
        asked = json.loads(json.loads(row["attributes"])["entities"])
        assert asked.items() <= found.items()
    again = build("augment", generator=generator, cache_dir=str(tmp_path / "b"), num_rows=12, **settings)
    assert again["tokens"] == data["tokens"]


def test_the_card_of_variants_names_no_language_model(tmp_path, real, student_folder, monkeypatch):
    import hf_synth.commands.generate as generate

    monkeypatch.setattr(generate, "open_generator", lambda *_, **__: ScriptedGenerator(refuses, name="none"))
    flags = {**real[2], "encoder": str(student_folder), "num_rows": 4, "output_dir": str(tmp_path / "run")}
    assert main(["generate", "--method=augment", *(f"--{key}={value}" for key, value in flags.items())]) == 0
    card = (tmp_path / "run/dataset/README.md").read_text()
    assert "**Every text here is a real one in which a program changed words; it kept the labels" in card
    assert "language model" not in card.partition("How it was made")[0]
    assert "| generator | EDA |" in card
    assert "| real data used | rows, split train |" in card


def test_variants_change_the_other_words_alone(real):
    task, shots, _ = real
    rng, seen = random.Random(0), set()
    prompts = Seeds(task, shots, 0).prompts("Thing", rng)
    made = by_eda(prompts, shots, rng, lambda word: SYNONYMS.get(word, ()), 0.2)
    for _ in range(60):
        prompt = next(made)
        assert prompt.cell == "Thing"
        assert "picture show" in prompt.text
        assert "photo" not in prompt.text
        seen |= {*prompt.text.split()}
    assert {"short", "city", "went"} <= seen


def test_synonyms_are_words_of_shots_and_labels(real, student_folder):
    task, shots, _ = real
    run = Run(task, ScriptedGenerator(refuses))
    near = shots_synonyms(run, shots, str(student_folder))
    known = {word for text, _ in TAGGED for word in text.split() if len(word) > 3} | {"mood", "thing"}
    assert any(near(word) for word in known)
    assert {other for word in known for other in near(word)} <= known
    assert near("Town") == near("town")
    assert near("was") == ()


def test_what_a_text_must_hold():
    assert fixed(Prompt("x", attributes={"entities": '{"picture show": "Thing"}'})) == ["picture show"]
    assert fixed(Prompt("x", attributes={"slots": '{"SL:T": "[IN:G [SL:F every day ] ]"}'})) == ["every day"]
    assert fixed(Prompt("x", "positive")) == []


def test_paraphrases_are_asked_to_keep_names_and_checked(tmp_path, real):
    task, shots, settings = real
    prompt = next(by_asking(Seeds(task, shots, 0).prompts("Mood", random.Random(0)), shots, '"'))
    assert prompt.text.startswith("Say this in other words, in one sentence, and keep the words")
    assert prompt.text.endswith('\n"')
    seed = shots[int(prompt.attributes["seed"])]
    assert all(repr(name) in prompt.text for name in fixed(seed.prompt))

    def says(prompt, rng):
        """Answer with all names, with one of them, or with the shot."""
        names, way = fixed(prompt), rng.randrange(3)
        if way == 0:
            return shots[int(prompt.attributes["seed"])].text + '"'
        return f"thing {rng.randrange(10**6)} " + " then ".join(names if way == 1 else names[:-1]) + ' and so on" more'

    data = build(
        "augment",
        generator=ScriptedGenerator(says),
        cache_dir=str(tmp_path),
        num_rows=10,
        how="paraphrase",
        **settings,
    )
    assert len(data) == 10
    for row in data:
        assert all(name in " ".join(row["tokens"]) for name in json.loads(json.loads(row["attributes"])["entities"]))
        assert " ".join(row["tokens"]) not in {text for text, _ in TAGGED}


def test_parses_keep_their_slots(real):
    task = tuned(load_task("topv2"))
    parse = "[IN:GET_WEATHER will it rain much in [SL:LOCATION New Orleans ] over the weekend ]"
    data = Dataset.from_dict(
        {"utterance": ["will it rain much in New Orleans over the weekend"], "semantic_parse": [parse]}
    )
    shots = shots_of(task, data, 0)
    made = by_eda(
        Seeds(task, shots, 0).prompts("IN:GET_WEATHER", random.Random(0)), shots, random.Random(1), lambda w: (), 0.3
    )
    assert all("New Orleans" in next(made).text for _ in range(30))


def test_a_short_name_is_replaced_where_it_is_spelt_as_it_stands():
    seed = Prompt("x", cell="Disease", attributes={"entities": json.dumps({"AS": "Disease"}), SEED: "0"})
    [made] = by_names([seed], [Shot(seed, "It is AS as before", "")], random.Random(0), {"Disease": ["gout"]})
    assert made.text == "It is gout as before"


def test_a_name_of_two_labels_stands_under_one_of_them_in_a_text():
    """`lithium as lithium` would be tagged twice alike, and one of them wrong."""
    names = {"Drug": ["lithium", "aspirin"], "Metal": ["lithium", "tin"]}
    asked = {"copper": "Metal", "ibuprofen": "Drug"}
    seed = Prompt("x", cell="Drug", attributes={"entities": json.dumps(asked), SEED: "0"})
    seeds = [seed] * 50
    for made in by_names(seeds, [Shot(seed, "he took ibuprofen from copper", "")], random.Random(0), names):
        _, _, drug, _, metal = made.text.split()
        assert drug != metal
        assert json.loads(made.attributes["entities"]) == {drug: "Drug", metal: "Metal"}
