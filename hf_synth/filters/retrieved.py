"""Filters for passages that were found in a corpus under a label; each sees a whole round at once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from statistics import fmean
from typing import Any, Literal

from ..config import checked
from ..errors import unknown
from ..generators.corpus import retriever_of
from ..models import student_facts
from ..records import Example
from ..run import Run
from ..settings import StudentConfig
from ..task import Task
from .likelihood import by_rank, first_of_each

Reasons = list[str | None]
FOLDS = 3
DIGITS = 4
# Of a student's settings those that `classifier.fit` reads.
READ = (
    "student",
    "num_train_epochs",
    "learning_rate",
    "train_batch_size",
    "max_length",
    "label_smoothing",
    "loss",
    "training_args",
)


def smoothing(task: Task) -> float:
    """Return the label smoothing that spreads 0.1 over the other labels, as a share spread over all of them."""
    return round(0.1 * len(task.labels) / (len(task.labels) - 1), 4)


def judge(task: Task, given: Mapping[str, Any], trained: bool = False) -> StudentConfig:
    """Return the settings of the classifier that filters: those given, over some that learn from few passages.

    Args:
        task: Says how many labels there are.
        given: Settings, named as a student's are.
        trained: It will be, so its student must be there and take the settings.

    Raises:
        InputError: For a setting that it does not read, or one with which it cannot be trained.
    """
    for name in given:
        if name not in READ:
            raise unknown("`classifier`: a key", name, READ)
    few = {"num_train_epochs": 6, "learning_rate": 1e-4, "train_batch_size": 16}
    spread = {"label_smoothing": smoothing(task)} if given.get("loss", "ce") == "ce" else {}  # others have none
    config = checked(StudentConfig, {**few, **spread, **given}, "`classifier`")
    if trained:
        from ..classifier import check

        check(config)
    return config


def docid(example: Example) -> int:
    """Return the number of an example's passage."""
    return int(example.prompt.attributes["docid"])


def score(example: Example) -> float:
    """Return how near an example's passage is to the query that found it."""
    return float(example.prompt.attributes["score"])


class QueryRoundTrip:
    """Drop a passage found under a label that one of its own nearest queries does not have.

    ReGen (https://huggingface.co/papers/2305.10703) asks it of rounds whose queries are texts.

    Args:
        run: Records what is near; its generator searches the queries.
        queries: Query -> label.
        count: How many of the nearest queries must have the label.
        how: How the corpus is searched.
    """

    def __init__(self, run: Run, queries: Mapping[str, str], count: int, how: Mapping[str, Any]):
        self.run, self.queries, self.count, self.how = run, queries, count, dict(how)

    def __call__(self, examples: Sequence[Example]) -> Reasons:
        """Return `round trip` for every passage that does not come back to its label."""
        texts, labels = list(self.queries), list(self.queries.values())
        passages = sorted({docid(example) for example in examples})
        near = self.run.once(
            "nearest",
            [self.run.generator.digest, self.how, self.count, texts, passages],
            lambda: retriever_of(self.run.generator).nearest_queries(passages, texts, self.count, **self.how),
        )
        found = {passage: [labels[at] for at in places] for passage, places in zip(passages, near, strict=True)}
        most: Counter[Hashable] = Counter(labels)  # a label that has fewer queries cannot have more of them near
        return [
            None if {*found[docid(example)][: most[example.cell]]} == {example.cell} else "round trip"
            for example in examples
        ]


class OneLabel:
    """Keep each passage once, under the label whose query it is nearest to.

    Args:
        margin: By how much that query must be nearer than any of another label.
    """

    def __init__(self, margin: float):
        self.margin = margin

    def __call__(self, examples: Sequence[Example]) -> Reasons:
        """Return `duplicate` for what was found better before, `other label` and `ambiguous`."""
        best: dict[int, dict[Any, Example]] = defaultdict(dict)
        for example in examples:
            claims = best[docid(example)]
            if example.cell not in claims or score(example) > score(claims[example.cell]):
                claims[example.cell] = example
        reasons: Reasons = []
        for example in examples:
            claims = best[docid(example)]
            first = max(claims.values(), key=score)
            rivals = [score(rival) for cell, rival in claims.items() if cell != first.cell]
            if claims[example.cell] is not example:
                reasons.append("duplicate")
            elif rivals and score(first) - max(rivals) <= self.margin:
                reasons.append("ambiguous")
            else:
                reasons.append(None if example is first else "other label")
        return reasons


class SelfConsistent:
    """Drop a passage whose label a classifier does not agree with (self-consistency).

    Args:
        run: Records the verdicts.
        config: How the classifier is trained.
        how: `previous`: on `given`; `cross_fit`: on the passages themselves, each judged by a classifier that was
            trained without it; `none`: nothing is dropped.
        given: What was kept in the round before. `previous` is `cross_fit` where a label of the passages has nothing
            there: a classifier that has never seen it would drop it for good.
    """

    def __init__(
        self,
        run: Run,
        config: StudentConfig,
        how: Literal["previous", "cross_fit", "none"],
        given: Sequence[Example] = (),
    ):
        self.run, self.config, self.how, self.given = run, config, how, list(given)
        self.probability: dict[int, float] = {}

    def __call__(self, examples: Sequence[Example]) -> Reasons:
        """Return `inconsistent` for every passage that is more likely of another label."""
        if self.how == "none" or len(examples) < FOLDS:
            return [None] * len(examples)
        lost = {e.cell for e in examples} - {e.cell for e in self.given}
        how, judges = ("cross_fit", []) if lost or self.how == "cross_fit" else ("previous", self.given)
        given, asked = ([(e.cell, dict(e.fields)) for e in part] for part in (judges, examples))
        inputs = [asdict(self.config), student_facts(self.config.student), how, self.run.seed, given, asked]
        verdicts = self.run.once("verdicts", inputs, lambda: self._verdicts(examples, judges))
        self.probability |= {docid(e): own for e, (_, own) in zip(examples, verdicts, strict=True)}
        return [None if agrees else "inconsistent" for agrees, _ in verdicts]

    def _verdicts(self, examples: Sequence[Example], judges: Sequence[Example]) -> list[tuple[bool, float]]:
        """Return, for each example, whether its label is the likeliest and the probability it is given.

        By a classifier of `judges`; where there are none, by those of the other folds.
        """
        import numpy as np

        from ..classifier import fit, log_probabilities, rows_of
        from ..trainers.folds import out_of_fold

        task, config, seed = self.run.task, self.config, self.run.seed
        rows = rows_of(task, examples)
        labels = np.asarray(rows[task.label_column][:])
        if not judges:

            def judged(train: Any, test: Any) -> Any:
                return log_probabilities(fit(task, rows.select(train), config, seed), task, rows.select(test), config)

            found = out_of_fold(len(rows), min(FOLDS, len(rows)), seed, labels, judged)
        else:
            found = np.exp(log_probabilities(fit(task, rows_of(task, judges), config, seed), task, rows, config))
        agrees = found.argmax(1) == labels
        own = found[np.arange(len(labels)), labels].round(DIGITS)
        return list(zip(agrees.tolist(), own.tolist(), strict=True))

    def marked(self, example: Example) -> Example:
        """Return an example with the probability of its label beside its provenance."""
        known = self.probability.get(docid(example))
        if known is None:
            return example
        attributes = {**example.prompt.attributes, "probability": f"{known:.{DIGITS}f}"}
        return replace(example, prompt=replace(example.prompt, attributes=attributes))


class Nearest:
    """Keep the passages of each label that are nearest to their queries.

    Args:
        count: Of each label.
    """

    def __init__(self, count: int):
        self.count = count

    def __call__(self, examples: Sequence[Example]) -> Reasons:
        """Return `over the cap` for every passage beyond."""
        order = sorted(range(len(examples)), key=lambda at: (-score(examples[at]), docid(examples[at])))
        return first_of_each(examples, order, dict.fromkeys((e.cell for e in examples), self.count), "over the cap")


def dealt(run: Run, kept: list[Example]) -> Iterator[Example]:
    """Yield examples in random order, the labels in turn, as many as the run wants; say where there are fewer.

    The rows of a run that wants fewer open those of one that wants more.
    """
    run.rng("order").shuffle(kept)
    wanted = run.targets()
    rows = list(run.keep(kept, lambda found: first_of_each(found, range(len(found)), wanted, "surplus"), whole=True))
    run.settle(rows, "no more passages were found and kept")
    yield from by_rank(rows, run.task.weights)


def round_facts(
    number: int,
    queries: Mapping[str, str],
    candidates: Sequence[Example],
    agreed: Sequence[Example],
    passages: Sequence[Example],
    kept: Sequence[Example],
) -> dict[str, Any]:
    """Return what a round came to, for the card: see the names.

    Args:
        number: The round.
        queries: What was looked for.
        candidates: What was found.
        agreed: What of that came back to its label.
        passages: What of that was left, each once and under one label.
        kept: What of that a classifier agreed with.
    """
    return {
        "round": number,
        "queries": len(queries),
        "candidates": len(candidates),
        "round trip": round(len(agreed) / max(1, len(candidates)), DIGITS),
        "passages": len(passages),
        "consistent": round(len(kept) / max(1, len(passages)), DIGITS),
        "kept": len(kept),
        "mean score": round(fmean(map(score, kept)), DIGITS) if kept else "none",
    }
