"""`Pool`: workers over a Ray cluster, each holding a generator, and the calls they were given.

Plain actors and not a Ray Data set: a method decides its chunks step by step from earlier answers, and Ray Data ends
its actors, and with them the models they loaded, at the end of every execution. Ray's own restarts are off: a
restarting actor keeps its calls until it has loaded again, which is for ever where no node has room; here a lost call
goes to the next free worker at once and the pool grows anew.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from .base import Generator
from .ray_worker import Worker, check

try:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # else `uv run` uploads the working tree
    import ray
    from ray import exceptions
except ImportError:
    raise InputError("`backend: ray` needs Ray: pip install 'hf_synth[ray]'") from None

PATIENCE = 1.0  # seconds between looks at the cluster while nothing happens
SILENCE = 60.0  # seconds without any worker before that is said
DEPTH = 2  # calls that a worker holds: the one it works on and the next
TRIES = 5  # workers that one call, or the loading of the model, may cost
NODE_ID = "ray.io/node-id"  # label that Ray gives every node

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Job:
    """One call: waiting while `ref` is `None`, then under way at a worker, then `done`."""

    method: str
    arguments: tuple[Any, ...]
    settings: Mapping[str, Any]
    worker: Any = None
    ref: Any = None
    lost: int = 0
    done: bool = False
    answer: Any = None
    error: BaseException | None = None


class Pool:
    """As many workers as the cluster has room for. See `RayGenerator` for the arguments.

    Attributes:
        live: The workers that have their model.
        lost: Calls that were lost with a worker and given to another.

    Everything is looked after in `_look`, which `submit` and `wait` call on the caller's thread.
    """

    def __init__(
        self,
        factory: Callable[[], Generator],
        address: str,
        num_cpus: int,
        num_gpus: float | None,
        workers: int | None,
    ):
        self.wanted, self.joined = workers, join(address)
        if num_gpus is None:
            num_gpus = float(any(node.get("GPU") for node in _nodes()))
        self.num_cpus, self.num_gpus = num_cpus, num_gpus
        options = {"num_cpus": num_cpus, "num_gpus": num_gpus, "max_restarts": 0, "max_task_retries": 0}
        self._actor: Any = ray.remote(Worker)
        self._options: dict[str, Any] = options
        self._factory = ray.cloudpickle.dumps(factory)
        self.live: list[Any] = []
        self.lost = 0
        self._loading: dict[Any, Any] = {}
        self._where: dict[Any, Any] = {}
        self._without: list[str] = []
        self._jobs: list[Job] = []
        self._facts: dict[str, Any] = {}
        self._died: Counter[str] = Counter()
        self._alive_at = time.monotonic()

    def open(self) -> dict[str, Any]:
        """Wait for the first worker and return its generator's facts."""
        try:
            if not self._room():
                need = f"{self.num_cpus:g} CPUs and {self.num_gpus:g} GPUs"
                have = ", ".join(f"{node.get('CPU', 0):g} and {node.get('GPU', 0):g}" for node in _nodes())
                raise InputError(f"no node of the Ray cluster has {need} for a worker; the nodes have {have}")
            self._look()
            while not self._facts:
                self._pause()
                self._look()
        except BaseException:
            self.close()
            raise
        return self._facts

    def submit(self, method: str, arguments: tuple[Any, ...], settings: Mapping[str, Any]) -> Job:
        """Give a call to the least busy worker; it waits here while all have enough to do."""
        job = Job(method, arguments, settings)
        self._jobs.append(job)
        self._look()
        return job

    def wait(self, job: Job) -> Any:
        """Return the answer of a call, or raise what the generator raised."""
        while not job.done:
            self._pause()
            self._look()
        if job.error is not None:
            raise job.error
        return job.answer

    def close(self) -> None:
        """End the workers, and leave the cluster if it was joined here."""
        for worker in (*self.live, *self._loading):
            _end(worker)
        self.live, self._loading, self._where = [], {}, {}
        if self.joined:
            ray.shutdown()

    def _room(self) -> int:
        """Return how many workers there should be."""
        return self._fits() if self.wanted is None else self.wanted

    def _fits(self) -> int:
        """Return how many workers the nodes that are not left out could hold."""
        each = {"CPU": self.num_cpus, "GPU": self.num_gpus}
        nodes = _nodes(self._without)
        return sum(min(int(node.get(kind, 0) / size) for kind, size in each.items() if size) for node in nodes)

    def _new(self) -> Any:
        """Ask for a worker on any node but those that are left out."""
        where = {"label_selector": {NODE_ID: f"!in({', '.join(self._without)})"}} if self._without else {}
        return self._actor.options(**self._options, **where).remote(self._factory, self.num_cpus)

    def _look(self) -> None:
        """Take in who has loaded, what was answered and who died; then fill the pool and hand out what waits."""
        for worker in _ready(self._loading):
            self._loaded(worker, self._loading.pop(worker))
        for job in _ready({job: job.ref for job in self._jobs if job.ref is not None}):
            self._settle(job)
        if self._without and not self.live and not self._fits():
            self._forgive()
        for _ in range(self._room() - len(self.live) - len(self._loading)):
            fresh = self._new()
            self._where[fresh] = fresh.node.remote()  # first: a worker that dies as it loads has said where it was
            self._loading[fresh] = fresh.load.remote()
        busy = Counter(job.worker for job in self._jobs if job.ref is not None)
        for job in self._jobs:
            if job.ref is None and self.live:
                worker = min(self.live, key=lambda each: busy[each])
                if busy[worker] >= DEPTH:
                    break
                busy[worker] += 1
                self.live.append(self.live.pop(self.live.index(worker)))  # of equals, the one longest idle is next
                job.worker, job.ref = worker, worker.call.remote(job.method, job.arguments, job.settings)

    def _pause(self) -> None:
        """Wait a little for something to happen."""
        refs = [*self._loading.values(), *(job.ref for job in self._jobs if job.ref is not None)]
        if refs:
            ray.wait(refs, timeout=PATIENCE)
        else:
            time.sleep(PATIENCE)
        if self.live:
            self._alive_at = time.monotonic()
        elif time.monotonic() - self._alive_at > SILENCE:
            self._alive_at = time.monotonic()
            log.warning("no worker of the Ray cluster is ready; %d load or wait for room", len(self._loading))

    def _loaded(self, worker: Any, ref: Any) -> None:
        """Take a worker into the pool, or find out why it has no model."""
        where = self._where.pop(worker)
        try:
            facts = ray.get(ref)
            check(facts, self._facts or facts)
        except (exceptions.RayError, InputError) as error:
            _end(worker)
            self._failed(error, _node(where))
            return
        self._facts = self._facts or facts
        self._died.clear()
        self.live.append(worker)

    def _failed(self, error: Exception, node: str) -> None:
        """Go on without a node whose workers differ, or fail one after another, where other workers are at work.

        Raises:
            Exception: Where none is: what the factory raised; `InputError` if workers differ or die.
        """
        self._died[node] += 1
        raised, differs = isinstance(error, exceptions.RayTaskError), not isinstance(error, exceptions.RayError)
        count = self._died[node] if self.live else self._died.total()
        if count < TRIES and not differs and (self._facts or not raised):
            return
        reason = error.cause if raised else error  # type: ignore[attr-defined]
        if not (raised or differs):
            reason = InputError(f"{TRIES} Ray workers died before they had the model: {_sentence(error)}")
        if not self.live:
            raise reason from (error if raised else None)
        del self._died[node]
        if node not in self._without:  # as it is where several of its workers had begun to load
            self._without += [node] if node else []
            who = f"node {node[:12]} of the Ray cluster" if node else "a Ray worker"
            log.warning("%s is left out: %s", who, _sentence(reason))

    def _forgive(self) -> None:
        """Ask all nodes again, as no other could hold a worker: what they were left out for is over, or ends it."""
        for worker in self._loading:
            _end(worker)
        self._loading, self._where, self._without = {}, {}, []
        self._died.clear()

    def _settle(self, job: Job) -> None:
        """Take in an answer, or let the call wait for another worker when its own was lost."""
        try:
            job.answer = ray.get(job.ref)
        except exceptions.RayTaskError as error:
            job.error = error.cause
            job.error.__cause__ = error
        except exceptions.RayError as error:  # the worker, its node, or an answer that lay there
            if job.worker in self.live and not isinstance(error, exceptions.ObjectLostError):
                self.live.remove(job.worker)
                _end(job.worker)
            job.worker = job.ref = None
            job.lost, self.lost = job.lost + 1, self.lost + 1
            if job.lost < TRIES:
                return
            job.error = InputError(f"{TRIES} Ray workers were lost with the same chunk: {_sentence(error)}")
        job.done, job.ref = True, None
        self._jobs.remove(job)


def join(address: str) -> bool:
    """Join a Ray cluster, quietly; return `False` where this process belongs to one already.

    Raises:
        InputError: If none can be joined.
    """
    if ray.is_initialized():
        return False
    from ray._private.services import canonicalize_bootstrap_address

    before = signal.getsignal(signal.SIGTERM)
    try:
        if found := canonicalize_bootstrap_address(address):
            host, _, port = found.rpartition(":")
            # `ray.init` tries for minutes to reach a cluster that is gone.
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError, exceptions.RayError) as error:
        raise InputError(f"cannot join a Ray cluster at {address!r} (`ray_address`): {_sentence(error)}") from None
    if callable(before):  # Ray's own handler ends the process without a word
        with suppress(ValueError):  # not the main thread: Ray set none
            signal.signal(signal.SIGTERM, before)
    return True


def _nodes(without: Sequence[str] = ()) -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"] and node["NodeID"] not in without]


def _node(where: Any) -> str:
    """Return the id of a worker's node; empty where it never was on one."""
    try:
        return ray.get(where, timeout=PATIENCE)
    except exceptions.RayError:
        return ""


def _ready(refs: Mapping[Any, Any]) -> list[Any]:
    """Return the keys whose references can be read."""
    if not refs:
        return []
    done, _ = ray.wait(list(refs.values()), num_returns=len(refs), timeout=0)
    return [key for key, ref in refs.items() if ref in done]


def _sentence(error: BaseException) -> str:
    """Return the first and the last line of an error; between them Ray has ids and tracebacks."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(dict.fromkeys((lines[0], lines[-1])))


def _end(worker: Any) -> None:
    with suppress(Exception):  # it may be gone already
        ray.kill(worker)
