"""`hf-synth push`: push a data set or model folder to the Hub."""

from __future__ import annotations

from pathlib import Path

from ..adapters.folder import RECORD
from ..config import strict
from .generate import console
from .options import parse


@strict
class PushConfig:
    """What goes where.

    Attributes:
        folder: A folder that `generate`, `train` or `run` wrote (`dataset/` or `model/`), or one that `tune` wrote.
        hub_id: The repository, `user/name`.
        private: Create it private.
    """

    folder: str
    hub_id: str
    private: bool = False


def main(argv: list[str]) -> int:
    """Run the verb."""
    config = parse(argv, "hf-synth push", PushConfig)[PushConfig]
    from ..hub import push

    models = [Path(config.folder) / name for name in ("config.json", RECORD)]
    kind = "model" if any(file.exists() for file in models) else "dataset"
    console.print(push(config.folder, config.hub_id, repo_type=kind, private=config.private))
    return 0
