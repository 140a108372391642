"""Structured generation: who is held to a JSON schema, and what is asked, read and dropped where a server has none."""

import json
import random
import re
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import yaml
from chat_cases import chat
from chat_stub import Reply, Stub, error
from datasets import load_dataset
from jsonschema import validate

from hf_synth.attributes import AttributesConfig
from hf_synth.commands.main import main
from hf_synth.elicit import attribute_values
from hf_synth.generators.base import settled, takes_schema
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.methods import get
from hf_synth.records import Completion, Prompt
from hf_synth.run import Run
from hf_synth.settings import SynthConfig
from hf_synth.shapes import shape
from hf_synth.tasks import load_task, parse_task
from hf_synth.verbalizers import expanded

ENTITIES = """
kind: tokens
columns: tokens
label_column: tags
labels: {Drug: a drug, Disease: a disease}
words: {Drug: [aspirin, vitamin C], Disease: [gout, lung cancer]}
mentions: [1, 2]
prompt: 'A sentence with {mentions}: "'
empty: 'A sentence about numbers: "'
annotate: json
"""
LABEL = {"aspirin": "Drug", "vitamin C": "Drug", "gout": "Disease", "lung cancer": "Disease"}
# In words and between fences, with a comma too many: what a repair may leave out without changing a value.
CHATTY = "Sure, here it is:\n```json\n{}\n```"


def serve(write, structured):
    """Return a server of JSON that refuses schemas, or that holds its answers to them."""

    def reply(messages, seed, attempt):
        form, prompt = stub.requests[-1]["body"].get("response_format"), messages[-1]["content"]
        if not structured and form:
            return error(400, "response_format is not supported")
        answer = write(prompt.rpartition("\n\n")[2] if not form else prompt, random.Random(seed))
        if not form:
            return Reply(answer if isinstance(answer, str) else CHATTY.format(json.dumps(answer)[:-1] + ",}"))
        validate(answer, form["json_schema"]["schema"])
        return Reply(json.dumps(answer))

    stub = Stub(reply)
    return stub


def sentence(prompt, rng, prose=0.0):
    """Write the JSON of a sentence that mentions what the prompt names."""
    names = re.search(r'with (.+): "$', prompt)
    found = names[1].split(" and ") if names else []
    text = f"It was {rng.randrange(10**6)} times {' and '.join(found) or 'seen'} here."
    entities = [{"text": name, "type": LABEL[name]} for name in found]
    return "I would rather not." if rng.random() < prose else {"text": text, "entities": entities}


def generate(tmp_path, stub):
    """Return the rows of the command, what it counted, and the decoding settings that it recorded."""
    (tmp_path / "own.yaml").write_text(ENTITIES)
    asked = ["generate", "--task", str(tmp_path / "own.yaml"), "--backend", "chat", "--model", "stub"]
    asked += ["--base_url", stub.url, "--num_rows", "30", "--chunk_size", "16", "--output_dir", str(tmp_path / "out")]
    assert main(asked) == 0
    folder = tmp_path / "out/dataset"
    rows = [row for split in load_dataset(str(folder)).values() for row in split]
    ledger = json.loads((folder / "hf_synth/ledger.json").read_text())
    [decoding] = set(pq.read_table(folder / "hf_synth/chunks.parquet")["decoding"].to_pylist())
    return rows, ledger["stages"]["rows"], json.loads(decoding)


def test_a_server_is_held_to_the_schema_of_entities(tmp_path):
    with serve(sentence, structured=True) as stub:
        rows, counts, decoding = generate(tmp_path, stub)
    assert len(rows) == 30
    assert sum(not any(row["tags"]) for row in rows) == 10  # of the cell `none`: an empty list of entities
    assert not set(counts["dropped"]) - {"surplus", "duplicate"}
    forms = [request["body"]["response_format"]["json_schema"] for request in stub.requests]
    assert all(form["strict"] is True and form["schema"] == decoding["schema"] for form in forms)
    assert not any("stop" in request["body"] for request in stub.requests)
    assert "stop" not in decoding
    whole, entities = decoding["schema"], decoding["schema"]["properties"]["entities"]["items"]
    assert entities["properties"]["type"]["enum"] == ["Drug", "Disease"]
    for part in (whole, entities):  # what OpenAI's strict mode asks at every level
        assert part["additionalProperties"] is False
        assert part["required"] == [*part["properties"]]


def test_a_server_without_schemas_is_asked_in_words_and_its_json_repaired_or_dropped(tmp_path):
    with serve(lambda prompt, rng: sentence(prompt, rng, prose=0.3), structured=False) as stub:
        rows, counts, decoding = generate(tmp_path, stub)
    assert len(rows) == 30
    assert sum(not any(row["tags"]) for row in rows) == 10
    assert counts["dropped"]["malformed"] > 0
    assert counts["asked"] == counts["kept"] + sum(counts["dropped"].values())
    first, *others = (request["body"] for request in stub.requests)
    assert first["messages"][0]["content"].startswith("A sentence")
    schema = json.dumps(decoding["schema"])
    said = f"Answer with JSON alone, which fits this schema: {schema}\n\nA sentence"
    assert all(other["messages"][0]["content"].startswith(said) for other in others)
    assert not any("response_format" in other for other in others)


@pytest.mark.parametrize(
    ("text", "reason"),
    [('{"text":"He took aspirin.","enti', "no json"), ('{"text":"He took aspirin", "entities":[]', "unfinished")],
)
def test_entities_that_the_token_limit_cut_are_dropped(text, reason):
    task = parse_task({"name": "t", **yaml.safe_load(ENTITIES)}, "t")
    assert shape(task).parser(task)(Prompt("x", cell="Drug"), Completion(text, finish="length")) == reason


def items(prompt, rng):
    """List what an attribute's or a word's question asks for."""
    if "differ:" in prompt.splitlines()[-1]:
        return {"items": ["topic", "mood"]}
    if found := re.search(r'Values of "(\w+)" for texts about (\w+)[^\n]*\n?$', prompt):
        return {"items": [f"{found[2]} {found[1]} {at}" for at in range(3)]}
    word = re.search(r'Words close in meaning to "(\w+)":$', prompt)[1]
    return {"items": [f"pre{word}", f"pre{word}ed", "1 2"]}


@pytest.mark.parametrize("structured", [True, False])
def test_lists_are_asked_for_by_a_schema(structured):
    task = parse_task({"name": "t", "labels": ["sour", "sweet"], "prompt": 'A {label} text: "'}, "t")
    with serve(items, structured) as stub:
        generator = chat(stub)
        values = attribute_values(Run(task, generator), AttributesConfig(attributes="elicited", similar_classes=0))
        words = expanded(Run(task, generator), SynthConfig(task="sst2", expand_words="model")).words
        generator.close()
    assert values == {
        name: {label: tuple(f"{label} {name} {at}" for at in range(3)) for label in task.labels}
        for name in ("topic", "mood")
    }
    assert words == {label: (label, f"pre{label}") for label in task.labels}
    asked = [request["body"] for request in stub.requests]
    assert sum("response_format" in body for body in asked) == (len(asked) if structured else 1)
    assert {body["max_tokens"] for body in asked} == {320, 96}
    assert not any("stop" in body or body["messages"][0]["content"].endswith('["') for body in asked)


def test_a_list_that_fits_no_schema_is_dropped_and_counted():
    task = parse_task({"name": "t", "labels": ["sour", "sweet"], "prompt": 'A {label} text: "'}, "t")

    def write(prompt, rng):
        return "Let me think." if rng.random() < 0.5 else items(prompt, rng)

    with serve(write, structured=False) as stub:
        run = Run(task, chat(stub))
        config = AttributesConfig(attributes="elicited", dimensions={"mood": "class-dependent"}, similar_classes=0)
        assert set(attribute_values(run, config)) == {"mood"}
        run.generator.close()
    counts = run.ledger.stage("attributes")
    assert counts.dropped["no list"] == counts.asked - counts.kept > 0


@pytest.mark.parametrize("text", ['["a b", "c, d"]', "1. a b\n2. c, d", '["a b", "c, d"]\n\nThese differ.'])
def test_a_list_that_fits_no_schema_is_read_where_the_server_has_none(text):
    task = parse_task({"name": "t", "labels": ["sour", "sweet"], "prompt": 'A {label} text: "'}, "t")
    with serve(lambda prompt, rng: text, structured=False) as stub:
        run = Run(task, chat(stub))
        config = AttributesConfig(attributes="elicited", dimensions={"mood": "class-independent"}, similar_classes=0)
        assert attribute_values(run, config) == {"mood": ("a b", "c, d")}
        run.generator.close()


@pytest.mark.parametrize("finish", ["length", "malformed"])
def test_of_a_list_that_the_token_limit_cut_the_whole_items_are_taken(finish):
    class Cut(Kept):
        def complete(self, prompts, **settings):
            return [Completion('{"items":["a b","c, d","e', finish=finish) for _ in prompts]

    task = parse_task({"name": "t", "labels": ["sour", "sweet"], "prompt": 'A {label} text: "'}, "t")
    config = AttributesConfig(attributes="elicited", dimensions={"mood": "class-independent"}, similar_classes=0)
    assert attribute_values(Run(task, Cut(True)), config) == {"mood": ("a b", "c, d")}


class Kept(ScriptedGenerator):
    """Keeps decoding settings."""

    def __init__(self, held):
        super().__init__(lambda prompt, rng: f"a film of {rng.random()} words" + '"')
        self.takes_schema, self.decoding = held, []

    def complete(self, prompts, *, seed, batch_size, **decoding):
        self.decoding.append(decoding)
        return super().complete(prompts, seed=seed, batch_size=batch_size, **decoding)


@pytest.mark.parametrize("held", [True, False])
def test_what_has_no_schema_is_asked_as_before(held):
    """Chunk keys hold the decoding settings, so these of other tasks are what they were."""
    run = Run(load_task("sst2"), Kept(held), num_rows=4)
    method = get("zerogen")
    assert len(list(method.generate(run, method.config()))) == 4
    names = ("max_new_tokens", "stop", "debias", "temperature", "top_k", "top_p", "chat")
    values = (40, ('"',), 200.0, 1.0, 0, 0.9, True)
    assert [*run.generator.decoding[-1].items()] == [*zip(names, values, strict=True)]


def test_a_generator_has_either_a_schema_or_stop_strings():
    both, neither = {"schema": {}, "stop": ("]",), "top_p": 1}, {"stop": ("]",)}
    assert takes_schema(SimpleNamespace(takes_schema=True))
    assert not takes_schema(SimpleNamespace(takes_schema=False))
    assert not takes_schema(ScriptedGenerator(lambda prompt, rng: ""))
    assert settled(Kept(True), both) == {"schema": {}, "top_p": 1}
    assert settled(Kept(False), both) == {"stop": ("]",), "top_p": 1}
    assert settled(Kept(True), neither) is neither
