"""What a trained student costs where it runs: size, time for one text, rows a second on one core."""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from .baselines import prompting
from .errors import InputError
from .generators.base import Generator, Scorer
from .learners import Learner, label
from .task import Task

# The files that a student needs to run; the card, training facts and pictures beside them are not among them.
NEEDED = ("*.safetensors", "config.json", "tokenizer*", "vocab*", "merges.txt", "*_tokens*.json", "*.model", "*.py")
Rows = Sequence[tuple[str, ...]]
SECONDS = 1.0  # about how long each figure may take
ONE_BY_ONE = 32
BATCH = 64
ROWS = 4 * BATCH
PROMPTED = 16


@contextmanager
def one_core() -> Iterator[None]:
    """Let torch and the tokenizers work on one thread, and put back what was set."""
    threads, tokenizers = torch.get_num_threads(), os.environ.get("TOKENIZERS_PARALLELISM")
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        del os.environ["TOKENIZERS_PARALLELISM"]
        if tokenizers is not None:
            os.environ["TOKENIZERS_PARALLELISM"] = tokenizers


def footprint(
    folder: str | Path,
    texts: Sequence[Sequence[str]],
    max_length: int = 128,
    kind: Learner = label,
) -> dict[str, Any]:
    """Measure a saved student on one core of this machine's CPU, from text to label, tokenising included.

    Args:
        folder: The model's folder.
        texts: One sequence of texts per column, all of one length; some are drawn with a fixed seed.
        max_length: Tokens a text is cut to.
        kind: How the student is loaded and what it does with texts.

    Returns:
        `parameters`; `megabytes` (10^6 bytes) of the files it needs to run; `milliseconds_per_text`, the median over
        texts one by one; `rows_per_second` over `rows` texts, like lengths together in batches of 64.

    Raises:
        InputError: If there is no text that is not blank.
    """
    folder = Path(folder)
    model = kind.auto.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    drawn = _draw(texts, ROWS)
    with one_core():
        work = partial(_label, kind, model, tokenizer, max_length)
        each = _one_by_one(work, drawn)
        rows = drawn[: max(8, int(SECONDS / each))]
        rows_per_second = len(rows) / _seconds(work, rows)
    return {
        "cores": 1,
        "parameters": model.num_parameters(),
        "megabytes": round(sum(file.stat().st_size for file in needed_files(folder)) / 1e6, 2),
        "milliseconds_per_text": round(1000 * each, 3),
        "rows_per_second": round(rows_per_second, 2),
        "rows": len(rows),
        "prompting": None,
    }


def needed_files(folder: Path) -> list[Path]:
    """Return the files of a model's folder that are read when it runs: weights, configuration, tokenizer, code."""
    return sorted({file for pattern in NEEDED for file in folder.glob(pattern)})


def prompting_rate(
    generator: Generator, texts: Sequence[Sequence[str]], task: Task, batch_size: int
) -> dict[str, Any] | None:
    """Measure labelling by the generator alone on one core, both scores of `prompting` together.

    Args:
        generator: Scores texts in this process, on the CPU; for any other one core says nothing and the result is
            None.
        texts: One sequence of texts per column of the task; a few are drawn with a fixed seed.
        task: The same labels as the student's.
        batch_size: Texts at once.

    Returns:
        `rows_per_second` over `rows` texts.
    """
    source = generator.source
    if not isinstance(generator, Scorer) or source.get("device", "cpu") != "cpu" or "engine" in source:
        return None
    drawn = _draw(texts, PROMPTED)
    with one_core():
        first = task.render(next(iter(task.labels)), scoring=True)
        generator.score([first], [drawn[0][-1]], batch_size=1)  # loads the model
        seconds = _prompt(generator, drawn[:1], task, 1)
        rows = drawn[: max(1, int(SECONDS / max(seconds, 1e-6)))]
        if len(rows) > 1:
            seconds = _prompt(generator, rows, task, batch_size)
    return {"rows": len(rows), "rows_per_second": round(len(rows) / max(seconds, 1e-6), 3)}


def sentence(deployment: Mapping[str, Any]) -> str:
    """Return the figures in one line."""
    prompted = deployment["prompting"]
    times = deployment["rows_per_second"] / prompted["rows_per_second"] if prompted else 0.0
    return (
        f"student on one core: {deployment['parameters']:,} parameters, {deployment['megabytes']} MB, "
        f"{deployment['milliseconds_per_text']:.1f} ms per text, {deployment['rows_per_second']:.0f} rows/s"
        + (f"; prompting the generator {prompted['rows_per_second']:.2f} rows/s ({times:.1f} x)" if prompted else "")
    )


def _draw(texts: Sequence[Sequence[str]], rows: int) -> list[tuple[str, ...]]:
    """Return at most `rows` rows without blank texts, drawn with a fixed seed."""
    found = [row for row in zip(*texts, strict=True) if all(text.strip() for text in row)]
    if not found:
        raise InputError("a student is timed on real texts; there is none that is not blank")
    return random.Random(0).sample(found, min(rows, len(found)))


def _label(kind: Learner, model: Any, tokenizer: Any, max_length: int, rows: Rows) -> Any:
    return kind.run(model, tokenizer, [list(column) for column in zip(*rows, strict=True)], max_length)


def _one_by_one(work: Callable[[Rows], Any], rows: Rows) -> float:
    """Return the median seconds of one text."""
    work(rows[:1])  # the first call sets up kernels
    found: list[float] = []
    while len(found) < ONE_BY_ONE and (len(found) < 3 or sum(found) < SECONDS):
        started = time.perf_counter()
        work([rows[len(found) % len(rows)]])
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def _seconds(work: Callable[[Rows], Any], rows: Rows) -> float:
    """Return the seconds that all rows take in batches, like lengths together as `student.predict` has them."""
    started = time.perf_counter()
    ordered = sorted(rows, key=lambda row: sum(map(len, row)))
    for start in range(0, len(ordered), BATCH):
        work(ordered[start : start + BATCH])
    return time.perf_counter() - started


def _prompt(generator: Scorer, rows: Sequence[tuple[str, ...]], task: Task, batch_size: int) -> float:
    columns = dict(zip(task.columns, zip(*rows, strict=True), strict=True))
    started = time.perf_counter()
    prompting(generator, columns, task, batch_size)
    return time.perf_counter() - started
