"""`report.json`: what was made, at what cost, and how it was judged; the same as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from .records import known


def report_of(facts: Mapping[str, Any], training: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return `report.json` before any judging: what was made, asked, dropped, at what speed, and the student."""
    rows = facts["ledger"]["stages"]["rows"]
    tokens = known(stage["tokens"] for stage in facts["ledger"]["stages"].values())
    seconds = sum(stage["seconds"] for stage in facts["ledger"]["stages"].values())
    return {
        "task": facts["task"],
        "method": facts["method"],
        "generator": facts["generator"],
        "rows": facts["rows"],
        "samples": facts["samples"],
        "seconds": {"generate": round(seconds, 1), "train": training["seconds"] if training else None},
        "tokens_per_second": round(tokens / seconds, 1) if seconds and tokens is not None else None,
        "asked": rows["asked"],
        "kept": rows["kept"],
        "dropped": rows["dropped"],
        "stages": facts["ledger"]["stages"],
        "accounts": facts["ledger"]["accounts"],
        "student": {k: training[k] for k in ("student", "source", "rows", "metric", "validation_score")}
        if training
        else None,
        "dataset_id": None,
        "reference": None,
        "headline": None,
        "metrics": None,
        "not_evaluated": None,
        "baselines": {},
    }


def student_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a data set's card says of the model trained on it, from `report.json`."""
    metric = report["headline"][0]
    results = {"trained on these rows": report["metrics"], **report["baselines"]}
    return {
        "base": report["student"]["student"],
        "id": report["dataset_id"] and f"{report['dataset_id']}-model",
        "reference": report["reference"],
        "metric": metric,
        "results": {
            name: {"rows": found["rows"], "value": found[metric], "interval": found[f"{metric}_interval"]}
            for name, found in results.items()
        },
    }


def show(report: Mapping[str, Any], console: Console) -> None:
    """Print the result table."""
    dropped = ", ".join(f"{reason} {count}" for reason, count in report["dropped"].items()) or "none"
    seconds, speed = report["seconds"], report["tokens_per_second"]
    console.print(
        f"{report['rows']} rows of {report['asked']} asked (dropped: {dropped}); generation {seconds['generate']} s"
        + (f" at {speed} tokens/s" if speed is not None else "")
        + (f", training {seconds['train']} s" if seconds["train"] is not None else "")
    )
    if report["metrics"] is None:
        return
    left = f"; malformed rows left out: {bad}" if (bad := report["reference"].get("malformed")) else ""
    table = Table(title=f"on {report['reference']['name']}, split {report['reference']['split']}{left}")
    metric, *beside = report["headline"]
    for column in ("", "rows", metric, "95 % interval", *beside):
        table.add_column(column.replace("_", " "), justify="left" if column == "" else "right")
    student = report["student"]["student"] if report["student"] else "student"
    for name, found in {f"student ({student})": report["metrics"], **report["baselines"]}.items():
        low, high = found[f"{metric}_interval"]
        scores = [f"{found[score]:.4f}" for score in (metric, *beside)]
        table.add_row(name, str(found["rows"]), scores[0], f"{low:.3f} to {high:.3f}", *scores[1:])
    console.print(table)
    for found in list(report["baselines"].values())[:1]:
        if found["rows"] != report["metrics"]["rows"]:
            console.print(f"On the baselines' {found['rows']} rows the student has {found['student']:.4f}.")
