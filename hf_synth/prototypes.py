"""Class prototypes in a space of their own, learnt by contrast (ProtoVerb, https://huggingface.co/papers/2203.09770)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus

if TYPE_CHECKING:
    from .row_weights import Floats

WIDTH, STEPS, RATE, TEMPERATURE = 128, 30, 1e-3, 0.1


def info_nce(similarity: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Return the mean of -log(exp(s+) / (exp(s+) + sum exp(s-))) over all positives.

    Args:
        similarity: Of anchors and instances, over the temperature, [A, N].
        positive: Which pairs are to be near, [A, N].
        negative: Which are to be far, [A, N].
    """
    rest = similarity.masked_fill(~negative, -torch.inf).logsumexp(1, keepdim=True)
    return softplus(rest - similarity)[positive].mean()


def fit_prototypes(vectors: Floats, labels: Sequence[int], seed: int) -> tuple[Floats, Floats]:
    """Learn a projection and a prototype for each label, [D, W] and [K, W].

    Section 3.2 of the paper: a prototype is drawn to the instances of its class and away from the others, and so is
    each instance. The encoder stays as it is. Prototypes start at the mean of their class: few texts move them little.

    Args:
        vectors: Of texts, [N, D].
        labels: Their labels, counted from 0, each of them there, [N].
        seed: Decides where the projection starts.
    """
    given, of = torch.tensor(vectors), torch.tensor(labels)
    classes = torch.arange(int(of.max()) + 1)
    project = torch.empty(given.shape[1], WIDTH)
    torch.nn.init.orthogonal_(project, generator=torch.Generator().manual_seed(seed))
    prototypes = torch.stack([(given @ project)[of == label].mean(0) for label in classes])
    optimizer = torch.optim.Adam([project.requires_grad_(), prototypes.requires_grad_()], RATE)
    same, own = of[:, None] == of, classes[:, None] == of
    pairs = same & ~torch.eye(len(of), dtype=torch.bool)
    for _ in range(STEPS):
        placed = normalize(given @ project, dim=-1)
        to_prototypes = normalize(prototypes, dim=-1) @ placed.T / TEMPERATURE
        among = placed @ placed.T / TEMPERATURE
        loss = info_nce(to_prototypes, own, ~own) + info_nce(among, pairs, ~same)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return project.detach().numpy(), prototypes.detach().numpy()
