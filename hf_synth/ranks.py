"""`Ranks`: which of several launched processes this one is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .errors import InputError

SET_BY_LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
PATIENCE = timedelta(hours=1)


@dataclass(frozen=True)
class Ranks:
    """The processes of one launch, which share the work of a run chunk by chunk.

    Attributes:
        rank: This process, counted from 0; rank 0 writes the data set.
        world: How many there are.
        local_rank: This process among those of its machine; picks its accelerator.
        store: Where the ranks meet (`torch.distributed.Store`).
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    store: Any = None

    def owner(self, sequence: int) -> int:
        """Return the rank that makes a chunk."""
        return sequence % self.world

    def meet(self, what: str) -> None:
        """Hold the other ranks here until rank 0 is here too."""
        if self.world == 1:
            return
        if self.rank == 0:
            self.store.set(f"hf_synth/{what}", "1")
        else:
            self.store.wait([f"hf_synth/{what}"], PATIENCE)


@contextmanager
def launched() -> Iterator[Ranks]:
    """Give the ranks that a launcher started, and hide the launch from everything inside.

    A `Trainer` or accelerate that a method uses would otherwise try to train over ranks that do something else.

    Raises:
        InputError: If the launcher's environment is incomplete.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    from torch.distributed import rendezvous

    try:
        store, rank, world = next(rendezvous("env://"))
    except ValueError as error:
        raise InputError(f"the launcher's environment is incomplete: {error}") from None
    hidden = {
        name: os.environ.pop(name)
        for name in [*os.environ]
        if name in SET_BY_LAUNCHERS or name.startswith(("TORCHELASTIC_", "ACCELERATE_"))
    }
    try:
        yield Ranks(rank, world, int(hidden.get("LOCAL_RANK", rank)), store)
    finally:
        os.environ.update(hidden)
