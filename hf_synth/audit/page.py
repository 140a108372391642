"""`report.html`: what `inspect.json` says, for a person; a pure function of it, in one file without requests."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

LEVELS = ("bad", "look", "good", "skipped")  # in the order of the page
SHOWN = 50  # rows of a verdict, suspects and groups
POINTS = 2_000  # rows on the data map
# Okabe and Ito's colours, which most colour-blind people tell apart, then hues.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3fbf", "#8c6d31")

# The content policy names this script by its digest: no other runs, even if a text of the data set were one.
SCRIPT = """
const shown = document.getElementById("shown");
for (const point of document.querySelectorAll("circle.point"))
  point.addEventListener("mouseenter", () => { shown.textContent = point.firstElementChild.textContent; });
for (const button of document.querySelectorAll(".legend button"))
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", on);
    for (const point of document.querySelectorAll("circle.point"))
      if (point.dataset.label === button.dataset.label) point.style.display = on ? "" : "none";
  });
"""


def page(report: Mapping[str, Any]) -> str:
    """Return the page of what `inspect` returned."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["figure"] = lambda value: "" if value is None else f"{value:.4g}"
    template = (resources.files("hf_synth.cards") / "report.html").read_text(encoding="utf-8")
    first = report.get("first", ())  # those on real rows that were learnt
    verdicts = sorted(report["verdicts"], key=lambda one: (one["check"] not in first, LEVELS.index(one["verdict"])))
    counts = Counter(found["verdict"] for found in verdicts)
    found = {own["check"]: own for own in verdicts}
    figures = report["figures"]
    return environment.from_string(template).render(
        report={"dropped": None, **report},
        masked="personal data" if report["versions"].get("presidio-analyzer") else "e-mail addresses and long numbers",
        verdicts=verdicts,
        counts={level: counts[level] for level in LEVELS if counts[level]},
        shown=SHOWN,
        colours=_colours(figures),
        drawn_map=figures["map"],
        lengths=figures["lengths"] and _lengths(figures["lengths"]),
        curve=_curve(report["measures"].get("more rows", {}).get("curve"), found.get("more rows")),
        data_map=figures["data_map"][:POINTS],
        groups=_groups(found.get("near-duplicates"), report["measures"].get("near-duplicates", {})),
        suspects=found.get("wrong labels", {}).get("rows", [])[:SHOWN],
        script=Markup(SCRIPT),  # noqa: S704 - a constant of this file
        script_hash=base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode(),
    )


def _colours(figures: Mapping[str, Any]) -> dict[str, str]:
    """Return a colour for each class; of tables, whose texts have no length, those on the map."""
    shown = {point["label"]: None for point in (figures["map"] or {"own": ()})["own"]}
    names = list(figures["lengths"]["own"] if figures["lengths"] else shown)
    hues = [f"hsl({360 * at // max(len(names), 1)} 60% 45%)" for at in range(len(names))]
    return dict(zip(names, COLOURS if len(names) <= len(COLOURS) else hues, strict=False))


def _lengths(lengths: Mapping[str, Any]) -> dict[str, Any]:
    """Return histograms as the points of step lines in a picture of 500 by 320."""
    edges = lengths["edges"]
    top = max((max(shares) for side in ("own", "reference") for shares in lengths[side].values()), default=1) or 1
    across = [44 + 450 * edge / max(edges[-1], 1) for edge in edges]

    def steps(shares: Sequence[float]) -> str:
        corners = [(x, 292 - 270 * share / top) for at, share in enumerate(shares) for x in across[at : at + 2]]
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)

    marks = range(0, len(edges), max(1, len(edges) // 6))
    return {
        "edges": edges,
        "top": top,
        "own": {label: steps(shares) for label, shares in lengths["own"].items()},
        "reference": {label: steps(shares) for label, shares in lengths["reference"].items()},
        "xticks": [(round(across[at], 1), edges[at]) for at in marks],
        "yticks": [(292, "0"), (22, f"{top:.2g}")],
    }


def _curve(curve: Sequence[Mapping[str, Any]] | None, found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not curve or not found:
        return None
    most = curve[-1]["rows"]
    low, high = min(one["accuracy"] for one in curve), max(one["accuracy"] for one in curve)
    span = (high - low) or 1.0
    places = [(44 + 440 * one["rows"] / most, 205 - 170 * (one["accuracy"] - low) / span) for one in curve]
    return {
        "points": " ".join(f"{x:.1f},{y:.1f}" for x, y in places),
        "xticks": [(round(x, 1), f"{one['rows']:,}") for (x, _), one in zip(places, curve, strict=True)],
        "yticks": [(205, f"{low:.3f}"), (35, f"{high:.3f}")],
        "reason": found["reason"],
    }


def _groups(found: Mapping[str, Any] | None, measures: Mapping[str, Any]) -> list[dict[str, Any]]:
    texts = {row["row"]: row["text"] for row in (found or {}).get("rows", [])}
    return [{"rows": rows, "text": texts.get(rows[0], "")} for rows in measures.get("groups", [])[:SHOWN]]
