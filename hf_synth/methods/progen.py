"""ProGen: show the generator those of its texts that helped a classifier (https://huggingface.co/papers/2210.12329)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..config import strict
from ..feedback import Feedback, FeedbackConfig, check_feedback, feedback_sources
from ..filters.overlap import Overlap
from ..filters.surface import Unique
from ..openings import opening_sources, openings
from ..parse import labelled
from ..prompts import ExamplesConfig, Rotation, label_prompts, with_examples
from ..records import Example, Prompt
from ..rounds import RoundsConfig, due, end_rounds, round_totals, stalled
from ..run import Run
from ..task import Task
from . import Method, Paper, zerogen


@strict
class ProGenConfig(zerogen.ZeroGenConfig, RoundsConfig, FeedbackConfig, ExamplesConfig):
    """Settings of ProGen: those of ZeroGen, of rounds, of their feedback and of the examples shown."""


def progen(run: Run, config: ProGenConfig) -> Iterator[Example]:
    """Write a round of rows, find those that help a small classifier, show them to the next round's generator.

    Algorithm 1 of the paper. A classifier is trained anew on the rows so far; influence tells how a noise-robust loss
    on fixed validation rows would move if a row counted more; the most helpful rows of each label make a pool, of
    which a share of the next prompts show a few. A text that repeats an example of its prompt is dropped.
    """
    task, feedback = run.task, Feedback(run, config)
    sampling = {name: getattr(config, name) for name in ("temperature", "top_k", "top_p")} | {"chat": task.chat}
    decoding: dict[str, Any] = {"max_new_tokens": task.max_new_tokens, "stop": task.stop, "debias": config.debias}
    titles = Rotation(openings(run, config.openings, config.num_openings, sampling))
    prompts = {
        label: label_prompts(task, label, titles, run.rng(f"words:{label}"), steer=config.steer_away)
        for label in task.labels
    }
    rows, over, pool = [], [], {}  # type: list[Example], list[Example], dict[str, list[int]]

    def prompts_for(label: str) -> Iterator[Prompt]:
        draw = run.rng(f"examples:{label}:{len(rows)}")
        return with_examples(task, prompts[label], rows, pool.get(label, []), draw, config)

    decoding |= {"max_attempts": config.max_attempts, **sampling}
    filters = Overlap(rows, task.generated), Unique()
    for total in round_totals(config, len(task.labels)):
        for example in run.fill(due(run, rows, total), prompts_for, labelled(task), *filters, over=over, **decoding):
            rows.append(example)
            yield example
        more = bool(due(run, rows, run.num_rows))
        pool = feedback.judge(rows, more)
        reason = stalled(config, feedback.table, "accuracy")
        if reason or not more:
            break
    run.note("rounds", feedback.table)
    end_rounds(run, rows, over, reason)


def check(task: Task, config: ProGenConfig) -> None:
    """Refuse what ZeroGen refuses, and real rows that cannot judge."""
    task.needs_kind("single", "pair", what="progen")
    zerogen.check(task, config)
    check_feedback(config)


METHOD = Method(
    name="progen",
    paper=Paper(
        title="ProGen: Progressive Zero-shot Dataset Generation via In-context Feedback",
        arxiv="2210.12329",
        bibtex="""@inproceedings{ye2022progen,
  title = {{ProGen}: Progressive Zero-shot Dataset Generation via In-context Feedback},
  author = {Ye, Jiacheng and Gao, Jiahui and Wu, Zhiyong and Feng, Jiangtao and Yu, Tao and Kong, Lingpeng},
  booktitle = {Findings of EMNLP},
  year = {2022}
}""",
    ),
    config=ProGenConfig,
    generate=progen,
    check=check,
    sources=lambda task, config: opening_sources(task, config.openings) + feedback_sources(task, config),
    defaults=lambda task, given: {"chunk_size": 64},  # what a chunk has over was written before the next feedback
    cost="one completion a row, half of them with eight examples in the prompt; a small classifier trained each round",
    differs=(
        *zerogen.METHOD.differs,
        "Rounds grow from 500 rows to 2,000, and influence chooses from the first one on; the paper's have 1,000 each,"
        " and the released code shows random rows below 10,000.",
        "Prompts of a label that follow each other show the same examples; the released code draws for each opening.",
        "Synthetic validation rows stay in the data set, but are neither trained on between rounds nor shown; the "
        "released code takes them out.",
        "250 rows validate, not 1,000; unless `inverse: lissa` is set, the identity stands for the inverse Hessian.",
        "The pool holds each label's best rows; the released code's those of influence below 0, which is often one "
        "label's alone.",
        "Influence is computed without dropout and weight decay, for any number of labels; the released code for two.",
        "The classifier between rounds is all-MiniLM-L6-v2 after its last epoch; the paper's, DistilBERT at its best.",
        "Openings are sampled as texts are; the released code takes the 40 likeliest tokens for them.",
    ),
)
