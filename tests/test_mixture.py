"""Mixed soft prompts: shapes, gradients, what a mixer is not, padding, saving, tuning a frozen model through them."""

import random

import pytest
import torch
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

from hf_synth.errors import InputError
from hf_synth.mixture import Attention, MixtureOfSoftPrompts, filled
from hf_synth.mixture_settings import MixtureConfig

MIXERS = ["concat", "pooling", "attention", "bottleneck", "cnn"]
NAMES = ["wifi", "booking", "change", "how_long"]
LENGTH, INSTRUCTION, WIDTH = 5, 3, 8
SIZES = {"length": LENGTH, "instruction": INSTRUCTION, "most": 4, "hidden": 6}


@pytest.fixture(autouse=True)
def _one_start():
    torch.manual_seed(0)


def mixture(mixer, levels=None, width=WIDTH, names=NAMES, **settings):
    config = MixtureConfig(mixer=mixer, **SIZES | settings)
    prompts = {name: torch.randn(config.length, width) for name in names}
    return MixtureOfSoftPrompts(config, torch.randn(config.instruction, width), prompts, levels)


def texts(rows, tokens=6, width=WIDTH):
    """Embedded inputs of which the first is full and every other one shorter than the one before."""
    lengths = torch.arange(tokens, tokens - rows, -1)
    return torch.randn(rows, tokens, width), (torch.arange(tokens) < lengths[:, None]).long()


def blocks(module, sets, inputs=None, mask=None):
    """The vectors behind the instruction, for each text without its padding."""
    if inputs is None:
        inputs, mask = texts(len(sets))
    vectors, kept = module(sets, inputs, mask)
    return [row[own.bool()][module.config.instruction :] for row, own in zip(vectors, kept, strict=True)]


@pytest.mark.parametrize("mixer", MIXERS)
def test_shapes_and_padding_on_the_left(mixer):
    module = mixture(mixer)
    vectors, mask = module([["wifi", "change"], ["booking"], []], *texts(3))
    lengths = [2 * LENGTH, LENGTH, 0] if mixer == "concat" else [LENGTH, LENGTH, 0]
    longest = INSTRUCTION + max(lengths)
    assert vectors.shape == (3, longest, WIDTH)
    assert mask.tolist() == [[0] * (longest - INSTRUCTION - n) + [1] * (INSTRUCTION + n) for n in lengths]
    assert not vectors[~mask.bool()].any()
    assert torch.equal(vectors[2][mask[2].bool()], module.instruction)
    for row, n in enumerate(lengths):
        start = longest - INSTRUCTION - n
        assert torch.equal(vectors[row, start : start + INSTRUCTION], module.instruction)


@pytest.mark.parametrize("mixer", MIXERS)
def test_every_parameter_gets_a_gradient(mixer):
    module = mixture(mixer)
    vectors, _ = module([NAMES, NAMES[:2]], *texts(2))
    (vectors * torch.randn_like(vectors)).sum().backward()
    owned = {"attention": 3, "bottleneck": 4, "cnn": 2}.get(mixer, 0)  # a norm's two and W; two more W; two kernels
    assert len(list(module.parameters())) == 2 + owned
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-8, name
    assert (module.prompts.grad.abs().amax((1, 2)) > 1e-6).all()  # of every attribute
    assert (module.instruction.grad.abs().amax(1) > 1e-6).all()


@pytest.mark.parametrize("mixer", MIXERS)
def test_attributes_that_are_not_used_are_left_alone(mixer):
    module = mixture(mixer)
    module([["wifi", "booking"]], *texts(1))[0].square().sum().backward()
    assert module.prompts.grad[:2].any()
    assert not module.prompts.grad[2:].any()


@pytest.mark.parametrize("mixer", ["pooling", "attention", "bottleneck", "cnn"])
def test_a_mix_is_no_sum(mixer):
    module = mixture(mixer)
    (block,) = blocks(module, [NAMES[:3]])
    assert (block - module.prompts[:3].sum(0)).abs().max() > 0.5


@pytest.mark.parametrize("mixer", ["attention", "bottleneck"])
def test_attention_looks_at_the_input(mixer):
    module = mixture(mixer)
    inputs, mask = texts(2)
    one, other = blocks(module, [NAMES[:3]] * 2, inputs, mask)
    assert (one - module.prompts[:3].mean(0)).abs().max() > 0.01
    assert (one - other).abs().max() > 0.01  # the same attributes beside another text
    inputs[1][~mask[1].bool()] = 1e4
    assert torch.equal(blocks(module, [NAMES[:3]] * 2, inputs, mask)[1], other)


def test_attention_is_the_formula():
    module = mixture("attention", tau=2.0)
    inputs, mask = texts(2)
    found = blocks(module, [NAMES, NAMES[1:3]], inputs, mask)
    weight = module.mixer.project.weight
    for row, places in enumerate([[0, 1, 2, 3], [1, 2]]):
        x = inputs[row][mask[row].bool()].max(0).values
        h = weight @ x
        h = (h - h.mean()) / (h.var(unbiased=False) + 1e-5).sqrt()
        scores = torch.stack([module.prompts[at].max(0).values @ h / 2.0 for at in places])
        shares = scores.exp() / scores.exp().sum()
        expected = sum(share * module.prompts[at] for share, at in zip(shares, places, strict=True))
        torch.testing.assert_close(found[row], expected)


@pytest.mark.parametrize("hidden", [None, 6])
def test_shares_sum_to_one(hidden):
    attention = Attention(WIDTH, 1.0, hidden)
    present = torch.tensor([[True, True, True], [True, False, False], [True, True, False]])
    shares = attention.weights(torch.randn(3, 3, LENGTH, WIDTH), present, torch.randn(3, WIDTH))
    torch.testing.assert_close(shares.sum(1), torch.ones(3))
    assert (shares[~present] == 0).all()
    assert (shares[present] > 0).all()


@pytest.mark.parametrize("scale", [0.05, 10.0])
def test_shares_are_neither_flat_nor_hard_whatever_the_scale(scale):
    """Embeddings of SmolLM2 are near 0.1, of T5 near 10: one fixed tau fits one of them."""
    config = MixtureConfig(mixer="attention", **SIZES)
    prompts = {name: scale * torch.randn(LENGTH, 64) for name in NAMES}
    module = MixtureOfSoftPrompts(config, torch.randn(INSTRUCTION, 64), prompts)
    for aligned in (False, True):
        pooled = scale * torch.randn(1, 64)
        if aligned:  # the most that W can learn: the state is that of one prompt
            pooled = module.prompts[:1].amax(1) - module.prompts.amax(1).mean(0)
            torch.nn.init.eye_(module.mixer.project.weight)
        shares = module.mixer.weights(module.prompts[None], torch.ones(1, 4, dtype=torch.bool), pooled)
        assert shares.min() > 0.05
        assert shares.max() - shares.min() > (0.2 if aligned else 0.01)


def test_the_convolution_starts_near_the_mean_and_may_be_negative():
    module = mixture("cnn")
    (two,) = blocks(module, [["booking", "how_long"]])
    difference = two - module.prompts[[1, 3]].mean(0)
    assert 0 < difference.abs().max() < 0.1  # nor is it moved by the two that are missing
    assert (two < 0).any()


def test_missing_attributes_add_nothing_to_a_convolution():
    module = mixture("cnn")
    with torch.no_grad():
        module.prompts.zero_()
    assert not blocks(module, [["wifi"]])[0].any()


@pytest.mark.parametrize("mixer", MIXERS)
def test_the_order_of_a_set_does_not_matter(mixer):
    module = mixture(mixer)
    inputs, mask = texts(1)
    (first,) = blocks(module, [NAMES], inputs, mask)
    for _ in range(4):
        again = [*random.Random(1).sample(NAMES, 4), "wifi"]  # nor does naming one twice
        assert torch.equal(blocks(module, [again], inputs, mask)[0], first)
    if mixer == "concat":
        assert torch.equal(first, module.prompts.flatten(0, 1))


@pytest.mark.parametrize("mixer", MIXERS)
def test_a_text_gives_the_same_alone_and_in_a_batch(mixer):
    module = mixture(mixer, levels={"intents": ["wifi", "change"], "slots": ["booking", "how_long"]})
    sets = [NAMES, ["change"], [], ["booking", "wifi"]]
    inputs, mask = texts(4)
    together = blocks(module, sets, inputs, mask)
    for row, names in enumerate(sets):
        length = int(mask[row].sum())
        (alone,) = blocks(module, [names], inputs[row : row + 1, :length], mask[row : row + 1, :length])
        torch.testing.assert_close(together[row], alone, rtol=1e-5, atol=1e-6)


def test_a_block_for_each_level_that_a_text_has():
    module = mixture("pooling", levels={"intents": ["wifi", "change"], "slots": ["booking", "how_long"]})
    both, slots = blocks(module, [["booking", "change", "wifi"], ["how_long"]])
    assert torch.allclose(both, torch.cat([module.prompts[[0, 2]].mean(0), module.prompts[1]]))
    assert torch.equal(slots, module.prompts[3])
    both.square().sum().backward()
    assert (module.prompts.grad.abs().amax((1, 2)) > 0).tolist() == [True, True, True, False]


def test_an_input_without_tokens_gives_numbers():
    module = mixture("attention")
    vectors, _ = module([NAMES], torch.randn(1, 3, WIDTH), torch.zeros(1, 3, dtype=torch.long))
    vectors.sum().backward()
    assert vectors.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


def test_vectors_come_in_the_models_dtype_and_masks_in_the_inputs():
    inputs, mask = texts(2)
    vectors, kept = mixture("bottleneck")([NAMES, []], inputs.bfloat16(), mask.bool())
    assert (vectors.dtype, kept.dtype) == (torch.bfloat16, torch.bool)


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("instruction", [0, INSTRUCTION])
def test_all_that_was_trained_is_saved(tmp_path, mixer, instruction):
    levels = {"intents": ["wifi", "change"], "slots": ["booking", "how_long"]}
    module = mixture(mixer, levels, instruction=instruction)
    inputs, mask = texts(2)
    sets = [["wifi", "how_long", "change"], ["booking", "how_long"]]
    optimizer = torch.optim.AdamW(module.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        module(sets, inputs, mask)[0].sum(-1).square().sum().backward()
        optimizer.step()
    module.save(tmp_path / "saved")
    assert set(load_file(tmp_path / "saved/adapter_model.safetensors")) == set(dict(module.named_parameters()))
    again = MixtureOfSoftPrompts.load(tmp_path / "saved")
    assert (again.config, again.names, again.levels) == (module.config, module.names, module.levels)
    assert all(map(torch.equal, again(sets, inputs, mask), module(sets, inputs, mask)))
    again.save(tmp_path / "again")
    for name in ("adapter_model.safetensors", "soft_prompts.json"):
        assert (tmp_path / "saved" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_description_fills_a_prompt():
    rows = torch.randn(3, WIDTH, dtype=torch.bfloat16, requires_grad=True)
    assert torch.equal(filled(rows, 7), rows[[0, 1, 2, 0, 1, 2, 0]].float())
    assert torch.equal(filled(rows, 2), rows[:2].float())
    assert not filled(rows, 2).requires_grad
    with pytest.raises(InputError, match="at least one token"):
        filled(rows[:0], 7)


def test_what_is_refused(tmp_path):
    with pytest.raises(InputError, match="an attribute must be one of wifi, .*got 'wify'. Did you mean 'wifi'"):
        mixture("pooling")([["wify"]], *texts(1))
    for mixer in ("concat", "cnn"):
        with pytest.raises(InputError, match=f"`{mixer}` mixes at most 2 attributes; got"):
            mixture(mixer, most=2)([NAMES[:3]], *texts(1))
    assert len(blocks(mixture("attention", most=2), [NAMES])) == 1
    with pytest.raises(InputError, match=r"the prompt of 'wifi' must have the size \[5, 8\]; got \[4, 8\]"):
        MixtureOfSoftPrompts(MixtureConfig(**SIZES), torch.randn(3, 8), {"wifi": torch.randn(4, 8)})
    for levels in ({"intents": NAMES[:3]}, {"intents": NAMES, "slots": NAMES[:1]}):
        with pytest.raises(InputError, match="levels must hold each attribute once"):
            mixture("pooling", levels)
    with pytest.raises(InputError, match="holds no mixture of soft prompts: soft_prompts.json is missing"):
        MixtureOfSoftPrompts.load(tmp_path)


SETS = [[NAMES[at] for at in range(4) if mask >> at & 1] for mask in (1, 2, 3, 4, 5, 6, 7, 12)]


def tiny(kind):
    """A frozen random model of 32 dimensions and 40 words."""
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
    if kind == "causal":
        config = GPT2Config(vocab_size=40, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3, **ids)
        model = GPT2LMHeadModel(config)
    else:
        sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
        model = T5ForConditionalGeneration(T5Config(vocab_size=40, initializer_factor=1.5, **sizes, **ids))
    return model.eval().requires_grad_(False)


def answers(model, kind, vectors, mask, rest):
    """The logits of the one word that follows, [N, 40]."""
    given, kept = torch.cat([vectors, rest], 1), torch.cat([mask, torch.ones(rest.shape[:2])], 1)
    if kind == "causal":
        places = (kept.cumsum(1) - 1).clamp(min=0).long()
        return model(inputs_embeds=given, attention_mask=kept, position_ids=places).logits[:, -1]
    start = torch.zeros(len(given), 1, dtype=torch.long)
    return model(inputs_embeds=given, attention_mask=kept, decoder_input_ids=start).logits[:, -1]


@pytest.mark.parametrize("kind", ["causal", "seq2seq"])
@pytest.mark.parametrize("mixer", MIXERS)
def test_a_frozen_model_learns_answers_by_attributes(mixer, kind, one_thread):
    """Eight random answers, each to be told from a set of attributes alone: the rest of the input is the same."""
    model = tiny(kind)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    embed = model.get_input_embeddings()
    prompts = {name: filled(embed(torch.randint(40, (3,))), LENGTH) for name in NAMES}
    config = MixtureConfig(mixer=mixer, **SIZES)
    module = MixtureOfSoftPrompts(config, filled(embed(torch.tensor([9, 8])), INSTRUCTION), prompts)
    rest = embed(torch.tensor([[7, 11]])).expand(len(SETS), -1, -1)
    targets = torch.randperm(40)[: len(SETS)]
    optimizer = torch.optim.AdamW(module.parameters(), 0.05, weight_decay=0)
    losses = []
    for _ in range(200):
        vectors, mask = module(SETS, rest, torch.ones(len(SETS), 2))
        loss = torch.nn.functional.cross_entropy(answers(model, kind, vectors, mask, rest), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 2
    assert losses[-1] < 0.2
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
