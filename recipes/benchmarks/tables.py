"""Is a tuned language model a better imputer than scikit-learn's? Pima diabetes, holes as they are and more at random.

    python recipes/benchmarks/tables.py --data ../shared/data/pima_diabetes --out tables.jsonl
    python recipes/benchmarks/tables.py --out tables.jsonl --table

Each (share masked, seed) gives one JSON line when it is done, so a run that was killed goes on. Everything learns from
the train split with its holes, without labels, and completes train and test. Errors are those of masked test cells;
a logistic regression is trained on completed train rows and judged on completed test rows.

    python recipes/benchmarks/tables.py --data ../shared/data/pima_diabetes --out rows.jsonl --minority

writes rows of the minority class beside others' ways of balancing. Needs `pip install 'hf_synth[inspect]'`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables_table import show, show_minority

from hf_synth.models import resolve
from hf_synth.tables.check import privacy
from hf_synth.tables.impute import Imputer
from hf_synth.tables.schema import Schema, infer
from hf_synth.tables.settings import ImputeConfig, ImputerConfig
from hf_synth.tables.source import read_table

SHARES, SEEDS = (0.0, 0.1, 0.3, 0.5), (0, 1, 2)
LABEL, POSITIVE, ID = "label", "diabetes", "row_id"
THEIRS: dict[str, Callable[[], Any]] = {
    "mean": SimpleImputer,
    "KNN": lambda: make_pipeline(StandardScaler(), KNNImputer(n_neighbors=5)),
    "iterative": lambda: make_pipeline(StandardScaler(), IterativeImputer(max_iter=50, random_state=0)),
}

Rows = list[dict[str, Any]]


def masked(rows: Rows, names: list[str], share: float, random: np.random.Generator) -> tuple[Rows, np.ndarray]:
    """Return rows without a share of their observed cells, and which these are, [N, D]."""
    values = matrix(rows, names)
    gone = ~np.isnan(values) & (random.random(values.shape) < share)
    return [
        {**row, **{name: None for name, hit in zip(names, hits, strict=True) if hit}}
        for row, hits in zip(rows, gone, strict=True)
    ], gone


def matrix(rows: Rows, names: list[str]) -> np.ndarray:
    """Return numbers, [N, D], missing ones as NaN."""
    return np.array([[np.nan if row[name] is None else row[name] for name in names] for row in rows], float)


def classify(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, weights: np.ndarray | None = None
) -> list[float]:
    """Return a logistic regression's probabilities of the test rows."""
    scale = StandardScaler().fit(train)
    model = LogisticRegression(max_iter=1000).fit(scale.transform(train), labels, sample_weight=weights)
    return model.predict_proba(scale.transform(test))[:, 1].tolist()


def boosted(train: np.ndarray, labels: np.ndarray, test: np.ndarray, weights: np.ndarray | None = None) -> list[float]:
    """Return gradient boosted trees' probabilities of the test rows."""
    model = HistGradientBoostingClassifier(max_iter=100, learning_rate=0.05, max_depth=3, random_state=0)
    return model.fit(train, labels, sample_weight=weights).predict_proba(test)[:, 1].tolist()


def theirs(kind: str, train: np.ndarray, test: np.ndarray, ranges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return train and test as an imputer of scikit-learn completes them, within the columns' ranges, [2, D]."""
    model = THEIRS[kind]()
    if kind == "iterative":  # the others give means of observed values, which are within
        low, high = StandardScaler().fit(train).transform(ranges)
        model.set_params(iterativeimputer__min_value=low, iterativeimputer__max_value=high)
    model.fit(train)
    found = [model.transform(part) for part in (train, test)]
    if kind != "mean":
        found = [model.steps[0][1].inverse_transform(part) for part in found]
    return found[0], found[1]


def cell(schema: Schema, train: Rows, test: Rows, share: float, seed: int, given: dict[str, Any]) -> dict[str, Any]:
    """Return errors and scores of every imputer at one share and seed."""
    names = [name for name, column in schema.columns.items() if column.numeric]
    random = np.random.default_rng([seed, int(share * 100)])
    (holed, _), (holed_test, gone) = (masked(part, names, share, random) for part in (train, test))
    truth, labels = matrix(test, names), np.array([row[LABEL] == POSITIVE for row in train])
    spread = np.nanstd(matrix(holed, names), axis=0)
    ranges = np.array([schema.columns[name].range for name in names], float).T
    found: dict[str, Any] = {"share": share, "seed": seed, "rows": np.nonzero(gone)[0].tolist()}
    found |= {"columns": np.nonzero(gone)[1].tolist(), "names": names, "errors": {}, "scores": {}, "seconds": {}}
    for kind in THEIRS:
        begun = time.perf_counter()
        full, full_test = theirs(kind, matrix(holed, names), matrix(holed_test, names), ranges)
        found["seconds"][kind] = time.perf_counter() - begun
        found["errors"][kind] = ((full_test - truth) / spread)[gone].tolist()
        found["scores"][kind] = classify(full, labels, full_test)
    begun = time.perf_counter()
    task = ImputeConfig("pima_diabetes", label_column=LABEL)
    config = ImputerConfig(seed=seed, **given)
    imputer = Imputer(schema, holed, resolve(config.model), config, task)
    (best, _), (best_test, cells) = imputer.guess(holed, "train"), imputer.guess(holed_test, "test")
    found["seconds"]["ours"] = time.perf_counter() - begun
    plain = SimpleImputer().fit(matrix(holed, names))  # of cells that ours leaves empty
    full, full_test = (plain.transform(matrix(rows, names)) for rows in (best, best_test))
    found["errors"]["ours"] = ((full_test - truth) / spread)[gone].tolist()
    found["scores"]["ours"] = classify(full, labels, full_test)
    if not share:
        done, done_test = imputer.complete(holed, "train"), imputer.complete(holed_test, "test")
        each = [
            classify(matrix(one, names), labels, matrix(other, names))
            for one, other in zip(done.tables, done_test.tables, strict=True)
        ]
        found["scores"]["ours, 5 draws"] = np.mean(each, axis=0).tolist()
    asked = {(one.row, one.column): one for one in cells}
    records = [asked[row, names[column]] for row, column in zip(*np.nonzero(gone), strict=True)]
    found["empty"] = sum(one.value is None for one in asked.values())
    found["covered"] = [
        bool(one.low <= truth[one.row, names.index(one.column)] <= one.high) for one in records if one.low is not None
    ]
    return found


def minority(schema: Schema, train: Rows, test: Rows, rest: Rows, seed: int, given: dict[str, Any]) -> dict[str, Any]:
    """Return scores of classifiers on train rows as they are, and balanced in four ways, with one seed."""
    names = [name for name, column in schema.columns.items() if column.numeric]
    task = ImputeConfig("pima_diabetes", label_column=LABEL)
    config = ImputerConfig(seed=seed, **given)
    imputer = Imputer(schema, train, resolve(config.model), config, task)
    done, done_test = (
        matrix(imputer.complete(part, name).best, names) for part, name in ((train, "train"), (test, "test"))
    )
    labels = np.array([row[LABEL] == POSITIVE for row in train])
    lacking = int((~labels).sum() - labels.sum())
    written = imputer.synthesize(POSITIVE, lacking)
    again = np.random.default_rng(seed).choice(np.flatnonzero(labels), lacking)
    weights = np.where(labels, len(labels) / (2 * labels.sum()), len(labels) / (2 * (~labels).sum()))
    extra = np.concatenate([labels, np.ones(len(written), bool)])
    ways: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray | None]] = {
        "as they are": (done, labels, None),
        "class weights": (done, labels, weights),
        "oversampled": (np.concatenate([done, done[again]]), np.concatenate([labels, labels[again]]), None),
        "synthetic rows": (np.concatenate([done, matrix(written, names)]), extra, None),
    }
    scores = {
        f"{name}, {way}": fit(rows, of, done_test, weigh)
        for name, fit in (("logistic regression", classify), ("boosted trees", boosted))
        for way, (rows, of, weigh) in ways.items()
    }
    members, others = ([row for row in part if row[LABEL] == POSITIVE] for part in (train, rest))
    told = privacy(schema, written, members, others, seed)
    return {"seed": seed, "written": len(written), "scores": scores, "privacy": told}


def left(out: Path, wanted: Iterator[tuple[float, int]]) -> Iterator[tuple[float, int]]:
    """Yield what has no line yet."""
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {(line.get("share", 0.0), line["seed"]) for line in lines}
    yield from (one for one in wanted if one not in done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--minority", action="store_true")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="masked")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--settings", type=json.loads, default={}, help="of ImputerConfig, as JSON")
    parser.add_argument("--test", default="test", help="the split that judges")
    args = parser.parse_args()
    if not args.table:
        table = read_table(args.data)
        whole = infer([row for part in table.splits.values() for row in part], table.categories)
        schema = Schema({name: column for name, column in whole.columns.items() if name != ID})
        train, test, rest = (schema.rows(table.split(name)) for name in ("train", args.test, "validation"))
        shares = (0.0,) if args.minority else args.shares
        for share, seed in left(args.out, ((share, seed) for seed in args.seeds for share in shares)):
            if args.minority:
                found = minority(schema, train, test, rest, seed, args.settings)
            else:
                found = cell(schema, train, test, share, seed, args.settings)
            with args.out.open("a") as stream:
                stream.write(json.dumps({**found, "labels": [row[LABEL] == POSITIVE for row in test]}) + "\n")
    lines = [json.loads(line) for line in args.out.read_text().splitlines()]
    print(show_minority(lines) if args.minority else show(lines))


if __name__ == "__main__":
    main()
