"""Settings of mixed soft prompts; light, so that methods can check them before anything is loaded."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .config import strict


@strict
class MixtureConfig:
    """How the soft prompts of a text's attributes are mixed.

    Attributes:
        mixer: `concat` puts them one after the other, `pooling` takes their mean, `attention` and `bottleneck` a mean
            weighted by the rest of the input, `cnn` convolves them.
        length: Vectors of an attribute.
        instruction: Vectors of the instruction, which all texts share.
        most: Attributes of a text at most, of each level; `concat` and `cnn` alone are so limited.
        hidden: Of `bottleneck`: its width.
        tau: Of `attention` and `bottleneck`: divides the scores before the softmax. Left out, it is the width times
            the root mean square of the first prompts: whatever the scale of the model's embeddings, scores begin small
            and stay of the order of 1 at most, so that no attribute is shut out by large learning rates.
    """

    mixer: Literal["concat", "pooling", "attention", "bottleneck", "cnn"] = "attention"
    length: int = Field(20, ge=1)
    instruction: int = Field(100, ge=0)
    most: int = Field(10, ge=1)
    hidden: int = Field(300, ge=1)
    tau: float | None = Field(None, gt=0)


@strict
class MixtureTuningConfig(MixtureConfig):
    """How soft prompts and their mixer are trained beside a frozen model.

    Attributes:
        tune_epochs: Times over the rows.
        tune_batch_size: Rows a step.
        tune_learning_rate: Peak of AdamW's, which rises over a tenth of the steps and falls to 0 along a cosine.
            It goes with the scale of the embeddings: for T5, 0.1 to 0.3.
    """

    read_by: ClassVar = {
        "hidden": ("mixer", ("bottleneck",)),
        "tau": ("mixer", ("attention", "bottleneck")),
        "most": ("mixer", ("concat", "cnn")),
    }

    tune_epochs: int = Field(10, ge=1)
    tune_batch_size: int = Field(8, ge=1)
    tune_learning_rate: float = Field(2e-2, gt=0)
