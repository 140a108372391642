"""Exact match and token F1 of SQuAD v1.1, as an `evaluate` metric that loads by path."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable

import datasets
import evaluate
import numpy as np

from hf_synth.metrics.sampling import bootstrap

_DESCRIPTION = """Scores of extractive answers, as the official SQuAD v1.1 script counts them (Rajpurkar et al. 2016,
https://huggingface.co/papers/1606.05250). Answers are compared in lower case, without ASCII punctuation, without the
words a, an and the, and with white space collapsed.

exact_match: share of rows whose prediction equals one of the reference answers; 0 to 1, higher is better.
f1: mean over rows of the F1 between the words of the prediction and of a reference answer, as bags, the largest over
the reference answers; 0 to 1, higher is better. The official script writes both in percent.
f1_interval: 95 % percentile bootstrap over rows, with a fixed seed.
"""
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")  # also beside a dash that is not ASCII, where words alone would miss one


def normalized(text: str) -> list[str]:
    """Return the words of an answer by which it is compared."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def exact_match(prediction: str, reference: str) -> float:
    """Return 1 where two answers have the same words in the same order."""
    return float(normalized(prediction) == normalized(reference))


def f1(prediction: str, reference: str) -> float:
    """Return the F1 between the words of two answers; 0 where they share none."""
    said, true = normalized(prediction), normalized(reference)
    same = sum((Counter(said) & Counter(true)).values())
    return 2 * same / (len(said) + len(true)) if same else 0.0


class Squad(evaluate.Metric):
    """Scores predicted answers, one text a row, against the reference answers, one text or more a row."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            _DESCRIPTION, "", datasets.Features({"predictions": text, "references": datasets.List(text)})
        )

    def _compute(self, predictions: list[str], references: list[list[str]]) -> dict:
        if none := [at for at, answers in enumerate(references) if not answers]:
            raise ValueError(f"each row needs a reference answer or more; row {none[0]} has none")

        def best(score: Callable[[str, str], float]) -> list[float]:
            pairs = zip(predictions, references, strict=True)
            return [max(score(prediction, answer) for answer in answers) for prediction, answers in pairs]

        overlaps = best(f1)
        return {
            "rows": len(references),
            "exact_match": float(np.mean(best(exact_match))),
            "f1": float(np.mean(overlaps)),
            "f1_interval": list(bootstrap(overlaps)),
        }
