"""`WarmUp`: a learning rate rises from 0 where a training is long enough for that."""

from __future__ import annotations

import math
from typing import Any

import torch
from transformers import Trainer


class WarmUp(Trainer):
    """A `Trainer` that learns from its first epoch, however short.

    The first step's rate is 0. So a warm-up that is a share, rounded up, is none where that step is all there is, or
    all of the first epoch: this would have learnt nothing, and be kept as the best where no later one scores higher.
    """

    @property
    def global_batch(self) -> int:
        """Return how many rows an optimizer step sees on all ranks together."""
        loading: Any = self.args.accelerator_config
        ranks = 1 if loading.split_batches else self.args.world_size
        return self._train_batch_size * self.args.gradient_accumulation_steps * ranks

    def warmup_steps(self, steps: int) -> int:
        """Return in how many of so many optimizer steps the rate rises to its peak."""
        rows: Any = self.train_dataset
        epoch = math.ceil(len(rows) / self.global_batch) if hasattr(rows, "__len__") else steps
        return 0 if self.args.warmup_steps < 1 and min(steps, epoch) <= 1 else self.args.get_warmup_steps(steps)

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """See `Trainer`."""
        given, self.args.warmup_steps = self.args.warmup_steps, self.warmup_steps(num_training_steps)
        schedule = super().create_scheduler(num_training_steps, optimizer)
        self.args.warmup_steps = given
        return schedule
