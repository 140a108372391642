"""Directional derivatives of each example's loss along a direction in parameter space.

Weights that a noise-robust loss asks for (SunGen, https://huggingface.co/papers/2205.12679), the influence of an
example (ProGen, https://huggingface.co/papers/2210.12329) and meta-weights (FewGen) all need one number per example:
the product of its gradient with one fixed direction. That is a derivative of its loss along the direction, which one
forward-mode pass gives for a whole batch, without a backward pass per example and without a second-order graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from .losses import IGNORED, Loss, example_loss

STEP = 0.002  # of the two-pass way, over the length of the direction; 0.01 is off by 1% where losses bend


def directional_derivatives(
    model: nn.Module,
    batch: Mapping[str, Any],
    direction: Mapping[str, Tensor],
    *,
    loss: Loss | None = None,
    by: Literal["forward", "difference"] = "forward",
) -> Tensor:
    """Return the derivative of each example's loss along a direction: its gradient times the direction.

    Args:
        model: Any module whose output has `logits`, in the mode (no dropout) in which it is left.
        batch: Its inputs, and `labels`.
        direction: Parameter name -> tensor of that parameter's shape; parameters that are not named stand still.
        loss: Gives each example its loss; cross entropy by default.
        by: `forward` differentiates in forward mode (exact); `difference` compares two forward passes, which is
            faster, needs nothing of the model, and is good to about 5e-3.

    Returns:
        One derivative per example, [N].
    """
    loss = loss or example_loss("ce")
    inputs, labels = {name: value for name, value in batch.items() if name != "labels"}, batch["labels"]
    named = dict(model.named_parameters())
    at = {name: named[name].detach() for name in direction}

    def losses(parameters: Mapping[str, Tensor]) -> Tensor:
        output = functional_call(model, dict(parameters), (), inputs)
        return loss(output["logits"] if isinstance(output, Mapping) else output[0], labels)

    with still(model):
        if by == "forward":
            with torch.no_grad(), _forward_mode(model):
                along = {name: value.to(at[name]) for name, value in direction.items()}
                return jvp(losses, (at,), (along,))[1]
        with torch.no_grad():
            length = torch.stack([value.float().norm() for value in direction.values()]).norm()
            step = STEP / length.clamp(min=1e-30)
            ahead, behind = (
                losses({name: at[name] + sign * step * value.to(at[name]) for name, value in direction.items()})
                for sign in (1, -1)
            )
            return (ahead - behind) / (2 * step)


def mean_gradient(
    model: nn.Module, parameters: Mapping[str, Tensor], batches: Iterable[tuple[Mapping[str, Any], Tensor]], loss: Loss
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the gradient of a loss summed over the rows of many batches, without dropout, and the number of rows.

    Args:
        model: Any module whose output has `logits`.
        parameters: Parameter name -> the tensor to stand for it, which takes gradients.
        batches: Inputs and labels; rows whose labels are all -100 do not count.
        loss: Gives each row its loss.

    Returns:
        Parameter name -> gradient, zero where the loss does not depend on it; the number of rows that counted.
    """
    total = {name: torch.zeros_like(value) for name, value in parameters.items()}
    count = torch.zeros((), device=next(iter(total.values())).device)
    with still(model), _differentiable(model):
        for inputs, labels in batches:
            output = functional_call(model, dict(parameters), (), dict(inputs))
            losses = loss(output["logits"] if isinstance(output, Mapping) else output[0], labels)
            # Not `backward`: under DDP that would set off its own reduction of the parameters' gradients.
            found = torch.autograd.grad(losses.sum(), list(parameters.values()), allow_unused=True)
            for name, gradient in zip(total, found, strict=True):
                if gradient is not None:
                    total[name] += gradient
            count += (labels != IGNORED).reshape(len(labels), -1).any(-1).sum()
    return total, count


@contextmanager
def still(model: nn.Module) -> Iterator[None]:
    """Run a model without dropout and put it back into the mode it was in."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@contextmanager
def _forward_mode(model: nn.Module) -> Iterator[None]:
    """Choose kernels that have forward-mode derivatives, and no hooks that forward mode refuses."""
    with ExitStack() as stack:
        for hooks in [module._forward_hooks for module in model.modules()]:
            for key, hook in [*hooks.items()]:
                # Gradient checkpointing has embeddings ask for gradients (transformers' and peft's function, by name;
                # their own way off forgets the first of two); `jvp` allows no such call.
                if getattr(hook, "__name__", "").startswith("make_inputs_require_grad"):
                    stack.callback(_put_back, hooks, dict(hooks))
                    del hooks[key]
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(_differentiable(model))
        if any(isinstance(module, nn.RNNBase) for module in model.modules()):
            stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
        yield


def _put_back(hooks: dict[int, Any], before: Mapping[int, Any]) -> None:
    hooks.clear()  # hooks run in the order in which they stand
    hooks.update(before)


@contextmanager
def _differentiable(model: nn.Module) -> Iterator[None]:
    """Go without cuDNN's recurrent kernels, which have no derivative outside training mode."""
    with ExitStack() as stack:
        if any(isinstance(module, nn.RNNBase) for module in model.modules()):
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        yield
