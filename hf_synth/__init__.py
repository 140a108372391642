"""Synthetic labelled text data from language models, and small classifiers trained on it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

_EXPORTS = {
    "ChatGenerator": "generators.chat",
    "Completion": "records",
    "Example": "records",
    "InputError": "errors",
    "Journal": "journal",
    "Ledger": "ledger",
    "LocalGenerator": "generators.local",
    "Prompt": "records",
    "RayGenerator": "generators.ray",
    "Run": "run",
    "ScriptedGenerator": "generators.scripted",
    "SynthBuilder": "builder",
    "Task": "task",
    "VLLMGenerator": "generators.vllm",
    "WeightedTrainer": "trainers.weighted",
    "build": "builder",
    "load_task": "tasks",
    "push": "hub",
    "write_folder": "folder",
}

if TYPE_CHECKING:
    from .builder import SynthBuilder, build
    from .errors import InputError
    from .folder import write_folder
    from .generators.chat import ChatGenerator
    from .generators.local import LocalGenerator
    from .generators.ray import RayGenerator
    from .generators.scripted import ScriptedGenerator
    from .generators.vllm import VLLMGenerator
    from .hub import push
    from .journal import Journal
    from .ledger import Ledger
    from .records import Completion, Example, Prompt
    from .run import Run
    from .task import Task
    from .tasks import load_task
    from .trainers.weighted import WeightedTrainer

__all__ = [
    "ChatGenerator",
    "Completion",
    "Example",
    "InputError",
    "Journal",
    "Ledger",
    "LocalGenerator",
    "Prompt",
    "RayGenerator",
    "Run",
    "ScriptedGenerator",
    "SynthBuilder",
    "Task",
    "VLLMGenerator",
    "WeightedTrainer",
    "__version__",
    "build",
    "load_task",
    "push",
    "write_folder",
]


def __getattr__(name: str) -> Any:
    """Import an exported name when it is first used, so that importing the package stays light."""
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_EXPORTS[name]}", __name__), name)


def __dir__() -> list[str]:
    """Return the exported names."""
    return __all__
