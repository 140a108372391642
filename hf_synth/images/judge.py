"""Which images of the chains are kept: mutual information under teachers, and no near-duplicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset
from numpy.typing import NDArray

from ..classifier import fit, log_probabilities, log_softmax
from ..errors import InputError
from ..journal import Journal
from ..settings import StudentConfig
from ..task import Task
from ..tasks import parse_task
from ..trainers.selection import calibrate, information, informative
from .chain import REFUSED, SILENT, Link
from .gallery import difference_hash
from .settings import IllustrateConfig
from .source import Original
from .store import Store, opened

NEGATIVE = "its caption makes the label less likely than chance"
REPEATED = "near-duplicate of a better image of the same row"
BEHIND = "others tell more of the label"
LEAST = 2  # rows of a label


def teachers_task(original: Original) -> Task:
    """Return the classification of texts that teachers learn.

    Raises:
        InputError: If the rows with a text are too few for it, or one has no label.
    """
    count = dict.fromkeys(original.names, 0)
    for row, (text, label) in enumerate(zip(original.texts, original.labels, strict=True)):
        if label is None:
            raise InputError(f"`select` needs a label in every row; row {row} has none")
        count[label] += text is not None
    if len(count) < 2 or min(count.values()) < LEAST:
        raise InputError(f"teachers need {LEAST} labels or more with {LEAST} given texts each; there are {count}")
    return parse_task({"name": "teacher", "labels": list(original.names), "prompt": "{label}"}, "`label_column`")


def judge(
    original: Original, links: Sequence[Link], config: IllustrateConfig, student: StudentConfig, journal: Journal
) -> dict[str, Any]:
    """Score each caption: `log q(y|x) - log p(y)` by a calibrated teacher that saw no text of the caption's row.

    MI2RAGE (https://huggingface.co/papers/2312.03025) selects by mutual information under a teacher; it published no
    formula and no code, so the score, the folds and the calibration are ours.

    Returns:
        What the card says of the teachers.
    """
    for link in links:
        link.dropped = link.dropped or (None if link.caption else SILENT)
    judged = [link for link in links if not link.dropped]
    task, index = teachers_task(original), {name: at for at, name in enumerate(original.names)}
    labels = np.array([index[str(label)] for label in original.labels])
    known = np.array([row for row, text in enumerate(original.texts) if text is not None])
    inputs = [original.digest, config.seed, config.folds, config.teacher, dict(config.teacher_args)]
    asked = [(link.row, link.caption) for link in judged]

    def compute() -> dict[str, Any]:
        return _by_folds(original, task, labels, known, asked, config, student)

    found = journal.once("teachers", [inputs, asked], compute)
    own = np.array(found["own"])
    temperature = calibrate(own, labels[known])
    prior = np.bincount(labels[known], minlength=len(index)) / len(known)
    if judged:
        told = log_softmax(np.array(found["asked"]) / temperature)
        scores = information(told, labels[[link.row for link in judged]], prior)
        for link, score in zip(judged, scores.tolist(), strict=True):
            link.score = score
    right = (own.argmax(axis=1) == labels[known]).mean()
    return {"rows": len(known), "accuracy": round(float(right), 4), "temperature": round(temperature, 4)}


def _by_folds(
    original: Original,
    task: Task,
    labels: NDArray[np.intp],
    known: NDArray[np.intp],
    asked: Sequence[tuple[int, str | None]],
    config: IllustrateConfig,
    student: StudentConfig,
) -> dict[str, Any]:
    """Return log-probabilities of the given texts, and of the captions, by teachers of other folds."""
    fold = _folds(labels, known, config)
    own, others = np.empty((len(known), len(task.labels))), np.empty((len(asked), len(task.labels)))
    where = np.array([row for row, _ in asked], np.intp)
    for at in range(config.folds):
        train, test = known[fold[known] != at], np.flatnonzero(fold[known] == at)
        captions = np.flatnonzero(fold[where] == at) if len(where) else where
        teacher = fit(task, _rows(task, [original.texts[row] for row in train], labels[train]), student, config.seed)
        texts = [original.texts[known[row]] for row in test] + [asked[row][1] for row in captions]
        if texts:
            told = log_probabilities(teacher, task, _rows(task, texts, np.zeros(len(texts), np.intp)), student)
            own[test], others[captions] = told[: len(test)], told[len(test) :]
    return {"own": own.tolist(), "asked": others.tolist()}


def _folds(labels: NDArray[np.intp], known: NDArray[np.intp], config: IllustrateConfig) -> NDArray[np.intp]:
    """Return each row's fold; the labels of rows with a text are spread evenly."""
    fold: NDArray[np.intp] = np.arange(len(labels)) % config.folds
    mixed = np.random.default_rng(config.seed).permutation(known)
    fold[mixed[np.argsort(labels[mixed], kind="stable")]] = np.arange(len(known)) % config.folds
    return fold


def _rows(task: Task, texts: Sequence[str | None], labels: NDArray[np.intp]) -> Dataset:
    column, label = task.columns[0], task.label_column
    rows = Dataset.from_dict({column: list(texts), label: labels.tolist()})
    return rows.cast_column(label, ClassLabel(names=list(task.labels)))


def select(original: Original, links: Sequence[Link], store: Store, config: IllustrateConfig) -> list[dict[str, Any]]:
    """Say of each judged image why it goes, if it goes.

    Returns:
        For each hop: images judged, their mean score (a lower bound on the mutual information of captions and labels,
        in nats), and how many stay.
    """
    judged = [link for link in links if link.score is not None]
    for link in judged:
        if (link.score or 0.0) < 0:
            link.dropped = NEGATIVE
    _drop_repeats([link for link in judged if not link.dropped], store, config.duplicate_bits)
    made = [link for link in links if link.dropped != REFUSED]
    if made:  # the share is of all that were made, so what is dropped takes part, behind every other
        labels = [original.names.index(str(original.labels[link.row])) for link in made]
        scores = [-np.inf if link.dropped or link.score is None else link.score for link in made]
        sources = [link.row for link in made]
        kept = {*informative(np.array(scores), labels, config.select or 1.0, config.policy, sources).tolist()}
        for at, link in enumerate(made):
            link.dropped = link.dropped or (None if at in kept else BEHIND)
    return [_told(hop, [link for link in judged if link.hop == hop]) for hop in range(1, config.hops + 1)]


def _told(hop: int, links: Sequence[Link]) -> dict[str, Any]:
    scores = [link.score for link in links if link.score is not None]
    mean = round(float(np.mean(scores)), 4) if scores else None
    return {"hop": hop, "images": len(links), "score": mean, "kept": sum(not link.dropped for link in links)}


def _drop_repeats(links: Sequence[Link], store: Store, bits: int) -> None:
    """Drop an image whose hash is near that of one of the same row with a higher score."""
    better: dict[int, list[int]] = {}
    for link in sorted(links, key=lambda link: (-(link.score or 0.0), link.hop, link.draw)):
        mine = difference_hash(opened(store.image(link.key) or b""))
        seen = better.setdefault(link.row, [])
        if any((mine ^ other).bit_count() <= bits for other in seen):
            link.dropped = REPEATED
        else:
            seen.append(mine)


def reasons(links: Sequence[Link]) -> Mapping[str, int]:
    """Return how many images were dropped for which reason."""
    found: dict[str, int] = {}
    for link in links:
        if link.dropped:
            found[link.dropped] = found.get(link.dropped, 0) + 1
    return dict(sorted(found.items()))
