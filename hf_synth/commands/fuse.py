"""`hf-synth fuse`: train a classifier of texts beside images."""

from __future__ import annotations

from pathlib import Path

from ..home import locked
from ..images.settings import FuseConfig
from ..marks import behind, learnt_from
from ..models import known_as
from .generate import console
from .options import parse


def main(argv: list[str]) -> int:
    """Run the verb; the data set may stand without its flag."""
    config = parse(argv, "hf-synth fuse", FuseConfig, bare="dataset")[FuseConfig]
    from ..images.fuse import fuse

    folder = Path(config.output_dir or f"outputs/{Path(config.dataset).name}-fuse")
    given = [path for path in (config.dataset, config.real) if path]
    ours = [[f"rows of {known_as(path)!r}"] if config.private else [] for path in given]
    held = [what for path, own in zip(given, ours, strict=True) for what in learnt_from(path) or own]
    held += [what for model in (config.text_model, config.vision_model) for what in behind(model)]
    with locked(folder):
        report = fuse(config, folder, held)
    pairs, metrics = report["pairs"], report["metrics"]
    console.print(f"trained on {pairs['generated']} generated and {pairs['real']} real pairs", markup=False)
    if metrics:
        low, high = metrics["accuracy_interval"]
        told = f"accuracy {metrics['accuracy']:.3f} ({low:.3f} to {high:.3f}) on {metrics['rows']} real pairs"
        console.print(told, markup=False)
    console.print(f"in {folder / 'model'}", markup=False)
    return 0
