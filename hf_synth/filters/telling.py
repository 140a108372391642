"""Filter that keeps the texts that tell their label best from the others, as the generator's own labels see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..generators.base import Scorer
from ..journal import digest
from ..records import Example, Prompt
from ..run import Run
from .likelihood import first_of_each

DIGITS = 4


class Telling:
    """Keep, in each cell, the examples of lowest discrimination loss; the others are `tells little`.

    That loss is FewGen's (https://huggingface.co/papers/2211.03044, equation 4) of a text as a whole: minus the log of
    its label's share of exp(mean log-probability per token) under all labels. It ranks what it is shown, so it is
    shown everything at once.

    Args:
        run: Has the generator, which must score, and records what it says.
        wanted: How many of each cell.
        texts: Label -> its prompt's text, where nothing is given.
    """

    def __init__(self, run: Run, wanted: Mapping[Hashable, int], texts: Mapping[str, str]):
        self.run, self.wanted, self.texts = run, wanted, texts

    def __call__(self, examples: Sequence[Example]) -> list[str | None]:
        """Return the reasons."""
        sizes = Counter(example.cell for example in examples)
        if all(size <= self.wanted.get(cell, 0) for cell, size in sizes.items()):
            return [None] * len(examples)  # all stay: scoring each under every label would tell nothing
        task, labels = self.run.task, list(self.run.task.labels)
        texts = [example.fields[task.generated].removesuffix(task.ending) + task.stop[0] for example in examples]
        inputs = [
            self.run.generator.digest,
            digest([[example.cell, *example.fields.values()] for example in examples]),
        ]
        scores = self.run.once("discrimination", inputs, lambda: self._scores(examples, texts, labels))
        own = [labels.index(str(example.cell)) for example in examples]
        table = np.asarray(scores, float).reshape(-1, len(labels))
        losses = np.logaddexp.reduce(table, axis=1) - table[np.arange(len(own)), own]
        order = np.argsort(losses, kind="stable").tolist()
        return first_of_each(examples, order, self.wanted, "tells little")

    def _scores(self, examples: Sequence[Example], texts: Sequence[str], labels: Sequence[str]) -> list[list[float]]:
        """Return the mean log-probability of each text under each label, [N, K]."""
        scorer = self.run.generator
        assert isinstance(scorer, Scorer)
        size = self.run.chunks.batch_size
        by_label = [
            scorer.score([self._under(x, label) for x in examples], texts, batch_size=size) for label in labels
        ]
        return [[round(value, DIGITS) for value in row] for row in zip(*by_label, strict=True)]

    def _under(self, example: Example, label: str) -> Prompt:
        """Return the prompt under which an example would have another label."""
        prompt = example.prompt
        return replace(prompt, cell=label, text=prompt.text if prompt.given else self.texts[label])
