"""Exact match, intent accuracy and slot F1 of nested parses, as an `evaluate` metric that loads by path."""

from __future__ import annotations

from collections import Counter

import datasets
import evaluate
import numpy as np

from hf_synth.trees import Tree, parse

_DESCRIPTION = """Scores of intent and slot parses in bracket notation, `[IN:GET_WEATHER rain [SL:DATE_TIME today ] ]`.

exact_match: share of rows whose predicted parse is the reference, character for character; 0 to 1, higher is better.
Its 95 % interval is the percentile bootstrap over rows (10,000 resamples, fixed seed).
exact_match_loose: the same up to case and white space.
intent_accuracy: share of rows whose outermost intent is the reference's.
slot_f1: micro F1 over all rows' slots at any depth, each a pair of name and words; 1 where nobody names a slot.
malformed: predictions that are no parse; they are wrong in every row and have no intent and no slot.
"""
RESAMPLES = 10_000


def bootstrap(right: int, rows: int) -> list[float]:
    """Return the 95 % bootstrap interval of a share.

    Rows drawn with replacement from rows that are right or wrong make a binomial count, which is drawn directly.

    Raises:
        ValueError: If there are no rows.
    """
    if rows < 1:
        raise ValueError("an interval needs at least one row")
    shares = np.random.default_rng(0).binomial(rows, right / rows, RESAMPLES) / rows
    return [float(edge) for edge in np.quantile(shares, [0.025, 0.975])]


class ExactMatch(evaluate.Metric):
    """Scores parses against parses."""

    def _info(self) -> evaluate.MetricInfo:
        texts = {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
        return evaluate.MetricInfo(_DESCRIPTION, "", datasets.Features(texts))

    def _compute(self, predictions: list[str], references: list[str]) -> dict:
        pairs = list(zip(predictions, references, strict=True))
        said, true = [parse(text) for text in predictions], [parse(text) for text in references]
        if broken := [text for text, tree in zip(references, true, strict=True) if isinstance(tree, str)]:
            raise ValueError(f"every reference must be a parse; got {broken[0]!r}: {parse(broken[0])}")
        rows = len(pairs)
        right = sum(a == b for a, b in pairs)
        loose = sum(_loose(a) == _loose(b) for a, b in pairs)
        intents = sum(_intent(a) == _intent(b) for a, b in zip(said, true, strict=True))
        return {
            "rows": rows,
            "exact_match": right / rows,
            "exact_match_interval": bootstrap(right, rows),
            "exact_match_loose": loose / rows,
            "intent_accuracy": intents / rows,
            "slot_f1": _slot_f1([_slots(tree) for tree in said], [_slots(tree) for tree in true]),
            "malformed": sum(isinstance(tree, str) for tree in said),
        }


def _loose(text: str) -> str:
    return " ".join(text.casefold().split())


def _intent(tree: Tree | str) -> str | None:
    return tree.name if isinstance(tree, Tree) else None


def _slots(tree: Tree | str) -> Counter:
    return Counter(tree.slots()) if isinstance(tree, Tree) else Counter()


def _slot_f1(said: list[Counter], true: list[Counter]) -> float:
    hit = sum((a & b).total() for a, b in zip(said, true, strict=True))
    total = sum(a.total() + b.total() for a, b in zip(said, true, strict=True))
    return 2 * hit / total if total else 1.0
