"""FewGen: what is weighed and how, and rows from a few shots, end to end."""

import json
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch
from conftest import saved
from datasets import ClassLabel, Dataset, load_dataset
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CTRLConfig, CTRLLMHeadModel, LlamaConfig, LlamaForCausalLM

from hf_synth import InputError, LocalGenerator, Prompt, Run, ScriptedGenerator, Task, build
from hf_synth.adapters.folder import open_adapter
from hf_synth.adapters.prefixes import Prefixes
from hf_synth.adapters.settings import MetaConfig
from hf_synth.filters.copies import Copies, fingerprints
from hf_synth.generators import metatuning, mixtuning, tuning
from hf_synth.generators.encoding import Encoding
from hf_synth.generators.metatuning import (
    Batch,
    MetaTuner,
    WeightNet,
    discrimination_losses,
    generation_losses,
    parts,
    text_discrimination,
    text_of,
    tune_prefixes,
)
from hf_synth.models import weights_digest
from hf_synth.produce import Plan, examples
from hf_synth.records import Example
from hf_synth.settings import SynthConfig
from hf_synth.shots import Shot, shots_of, tuned
from hf_synth.tasks import load_task
from hf_synth.work import HIDDEN, Work

YAML = """
labels: {negative: bad awful dull, positive: good great fine}
columns: text
prompt: 'a movie is {label}. review of {opening}: "'
score_prompt: 'the {label} movie review is "'
opening: {values: [the film]}
min_words: 2
max_new_tokens: 12
"""
PAIRS = """
kind: pair
columns: [first, second]
labels: {y: good, n: bad}
prompt: 'the film "{first}" is {label} and "'
opening: {prompt: 'a movie: "', corpus: {path: CORPUS, column: first}}
min_words: 1
max_new_tokens: 8
debias: false
"""
TUNING = {"tune_epochs": 2, "shots_per_class": 3, "attempts": 1}


def tiny(heads=4):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_key_value_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=60, num_attention_heads=heads, **sizes)).eval().double()
    return model.requires_grad_(False)


@pytest.fixture
def prefixes():
    """Two labels with prefixes and infixes of different lengths, moved off where they began."""
    found = Prefixes(tiny())
    found.add("a", [3, 4, 5, 6], [7, 8])
    found.add("b", [9, 10], [11])
    found.double()
    with torch.no_grad():
        for value in found.parameters():
            value.add_(0.1 * torch.randn_like(value))
    return found


@pytest.fixture
def batch():
    targets = torch.tensor([[30, 31, 32, 33], [34, 35, -100, -100], [36, 37, 38, -100]])
    return Batch(["a", "b", "a"], [[20, 21], [22], [23, 24, 25]], targets)


@pytest.fixture
def real(tmp_path):
    """Real rows, as a folder that `load_dataset` reads."""
    sides = {"negative": "a bad plot of no fine", "positive": "a good story with great"}
    rows = [(f"{words} {word}", label) for label, words in sides.items() for word in ("film", "plot", "story", "was")]
    data = Dataset.from_dict({"text": [text for text, _ in rows], "label": [label for _, label in rows]})
    (tmp_path / "real").mkdir()
    data.cast_column("label", ClassLabel(names=[*sides])).to_parquet(tmp_path / "real" / "train.parquet")
    return tmp_path / "real"


@pytest.fixture
def task(tmp_path):
    (tmp_path / "t.yaml").write_text(YAML)
    return str(tmp_path / "t.yaml")


def test_prefix_and_infix_begin_as_their_tokens():
    model = tiny()
    prefixes = Prefixes(model)
    prefixes.add("a", [3, 4, 5, 6], [7, 8])
    found = prefixes.double()(["a"], [[20, 21]], torch.tensor([[30, 31, 32]]))["logits"]
    expected = model(torch.tensor([[3, 4, 5, 6, 20, 21, 7, 8, 30, 31]])).logits[:, 7:]
    assert (found - expected).abs().max() < 1e-4  # kept in float32
    assert not set(map(id, prefixes.parameters())) & set(map(id, model.parameters()))


def test_rows_of_different_lengths_do_not_meet(prefixes, batch):
    together = prefixes(**batch.inputs)["logits"]
    for at in range(3):
        alone = Batch(batch.names[at : at + 1], batch.heads[at : at + 1], batch.targets[at : at + 1])
        assert torch.allclose(prefixes(**alone.inputs)["logits"][0], together[at], atol=1e-10)


@pytest.mark.parametrize("normalize", ["sample", "batch"])
def test_the_slope_is_that_of_differentiating_twice(prefixes, batch, normalize):
    tuner = MetaTuner(prefixes, MetaConfig(normalize=normalize), 10)
    tuner.net.double()
    losses = generation_losses(prefixes(**batch.inputs)["logits"], batch.targets)
    seen = tuner.discrimination(batch, losses.detach())
    tuner.slope(batch, losses, seen).backward()
    ours = [value.grad.clone() for value in tuner.net.parameters()]
    tuner.net.zero_grad()
    with sdpa_kernel(SDPBackend.MATH):
        weights = tuner.net(seen, batch.mask, normalize)
        losses = generation_losses(prefixes(**batch.inputs)["logits"], batch.targets)
        named = dict(prefixes.named_parameters())
        slopes = torch.autograd.grad((weights * losses).sum(-1).mean(), list(named.values()), create_graph=True)
        ahead = {name: at - 0.02 * slope for (name, at), slope in zip(named.items(), slopes, strict=True)}
        logits = [
            functional_call(prefixes, ahead, (), batch.under(["a", "b"], at).inputs)["logits"] for at in range(3)
        ]
        found = [text_discrimination(one, batch.targets[at : at + 1]) for at, one in enumerate(logits)]
        torch.cat(found).mean().backward()
    for mine, value in zip(ours[:3], list(tuner.net.parameters())[:3], strict=True):
        assert value.grad.abs().max() > 1e-7
        assert (mine - value.grad).abs().max() < 1e-5 * value.grad.abs().max()


def test_discrimination_compares_the_labels_of_each_token():
    losses = torch.tensor([[[0.5, 2.0], [1.5, 2.0]]])  # one row, two labels, two tokens
    found = discrimination_losses(losses, torch.tensor([0]))
    p = torch.exp(torch.tensor([-0.5, -1.5]))
    assert found[0, 0].item() == pytest.approx(-torch.log(p[0] / p.sum()).item())
    assert found[0, 1].item() == pytest.approx(0.6931, abs=1e-4)  # a token that tells nothing: log 2


def test_weights_sum_to_one_over_a_sample_and_padding_weighs_nothing(batch):
    seen = torch.randn(3, 4)
    weights = WeightNet()(seen, batch.mask, "sample")
    assert torch.allclose(weights.sum(-1), torch.ones(3))
    assert not weights[~batch.mask].any()
    assert WeightNet()(seen, batch.mask, "batch").sum().item() == pytest.approx(3)


@pytest.mark.filterwarnings("error")
def test_without_meta_weighting_tokens_count_alike(prefixes, batch):
    tuner = MetaTuner(prefixes, MetaConfig(meta_weighting=False), 10)
    before = {name: value.clone() for name, value in prefixes.named_parameters()}
    losses = generation_losses(prefixes(**batch.inputs)["logits"], batch.targets)
    expected = torch.stack([losses[at][batch.mask[at]].mean() for at in range(3)]).mean()
    slopes = torch.autograd.grad(expected, list(prefixes.parameters()), allow_unused=True)
    net = {name: value.clone() for name, value in tuner.net.named_parameters()}
    tuner.step(batch)
    # AdamW's first step goes against the sign of each slope.
    for (name, value), slope in zip(prefixes.named_parameters(), slopes, strict=True):
        moved, large = before[name] - value, slope.abs() > 1e-4
        assert torch.equal(moved[large].sign(), slope[large].sign())
    assert all(torch.equal(value, net[name]) for name, value in tuner.net.named_parameters())


def test_tuning_tells_the_labels_apart(causal_folder, tmp_path, one_thread):
    words = {
        "positive": ["good great fine story", "great fine good film"],
        "negative": ["bad awful dull plot", "awful bad was"],
    }
    shots = [
        Shot(Prompt('the movie review is "', label), text, f'{text}"') for label, own in words.items() for text in own
    ]
    generator = LocalGenerator(str(causal_folder), name="tiny", digest=weights_digest(causal_folder))
    config = MetaConfig(tune_epochs=15, tune_learning_rate=0.02)
    first, last = tune_prefixes(generator, shots, config, tmp_path, 0)["loss"].values()
    assert last["generation"] < first["generation"]
    assert last["discrimination"] < 0.8 * first["discrimination"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_model_is_tuned_in_the_type_that_was_asked_for(
    dtype, causal_folder, student_folder, real, task, tmp_path, monkeypatch
):
    opened, plain = [], tuning.open_model
    for module in (metatuning, mixtuning):
        monkeypatch.setattr(module, "open_model", lambda *args: opened.append(plain(*args)) or opened[-1])
    settings = {"task": str(task), "model": str(causal_folder), "shots": str(real), "shots_per_class": 3}
    place = {"backend_args": {"dtype": dtype, "device": "cpu"}, "tune_epochs": 1, "num_rows": 2}
    for method, own in (("fewgen", {"attempts": 1}), ("msp", {"encoder": str(student_folder)})):
        build(method, cache_dir=str(tmp_path / method), **settings, **place, **own)
    assert [(str(model.dtype), str(model.device)) for model, _ in opened] == [(f"torch.{dtype}", "cpu")] * 2


def test_rows_come_copies_go_and_nothing_is_tuned_twice(causal_folder, real, task, tmp_path, monkeypatch, one_thread):
    settings = {"task": task, "model": str(causal_folder), "num_rows": 24, "shots": str(real), **TUNING}
    rows = build("fewgen", cache_dir=str(tmp_path / "a"), **settings)
    assert sorted(set(rows["label"])) == [0, 1]
    assert len(rows) == 24
    assert not set(rows["text"]) & set(load_dataset(str(real), split="train")["text"])
    runs = list((tmp_path / "a").rglob("journal/once/prefixes-*/adapter.json"))
    record = json.loads(runs[0].read_text())
    assert (record["names"], record["rows"]) == (["label-negative", "label-positive"], 6)
    assert "/" not in json.dumps(record["model"])
    assert set(rows["model_sha256"]) != {weights_digest(causal_folder)}  # the prefixes are part of what wrote them
    monkeypatch.setattr(metatuning, "tune_prefixes", None)
    more = build("fewgen", cache_dir=str(tmp_path / "a"), **{**settings, "num_rows": 30})
    assert more[:24]["text"] == rows["text"]


def test_those_stay_that_tell_their_label_best(causal_folder, real, task, tmp_path, one_thread):
    """Of the same pool; judged by the tuned generator itself, under each label's own prefix."""
    settings = {"task": task, "model": str(causal_folder), "shots": str(real), **TUNING, "seed": 3}
    best = build("fewgen", cache_dir=str(tmp_path / "a"), num_rows=16, **{**settings, "attempts": 3})
    folder = next((tmp_path / "a").rglob("journal/once/prefixes-*"))
    digest = weights_digest(causal_folder)
    ours = LocalGenerator(str(causal_folder), name="t", digest=digest, adapter=open_adapter(str(folder), digest))

    def told(rows):
        names = rows.features["label"].names
        scores = [
            ours.score([Prompt('"', name)] * len(rows), [text + '"' for text in rows["text"]], batch_size=8)
            for name in names
        ]
        own = [scores[label][at] - scores[1 - label][at] for at, label in enumerate(rows["label"])]
        return sorted(own), rows["label"]

    kept, labels = told(best)
    assert labels.count(0) == labels.count(1) == 8
    pool = build("fewgen", cache_dir=str(tmp_path / "a"), num_rows=48, **settings)
    assert set(best["text"]) <= set(pool["text"])
    rest, _ = told(pool)
    assert sum(kept) / 16 > sum(rest) / 48
    assert min(kept) >= rest[len(rest) // 3]


def test_pairs_go_on_from_the_given_text(causal_folder, tmp_path, one_thread):
    given = [f"the {word} film" for word in ("good", "bad", "fine", "dull", "great", "awful")]
    data = Dataset.from_dict({"first": given, "second": ["story", "plot"] * 3, "label": [0, 1] * 3})
    for name in ("real", "corpus"):
        (tmp_path / name).mkdir()
        data.cast_column("label", ClassLabel(names=["y", "n"])).to_parquet(tmp_path / name / "train.parquet")
    (tmp_path / "p.yaml").write_text(PAIRS.replace("CORPUS", str(tmp_path / "corpus")))
    settings = {"task": str(tmp_path / "p.yaml"), "model": str(causal_folder), "shots": str(tmp_path / "real")}
    rows = build("fewgen", cache_dir=str(tmp_path / "a"), num_rows=8, openings="corpus", **settings, **TUNING)
    assert set(rows["first"]) <= set(given)
    assert len(rows) == 8


def test_a_prompt_becomes_prefix_text_and_infix(causal_folder):
    tokenizer = LocalGenerator(str(causal_folder), name="tiny", digest="x").tokenizer
    shot = Shot(Prompt('the film "plot" is good and "', "yes", {"first": "plot"}), "fine", 'fine"')
    first, given, infix = parts(tokenizer, shot)
    assert tokenizer.decode([*first, *given, *infix]) == shot.prompt.text
    assert (tokenizer.decode(first), tokenizer.decode(given)) == ('the film "', "plot")
    single = Shot(Prompt('the review is "', "yes"), "fine", 'fine"')
    first, end, infix = parts(tokenizer, single)
    assert (tokenizer.decode(first + end), text_of(tokenizer, single), infix) == ('the review is "', '"', [])


def test_a_tuning_prompt_of_a_chat_task_is_learnt_in_the_template_it_is_asked_in(causal_folder):
    template = "{% for m in messages %}<{{ m.content }}>{% endfor %}{% if add_generation_prompt %}:{% endif %}"
    tokenizer = LocalGenerator(str(causal_folder), name="t", digest="x").tokenizer
    tokenizer.chat_template = template
    task = Task(name="t", labels={"a": "good", "b": "bad"}, prompt="x {label}", chat=True, tuning_prompt='{label}\n"')
    [shot] = shots_of(tuned(task), Dataset.from_dict({"text": ["fine"], "label": ["a"]}), 0)
    encoding = Encoding(tokenizer)
    asked = encoding.prompt('good\n"', True)
    assert encoding.split(shot.prompt.text, shot.answer, shot.chat)[0] == asked
    first, end, _ = parts(tokenizer, shot)
    assert first + end == asked
    assert tokenizer.decode(asked) == '<good>:"'
    plain = Task(name="t", labels={"a": "good", "b": "bad"}, prompt='{label}\n"', chat=True)
    assert not tuned(plain).chat  # a prompt that was not written for tuning stands outside the template


def test_a_model_with_control_codes(tmp_path, one_thread):
    """CTRL, the paper's generator: attention of its own, no start and no end token."""
    sizes = {"n_embd": 32, "dff": 64, "n_layer": 2, "n_head": 4, "n_positions": 128, "tie_word_embeddings": True}
    folder = saved(tmp_path / "ctrl", CTRLLMHeadModel, CTRLConfig, **sizes)
    task = tuned(Plan.of(SynthConfig(task="sst2")).task)
    rows = Dataset.from_dict({"sentence": ["a good film", "a dull plot"], "label": ["positive", "negative"]})
    digest = weights_digest(folder)
    (tmp_path / "a").mkdir()
    plain = LocalGenerator(str(folder), name="c", digest=digest)
    tune_prefixes(plain, shots_of(task, rows, 0), MetaConfig(), tmp_path / "a", 0)
    ours = LocalGenerator(str(folder), name="c", digest=digest, adapter=open_adapter(str(tmp_path / "a"), digest))
    found = ours.complete([Prompt('"', "positive")] * 3, seed=0, batch_size=2, max_new_tokens=5)
    assert [one.tokens for one in found] == [5, 5, 5]
    ours._rows_agree = not ours._rows_agree
    again = ours.complete([Prompt('"', "positive")] * 3, seed=0, batch_size=2, max_new_tokens=5)
    assert [one.text for one in again] == [one.text for one in found]  # whichever way the engine reads


def test_copies_of_shots_are_dropped_and_overlaps_counted():
    shot = "One two three, four five six seven eight nine."
    copies = Copies(fingerprints([shot]), "text")
    texts = ["one two three four five six seven eight nine", "so two three four five six seven eight nine", "one two"]
    found = copies([Example({"text": text}, "a", "a", Prompt("x")) for text in texts])
    assert found == ["copy of a shot", None, None]
    published = [Example({"text": texts[1]}, "a", "a", Prompt("x"))]  # what goes later for another reason is no row
    assert list(copies.counted(published)) == published
    assert list(copies.note().values()) == [3, 1, 0.3333, 1.0]


@pytest.mark.parametrize("kind", ["single", "pair"])
def test_a_real_row_that_was_repeated_is_not_published_as_a_reject(kind, tmp_path):
    """Whatever it goes for: its second copy is a duplicate of the first, and a row of few words is too short."""
    secrets = ["What a patient said!", "Gout."]
    opening = {"opening": {"values": ["a film"]}, "columns": ["first", "text"]} if kind == "pair" else {}
    task = {"name": "t", "kind": kind, "labels": {"a": "x", "b": "y"}, "prompt": "{label}", "min_words": 2, **opening}
    (tmp_path / "t.yaml").write_text(json.dumps(task))
    answers = cycle([*secrets, "two words", secrets[0], "two words", "one"])
    generator = ScriptedGenerator(lambda prompt, rng: next(answers) if rng.random() < 0.9 else f"text {rng.random()}")
    generator.adapter = SimpleNamespace(names=("default",), record={"fingerprints": fingerprints(secrets)})
    plan = Plan.of(SynthConfig(task=str(tmp_path / "t.yaml"), num_rows=8))
    run = Run(plan.task, generator, num_rows=8, chunk_size=16)
    Work(tmp_path, run).write(examples(plan, run))
    rejects = pq.read_table(tmp_path / "rejects.parquet").to_pylist()
    assert not [row for row in rejects if any(secret in row["text"] for secret in secrets)]
    shown = {row["reason"] for row in rejects if row["text"] == HIDDEN}
    assert shown == {"short", "duplicate", "copy of a shot"}
    assert {"one", "two words"} <= {row["text"].splitlines()[-1] for row in rejects}  # others are


def test_a_real_row_that_was_repeated_with_its_entities_marked_is_known():
    copies = Copies(fingerprints(["he has gout ."]), "tokens")
    assert copies.within("he has <Disease>gout</Disease>.")
    assert copies.within("He has gout\nand more")
    assert not copies.within("he has <Disease>flu</Disease>.")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "`shots` names the real rows to learn from"),
        ({"shots": ""}, "`shots` names the real rows to learn from"),
        ({"shots": "no/such"}, "`shots`: there is no folder 'no/such'"),
        (
            {"shots": "REAL", "shots_per_class": 9},
            "9 rows of each label are wanted, and the split train of real has 4",
        ),
        ({"shots": "REAL", "backend": "chat", "base_url": "http://localhost:1/v1"}, "`backend: local`"),
    ],
)
def test_bad_settings(settings, sentence, causal_folder, real, task, tmp_path):
    settings = {key: str(real) if value == "REAL" else value for key, value in settings.items()}
    with pytest.raises(InputError, match=sentence):
        build("fewgen", task=task, model=str(causal_folder), num_rows=4, cache_dir=str(tmp_path / "c"), **settings)


def test_rows_that_judge_and_a_tuned_model_are_no_start(causal_folder, real, task, tmp_path):
    """Few shots from the judged split would be learnt by heart; an adapter would be left out without a word."""
    own = tmp_path / "judged.yaml"
    own.write_text(Path(task).read_text() + f"reference: {{path: {real}, split: train}}\n")
    given = {"model": str(causal_folder), "shots": str(real), "num_rows": 4, "cache_dir": str(tmp_path / "c")}
    with pytest.raises(InputError, match="is judged on the split 'train' of"):
        build("fewgen", task=str(own), **given)
    with pytest.raises(InputError, match="fewgen tunes the model itself, not on top of an `adapter`"):
        build("fewgen", task=task, adapter="anything", **given)


@pytest.mark.parametrize("name", ["mnli", "rte", "mrpc", "qqp", "qnli"])
def test_the_prefix_of_a_packaged_pair_tells_its_label(name, causal_folder):
    task = tuned(load_task(name))
    tokenizer = LocalGenerator(str(causal_folder), name="t", digest="x").tokenizer
    rows = [{**dict.fromkeys(task.columns, "so it is"), task.label_column: label} for label in task.labels]
    prefixes = [tokenizer.decode(parts(tokenizer, shot)[0]) for shot in shots_of(task, Dataset.from_list(rows), 0)]
    assert len(set(prefixes)) == len(task.labels)
    assert all(len(prefix.split()) > 5 for prefix in prefixes)


def test_an_encoder_is_refused(seq2seq_folder, real, task, tmp_path):
    with pytest.raises(InputError, match="FewGen's prefixes stand before a decoder-only model"):
        build(
            "fewgen", task=task, model=str(seq2seq_folder), shots=str(real), shots_per_class=2, cache_dir=str(tmp_path)
        )


def test_a_task_of_openings_needs_a_prompt_that_a_row_can_fill():
    opening = {"values": ("x",)}
    task = Task(name="t", labels={"a": "x", "b": "y"}, prompt='{opening} {label}: "', opening=opening)
    with pytest.raises(InputError, match="'t' needs a `tuning_prompt` without {opening}, which no row tells"):
        tuned(task)
