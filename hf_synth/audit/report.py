"""What an inspection returns: verdicts, figures, and what was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..version import installed
from .records import Verdict

PACKAGES = (
    "hf_synth",
    "datasets",
    "numpy",
    "scikit-learn",
    "cleanlab",
    "rensa",
    "py3langid",
    "mauve-text",
    "presidio-analyzer",
)
Facts = Mapping[str, Any]


def report(
    verdicts: Sequence[Verdict],
    sides: tuple[Facts, Facts | None, Facts | None],
    figures: Facts,
    *,
    rows: int,
    judged: int,
    seed: int,
    first: Sequence[str] = (),
    instruments: Facts | None = None,
) -> dict[str, Any]:
    """Return a report as `inspect.json` holds it.

    Args:
        verdicts: In the order in which they are read.
        sides: What was read of the data set, of the reference's split that judges, and of its train split.
        figures: What a page draws: `lengths`, `map` and `data_map`.
        rows: Rows that were judged.
        judged: Those, of them, whose embeddings and labels were.
        seed: Decided every draw.
        first: Checks that a reader sees first.
        instruments: Models that were looked through.
    """
    own, test, train = sides
    return {
        "dataset": own,
        "reference": test,
        "reference_train": train,
        "n": rows,
        "seed": seed,
        "sampled": {"read": own["read"], "of": own["rows"], "embedded_and_labels_judged": judged},
        "verdicts": [{key: value for key, value in asdict(one).items() if key != "measures"} for one in verdicts],
        "measures": {one.check: one.measures for one in verdicts},
        "first": list(first),
        "figures": figures,
        "versions": {name: installed(name) for name in PACKAGES},
        "instruments": instruments or {"encoder": None},
    }
