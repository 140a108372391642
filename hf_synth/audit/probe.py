"""A light classifier: logistic regression on words and embeddings, seconds for thousands of rows."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from ..errors import InputError
from ..metrics.tokens import words
from ..trainers.folds import out_of_fold
from .records import Floats, Ints, Rows

FOLDS = 5
NONE = -30.0  # log-probability of a class that the training rows lack, and the least of any


def check_sklearn() -> None:
    """Refuse to go on without scikit-learn.

    Raises:
        InputError: With the pip command.
    """
    if find_spec("sklearn") is None:
        raise InputError("this check needs scikit-learn: pip install 'hf_synth[inspect]'")


def features(*parts: Rows) -> list[Any]:
    """Return a sparse matrix for each set of rows: tf-idf of words and pairs of words, and embeddings.

    Where one set has no embeddings, none are used; words are those of the first.

    Raises:
        InputError: Without scikit-learn, or if no two texts share a word.
    """
    check_sklearn()
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    terms = TfidfVectorizer(
        tokenizer=words,  # one that also parts texts without spaces
        token_pattern=None,
        lowercase=False,
        ngram_range=(1, 2),
        sublinear_tf=True,
        min_df=2,
        max_features=200_000,
    )
    try:
        terms.fit(parts[0].texts)
    except ValueError:  # what scikit-learn raises for an empty vocabulary
        raise InputError("no two texts share a word: nothing can be learnt from them") from None
    found = [terms.transform(part.texts) for part in parts]
    if any(part.vectors is None for part in parts):
        return found
    return [hstack([table, csr_matrix(part.vectors)]).tocsr() for table, part in zip(found, parts, strict=True)]


def log_probabilities(train: Any, labels: Ints, test: Any, classes: int) -> Floats:
    """Return log-probabilities of all classes for the test rows, [N, K]."""
    from sklearn.linear_model import LogisticRegression

    found = np.full((test.shape[0], classes), NONE)
    known = np.unique(labels)
    if len(known) == 1:
        found[:, known[0]] = 0.0
        return found
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 200 steps are enough; that the last digits still move is no news
        model = LogisticRegression(max_iter=200).fit(train, labels)
        found[:, model.classes_] = np.maximum(model.predict_log_proba(test), NONE)  # a probability of 0 has no log
    return found - np.logaddexp.reduce(found, axis=1, keepdims=True)


def judged(table: Any, labels: Ints, classes: int, seed: int) -> Floats:
    """Return each row's class probabilities by a classifier that was trained without it, [N, K]."""

    def fit(train: Sequence[int] | Any, test: Sequence[int] | Any) -> Floats:
        return log_probabilities(table[train], labels[train], table[test], classes)

    return out_of_fold(len(labels), FOLDS, seed, labels, fit)


def told_by_tree(table: Floats, labels: Ints, seed: int) -> int:
    """Return how many labels a small decision tree tells from a few numbers a row, cross-validated.

    Args:
        table: [N, D].
        labels: 0 to K - 1, [N].
        seed: Decides the folds.

    Raises:
        InputError: Without scikit-learn.
    """
    check_sklearn()
    from sklearn.tree import DecisionTreeClassifier

    classes = int(labels.max()) + 1  # each needs a leaf, or of many classes most could never be told

    def fit(train: Sequence[int] | Any, test: Sequence[int] | Any) -> Floats:
        tree = DecisionTreeClassifier(max_leaf_nodes=max(16, 2 * classes), min_samples_leaf=10, random_state=seed)
        told = np.full((len(test), classes), NONE)
        tree.fit(table[train], labels[train])
        told[:, tree.classes_] = np.log(tree.predict_proba(table[test]).clip(min=1e-12))
        return told

    return int((out_of_fold(len(labels), FOLDS, seed, labels, fit).argmax(1) == labels).sum())
