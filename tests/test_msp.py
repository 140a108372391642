"""MSP from end to end: soft prompts learnt from shots, texts written from seeds, the noisy ones removed."""

import json
import random
from dataclasses import replace

import pytest
import torch
import yaml
from datasets import Dataset

from hf_synth import build
from hf_synth.adapters import attach
from hf_synth.adapters.folder import ALL, open_adapter
from hf_synth.bio import spans_of
from hf_synth.commands.main import main
from hf_synth.errors import InputError
from hf_synth.exemplars import Seeds, knowing, levels_of, parser_of
from hf_synth.filters.cleanest import Cleanest, DenoisingConfig
from hf_synth.generators.local import LocalGenerator
from hf_synth.generators.mixtuning import started, trained, tune_mixture
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.generators.tuning import open_model
from hf_synth.methods import get
from hf_synth.mixture_settings import MixtureTuningConfig
from hf_synth.models import weights_digest
from hf_synth.records import Completion, Example, Prompt, label_set
from hf_synth.run import Run
from hf_synth.shapes import shape
from hf_synth.shots import shots_of, tuned
from hf_synth.tasks import load_task, parse_task
from hf_synth.variants import fixed

pytestmark = pytest.mark.usefixtures("one_thread")

MIXERS = ["concat", "pooling", "attention", "bottleneck", "cnn"]
SMALL = {"instruction": 4, "length": 2, "tune_batch_size": 4, "tune_learning_rate": 0.05}
SETS = {
    "kind": "multi_label",
    "labels": ["film", "plot", "story"],
    "label_column": "labels",
    "prompt": '{mentions}: "',
    "min_words": 1,
    "max_new_tokens": 16,
}
TAGS = {
    "kind": "tokens",
    "columns": "tokens",
    "label_column": "tags",
    "labels": ["Thing", "Mood"],
    "words": {"Thing": ["film", "story"], "Mood": ["good", "awful"]},
    "prompt": 'with {mentions}: "',
    "min_words": 1,
    "max_new_tokens": 120,
}
TEXTS = [
    ("the film was good", ["film"]),
    ("a bad film", ["film"]),
    ("the plot of the film is dull", ["film", "plot"]),
    ("no plot and a great film", ["film", "plot"]),
    ("a plot", ["plot"]),
    ("the story is fine", ["story"]),
    ("very dull story of a film", ["story", "film"]),
    ("bad story bad plot", ["story", "plot"]),
]
TAGGED = [
    ("the film was bad", "O B-Thing O O"),
    ("a good story in the film", "O B-Mood B-Thing O O B-Thing"),
    ("awful and dull plot", "B-Mood O O O"),
    ("a very good one", "O O B-Mood O"),
]


def rows(name):
    if name == "sets":
        return Dataset.from_dict({"text": [text for text, _ in TEXTS], "labels": [names for _, names in TEXTS]})
    return Dataset.from_dict({"tokens": [t.split() for t, _ in TAGGED], "tags": [t.split() for _, t in TAGGED]})


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Task files and folders of real rows, by name."""
    folder, found = tmp_path_factory.mktemp("real"), {}
    for name, told in (("sets", SETS), ("tags", TAGS)):
        task, data = parse_task({"name": name, **told}, name), rows(name)
        features = shape(task).features(task)
        names = features[task.label_column].feature
        data = data.map(lambda row, task=task, names=names: {task.label_column: names.str2int(row[task.label_column])})
        (folder / name / "data").mkdir(parents=True)
        data.cast(features).to_parquet(folder / name / "data/train-0.parquet")
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(told))
        found[name] = {"task": str(folder / f"{name}.yaml"), "shots": str(folder / name), "shots_per_class": 1}
    return found


def shots(name):
    task = tuned(parse_task({"name": name, **(SETS if name == "sets" else TAGS)}, name))
    return task, shots_of(task, rows(name), 0)


def written(settings, model, encoder, **more):
    return {
        **settings,
        "model": str(model),
        "encoder": str(encoder),
        "chunk_size": 16,
        **SMALL,
        "tune_epochs": 1,
        **more,
    }


@pytest.mark.parametrize("mixer", ["concat", "attention"])
def test_texts_with_sets_of_labels(tmp_path, real, causal_folder, student_folder, mixer):
    settings = written(real["sets"], causal_folder, student_folder, mixer=mixer, num_rows=9)
    data = build("msp", cache_dir=str(tmp_path), **settings)
    names = data.features["labels"].feature.names
    assert len(data) == 9
    for row in data:
        asked = json.loads(row["attributes"])["labels"].split("; ")
        assert {names[at] for at in row["labels"]} == {*asked}
        assert row["text"] not in dict(TEXTS)
    assert {at for row in data for at in row["labels"]} == {0, 1, 2}


@pytest.mark.parametrize("model", ["causal_folder", "seq2seq_folder"])
def test_texts_with_tagged_entities(tmp_path, real, student_folder, request, model):
    settings = written(
        real["tags"],
        request.getfixturevalue(model),
        student_folder,
        num_rows=4,
        max_attempts=400,
        temperature=50.0,
        chunk_size=32,
    )
    data = build("msp", cache_dir=str(tmp_path), **settings)
    names = data.features["tags"].feature.names
    known = {"film": "Thing", "story": "Thing", "good": "Mood", "awful": "Mood"}
    assert len(data) == 4
    for row in data:
        found = {
            " ".join(row["tokens"][a:b]).lower(): label for a, b, label in spans_of([names[at] for at in row["tags"]])
        }
        assert found
        assert json.loads(json.loads(row["attributes"])["entities"]).items() <= found.items()
        assert found.items() <= known.items()


def data_of(folder):
    return {file.name: file.read_bytes() for file in sorted((folder / "dataset/data").iterdir())}


def test_a_run_is_repeated_to_the_byte_resumed_and_not_tuned_twice(tmp_path, real, causal_folder, student_folder):
    def run(name, **more):
        settings = written(real["sets"], causal_folder, student_folder, num_rows=6, license="mit", **more)
        flags = [f"--{key}={value}" for key, value in settings.items()]
        assert main(["generate", "--method=msp", f"--output_dir={tmp_path / name}", *flags]) == 0
        return data_of(tmp_path / name), next((tmp_path / name / "journal/once").glob("mixture-*/adapter.json"))

    first, record = run("a")
    again, other = run("b")
    assert first == again
    assert record.read_bytes() != b""
    stamp, chunks = record.stat().st_mtime_ns, sorted((tmp_path / "a/journal/chunks").glob("*/*.json"))
    for chunk in chunks[len(chunks) // 2 :]:  # what a kill leaves
        chunk.unlink()
    assert run("a") == (first, record)
    assert record.stat().st_mtime_ns == stamp
    assert run("c", seed=1)[0] != first
    ledger = json.loads((tmp_path / "a/dataset/hf_synth/ledger.json").read_text())
    rows = ledger["stages"]["rows"]
    assert rows["asked"] == rows["kept"] + sum(rows["dropped"].values())
    assert rows["dropped"]["noisy"] >= 1
    assert ledger["notes"]["denoising"]["removed, texts"] == rows["dropped"]["noisy"]
    copies = ledger["notes"]["few shots"]
    assert copies["verbatim copies of a row learnt from, dropped"] == rows["dropped"].get("copy of a shot", 0)
    card = (tmp_path / "a/dataset/README.md").read_text()
    assert "sets" in card
    assert str(tmp_path) not in card


@pytest.mark.parametrize("folder", ["causal_folder", "seq2seq_folder"])
@pytest.mark.parametrize("mixer", MIXERS)
def test_every_mixer_learns_and_the_model_stays(request, mixer, folder):
    model, tokenizer = open_model(str(request.getfixturevalue(folder)))
    if model.config.is_encoder_decoder:  # the fixture's logits are too large to learn from
        model.config.initializer_factor = 1.0
        torch.manual_seed(0)
        model = type(model)(model.config)
    model = model.float()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    task, seeds = shots("sets")
    rate = 0.05 if folder == "causal_folder" else 0.5
    config = MixtureTuningConfig(
        **{**SMALL, "hidden": 8, "mixer": mixer, "tune_epochs": 12, "tune_learning_rate": rate}
    )
    mixtures = attach(model.eval(), "mixture", 0)
    torch.manual_seed(0)
    mixtures.add(ALL, started(model, tokenizer, config, levels_of(task, seeds)))
    start = {name: value.detach().clone() for name, value in mixtures.own(ALL).items()}
    encoded = [
        (label_set(shot.prompt), tokenizer(shot.prompt.text).input_ids, tokenizer(shot.answer).input_ids)
        for shot in seeds
    ]
    losses = trained(mixtures, encoded, config, 0)
    assert len(losses) == 24
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(not torch.equal(start[name], value) for name, value in mixtures.own(ALL).items())


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("folder", ["causal_folder", "seq2seq_folder"])
def test_what_is_written_is_what_was_trained(tmp_path, request, folder, mixer):
    """The engine's probability of a token is that of the loss, whatever else is in the batch."""
    path = request.getfixturevalue(folder)
    task, seeds = shots("sets")
    digest = weights_digest(path)
    config = MixtureTuningConfig(**{**SMALL, "hidden": 8, "mixer": mixer, "tune_epochs": 3})
    plain = LocalGenerator(str(path), name="tiny", digest=digest)
    tune_mixture(plain, seeds, config, tmp_path, 0, levels=levels_of(task, seeds))
    adapter = open_adapter(str(tmp_path), digest)
    generator = LocalGenerator(str(path), name="tiny", digest=digest, dtype=torch.float32, adapter=adapter)
    prompts = [shot.prompt for shot in seeds]
    said = generator.complete(prompts, seed=0, batch_size=8, max_new_tokens=1, temperature=0.0)
    alone = generator.complete(prompts[2:3], seed=0, batch_size=8, max_new_tokens=1, temperature=0.0)
    assert alone[0].text == said[2].text
    mixtures = generator._adapters
    own, head = label_set(prompts[2]), generator.encoding.prompt(prompts[2].text, False)
    assert len(own) == 2
    with torch.no_grad():
        every = [mixtures(ALL, [own], [head], [[at]]) for at in range(len(generator.tokenizer))]
    assert said[2].logprob == pytest.approx(-float(min(every)), abs=1e-3)
    sets = [label_set(prompt) for prompt in prompts]
    ids = [generator.encoding.prompt(prompt.text, False) for prompt in prompts]
    many, one = (
        mixtures.soft(ALL, sets, ids),
        [mixtures.soft(ALL, [s], [i])[0] for s, i in zip(sets, ids, strict=True)],
    )
    assert all(map(torch.equal, many, one))
    assert many[0] is many[1]  # both of one attribute: the engine reads it once


def test_intents_and_slots_are_two_levels_that_learn(tmp_path, causal_folder):
    task = tuned(load_task("topv2"))
    parses = [
        "[IN:GET_SUNSET sunset [SL:DATE_TIME tonight ] ]",
        "[IN:GET_SUNRISE sunrise in [SL:LOCATION Rome ] [SL:DATE_TIME tonight ] ]",
    ]
    data = Dataset.from_dict({"utterance": ["sunset tonight", "sunrise in Rome tonight"], "semantic_parse": parses})
    seeds = shots_of(task, data, 0)
    levels = levels_of(task, seeds)
    assert levels == {
        "intents": {name: task.labels[name] for name in ("IN:GET_SUNRISE", "IN:GET_SUNSET")},
        "slots": {"SL:DATE_TIME": "date time", "SL:LOCATION": "location"},
    }
    digest, config = weights_digest(causal_folder), MixtureTuningConfig(**SMALL, tune_epochs=2)
    torch.manual_seed(0)
    before = started(*open_model(str(causal_folder)), config, levels)
    plain = LocalGenerator(str(causal_folder), name="tiny", digest=digest)
    tune_mixture(plain, seeds, config, tmp_path, 0, levels=levels)
    model, _ = open_model(str(causal_folder))
    after = open_adapter(str(tmp_path), digest).open(model)
    moved = (after.own(ALL)["prompts"].cpu() - before.prompts).abs().amax((1, 2))
    assert (moved > 0).all()
    vectors = after.soft(ALL, [["IN:GET_SUNSET", "SL:DATE_TIME"], ["IN:GET_SUNSET"]], [[5], [5]])
    assert [len(one) for one in vectors] == [2 * config.length, config.length]


def test_nested_slots_of_a_shot_stay_nested():
    task = tuned(load_task("topv2"))
    nested = (
        "[IN:CREATE_REMINDER remind [SL:PERSON_REMINDED me ] "
        "[SL:RECURRING_DATE_TIME [IN:GET_RECURRING_DATE_TIME [SL:FREQUENCY every day ] ] ] to [SL:TODO jog ] ]"
    )
    data = Dataset.from_dict({"utterance": ["remind me every day to jog"], "semantic_parse": [nested]})
    (shot,) = shots_of(task, data, 0)
    assert 'Words to use: "me", "every day" and "jog"' in shot.prompt.text
    found = shape(task).parser(task)(shot.prompt, Completion(shot.answer.removesuffix('"')))
    assert found.target == nested


def test_names_of_shots_are_tagged_wherever_they_occur():
    task, found = shots("tags")
    assert knowing(task, found).words == {"Thing": ("film", "story"), "Mood": ("good", "awful")}
    other = replace(task, words={"Thing": ("film",), "Mood": ("bad",)})
    told = knowing(other, found)
    assert told.words == {"Thing": ("film", "story"), "Mood": ("bad", "good", "awful")}
    shot = next(shot for shot in found if fixed(shot.prompt) == ["film"])
    row = shape(told).parser(told)(shot.prompt, Completion("an awful film and a story"))
    assert row.target == ("O", "B-Mood", "B-Thing", "O", "O", "B-Thing")


def test_a_text_needs_one_entity_of_its_label_alone():
    task, found = shots("tags")
    stream = Seeds(task, found, 0).prompts("Thing", random.Random(0))
    several = next(prompt for prompt in stream if "good" in prompt.text)
    assert json.loads(several.attributes["entities"]) == {"film": "Thing", "good": "Mood", "story": "Thing"}
    row = parser_of(task)(several, Completion("a story about this"))
    assert row.target == ("O", "B-Thing", "O", "O")
    assert json.loads(row.prompt.attributes["entities"]) == {"story": "Thing"}
    assert parser_of(task)(several, Completion("a good one is this")) == "entity missing"


def test_seeds_are_shown_behind_shots_of_their_labels():
    task, found = shots("sets")
    seeds = Seeds(task, found, 2)
    for lesson, shot in zip(seeds.lessons(random.Random(0)), found, strict=True):
        head, *lines = lesson.prompt.text.split("\n")
        assert shot.prompt.text == head + ' "'
        assert lines[-1] == f'{len(lines)}) "'
        shown = [line.split('"')[1] for line in lines[:-1]]
        assert len(shown) == 2
        assert shot.text not in shown
        assert all({*dict(TEXTS)[text]} & {*label_set(shot.prompt)} for text in shown)
    stream = seeds.prompts("story", random.Random(0))
    drawn = [next(stream) for _ in range(6)]
    assert {prompt.cell for prompt in drawn} == {"story"}
    assert [prompt.attributes["seed"] for prompt in drawn[:3]] == [prompt.attributes["seed"] for prompt in drawn[3:]]
    for prompt in drawn:
        seed = found[int(prompt.attributes["seed"])]
        assert "story" in label_set(prompt) == label_set(seed.prompt)
        assert prompt.text.split("\n")[-2] == f'2) "{seed.text}"'
    bare = next(Seeds(task, found, 0).prompts("plot", random.Random(0)))
    assert bare.text == found[int(bare.attributes["seed"])].prompt.text


def example(task, seed, text, place, cell):
    prompt = Prompt("x", cell, attributes={**seed.prompt.attributes, "seed": str(place)})
    return Example({task.generated: text}, label_set(prompt), cell, prompt)


def test_denoising_removes_the_text_that_is_far_from_its_seed(student_folder):
    task, found = shots("sets")
    seeds = Seeds(task, found, 2)
    run = Run(task, ScriptedGenerator(lambda prompt, rng: "x"))
    near = ["the film was great", "the film was dull", "the film is good", "a film was good"]
    texts = [*near[:2], "17 + 25 = 42 ! ? # %", *near[2:]]
    examples = [example(task, found[0], text, 0, "film") for text in texts]
    config = DenoisingConfig(encoder=str(student_folder), closeness=1.0)
    assert Cleanest(run, seeds, {"film": 9}, config)(examples) == [None, None, "noisy", None, None]
    assert run.ledger.notes["denoising"]["removed, texts"] == 1
    told = run.ledger.notes["denoising"]
    assert told["removed, mean cosine with the seed"] < told["kept, mean cosine with the seed"]
    all_of = DenoisingConfig(encoder=str(student_folder), keep_share=1.0)
    assert Cleanest(run, seeds, {"film": 9}, all_of)(examples) == [None] * 5
    assert Cleanest(run, seeds, {"film": 2}, all_of)(examples).count(None) == 2


def test_denoising_prefers_rare_labels(student_folder):
    task, found = shots("sets")
    seeds = Seeds(task, found, 2)
    common, rare = TEXTS.index(("a bad film", ["film"])), TEXTS.index(("very dull story of a film", ["story", "film"]))
    assert seeds.commonness(example(task, found[common], "x", common, "film")) == pytest.approx(5 / 12)
    assert seeds.commonness(example(task, found[rare], "x", rare, "film")) == pytest.approx((5 + 3) / 2 / 12)
    examples = [example(task, found[at], f"text {at}", at, "film") for at in (common, rare)]
    config = DenoisingConfig(encoder=str(student_folder), closeness=0.0, keep_share=0.5)
    run = Run(task, ScriptedGenerator(lambda prompt, rng: "x"))
    assert Cleanest(run, seeds, {"film": 9}, config)(examples) == ["noisy", None]


def test_students_learn_from_shots_and_rows_together():
    method = get("msp")
    found = method.defaults(load_task("nlupp_hotels"), {"shots": "x", "shots_per_class": 4})
    assert found == {"real_rows": "x", "real_per_class": 4, "real_seed": 0, "real_first": 0.0}
    assert method.defaults(load_task("topv2"), {"shots": "x"}) == {}


def test_an_encoder_that_is_nowhere_is_refused_before_anything_is_tuned(real, causal_folder, monkeypatch):
    def tuned(*_, **__):
        raise AssertionError("tuned")

    monkeypatch.setattr("hf_synth.generators.mixtuning.tune_mixture", tuned)
    with pytest.raises(InputError, match="no model 'org/no-such-encoder'"):
        build("msp", **written(real["sets"], causal_folder, "org/no-such-encoder"))


def test_what_is_refused(real, causal_folder, student_folder):
    with pytest.raises(InputError, match="`shots` names the real rows to learn from"):
        build("msp", task=real["sets"]["task"], model=str(causal_folder))
    with pytest.raises(InputError, match="msp is for tasks of kind single, multi_label, tokens, parse; 'qnli'"):
        build("msp", task="qnli", shots="x", model=str(causal_folder))
    generator = ScriptedGenerator(lambda prompt, rng: "x")
    with pytest.raises(InputError, match="a generator that learns from rows runs in this process: `backend: local`"):
        build("msp", **real["sets"], encoder=str(student_folder), generator=generator)
