"""Checks of images: files, repetitions, leaks, what tells them from real ones, and whether texts go with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..audit import limits
from ..audit.leakage import known_split
from ..audit.probe import judged, told_by_tree
from ..audit.records import Level, Verdict, level, percent, repetition, share_of, skipped
from ..errors import InputError
from ..metrics.classification import wilson
from ..metrics.sampling import bootstrap_of, drawn
from .gallery import BITS, Gallery, alike

Likeness = Callable[[Gallery], NDArray[np.float64]]  # cosine of each text with each image, [N, N]


def files(own: Gallery) -> Verdict:
    """Rows whose file is no whole image, or one of one colour; those without a file are counted, not judged."""
    plain = [own.index[at] for at in np.flatnonzero(own.plain).tolist()]
    bad = [*own.broken, *plain]
    told = {**share_of(len(bad), own.of), "missing": own.missing, "broken": len(own.broken), "one_colour": len(plain)}
    reason = f"of {own.of:,} rows {len(own.broken)} have a file that is no whole image, {len(plain)} an image of one "
    reason += f"colour, {own.missing} none"
    rows = [{"row": at} for at in bad[: limits.MOST_ROWS]]
    return Verdict("images", level(told["share"], limits.EMPTY), told["share"], 0.0, reason, rows, told, len(bad))


def repeats(own: Gallery, real: Gallery | None, seed: int) -> Verdict:
    """Images nearly an earlier one (difference hashes and thumbnails), beside the reference; none of one colour."""
    again, groups = _again(own, range(len(own)))
    there = None
    if real is not None and len(real):
        as_many = drawn(len(real), max(len(own), 2), seed)  # the share grows with the images
        there = (len(_again(real, as_many)[0]) / len(as_many), len(as_many))
    told = {**share_of(len(again), max(len(own), 1)), "reference": there and there[0], "groups": groups, "bits": BITS}
    times, words = repetition(there, len(own), limits.NEAR[0])
    reason = f"{percent(told['share'])} of the images are nearly an earlier one{words}"
    verdict, rows = level(told["interval"][0], limits.NEAR, times), [{"row": at} for at in again[: limits.MOST_ROWS]]
    limit = limits.NEAR[0] * times
    return Verdict("image duplicates", verdict, told["share"], limit, reason, rows, told, len(again))


def _again(own: Gallery, places: Sequence[int]) -> tuple[list[int], list[list[int]]]:
    """Return those of some images that are nearly an earlier one of these, and the groups of more than one."""
    some = {*places}
    again: list[int] = []
    first: dict[int, int] = {}
    groups: dict[int, list[int]] = {}
    for at, found in alike(own, own):
        if at not in some:
            continue
        if earlier := [one for one in found[found < at].tolist() if one in some]:
            again.append(own.index[at])
        first[at] = first[earlier[0]] if earlier else at
        groups.setdefault(first[at], []).append(own.index[at])
    return again, [group for group in groups.values() if len(group) > 1]


def two_labels(own: Gallery) -> Verdict:
    """Images that stand, pixel for pixel, under several labels; those of one colour aside."""
    check = "images, two labels"
    if own.labels is None:
        return skipped(check, "rows have no one label each")
    kept, labels = np.flatnonzero(~own.plain).tolist(), own.labels.tolist()
    held: dict[str, set[int]] = {}
    for at in kept:
        held.setdefault(own.digests[at], set()).add(labels[at])
    rows = [{"row": own.index[at], "label": own.names[labels[at]]} for at in kept if len(held[own.digests[at]]) > 1]
    told = share_of(len(rows), max(len(own), 1))
    reason = f"{len(rows)} of {len(own):,} images stand under another label, too"
    verdict = level(told["share"], limits.TWO_LABELS)
    return Verdict(
        check, verdict, told["share"], limits.TWO_LABELS[0], reason, rows[: limits.MOST_ROWS], told, len(rows)
    )


def leaked(own: Gallery, test: Gallery, train: Gallery | None, facts: Mapping[str, Any]) -> Verdict:
    """Images of the reference's test split: pixel for pixel, or nearly, beyond what its train split has of these.

    Those of one colour aside: one blank image is like another.

    Args:
        own: The data set's.
        test: Those of the split that judges.
        train: Those of its train split.
        facts: What is known of the split that judges: its name, and how many rows it has, and were read.
    """
    places = {test.digests[at]: at for at in np.flatnonzero(~test.plain).tolist()}
    same = [(own.index[at], places[digest]) for at, digest in enumerate(own.digests) if digest in places]
    known = {row for row, _ in same}
    nearly = [
        (own.index[at], int(found[0])) for at, found in alike(own, test) if len(found) and own.index[at] not in known
    ]
    chance = sum(len(found) > 0 for _, found in alike(train, test)) / len(train) if train else 0.0
    told = {
        **share_of(len(same) + len(nearly), max(len(own), 1)),
        "same": len(same),
        "near": len(nearly),
        "train": chance,
    }
    where = known_split(facts["split"])
    reason = f"{len(same)} of {len(own):,} images are images of the {where}, {len(nearly)} nearly"
    if facts["read"] < facts["rows"]:
        reason += f", of which {facts['read']:,} of {facts['rows']:,} were searched"
    if chance:
        reason += f" (of its train split {percent(chance)})"
    sure: Level = "look" if facts["split"] == "train" else "bad"  # from there, images may well have been taken
    verdict: Level = sure if same else "look" if told["interval"][0] > limits.NEAR_TEST + chance else "good"
    rows = [{"row": row, "reference_row": test.index[at]} for row, at in [*same, *nearly]]
    return Verdict("test images", verdict, len(same), 0, reason, rows[: limits.MOST_ROWS], told, len(rows))


def colour_tells(own: Gallery, real: Gallery | None, seed: int) -> Verdict:
    """Labels that a decision tree tells from mean colour, contrast and size alone.

    The value is (accuracy - m) / (1 - m), m the share of the largest class, as of labels by length. It is judged
    beside the reference's: skies are blue, and whether that gives a label away real images say.
    """
    check = "labels by colour"
    mine, theirs = _tells(own, seed), None if real is None else _tells(real, seed)
    if isinstance(mine, str):
        return skipped(check, mine)
    value, low, told = mine
    reason = f"colour and size alone tell {percent(told['accuracy'])} of the labels, the largest class has "
    reason += percent(told["majority"])
    if theirs is None or isinstance(theirs, str):
        return Verdict(check, "good", value, None, reason + " (information)", (), {**told, "seed": seed})
    reason += f" (reference {percent(theirs[2]['accuracy'])}, {percent(theirs[2]['majority'])})"
    look, bad = (limit + max(theirs[0], 0.0) for limit in limits.LENGTH_TELLS)
    return Verdict(check, level(low, (look, bad)), value, look, reason, (), {**told, "seed": seed})


def _tells(own: Gallery, seed: int) -> tuple[float, float, dict[str, Any]] | str:
    if own.labels is None or len(np.unique(own.labels)) < 2 or len(own) < limits.LEAST:
        return f"needs two classes and {limits.LEAST} rows"
    known, labels = np.unique(own.labels, return_inverse=True)
    try:
        right = told_by_tree(own.looks, labels, seed)
    except InputError as error:
        return str(error)
    majority, (low, high) = float(np.bincount(labels).max() / len(own)), wilson(right, len(own))
    told = {"rows": len(own), "accuracy": right / len(own), "interval": [low, high], "majority": majority}
    return (right / len(own) - majority) / (1 - majority), (low - majority) / (1 - majority), told


def told_apart(own: Gallery, real: Gallery, seed: int) -> Verdict:
    """Classifier two-sample test on thumbnails, as many of both."""
    check, count = "images told apart", min(len(own), len(real))
    if count < limits.LEAST:
        return skipped(check, f"needs {limits.LEAST} images of both")
    rng = np.random.default_rng(seed)
    some = [part.thumbnails[np.sort(rng.choice(len(part), count, replace=False))] for part in (own, real)]
    whose = np.repeat([0, 1], count)
    try:
        right = int((judged(np.concatenate(some), whose, 2, seed).argmax(1) == whose).sum())
    except InputError as error:
        return skipped(check, str(error))
    accuracy, interval = right / len(whose), wilson(right, len(whose))
    reason = f"a light classifier of thumbnails tells these images from real ones in {accuracy:.3f} (chance 0.5)"
    told = {"rows": count, "reference_rows": count, "seed": seed, "interval": list(interval)}
    verdict: Level = "look" if interval[0] > limits.TOLD_APART else "good"
    return Verdict(check, verdict, accuracy, limits.TOLD_APART, reason, (), told)


def belongs(own: Gallery, real: Gallery | None, likeness: Likeness | None, seed: int) -> Verdict:
    """Whether an image is likelier the one of its text than of another row's, under a model of both (CLIP).

    The value is the share of pairs (own text, another's) in which the own is nearer to the image; 0.5 is chance.
    """
    check = "image and text"
    if likeness is None:
        return skipped(check, "needs a model of images and texts: `clip`")
    mine, theirs = _belongs(likeness(own), seed), None if real is None else _belongs(likeness(real), seed)
    if mine is None:
        return skipped(check, f"needs {limits.LEAST} rows with a text and an image")
    limit = limits.BELONGS if theirs is None else theirs["share"] - limits.BELONGS_LESS
    reason = f"an image is nearer to its own text than to another's in {mine['share']:.2f} of the pairs (chance 0.5)"
    if theirs is not None:
        reason += f"; real ones in {theirs['share']:.2f}"
    told = {**mine, "seed": seed, "reference": theirs}
    return Verdict(check, "look" if mine["interval"][1] < limit else "good", mine["share"], limit, reason, (), told)


def _belongs(cosines: NDArray[np.float64], seed: int) -> dict[str, Any] | None:
    rows = len(cosines)
    if rows < limits.LEAST:
        return None
    own = np.diag(cosines)
    others = cosines[~np.eye(rows, dtype=bool)].reshape(rows, rows - 1)
    wins = (own[:, None] > others).mean(1) + 0.5 * (own[:, None] == others).mean(1)
    interval = bootstrap_of(lambda some: float(wins[some].mean()), rows, seed=seed)
    return {"rows": rows, "share": float(wins.mean()), "interval": list(interval), "cosine": float(own.mean())}
