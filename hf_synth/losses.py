"""Losses per example, cross entropy and those that label noise harms less."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from .errors import unknown

IGNORED = -100
Loss = Callable[[Tensor, Tensor], Tensor]


def example_loss(name: str = "ce", *, scale: float = 10.0, q: float = 0.7, alpha: float = 0.1) -> Loss:
    """Return a loss that gives each example its own value.

    With `p` the softmax of the logits and `y` the label of K classes:

    - `ce`: `-log p_y`.
    - `rce`, reverse cross entropy with a softened one-hot target, as SunGen's code has it
      (https://huggingface.co/papers/2205.12679): `log(e^s + K - 1) - s p_y`, s being `scale` (SunGen 10, ProGen 1).
    - `mae`: `2 (1 - p_y)` (https://huggingface.co/papers/1712.09482).
    - `gce`, generalised cross entropy: `(1 - p_y^q) / q` (https://huggingface.co/papers/1805.07836).
    - `sce`, symmetric cross entropy: `rce + alpha ce` (https://huggingface.co/papers/1908.06112).

    Args:
        name: One of these.
        scale: See `rce`.
        q: See `gce`.
        alpha: See `sce`.

    Returns:
        A function of logits and labels. Logits [N, K] with class indices [N] give [N]; logits [N, T, K] with labels
        [N, T], of which -100 is not counted, give the mean over each example's labelled tokens, [N]; logits [N, K]
        with one target between 0 and 1 for each class, [N, K], give the mean over the classes (`ce` only), [N].

    Raises:
        InputError: For another name.
    """
    choices: dict[str, Loss] = {
        "ce": _cross_entropy,
        "rce": partial(_reverse, scale=scale),
        "mae": lambda logits, labels: 2 * (1 - _label_probability(logits, labels)),
        "gce": lambda logits, labels: (1 - _label_probability(logits, labels).clamp(min=1e-7) ** q) / q,
        "sce": lambda logits, labels: _reverse(logits, labels, scale) + alpha * _cross_entropy(logits, labels),
    }
    if name not in choices:
        raise unknown("a loss", name, choices)
    return partial(_by_example, choices[name])


def _by_example(loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
    logits = logits.float()
    if labels.is_floating_point():
        return binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(-1)
    values, counted = loss(logits, labels.clamp(min=0)), labels != IGNORED
    if labels.dim() == 1:
        return torch.where(counted, values, 0.0)
    return torch.where(counted, values, 0.0).sum(-1) / counted.sum(-1).clamp(min=1)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(logits.transpose(1, -1), labels, reduction="none")


def _reverse(logits: Tensor, labels: Tensor, scale: float) -> Tensor:
    others = torch.tensor(float(logits.shape[-1] - 1), device=logits.device)
    return torch.logaddexp(torch.full_like(others, scale), others.log()) - scale * _label_probability(logits, labels)


def _label_probability(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
