"""Which values of an attribute texts have, as a classifier that learnt from rows of known values sees it."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from math import log
from typing import Any, Protocol

from ..errors import InputError

DRAWS = 1000


class Predictor(Protocol):
    """Learns values of texts and tells them, such as a scikit-learn pipeline."""

    def fit(self, texts: Sequence[str], values: Sequence[str]) -> Any:
        """Learn."""
        ...

    def predict(self, texts: Sequence[str]) -> Sequence[str]:
        """Tell."""
        ...


def attribute_bias(
    train: Sequence[tuple[str, str]],
    texts: Sequence[tuple[str, str]],
    *,
    reference: Sequence[tuple[str, str]] = (),
    classifier: Callable[[], Predictor] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare the values that a classifier sees in texts with the uniform distribution and with a reference.

    AttrPrompt's analysis of attribute bias (https://huggingface.co/papers/2306.15895, section 4): rows whose values
    are known teach the classifier, whose own accuracy bounds what the histograms can show. It is measured on a fifth
    of those rows that are held out, so it holds for texts like them.

    Args:
        train: (text, value of the attribute).
        texts: (text, class), to be judged.
        reference: (text, class) of other texts, such as real ones.
        classifier: Makes an untrained classifier; by default logistic regression on tf-idf of words and bigrams,
            which needs scikit-learn.
        seed: Decides what is held out, and the draws of the bootstrap.

    Returns:
        `classifier` (rows, accuracy on those held out, the share of the most frequent value beside it) and, under
        `all` and each class, `rows`, `histogram` (value -> share) and measures with 95 % intervals of 1,000 bootstrap
        draws over the texts: `entropy` (of its largest possible value, 1 is uniform), `kl_uniform` and `tv_uniform`
        (KL divergence in nats and total variation distance, 0 is uniform), and beside a reference of that class
        `tv_reference` and `kl_reference`, for which half a text is added to every value on both sides.

    Raises:
        InputError: If there are too few rows or values to learn from, no texts, or no scikit-learn where it is needed.
    """
    values = sorted({value for _, value in train})
    if len(values) < 2 or len(train) < 5 or not texts:
        raise InputError(
            f"attribute bias needs 5 rows or more of known values, two values and a text; got {len(train)} rows, "
            f"{len(values)} values and {len(texts)} texts"
        )
    order, rng = list(train), random.Random(seed)
    rng.shuffle(order)
    held, learnt = order[: len(order) // 5], order[len(order) // 5 :]
    if len({value for _, value in learnt}) < 2:
        raise InputError(f"attribute bias learns two values or more; the {len(learnt)} rows not held out have one")
    make = classifier or _logistic
    fitted = make()
    fitted.fit([text for text, _ in learnt], [value for _, value in learnt])
    right = sum(map(str.__eq__, _told(fitted, [text for text, _ in held]), (value for _, value in held)))
    seen = _by_class(texts, _told(fitted, [text for text, _ in texts]))
    real = _by_class(reference, _told(fitted, [text for text, _ in reference]) if reference else [])
    found: dict[str, Any] = {
        "classifier": {
            "rows": len(learnt),
            "held_out": len(held),
            "accuracy": right / len(held),
            "most_frequent": max(Counter(value for _, value in held).values()) / len(held),
        }
    }
    for name, own in seen.items():
        found[name] = _measured(own, real.get(name, []), values, random.Random(f"{seed}:{name}"))
    return found


def _logistic() -> Predictor:
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
    except ImportError:
        raise InputError("attribute bias needs a `classifier`, or scikit-learn: pip install scikit-learn") from None
    return make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=1000)
    )


def _told(fitted: Predictor, texts: Sequence[str]) -> list[str]:
    return [str(value) for value in fitted.predict(texts)]


def _by_class(texts: Sequence[tuple[str, str]], told: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for (_, label), value in zip(texts, told, strict=True):
        found["all"].append(value)
        found[label].append(value)
    return dict(found)


def _measured(seen: Sequence[str], real: Sequence[str], values: Sequence[str], rng: random.Random) -> dict[str, Any]:
    """Return rows, histogram, and each measure with its interval."""
    counts = Counter(seen)
    found: dict[str, Any] = {"rows": len(seen), "histogram": {value: counts[value] / len(seen) for value in values}}
    point = _distances(seen, real, values)
    draws = [
        _distances(rng.choices(seen, k=len(seen)), rng.choices(real, k=len(real)) if real else real, values)
        for _ in range(DRAWS)
    ]
    for name, value in point.items():
        drawn = sorted(draw[name] for draw in draws)
        found[name] = {"value": value, "interval": [drawn[DRAWS * 25 // 1000], drawn[DRAWS * 975 // 1000 - 1]]}
    return found


def _distances(seen: Sequence[str], real: Sequence[str], values: Sequence[str]) -> Mapping[str, float]:
    shares, uniform = _shares(seen, values), [1 / len(values)] * len(values)
    divergence = _kl(shares, uniform)
    found = {
        "entropy": 1 - divergence / log(len(values)),
        "kl_uniform": divergence,
        "tv_uniform": _tv(shares, uniform),
    }
    if real:
        found["tv_reference"] = _tv(shares, _shares(real, values))
        found["kl_reference"] = _kl(_shares(seen, values, 0.5), _shares(real, values, 0.5))
    return found


def _shares(seen: Sequence[str], values: Sequence[str], more: float = 0.0) -> list[float]:
    counts = Counter(seen)
    return [(counts[value] + more) / (len(seen) + more * len(values)) for value in values]


def _kl(p: Sequence[float], q: Sequence[float]) -> float:
    return sum(a * log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def _tv(p: Sequence[float], q: Sequence[float]) -> float:
    return sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2
