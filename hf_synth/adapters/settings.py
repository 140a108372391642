"""What of a language model is trained, and how."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ..config import strict

Adapt = Literal["prefix", "prompt", "lora", "dora", "last_layer", "embeddings", "bias", "bottleneck"]
SIZES = {"prefix": 20, "prompt": 20, "lora": 16, "dora": 16, "bottleneck": 32}

RATES = {
    "prefix": 5e-3,
    "prompt": 1e-2,
    "lora": 5e-4,
    "dora": 5e-4,
    "last_layer": 5e-5,
    "embeddings": 1e-4,
    "bias": 5e-3,
    "bottleneck": 1e-3,
}


@strict
class AdapterConfig:
    """What of a language model is trained; the rest is frozen.

    Attributes:
        adapt: `prefix` (keys and values in front of every layer), `prompt` (embeddings in front of the text), `lora`,
            `dora`, `last_layer`, `embeddings`, `bias` (BitFit; BEFT where the model has no biases) or `bottleneck`
            (Houlsby's adapters).
        adapter_size: Tokens of `prefix` and `prompt` (20 where left out), rank of `lora` and `dora` (16), width of
            `bottleneck` (32); the others have none.
    """

    adapt: Adapt = "lora"
    adapter_size: int | None = Field(None, ge=1)

    @property
    def size(self) -> int:
        """Return `adapter_size`, or what stands for it."""
        return self.adapter_size or SIZES.get(self.adapt, 0)


@strict
class TuningConfig(AdapterConfig):
    """How a generator is tuned.

    Attributes:
        per_label: One adapter for each label, trained on its rows, in place of one for all.
        tune_epochs: Times over the rows.
        tune_learning_rate: Peak of a linear schedule; the usual one of what is trained where left out.
        tune_batch_size: Rows a step.
        prefer_epochs: Then, times over pairs of texts by direct preference optimisation: after a label's prompt, a
            row of that label is preferred to one of another. Of `lora` and `dora`.
        prefer_beta: How far preferences may lead away from the model as it was; less is further.
    """

    per_label: bool = False
    tune_epochs: float = Field(5.0, gt=0)
    tune_learning_rate: float | None = Field(None, gt=0)
    tune_batch_size: int = Field(8, ge=1)
    prefer_epochs: float = Field(0.0, ge=0)
    prefer_beta: float = Field(0.1, gt=0)

    @property
    def rate(self) -> float:
        """Return `tune_learning_rate`, or what stands for it."""
        return self.tune_learning_rate or RATES[self.adapt]


@strict
class MetaConfig:
    """How FewGen's prefixes are tuned; the default values are the paper's, but for the epochs and the rows a step.

    Attributes:
        tune_epochs: Times over the rows.
        tune_batch_size: Rows a step.
        tune_learning_rate: Of AdamW, falling to 0, for prefixes and infixes.
        meta_weighting: Learn how much each token counts; else all tokens of a text count alike.
        virtual_rate: Size of the virtual step that the weights are judged behind.
        weight_learning_rate: Of Adam, falling to 0, for the network that weighs tokens.
        normalize: Weights sum to 1 over a `sample`, or over the `batch` as in the released code.
        given_tokens: A given text is cut to this many tokens in training.
        written_tokens: A text to write is cut to this many tokens in training.
    """

    read_by: ClassVar = {name: ("meta_weighting", (True,)) for name in ("virtual_rate", "weight_learning_rate")}

    tune_epochs: int = Field(5, ge=1)
    tune_batch_size: int = Field(4, ge=1)
    tune_learning_rate: float = Field(5e-3, gt=0)
    meta_weighting: bool = True
    virtual_rate: float = Field(2e-2, gt=0)
    weight_learning_rate: float = Field(1e-2, gt=0)
    normalize: Literal["sample", "batch"] = "sample"
    given_tokens: int = Field(100, ge=1)
    written_tokens: int = Field(64, ge=1)
