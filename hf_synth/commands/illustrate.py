"""`hf-synth illustrate`: images beside texts, and texts beside images."""

from __future__ import annotations

from pathlib import Path

from ..home import locked
from ..images.settings import IllustrateConfig
from .generate import console
from .options import parse
from .sharing import check_given, hand_over


def main(argv: list[str]) -> int:
    """Run the verb; the data set may stand without its flag."""
    config = parse(argv, "hf-synth illustrate", IllustrateConfig, bare="dataset")[IllustrateConfig]
    from ..images.produce import Request, produce_images, sentences

    check_given(config.dataset, config.hub_id, config.private)
    request = Request.of(config)
    folder = Path(config.output_dir or f"outputs/{Path(config.dataset).name}-illustrate")
    with locked(folder):
        facts = produce_images(request, folder)
    hand_over(folder / "dataset", sentences(facts), config.hub_id, console)
    return 0
