"""Influence: how the loss on validation rows would move if a training row counted a little more.

ProGen (https://huggingface.co/papers/2210.12329, section 3.2) lets a noise-robust validation loss ask, since labels of
generated validation rows are wrong too. Without dropout and without the weight decay term, which is the same number
for every row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .directional import directional_derivatives, mean_gradient, still
from .losses import Loss, example_loss

Batch = tuple[Mapping[str, Any], Tensor]
Vector = dict[str, Tensor]


def influence(
    model: nn.Module,
    rows: Iterable[Batch],
    validation: Iterable[Batch],
    train: Iterable[Batch] = (),
    *,
    loss: Loss,
    damp: float = 5e-3,
    scale: float = 1e4,
) -> Tensor:
    """Return the influence of each row, `-<grad CE_i, s>` with `s = (H + damp scale I)^-1 grad loss(validation)`, [N].

    Below zero it is helpful: the more the row counts in training, the lower the validation loss.

    Args:
        model: A classifier that was trained on the rows; its parameters that take gradients count.
        rows: Inputs and labels of those that are judged.
        validation: Inputs and labels of those that judge.
        train: A batch for each step of `inverse_hessian`. Without any, the identity stands for the inverse.
        loss: What the validation rows judge by.
        damp: See `inverse_hessian`.
        scale: See `inverse_hessian`.
    """
    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    total, count = mean_gradient(model, parameters, validation, loss)
    gradient = {name: value / count for name, value in total.items()}
    direction = inverse_hessian(model, gradient, train, damp=damp, scale=scale)
    scores = [directional_derivatives(model, {**inputs, "labels": labels}, direction) for inputs, labels in rows]
    return -torch.cat(scores).cpu()


def inverse_hessian(
    model: nn.Module,
    vector: Vector,
    batches: Iterable[Batch],
    *,
    damp: float = 5e-3,
    scale: float = 1e4,
    loss: Loss | None = None,
) -> Vector:
    """Return `(H + damp scale I)^-1 v` by LiSSA (https://huggingface.co/papers/1602.03943); `v` without batches.

    Each batch takes a step `h <- v + (1 - damp) h - H_batch h / scale`, and the result is `h / scale`. It converges
    while every eigenvalue of the Hessian lies between `-damp scale` and `(2 - damp) scale`.

    Args:
        model: See `hessian_product`.
        vector: Parameter name -> tensor.
        batches: Inputs and labels of training rows, a batch for each step.
        damp: Share of the estimate that is forgotten at each step.
        scale: What the Hessian is divided by.
        loss: See `hessian_product`.
    """
    estimate = None
    for inputs, labels in batches:
        before = estimate or vector
        curved = hessian_product(model, inputs, labels, before, loss)
        estimate = {name: value + (1 - damp) * before[name] - curved[name] / scale for name, value in vector.items()}
    return vector if estimate is None else {name: value / scale for name, value in estimate.items()}


def hessian_product(
    model: nn.Module, inputs: Mapping[str, Any], labels: Tensor, vector: Vector, loss: Loss | None = None
) -> Vector:
    """Return the Hessian of a batch's mean loss times a vector, by differentiating twice.

    Args:
        model: Any module whose output has `logits`.
        inputs: What it gets.
        labels: Of the rows, [N].
        vector: Parameter name -> tensor.
        loss: Gives each row its loss; cross entropy by default.
    """
    named = dict(model.named_parameters())
    at = [named[name] for name in vector]
    with ExitStack() as stack:
        # Fused attention and fused recurrent kernels can be differentiated once only.
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if any(isinstance(module, nn.RNNBase) for module in model.modules()):
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
            stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
        stack.enter_context(still(model))
        output = model(**inputs)
        logits = output["logits"] if isinstance(output, Mapping) else output[0]
        value = (loss or example_loss("ce"))(logits, labels).mean()
        first = torch.autograd.grad(value, at, create_graph=True, materialize_grads=True)
        along = torch.stack([(one * other).sum() for one, other in zip(first, vector.values(), strict=True)]).sum()
        second = torch.autograd.grad(along, at, materialize_grads=True)
    return dict(zip(vector, second, strict=True))
