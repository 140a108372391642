"""SunGen: learn how far each generated row can be trusted (https://huggingface.co/papers/2205.12679)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..config import strict
from ..records import Example
from ..run import Run
from ..task import Task
from . import Method, Paper, zerogen


@strict
class SunGenConfig(zerogen.ZeroGenConfig):
    """Settings of SunGen: those of ZeroGen, and self-debiasing unless the task forbids it.

    Attributes:
        steer_away: Self-debiasing against the other labels' prompts, of tasks of one label a text or pair; left out,
            it is done unless the task says `debias: false`, as of films.
    """


def sungen(run: Run, config: SunGenConfig) -> Iterator[Example]:
    """Write rows as ZeroGen does; the student's trainer then learns how much each of them counts.

    Algorithm: section 3 of the paper. Of weights `w` in [0, 1]^N, those are sought under which a student trained on
    `sum_i w_i CE_i` has the smallest noise-robust loss on other synthetic rows. `trainer: bilevel` does that, and
    `select` and `keep` say what the final student does with the weights: the rows of highest weight alone, or all of
    them weighted.
    """
    steers = run.task.debias is not False if config.steer_away is None else config.steer_away
    return zerogen.zerogen(run, replace(config, steer_away=steers))


def check(task: Task, config: SunGenConfig) -> None:
    """Refuse, beside what ZeroGen does, the kind whose students no weights are learnt for."""
    task.needs_kind("single", "pair", "relation", "multi_label", "tokens", "qa", what="`method: sungen`")
    zerogen.METHOD.check(task, config)


def defaults(task: Task, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Train by bilevel weights, in rounds from one start, with what ZeroGen's rows need besides."""
    own = {"trainer": "bilevel", "trainer_args": {"mode": "sungen", "rounds": 4}, "select": "weights"}
    return {**zerogen.defaults(task, given), **own}


METHOD = Method(
    name="sungen",
    paper=Paper(
        title="Self-Guided Noise-Free Data Generation for Efficient Zero-Shot Learning",
        arxiv="2205.12679",
        bibtex="""@inproceedings{gao2023sungen,
  title = {Self-Guided Noise-Free Data Generation for Efficient Zero-Shot Learning},
  author = {Gao, Jiahui and Pi, Renjie and Lin, Yong and Xu, Hang and Ye, Jiacheng and Wu, Zhiyong and
            Zhang, Weizhong and Liang, Xiaodan and Li, Zhenguo and Kong, Lingpeng},
  booktitle = {Proceedings of ICLR},
  year = {2023}
}""",
    ),
    config=SunGenConfig,
    generate=sungen,
    check=check,
    sources=zerogen.METHOD.sources,
    defaults=defaults,
    cost="one completion a row; the student's encoder reads single texts once before it is trained, and of other "
    "kinds the student is trained once for each round",
    differs=(
        *zerogen.METHOD.differs,
        "All rows train the student, weighted; the paper's large sets give those of highest weight (`select: top_k`).",
        "Weights move by steps scaled by the first round's gradients, not by Adam, which moves all of them alike.",
        "In the outer loss each label counts the same, and the least trusted tenth is taken of each label's rows.",
        "Training weights are divided by their mean over all rows; the released default leaves them as they are.",
        "A head on the untrained student's embeddings learns the weights of single texts; in the paper the student "
        "does (`trainer_args.through: model`), which of so few rows learns the wrong labels by heart.",
        "Four rounds of one epoch or the student's own, thousands of rows; the paper: fifty or more, over a million.",
    ),
)
