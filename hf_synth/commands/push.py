"""`hf-synth push`: push a data set or model folder to the Hub."""

from __future__ import annotations

from pathlib import Path

from ..config import strict
from .generate import console
from .options import parse


@strict
class PushConfig:
    """What goes where.

    Attributes:
        folder: A folder that `generate`, `train` or `run` wrote (`dataset/` or `model/`).
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

    kind = "model" if (Path(config.folder) / "config.json").exists() else "dataset"
    console.print(push(config.folder, config.hub_id, repo_type=kind, private=config.private))
    return 0
