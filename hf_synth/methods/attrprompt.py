"""AttrPrompt: ask for texts under drawn attribute values (https://huggingface.co/papers/2306.15895)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from ..attributes import AttributesConfig, Values, attributed_prompt, check_attributes, configurations, of_label
from ..config import strict
from ..elicit import attribute_values
from ..filters.refusal import refused
from ..filters.surface import Unique
from ..instructions import instructions
from ..parse import labelled
from ..records import Example, Prompt
from ..run import Run
from ..task import Task
from . import Method, Paper


@strict
class AttrPromptConfig(AttributesConfig):
    """Settings of AttrPrompt and its baselines.

    Attributes:
        prompts: `attrprompt`, or a baseline: `simprompt` (the class alone) or `metaprompt` (instructions that the
            generator wrote itself).
        num_instructions: Of `metaprompt`: instructions of a class at most, used in rotation.
        temperature: Sampling temperature.
        top_p: Nucleus of the sampling distribution.
        max_attempts: Completions asked per wanted row before a label is given up.
    """

    read_by: ClassVar = {"num_instructions": ("prompts", ("metaprompt",))} | {
        name: ("prompts", ("attrprompt",)) for name in AttributesConfig.__annotations__
    }
    prompts: Literal["attrprompt", "simprompt", "metaprompt"] = "attrprompt"
    num_instructions: int = Field(5, ge=1)
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(0.9, gt=0, le=1)
    max_attempts: int = Field(20, ge=1)


def attrprompt(run: Run, config: AttrPromptConfig) -> Iterator[Example]:
    """Draw a configuration of attribute values for each text and ask for a text that has them.

    Algorithm: section 3 of the paper. The generator says which classes are alike and, unless the task does, what
    values each attribute has; values that fit a similar class go. A prompt names its class, a value of every
    attribute and the classes to keep clear of. Of the baselines, one draws instructions and the other nothing.
    """
    task = run.task
    sampling: dict[str, Any] = {"temperature": config.temperature, "top_p": config.top_p}
    values: Values = {}
    if config.prompts == "attrprompt":
        values = attribute_values(run, config)
    elif config.prompts == "metaprompt":
        values = instructions(run, config.num_instructions, sampling)

    def prompts_for(label: str) -> Iterator[Prompt]:
        rng, balanced = run.rng(f"configurations:{label}"), config.configurations == "balanced"
        for drawn in configurations(of_label(values, label), rng, balanced=balanced):
            yield Prompt(attributed_prompt(task, label, drawn), label, attributes=drawn)

    run.note("first prompts", [{"label": label, "prompt": next(prompts_for(label)).text} for label in task.labels])
    limits: dict[str, Any] = {"max_new_tokens": task.max_new_tokens, "stop": task.stop, "chat": True}
    filters, attempts = (refused, Unique()), config.max_attempts
    yield from run.fill(
        run.targets(), prompts_for, labelled(task), *filters, max_attempts=attempts, **limits, **sampling
    )


def check(task: Task, config: AttrPromptConfig) -> None:
    """Refuse tasks that AttrPrompt does not write, and attributes that the task cannot give."""
    task.needs_kind("single", what="attrprompt")
    if config.prompts == "attrprompt":
        check_attributes(task, config)


METHOD = Method(
    name="attrprompt",
    paper=Paper(
        title="Large Language Model as Attributed Training Data Generator: A Tale of Diversity and Bias",
        arxiv="2306.15895",
        bibtex="""@inproceedings{yu2023attrprompt,
  title = {Large Language Model as Attributed Training Data Generator: A Tale of Diversity and Bias},
  author = {Yu, Yue and Zhuang, Yuchen and Zhang, Jieyu and Meng, Yu and Ratner, Alexander and Krishna, Ranjay and
            Shen, Jiaming and Zhang, Chao},
  booktitle = {Advances in Neural Information Processing Systems: Datasets and Benchmarks Track},
  year = {2023}
}""",
    ),
    config=AttrPromptConfig,
    generate=attrprompt,
    check=check,
    template=False,
    reads=("description", "score_prompt"),
    needs="attributes in the task, or a generator that can list them; one that follows instructions",
    cost="one completion a row, and where attributes are elicited some more for each label",
    differs=(
        "Configurations are balanced over each attribute's values and seldom repeat; the paper draws each value on "
        "its own (`configurations: uniform`).",
        "The generator opens its answer with the task's line that names the class, and closes the text's quote.",
        "Similar classes are chosen where there are more others than `similar_classes`; else none are named.",
        "Attributes named by the generator all depend on the class; in the paper a person picks them and their scope.",
        "Elicited lists are asked three times, after two examples, and the values named most often are taken.",
        "The class filter reads a yes or no at the start of a greedy answer; no catch-all value is added.",
        'Refusals are looked for at the start of a text; the released code drops any that says "sorry".',
        "Texts are unique, keep all their characters and have any length: lengths are asked for, not enforced.",
        "Sampling stays in a nucleus of 0.9; the paper samples from the whole distribution.",
    ),
)
