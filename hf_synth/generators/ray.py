"""`RayGenerator`: any other generator on the workers of a Ray cluster, for users who outgrow one machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ..records import Completion, Prompt
from .base import Generator


class RayGenerator:
    """A generator whose chunks are made whole by workers, each holding a generator of its own.

    There are as many workers as the cluster has room for: nodes may come and go. What a chunk gives depends on the
    chunk alone, so the rows are those of one process with `num_cpus` threads. Only the factory and the prompts are
    sent to the workers: every node needs this package, the same libraries and the model.

    Args:
        factory: Opens the generator in a worker; must pickle, such as `functools.partial(open_generator, plan)`.
        address: Of the cluster: `auto` for the one that this machine belongs to, or `host:port`.
        num_cpus: CPUs, and threads, of a worker.
        num_gpus: GPUs of a worker; by default one if any node has one.
        workers: How many to ask for, which makes an autoscaling cluster grow; by default as many as have room.

    Raises:
        InputError: If no cluster answers, no node has room for a worker, or workers differ in weights or libraries.

    Example:
        >>> generator = RayGenerator(partial(open_generator, plan), address="auto")  # doctest: +SKIP
    """

    def __init__(
        self,
        factory: Callable[[], Generator],
        *,
        address: str = "auto",
        num_cpus: int = 1,
        num_gpus: float | None = None,
        workers: int | None = None,
    ):
        from .ray_pool import Pool  # needs Ray, which is an extra

        self.pool = Pool(factory, address, num_cpus, num_gpus, workers)
        facts = self.pool.open()
        self.name, self.digest = facts["name"], facts["digest"]
        self.source: Mapping[str, Any] = {**facts["source"], "cluster": f"ray {facts['ray']}"}
        self.takes_schema: bool = facts["takes_schema"]
        if facts["scores"]:
            self.score = self._score

    def start(
        self, prompts: Sequence[Prompt], *, seed: int, batch_size: int, **decoding: Any
    ) -> Callable[[], list[Completion]]:
        """Give a chunk to the least busy worker and return a function that waits for its answers."""
        settings = {"seed": seed, "batch_size": batch_size, **decoding}
        return partial(self.pool.wait, self.pool.submit("complete", (list(prompts),), settings))

    def complete(self, prompts: Sequence[Prompt], *, seed: int, batch_size: int, **decoding: Any) -> list[Completion]:
        """Sample one completion per prompt, all on one worker."""
        return self.start(prompts, seed=seed, batch_size=batch_size, **decoding)()

    def _score(self, prompts: Sequence[str], texts: Sequence[str], *, batch_size: int) -> list[float]:
        """Score on one worker: cut over several, texts would be padded, and so rounded, in other company."""
        job = self.pool.submit("score", (list(prompts), list(texts)), {"batch_size": batch_size})
        return self.pool.wait(job)

    def close(self) -> None:
        """End the workers and leave the cluster."""
        self.pool.close()
