"""Filter that removes the noisiest share of texts, by how far they are from their seed and how common their labels.

Chen et al., "Mixture of Soft Prompts for Controllable Data Generation" (https://huggingface.co/papers/2303.01580).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from statistics import fmean
from typing import Any

from pydantic import Field

from ..config import strict
from ..exemplars import Seeds
from ..models import Source, resolve
from ..records import Example
from ..retrieval.settings import ENCODER
from ..run import Run
from .likelihood import first_of_each


@strict
class DenoisingConfig:
    """How noisy texts are found.

    Attributes:
        keep_share: Share of each label's texts that stays; so many more are written.
        closeness: How much closeness to the seed counts; how rare the labels are counts the rest.
        encoder: What measures closeness: a Hub id or a local folder.
    """

    keep_share: float = Field(0.8, gt=0, le=1)
    closeness: float = Field(0.5, ge=0, le=1)
    encoder: str = ENCODER


class Cleanest:
    """Keep, in each cell, a share of the examples, those of least noise; the others are `noisy`.

    Noise is `(1 - w) commonness + w (1 - cosine)`: the mean share of the example's labels among the shots', and how
    far its text is from its seed's. It ranks what it is shown, so it is shown everything at once.

    Args:
        run: Records the cosines.
        seeds: What the examples were written from.
        wanted: How many of each cell at most.
        config: See `DenoisingConfig`; w is its `closeness`.

    Raises:
        InputError: If its encoder exists nowhere; so make the filter before anything is written for it.
    """

    def __init__(self, run: Run, seeds: Seeds, wanted: Mapping[Hashable, int], config: DenoisingConfig):
        self.run, self.seeds, self.wanted, self.config = run, seeds, wanted, config
        self.encoder = resolve(config.encoder)

    def __call__(self, examples: Sequence[Example]) -> list[str | None]:
        """Return the reasons."""
        column = self.seeds.task.generated
        texts = [(example.fields[column], self.seeds.of(example).text) for example in examples]
        near, weight = cosines(self.run, self.encoder, texts), self.config.closeness
        noise = [
            (1 - weight) * self.seeds.commonness(example) + weight * (1 - own)
            for example, own in zip(examples, near, strict=True)
        ]
        sizes, share = Counter(example.cell for example in examples), self.config.keep_share
        most = {cell: min(self.wanted.get(cell, 0), math.ceil(share * size)) for cell, size in sizes.items()}
        order = sorted(range(len(examples)), key=lambda at: noise[at])
        reasons = first_of_each(examples, order, most, "noisy")
        self.run.note("denoising", _told(reasons, near))
        return reasons


def cosines(run: Run, encoder: Source, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """Return the cosine of the vectors of both texts of each pair, recorded."""

    def compute() -> list[float]:
        from ..retrieval.encode import Encoder

        encode = Encoder(encoder.path, "mean", True, 128)
        texts = sorted({text for pair in pairs for text in pair})
        vectors = encode(texts)
        place = {text: at for at, text in enumerate(texts)}
        return [float(vectors[place[one]] @ vectors[place[other]]) for one, other in pairs]

    return run.once("closeness", [encoder.sha256, pairs], compute)


def _told(reasons: Sequence[str | None], near: Sequence[float]) -> dict[str, Any]:
    """Return what the card says: how many texts stayed and went, and how near they were to their seeds."""
    found: dict[str, Any] = {}
    for name, stays in (("kept", True), ("removed", False)):
        own = [value for value, reason in zip(near, reasons, strict=True) if (reason is None) == stays]
        found[f"{name}, texts"] = len(own)
        found[f"{name}, mean cosine with the seed"] = round(fmean(own), 4) if own else "unknown"
    return found
