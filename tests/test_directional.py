"""The primitive equals a backward pass per example, on every student that is offered."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoModelForTokenClassification

from hf_synth.directional import directional_derivatives, mean_gradient
from hf_synth.losses import example_loss
from hf_synth.students.bilstm import BiLSTMConfig, BiLSTMForSequenceClassification

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES |= {"vocab_size": 60, "pad_token_id": 0, "num_labels": 3}
KINDS = {
    "bert": {},
    "distilbert": {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4},
    "roberta": {"max_position_embeddings": 64},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8},
    "modernbert": {"local_attention": 8},
    "bilstm": {},
}


def build(kind, auto=AutoModelForSequenceClassification):
    torch.manual_seed(0)
    if kind == "bilstm":
        return BiLSTMForSequenceClassification(
            BiLSTMConfig(vocab_size=60, embedding_size=16, hidden_size=16, num_labels=3)
        )
    return auto.from_config(AutoConfig.for_model(kind, **{**SIZES, **KINDS[kind]}))


def batch(rows=24, length=14, seed=1):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(5, length + 1, (rows,), generator=generator)
    mask = (torch.arange(length) < lengths[:, None]).long()
    ids = torch.randint(4, 60, (rows, length), generator=generator) * mask
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.randint(0, 3, (rows,), generator=generator)}


def outer_gradient(model, names=lambda name: True):
    """The direction that bilevel weights and influence ask about: the gradient on other rows."""
    inputs = batch(seed=2)
    labels = inputs.pop("labels")
    model.eval()
    named = {name: parameter for name, parameter in model.named_parameters() if names(name)}
    logits = model(**inputs).logits
    loss = example_loss("rce")(logits if logits.dim() == 2 else logits[:, 0], labels).mean()
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {name: gradient for name, gradient in zip(named, found, strict=True) if gradient is not None}


def by_backward(model, inputs, direction, loss):
    model.eval()
    found, named = [], dict(model.named_parameters())
    for row in range(len(inputs["labels"])):
        one = {name: value[row : row + 1] for name, value in inputs.items()}
        labels = one.pop("labels")
        value = loss(model(**one).logits, labels).sum()
        gradients = torch.autograd.grad(value, [named[name] for name in direction], allow_unused=True)
        pairs = zip(gradients, direction.values(), strict=True)
        found.append(sum((g * v).sum() for g, v in pairs if g is not None))
    return torch.stack(found)


@pytest.mark.parametrize("kind", KINDS)
def test_it_equals_a_backward_pass_for_each_example(kind):
    model, inputs, loss = build(kind), batch(), example_loss("ce")
    direction = outer_gradient(model)
    expected = by_backward(model, inputs, direction, loss)
    model.train()
    forward = directional_derivatives(model, inputs, direction)
    assert model.training  # as it was; dropout was off meanwhile
    torch.testing.assert_close(forward, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
    twice = directional_derivatives(model, inputs, direction, by="difference")
    torch.testing.assert_close(twice, expected, rtol=5e-3, atol=5e-3 * expected.abs().max().item())
    ranks = torch.stack([twice.argsort().argsort(), expected.argsort().argsort()]).double()
    assert torch.corrcoef(ranks)[0, 1] >= 0.999  # Spearman


def test_gradient_checkpointing_is_no_hindrance():
    """Its hook, which has embeddings ask for gradients, may not run in forward mode; it is there again after."""
    model, inputs = build("bert"), batch()
    direction = outer_gradient(model)
    expected = directional_derivatives(model, inputs, direction)
    model.activation_checkpointing_enable()
    model.enable_input_require_grads()  # again, as peft does
    embeddings = model.get_input_embeddings().requires_grad_(False)
    embeddings.register_forward_hook(lambda *given: None)
    hooks = [*embeddings._forward_hooks.items()]
    torch.testing.assert_close(directional_derivatives(model, inputs, direction), expected)
    assert embeddings(inputs["input_ids"]).requires_grad
    assert [*embeddings._forward_hooks.items()] == hooks  # in the same order


@pytest.mark.parametrize("name", ["rce", "mae", "gce", "sce"])
def test_any_loss_and_any_part_of_the_parameters(name):
    model, inputs, loss = build("bert"), batch(), example_loss(name, scale=1.0)
    direction = outer_gradient(model, lambda parameter: parameter.startswith("classifier"))
    assert set(direction) == {"classifier.weight", "classifier.bias"}
    expected = by_backward(model, inputs, direction, loss)
    torch.testing.assert_close(directional_derivatives(model, inputs, direction, loss=loss), expected)


def test_token_heads_and_sets_of_labels():
    inputs = batch()
    tokens = build("bert", AutoModelForTokenClassification)
    labels = torch.randint(0, 3, inputs["input_ids"].shape).where(inputs["attention_mask"] > 0, -100)
    direction = outer_gradient(tokens, lambda name: "layer.1" in name)
    expected = by_backward(tokens, {**inputs, "labels": labels}, direction, example_loss("ce"))
    found = directional_derivatives(tokens, {**inputs, "labels": labels}, direction)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    model = build("bert")
    several = {**inputs, "labels": torch.randint(0, 2, (24, 3)).float()}
    direction = outer_gradient(model, lambda name: "layer.1" in name)
    expected = by_backward(model, several, direction, example_loss("ce"))
    torch.testing.assert_close(directional_derivatives(model, several, direction), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "bilstm"])
def test_a_gradient_over_batches_equals_one_backward_pass(kind):
    """Rows of a label that does not count are in a batch; one batch has no others; the pass leaves no trace."""
    model, inputs, loss = build(kind), batch(), example_loss("rce")
    inputs["labels"][[3, *range(16, 24)]] = -100
    kept = inputs["labels"] != -100
    model.eval()
    logits = model(inputs["input_ids"][kept], attention_mask=inputs["attention_mask"][kept]).logits
    loss(logits, inputs["labels"][kept]).sum().backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()

    def cut():
        for start in (0, 8, 16):
            part = {name: value[start : start + 8] for name, value in inputs.items()}
            labels = part.pop("labels")
            yield part, labels

    model.train()
    random = torch.get_rng_state()
    found, count = mean_gradient(model, dict(model.named_parameters()), cut(), loss)
    assert count == 15
    assert set(found) == set(expected)
    for name, gradient in found.items():
        wanted = torch.zeros_like(gradient) if expected[name] is None else expected[name]
        torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-5, msg=name)
    assert model.training
    assert torch.equal(random, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_gradient_at_other_parameters():
    """The parameters of the model itself stay out of it."""
    model, inputs = build("bert"), batch()
    labels = inputs.pop("labels")
    other = {name: (2 * p.detach()).requires_grad_() for name, p in model.named_parameters() if "classifier" in name}
    found, _ = mean_gradient(model, other, [(inputs, labels)], example_loss("ce"))
    model.classifier.load_state_dict({name.removeprefix("classifier."): value for name, value in other.items()})
    model.eval()
    example_loss("ce")(model(**inputs).logits, labels).sum().backward()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, model.get_parameter(name).grad, msg=name)
