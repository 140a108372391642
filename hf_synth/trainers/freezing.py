"""Which parameters of a student move, by names that fit every encoder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from hf_synth.errors import InputError


def parameter_sets(model: nn.Module) -> dict[str, frozenset[str]]:
    """Return the sets that a round can name, of the parameters that require gradients."""
    within: Any = getattr(model, "get_base_model", None)  # PEFT's own `base_model` is all that it wraps, with the head
    inner = within() if within else model
    base = getattr(inner, "base_model", inner)
    body = {id(parameter) for parameter in base.parameters()}
    names = {name: id(parameter) for name, parameter in model.named_parameters() if parameter.requires_grad}
    head = {
        name for name in names if (re.search(r"\bclassifier\.", name) if base is inner else names[name] not in body)
    }
    layers = {name: int(found[1]) for name in {*names} - head if (found := re.search(r"\.(\d+)\.", name))}
    lowest = (max(layers.values(), default=-1) + 1) * 2 // 3
    upper = {name for name, layer in layers.items() if layer >= lowest}
    # ModernBERT's final norm stands above its layers as other models' norms stand inside theirs.
    upper |= {name for name in names if re.search(r"\b(pooler|final_norm)\.", name)}
    return {"everything": frozenset(names), "upper": frozenset(upper | head), "head": frozenset(head)}


def chosen_parameters(wanted: str | Sequence[str], sets: Mapping[str, frozenset[str]], where: str) -> frozenset[str]:
    """Return the names of parameters: those of a set, or those in which one of several regular expressions is found.

    Raises:
        InputError: If a set or a pattern names nothing; `where` says who asked.
    """
    found: dict[str, frozenset[str]]
    if isinstance(wanted, str):
        found = {wanted: sets[wanted]}
    else:
        found = {one: frozenset(n for n in sets["everything"] if re.search(one, n)) for one in wanted}
    for asked, names in found.items():
        if not names:
            some = ", ".join(sorted(sets["everything"])[-3:])
            raise InputError(f"{where}: {asked!r} names no trainable parameter; there are {some} and others")
    return frozenset().union(*found.values())
