"""Where a transformer's layers are, whatever its architecture calls them."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..errors import InputError


def layers_of(model: Any) -> list[nn.ModuleList]:
    """Return the stacks of layers of a model in the order of reading: one, or those of encoder and decoder.

    Raises:
        InputError: If none is found.
    """
    config = model.config.get_text_config()
    names = ("num_hidden_layers", "num_layers", "n_layer", "num_decoder_layers", "encoder_layers", "decoder_layers")
    depths = {getattr(config, name, None) for name in names} - {None}
    found: list[nn.ModuleList] = []
    inside: set[nn.Module] = set()
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and module not in inside and len(module) in depths:
            found.append(module)
            inside |= set(module.modules())
    if not found:
        raise InputError(f"cannot tell where the layers of a {config.model_type} model are; choose another `adapt`")
    return found
