"""The methods by name. Each is one file: a function over a `Run`, its settings, its paper, its differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from ..errors import unknown

if TYPE_CHECKING:
    from ..records import Example
    from ..run import Run
    from ..task import Corpus, Task

NAMES = ("zerogen", "sungen", "supergen", "regen", "progen", "attrprompt", "fewgen", "msp", "augment", "longtail")


@dataclass(frozen=True)
class Paper:
    """A paper as cards cite it."""

    title: str
    arxiv: str
    bibtex: str

    @property
    def link(self) -> str:
        """The paper's page."""
        return f"https://huggingface.co/papers/{self.arxiv}"


@dataclass(frozen=True)
class Method:
    """A method: `generate(run, config)` yields examples.

    Attributes:
        name: Lower case, as the paper has it.
        paper: What it implements.
        config: Its settings, a `config.strict` dataclass.
        generate: The function.
        differs: Every known difference from the paper, a sentence each; rendered on the card.
        check: Raises `InputError` before anything runs where the task and the settings do not go together.
        texts: Where its texts come from: a generator wrote them, or they were found.
        tunes: Whether it tunes its generator, which then runs in this process.
        quotes: Whether its prompts hold real rows word for word; the card says so, and shows none of them.
        template: Whether its prompts are the task's `prompt`; the others it notes as `first prompts`.
        reads: Fields of the task that decide its texts although they are no part of the prompt.
        needs: The data it is given, in words.
        cost: What a row costs, in words.
        sources: Given the task and the settings, the real data that conditions the texts; the card names it.
        defaults: Given the task and what the user set, settings that stand in for those left out: how its students
            train, where texts come from.
    """

    name: str
    paper: Paper
    config: type
    generate: Callable[[Run, Any], Iterator[Example]]
    differs: tuple[str, ...]
    check: Callable[[Any, Any], None]
    texts: Literal["generated", "retrieved"] = "generated"
    tunes: bool = False
    quotes: bool = False
    template: bool = True
    reads: tuple[str, ...] = ()
    needs: str = "nothing"
    cost: str = "one completion a row"
    sources: Callable[[Task, Any], Sequence[Corpus]] = lambda task, config: ()
    defaults: Callable[[Task, Mapping[str, Any]], Mapping[str, Any]] = lambda task, given: {}


def get(name: str) -> Method:
    """Return a method by name.

    Raises:
        InputError: If there is none of that name.
    """
    if name not in NAMES:
        raise unknown("`method`", name, NAMES)
    return import_module(f".{name}", __name__).METHOD
