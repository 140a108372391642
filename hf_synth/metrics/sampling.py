"""Samples of texts, and 95 % intervals of what was measured on them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_synth.errors import InputError

GROUPS = 20
T_19 = 2.093  # 97.5 % quantile of Student's t with GROUPS - 1 degrees of freedom
NORMAL = 1.96


def drawn(rows: int, sample: int | None, seed: int = 0) -> list[int]:
    """Return the places of `sample` of the rows in their order, drawn without replacement; all of them without it.

    Raises:
        InputError: If fewer than two rows are asked for.
    """
    if sample is None or sample >= rows:
        return list(range(rows))
    if sample < 2:
        raise InputError(f"`sample` must be 2 or more; got {sample}")
    return sorted(random.Random(seed).sample(range(rows), sample))


def bootstrap_of(
    figure: Callable[[NDArray[np.int64]], float], rows: int, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a figure of so many rows, given the places of those drawn."""
    draw = np.random.default_rng(seed)
    low, high = np.quantile([figure(draw.integers(rows, size=rows)) for _ in range(draws)], [0.025, 0.975])
    return float(low), float(high)


def bootstrap(values: Sequence[float] | NDArray, draws: int = 1000, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a mean."""
    found = np.asarray(values)
    return bootstrap_of(lambda rows: float(found[rows].mean()), len(found), draws, seed)


def groups(rows: int, seed: int = 0) -> NDArray[np.int64]:
    """Return a group of each row, [N]: GROUPS groups at random, whose sizes differ by one at most."""
    return np.random.default_rng(seed).permutation(rows) % GROUPS


def jackknife(
    value: float, without: ArrayLike, times: float, least: float = -np.inf, most: float = np.inf
) -> list[float]:
    """Return the interval of a figure that is no mean, from its values with each row or group left out.

    value +- times * sqrt((G - 1) / G * sum_g (without_g - mean)^2), the (delete-a-group) jackknife of Tukey and
    Quenouille. Resampling with replacement would count a row's copies as repetitions of the generator. What the
    figure cannot be, below `least` or above `most`, is cut off.
    """
    left = np.asarray(without, dtype=np.float64)
    half = times * float(np.sqrt((len(left) - 1) * left.var()))
    return [max(value - half, least), min(value + half, most)]


def ratio_interval(part: NDArray, whole: NDArray) -> list[float]:
    """Return the interval of the share sum(part) / sum(whole) over rows that were drawn independently.

    Cochran (1977, section 6.4): r +- 1.96 sqrt(n / (n - 1) sum (part_i - r whole_i)^2) / sum(whole).
    """
    total, rows = float(whole.sum()), len(whole)
    share = float(part.sum()) / total
    spread = float(np.square(part - share * whole).sum()) * rows / max(rows - 1, 1)
    half = NORMAL * spread**0.5 / total
    return [max(share - half, 0.0), min(share + half, 1.0)]
