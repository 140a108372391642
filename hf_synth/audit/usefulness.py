"""What a light classifier learns from the rows, judged on real ones: accuracy, calibration, what more rows give."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from ..metrics.calibration import calibration
from ..metrics.classification import wilson
from ..metrics.sampling import bootstrap, drawn
from ..planner import by_frequency, thirds
from . import limits
from .probe import features, log_probabilities
from .records import Floats, Ints, Level, Rows, Verdict, level, percent, skipped

SHARES = (1 / 8, 1 / 4, 1 / 2, 1)  # of the rows, in the learning curve
DRAWS = 3  # of the rows of each share
EPOCHS = 10


def learnt(own: Rows, train: Rows | None, test: Rows, seed: int) -> list[Verdict]:
    """Return the verdicts on training with these rows: accuracy on real ones, calibration, and the learning curve.

    Args:
        own: The data set.
        train: Real train rows to compare with.
        test: Real rows that judge.
        seed: Decides draws.
    """
    checks = ("usefulness", "calibration", "more rows")
    if not set(test.names) <= set(own.names):
        return [skipped(check, "class names differ from the reference's") for check in checks]
    wanted = np.array([list(own.names).index(test.names[at]) for at in test.labels])
    try:
        sides = {"synthetic to real": _tells(own, own.labels, test, len(own.names))}
        rows = np.bincount(wanted, minlength=len(own.names))
        if train is not None:
            train = train.take([at for at, label in enumerate(train.labels) if train.names[label] in own.names])
            labels = np.array([list(own.names).index(train.names[at]) for at in train.labels])
            sides["real to real"], sides["both to real"] = _beside(own, train, labels, test, seed)
            rows = np.bincount(labels, minlength=len(own.names))
        curve = _curve(own, test, wanted, seed)
    except InputError as error:
        return [skipped(check, str(error)) for check in checks]
    mine, theirs = sides["synthetic to real"], sides.get("real to real")
    return [_useful(own, sides, wanted, rows, seed), _calibrated(mine, theirs, wanted, seed), curve]


def _tells(rows: Rows, labels: Ints, test: Rows, classes: int) -> Floats:
    """Return log-probabilities of the test rows by a classifier that learnt the rows, [N, K]."""
    table, judged = features(rows, test)
    return log_probabilities(table, labels, judged, classes)


def _beside(own: Rows, train: Rows, labels: Ints, test: Rows, seed: int) -> tuple[Floats, Floats]:
    """Return what real rows teach, as many as there are of ours, and what both together do."""
    some = drawn(len(train), len(own), seed)  # not the first: splits may be sorted by label
    vectors = None
    if own.vectors is not None and train.vectors is not None:
        vectors = np.concatenate([own.vectors, train.vectors])
    texts, joined = [*own.texts, *train.texts], np.concatenate([own.labels, labels])
    both = Rows(texts, joined, own.names, np.arange(len(texts)), vectors)
    return _tells(train.take(some), labels[some], test, len(own.names)), _tells(both, joined, test, len(own.names))


def _useful(own: Rows, sides: Mapping[str, Floats], wanted: Ints, rows: Ints, seed: int) -> Verdict:
    check = "usefulness"
    told: dict[str, Any] = {"rows": len(own), "seed": seed, "reference_rows": len(wanted)}
    right = {name: (table.argmax(1) == wanted) for name, table in sides.items()}
    told |= {name: _scores(hits, wanted, own.names) for name, hits in right.items()}
    told["tail"] = _by_frequency(sides, wanted, rows)
    value = float(right["synthetic to real"].mean())
    reason = f"trained on these rows, a light classifier is right on {percent(value)} of real ones"
    if "real to real" not in sides:
        return skipped(check, reason + "; the reference has no train split to compare with", **told)
    gaps = right["real to real"].astype(float) - right["synthetic to real"]
    interval = bootstrap(gaps, seed=seed)
    told |= {"gap": float(gaps.mean()), "gap_interval": list(interval)}
    real, joined = (percent(right[name].mean()) for name in ("real to real", "both to real"))
    few = int(rows.sum())
    reason += f", on {real} with {'as many' if few >= len(own) else f'{few:,}'} real ones, {joined} with both"
    limit = float(right["real to real"].mean()) - limits.USEFUL[0]
    return Verdict(check, level(interval[0], limits.USEFUL), value, limit, reason, (), told)


def _by_frequency(sides: Mapping[str, Floats], wanted: Ints, rows: Ints) -> dict[str, Any]:
    """Return what each side learns of the most frequent third of the classes, of the rarest, and of those between.

    Args:
        sides: Name -> log-probabilities of the test rows.
        wanted: Their classes.
        rows: Real rows of each class, by which it is frequent or rare.
    """
    here = rows[np.unique(wanted)]
    parts = {name: here[own].mean() for name, own in thirds(here).items()}
    found = {name: by_frequency(table.argmax(1), wanted, rows) for name, table in sides.items()}
    return {"head_to_tail": float(parts["head"] / max(parts["tail"], 1)), **found}


def _scores(right: Ints, wanted: Ints, names: Any) -> dict[str, Any]:
    per_label = {names[label]: float(right[wanted == label].mean()) for label in np.unique(wanted)}
    count = int(right.sum())
    return {"accuracy": count / len(right), "interval": list(wilson(count, len(right))), "recall": per_label}


def _calibrated(mine: Floats, theirs: Floats | None, wanted: Ints, seed: int) -> Verdict:
    check = "calibration"
    own = calibration(np.exp(mine), wanted, seed=seed)
    real = None if theirs is None else calibration(np.exp(theirs), wanted, seed=seed)
    way = "surer" if own["confidence"] > own["accuracy"] else "less sure"
    reason = f"on real rows a classifier trained here is {way} than right by {own['ece']:.3f} (ECE)"
    told = {"rows": own["rows"], "seed": seed, "own": own, "reference": real}
    if real is None:  # few rows of real data as well teach a light classifier to be less sure than right
        return skipped(check, reason + "; the reference has no train split to compare with", **told)
    reason += f", one trained on real rows by {real['ece']:.3f}"
    limit = limits.MISCALIBRATED + real["ece"]
    verdict: Level = "look" if own["ece_interval"][0] > limit else "good"
    return Verdict(check, verdict, own["ece"], limit, reason, (), told)


def _curve(own: Rows, test: Rows, wanted: Ints, seed: int) -> Verdict:
    """Accuracy on real rows by number of rows, and what the last doubling gained for each 1,000."""
    check = "more rows"
    if len(own) < 8 * limits.LEAST:
        return skipped(check, f"needs {8 * limits.LEAST} rows")
    orders = [np.random.default_rng(seed + draw).permutation(len(own)) for draw in range(DRAWS)]
    hits = {}
    for share in SHARES:
        count = int(share * len(own))
        parts = [own.take(order[:count].tolist()) for order in (orders if share < 1 else orders[:1])]
        right = [_tells(part, part.labels, test, len(own.names)).argmax(1) == wanted for part in parts]
        hits[count] = np.mean(right, axis=0)
    counts = list(hits)
    per = 1_000 / (counts[-1] - counts[-2])
    gains = (hits[counts[-1]] - hits[counts[-2]]) * per
    low, high = bootstrap(gains, seed=seed)
    told = {
        "rows": len(own),
        "seed": seed,
        "curve": [
            {"rows": n, "accuracy": float(own.mean()), "interval": list(bootstrap(own, seed=seed))}
            for n, own in hits.items()
        ],
        "gain_per_1000": float(gains.mean()),
        "interval": [low, high],
    }
    reason = f"the last {counts[-1] - counts[-2]:,} rows gained {100 * gains.mean():.1f} points for each 1,000"
    reason += ": more rows of this kind still help" if low > 0 else ": more rows of this kind need not help"
    return Verdict(check, "good", float(gains.mean()), None, reason, (), told)


def data_map(own: Rows, seed: int) -> tuple[Verdict, list[tuple[int, float, float]]]:
    """Return how steadily a classifier learns each row's label, and each row's place on the map.

    Confidence is the mean over epochs of the probability of the row's own label, variability its standard deviation
    (https://huggingface.co/papers/2009.10795), of a logistic regression trained by stochastic gradient descent.

    Returns:
        The verdict, and (row, confidence, variability) of each row.
    """
    check = "data map"
    known, labels = np.unique(own.labels, return_inverse=True)
    if len(known) < 2 or len(own) < limits.LEAST:
        return skipped(check, f"needs two classes and {limits.LEAST} rows"), []
    try:
        table = features(own)[0]
    except InputError as error:
        return skipped(check, str(error)), []
    from sklearn.linear_model import SGDClassifier

    model = SGDClassifier(loss="log_loss", alpha=1e-4, random_state=seed)
    found, draw = np.empty((EPOCHS, len(own))), np.random.default_rng(seed)
    for epoch in range(EPOCHS):
        order = draw.permutation(len(own))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.partial_fit(table[order], labels[order], classes=np.arange(len(known)))
        found[epoch] = model.predict_proba(table)[np.arange(len(own)), labels]
    sure, varies = found.mean(0), found.std(0)
    hard = np.flatnonzero(sure < limits.HARD)
    ranked = hard[np.argsort(sure[hard], kind="stable")][: limits.MOST_ROWS]
    rows = [{"row": int(own.index[at]), "confidence": round(float(sure[at]), 4)} for at in ranked]
    told = {
        "rows": len(own),
        "seed": seed,
        "epochs": EPOCHS,
        "hard": len(hard) / len(own),
        "interval": list(wilson(len(hard), len(own))),
        "confidence": float(np.median(sure)),
        "variability": float(np.median(varies)),
    }
    reason = f"{percent(len(hard) / len(own))} of the rows stay hard to learn (confidence below {limits.HARD:g})"
    points = [
        (int(row), round(float(a), 4), round(float(b), 4)) for row, a, b in zip(own.index, sure, varies, strict=True)
    ]
    return Verdict(check, "good", len(hard) / len(own), None, reason, rows, told, len(hard)), points
