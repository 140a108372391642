"""`Worker`: one generator on a node of a Ray cluster, and what must be equal of all of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from ..errors import InputError
from .base import Lazy, Scorer, takes_schema

# Facts that decide the text, equal on every worker. Threads are too: each is given as many.
SAME = ("name", "digest", "dtype", "device", "processor", "engine")
LIBRARIES = ("hf_synth", "torch", "transformers", "tokenizers")


class Worker:
    """Holds one generator. A method unpickles its factory and loads it: Ray hides errors of `__init__`."""

    def __init__(self, factory: bytes, threads: int):
        self.factory, self.threads = factory, threads

    def node(self) -> str:
        """Return the id of the node it is on."""
        import ray

        return ray.get_runtime_context().get_node_id()

    def load(self) -> dict[str, Any]:
        """Open the generator and return its facts."""
        import ray

        os.environ["OMP_NUM_THREADS"] = str(self.threads)
        self.generator = ray.cloudpickle.loads(self.factory)()
        torch = sys.modules.get("torch")
        if torch and torch.get_num_threads() != self.threads:  # imported too early to read the variable
            torch.set_num_threads(self.threads)
        if isinstance(self.generator, Lazy):
            self.generator.load()
        source = {**self.generator.source}
        if "threads" in source:
            source["threads"] = self.threads
        return {
            **{name: source.get(name) for name in SAME},
            "name": self.generator.name,
            "digest": self.generator.digest,
            "source": source,
            "scores": isinstance(self.generator, Scorer),
            "takes_schema": takes_schema(self.generator),
            "versions": {name: version(name) for name in LIBRARIES},
            "ray": ray.__version__,
            "node": ray.util.get_node_ip_address(),
        }

    def call(self, method: str, arguments: tuple[Any, ...], settings: Mapping[str, Any]) -> Any:
        """Call a method of the generator."""
        return getattr(self.generator, method)(*arguments, **settings)


def check(facts: Mapping[str, Any], first: Mapping[str, Any]) -> None:
    """Refuse a worker whose texts would not be those of this process's libraries, or of the first worker.

    Raises:
        InputError: Naming the node and what differs.
    """
    node = facts["node"]
    for name in LIBRARIES:
        there, here = facts["versions"][name], version(name)
        if there != here:
            raise InputError(f"the Ray worker on {node} has {name} {there}, this process {here}; make them equal")
    for name in SAME:
        if facts[name] != first[name]:
            raise InputError(
                f"Ray workers differ: `{name}` is {first[name]!r} on {first['node']} and {facts[name]!r} on {node}; "
                "all need the same model and the same kind of processor"
            )
