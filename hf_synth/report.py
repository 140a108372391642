"""Judging on real rows: the student, the prompting baseline, one table and one `report.json`."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .errors import InputError
from .filters.consistency import free_scores, label_scores
from .generators.base import Generator, Scorer
from .reference import Judge
from .task import Task


def score_labels(task: Task, predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """Return rows, accuracy with its interval, macro F1 and recall per label, from label names."""
    from .metrics.classification import Classification

    names = list(task.labels)
    ids = {name: at for at, name in enumerate(names)}
    metric = Classification()
    found = metric.compute(
        predictions=[ids[name] for name in predictions], references=[ids[name] for name in references], labels=names
    )
    assert found is not None
    return found


def check_labels(task: Task, model_labels: Sequence[str]) -> None:
    """Refuse a model whose labels are not the task's, naming both sides.

    Raises:
        InputError: If they differ.
    """
    if set(model_labels) != set(task.labels):
        raise InputError(
            f"the model's labels are {list(model_labels)!r}, those of {task.name} are {list(task.labels)!r}"
        )


def judge_student(folder: Path, judge: Judge, task: Task, max_length: int) -> list[str]:
    """Return the student's label names for the real rows."""
    from transformers import AutoConfig

    import hf_synth.students  # noqa: F401 (registers the BiLSTM)

    from .student import predict

    check_labels(task, list(AutoConfig.from_pretrained(folder).id2label.values()))
    return predict(folder, [judge.data[column] for column in task.columns], max_length=max_length)


def prompting(
    generator: Scorer, texts: Mapping[str, Sequence[str]], task: Task, batch_size: int
) -> dict[str, list[str]]:
    """Label texts by the generator alone: the label under whose prompt the text is likeliest.

    The score is the mean log-probability of the text's tokens after the label's prompt (ZeroGen's PROMPTING, without
    averaging over the template). `calibrated` subtracts the score of a content-free text under the same prompt, so a
    prompt that makes every text likelier gains nothing.

    Args:
        generator: Scores texts.
        texts: The task's columns.
        task: Its scoring prompts.
        batch_size: Texts at once.

    Returns:
        `prompting` and `prompting, calibrated` -> label names.
    """
    given = texts[task.columns[0]] if task.kind == "pair" else [""] * len(texts[task.generated])
    plain = label_scores(generator, task, given, texts[task.generated], batch_size)
    calibrated = plain - free_scores(generator, task, given, batch_size)
    names = list(task.labels)
    scores = {"prompting": plain, "prompting, calibrated": calibrated}
    return {name: [names[at] for at in found.argmax(1)] for name, found in scores.items()}


def judge_prompting(
    generator: Generator, judge: Judge, task: Task, rows: int, batch_size: int, student: Sequence[str] | None
) -> dict[str, dict[str, Any]]:
    """Return the scores of both prompting baselines on `rows` real rows, and the student's accuracy on the same rows.

    Args:
        generator: Scores texts; without `score` there is no baseline and the result is empty.
        judge: The real rows.
        task: The task.
        rows: How many are labelled, drawn with a fixed seed; 0 for none.
        batch_size: Texts at once.
        student: The student's label of every real row.
    """
    if rows == 0 or not isinstance(generator, Scorer):
        return {}
    places = sorted(random.Random(0).sample(range(len(judge.data)), min(rows, len(judge.data))))
    part = judge.data.select(places)
    real = part[task.label_column]
    found = {}
    for name, labels in prompting(generator, {c: part[c] for c in task.columns}, task, batch_size).items():
        found[name] = score_labels(task, labels, real)
        if student is not None:
            found[name]["student_accuracy"] = score_labels(task, [student[at] for at in places], real)["accuracy"]
    return found


def report_of(facts: Mapping[str, Any], training: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return `report.json` before any judging: what was made, asked, dropped, at what speed, and the student."""
    rows = facts["ledger"]["stages"]["rows"]
    tokens = sum(stage["tokens"] for stage in facts["ledger"]["stages"].values())
    seconds = sum(stage["seconds"] for stage in facts["ledger"]["stages"].values())
    return {
        "task": facts["task"],
        "method": facts["method"],
        "generator": facts["generator"],
        "rows": facts["rows"],
        "seconds": {"generate": round(seconds, 1), "train": training["seconds"] if training else None},
        "tokens_per_second": round(tokens / seconds, 1) if seconds else None,
        "asked": rows["asked"],
        "kept": rows["kept"],
        "dropped": rows["dropped"],
        "stages": facts["ledger"]["stages"],
        "accounts": facts["ledger"]["accounts"],
        "student": {k: training[k] for k in ("student", "source", "rows", "validation_accuracy")}
        if training
        else None,
        "dataset_id": None,
        "reference": None,
        "metrics": None,
        "not_evaluated": None,
        "baselines": {},
    }


def show(report: Mapping[str, Any], console: Console) -> None:
    """Print the result table."""
    dropped = ", ".join(f"{reason} {count}" for reason, count in report["dropped"].items()) or "none"
    seconds = report["seconds"]
    console.print(
        f"{report['rows']} rows of {report['asked']} asked (dropped: {dropped}); generation {seconds['generate']} s"
        f" at {report['tokens_per_second']} tokens/s"
        + (f", training {seconds['train']} s" if seconds["train"] is not None else "")
    )
    if report["metrics"] is None:
        return
    table = Table(title=f"on {report['reference']['name']}, split {report['reference']['split']}")
    for column in ("", "rows", "accuracy", "95 % interval", "macro F1"):
        table.add_column(column, justify="left" if column == "" else "right")
    student = report["student"]["student"] if report["student"] else "student"
    for name, found in {f"student ({student})": report["metrics"], **report["baselines"]}.items():
        low, high = found["accuracy_interval"]
        cells = (
            str(found["rows"]),
            f"{found['accuracy']:.4f}",
            f"{low:.3f} to {high:.3f}",
            f"{found['macro_f1']:.4f}",
        )
        table.add_row(name, *cells)
    console.print(table)
    for found in list(report["baselines"].values())[:1]:
        if "student_accuracy" in found and found["rows"] != report["metrics"]["rows"]:
            console.print(f"On the baselines' {found['rows']} rows the student has {found['student_accuracy']:.4f}.")
