"""What more words for each label do to diversity: the same task with one word, its own words, and expanded ones.

python recipes/benchmarks/words.py FOLDER --task sst2 --num_rows 300 --seed 0 --judge CLASSIFIER

Answers are recorded in FOLDER, so a table can be made in several sittings (`--words neighbours` for one line of it).
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from hf_synth.backends import open_generator
from hf_synth.classifier import load, log_probabilities, rows_of
from hf_synth.journal import Journal
from hf_synth.models import resolve
from hf_synth.produce import Plan, examples
from hf_synth.records import Example
from hf_synth.retrieval.encode import Encoder
from hf_synth.run import Run
from hf_synth.settings import StudentConfig, SynthConfig
from hf_synth.task import Task
from hf_synth.verbalizers import rewritten

ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
KINDS = ("one", "own", "model", "neighbours", "prototypes")
HEADER = ("words", "per label", "rows", "asked", "vocabulary", "distinct-2", "APS", "within a label", "right by judge")


def with_words(task: Task, kind: str) -> Task:
    """Return the task with the first of each label's words or all of them; expansions start from all."""
    if kind != "one":
        return task
    task = rewritten(task)
    return dataclasses.replace(task, words={label: words[:1] for label, words in task.words.items()})


def diversity(texts: list[str], labels: list[str], vectors: np.ndarray) -> dict[str, float]:
    """Return vocabulary size and distinct-2 of whitespace tokens, and APS of unit vectors in closed form.

    APS is the mean cosine over all pairs of texts, or over the pairs of one label: lower is more diverse.
    """
    tokens = [text.casefold().split() for text in texts]
    pairs = [pair for words in tokens for pair in zip(words, words[1:], strict=False)]
    sums = [vectors[[own == label for own in labels]].sum(axis=0) for label in dict.fromkeys(labels)]
    count, sizes = len(texts), Counter(labels).values()
    return {
        "vocabulary": len({word for words in tokens for word in words}),
        "distinct-2": len(set(pairs)) / len(pairs),
        "APS": (np.sum(np.sum(sums, axis=0) ** 2) - count) / (count * (count - 1)),
        "within": (sum(np.sum(s**2) for s in sums) - count) / sum(size * (size - 1) for size in sizes),
    }


def rows_with(kind: str, args: argparse.Namespace, folder: Path) -> tuple[Run, list[Example]]:
    """Return the run and the rows of one line of the table."""
    expand = kind if kind in ("model", "neighbours", "prototypes") else "none"
    plan = Plan.of(
        SynthConfig(task=args.task, model=args.model, num_rows=args.num_rows, seed=args.seed, expand_words=expand)
    )
    plan = dataclasses.replace(plan, task=with_words(plan.task, kind))
    run = Run(plan.task, open_generator(plan), seed=args.seed, num_rows=args.num_rows, journal=Journal(folder))
    return run, list(examples(plan, run))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--model", default=SynthConfig.model)
    parser.add_argument("--num_rows", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--words", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--judge", help="folder of a classifier of the task's labels, trained on real rows")
    args = parser.parse_args()
    encoder = Encoder(resolve(ENCODER).path, "mean", True, 128)
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    for kind in args.words:
        run, rows = rows_with(kind, args, args.folder)
        texts, labels = [row.fields[run.task.generated] for row in rows], [str(row.target) for row in rows]
        found = diversity(texts, labels, encoder(texts))
        right = _right(args.judge, run.task, rows, labels) if args.judge else ""
        words = "/".join(str(len(own)) for own in run.task.words.values())
        cells = [kind, words, len(rows), run.ledger.stage("rows").asked, found["vocabulary"]]
        cells += [f"{found[name]:.3f}" for name in ("distinct-2", "APS", "within")]
        print(f"| {' | '.join(map(str, cells))} | {right} |", flush=True)
        print(f"{kind}: { {label: list(own) for label, own in run.task.words.items()} }", file=sys.stderr)


def _right(path: str, task: Task, rows: list[Example], labels: list[str]) -> str:
    """Return the share of rows whose label the judge confirms."""
    names = list(task.labels)
    found = log_probabilities(load(path, StudentConfig()), task, rows_of(task, rows), StudentConfig()).argmax(axis=1)
    return f"{np.mean([names[at] == label for at, label in zip(found, labels, strict=True)]):.3f}"


if __name__ == "__main__":
    main()
