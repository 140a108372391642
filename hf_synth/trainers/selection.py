"""Which rows to keep, given what a model or a trainer found about each: functions of arrays, nothing is trained here.

Rows come back as ascending positions, so that `Dataset.select(rows)` keeps the order of the data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_synth.errors import InputError, unknown

Rows = NDArray[np.intp]
Policy = Literal["per_class", "per_source", "threshold"]
POLICIES = ("per_class", "per_source", "threshold")
COLDEST, HOTTEST = 0.05, 20.0  # temperatures; a classifier that is always right has no best one
ROUNDING = 0.01  # how far from 1 a row of half-precision probabilities may sum


def top(scores: ArrayLike, keep: float, labels: ArrayLike | None = None) -> Rows:
    """Return the share `keep` of the rows with the highest scores; of equal ones, the earlier.

    Args:
        scores: [N].
        keep: Above 0 and at most 1.
        labels: Class indices, [N]: that share of each class is then kept, one row of it at least.

    Raises:
        InputError: For shapes that do not fit, a share outside (0, 1], or NaN.
    """
    values = _vector(scores, "scores")
    groups = np.zeros(len(values), int) if labels is None else _labels(labels, len(values))
    return _best(values, keep, groups)


def draw(weights: ArrayLike, keep: float, seed: int) -> Rows:
    """Draw a share `keep` of the rows without replacement, each next one with probability in proportion to its weight.

    The rows of the highest `log w + Gumbel noise` are such a draw (Efraimidis and Spirakis 2006;
    https://huggingface.co/papers/1903.06059). Rows of weight 0 are never drawn, so fewer may come back.

    Args:
        weights: [N], 0 or more.
        keep: Above 0 and at most 1.
        seed: Decides the draw.

    Raises:
        InputError: For weights that are negative, not finite or all 0, or a share outside (0, 1].
    """
    values = _vector(weights, "weights")
    if not np.isfinite(values).all() or values.min() < 0 or values.max() == 0:
        raise InputError(
            f"`weights` must be finite, 0 or more, and not all 0; got {values.min():g} to {values.max():g}"
        )
    noise = np.random.default_rng(seed).gumbel(size=len(values))
    with np.errstate(divide="ignore"):
        keys = np.log(values) + noise
    rows = _best(keys, keep, np.zeros(len(values), int))
    return rows[values[rows] > 0]


def information(
    log_probabilities: ArrayLike, labels: ArrayLike, prior: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return the pointwise mutual information of each text and its label: `log q(y|x) - log p(y)`.

    Its mean bounds the mutual information of texts and labels from below, whatever the teacher `q` is; where it is
    negative, the teacher finds the label less likely than chance. MI2RAGE (https://huggingface.co/papers/2312.03025)
    selects by mutual information under a teacher but published no formula: this one is ours.

    Args:
        log_probabilities: The teacher's, [N, K].
        labels: Class indices, [N].
        prior: The classes' probabilities, [K]; by default their shares of `labels`.

    Returns:
        [N].

    Raises:
        InputError: For shapes that do not fit, a class index outside 0 to K - 1, NaN, or a prior that is none.
    """
    log_q = _matrix(log_probabilities, "log_probabilities")
    _check_sums(np.exp(np.logaddexp.reduce(log_q, axis=1)), "log_probabilities")
    classes = _labels(labels, *log_q.shape)
    shares = np.bincount(classes, minlength=log_q.shape[1]) / len(classes)
    if prior is not None:
        given = np.asarray(prior, float)
        if given.shape != shares.shape or not (given[shares > 0] > 0).all() or not abs(given.sum() - 1) < ROUNDING:
            raise InputError(
                f"`prior` must hold {len(shares)} probabilities that sum to 1, above 0 where a class has rows; "
                f"got {given.tolist()}"
            )
        shares = given
    return log_q[np.arange(len(classes)), classes] - np.log(shares[classes])


def informative(
    scores: ArrayLike,
    labels: ArrayLike,
    keep: float,
    policy: Policy = "per_class",
    sources: Sequence[Any] | NDArray[Any] | None = None,
    threshold: float = 0.0,
) -> Rows:
    """Return the rows whose texts tell most of their labels; rows of negative score are dropped whatever the policy.

    Args:
        scores: What `information` gave, [N].
        labels: Class indices, [N].
        keep: Share, above 0 and at most 1; `threshold` does not look at it.
        policy: `per_class` keeps the best share of each class; `per_source` that of the rows made from one source,
            one row at least, so that every source stays covered; `threshold` keeps all above `threshold`.
        sources: What each row was made from, [N].
        threshold: See `policy`.

    Raises:
        InputError: For another policy, `per_source` without sources, or what `top` refuses.
    """
    values = _vector(scores, "scores")
    classes = _labels(labels, len(values))
    if policy == "threshold":
        return np.flatnonzero((values > threshold) & (values >= 0))
    if policy == "per_source":
        if sources is None or len(sources) != len(values):
            given = "none" if sources is None else len(sources)
            raise InputError(f"`policy` per_source needs `sources`, one for each of {len(values)} rows; got {given}")
        classes = np.unique(np.asarray(sources), return_inverse=True)[1]
    elif policy != "per_class":
        raise unknown("`policy`", policy, POLICIES)
    rows = _best(values, keep, classes)
    return rows[values[rows] >= 0]


def easy(probabilities: ArrayLike, labels: ArrayLike, keep: float) -> Rows:
    """Return the share `keep` of each class whose loss under a pretrained classifier is lowest: hard rows go.

    Args:
        probabilities: The classifier's, [N, K].
        labels: Class indices, [N].
        keep: Above 0 and at most 1.

    Raises:
        InputError: For shapes that do not fit, a class index outside 0 to K - 1, NaN, or a share outside (0, 1].
    """
    found, classes = _judged(probabilities, labels)
    return top(found[np.arange(len(classes)), classes], keep, classes)


def confident(probabilities: ArrayLike, labels: ArrayLike) -> tuple[Rows, NDArray[np.float64]]:
    """Return the rows that confident learning keeps, and the quality of each row's label, from 0 to 1.

    cleanlab (https://huggingface.co/papers/1911.00068) estimates how many rows of each class belong to each other
    class and drops the likeliest ones. It counts none towards a class without rows, and leaves each class a row.

    Args:
        probabilities: [N, K], each row's by a model that did not see it.
        labels: Class indices, [N].

    Raises:
        InputError: Without cleanlab, for rows of one class, or for what `easy` refuses.
    """
    check_cleanlab()
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    found, classes = _judged(probabilities, labels)
    if classes.min() == classes.max():
        raise InputError(f"confident learning needs rows of two classes or more; got only class {classes[0]}")
    issues = find_label_issues(classes, found, n_jobs=1)  # its other processes would be forks of one that runs torch
    return np.flatnonzero(~issues), get_label_quality_scores(classes, found)


def noise_matrix(probabilities: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Return the share of rows of each given class (rows) that belong to each class (columns), [K, K], by cleanlab.

    Args:
        probabilities: [N, K], each row's by a model that did not see it.
        labels: Class indices, [N]; each class has a row.

    Raises:
        InputError: Without cleanlab, or for what `easy` refuses.
    """
    check_cleanlab()
    from cleanlab.count import compute_confident_joint

    found, classes = _judged(probabilities, labels)
    joint = compute_confident_joint(classes, found)
    return joint / np.maximum(joint.sum(axis=1, keepdims=True), 1)


def check_cleanlab() -> None:
    """Refuse to go on without cleanlab.

    Raises:
        InputError: With the pip command.
    """
    if find_spec("cleanlab") is None:
        raise InputError("confident learning needs the package cleanlab: pip install 'hf_synth[cleanlab]'")


def calibrate(logits: ArrayLike, labels: ArrayLike) -> float:
    """Return the temperature, from 0.05 to 20, that gives the labels the lowest loss: use `softmax(logits / T)`.

    The loss is convex in 1/T, so its slope has one root, which bisection finds
    (https://huggingface.co/papers/1706.04599).

    Args:
        logits: Or log-probabilities, [N, K], of rows that the model did not see.
        labels: Class indices, [N].

    Raises:
        InputError: For shapes that do not fit, a class index outside 0 to K - 1, or what is not finite.
    """
    scores = _matrix(logits, "logits")
    if np.isinf(scores).any():
        raise InputError("`logits` must be finite; got inf")
    classes = _labels(labels, *scores.shape)
    scores = scores - scores.max(axis=1, keepdims=True)
    of_label = scores[np.arange(len(classes)), classes].mean()
    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(40):
        middle = (low + high) / 2
        odds = np.exp(scores / np.exp(middle))
        expected = ((odds * scores).sum(axis=1) / odds.sum(axis=1)).mean()
        low, high = (low, middle) if expected < of_label else (middle, high)
    return float(np.exp((low + high) / 2))


def _best(scores: NDArray[np.float64], keep: float, groups: NDArray[Any]) -> Rows:
    """Return the share of each group, one row at least, that scores highest."""
    if not 0 < keep <= 1:
        raise InputError(f"`keep` must be above 0 and at most 1; got {keep!r}")
    _, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.lexsort((-scores, codes))  # stable, so that ties go by position
    place = np.arange(len(scores)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    wanted = np.maximum(1, np.rint(keep * sizes))
    return np.sort(order[place < wanted[codes[order]]])


def _judged(probabilities: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    found = _matrix(probabilities, "probabilities")
    if found.min() < 0 or found.max() > 1 + ROUNDING:
        raise InputError(f"`probabilities` must be between 0 and 1; got {found.min():g} to {found.max():g}")
    sums = found.sum(axis=1)
    _check_sums(sums, "probabilities")
    return found / sums[:, None], _labels(labels, *found.shape)


def _check_sums(sums: NDArray[np.float64], name: str) -> None:
    worst = int(np.abs(sums - 1).argmax())
    if not abs(sums[worst] - 1) < ROUNDING:
        raise InputError(f"`{name}` must give each row probabilities that sum to 1; row {worst} has {sums[worst]:g}")


def _vector(values: ArrayLike, name: str) -> NDArray[np.float64]:
    vector = np.asarray(values, float)
    if vector.ndim != 1 or len(vector) == 0:
        raise InputError(f"`{name}` must hold one number for each row; got the shape {vector.shape}")
    if np.isnan(vector).any():
        raise InputError(f"`{name}` must not be NaN; got NaN in row {int(np.isnan(vector).argmax())}")
    return vector


def _matrix(values: ArrayLike, name: str) -> NDArray[np.float64]:
    matrix = np.asarray(values, float)
    if matrix.ndim != 2 or len(matrix) == 0 or matrix.shape[1] < 2:
        raise InputError(f"`{name}` must hold one number for each row and class, [N, K]; got the shape {matrix.shape}")
    if np.isnan(matrix).any():
        raise InputError(f"`{name}` must not be NaN; got NaN in row {int(np.isnan(matrix).any(axis=1).argmax())}")
    return matrix


def _labels(labels: ArrayLike, rows: int, classes: int | None = None) -> NDArray[np.intp]:
    found = np.asarray(labels)
    if found.shape != (rows,) or found.dtype.kind not in "iu":
        raise InputError(
            f"`labels` must hold one class index for each of {rows} rows; got {found.dtype} of the shape {found.shape}"
        )
    last = int(found.max()) if classes is None else classes - 1
    outside = (found < 0) | (found > last)
    if outside.any():
        raise InputError(f"`labels` must be class indices from 0 to {last}; got {found[outside][0]}")
    return found.astype(np.intp)
