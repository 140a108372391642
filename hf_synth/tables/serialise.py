"""Rows as text, ` glucose:7 age:2`: every value is one token, so that an answer can be weighed against all others.

In the manner of GReaT (https://huggingface.co/papers/2210.06280): name and value of each observed cell, the columns in
random order. It differs in what stands for a number: not its digits, which are several tokens, but a digit for its
place among the column's observed values (their deciles). A few hundred rows are enough to learn what follows on `7`;
they are not for what follows on `1`, `4`, `8`. A category is written as it is where that is one token, else a letter.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .schema import Column, Schema

DIGITS = string.digits
LETTERS = string.ascii_uppercase + string.ascii_lowercase


@dataclass(frozen=True)
class Distribution:
    """What a cell may hold: observed values of its column, in order, and how likely each is.

    Attributes:
        column: The column.
        values: The values, [V].
        weights: Their probabilities, [V].
    """

    column: Column
    values: Sequence[Any]
    weights: NDArray[np.float64]

    def best(self) -> Any:
        """Return the mean of numbers, which has the least squared error, or the likeliest category."""
        if self.column.numeric:
            mean = float(np.dot(self.weights, np.asarray(self.values, float)))
            return float(
                min(max(mean, self.values[0]), self.values[-1])
            )  # equal values are their mean, to the last bit
        return self.values[int(self.weights.argmax())]

    def quantile(self, share: float) -> Any:
        """Return the least value up to which so much of the probability lies."""
        found = self.values[min(int(np.searchsorted(self.weights.cumsum(), share - 1e-12)), len(self.values) - 1)]
        return found.item() if isinstance(found, np.generic) else found

    def likely(self, share: float) -> list[Any]:
        """Return the likeliest categories that hold so much of the probability."""
        order = np.argsort(-self.weights, kind="stable")
        kept = int(np.searchsorted(self.weights[order].cumsum(), share - 1e-12)) + 1
        return [self.values[at] for at in order[:kept]]

    def draw(self, uniform: float) -> Any:
        """Return the value at a uniform draw."""
        return self.quantile(uniform * float(self.weights.sum()))


@dataclass(frozen=True)
class Coding:
    """How a column's values become words.

    Attributes:
        name: The column's name.
        column: What it may hold.
        words: The words, one token each.
        values: Observed values behind each word, in order.
    """

    name: str
    column: Column
    words: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]

    @property
    def shown(self) -> str:
        """Return the name as it stands in a text."""
        return f" {self.name.replace('_', ' ').strip()}:"

    @cached_property
    def observed(self) -> Any:
        """Return all values, in order: an array of numbers, a list of categories."""
        every = [value for group in self.values for value in group]
        return np.array(every) if self.column.numeric else every

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Return how many values stand behind each word."""
        return np.array([len(group) for group in self.values])

    @cached_property
    def edges(self) -> NDArray[np.float64]:
        """Return the least value of every word but the first."""
        return np.array([values[0] for values in self.values[1:]], dtype=float)

    def code(self, value: Any) -> int:
        """Return the place of a value's word."""
        if self.column.numeric:
            return int(np.searchsorted(self.edges, float(value), side="right"))
        return self.column.categories.index(value)

    def distribution(self, probabilities: Sequence[float]) -> Distribution:
        """Return what a cell may hold from the probability of each word; a word's is shared by its observed values."""
        found = np.repeat(np.asarray(probabilities, float) / self.sizes, self.sizes)
        return Distribution(self.column, self.observed, found / found.sum())


def codings(schema: Schema, rows: Sequence[Mapping[str, Any]], bins: int, tokenizer: Any) -> dict[str, Coding]:
    """Return how each column that is read becomes words.

    Args:
        schema: The columns.
        rows: What is learnt from; of a number, only values that are observed there are ever imputed.
        bins: Words for a column of numbers.
        tokenizer: Decides which words are one token.

    Raises:
        InputError: If the tokenizer has no words, or two columns look alike in a text.
    """
    found: dict[str, Coding] = {}
    for name, column in schema.columns.items():
        observed = [row[name] for row in rows if row[name] is not None]
        if not column.imputable or not observed:
            continue
        values = _binned(observed, bins) if column.numeric else [(name,) for name in column.categories]
        words = tuple(DIGITS[: len(values)] if column.numeric else _names(column, tokenizer))
        for word in words:
            if len(_behind(tokenizer, word)) != 1:
                raise InputError(f"the model's tokenizer has no single token for {word!r} behind a colon")
        found[name] = Coding(name, column, words, tuple(map(tuple, values)))
    shown = [coding.shown for coding in found.values()]
    for name, coding in found.items():
        if shown.count(coding.shown) > 1:
            raise InputError(f"two columns are written {coding.shown.strip()!r} in a text; rename {name!r}")
    return found


def _binned(observed: Sequence[float], bins: int) -> list[list[float]]:
    """Cut sorted values at their quantiles, equal ones together; fewer different values than bins have one each."""
    values = np.sort(np.asarray(observed))
    distinct = np.unique(values)
    cuts = distinct[1:] if len(distinct) <= bins else np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
    parts = np.split(values, np.searchsorted(values, cuts, side="left"))
    return [part.tolist() for part in parts if len(part)]


def _names(column: Column, tokenizer: Any) -> Sequence[str]:
    """Return the categories where each is a token of its own, else letters."""
    tokens = [_behind(tokenizer, name) for name in column.categories]
    alone = all(len(one) == 1 for one in tokens) and len({one[0] for one in tokens}) == len(tokens)
    return column.categories if alone else LETTERS[: len(column.categories)]


def _behind(tokenizer: Any, word: str) -> list[int]:
    """Return a word's tokens behind a colon."""
    return ids(tokenizer, f":{word}")[len(ids(tokenizer, ":")) :]


def ids(tokenizer: Any, text: str) -> list[int]:
    """Return a text's tokens, without special ones."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


class Serialiser:
    """Rows as token ids.

    Args:
        codings: How each column that is read becomes words.
        tokenizer: The model's.
    """

    def __init__(self, codings: Mapping[str, Coding], tokenizer: Any):
        self.codings, self.tokenizer = codings, tokenizer
        start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        self.start = [start]
        self.names = {name: ids(tokenizer, coding.shown) for name, coding in codings.items()}
        self.words = {name: [_behind(tokenizer, word)[0] for word in coding.words] for name, coding in codings.items()}

    def row(self, row: Mapping[str, Any], order: Sequence[str]) -> tuple[list[int], list[int]]:
        """Return the tokens of a row's cells in an order, and the places of those that are values."""
        tokens, places = list(self.start), []
        for name in order:
            tokens += self.names[name]
            places.append(len(tokens))
            tokens.append(self.words[name][self.codings[name].code(row[name])])
        return tokens, places

    def asked(self, row: Mapping[str, Any], order: Sequence[str], wanted: str) -> list[int]:
        """Return the tokens behind which the value of the wanted column comes."""
        return self.row(row, order)[0] + self.names[wanted]

    def text(self, row: Mapping[str, Any], order: Sequence[str]) -> str:
        """Return a row's text, as the model reads it."""
        codings = (self.codings[name] for name in order)
        return "".join(f"{one.shown}{one.words[one.code(row[one.name])]}" for one in codings)
