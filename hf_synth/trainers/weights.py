"""How much each example counts, as something that a gradient can move: a number per row, or a small network."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from hf_synth.errors import InputError
from hf_synth.losses import IGNORED, example_loss

Feature = Literal["loss", "margin", "label", "embedding"]
LARGEST = 10.0  # root mean square of a round's gradient, the first round's being 1


class ExampleWeights(nn.Module):
    """One free number `a` per row, whose weight is `sigmoid(a)`; all start at 1/2 (SunGen).

    Args:
        rows: How many.
    """

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(rows))

    def forward(self, at: Tensor, features: Tensor | None = None) -> Tensor:
        """Return the weights of the rows at positions `at`, [N]."""
        return self.logit[at].sigmoid()


class WeightNetwork(nn.Module):
    """A network from an example's features to its weight (Meta-Weight-Net, https://huggingface.co/papers/1902.07379).

    Args:
        features: Width of the features.
        hidden: Width of its hidden layer.
        seed: Decides how it starts; its last layer starts at zero, so that all weights start at 1/2.
    """

    def __init__(self, features: int, hidden: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(nn.Linear(features, hidden), nn.ReLU())
            # Without a bias: only what tells rows apart counts, and Adam would step along the rounding noise of its 0.
            self.head = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, at: Tensor, features: Tensor | None = None) -> Tensor:
        """Return the weights of rows by their features, [N, F] -> [N]."""
        return self.head(self.layers(features)).squeeze(-1).sigmoid()


def follow(rule: nn.Module, at: Tensor, features: Tensor | None, derivatives: Tensor) -> None:
    """Give a rule's parameters the gradient of the outer loss, from each row's product with the outer gradient, [N].

    The weights in use are divided by their mean, so that all of them rising alike changes nothing. Free weights can
    leave that out, as published; a network would learn to raise all weights before it learns to tell rows apart, by
    whatever feature serves, until its sigmoid is flat.
    """
    weights = rule(at, features)
    if isinstance(rule, WeightNetwork):
        derivatives = derivatives - ((weights * derivatives).sum() / weights.sum()).detach()
    rule.zero_grad()
    weights.backward(-derivatives)


def scale_gradient(rule: nn.Module, size: Tensor) -> Tensor:
    """Divide the gradient of a rule by `size`, or by its root mean square where that is 0; return by what it was.

    It is divided by more where it would be over `LARGEST`: a first round that was too short to learn has next to no
    gradient, and steps by its measure would put all weights at 0 or 1 for good.

    Raises:
        InputError: If it is zero or no number, so that no weight can move.
    """
    gradients = [p.grad for p in rule.parameters() if p.grad is not None]
    own = torch.cat([gradient.flatten() for gradient in gradients]).square().mean().sqrt()
    if not torch.isfinite(own) or own == 0:
        raise InputError(f"the gradient of the weights is {own.item()}: the outer loss does not depend on them")
    size = own if size == 0 else torch.maximum(size, own / LARGEST)
    for gradient in gradients:
        gradient.div_(size)
    return size


def lowest_of_classes(weights: Tensor, labels: np.ndarray, share: float) -> Tensor:
    """Tell which rows, [N], have the lowest weights of their class; of all rows where a row has several labels."""
    values, least = weights.numpy(), np.zeros(len(weights), np.float32)
    for label in np.unique(labels) if labels.shape == values.shape else [None]:
        group = slice(None) if label is None else labels == label
        # A weight itself, not a value in between, which rounding could put on either side of it.
        least[group] = np.quantile(values[group], share, method="higher")
    return torch.from_numpy(values < least)


class Features:
    """What a weight network sees of an example under the student: its loss, its margin, its label, its embedding.

    The margin is the label's logit less the best other one (the mean over labelled tokens, or over classes of their
    signed logits); the label is one number for each class; the embedding is what goes into the student's last layer.

    Args:
        model: The student.
        names: Which of them.
        classes: Its number of labels; `None` where they are places in a text.

    Raises:
        InputError: For a name that stands twice, or label or embedding where labels are places in a text.
    """

    def __init__(self, model: nn.Module, names: tuple[Feature, ...], classes: int | None) -> None:
        self.names, self.classes = names, classes or 0
        self._loss = example_loss()
        self._embedding: Tensor | None = None
        self._hook: Any = None
        if len({*names}) < len(names):
            raise InputError(f"`features` must name each once; got {', '.join(names)}")
        if classes is None and (wrong := {"label", "embedding"} & {*names}):
            raise InputError(f"`features: {min(wrong)}` needs a model of classes; answers that are spans have none")
        self.width = sum(self.classes if name == "label" else 1 for name in names)
        if "embedding" in names:
            self.width += self._head(model).in_features - 1
            self.watch(model)

    def watch(self, model: nn.Module) -> None:
        """See the embeddings of this model from now on, and of no other."""
        if "embedding" in self.names:
            if self._hook is not None:
                self._hook.remove()
            self._hook = self._head(model).register_forward_pre_hook(self._keep)

    def _head(self, model: nn.Module) -> nn.Linear:
        return [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == self.classes][-1]

    def _keep(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._embedding = inputs[0].detach().float()

    @torch.no_grad()
    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the features, [N, F], of the batch that went through the student last."""
        found = {"loss": self._loss(logits, labels)[:, None], "margin": _margin(logits.float(), labels)[:, None]}
        if "label" in self.names:
            found["label"] = _classes(labels, self.classes)
        if self._embedding is not None:
            found["embedding"] = _mean_over_labelled(self._embedding, labels)
        return torch.cat([found[name] for name in self.names], -1)


def _classes(labels: Tensor, classes: int) -> Tensor:
    """Return labels as shares of classes, [N, K]; of tokens, the mean over those labelled."""
    if labels.is_floating_point():
        return labels.clamp(min=0)
    return _mean_over_labelled(one_hot(labels.clamp(min=0), classes).float(), labels)


def _margin(logits: Tensor, labels: Tensor) -> Tensor:
    if labels.is_floating_point():
        return torch.where(labels > 0.5, logits, -logits).mean(-1)
    place = labels.clamp(min=0).unsqueeze(-1)
    others = logits.scatter(-1, place, float("-inf")).amax(-1)
    return _mean_over_labelled((logits.gather(-1, place).squeeze(-1) - others).unsqueeze(-1), labels).squeeze(-1)


def _mean_over_labelled(values: Tensor, labels: Tensor) -> Tensor:
    """Return values [N, F] as they are, [N, T, F] as means over the labelled tokens of each example."""
    if values.dim() == 2:
        return values
    mask = (labels != IGNORED).unsqueeze(-1).to(values)
    return (values * mask).sum(1) / mask.sum(1).clamp(min=1)
