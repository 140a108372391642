"""FewGen: tune a prefix a label on few shots, write from it (https://huggingface.co/papers/2211.03044)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from ..adapters.settings import MetaConfig
from ..cells import pool
from ..config import part, strict
from ..few_shot import check_shots, copies_of, few_shots, learn, shots_first, sources_of
from ..filters.likelihood import copied
from ..filters.surface import Unique
from ..filters.telling import Telling
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
        temperature: Sampling temperature.
        top_p: Nucleus of the sampling distribution.
        repetition_penalty: Factor that makes tokens already there rarer above 1.
        attempts: Different texts written for each row wanted, of which those stay that tell their label best.
    """

    openings: Where = "generated"
    temperature: float = Field(0.7, ge=0)
    top_p: float = Field(0.9, gt=0, le=1)
    repetition_penalty: float = Field(1.1, gt=0)
    attempts: int = Field(2, ge=1)


def fewgen(run: Run, config: FewGenConfig) -> Iterator[Example]:
    """Tune a prefix a label, tokens weighed by how they tell labels apart; write behind it (section 3 there)."""
    from ..generators.metatuning import text_of, tune_prefixes

    run.task = task = tuned(run.task)
    given = Rotation(openings(run, config.openings, None, {"temperature": 1.0, "top_p": 0.9}))
    shots = few_shots(run, task, config)
    tokenizer = learn(run, "prefixes", shots, part(MetaConfig, config), tune_prefixes)
    copies = copies_of(run, shots)
    start = {shot.label: text_of(tokenizer, shot) for shot in shots}

    def prompts_for(label: str) -> Iterator[Prompt]:
        for text in given:
            yield Prompt(text or start[label], label, {task.columns[0]: text} if text else {})

    wanted = run.targets()
    targets = pool(wanted, task.weights, config.attempts)
    decoding = {name: getattr(config, name) for name in ("temperature", "top_p", "repetition_penalty")}
    limits: dict[str, Any] = {"max_new_tokens": task.max_new_tokens, "stop": task.stop}
    written = run.fill(targets, prompts_for, labelled(task), copied, copies, Unique(), **decoding, **limits)
    kept = list(run.keep(written, Telling(run, wanted, start), whole=True))
    run.settle(kept, "the pool held no more")
    yield from copies.counted(kept)
    run.note("few shots", copies.note())


def check(task: Task, config: FewGenConfig) -> None:
    """Refuse other tasks, and settings without shots."""
    task.needs_kind("single", "pair", what="fewgen")
    check_shots(task, config)
    check_openings(tuned(task), config.openings)


def defaults(task: Task, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Train the student on the shots first, then on the rows with smoothed labels."""
    given_texts = {"openings": "corpus"} if task.kind == "pair" else {}
    return {**given_texts, **shots_first(given, 10.0), "label_smoothing": 0.15}


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
    cost="tuning, then `attempts` (2) different texts a row, each scored under every label",
    sources=lambda task, config: [*sources_of(task, config), *opening_sources(task, config.openings)],
    defaults=defaults,
    differs=(
        "Prefixes begin as the task's prompts but for the end, which stays text; the paper gives a text's first word.",
        "The stop string stands for the paper's new token [EOS], and texts are sampled, of pairs too.",
        "Of twice as many texts those stay that tell their label best (`attempts: 1` keeps all, as in the paper).",
        "The weight network's gradient is a directional derivative; the released code differentiates twice.",
        "By default four rows a step, five epochs, and no dropout; the paper takes two rows and twenty epochs.",
        "Unlike the released code, discrimination compares probabilities; without meta weighting, tokens count alike.",
        "Copies of a shot or given text and duplicates over labels go; one repetition penalty is for all labels.",
        "The student has a head for the labels, not label words, and no other rows choose its best epoch.",
        "Ensembling, with which small students do worse, is `trainer: ensemble, trainer_args: {preset: fewgen}`.",
    ),
)
