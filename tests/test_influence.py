"""Influence against what it stands for: solved systems, a backward pass per row, retraining, flipped labels."""

import pytest
import torch
from test_directional import KINDS, batch, build
from torch import nn

from hf_synth.directional import mean_gradient
from hf_synth.influence import hessian_product, influence, inverse_hessian
from hf_synth.losses import example_loss


class Linear(nn.Module):
    """Logits are linear in the inputs."""

    def __init__(self, width, classes):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(width, classes, bias=False)

    def forward(self, inputs):
        return {"logits": self.layer(inputs)}


def flat(vector):
    return torch.cat([value.reshape(-1) for value in vector.values()])


def test_lissa_solves_a_quadratic():
    model, draw = Linear(5, 2).double(), torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 5, generator=draw, dtype=torch.double)
    vector = {"layer.weight": torch.randn(2, 5, generator=draw, dtype=torch.double)}
    rows = {"inputs": inputs}, torch.zeros(40, dtype=torch.long)

    def squares(logits, labels):
        return logits.square().sum(-1) / 2

    damp, scale = 0.05, 20.0
    hessian = inputs.T @ inputs / 40  # of each output's weights
    solved = torch.linalg.solve(hessian + damp * scale * torch.eye(5), vector["layer.weight"].T).T
    found = inverse_hessian(model, vector, [rows] * 400, damp=damp, scale=scale, loss=squares)
    torch.testing.assert_close(found["layer.weight"], solved, rtol=1e-6, atol=1e-9)
    assert inverse_hessian(model, vector, []) is vector


@pytest.mark.parametrize("kind", KINDS)
def test_the_hessian_product_is_the_change_of_the_gradient(kind):
    model, rows = build(kind).double(), batch()
    labels, loss = rows.pop("labels"), example_loss("ce")
    parameters = dict(model.named_parameters())
    torch.manual_seed(3)
    vector = {name: torch.randn_like(value) for name, value in parameters.items()}
    model.train()
    found = hessian_product(model, rows, labels, vector)
    assert model.training

    def gradient(step):
        moved = {name: (value + step * vector[name]).detach().requires_grad_() for name, value in parameters.items()}
        return flat(mean_gradient(model, moved, [(rows, labels)], loss)[0]) / len(labels)

    expected = (gradient(1e-5) - gradient(-1e-5)) / 2e-5  # a small step: ReLU has kinks
    assert (flat(found) - expected).norm() < 0.01 * expected.norm()


def test_influence_is_minus_the_gradient_of_each_row_times_the_direction():
    model, rows, judges = build("bert"), batch(), batch(seed=2)
    labels, judged = rows.pop("labels"), judges.pop("labels")
    model.train()
    found = influence(
        model,
        [({name: value[part] for name, value in rows.items()}, labels[part]) for part in (slice(10), slice(10, 24))],
        [(judges, judged)],
        loss=example_loss("rce", scale=1.0),
    )
    model.eval()
    parameters = list(model.parameters())
    robust = example_loss("rce", scale=1.0)(model(**judges).logits, judged).mean()
    direction = torch.autograd.grad(robust, parameters, materialize_grads=True)
    for at in range(24):
        one = {name: value[at : at + 1] for name, value in rows.items()}
        loss = nn.functional.cross_entropy(model(**one).logits, labels[at : at + 1])
        gradient = torch.autograd.grad(loss, parameters, materialize_grads=True)
        product = sum((a * b).sum() for a, b in zip(gradient, direction, strict=True))
        assert found[at].item() == pytest.approx(-product.item(), rel=1e-3, abs=1e-7)


def noisy(seed, count=400, classes=3, flipped=0.4):
    """Rows of well separated classes, some with another label, and which."""
    draw = torch.Generator().manual_seed(seed)
    true = torch.randint(0, classes, (count,), generator=draw)
    centres = 3 * torch.eye(classes, 8)
    inputs = centres[true] + torch.randn(count, 8, generator=draw)
    wrong = torch.rand(count, generator=draw) < flipped
    other = (true + torch.randint(1, classes, (count,), generator=draw)) % classes
    return inputs, torch.where(wrong, other, true), wrong


def trained(inputs, labels, steps=80):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = model

        def forward(self, inputs):
            return {"logits": self.layers(inputs)}

    return Classifier()


def auroc(score, wrong):
    """How often a row with a wrong label scores higher, that is as more harmful, than another one."""
    return (score[wrong][:, None] > score[~wrong][None]).float().mean().item()


@pytest.mark.parametrize("inverse", ["identity", "lissa"])
def test_flipped_labels_harm_though_the_rows_that_judge_are_flipped_too(inverse):
    inputs, labels, wrong = noisy(0)
    judges, judged, _ = noisy(1, count=200)
    model = trained(inputs, labels)
    steps = [({"inputs": inputs[at::20]}, labels[at::20]) for at in range(20)] * 4 if inverse == "lissa" else []

    def score(name):
        loss = example_loss(name, scale=1.0)
        rows, validation = [({"inputs": inputs}, labels)], [({"inputs": judges}, judged)]
        return influence(model, rows, validation, steps, loss=loss, damp=0.02, scale=10.0)

    assert auroc(score("rce"), wrong) > 0.8
    assert auroc(score("ce"), wrong) < 0.5  # which takes noise for help
