"""The rows by whose loss the weights of others are judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset

from hf_synth.errors import InputError
from hf_synth.losses import balanced, example_loss
from hf_synth.trainers.mixing import is_synthetic
from hf_synth.trainers.rows import class_counts

if TYPE_CHECKING:
    from hf_synth.trainers.bilevel_settings import BilevelConfig


class OuterRows:
    """The outer set: all of a data set that was given, else rows drawn from the training set.

    Args:
        train: The training set.
        given: Rows with its columns, such as a few that a person has checked.
        config: How many, of which kind, and the loss that they judge by.
        classes: Classes of the model; `None` where labels are places in a text.

    Raises:
        InputError: For rows of one class or without labels, something that is no data set, or a training set that
            does not tell its real rows from the others where these shall judge.
    """

    def __init__(self, train: Any, given: Any, config: BilevelConfig, classes: int | None) -> None:
        if given is not None and not isinstance(given, Dataset):
            raise InputError(f"`outer_dataset` must be a `datasets.Dataset`; got a {type(given).__name__}")
        real = given is None and config.outer == "real"
        self.data = train if given is None else given
        self.trusted = given is not None or real  # all of them count, whatever weights they have
        self._config, self._classes = config, classes
        self._most = len(self.data) if given is not None else config.outer_rows
        self._candidates = np.flatnonzero(~is_synthetic(train)) if real else np.arange(len(self.data))
        self.draw(0)

    def draw(self, at: int) -> None:
        """Draw the rows of a round, all where there are no more than wanted."""
        draw = np.random.default_rng([self._config.seed, at])
        self.take(np.sort(draw.permutation(self._candidates)[: self._most]).tolist())

    def take(self, rows: Sequence[int]) -> None:
        """Judge by these rows of the data set from now on."""
        counts = class_counts(self.data, rows, self._classes)
        loss = example_loss(self._config.outer_loss, scale=self._config.scale)
        self.rows, self.loss = rows, balanced(loss, counts) if self._config.balanced else loss
