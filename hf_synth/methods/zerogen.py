"""ZeroGen: sample text under a prompt that names its label (https://huggingface.co/papers/2202.07922)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from ..config import strict
from ..errors import InputError
from ..filters.surface import Unique
from ..openings import check_openings, opening_sources, openings
from ..prompts import Rotation, check_steering
from ..records import Example, Prompt
from ..run import Run
from ..shapes import limits, shape
from ..task import Task
from . import Method, Paper


@strict
class ZeroGenConfig:
    """Settings of ZeroGen.

    Attributes:
        openings: Where the first stage's texts come from: written by the generator, or the task's real corpus.
        num_openings: How many openings are made; they are used in rotation.
        temperature: Sampling temperature.
        top_k: Sample from this many tokens at most; 0 for all.
        top_p: Nucleus of the sampling distribution.
        steer_away: Self-debiasing against the other labels' prompts; left out, the task decides (yes for pairs).
        debias: Strength (lambda) of self-debiasing.
        max_attempts: Completions asked per wanted row before a label is given up.
    """

    openings: Literal["generated", "corpus"] = "generated"
    num_openings: int = Field(500, ge=1)
    temperature: float = Field(1.0, ge=0)
    top_k: int = Field(0, ge=0)
    top_p: float = Field(0.9, gt=0, le=1)
    steer_away: bool | None = None
    debias: float = Field(200.0, ge=0)
    max_attempts: int = Field(20, ge=1)


def zerogen(run: Run, config: ZeroGenConfig) -> Iterator[Example]:
    """Write openings, then a text per label and opening; keep each text once.

    Algorithm: section 3 of the paper. Stage one samples `C` (a movie title, a premise), stage two samples `X` from
    `p(X | prompt(C, y))`; the label is the `y` of the prompt. Texts end at the closing quote.
    """
    task, kind = run.task, shape(run.task)
    varied = config.temperature or task.kind != "single" or task.words or task.starts or task.opening
    if not varied and max(run.targets().values()) > 1:
        raise InputError(f"`temperature: 0` writes the same text to the same prompt, and {task.name} has one a label")
    sampling: dict[str, Any] = {"temperature": config.temperature, "top_k": config.top_k, "top_p": config.top_p}
    sampling["chat"] = task.chat
    titles = Rotation(openings(run, config.openings, config.num_openings, sampling))

    def prompts_for(label: str) -> Iterator[Prompt]:
        return kind.prompts(task, label, titles, run.rng(f"words:{label}"), steer=config.steer_away)

    yield from run.fill(
        run.targets(),
        prompts_for,
        kind.parser(task),
        Unique(),
        max_attempts=config.max_attempts,
        **limits(task),
        debias=config.debias,
        **sampling,
    )


def check(task: Task, config: ZeroGenConfig) -> None:
    """Refuse openings that the task cannot give, and to steer away where no other label has a prompt to leave."""
    check_openings(task, config.openings)
    check_steering(task, config.steer_away)


def defaults(task: Task, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Make up for untagged entities where only those are tagged that a prompt asked for."""
    asked_for = task.kind == "tokens" and (given.get("annotate") or task.annotate) == "mentions"
    return {"outside": 0.15} if asked_for and not given.get("dataset") else {}


METHOD = Method(
    name="zerogen",
    paper=Paper(
        title="ZeroGen: Efficient Zero-shot Learning via Dataset Generation",
        arxiv="2202.07922",
        bibtex="""@inproceedings{ye2022zerogen,
  title = {{ZeroGen}: Efficient Zero-shot Learning via Dataset Generation},
  author = {Ye, Jiacheng and Gao, Jiahui and Li, Qintong and Xu, Hang and Feng, Jiangtao and Wu, Zhiyong and
            Yu, Tao and Kong, Lingpeng},
  booktitle = {Proceedings of EMNLP},
  year = {2022}
}""",
    ),
    config=ZeroGenConfig,
    generate=zerogen,
    check=check,
    sources=lambda task, config: opening_sources(task, config.openings),
    defaults=defaults,
    differs=(
        "Packaged prompts are for small instruct models; the paper's are in recipes/paper_tasks.",
        "Texts are unique over the whole run; the released code removes duplicates inside one batch only.",
        "Decoding stops at the closing quote; the released code always decodes to the token limit.",
        "Openings are used in rotation, one text per label and turn; the released code takes 32 texts per opening.",
        "Rows are balanced over the labels by asking again; the paper keeps what comes.",
        "Premises of pairs are written by the generator unless `openings: corpus` is set; the paper takes real ones.",
        "Answers to ask for are found by rules or a tagger (`finder`), one a context and once; the paper takes all "
        "entities that spaCy finds, and asks twice.",
        "A question goes that has few of the longer words of its answer's sentence (`off context`), or the answer as "
        "whole words; in the released code also as a part of words.",
    ),
)
