"""Augment: variants of a few shots by EDA or paraphrase; baselines (https://huggingface.co/papers/1901.11196)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from ..config import strict
from ..exemplars import Seeds, knowing, parser_of
from ..few_shot import check_shots, copies_of, few_shots, shots_first, sources_of
from ..filters.surface import Unique
from ..generators.echo import EchoGenerator
from ..records import Example, Prompt
from ..retrieval.settings import ENCODER
from ..run import Run
from ..settings import ShotsConfig
from ..shots import tuned
from ..task import Task
from ..variants import by_asking, by_eda, by_names, shots_synonyms
from . import Method, Paper


@strict
class AugmentConfig(ShotsConfig):
    """Settings of the baselines.

    Attributes:
        how: `eda` (words are replaced, inserted, swapped or deleted; no language model is asked), `paraphrase` (the
            generator says a shot in other words) or, of entities, `names` (others of the same labels, of the task's
            `words` and the shots, stand in their places; no language model is asked).
        alpha: Of `eda`: share of a text's words that change.
        encoder: Of `eda`: finds synonyms among the words of shots and labels: a Hub id or a local folder.
        temperature: Of `paraphrase`: sampling temperature.
        top_p: Of `paraphrase`: nucleus of the sampling distribution.
        max_attempts: Texts made for each row wanted before a label is given up.
    """

    read_by: ClassVar = {name: ("how", ("eda",)) for name in ("alpha", "encoder")} | {
        name: ("how", ("paraphrase",)) for name in ("temperature", "top_p")
    }
    how: Literal["eda", "paraphrase", "names"] = "eda"
    alpha: float = Field(0.1, gt=0, le=1)
    encoder: str = ENCODER
    temperature: float = Field(0.7, ge=0)
    top_p: float = Field(0.9, gt=0, le=1)
    max_attempts: int = Field(20, ge=1)


def augment(run: Run, config: AugmentConfig) -> Iterator[Example]:
    """Take each label's shots in turn and make a variant of each, until there are enough that differ.

    Names of entities and values of slots stay as they are, so that their tags are known.
    """
    shots, decoding = few_shots(run, tuned(run.task), config), {}
    run.task = task = knowing(tuned(run.task), shots)
    seeds, synonyms = Seeds(task, shots, 0), None
    if config.how == "eda":
        synonyms = shots_synonyms(run, shots, config.encoder)
    if config.how != "paraphrase":
        run.ask(EchoGenerator("EDA" if synonyms else "mention replacement"))
    else:
        limits: dict[str, Any] = {"max_new_tokens": task.max_new_tokens, "stop": task.stop, "chat": True}
        decoding = {"temperature": config.temperature, "top_p": config.top_p, **limits}

    def prompts_for(label: str) -> Iterator[Prompt]:
        own, rng = seeds.prompts(label, run.rng(f"seeds:{label}")), run.rng(f"variants:{label}")
        if synonyms:
            return by_eda(own, shots, rng, synonyms, config.alpha)
        return by_names(own, shots, rng, task.words) if config.how == "names" else by_asking(own, shots, task.stop[0])

    copies, read = copies_of(run, shots), parser_of(task)
    decoding |= {"max_attempts": config.max_attempts}
    yield from copies.counted(run.fill(run.targets(), prompts_for, read, copies, Unique(), **decoding))
    run.note("few shots", copies.note())


def check(task: Task, config: AugmentConfig) -> None:
    """Refuse tasks whose rows hold more than one text, and settings without shots."""
    task.needs_kind("single", "multi_label", "tokens", "parse", what="augment")
    if config.how == "names":
        task.needs_kind("tokens", what="`how: names`")
    check_shots(task, config)


METHOD = Method(
    name="augment",
    paper=Paper(
        title="EDA: Easy Data Augmentation Techniques for Boosting Performance on Text Classification Tasks",
        arxiv="1901.11196",
        bibtex="""@inproceedings{wei2019eda,
  title = {{EDA}: Easy Data Augmentation Techniques for Boosting Performance on Text Classification Tasks},
  author = {Wei, Jason and Zou, Kai},
  booktitle = {Proceedings of EMNLP-IJCNLP},
  year = {2019}
}""",
    ),
    config=AugmentConfig,
    generate=augment,
    check=check,
    template=False,
    quotes=True,
    reads=("tuning_prompt", "score_prompt"),
    needs="`shots`: 16 real rows of each label (`shots_per_class`)",
    cost="nothing (`how: eda` and `names`), or one completion a row",
    sources=sources_of,
    defaults=lambda task, given: {} if task.kind == "parse" else shots_first(given, 0.0),
    differs=(
        "Synonyms are an encoder's neighbours among the words of shots and labels; the paper has WordNet's.",
        "Names of entities and values of slots do not change, nor does anything come between their words.",
        "A text has one of the four operations, drawn; the paper makes as many of each.",
        "Labels get equally many rows, from the shots that have them in turn; copies and duplicates go.",
        "`paraphrase` is no part of the paper: the generator is asked to say a shot in other words; nor is `names`.",
    ),
)
