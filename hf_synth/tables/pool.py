"""Pooling what was computed on completed tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pooled:
    """An estimate over several completed tables.

    Attributes:
        estimate: The mean of the estimates.
        variance: Its total variance: within tables, and between them for what is not known.
        degrees: Degrees of freedom of Student's t; infinite where the tables agree.
        between: Share of the variance that is due to the missing cells.
    """

    estimate: float
    variance: float
    degrees: float
    between: float

    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval."""
        half = student(0.95, self.degrees) * math.sqrt(self.variance)
        return self.estimate - half, self.estimate + half


def rubin(estimates: Sequence[float], variances: Sequence[float]) -> Pooled:
    """Pool by Rubin's rules (Rubin 1987, chapter 3).

    With m tables, mean within-table variance W and variance B of the estimates: T = W + (1 + 1/m) B, on
    (m - 1) (1 + W / ((1 + 1/m) B))^2 degrees of freedom.

    Args:
        estimates: One of each table, two or more.
        variances: Their squared standard errors.
    """
    count = len(estimates)
    if count < 2 or len(variances) != count:
        raise ValueError(
            f"Rubin's rules pool two tables or more, each with a variance; got {count} and {len(variances)}"
        )
    within, between = float(np.mean(variances)), (1 + 1 / count) * float(np.var(estimates, ddof=1))
    total = within + between
    degrees = (count - 1) * (1 + within / between) ** 2 if between else math.inf
    return Pooled(float(np.mean(estimates)), total, degrees, between / total if total else 0.0)


def student(share: float, degrees: float) -> float:
    """Return the two-sided quantile of Student's t, by the expansion of Hill (1970); exact as degrees grow."""
    from statistics import NormalDist

    z = NormalDist().inv_cdf((1 + share) / 2)
    if math.isinf(degrees):
        return z
    # The terms of Cornish and Fisher; below 3 degrees they are not enough, and integrating is.
    if degrees >= 3:
        g = [
            (z**3 + z) / 4,
            (5 * z**5 + 16 * z**3 + 3 * z) / 96,
            (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
            (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
        ]
        return z + sum(term / degrees**power for power, term in enumerate(g, 1))
    grid = np.linspace(0, math.pi / 2, 200_001)[:-1]  # t = sqrt(d) tan(a) turns the density into cos(a)^(d - 1)
    mass = np.cumsum(np.cos(grid) ** (degrees - 1))
    return float(math.sqrt(degrees) * math.tan(grid[int(np.searchsorted(mass, share * mass[-1]))]))
