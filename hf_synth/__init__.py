"""Synthetic labelled text data from language models, and small classifiers trained on it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

_EXPORTS = {
    "AnnealingConfig": "trainers.annealing",
    "AnnealingTrainer": "trainers.annealing",
    "BilevelConfig": "trainers.bilevel",
    "BilevelTrainer": "trainers.bilevel",
    "ChatGenerator": "generators.chat",
    "Completion": "records",
    "DenoiseConfig": "denoise",
    "EnsembleConfig": "trainers.ensemble",
    "EnsembleTrainer": "trainers.ensemble",
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
    "directional_derivatives": "directional",
    "example_loss": "losses",
    "load_task": "tasks",
    "push": "hub",
    "write_folder": "folder",
    "write_weights": "weighted",
}

if TYPE_CHECKING:
    from .builder import SynthBuilder, build
    from .denoise import DenoiseConfig
    from .directional import directional_derivatives
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
    from .losses import example_loss
    from .records import Completion, Example, Prompt
    from .run import Run
    from .task import Task
    from .tasks import load_task
    from .trainers.annealing import AnnealingConfig, AnnealingTrainer
    from .trainers.bilevel import BilevelConfig, BilevelTrainer
    from .trainers.ensemble import EnsembleConfig, EnsembleTrainer
    from .trainers.weighted import WeightedTrainer
    from .weighted import write_weights

__all__ = [
    "AnnealingConfig",
    "AnnealingTrainer",
    "BilevelConfig",
    "BilevelTrainer",
    "ChatGenerator",
    "Completion",
    "DenoiseConfig",
    "EnsembleConfig",
    "EnsembleTrainer",
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
    "directional_derivatives",
    "example_loss",
    "load_task",
    "push",
    "write_folder",
    "write_weights",
]


def __getattr__(name: str) -> Any:
    """Import an exported name when it is first used, so that importing the package stays light."""
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_EXPORTS[name]}", __name__), name)


def __dir__() -> list[str]:
    """Return the exported names."""
    return __all__
