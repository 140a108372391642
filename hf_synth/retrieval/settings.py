"""Settings of retrieval; light, so that methods can check them before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Literal

from pydantic import Field

from ..config import checked, strict
from ..errors import InputError

ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
Pooling = Literal["mean", "cls"]


@strict
class IndexConfig:
    """How passages are searched.

    Attributes:
        kind: `exact` compares a query with every passage, `ivf` and `hnsw` (FAISS) with likely ones; `auto` is exact
            up to `exact_limit` passages and `ivf` above.
        exact_limit: See `kind`; FAISS's exact index holds 4 bytes per dimension of each passage in memory.
        depth: Ranks that can be asked of a query.
        lists: Of `ivf`: cells that passages are sorted into; 0 for 4 times the root of their number.
        probes: Of `ivf`: cells that a query looks into.
        links: Of `hnsw`: neighbours of a passage.
        ef: Of `hnsw`: passages that a query goes through, and at least its depth.
    """

    read_by: ClassVar = {
        "exact_limit": ("kind", ("auto",)),
        **{name: ("kind", ("auto", "ivf")) for name in ("lists", "probes")},
        **{name: ("kind", ("hnsw",)) for name in ("links", "ef")},
    }

    kind: Literal["auto", "exact", "ivf", "hnsw"] = "auto"
    exact_limit: int = Field(500_000, ge=1)
    depth: int = Field(128, ge=1)
    lists: int = Field(0, ge=0)
    probes: int = Field(64, ge=1)
    links: int = Field(32, ge=2)
    ef: int = Field(256, ge=1)


@strict
class PretrainConfig:
    """Contrastive continued pretraining of the encoder on the corpus.

    Attributes:
        steps: Optimiser steps.
        batch: Passages a step; each gives two spans.
        lr: Peak learning rate; the first tenth of the steps warms up, then it falls to zero.
        span: Tokens of a span at most.
        cut: Probability that a sentence starts a new span although it would fit.
        temperature: Divides the similarities; the paper's vectors are not normalised and it uses 1.
        mlm: Add the loss of masked-language modelling, where the checkpoint holds the head for it.
    """

    steps: int = Field(200, ge=1)
    batch: int = Field(64, ge=2)
    lr: float = Field(2e-5, gt=0)
    span: int = Field(30, ge=4)
    cut: float = Field(0.1, ge=0, lt=1)
    temperature: float = Field(0.05, gt=0)
    mlm: bool = True


@strict
class RetrievalConfig:
    """How a corpus is encoded and searched.

    Attributes:
        pooling: A text's vector: `mean` over its tokens, or the state of the first (`cls`, the paper's).
        normalize: Give vectors the length 1; otherwise long ones are found more often.
        contrastive_pretraining: Train the encoder on the corpus first.
        pretraining: Settings of that, as `PretrainConfig` names them.
        index: How passages are searched, as `IndexConfig` names it.
    """

    pooling: Pooling = "mean"
    normalize: bool = True
    contrastive_pretraining: bool = False
    pretraining: Mapping[str, Any] = Field(default_factory=dict)
    index: Mapping[str, Any] = Field(default_factory=dict)

    def how(self, seed: int) -> dict[str, Any]:
        """Return what a retriever is told with every call, JSON-ready.

        Raises:
            InputError: For a setting of `index` or `pretraining` that is not allowed.
        """
        index = asdict(checked(IndexConfig, self.index, "`index`"))
        pretraining = asdict(checked(PretrainConfig, self.pretraining, "`pretraining`")) | {"seed": seed}
        if self.pretraining and not self.contrastive_pretraining:
            raise InputError("`pretraining` needs `contrastive_pretraining: true`")
        how = {"pooling": self.pooling, "normalize": self.normalize, "index": index}
        return {**how, "pretraining": pretraining if self.contrastive_pretraining else None}
