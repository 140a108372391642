"""`hf-synth illustrate`: images beside texts, and texts beside images."""

from __future__ import annotations

from pathlib import Path

from ..home import locked
from ..images.settings import IllustrateConfig
from .generate import console
from .options import parse
from .sharing import hand_over


def main(argv: list[str]) -> int:
    """Run the verb; the data set may stand without its flag."""
    if argv and not argv[0].startswith("-"):
        argv = ["--dataset", *argv]
    config = parse(argv, "hf-synth illustrate", IllustrateConfig, method=False)[IllustrateConfig]
    from ..images.produce import Request, produce_images, sentences

    if config.hub_id:
        from ..hub import check_access

        check_access(config.hub_id)
    request = Request.of(config)
    folder = Path(config.output_dir or f"outputs/{Path(config.dataset).name}-illustrate")
    with locked(folder):
        facts = produce_images(request, folder)
    hand_over(folder / "dataset", sentences(facts), config.hub_id, config.private, console)
    return 0
