import json
import os
import subprocess
import sys

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence
from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoTokenizer

from hf_synth.students import BiDAFConfig, BiDAFForQuestionAnswering, build_reader_tokenizer

pytestmark = pytest.mark.usefixtures("one_thread")

QUESTIONS = ["Who made the film?", "When was it made"]
CONTEXTS = ["The film was made by Ann Lee, in 1999.", "It rained. Made in 2001, a dull film; truly."]
SIZES = {"embedding_size": 6, "hidden_size": 4, "character_channels": 5, "character_size": 3, "word_length": 7}


@pytest.fixture(scope="module")
def tokenizer():
    return build_reader_tokenizer(QUESTIONS + CONTEXTS)


def build(tokenizer, **settings):
    torch.manual_seed(0)
    return BiDAFForQuestionAnswering.for_tokenizer(tokenizer, **SIZES | settings).eval()


def batch(tokenizer, **settings):
    return tokenizer(QUESTIONS, CONTEXTS, padding=True, return_tensors="pt", **settings)


def test_tokenizer_tells_where_words_stand_and_which_text_they_are_of(tokenizer):
    found = tokenizer(QUESTIONS[0], CONTEXTS[0], return_offsets_mapping=True)
    places = zip(found["offset_mapping"], found["token_type_ids"], strict=True)
    words = [CONTEXTS[0][start:end] for (start, end), kind in places if kind]
    assert words == ["The", "film", "was", "made", "by", "Ann", "Lee", ",", "in", "1999", "."]
    assert found["token_type_ids"] == [0] * 5 + [1] * 11
    assert tokenizer.pad_token_id == 0


def test_an_unknown_word_keeps_its_letters(tokenizer):
    assert "".join(piece.removeprefix("##") for piece in tokenizer.tokenize("Lemann")) == "lemann"
    assert tokenizer.tokenize("Ω") == ["[UNK]"]


def test_the_same_texts_make_the_same_tokenizer():
    texts = [f"{'abcdefghij'[i % 10]}{'lmnop'[i % 5]}o{'rst'[i % 3]} is Σ{i}" for i in range(200)]
    first, *others = (build_reader_tokenizer(texts).get_vocab() for _ in range(6))
    assert all(other == first for other in others)


def test_characters_are_those_of_the_words(tokenizer):
    model = build(tokenizer)
    spelt = {word: model.characters[at].tolist() for word, at in tokenizer.get_vocab().items()}
    assert spelt["[PAD]"] == spelt["[UNK]"] == [0] * 7
    film, e, n = spelt["film"], spelt["e"][0], spelt["n"][0]
    assert film[:4] == [spelt[letter][0] if letter in spelt else spelt["##" + letter][0] for letter in "film"]
    assert film[4:] == [0] * 3
    assert spelt["ann"][1] == n != e
    assert spelt["##n"] == spelt["n"]


# The model against the paper's equations, one row at a time, with PyTorch's own packed bidirectional LSTM


def lstm(layer, states):
    """Return [T, 2H] of one row [T, D]."""
    net = torch.nn.LSTM(states.shape[-1], layer.forwards.hidden_size, bidirectional=True)
    state = {name: value for name, value in layer.forwards.named_parameters()}
    state |= {f"{name}_reverse": value for name, value in layer.backwards.named_parameters()}
    net.load_state_dict(state)
    return pad_packed_sequence(net(pack_sequence([states]))[0])[0][:, 0]


def embed(model, ids):
    rows = []
    for at in ids:
        letters = model.character_embeddings(model.characters[at])
        width = model.config.character_width
        windows = [letters[place : place + width] for place in range(len(letters) - width + 1)]
        kernel, bias = model.convolution.weight, model.convolution.bias
        features = torch.stack([torch.einsum("ocw,wc->o", kernel, window) + bias for window in windows]).amax(0)
        x = torch.cat([features, model.embeddings.weight[at]])
        for layer in model.highway:
            new, gate = layer(x).split(len(x))
            x = gate.sigmoid() * torch.relu(new) + (1 - gate.sigmoid()) * x
        rows.append(x)
    return torch.stack(rows)


def reference(model, question, context):
    """Equations 1 to 4 of the paper."""
    h, u = (lstm(model.contextual, embed(model, ids)) for ids in (context, question))
    s = torch.stack([torch.stack([model.similarity(torch.cat([c, q, c * q]))[0] for q in u]) for c in h])
    to_question = s.softmax(1) @ u
    to_context = (s.max(1).values.softmax(0) @ h).expand_as(h)
    g = torch.cat([h, to_question, h * to_question, h * to_context], 1)
    m = lstm(model.modelling[1], lstm(model.modelling[0], g))
    m2 = lstm(model.ending, m)
    return model.start_output(torch.cat([g, m], 1))[:, 0], model.end_output(torch.cat([g, m2], 1))[:, 0]


def test_scores_equal_the_papers_equations(tokenizer):
    model, inputs = build(tokenizer), batch(tokenizer)
    with torch.no_grad():
        output = model(**inputs)
        for row, (question, context) in enumerate(zip(QUESTIONS, CONTEXTS, strict=True)):
            expected = reference(model, tokenizer(question)["input_ids"], tokenizer(context)["input_ids"])
            mine = (inputs["token_type_ids"][row] == 1) & inputs["attention_mask"][row].bool()
            for found, wanted in zip((output.start_logits, output.end_logits), expected, strict=True):
                torch.testing.assert_close(found[row][mine], wanted, atol=1e-5, rtol=0)
                assert (found[row][~mine] < -1e30).all()


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(tokenizer, side):
    model = build(tokenizer)
    with torch.no_grad():
        alone = [model(**tokenizer(q, c, return_tensors="pt")) for q, c in zip(QUESTIONS, CONTEXTS, strict=True)]
        padded = tokenizer.pad(
            tokenizer(QUESTIONS, CONTEXTS),
            padding="max_length",
            max_length=40,
            padding_side=side,
            return_tensors="pt",
        )
        padded["input_ids"][padded["attention_mask"] == 0] = 3
        padded["token_type_ids"][padded["attention_mask"] == 0] = 1
        output = model(**padded)
    for row, one in enumerate(alone):
        real = padded["attention_mask"][row].bool()
        torch.testing.assert_close(output.end_logits[row][real], one.end_logits[0], atol=1e-5, rtol=1e-5)


def test_loss_is_the_mean_cross_entropy_of_both_ends(tokenizer):
    model, starts, ends = build(tokenizer), torch.tensor([7, 9]), torch.tensor([8, 10])
    output = model(**batch(tokenizer), start_positions=starts, end_positions=ends, num_items_in_batch=2)
    first = -output.start_logits.log_softmax(-1)[range(2), starts].mean()
    last = -output.end_logits.log_softmax(-1)[range(2), ends].mean()
    torch.testing.assert_close(output.loss, (first + last) / 2)
    output.loss.backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in model.parameters())


def test_token_types_are_needed(tokenizer):
    with pytest.raises(ValueError, match="token_type_ids"):
        build(tokenizer)(torch.ones(1, 2, dtype=torch.long))


def test_paper_sizes():
    model = BiDAFForQuestionAnswering(BiDAFConfig(vocab_size=1000, character_count=50))
    count = sum(value.numel() for value in model.parameters())
    lstms = sum(2 * 4 * 100 * (size + 100 + 2) for size in (200, 800, 200, 200))
    highway, convolution = 2 * (200 * 400 + 400), 8 * 5 * 100 + 100
    assert count == 1000 * 100 + 50 * 8 + convolution + highway + lstms + 600 + 2 * 1000
    assert model.dropout.p == 0.2


def test_forward_mode_equals_finite_differences(tokenizer):
    model, inputs = build(tokenizer).double(), dict(batch(tokenizer))
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    draw = torch.Generator().manual_seed(5)
    direction = {n: torch.randn(p.shape, generator=draw, dtype=p.dtype) for n, p in parameters.items()}

    def logits(values):
        scores = torch.func.functional_call(model, values, kwargs=inputs).end_logits
        return scores[inputs["token_type_ids"] == 1].clamp(min=-1e4)

    def moved(step):
        return logits({name: value + step * direction[name] for name, value in parameters.items()})

    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
        _, slope = torch.func.jvp(logits, (parameters,), (direction,))
        expected = (moved(1e-6) - moved(-1e-6)) / 2e-6
    assert slope.abs().max() > 0.1
    torch.testing.assert_close(slope, expected, atol=1e-5, rtol=1e-5)


# Saved and loaded


@pytest.fixture
def saved(tokenizer, tmp_path):
    model = build(tokenizer)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return model, tmp_path


def test_auto_classes_load_what_was_saved(saved, tokenizer):
    model, folder = saved
    loaded = AutoModelForQuestionAnswering.from_pretrained(folder)
    assert type(loaded) is BiDAFForQuestionAnswering
    assert type(AutoConfig.from_pretrained(folder)) is BiDAFConfig
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
    again = AutoTokenizer.from_pretrained(folder)
    torch.testing.assert_close(loaded(**batch(again)).end_logits, model(**batch(tokenizer)).end_logits)


STRANGER = """
import json, sys
sys.modules["hf_synth"] = None
from transformers import AutoModelForQuestionAnswering, AutoTokenizer
folder, questions, contexts = sys.argv[1], *map(json.loads, sys.argv[2:])
model = AutoModelForQuestionAnswering.from_pretrained(folder, trust_remote_code=True)
inputs = AutoTokenizer.from_pretrained(folder)(questions, contexts, padding=True, return_tensors="pt")
print("LOGITS", json.dumps(model(**inputs).start_logits.tolist()))
"""


def test_loads_where_hf_synth_is_not_installed(saved, tokenizer, tmp_path):
    model, folder = saved
    settings = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, str(folder), json.dumps(QUESTIONS), json.dumps(CONTEXTS)],
        env={name: value for name, value in os.environ.items() if name != "HF_MODULES_CACHE"} | settings,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=480,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    logits = torch.tensor(json.loads(done.stdout.split("LOGITS")[1]))
    torch.testing.assert_close(logits, model(**batch(tokenizer)).start_logits, atol=1e-5, rtol=1e-6)
