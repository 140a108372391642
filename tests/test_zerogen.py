"""ZeroGen on its kinds of tasks, with a scripted generator that keeps what it is asked."""

from collections import Counter
from pathlib import Path

import pytest
from datasets import Dataset

from hf_synth.errors import InputError
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.methods import NAMES, get
from hf_synth.produce import Plan
from hf_synth.run import Run
from hf_synth.settings import SynthConfig
from hf_synth.tasks import load_task, parse_task, task_names


class Asked(ScriptedGenerator):
    """Keeps prompts and decoding settings."""

    def __init__(self):
        super().__init__(
            lambda prompt, rng: f"{rng.random()} some words of a longer text that ends{rng.random()}? or so"
        )
        self.prompts, self.decoding = [], []

    def complete(self, prompts, *, seed, batch_size, **decoding):
        self.prompts += prompts
        self.decoding.append(decoding)
        return super().complete(prompts, seed=seed, batch_size=batch_size, **decoding)


def rows_of(task, generator, rows=60, **settings):
    method = get("zerogen")
    run = Run(task, generator, num_rows=rows)
    config = method.config(**settings)
    method.check(task, config)
    return list(method.generate(run, config)), run


@pytest.mark.parametrize("name", [n for n in task_names() if load_task(n).kind in ("single", "pair")])
def test_every_packaged_task_is_written(name):
    task, generator = load_task(name), Asked()
    count = 2 * len(task.labels)
    rows, run = rows_of(task, generator, rows=count)
    assert Counter(row.target for row in rows) == dict.fromkeys(task.labels, 2)
    for row in rows:
        assert set(row.fields) == set(task.columns)
        assert all(row.fields.values())
    assert run.ledger.stage("rows").kept == count
    asked = [p for p in generator.prompts if p.cell is not None]
    assert all(bool(p.against) == (task.steers_away and not task.mismatched) for p in asked)
    last = generator.decoding[-1]
    assert last["stop"] == task.stop
    assert last["max_new_tokens"] == task.max_new_tokens
    assert last["debias"] == 200.0


def test_pairs_have_the_given_text_in_prompt_and_row():
    task = load_task(str(Path(__file__).parent.parent / "recipes/paper_tasks/rte.yaml"))
    rows, _ = rows_of(task, Asked())
    for row in rows:
        given = row.fields["sentence1"]
        assert f'"{given}"\nBased on the above description' in row.prompt.text
        assert f'"{given}"\nBased on the above description' in row.prompt.against[0]
        assert row.prompt.text != row.prompt.against[0]
    by_label = {label: [r.fields["sentence1"] for r in rows if r.target == label] for label in task.labels}
    assert by_label["entailment"] == by_label["not_entailment"]  # every premise is used under every label


def test_real_premises_come_from_the_corpus(tmp_path):
    folder = tmp_path / "corpus/data"
    folder.mkdir(parents=True)
    Dataset.from_dict({"text": [f"Real premise number {at}." for at in range(40)]}).to_parquet(
        folder / "train-0.parquet"
    )
    values = {
        "name": "nli",
        "kind": "pair",
        "labels": ["yes_", "no_"],
        "columns": ["premise", "hypothesis"],
        "prompt": '{premise} Hence ({label}): "',
        "opening": {"corpus": {"path": str(tmp_path / "corpus"), "column": "text"}},
    }
    task, generator = parse_task(values, "nli"), Asked()
    rows, run = rows_of(task, generator, openings="corpus", num_openings=10)
    premises = {row.fields["premise"] for row in rows}
    assert len(premises) == 10
    assert all(premise.startswith("Real premise number") for premise in premises)
    assert "openings" not in run.ledger.stages
    with pytest.raises(InputError, match="set `openings: corpus`"):
        rows_of(task, generator)


def test_fixed_openings_are_used_in_rotation():
    task = load_task("amazon_polarity")
    rows, _ = rows_of(task, Asked(), rows=100)
    used = Counter(row.prompt.attributes["opening"] for row in rows if row.target == "positive")
    assert set(used) <= set(task.opening.values)
    assert max(used.values()) - min(used.values()) <= 2


def test_methods_say_what_they_are():
    for name in NAMES:
        method = get(name)
        assert method.name == name
        assert method.paper.link.startswith("https://huggingface.co/papers/")
        assert method.paper.link in method.generate.__doc__ or method.paper.arxiv
        assert method.differs
        real = next((key for key in ("shots", "seen_rows") if key in method.config.__dataclass_fields__), None)
        needs = method.config(**{real: "real"}) if real else None
        assert Plan.of(SynthConfig(task="sst2", method=name), needs).method is method


def test_texts_begin_with_a_start_word_of_their_label():
    values = {
        "labels": ["person", "place"],
        "prompt": 'A question about a {label}: "',
        "starts": {"person": ["Who", "Whose"], "place": "Where"},
        "stop": ["?"],
        "ending": "?",
    }
    rows, _ = rows_of(parse_task({**values, "name": "questions"}, "here"), Asked(), steer_away=True)
    begun = {
        label: {row.fields["text"].split()[0] for row in rows if row.target == label} for label in values["labels"]
    }
    assert {label: {word.rstrip("0.123456789") for word in words} for label, words in begun.items()} == {
        "person": {"Who", "Whose"},
        "place": {"Where"},
    }
    for row in rows:
        assert row.prompt.text == f'A question about a {row.target}: "{row.prompt.attributes["start word"]}'
        assert [text.split('"')[1] for text in row.prompt.against] == [row.prompt.attributes["start word"]]
    with pytest.raises(InputError, match="`starts`: .*'plac'.*place"):
        parse_task({**values, "name": "questions", "starts": {"plac": ["Where"]}}, "here")


def test_texts_of_a_mismatched_label_are_written_to_an_alike_text_and_stand_beside_another(tmp_path):
    lines = [f"The {animal} of {place} lives in a burrow." for animal in ("badger", "rabbit") for place in "BCDEFGHJ"]
    folder = tmp_path / "corpus/data"
    folder.mkdir(parents=True)
    Dataset.from_dict({"text": lines}).to_parquet(folder / "train-0.parquet")
    values = {
        "name": "questions",
        "kind": "pair",
        "columns": ["line", "question"],
        "labels": {"fits": "in", "does_not": "not in"},
        "mismatched": {"does_not": "fits"},
        "opening": {"corpus": {"path": str(tmp_path / "corpus"), "column": "text"}},
        "prompt": 'Line: "{line}" Question: "',
        "score_prompt": 'Line: "{line}" Question (answer {label} the line): "',
    }
    generator = Asked()
    rows, _ = rows_of(parse_task(values, "here"), generator, rows=24, openings="corpus")
    assert Counter(row.target for row in rows) == {"fits": 12, "does_not": 12}
    for row in rows:
        [about] = [line for line in lines if f'Line: "{line}"' in row.prompt.text]
        assert (about == row.fields["line"]) == (row.target == "fits")
        assert about.split()[3] == row.fields["line"].split()[3]  # of the same place, which few lines name
        assert row.prompt.attributes.get("about") == (about if row.target == "does_not" else None)
        assert not row.prompt.against  # nobody is asked to write what does not fit
    one = {**values["opening"], "values": ["There is one line only."]}
    with pytest.raises(InputError, match="needs two different given texts or more; all are 'There is one"):
        rows_of(parse_task({**values, "opening": one}, "here"), Asked(), rows=24)
    for wrong in ({"does_not": "elsewhere"}, {"does_not": "fits", "fits": "does_not"}):
        with pytest.raises(InputError, match="`mismatched`"):
            parse_task({**values, "mismatched": wrong}, "here")
    plain = {"columns": ["question"], "prompt": "{label}", "score_prompt": "{label}", "opening": None}
    with pytest.raises(InputError, match="`mismatched` is for pairs"):
        parse_task({**values, "kind": "single", **plain}, "here")


def test_one_prompt_without_sampling_has_one_text():
    task = parse_task({"name": "mine", "labels": ["good", "bad"], "prompt": 'A {label} text: "'}, "here")
    method = get("zerogen")
    run = Run(task, ScriptedGenerator(lambda prompt, rng: f'{prompt.text[2:6]} it is, you know"'), num_rows=3)
    with pytest.raises(InputError, match="`temperature: 0` writes the same text to the same prompt, and mine has"):
        next(method.generate(run, method.config(temperature=0)))
    run = Run(task, ScriptedGenerator(lambda prompt, rng: f'{prompt.text[2:6]} it is, you know"'), num_rows=2)
    assert len(list(method.generate(run, method.config(temperature=0)))) == 2
