"""Pictures for cards: a model's training curves and weights of its examples, what a plan's rounds taught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .journal import console

COSTS = ("eval_runtime", "eval_samples_per_second", "eval_steps_per_second")


def draw(history: Sequence[Mapping[str, Any]], weights: Sequence[float] | None, folder: Path) -> list[str]:
    """Draw `curves.png` and, with weights, `weights.png` into a folder.

    Args:
        history: `trainer.state.log_history`: what was logged, each with its `step`.
        weights: How much each training example counts.
        folder: The model's folder.

    Returns:
        The names of the files written: none for a history without a loss, or (said on the console) without matplotlib.
    """
    if not can_draw("no training curves"):
        return []
    written = []
    if any("loss" in entry for entry in history):
        _curves(history, folder / "curves.png")
        written.append("curves.png")
    if weights is not None and len(weights):
        _histogram(weights, folder / "weights.png")
        written.append("weights.png")
    return written


def draw_rounds(table: Sequence[Mapping[str, Any]], folder: Path) -> list[str]:
    """Draw `rounds.png`: macro recall and its interval by rows written, of labels of many and of few real rows.

    Args:
        table: The note `learning curves` of a plan, see `by_frequency`, with the `rows` that were written.
        folder: Where it goes.

    Returns:
        The names of the files written: none for fewer than two points, or (said on the console) without matplotlib.
    """
    if len({row["rows"] for row in table}) < 2 or not can_draw("no learning curves"):
        return []
    drawn, (axis,) = figure(1)
    for part in dict.fromkeys(row["part"] for row in table):
        own = [row for row in table if row["part"] == part]
        at, low, high = ([row[name] for row in own] for name in ("rows", "from", "to"))
        label = f"{part} (labels: {own[0]['labels']}, real rows: {own[0]['real rows']})"
        (line,) = axis.plot(at, [row["macro recall"] for row in own], label=label, marker="o", markersize=4)
        axis.fill_between(at, low, high, color=line.get_color(), alpha=0.15)
    axis.set(title="macro recall on real rows left out", xlabel="rows written", ylim=(0, 1))
    axis.legend(fontsize=7)
    drawn.savefig(folder / "rounds.png", dpi=100)
    return ["rounds.png"]


def can_draw(otherwise: str) -> bool:
    """Tell whether pictures can be drawn; if not, say so on the console."""
    if find_spec("matplotlib") is not None:
        return True
    console.print(f"{otherwise}: they need the package matplotlib: pip install 'hf_synth[plots]'")
    return False


def figure(panels: int) -> tuple[Any, list[Any]]:
    """Return a figure with so many panels side by side; no pyplot, so no window system and no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(4.5 * panels, 3.2), layout="constrained")
    FigureCanvasAgg(drawn)
    return drawn, [*drawn.subplots(1, panels, squeeze=False)[0]]


def _curves(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the losses, the scores of the evaluations and the learning rate over the steps."""
    names = [name for name in dict.fromkeys(key for entry in history for key in entry) if name not in COSTS]
    scores = [name for name in names if name.startswith("eval_") and name != "eval_loss"]
    wanted: dict[str, list[str]] = {
        "loss": [name for name in ("loss", "eval_loss") if name in names],
        "on the synthetic validation split": scores,
        "learning rate": [name for name in ("learning_rate",) if name in names],
    }
    panels = {title: lines for title, lines in wanted.items() if lines}
    drawn, axes = figure(len(panels))
    words = {"loss": "training", "eval_loss": "validation", "learning_rate": "learning rate"}
    for axis, (title, lines) in zip(axes, panels.items(), strict=True):
        for name in lines:
            logged = [entry for entry in history if name in entry]
            label = words.get(name, name.removeprefix("eval_"))
            marker = "o" if name.startswith("eval_") or len(logged) == 1 else None
            steps, values = [entry["step"] for entry in logged], [entry[name] for entry in logged]
            axis.plot(steps, values, label=label, marker=marker, markersize=4)
        axis.set(title=title, xlabel="step")
        if lines != ["learning_rate"]:
            axis.legend()
    drawn.savefig(path, dpi=100)


def _histogram(weights: Sequence[float], path: Path) -> None:
    """Draw how many examples have which weight."""
    drawn, (axis,) = figure(1)
    axis.hist([float(weight) for weight in weights], bins=50)
    axis.set(title="weights of the training examples", xlabel="weight", ylabel="examples")
    drawn.savefig(path, dpi=100)
