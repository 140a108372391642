"""Losses per example, cross entropy and those that label noise harms less."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from .errors import unknown

IGNORED = -100
Loss = Callable[[Tensor, Tensor], Tensor]


def example_loss(
    name: str = "ce", *, scale: float = 10.0, q: float = 0.7, alpha: float = 0.1, smoothing: float = 0.0
) -> Loss:
    """Return a loss that gives each example its own value.

    With `p` the softmax of the logits and `y` the label of K classes:

    - `ce`: `-log p_y`; with `smoothing` e, the target is `1 - e + e/K` for the label and `e/K` for the others.
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
        smoothing: See `ce`.

    Returns:
        A function of logits and labels to [N]. Logits [N, K] take class indices [N]; logits [N, T, K] take [N, T] and
        give the mean over each example's labelled tokens; logits [N, K] with one target between 0 and 1 for each
        class, [N, K], give the mean over the classes, each a choice of two. -100 is not counted.

    Raises:
        InputError: For another name.
    """
    choices: dict[str, Loss] = {
        "ce": lambda logits, labels: _cross_entropy(logits, labels, smoothing),
        "rce": lambda logits, labels: _reverse(logits, labels, scale),
        "mae": lambda logits, labels: 2 * (1 - _label_probability(logits, labels)),
        "gce": lambda logits, labels: (1 - _label_probability(logits, labels).clamp(min=1e-7) ** q) / q,
        "sce": lambda logits, labels: _reverse(logits, labels, scale) + alpha * _cross_entropy(logits, labels),
    }
    if name not in choices:
        raise unknown("a loss", name, choices)
    chosen = choices[name]

    def by_example(logits: Tensor, labels: Tensor) -> Tensor:
        logits, counted, labels = logits.float(), labels != IGNORED, labels.clamp(min=0)
        if not labels.is_floating_point():
            values = chosen(logits, labels)
        elif name == "ce":
            targets = labels * (1 - smoothing) + smoothing / 2
            values = binary_cross_entropy_with_logits(logits, targets, reduction="none")
        else:
            values = chosen(torch.stack([torch.zeros_like(logits), logits], -1), labels.round().long())
        values = torch.where(counted, values, 0.0)
        return values if values.dim() == 1 else values.sum(-1) / counted.sum(-1).clamp(min=1)

    return by_example


def balanced(loss: Loss, counts: Tensor) -> Loss:
    """Return a loss in which each class counts the same, however many examples have its label.

    Args:
        loss: Gives each example its loss.
        counts: Examples of each class, [K]. Examples with several labels, [N, T] or [N, K], all count the same.
    """
    weights = counts.sum() / (counts > 0).sum() / counts.clamp(min=1)

    def by_class(logits: Tensor, labels: Tensor) -> Tensor:
        values = loss(logits, labels)
        return values if labels.dim() > 1 else values * weights.to(values)[labels.clamp(min=0)]

    return by_class


def _cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    return cross_entropy(logits.transpose(1, -1), labels, reduction="none", label_smoothing=smoothing)


def _reverse(logits: Tensor, labels: Tensor, scale: float) -> Tensor:
    others = torch.tensor(float(logits.shape[-1] - 1), device=logits.device)
    return torch.logaddexp(torch.full_like(others, scale), others.log()) - scale * _label_probability(logits, labels)


def _label_probability(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.softmax(-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
