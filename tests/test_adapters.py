"""Adapters: what is trained, what stays, what comes back from disk, and that the engine answers as peft does."""

import json
import math

import pytest
import torch
from conftest import saved, word_tokenizer
from peft import PeftModel
from safetensors.torch import load_file
from tokenizers import processors
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    OlmoConfig,
    OlmoForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from hf_synth import InputError, LocalGenerator, Prompt, Task
from hf_synth.adapters import attach
from hf_synth.adapters.folder import open_adapter
from hf_synth.adapters.settings import Adapt, TuningConfig
from hf_synth.generators.encoding import Encoding
from hf_synth.generators.tuning import open_model, preferences, tune
from hf_synth.models import weights_digest
from hf_synth.shots import Shot

KINDS = Adapt.__args__
WORDS = {"positive": "good great fine", "negative": "bad awful dull"}
TEXTS = {"positive": ["the film is good", "a great story"], "negative": ["the film is awful", "a dull plot"]}
TASK = Task(name="t", labels=WORDS, prompt='the {label} review is "')


def shots_of(stop='"'):
    return [Shot(Prompt(TASK.render(label), label), text, text + stop) for label, own in TEXTS.items() for text in own]


def generator(folder, adapter=None, **kwargs):
    found = adapter and open_adapter(str(adapter), weights_digest(folder))
    return LocalGenerator(
        str(folder), name="tiny", digest=weights_digest(folder), dtype=torch.float32, adapter=found, **kwargs
    )


def tuned(folder, out, **settings):
    out.mkdir()
    settings = {"tune_epochs": 6.0, "tune_learning_rate": 0.01, **settings}
    facts = {"name": "tiny", "sha256": weights_digest(folder)}
    return tune(str(folder), facts, shots_of(), TuningConfig(**settings), out, 0)


def asked(generator, cells=("positive", "negative", None), **decoding):
    prompts = [Prompt(f'the {cell or "good"} review is "', cell) for cell in cells for _ in range(3)]
    settings = {"seed": 1, "batch_size": 4, "max_new_tokens": 8, "stop": ('"',), **decoding}
    return [(one.text, round(one.logprob, 3)) for one in generator.complete(prompts, **settings)]


@pytest.mark.parametrize("model", ["causal", "seq2seq"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_adapter_answers_as_it_did_and_the_model_is_as_it_was(kind, model, request, tmp_path, one_thread):
    folder = request.getfixturevalue(f"{model}_folder")
    record = tuned(folder, tmp_path / "a", adapt=kind)
    if model == "causal":  # the random T5 is too wild to fall every time
        assert record["loss"]["default"][1] < record["loss"]["default"][0]
    ours, again, plain = generator(folder, tmp_path / "a"), generator(folder, tmp_path / "a"), generator(folder)
    found = asked(ours)
    assert found == asked(again)
    assert found[:6] != asked(plain)[:6]
    assert found[6:] == asked(plain)[6:]  # what asks for no row is answered without the adapter
    assert ours.digest != plain.digest
    ours._adapters.use(None)
    whole = dict(ours.model.named_parameters())
    for name, value in plain.model.named_parameters():
        kept = whole.get(name, whole.get(f"{name.removesuffix('.weight')}.base_layer.weight"))
        assert torch.equal(kept, value), name


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_was_chosen_is_trained(kind, causal_folder, tmp_path):
    model, tokenizer = open_model(str(causal_folder))
    before = {id(value) for value in model.parameters()}
    adapters = attach(model, kind, TuningConfig(adapt=kind).size)
    adapters.add("default", tokenizer("the review is").input_ids)
    trains = {name for name, value in adapters.trained.named_parameters() if value.requires_grad}
    own = {id(value) for value in adapters.own("default").values()}
    assert trains
    assert {id(v) for v in adapters.trained.parameters() if v.requires_grad} == own
    if kind in ("last_layer", "embeddings"):
        assert own < before
        wanted = "layers.1." if kind == "last_layer" else "embed_tokens"
        assert all(wanted in name for name in trains)
    else:
        assert not own & before


def test_one_step_is_learnt_from(causal_folder, tmp_path):
    """Four rows, eight a step, one epoch: a warm-up of a tenth, rounded up, is all of it, at rate 0."""
    tuned(causal_folder, tmp_path / "a", tune_epochs=1.0)
    weights = load_file(tmp_path / "a" / "adapter_model.safetensors")
    assert any(value.any() for name, value in weights.items() if "lora_B" in name)  # these start at 0


@pytest.fixture(scope="module")
def tame_folder(tmp_path_factory):
    """A T5 of smaller weights: those of `seq2seq_folder` make a tenth of a unit of the rounding of some processors."""
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "initializer_factor": 2.0}
    ids = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
    return saved(tmp_path_factory.mktemp("tame"), T5ForConditionalGeneration, T5Config, **sizes, **ids)


@pytest.mark.parametrize("kind", ["lora", "prefix", "prompt", "bias", "bottleneck", "last_layer"])
@pytest.mark.parametrize("model", ["causal", "seq2seq"])
def test_scores_are_those_of_the_trained_model(kind, model, causal_folder, tame_folder, tmp_path, one_thread):
    """The engine reads prefixes and soft tokens its own way; peft's way gives the same likelihood."""
    folder = {"causal": causal_folder, "seq2seq": tame_folder}[model]
    tuned(folder, tmp_path / "a", adapt=kind)
    ours = generator(folder, tmp_path / "a")
    prompts, texts = [TASK.render("positive")] * 2, ["the plot is dull and bad", "fine"]
    found = ours.score(prompts, texts, batch_size=2)
    pairs = ours.encoding.pairs(prompts, texts)
    ours._adapters.use("default")
    expected = []
    for head, tail in pairs:
        if model == "seq2seq":
            mask = torch.ones(1, len(head), dtype=torch.long)
            inputs = {"input_ids": torch.tensor([head]), "attention_mask": mask, "labels": torch.tensor([tail])}
        else:
            ids = torch.tensor([[*head, *tail]])
            labels = torch.tensor([[-100] * len(head) + tail])
            inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
        with torch.no_grad():
            expected.append(-ours._adapters.trained.eval()(**inputs).loss.item())
    assert found == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("kind", ["prefix", "prompt"])
def test_both_ways_of_reading_answer_alike(kind, causal_folder, tmp_path, one_thread):
    tuned(causal_folder, tmp_path / "a", adapt=kind)
    rows, plain = generator(causal_folder, tmp_path / "a"), generator(causal_folder, tmp_path / "a")
    plain._rows_agree = False
    assert rows._rows_agree
    assert asked(rows, temperature=0.0) == asked(plain, temperature=0.0)


@pytest.mark.parametrize("kind", ["lora", "prefix", "bias", "bottleneck", "last_layer"])
def test_each_label_has_its_own_and_one_model_serves_all(kind, causal_folder, tmp_path, one_thread):
    record = tuned(causal_folder, tmp_path / "a", adapt=kind, per_label=True)
    steered = [Prompt("the film", "positive", against=("the play",))]
    with pytest.raises(InputError, match="by parameters of its own, which other labels' prompts are not for"):
        generator(causal_folder, tmp_path / "a").complete(steered, seed=0, batch_size=1)
    assert record["names"] == ["label-positive", "label-negative"]
    ours = generator(causal_folder, tmp_path / "a")
    mixed = asked(ours, ("positive", "negative", "positive"))
    assert mixed[:3] != mixed[3:6]
    alone = generator(causal_folder, tmp_path / "a")
    assert asked(alone, ("positive",)) == mixed[:3]  # whatever else is in the chunk
    model, tokenizer = open_model(str(causal_folder))
    adapters, ids = attach(model, kind, TuningConfig(adapt=kind).size), tokenizer("the review").input_ids
    adapters.add("one", ids)
    first = {id(value) for value in model.parameters()}
    adapters.add("two", ids)
    own = sum(value.numel() for value in adapters.own("two").values())
    grown = sum(value.numel() for value in model.parameters() if id(value) not in first)
    assert grown <= own  # another label costs its own parameters, not a model


def test_a_prefix_from_a_prompt_says_what_the_prompt_says(causal_folder):
    model, tokenizer = open_model(str(causal_folder))
    ids, rest = tokenizer("the good film review is").input_ids, torch.tensor([tokenizer(" a story").input_ids])
    model = model.float()
    adapters = attach(model, "prefix", len(ids))
    adapters.add("default", ids)
    with torch.no_grad():
        expected = model(torch.cat([torch.tensor([ids]), rest], 1)).logits[:, len(ids) :]
        found = adapters.trained.eval()(rest, attention_mask=torch.ones_like(rest)).logits
    assert (found - expected).abs().max() < 1e-4


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks for what transformers renames
def test_peft_reads_what_was_written(causal_folder, tmp_path, one_thread):
    tuned(causal_folder, tmp_path / "a", adapt="lora")
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(causal_folder), str(tmp_path / "a"))
    ours = generator(causal_folder, tmp_path / "a")
    ours.load()
    ours._adapters.use("default")
    ids = torch.tensor([ours.tokenizer("the film is").input_ids])
    with torch.no_grad():
        assert (theirs.eval()(ids).logits - ours.model(ids).logits).abs().max() < 1e-4
    assert json.loads((tmp_path / "a" / "adapter_config.json").read_text())["base_model_name_or_path"] is None


def test_biases_of_a_model_that_has_some(tmp_path):
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
    folder = saved(tmp_path / "gpt2", GPT2LMHeadModel, GPT2Config, **sizes, eos_token_id=1, bos_token_id=None)
    model, _ = open_model(str(folder))
    adapters = attach(model, "bias", 0)
    adapters.add("default", [])
    assert all(name.endswith(".bias") for name in adapters.own("default"))
    assert tuned(folder, tmp_path / "a", adapt="bias")["library"] == "hf_synth"
    assert asked(generator(folder, tmp_path / "a"))[:6] != asked(generator(folder))[:6]


def test_nothing_to_train_is_refused_by_name(tmp_path):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    folder = saved(tmp_path / "olmo", OlmoForCausalLM, OlmoConfig, **sizes, eos_token_id=1, pad_token_id=0)
    with pytest.raises(
        InputError, match="`adapt: bias` does not know the layers of OlmoForCausalLM .*`bottleneck`, .* fit any model"
    ):
        tuned(folder, tmp_path / "a", adapt="bias")


def test_a_preferred_prompt_has_one_start():
    """Chat templates begin with it, and TRL's tokenizing too."""
    tokenizer = word_tokenizer()
    tokenizer.bos_token = "<unk>"
    tokenizer._tokenizer.post_processor = processors.TemplateProcessing("<unk> $A", special_tokens=[("<unk>", 2)])
    tokenizer.chat_template = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"
    shots = [Shot(Prompt(f"a {label} film\n", label), "fine", "fine", chat=True) for label in ("good", "bad")]
    for shot, row in zip(shots, preferences(tokenizer, shots, shots, 0), strict=True):
        asked = Encoding(tokenizer).prompt(shot.prompt.text, True)
        assert tokenizer(row["prompt"]).input_ids == asked
        assert asked.count(2) == 1


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_preferences_raise_the_margin_between_labels(causal_folder, tmp_path, one_thread):
    def margin(folder):
        ours = generator(causal_folder, folder)
        ours.load()
        total = 0.0
        for label, other in (("positive", "negative"), ("negative", "positive")):
            ours._adapters.use("default")
            for text, sign in ((TEXTS[label][0], 1), (TEXTS[other][0], -1)):
                head, tail = ours.encoding.split(TASK.render(label), text)
                ids = torch.tensor([[*head, *tail]])
                with torch.no_grad():
                    loss = ours.model(ids, labels=torch.tensor([[-100] * len(head) + tail])).loss.item()
                total -= sign * loss
        return total

    tuned(causal_folder, tmp_path / "a", adapt="lora")
    tuned(causal_folder, tmp_path / "b", adapt="lora", prefer_epochs=20.0)
    assert margin(tmp_path / "b") > margin(tmp_path / "a")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"adapt": "prefix", "prefer_epochs": 1.0}, "`prefer_epochs` is for `adapt: lora` and `dora`; got 'prefix'"),
        (
            {"adapt": "lora", "prefer_epochs": 1.0, "per_label": True},
            "`prefer_epochs` is for one adapter of all labels",
        ),
        ({"adapt": "bias", "adapter_size": 3}, "`adapter_size`: `adapt: bias` has none; got 3"),
    ],
)
def test_settings_that_do_not_go_together(settings, sentence, causal_folder, tmp_path):
    with pytest.raises(InputError, match=sentence):
        tuned(causal_folder, tmp_path / "a", **settings)


def test_an_adapter_of_another_model_is_refused(causal_folder, seq2seq_folder, tmp_path):
    tuned(causal_folder, tmp_path / "a", adapt="prompt")
    with pytest.raises(InputError, match="'.*' belongs to tiny .*; the model's weights have sha256"):
        generator(seq2seq_folder, tmp_path / "a")
    with pytest.raises(InputError, match="holds no adapter.json: `hf-synth tune` writes such folders"):
        open_adapter(str(causal_folder), "x")
    with pytest.raises(InputError, match="'no/such' is no folder, and from the Hub"):
        open_adapter("no/such", "x")
    (tmp_path / "a" / "adapter.json").write_text("{")
    with pytest.raises(InputError, match=r"adapter.json of '.*' cannot be read: "):
        open_adapter(str(tmp_path / "a"), "x")


def test_labels_with_dots_and_slashes(causal_folder, tmp_path, one_thread):
    shots = [Shot(Prompt(f'the {label} review is "', label), "fine", 'fine"') for label in ("Sci/Tech", "v1.0")]
    out = tmp_path / "a"
    out.mkdir()
    for kind in ("lora", "bottleneck"):
        facts = {"name": "tiny", "sha256": weights_digest(causal_folder)}
        tune(str(causal_folder), facts, shots, TuningConfig(adapt=kind, per_label=True), out, 0)
        ours = generator(causal_folder, out)
        assert [ours.adapter.of(label) for label in ("Sci/Tech", "v1.0", "other", None)][2:] == [None, None]
        assert all(math.isfinite(one[1]) for one in asked(ours, ("Sci/Tech", "v1.0")))


@pytest.mark.parametrize("kind", ["lora", "prefix", "bottleneck", "last_layer"])
def test_each_label_has_its_own_set_whatever_it_is_called(kind, causal_folder, tmp_path, one_thread):
    """Labels may be called as attributes or parts of a module are, or differ in a dot alone."""
    labels = ("default", "type", "model", "weight", "self_attn", "", "a.b", "a_b", "ü/é ☃")
    shots = [Shot(Prompt(f'the {label} review is "', label), "fine", 'fine"') for label in labels]
    out = tmp_path / "a"
    out.mkdir()
    facts = {"name": "tiny", "sha256": weights_digest(causal_folder)}
    settings = TuningConfig(adapt=kind, per_label=True, tune_learning_rate=0.01)
    record = tune(str(causal_folder), facts, shots, settings, out, 0)
    ours = generator(causal_folder, out)
    assert len({ours.adapter.of(label) for label in labels}) == len(labels) == len(record["names"])
    assert ours.adapter.of("other") is None
    ours.load()
    sizes = {sum(value.numel() for value in ours._adapters.own(name).values()) for name in record["names"]}
    assert sizes == {record["parameters"]}
    for label in labels:
        [alone, plain] = (
            list(made.complete([Prompt("the review is", label)], seed=0, batch_size=1, max_new_tokens=4))
            for made in (ours, generator(causal_folder))
        )
        assert alone != plain, label


def test_a_label_that_has_no_set_is_refused(causal_folder, tmp_path, one_thread):
    tuned(causal_folder, tmp_path / "a", adapt="prefix", per_label=True)
    found = open_adapter(str(tmp_path / "a"), weights_digest(causal_folder))
    found.check_labels(["negative"])
    with pytest.raises(InputError, match="a set for each of .*negative, and none for 'sports'"):
        found.check_labels(["negative", "sports"])
    tuned(causal_folder, tmp_path / "all", adapt="prefix")
    open_adapter(str(tmp_path / "all"), weights_digest(causal_folder)).check_labels(["sports"])


def test_an_adapter_at_home_goes_by_its_last_part(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "kept").mkdir()
    record = {"adapt": "lora", "names": ["default"], "model": {"name": "m", "sha256": "w"}}
    (tmp_path / "kept/adapter.json").write_text(json.dumps(record))
    (tmp_path / "kept/adapter_model.safetensors").write_bytes(b"weights")
    assert open_adapter("~/kept", "w").name == "kept"
