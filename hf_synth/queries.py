"""What to look for: a task's own queries, and queries made of what they found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from .errors import InputError
from .generators.corpus import retriever_of
from .parse import labelled
from .records import Completion, Example, Prompt
from .retrieval.settings import RetrievalConfig
from .run import Run
from .task import Task


def first_queries(task: Task) -> dict[str, str]:
    """Return query -> label: the task's queries, of a label that has none its verbalizers, else its words."""
    return {query: label for label in task.labels for query in _own(task, label)}


def _own(task: Task, label: str) -> tuple[str, ...]:
    return task.queries.get(label) or task.words.get(label) or (task.labels[label],)


def expanded_queries(task: Task, examples: Iterable[Example], words: int) -> dict[str, str]:
    """Return query -> label, a query for each example: the label's first query, a line break, the text.

    A label that has no example keeps its own queries.

    Args:
        task: Names the queries.
        examples: What was found so far.
        words: Words of a query at most.
    """
    own: dict[str, str] = {}
    for query, label in reversed(first_queries(task).items()):
        own[label] = query
    found = {}
    for example in examples:
        head, text = own[example.target], example.fields[task.generated].split()
        found[f"{head}\n{' '.join(text[: max(1, words - len(head.split()))])}"] = example.target
    missing = set(task.labels) - set(found.values())
    return {**{query: label for query, label in first_queries(task).items() if label in missing}, **found}


def retrieval_prompts(
    run: Run, queries: Mapping[str, str], count: int, number: int, how: Mapping[str, Any]
) -> Iterator[Prompt]:
    """Yield a prompt for each passage that each query finds, best first.

    Args:
        run: Records what is found.
        queries: Query -> label.
        count: Passages of each query.
        number: The round, which is provenance.
        how: How the corpus is searched.
    """
    texts, retriever = list(queries), retriever_of(run.generator)
    inputs = [run.generator.digest, dict(how), count, texts]
    hits = run.once("hits", inputs, lambda: retriever.search(texts, count, **how))
    for (query, label), found in zip(queries.items(), hits, strict=True):
        for rank, (docid, score) in enumerate(found):
            known = {"round": number, "query": query.partition("\n")[0], "rank": rank, "docid": docid, "score": score}
            yield Prompt(query, label, attributes={name: str(value) for name, value in known.items()}, rank=rank)


def passage(task: Task) -> Callable[[Prompt, Completion], Example | str]:
    """Return a parser for passages: they are whole as they are, so the task's ending is not put behind them."""
    return labelled(replace(task, ending=""))


def check_retrieval(task: Task, config: RetrievalConfig, hits: int) -> None:
    """Refuse real test data as a corpus, and settings of retrieval that do not go together.

    Args:
        task: Names the corpus, if there is one yet: the backend asks for it.
        config: The settings.
        hits: Passages of a query, at most.

    Raises:
        InputError: If they cannot work.
    """
    known = first_queries(task)
    for label in task.labels:
        if shared := [query for query in _own(task, label) if known[query] != label]:
            raise InputError(f"`queries`: {shared[0]!r} is looked for as {label!r} and as {known[shared[0]]!r}")
    depth = config.how(0)["index"]["depth"]
    if hits > depth:
        raise InputError(f"`index.depth` is {depth}, and {hits} passages of a query are asked for: raise it")
    if task.corpus is not None:
        from .reference import check_corpus

        check_corpus(task)
