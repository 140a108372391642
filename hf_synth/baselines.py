"""What a student must beat on real rows: the commonest label, the generator's own, or names that its prompts hold."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .bio import Lexicon, tags_of
from .candidates import random_answer
from .filters.consistency import free_scores, label_scores
from .generators.base import Generator, Scorer
from .learners import learner
from .reference import RealRows
from .task import GIVEN_FIRST, Task


def prompting(
    generator: Scorer, texts: Mapping[str, Sequence[str]], task: Task, batch_size: int
) -> dict[str, list[Any]]:
    """Label texts by the generator alone: the label under whose prompt the text is likeliest.

    The score is the mean log-probability of the text's tokens after the label's prompt (ZeroGen's PROMPTING, without
    averaging over the template). `calibrated` subtracts the score of a content-free text under the same prompt, so a
    prompt that makes every text likelier gains nothing. Of a task of several labels a text, as many of the likeliest
    are given as its prompts ask for on average.

    Args:
        generator: Scores texts.
        texts: The task's columns.
        task: Its scoring prompts.
        batch_size: Texts at once.

    Returns:
        `prompting` and `prompting, calibrated` -> label names, or lists of them.
    """
    given = texts[task.columns[0]] if task.kind in GIVEN_FIRST else [""] * len(texts[task.generated])
    plain = label_scores(generator, task, given, texts[task.generated], batch_size)
    calibrated = plain - free_scores(generator, task, given, batch_size)
    names = list(task.labels)
    scores = {"prompting": plain, "prompting, calibrated": calibrated}
    if task.kind != "multi_label":
        return {name: [names[at] for at in found.argmax(1)] for name, found in scores.items()}
    count = round(sum(task.mentions) / 2)
    best = {name: np.argsort(-found, axis=1, kind="stable")[:, :count] for name, found in scores.items()}
    return {name: [[names[at] for at in row] for row in rows] for name, rows in best.items()}


def dictionary(task: Task, tokens: Sequence[Sequence[str]]) -> list[list[str]]:
    """Tag tokens by the names in the task's prompts alone."""
    lexicon = Lexicon(task.words)
    return [tags_of(len(row), lexicon.spans(row)) for row in tokens]


def baselines(
    generator: Generator, reference: RealRows, task: Task, rows: int, batch_size: int
) -> tuple[list[int], dict[str, list[Any]]]:
    """Return which real rows a task's baselines label, and what each of them says of these.

    Args:
        generator: Scores texts; without `score` there is no prompting.
        reference: The real rows.
        task: The task.
        rows: How many the generator labels, drawn with a fixed seed, and the commonest label beside it; all where
            it labels none, and by other baselines.
        batch_size: Texts at once.
    """
    everywhere = list(range(len(reference.data)))
    if task.kind == "tokens":
        return everywhere, {"dictionary of the prompts' names": dictionary(task, reference.data[task.generated])}
    if task.kind == "qa":
        draw = random.Random(0)
        drawn = [_answer(context, draw) for context in reference.data[task.columns[0]]]
        return everywhere, {"a random name, number or date": drawn}
    if task.kind == "parse":
        return [], {}
    places, said = everywhere, dict[str, list[Any]]()
    if rows and isinstance(generator, Scorer):
        places = sorted(random.Random(0).sample(everywhere, min(rows, len(everywhere))))
        texts = reference.data.select(places)
        said = prompting(generator, {c: texts[c] for c in task.columns}, task, batch_size)
    if task.kind != "multi_label":
        [(most, _)] = Counter(reference.data[task.label_column]).most_common(1)
        said["the commonest label"] = [most] * len(places)
    return (places, said) if said else ([], {})


def judge_baselines(
    generator: Generator, reference: RealRows, task: Task, rows: int, batch_size: int, student: Sequence[Any]
) -> dict[str, dict[str, Any]]:
    """Return the scores of a task's baselines on real rows, and the student's (`student`) on the same rows.

    Args:
        generator: See `baselines`, as for the other arguments.
        reference: The real rows.
        task: The task.
        rows: How many the generator labels.
        batch_size: Texts at once.
        student: What the student says of every real row.
    """
    places, said = baselines(generator, reference, task, rows, batch_size)
    kind, real = learner(task), reference.data.select(places)[task.label_column]
    ours = kind.score(task, [student[at] for at in places], real)[kind.metric] if places else None
    return {name: {**kind.score(task, labels, real), "student": ours} for name, labels in said.items()}


def _answer(context: str, draw: random.Random) -> dict[str, list[Any]]:
    start, end, _ = random_answer(context, draw)
    return {"text": [context[start:end]], "answer_start": [start]}
