"""How weights of examples are learnt: the settings of `BilevelTrainer`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from hf_synth.config import strict
from hf_synth.errors import InputError
from hf_synth.trainers.weights import Feature


@strict
class BilevelConfig:
    """How weights are learnt.

    Attributes:
        mode: `sungen` trains from the same start in every round and then steps all weights; `online` steps those of
            the batch before each optimizer step.
        rounds: Of `sungen`: how many; the published run has 100.
        epochs: Of `sungen`: epochs of a round (the published run has 1); `num_train_epochs` where left out. With
            `max_steps` rounds share these, and `epochs` is refused.
        through: Of `sungen` in a recipe: what learns in the rounds. `encoder`: a head of two layers on the embeddings
            that the student's encoder gives before it learns the rows, one epoch a round. It takes seconds, and does
            not learn wrong labels by heart, as a model does that is trained whole: its weights find more of them.
            `model`: the student (the paper's). Left out: `encoder` for tasks of one label a text and students that
            have one, else `model`.
        outer_loss: What the outer rows judge by; see `losses.example_loss`. Gradients are scaled, so `rce` (published
            with a scale of 10) and `mae`, which it equals up to scale, are one here.
        scale: Of `sce`: of its `rce`, beside the cross entropy.
        outer: Which rows of the training set may judge where no others are given: `all`, or the `real` ones, which
            the column `synthetic` tells apart (`real_rows` in a recipe).
        outer_rows: How many of these are drawn.
        balanced: Each label counts the same in the outer loss, however many rows have it. Labels that are asked for
            equally often are in excess by mistakes only, which would otherwise gather weight. (Not in the paper.)
        redraw: Draw it anew in each round (UniGen), not once (SunGen).
        confident: Of `sungen`: share of each class's rows, by weight, whose outer loss counts; under `outer: real`
            and of outer rows given apart all count. (The published code takes it of all rows together; a class whose
            weights fall then loses its say.)
        weigh: A free weight per example, or a small network from features to weights.
        step: How free weights move. `scaled`: down the gradient over its root mean square, in `sungen` that of the
            first round, so that steps shrink as weights settle. `adam`, of `sungen`: as published; every weight moves
            as far in the first rounds, but where its gradient is below 1% of their root mean square. A network moves
            by Adam.
        weight_lr: Step size: 0.2 (`scaled`; 0.5 if `online`), 0.25 (`adam`), 0.01 (`network`) where left out.
        features: What the network sees. `label` finds mistakes that lean to one; where many lean to none, it can fail.
        hidden: Width of its hidden layer.
        inner: Of `online`: `reused` goes along the gradient that the look-ahead took, so that new weights count from
            an example's next visit; `exact` computes it again under the new weights.
        outer_batch: Of `online`: outer rows for each inner row.
        outer_momentum: Of `online`: share of the past in the outer gradient; a step's outer rows alone say little.
        derivative: See `directional_derivatives`; `difference` is cheaper `online`, blurred by rounding, most in bf16:
            losses then depend on how a batch is cut up, by about 1e-5 in 24 steps of fp32.
        seed: Draws the outer rows.
    """

    read_by: ClassVar = {
        **{name: ("mode", ("sungen",)) for name in ("rounds", "epochs", "through", "redraw", "confident")},
        **{name: ("mode", ("online",)) for name in ("inner", "outer_batch", "outer_momentum")},
        **{name: ("weigh", ("network",)) for name in ("features", "hidden")},
        "scale": ("outer_loss", ("sce",)),
        "step": ("weigh", ("examples",)),
    }

    mode: Literal["sungen", "online"] = "sungen"
    rounds: int = Field(10, ge=1)
    epochs: float | None = Field(None, gt=0)
    through: Literal["encoder", "model"] | None = None
    outer_loss: Literal["rce", "mae", "gce", "sce", "ce"] = "rce"
    scale: float = Field(10.0, gt=0)
    outer: Literal["all", "real"] = "all"
    outer_rows: int = Field(50_000, ge=2)
    balanced: bool = True
    redraw: bool = False
    confident: float = Field(0.9, gt=0, le=1)
    weigh: Literal["examples", "network"] = "examples"
    step: Literal["scaled", "adam"] = "scaled"
    weight_lr: float | None = Field(None, gt=0)
    features: tuple[Feature, ...] = Field(("loss", "margin"), min_length=1)
    hidden: int = Field(100, ge=1)
    inner: Literal["reused", "exact"] = "reused"
    outer_batch: float = Field(0.5, gt=0)
    outer_momentum: float = Field(0.97, ge=0, lt=1)
    derivative: Literal["forward", "difference"] = "forward"
    seed: int = Field(0, ge=0)

    def __post_init__(self) -> None:
        if self.mode == "online" and self.step == "adam":
            raise InputError("`step: adam` is of the mode sungen; `online` steps a batch's weights, `scaled`")

    @property
    def speed(self) -> float:
        """Return the step size of the weights."""
        if self.weigh == "network":
            return self.weight_lr or 0.01
        return self.weight_lr or (0.5 if self.mode == "online" else {"scaled": 0.2, "adam": 0.25}[self.step])
