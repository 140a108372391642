"""Weights of linear layers, laid out once as a CPU multiplies by them."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

ROWS = 256  # for which the layout is the best one; products of fewer rows take it too
X86 = ("AVX2", "AVX512")
MOST = 2 * 1024**3  # bytes of weights that may stand in memory twice


def pack(model: Any) -> None:
    """Let a model's linear layers multiply by weights that oneDNN has put in its own order.

    torch has it do so anew for each product, which costs the more the fewer rows there are. Nothing changes but on an
    x86 CPU, for bfloat16 where it multiplies that and for float32, and not for models of which two copies would be too
    much.

    Args:
        model: A loaded model, which is used for inference alone.
    """
    layers = [layer for layer in model.modules() if type(layer) is torch.nn.Linear]
    layers = [layer for layer in layers if layer.weight.dtype in _able() and layer.weight.device.type == "cpu"]
    if sum(layer.weight.nbytes for layer in layers) > MOST:
        return
    with torch.inference_mode():
        for layer in layers:
            weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight, ROWS)
            layer.forward = partial(_linear, weight, layer.bias)  # type: ignore[method-assign]


def _able() -> set[torch.dtype]:
    """Return the types of which there are products with such weights."""
    operations = torch.ops.mkldnn
    names = ("_reorder_linear_weight", "_linear_pointwise", "_is_mkldnn_bf16_supported")
    # They are torch's own, for compiled models, and may go.
    if not all(hasattr(operations, name) for name in names) or torch.backends.cpu.get_cpu_capability() not in X86:
        return set()
    return {torch.float32} | ({torch.bfloat16} if operations._is_mkldnn_bf16_supported() else set())


def _linear(weight: torch.Tensor, bias: torch.Tensor | None, inputs: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return found
