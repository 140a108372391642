"""Adapters that stand beside the model: a module whose parameters are the sets' alone."""

from __future__ import annotations

from typing import Any

from torch import nn

from . import Adapters


class Beside(Adapters, nn.Module):
    """See `Adapters`.

    Attributes:
        model: The model, which all sets share.
    """

    def __init__(self, model: Any):
        super().__init__()
        self._model = [model]  # in a list, so that the model's parameters are none of this module's

    @property
    def model(self) -> Any:
        """See above."""
        return self._model[0]

    @property
    def trained(self) -> nn.Module:  # type: ignore[override]
        """See `Adapters`."""
        return self
