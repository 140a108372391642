"""`hf-synth push`: push a data set or model folder to the Hub."""

from __future__ import annotations

from pathlib import Path

from ..adapters.folder import RECORD
from ..config import strict
from ..settings import OutputConfig
from .generate import console
from .options import parse
from .sharing import share


@strict
class PushConfig:
    """What goes where.

    Attributes:
        folder: A folder that `generate`, `train` or `run` wrote (`dataset/` or `model/`), or one that `tune` wrote.
        hub_id: The repository, `user/name`.
        private: Create it private.
        create_pr: Open a pull request, a new one each time, in place of a commit to `main`.
        collection: Link the repository in this collection: a title (created under your name when absent) or a slug.
        overrule: Leakage checks, separated by commas, that may stand at "bad" in the data set's inspection; `private`
            to send what was made under `private` of real text.
    """

    folder: str
    hub_id: str
    private: bool = False
    create_pr: bool = False
    collection: str | None = None
    overrule: str = ""


def main(argv: list[str]) -> int:
    """Run the verb."""
    config = parse(argv, "hf-synth push", PushConfig)[PushConfig]
    folder = Path(config.folder)
    kind = "model" if any((folder / name).exists() for name in ("config.json", RECORD)) else "dataset"
    output = OutputConfig(private=config.private, create_pr=config.create_pr, collection=config.collection)
    share(folder, config.hub_id, output, console, kind, config.overrule)
    return 0
