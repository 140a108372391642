"""FewGen: tune a prefix a label on few shots, write from it (https://huggingface.co/papers/2211.03044)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from pydantic import Field

from ..adapters.settings import MetaConfig
from ..config import strict
from ..few_shot import check_shots, few_shots, learn, shots_first, sources_of
from ..filters.copies import Copies, fingerprints
from ..filters.likelihood import copied
from ..filters.surface import Unique
from ..openings import Where, check_openings, opening_sources, openings
from ..parse import labelled
from ..prompts import Rotation
from ..records import Example, Prompt
from ..run import Run
from ..settings import ShotsConfig
from ..shots import tuned
from ..task import Task
from . import Method, Paper


@strict
class FewGenConfig(MetaConfig, ShotsConfig):
    """Settings of FewGen, and those of its tuning.

    Attributes:
        openings: Given texts of pairs are `generated` or from the task's real `corpus`, which stands in if left out.
        num_openings: Openings at most; if left out, the whole corpus, or 500 generated ones.
        temperature: Sampling temperature.
        top_p: Nucleus of the sampling distribution.
        repetition_penalty: Factor that makes tokens already there rarer above 1.
        max_attempts: Completions asked per wanted row before a label is given up.
    """

    openings: Where = "generated"
    num_openings: int | None = Field(None, ge=1)
    temperature: float = Field(0.7, ge=0)
    top_p: float = Field(0.9, gt=0, le=1)
    repetition_penalty: float = Field(1.1, gt=0)
    max_attempts: int = Field(20, ge=1)


def fewgen(run: Run, config: FewGenConfig) -> Iterator[Example]:
    """Tune each label's prefix on its shots, their tokens weighed by how they tell labels apart; write behind it.

    Section 3 of the paper; the tuning is `generators/metatuning.py`. A text ends as the shots do, at the stop string.
    """
    from ..generators.metatuning import text_of, tune_prefixes

    task, pair = tuned(run.task), run.task.kind == "pair"
    written = {"temperature": 1.0, "top_p": 0.9, "chat": run.task.chat}
    given = Rotation(openings(run, config.openings, config.num_openings, written) if pair else iter([""]))
    shots = few_shots(task, config, run.seed)
    meta = MetaConfig(**{field.name: getattr(config, field.name) for field in fields(MetaConfig)})
    tokenizer = learn(run, "prefixes", shots, meta, tune_prefixes)
    copies = Copies(fingerprints(shot.text for shot in shots), task.generated)
    start = {shot.label: text_of(tokenizer, shot) for shot in shots}

    def prompts_for(label: str) -> Iterator[Prompt]:
        for text in given:
            yield Prompt(text or start[label], label, {task.columns[0]: text} if pair else {})

    limits: dict[str, Any] = {"max_new_tokens": task.max_new_tokens, "stop": task.stop}
    decoding = {name: getattr(config, name) for name in ("temperature", "top_p", "repetition_penalty", "max_attempts")}
    yield from run.fill(run.targets(), prompts_for, labelled(task), copied, copies, Unique(), **decoding, **limits)
    run.note("few shots", copies.note())


def check(task: Task, config: FewGenConfig) -> None:
    """Refuse other tasks, and settings without shots."""
    task.needs_kind("single", "pair", what="fewgen")
    check_shots(task, config)
    if task.kind == "pair":
        check_openings(task, config.openings)


def defaults(task: Task, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Train the student on the shots first, then on the rows, by temporal ensembling and smoothed labels."""
    ensembling = {"trainer": "ensemble", "trainer_args": {"preset": "fewgen", "every": 20}, "label_smoothing": 0.15}
    return {**({"openings": "corpus"} if task.kind == "pair" else {}), **shots_first(given, 30.0), **ensembling}


METHOD = Method(
    name="fewgen",
    paper=Paper(
        title="Tuning Language Models as Training Data Generators for Augmentation-Enhanced Few-Shot Learning",
        arxiv="2211.03044",
        bibtex="""@inproceedings{meng2023fewgen,
  title = {Tuning Language Models as Training Data Generators for Augmentation-Enhanced Few-Shot Learning},
  author = {Meng, Yu and Michalski, Martin and Huang, Jiaxin and Zhang, Yu and Abdelzaher, Tarek and Han, Jiawei},
  booktitle = {Proceedings of ICML},
  year = {2023}
}""",
    ),
    config=FewGenConfig,
    generate=fewgen,
    check=check,
    tunes=True,
    template=False,
    reads=("tuning_prompt", "score_prompt"),
    needs="`shots`: 16 real rows of each label (`shots_per_class`); for pairs, unlabelled texts (`corpus`)",
    cost="tuning, then one completion a row",
    sources=lambda task, config: [*sources_of(task, config), *opening_sources(task, config.openings)],
    defaults=defaults,
    differs=(
        "Prefixes begin as the task's prompts but for the end, which stays text; the paper gives a text's first word.",
        "The stop string stands for the paper's new token [EOS], and texts are sampled, of pairs too.",
        "The weight network's gradient is a directional derivative; the released code differentiates twice.",
        "Four rows a step, five epochs, no dropout of prefixes; the paper takes two rows and twenty epochs.",
        "Unlike the released code, discrimination compares probabilities; without meta weighting, tokens count alike.",
        "Copies of a shot or given text and duplicates over labels go; one repetition penalty is for all labels.",
        "The student's epoch is chosen on generated rows, not on more real ones; ensembling averages every 20 steps.",
    ),
)
