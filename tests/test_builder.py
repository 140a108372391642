import json

import pytest
from datasets import GeneratorBasedBuilder

from hf_synth import SynthBuilder, build
from hf_synth.errors import InputError
from hf_synth.generators.scripted import ScriptedGenerator


class Once(ScriptedGenerator):
    """Counts what it is asked."""

    asked = 0

    def complete(self, prompts, **settings):
        self.asked += len(prompts)
        return super().complete(prompts, **settings)


@pytest.fixture
def generator():
    return Once(lambda prompt, rng: f"a {prompt.cell} text of {rng.random()}", name="once")


def test_build_is_cached_by_its_settings(generator, tmp_path):
    first = build("zerogen", task="sst2", num_rows=200, generator=generator, cache_dir=str(tmp_path))
    asked = generator.asked
    again = build("zerogen", task="sst2", num_rows=200, generator=generator, cache_dir=str(tmp_path))
    assert generator.asked == asked
    assert again[:] == first[:]
    assert first["index"][:] == list(range(200))
    assert first.features["label"].names == ["negative", "positive"]
    other = build("zerogen", task="sst2", num_rows=200, seed=1, generator=generator, cache_dir=str(tmp_path))
    assert other["sentence"][:] != first["sentence"][:]


def test_more_rows_go_on_where_fewer_ended(generator, tmp_path):
    few = build("zerogen", task="sst2", num_rows=600, generator=generator, cache_dir=str(tmp_path))
    asked = generator.asked
    many = build("zerogen", task="sst2", num_rows=1200, generator=generator, cache_dir=str(tmp_path))
    assert many[:600] == few[:]
    assert generator.asked - asked < asked + 300


def test_other_texts_under_the_path_of_a_corpus_are_read(tmp_path):
    echo = ScriptedGenerator(
        lambda prompt, rng: f"{prompt.attributes['opening']} {rng.random()} of a text", name="echo"
    )
    corpus = {"path": str(tmp_path / "titles.csv"), "column": "title"}
    given = {"task": "sst2", "openings": "corpus", "corpus": corpus, "num_rows": 20, "cache_dir": str(tmp_path)}
    for title in ("first", "second one"):
        (tmp_path / "titles.csv").write_text(f"title\n{title}\n")
        rows = build("zerogen", generator=echo, **given)
        assert all(text.startswith(title) for text in rows["sentence"])


def test_real_rows_whose_labels_are_mapped_otherwise_are_read_anew(tmp_path):
    """Whoever finds the labels of the real rows swapped mends `reference`, and got the swapped rows again."""
    again = ScriptedGenerator(
        lambda prompt, rng: f"{'sun' if 'sun' in prompt.text else 'rain'} on day {rng.random()}", name="again"
    )
    days = [{"text": f"all {what} on day {at}", "label": what[0]} for what in ("sun", "rain") for at in range(3)]
    (tmp_path / "days.jsonl").write_text("\n".join(map(json.dumps, days)))
    task = {"name": "days", "labels": ["dry", "wet"], "prompt": 'Of a {label} day: "'}
    given = {"how": "paraphrase", "shots": str(tmp_path / "days.jsonl"), "shots_per_class": 3, "num_rows": 8}
    for dry, wet in (("r", "s"), ("s", "r")):
        mapped = {**task, "reference": {"labels": {"dry": dry, "wet": wet}}}
        rows = build("augment", task=mapped, generator=again, cache_dir=str(tmp_path), **given)
        told = {
            (text.split()[0][0], rows.features["label"].int2str(at))
            for text, at in zip(rows["text"], rows["label"], strict=True)
        }
        assert told == {(dry, "dry"), (wet, "wet")}


def test_splits_and_other_weights(generator, tmp_path):
    train = build("zerogen", task="sst2", num_rows=300, split="train", generator=generator, cache_dir=str(tmp_path))
    held = build(
        "zerogen", task="sst2", num_rows=300, split="validation", generator=generator, cache_dir=str(tmp_path)
    )
    assert len(train) + len(held) == 300
    assert 10 < len(held) < 60
    other = Once(lambda prompt, rng: f"another {prompt.cell} text {rng.random()}", name="other")
    rows = build("zerogen", task="sst2", num_rows=300, split="train", generator=other, cache_dir=str(tmp_path))
    assert rows["model"][0] == "other"


def test_another_dtype_is_another_cache(generator, tmp_path):
    """A machine's default is: with a graphics card a model may have another one, which nobody asked for."""
    for rows, dtype in ((20, "float32"), (30, "bfloat16")):
        generator.source = {**generator.source, "dtype": dtype}
        built = build("zerogen", task="sst2", num_rows=rows, generator=generator, cache_dir=str(tmp_path))
        assert len(built) == rows


def test_the_builder_is_a_datasets_builder():
    assert issubclass(SynthBuilder, GeneratorBasedBuilder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "sst3"}, "`task` must be one of .* Did you mean 'sst2'?"),
        ({"task": "sst2", "num_row": 5}, "a key must be one of .*; got 'num_row'. Did you mean 'num_rows'?"),
        ({"task": "sst2", "top_p": 1.5}, "`top_p`: input should be less than or equal to 1; got 1.5"),
        ({"task": "sst2", "openings": "corpus"}, "'sst2' has none"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_loaded(settings, message):
    with pytest.raises(InputError, match=message):
        build("zerogen", **settings)


def test_an_unknown_method_is_refused():
    with pytest.raises(InputError, match="Did you mean 'zerogen'?"):
        build("zerogn", task="sst2")
