"""Long tail: rows for the labels of which there are few real ones, planned by what a classifier still gets wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from ..config import part, strict
from ..errors import InputError
from ..exemplars import Seeds, parser_of
from ..few_shot import copies_of, shown
from ..filters.surface import Unique
from ..planner import PlanConfig, check_attribute, check_prior
from ..plans import Plans
from ..real import load_real_rows, rows_source
from ..records import Example
from ..rounds import RoundsConfig, round_sizes, stalled
from ..run import Run
from ..shots import tuned
from ..task import Task
from . import Method, Paper


@strict
class LongTailConfig(RoundsConfig, PlanConfig):
    """Settings of long tails, of their rounds and their plan.

    Attributes:
        seen_rows: The real rows: a file, or a folder or Hub id, of which the split `train` is taken.
        exemplars: Real rows of the label in a prompt; the last is what the text is written from.
        temperature: Sampling temperature.
        top_p: Nucleus of the sampling distribution.
        max_attempts: Completions asked for each text before a label, or a value of `attribute`, is given up.
    """

    seen_rows: str | None = None
    exemplars: int = Field(4, ge=1)
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(0.9, gt=0, le=1)
    max_attempts: int = Field(20, ge=1)


def longtail(run: Run, config: LongTailConfig) -> Iterator[Example]:
    """Write a round of rows, judge real rows by all there are but their own, and plan the next round by its errors.

    Texts are written from each real row in turn, behind others of its label; it does not learn them when it judges
    that row. Rounds end when the mean recall of the labels on real rows gains less than `min_gain` per 1,000 rows.
    With `attribute`, a label's rows are split over its values: more of those whose rows are taken for other labels.
    """
    assert config.seen_rows is not None
    run.task = task = tuned(run.task)
    shots = shown(run, task, load_real_rows(task, config.seen_rows, None, key="seen_rows").data)
    plans = Plans(run, part(PlanConfig, config), [(shot.text, shot.label) for shot in shots])
    seeds = Seeds(task, shots, config.exemplars)
    streams = {
        cell: seeds.prompts(label, run.rng(f"exemplars:{cell}"), asked) for cell, (label, asked) in plans.cells.items()
    }
    copies, read = copies_of(run, shots), plans.read_by(parser_of(task))
    decoding: dict[str, Any] = {name: getattr(config, name) for name in ("temperature", "top_p", "max_attempts")}
    decoding |= {"max_new_tokens": task.max_new_tokens, "stop": task.stop}
    filters, rows, over = (copies, Unique()), [], []  # type: tuple[Any, Any], list[Example], list[Example]
    for size in round_sizes(config):
        targets = plans.next(rows, size)
        if reason := stalled(config, plans.table, "mean recall"):
            break
        for example in copies.counted(run.fill(targets, streams.__getitem__, read, *filters, over=over, **decoding)):
            rows.append(example)
            yield example
            if len(rows) == run.num_rows:
                break
        if len(rows) >= run.num_rows or not any(targets.values()):
            break
    run.note("few shots", copies.note())
    plans.end(rows, over, reason)


def check(task: Task, config: LongTailConfig) -> None:
    """Refuse tasks of several labels a text, and settings without real rows."""
    task.needs_kind("single", what="longtail")
    tuned(task)
    check_prior(config, task)
    check_attribute(task, config.attribute)
    if not config.seen_rows:
        raise InputError(
            "`seen_rows` names the real rows, many of some labels and few of others: a file, folder or Hub id"
        )


METHOD = Method(
    name="longtail",
    paper=Paper(
        title="Generative AI for Synthetic Data Generation: Methods, Challenges and the Future",
        arxiv="2403.04190",
        bibtex="""@article{guo2024generative,
  title = {Generative {AI} for Synthetic Data Generation: Methods, Challenges and the Future},
  author = {Guo, Xu and Chen, Yiqiang},
  journal = {arXiv preprint arXiv:2403.04190},
  year = {2024}
}""",
    ),
    config=LongTailConfig,
    generate=longtail,
    check=check,
    quotes=True,
    template=False,
    reads=("tuning_prompt", "score_prompt"),
    needs="real rows of each label, one or more",
    sources=lambda task, config: rows_source(task, config.seen_rows),
    defaults=lambda task, given: {"real_rows": given["seen_rows"]} if given.get("seen_rows") else {},
    cost="one completion a row, behind four real rows; an embedding a row each round",
    differs=(
        "The survey names the application and no algorithm; plan, rounds and stop rule are ours.",
        "With `attribute`, a row's value is the one its prompt asked for, which the text need not have. Real rows "
        "have none: they decide the rows of a label, and errors on rows written before how its values share them.",
    ),
)
