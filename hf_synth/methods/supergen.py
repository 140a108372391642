"""SuperGen: write more texts than wanted, keep the likeliest (https://huggingface.co/papers/2202.04538)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from ..cells import pool
from ..config import strict
from ..filters.likelihood import Drawn, Likeliest, by_rank, copied, scored, selection_table
from ..filters.surface import Unique
from ..openings import Where, check_openings, opening_sources, openings
from ..parse import labelled
from ..prompts import Rotation, check_control, label_prompts, repetition
from ..records import Example, Prompt
from ..run import Filter, Run
from ..task import Task
from . import Method, Paper


@strict
class SuperGenConfig:
    """Settings of SuperGen.

    Attributes:
        attempts: Different texts written for each row wanted; all are held in memory, about 1 kB each.
        selection: Which become rows, label by label: the likeliest, or any (the paper's "- data selection").
        openings: Given texts are `generated` or from the task's real `corpus`, which for pairs stands in if left out.
        num_openings: Openings at most; if left out, the whole corpus, or 500 generated ones.
        temperature: Sampling temperature; for pairs, whose given texts differ, 0 (greedy) stands in if left out.
        top_k: Sample from this many tokens at most; 0 for all.
        repetition_reward: Factor that makes tokens of the given text likelier below 1; left out, the task's, else 1.
        repetition_penalty: Factor that makes tokens already there rarer above 1; left out, the task's, else 1.2.
        control_codes: Put the task's control code in front, for generators trained with such (CTRL).
        max_attempts: Completions asked for each of the different texts before a label is given up.
    """

    attempts: int = Field(4, ge=1)
    selection: Literal["likelihood", "random"] = "likelihood"
    openings: Where = "generated"
    num_openings: int | None = Field(None, ge=1)
    temperature: float = Field(0.2, ge=0)
    top_k: int = Field(10, ge=0)
    repetition_reward: float | None = Field(None, gt=0)
    repetition_penalty: float | None = Field(None, gt=0)
    control_codes: bool = False
    max_attempts: int = Field(5, ge=1)


def supergen(run: Run, config: SuperGenConfig) -> Iterator[Example]:
    """Write several times the texts wanted, rank each label's by mean log-probability, keep the first.

    Algorithm 1 of the paper. The probability is the model's own, without temperature, top-k, reward and penalty, and
    does not count the start word. Rows come rank by rank, the labels in turn. The pool is held in memory.
    """
    task, wanted, ranks = run.task, run.targets(), config.selection == "likelihood"
    given = openings(run, config.openings, config.num_openings, {"temperature": 1.0, "top_p": 0.9, "chat": task.chat})
    rotation = Rotation(given, once=task.kind == "pair" and config.temperature == 0)  # a prompt has one greedy answer

    def prompts_for(label: str) -> Iterator[Prompt]:
        code = task.control if config.control_codes else ""
        return label_prompts(task, label, rotation, run.rng(f"words:{label}"), steer=False, control=code)

    targets = pool(wanted, task.weights, config.attempts)
    filters: list[Filter] = [*([scored] if ranks else []), copied, Unique()]
    limits = {"max_new_tokens": task.max_new_tokens, "stop": task.stop, "chat": task.chat}
    decoding: dict[str, Any] = {"temperature": config.temperature, "top_k": config.top_k, **limits}
    own = repetition(task, config.repetition_reward, config.repetition_penalty)
    decoding |= {"max_attempts": config.max_attempts, "by_cell": own}
    written = list(run.fill(targets, prompts_for, labelled(task), *filters, **decoding))
    draw = run.rng("selection")
    best = Likeliest(wanted, task.ranking, draw) if ranks else Drawn(wanted, draw)
    kept = list(run.keep(best.ranked(written), best, whole=True))
    run.settle(kept, "the pool held no more")
    run.note("selection", selection_table(written, kept, wanted))
    yield from by_rank(kept, task.weights)


def check(task: Task, config: SuperGenConfig) -> None:
    """Refuse tasks that SuperGen does not write, and openings or control codes that the task cannot give."""
    task.needs_kind("single", "pair", what="supergen")
    check_openings(task, config.openings)
    check_control(task, config.control_codes)


METHOD = Method(
    name="supergen",
    paper=Paper(
        title="Generating Training Data with Language Models: Towards Zero-Shot Language Understanding",
        arxiv="2202.04538",
        bibtex="""@inproceedings{meng2022supergen,
  title = {Generating Training Data with Language Models: Towards Zero-Shot Language Understanding},
  author = {Meng, Yu and Huang, Jiaxin and Zhang, Yu and Han, Jiawei},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2022}
}""",
    ),
    config=SuperGenConfig,
    generate=supergen,
    check=check,
    needs="for pairs, unlabelled texts (`corpus`); a generator that tells log-probabilities",
    cost="`attempts` (4) different texts a row",
    sources=lambda task, config: opening_sources(task, config.openings),
    defaults=lambda task, given: {
        **({"openings": "corpus", "temperature": 0.0} if task.kind == "pair" else {}),
        **{"trainer": "ensemble", "trainer_args": {"preset": "supergen", "every": 20}, "label_smoothing": 0.15},
    },
    differs=(
        "`attempts` counts different, valid texts a row; the paper makes 8 to 12 attempts and drops what is invalid.",
        "Stop strings and lengths are the task's: a text may hold quotes and several sentences.",
        "The score counts all sampled tokens, stop string and cut end too, under the unmodified model; the released "
        "code counts the text kept, after top-k and penalties.",
        "Copies of the given text are dropped, and duplicates over all labels; the released code looks at each label.",
        "The student has a head for the labels, not label words; it averages every 20 steps, not every 100.",
        "A question's negative is no later sentence of its answer; a `mismatched` label stands beside an alike text.",
    ),
)
