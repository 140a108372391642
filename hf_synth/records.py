"""The three records that flow through a run: `Prompt`, `Completion`, `Example`."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

Number = TypeVar("Number", int, float)
_NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a generator is asked to continue, and what is known of the answer before it comes.

    Attributes:
        text: The text to continue. Generators wrap it in the model's chat template when the task asks for it.
        cell: The key that is counted and balanced (usually the label name); `None` where nothing is balanced.
        given: Columns of the example that the prompt fixes, such as the premise of a pair.
        attributes: Values that condition the text, kept as provenance.
        against: Prompts to steer away from; they see the tokens sampled for `text`.
        rank: Which answer is wanted of a generator that has them in an order, such as a retriever; 0 is the best.
    """

    text: str
    cell: Hashable = None
    given: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    attributes: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    against: tuple[str, ...] = ()
    rank: int = 0


BETWEEN = "; "  # stands between the names of a prompt's attribute `labels`


def label_set(prompt: Prompt) -> tuple[str, ...]:
    """Return the labels that a prompt asks for together; its cell where it names none."""
    if "labels" in prompt.attributes:
        return tuple(name for name in prompt.attributes["labels"].split(BETWEEN) if name)
    return () if prompt.cell is None else (str(prompt.cell),)


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer.

    Attributes:
        text: The answer up to its stop string, which is not part of it.
        logprob: Mean log-probability (nats per token) of the sampled tokens under the model's unmodified
            distribution; `None` where the backend cannot tell.
        tokens: Number of sampled tokens; `None` where an endpoint does not say.
        finish: `stop` (a stop string or the end token was seen), `length` (the token limit was reached), or what an
            endpoint could not give (`malformed`, `error: …`).
        cost: US dollars, as the provider reports them; `None` where it does not.
        prompt_tokens: Tokens of the prompt, as an endpoint reports them; `None` where nobody does.
    """

    text: str
    logprob: float | None = None
    tokens: int | None = 0
    finish: str = "stop"
    cost: float | None = None
    prompt_tokens: int | None = None


def known(values: Iterable[Number | None]) -> Number | None:
    """Return the sum of those that are known; `None` where none is."""
    found = [value for value in values if value is not None]
    return sum(found[1:], found[0]) if found else None


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled example.

    Attributes:
        fields: Text columns by name.
        target: What `Task.encode` accepts: a label name, a set of names, spans.
        cell: The hashable key that filters, quotas and the ledger use.
        prompt: The prompt that made it.
        logprob: See `Completion.logprob`.
    """

    fields: Mapping[str, str]
    target: Any
    cell: Hashable
    prompt: Prompt
    logprob: float | None = None
