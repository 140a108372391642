"""How far the values of an attribute that texts have are from an even spread, and from those of real texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

DRAWS = 1000
Counts = NDArray[Any]  # texts of each value, [..., V]


def attribute_bias(
    seen: Sequence[str], values: Sequence[str], reference: Sequence[str] = (), seed: int = 0
) -> dict[str, Any]:
    """Compare the values that texts have with the uniform distribution and with a reference.

    The measures of AttrPrompt's analysis of attribute bias (https://huggingface.co/papers/2306.15895, section 4).

    Args:
        seen: The value that each text has, as somebody or a classifier says.
        values: All that there are, two or more.
        reference: The values of other texts, such as real ones.
        seed: Decides the draws of the bootstrap.

    Returns:
        `rows`, `histogram` (value -> share), the same of the reference as `reference`, and measures (`value` and
        `interval`, of 95 % and 1,000 bootstrap draws over the texts of both): `entropy` (of its largest possible
        value, 1 is uniform), `kl_uniform` and `tv_uniform` (KL divergence in nats and total variation distance, 0 is
        uniform), and beside a reference `tv_reference` and `kl_reference`, for which half a text is added to every
        value on both sides.

    Raises:
        InputError: If there are fewer than two values, or no texts.
    """
    if len(values) < 2 or not seen:
        raise InputError(f"attribute bias needs two values and a text; got {len(values)} values, {len(seen)} texts")
    sides = [np.array([list(side).count(value) for value in values]) for side in (seen, reference) if side]
    draw = np.random.default_rng(seed)
    drawn = _distances(*(draw.multinomial(side.sum(), side / side.sum(), DRAWS) for side in sides))
    found: dict[str, Any] = {"rows": len(seen), "histogram": _shares(values, sides[0])}
    if reference:
        found["reference"] = _shares(values, sides[1])
    for name, value in _distances(*sides).items():
        low, high = np.quantile(drawn[name], [0.025, 0.975])
        found[name] = {"value": float(value), "interval": [float(low), float(high)]}
    return found


def _shares(values: Sequence[str], counts: Counts) -> dict[str, float]:
    return dict(zip(values, (counts / counts.sum()).tolist(), strict=True))


def _distances(own: Counts, real: Counts | None = None) -> dict[str, Any]:
    """Return each measure of these counts, or of each draw of them."""
    count = own.shape[-1]
    shares, uniform = own / own.sum(-1, keepdims=True), np.full(count, 1 / count)
    divergence = _kl(shares, uniform)
    found = {
        "entropy": 1 - divergence / np.log(count),
        "kl_uniform": divergence,
        "tv_uniform": np.abs(shares - uniform).sum(-1) / 2,
    }
    if real is not None:
        found["tv_reference"] = np.abs(shares - real / real.sum(-1, keepdims=True)).sum(-1) / 2
        smooth = [(side + 0.5) / (side + 0.5).sum(-1, keepdims=True) for side in (own, real)]
        found["kl_reference"] = _kl(*smooth)
    return found


def _kl(p: Counts, q: Counts) -> Any:
    terms = np.zeros_like(p)
    return np.multiply(p, np.log(p / q, where=p > 0, out=terms), out=terms).sum(-1)
