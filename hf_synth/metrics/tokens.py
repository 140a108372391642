"""Texts as tokens, as numbers, and as n-grams that have numbers of their own."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..characters import MARKS, UNSPACED

Ints = NDArray[np.int64]
_WORD = rf"[^\W{UNSPACED}]+(?:[{MARKS}]+[^\W{UNSPACED}]*)*|\w"
_WORDS = re.compile(_WORD)
_TOKENS = re.compile(rf"{_WORD}|[^\w\s]")
_APOSTROPHES = str.maketrans("", "", "'\u2019\u02bc`")


def tokens(text: str) -> list[str]:
    """Return words and single marks of punctuation, with their case.

    >>> tokens("It isn't Good.")
    ['It', 'isn', "'", 't', 'Good', '.']
    """
    return _TOKENS.findall(text)


def words(text: str) -> list[str]:
    """Return words without case and punctuation; no apostrophe parts a word, no accent is parted from its letter.

    >>> words("It ISN'T well-made.")
    ['it', 'isnt', 'well', 'made']
    """
    return _WORDS.findall(unicodedata.normalize("NFC", text.translate(_APOSTROPHES).casefold()))


def numbered(texts: Iterable[Sequence[str]]) -> tuple[Ints, Ints]:
    """Return the number of every token of all texts in one row, [T], and the tokens in each text, [N]."""
    known: dict[str, int] = {}
    lengths: list[int] = []

    def ids() -> Iterator[int]:
        for text in texts:
            lengths.append(len(text))
            for token in text:
                yield known.setdefault(token, len(known))

    found = np.fromiter(ids(), dtype=np.int64)
    return found, np.array(lengths, dtype=np.int64)


def grams(ids: Ints, lengths: Ints, longest: int) -> Iterator[tuple[Ints, Ints]]:
    """Yield the n-grams of texts for n = 1 to `longest`: the number of each, and its text; equal ones have one number.

    Numbers are exact (no hashing): an n-gram is the pair of its first n - 1 tokens' number and its last token.

    Args:
        ids: All texts' tokens, [T].
        lengths: Tokens of each text, [N].
        longest: The largest n.
    """
    text_of = np.repeat(np.arange(len(lengths)), lengths)
    ends = np.cumsum(lengths)[text_of] if len(ids) else ids
    starts, found, many = np.arange(len(ids)), ids, int(ids.max(initial=0)) + 1
    for n in range(1, longest + 1):
        if n > 1:
            inside = starts + n <= ends[starts]
            starts, found = starts[inside], found[inside]
            found = np.unique(found * many + ids[starts + n - 1], return_inverse=True)[1]
        yield found, text_of[starts]
