"""How long a learning rate rises from 0, where a training is long enough for that."""

from __future__ import annotations

import math
from typing import Any


def warmup_steps(trainer: Any, steps: int) -> int:
    """Return in how many of so many optimizer steps a trainer's rate rises to its peak.

    The first step's rate is 0. So a warm-up that is a share, rounded up, is none where that step is all there is, or
    all of the first epoch: this would have learnt nothing, and be kept as the best where no later one scores higher.
    """
    args, rows = trainer.args, trainer.train_dataset
    batch = trainer._train_batch_size * args.gradient_accumulation_steps * args.world_size
    epoch = math.ceil(len(rows) / batch) if hasattr(rows, "__len__") else steps
    return 0 if args.warmup_steps < 1 and min(steps, epoch) <= 1 else args.get_warmup_steps(steps)
