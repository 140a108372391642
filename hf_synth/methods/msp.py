"""MSP: soft prompts of attributes, mixed for each text (https://huggingface.co/papers/2303.01580)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from pydantic import Field

from ..cells import pool
from ..config import part, strict
from ..exemplars import Seeds, knowing, levels_of, parser_of
from ..few_shot import check_shots, copies_of, few_shots, learn, shots_first, sources_of
from ..filters.cleanest import Cleanest, DenoisingConfig
from ..filters.surface import Unique
from ..mixture_settings import MixtureTuningConfig
from ..records import Example, Prompt
from ..run import Run
from ..settings import ShotsConfig
from ..shots import tuned
from ..task import Task
from . import Method, Paper


@strict
class MSPConfig(MixtureTuningConfig, ShotsConfig, DenoisingConfig):
    """Settings of MSP, and those of its soft prompts and of denoising.

    Attributes:
        exemplars: Shots shown in a prompt that share a label with the seed; in writing the last is the seed itself.
        temperature: Sampling temperature.
        top_p: Nucleus of the sampling distribution.
        repetition_penalty: Factor that makes tokens already there rarer above 1.
        max_attempts: Completions asked for each text before a label is given up.
    """

    exemplars: int = Field(2, ge=0)
    temperature: float = Field(0.7, ge=0)
    top_p: float = Field(0.9, gt=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0)
    max_attempts: int = Field(20, ge=1)


def msp(run: Run, config: MSPConfig) -> Iterator[Example]:
    """Tune a soft prompt for each attribute, write texts from each seed behind its attributes' mix, remove noisy ones.

    Section 3 of the paper; the tuning is `generators/mixtuning.py`. The texts are held in memory.
    """
    from ..generators.mixtuning import tune_mixture

    shots = few_shots(run, tuned(run.task), config)
    run.task = task = knowing(tuned(run.task), shots)
    seeds, levels = Seeds(task, shots, config.exemplars), levels_of(task, shots)
    cleanest, train = Cleanest(run, seeds, run.targets(), config), partial(tune_mixture, levels=levels)
    learn(run, "mixture", seeds.lessons(run.rng("exemplars")), part(MixtureTuningConfig, config), train)

    def prompts_for(label: str) -> Iterator[Prompt]:
        return seeds.prompts(label, run.rng(f"exemplars:{label}"))

    copies, wanted = copies_of(run, shots), run.targets()
    targets = pool(wanted, task.weights, 1 / config.keep_share)
    decoding = {name: getattr(config, name) for name in ("temperature", "top_p", "repetition_penalty", "max_attempts")}
    limits: dict[str, Any] = {"max_new_tokens": task.max_new_tokens, "stop": task.stop}
    written = list(run.fill(targets, prompts_for, parser_of(task), copies, Unique(), **decoding, **limits))
    kept = list(run.keep(written, cleanest, whole=True))
    run.settle(kept, "the pool held no more")
    yield from copies.counted(kept)
    run.note("few shots", copies.note())


def check(task: Task, config: MSPConfig) -> None:
    """Refuse tasks whose labels are no attributes of a text, and settings without shots."""
    task.needs_kind("single", "multi_label", "tokens", "parse", what="msp")
    check_shots(task, config)


METHOD = Method(
    name="msp",
    paper=Paper(
        title="Mixture of Soft Prompts for Controllable Data Generation",
        arxiv="2303.01580",
        bibtex="""@inproceedings{chen2023mixture,
  title = {Mixture of Soft Prompts for Controllable Data Generation},
  author = {Chen, Derek and Lee, Celine and Lu, Yunan and Rosati, Domenic and Yu, Zhou},
  booktitle = {Findings of EMNLP},
  year = {2023}
}""",
    ),
    config=MSPConfig,
    generate=msp,
    check=check,
    tunes=True,
    template=False,
    quotes=True,
    reads=("tuning_prompt", "score_prompt"),
    needs="`shots`: 16 real rows of each label (`shots_per_class`)",
    cost="tuning, then 1.25 completions a row (`keep_share: 0.8`) and a vector of each",
    sources=sources_of,
    # Shots and rows together; a student that writes takes no real rows.
    defaults=lambda task, given: {} if task.kind == "parse" else shots_first(given, 0.0),
    differs=(
        "Attention and bottleneck weigh whole prompts; the released code sums them, whatever it has learnt.",
        "The instruction is saved, and intents' and slots' prompts are trained; in the released code they are not.",
        "Denoising removes a share of each label's texts; the released code keeps all.",
        "Texts without any label are not written.",
        "Labels get equally many rows, from the seeds that have them in turn; the paper writes as many of each seed.",
        "Texts are sampled; the paper takes four beams with sampling at temperatures of 1.6 and more.",
        "No early stopping by BLEU on a development set: few shots are all there is.",
        "Known names are tagged where they stand; texts without one of their label, or a slot's value, or copied, go.",
        "The student is an encoder, or the tuned small model for parses; the paper tunes GODEL on label strings.",
    ),
)
