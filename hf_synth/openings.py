"""Openings: the short texts that prompts are built around, written by the generator or taken from a real corpus."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

from .errors import InputError
from .filters.surface import Unique
from .parse import unlabelled
from .prompts import opening_prompts
from .run import Run
from .task import Corpus, Task

Where = Literal["generated", "corpus"]
WRITTEN = 500  # openings that the generator writes where nobody says how many


def openings(run: Run, where: Where, most: int | None, sampling: dict[str, Any]) -> Iterator[str]:
    """Yield openings, made only as far as somebody reads; one empty text where the task has none.

    Args:
        run: Has the task, and masks for real texts where it is to have some.
        where: From the task's real corpus or, in place of it, from the task's list or the generator.
        most: Openings at most; `None` for the whole corpus, or 500 of the generator's.
        sampling: Decoding of openings that the generator writes.
    """
    opening = run.task.opening
    if opening is None:
        yield ""
    elif where == "corpus" and opening.corpus:
        from .reference import corpus_texts

        texts = islice(corpus_texts(opening.corpus, run.seed), most)
        yield from map(run.masks.text, texts) if run.masks else texts
    elif opening.values:
        yield from opening.values
    else:
        most = most or WRITTEN
        # Asked twice as often as wanted at most: a model with few titles in it gives what it has.
        prompts = islice(opening_prompts(run.task), 2 * most)
        limits: dict[str, Any] = {"max_new_tokens": opening.max_new_tokens, "stop": ('"',)}
        parse = unlabelled(opening.min_words)
        written = run.complete(prompts, parse, Unique(), stage="openings", **limits, **sampling)
        yield from (example.fields["text"] for example in islice(written, most))


def check_openings(task: Task, where: Where) -> None:
    """Refuse openings that the task cannot give.

    Raises:
        InputError: If it has no corpus, no prompt for openings, or a corpus of test data.
    """
    opening = task.opening
    if where == "corpus":
        from .reference import check_corpus

        if opening is None or opening.corpus is None:
            hint = "; give `corpus`, or set `openings: generated`" if opening else ""
            raise InputError(f"`openings: corpus` needs a task with `opening.corpus`; {task.name!r} has none{hint}")
        check_corpus(task)
    elif opening and not (opening.prompt or opening.values):
        raise InputError(f"{task.name!r} has no prompt for openings; set `openings: corpus`")


def opening_sources(task: Task, where: Where) -> list[Corpus]:
    """Return the corpus that openings are taken from, if they are."""
    return [task.opening.corpus] if where == "corpus" and task.opening and task.opening.corpus else []
