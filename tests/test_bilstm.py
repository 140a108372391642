import json
import math
import os
import subprocess
import sys

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, TrainingArguments

from hf_synth.settings import StudentConfig
from hf_synth.students import BiLSTMConfig, BiLSTMForSequenceClassification, build_tokenizer
from hf_synth.trainers.weighted import WeightedTrainer

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = ["A fine film", "a dull dull film , truly", "Fine", "truly a waste of a fine cast and of time"]
SIZES = {"embedding_size": 12, "hidden_size": 8}


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(TEXTS)


def build(tokenizer, pairs=False, **settings):
    torch.manual_seed(0)
    config = BiLSTMConfig(vocab_size=len(tokenizer), num_labels=3, pairs=pairs, **SIZES | settings)
    return BiLSTMForSequenceClassification(config).eval()


def batch(tokenizer, pairs=False, **settings):
    second = (list(reversed(TEXTS)),) if pairs else ()
    return tokenizer(TEXTS, *second, padding=True, return_tensors="pt", **settings)


# Tokenizer


def test_tokenizer_lowers_and_splits_at_white_space_only(tokenizer):
    assert tokenizer.tokenize("A  FINE film, truly\n never") == ["a", "fine", "[UNK]", "truly", "[UNK]"]
    ids = tokenizer("A fine FILM")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["a", "fine", "film"]
    assert tokenizer.pad_token_id == 0


def test_vocabulary_keeps_the_most_frequent_words_and_is_repeatable():
    small = build_tokenizer(TEXTS, vocab_size=5)
    # "a" 4 times, "fine" 3; "dull", "film", "of" and "truly" 2 each, of which the first by name stays.
    assert small.get_vocab() == {"[PAD]": 0, "[UNK]": 1, "a": 2, "fine": 3, "dull": 4}
    assert build_tokenizer(TEXTS).get_vocab() == build_tokenizer(iter(TEXTS)).get_vocab()


def test_tokenizer_marks_the_second_text(tokenizer):
    assert tokenizer("a film", "a fine cast")["token_type_ids"] == [0, 0, 1, 1, 1]


# The model against PyTorch's own bidirectional, packed LSTM


def reference(model, ids, lengths):
    """Return the packed bidirectional LSTM's outputs `[N, T, 2H]` and last states `[N, 2H]`, same parameters."""
    config = model.config
    lstm = torch.nn.LSTM(config.embedding_size, config.hidden_size, config.num_layers, True, True, bidirectional=True)
    state = {}
    for number, layer in enumerate(model.layers):
        for suffix, half in (("", layer.forwards), ("_reverse", layer.backwards)):
            for name, parameter in half.named_parameters():
                state[name.replace("_l0", f"_l{number}{suffix}")] = parameter
    lstm.load_state_dict(state)
    packed = pack_padded_sequence(model.embeddings(ids), lengths, batch_first=True, enforce_sorted=False)
    outputs, (last, _) = lstm(packed)
    outputs, _ = torch.nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True)
    return outputs, torch.cat([last[-2], last[-1]], dim=-1)


@pytest.mark.parametrize("num_layers", [1, 2])
def test_one_text_equals_the_packed_bidirectional_lstm(tokenizer, num_layers):
    model, inputs = build(tokenizer, num_layers=num_layers), batch(tokenizer)
    with torch.no_grad():
        _, last = reference(model, inputs["input_ids"], inputs["attention_mask"].sum(1))
        torch.testing.assert_close(model(**inputs).logits, model.classifier(last), atol=1e-6, rtol=0)


def test_pairs_equal_two_packed_streams_with_mean_pooling(tokenizer):
    model = build(tokenizer, pairs=True, num_layers=2)
    p, h = batch(tokenizer), tokenizer(list(reversed(TEXTS)), padding=True, return_tensors="pt")
    with torch.no_grad():
        means = []
        for text in (p, h):
            lengths = text["attention_mask"].sum(1)
            means.append(reference(model, text["input_ids"], lengths)[0].sum(1) / lengths[:, None])
        features = torch.cat([*means, (means[0] - means[1]).abs(), means[0] * means[1]], dim=-1)
        logits = model(**batch(tokenizer, pairs=True)).logits
        torch.testing.assert_close(logits, model.classifier(features), atol=1e-6, rtol=0)


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(tokenizer, pairs, side):
    model = build(tokenizer, pairs=pairs, num_layers=2)
    with torch.no_grad():
        alone = [
            model(**tokenizer(text, *((other,) if pairs else ()), return_tensors="pt")).logits
            for text, other in zip(TEXTS, reversed(TEXTS), strict=True)
        ]
        inputs = tokenizer.pad(
            tokenizer(TEXTS, *((list(reversed(TEXTS)),) if pairs else ())),
            padding="max_length",
            max_length=40,
            padding_side=side,
            return_tensors="pt",
        )
        inputs["input_ids"][inputs["attention_mask"] == 0] = 3
        torch.testing.assert_close(model(**inputs).logits, torch.cat(alone), atol=1e-6, rtol=0)


@pytest.mark.parametrize("pairs", [False, True])
def test_empty_texts_are_answered(tokenizer, pairs):
    model = build(tokenizer, pairs=pairs)
    empty = torch.zeros(2, 0, dtype=torch.long)
    mixed = tokenizer(["", "fine"], padding=True, return_tensors="pt")
    with torch.no_grad():
        none_at_all = model(empty, empty, empty).logits
        some = model(**mixed).logits
    assert none_at_all.isfinite().all()
    torch.testing.assert_close(some[0], none_at_all[0], atol=1e-6, rtol=0)
    assert not torch.allclose(some[1], some[0])


def test_pairs_need_token_types(tokenizer):
    with pytest.raises(ValueError, match="token_type_ids"):
        build(tokenizer, pairs=True)(torch.ones(1, 2, dtype=torch.long))


def test_loss_is_cross_entropy(tokenizer):
    model, labels = build(tokenizer), torch.tensor([0, 1, 2, 1])
    output = model(**batch(tokenizer), labels=labels, num_items_in_batch=torch.tensor(4))
    expected = -output.logits.log_softmax(-1)[range(4), labels].mean()
    torch.testing.assert_close(output.loss, expected)


def test_order_of_the_words_counts(tokenizer):
    model = build(tokenizer)
    one, other = (model(**tokenizer(text, return_tensors="pt")).logits for text in ("a fine film", "film fine a"))
    assert not torch.allclose(one, other, atol=1e-4)


# Papers' settings


def test_paper_sizes_and_starting_values():
    torch.manual_seed(0)
    model = BiLSTMForSequenceClassification(BiLSTMConfig(num_labels=2))
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == 50_000 * 100 + 2 * 4 * 150 * (100 + 150 + 2) + 300 * 2 + 2
    assert model.dropout.p == 0.5
    embeddings = model.embeddings.weight
    assert math.sqrt(3 / 100) * 0.999 < embeddings.abs().max() <= math.sqrt(3 / 100)
    lstm = model.layers[0].forwards
    assert lstm.weight_hh_l0.std().item() == pytest.approx(math.sqrt(2 / (600 + 150)), rel=0.02)
    biases = (lstm.bias_ih_l0 + lstm.bias_hh_l0).view(4, 150)
    assert biases.mean(1).tolist() == [0, 1, 0, 0]
    assert biases.std(1).tolist() == [0] * 4
    assert model.classifier.bias.tolist() == [0, 0]


def test_pair_sizes():
    model = BiLSTMForSequenceClassification(BiLSTMConfig.for_pairs(vocab_size=50, num_labels=3))
    assert [tuple(part.weight.shape) for part in model.classifier if isinstance(part, torch.nn.Linear)] == [
        (300, 2400),
        (300, 300),
        (3, 300),
    ]
    assert len(model.layers) == 2


# Saved, loaded, trained


@pytest.fixture
def saved(tokenizer, tmp_path):
    model = build(tokenizer, pairs=True, id2label={0: "no", 1: "maybe", 2: "yes"})
    # Values that no starting rule gives: a rule run over loaded parameters would show, the forget gate's above all.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.25)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return model, tmp_path


def test_auto_classes_load_what_was_saved(saved, tokenizer):
    model, folder = saved
    loaded = AutoModelForSequenceClassification.from_pretrained(folder)
    assert type(loaded) is BiLSTMForSequenceClassification
    assert type(AutoConfig.from_pretrained(folder)) is BiLSTMConfig
    assert loaded.config.id2label == {0: "no", 1: "maybe", 2: "yes"}
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, loaded.get_parameter(name)), name
    again = AutoTokenizer.from_pretrained(folder)
    ours, theirs = batch(tokenizer, pairs=True), batch(again, pairs=True)
    assert set(theirs) == {"input_ids", "token_type_ids", "attention_mask"}
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_missing_parameter_leaves_the_loaded_ones_alone(saved):
    """The starting rule then runs over the LSTM that lacks one, forget gate included."""
    model, _ = saved
    state = {name: parameter.clone() for name, parameter in model.state_dict().items()}
    del state["layers.0.forwards.weight_hh_l0"]
    loaded = BiLSTMForSequenceClassification.from_pretrained(None, config=model.config, state_dict=state)
    lstm = loaded.layers[0].forwards
    assert torch.equal(lstm.bias_ih_l0, model.layers[0].forwards.bias_ih_l0)
    assert not torch.equal(lstm.weight_hh_l0, model.layers[0].forwards.weight_hh_l0)


STRANGER = """
import json, sys
sys.modules["hf_synth"] = None
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder, texts = sys.argv[1], json.loads(sys.argv[2])
model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
inputs = AutoTokenizer.from_pretrained(folder)(texts, texts[::-1], padding=True, return_tensors="pt")
print("LOGITS", json.dumps(model(**inputs).logits.tolist()))
"""


def test_loads_where_hf_synth_is_not_installed(saved, tokenizer, tmp_path):
    model, folder = saved
    settings = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, str(folder), json.dumps(TEXTS)],
        env={name: value for name, value in os.environ.items() if name != "HF_MODULES_CACHE"} | settings,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=480,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    logits = json.loads(done.stdout.split("LOGITS")[1])
    torch.testing.assert_close(torch.tensor(logits), model(**batch(tokenizer, pairs=True)).logits, atol=1e-6, rtol=0)


@pytest.mark.parametrize("pairs", [False, True])
def test_it_learns_and_every_parameter_moves(tokenizer, tmp_path, pairs):
    model = build(tokenizer, pairs=pairs, dropout=0.0, hidden_size=24)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    second = (list(reversed(TEXTS)),) if pairs else ()
    encoded = tokenizer(TEXTS, *second, padding=True)
    data = [{name: encoded[name][row] for name in encoded} | {"labels": row % 3} for row in range(4)]
    args = TrainingArguments(
        str(tmp_path), max_steps=100, learning_rate=0.01, save_strategy="no", use_cpu=True, disable_tqdm=True
    )
    trainer = WeightedTrainer(model, args, train_dataset=data, eval_dataset=data, processing_class=tokenizer)
    start = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < 0.2 < 0.9 < start
    assert not [name for name, parameter in model.named_parameters() if torch.equal(before[name], parameter)]


@pytest.mark.parametrize("pairs", [False, True])
def test_forward_mode_equals_finite_differences(tokenizer, pairs):
    model, inputs = build(tokenizer, pairs=pairs, num_layers=2).double(), dict(batch(tokenizer, pairs=pairs))
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    draw = torch.Generator().manual_seed(5)
    direction = {n: torch.randn(p.shape, generator=draw, dtype=p.dtype) for n, p in parameters.items()}

    def logits(values):
        return torch.func.functional_call(model, values, kwargs=inputs).logits

    def moved(step):
        return logits({name: value + step * direction[name] for name, value in parameters.items()})

    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
        _, slope = torch.func.jvp(logits, (parameters,), (direction,))
        expected = (moved(1e-5) - moved(-1e-5)) / 2e-5
    assert slope.abs().max() > 0.1
    torch.testing.assert_close(slope, expected, atol=1e-6, rtol=1e-6)


def test_what_starts_from_nothing_learns_at_a_higher_rate():
    assert StudentConfig().learning_rate == 3e-4
    assert StudentConfig(student="org/large").learning_rate == 5e-5
    assert {StudentConfig(student=name).learning_rate for name in ("bilstm", "bidaf")} == {1e-3}
    assert StudentConfig(student="bilstm", learning_rate=2e-2).learning_rate == 2e-2
