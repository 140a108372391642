"""Two pictures for the data set's card, of what `inspect.json` holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..curves import can_draw, figure

MOST = 10  # classes with a colour and a line of their own; those of most rows


def draw(report: Mapping[str, Any], folder: Path) -> list[str]:
    """Draw into a folder and return the names of the files written; none without matplotlib."""
    if not can_draw("no pictures of the data set"):
        return []
    figures, written = report["figures"], []
    if figures["map"]:
        _map(figures["map"], folder / "map.png")
        written.append("map.png")
    _lengths(figures["lengths"], folder / "lengths.png")
    return [*written, "lengths.png"]


def _map(points: Mapping[str, Any], path: Path) -> None:
    drawn, (axis,) = figure(1)
    real = points["reference"]
    axis.scatter([p["x"] for p in real], [p["y"] for p in real], s=3, c="#c8ced5", label="reference" if real else None)
    labels = list(dict.fromkeys(p["label"] for p in points["own"]))
    for at, label in enumerate(labels):
        own = [p for p in points["own"] if p["label"] == label]
        shown = label if at < MOST else None
        axis.scatter([p["x"] for p in own], [p["y"] for p in own], s=3, color=f"C{at % 10}", label=shown)
    axis.set(title="texts by their embeddings (t-SNE)", xticks=[], yticks=[])
    axis.legend(fontsize=7, markerscale=2, loc="upper left", bbox_to_anchor=(1, 1))
    drawn.savefig(path, dpi=100)


def _lengths(lengths: Mapping[str, Any], path: Path) -> None:
    drawn, (axis,) = figure(1)
    for at, (label, shares) in enumerate(list(lengths["own"].items())[:MOST]):
        axis.stairs(shares, lengths["edges"], label=label, color=f"C{at}")
        if label in lengths["reference"]:
            axis.stairs(lengths["reference"][label], lengths["edges"], color=f"C{at}", linestyle=":")
    dotted = "; dotted: the reference" if lengths["reference"] else ""
    axis.set(title=f"words in a text{dotted}", xlabel="words", ylabel="share of the class's texts")
    axis.legend(fontsize=7)
    drawn.savefig(path, dpi=100)
