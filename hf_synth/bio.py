"""Entities of a text: its tokens, spans of them, and the BIO tags that say the same (IOB2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .characters import JOINERS, MARKS
from .errors import InputError

OUTSIDE = "O"
Span = tuple[int, int, str]  # first token, the one after the last, label
_TOKEN = re.compile(rf"\w[\w{MARKS}{JOINERS}]*|[^\w\s]")


def tokens_of(text: str) -> list[str]:
    """Return words and, each for itself, the other characters that are no white space."""
    return _TOKEN.findall(text)


def tag_names(labels: Iterable[str]) -> list[str]:
    """Return `O`, then `B-` and `I-` of each label: the classes of a token student."""
    return [OUTSIDE, *(f"{part}-{label}" for label in labels for part in "BI")]


def tags_of(length: int, spans: Iterable[Span]) -> list[str]:
    """Return the BIO tags of so many tokens.

    Raises:
        InputError: For spans that are empty, overlap, or leave the text.
    """
    tags = [OUTSIDE] * length
    for start, end, label in spans:
        if not 0 <= start < end <= length or any(tag != OUTSIDE for tag in tags[start:end]):
            raise InputError(
                f"the span {start} to {end} of {label!r} is empty, overlaps one, or leaves {length} tokens"
            )
        tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    return tags


def spans_of(tags: Sequence[str]) -> list[Span]:
    """Return the spans that BIO tags say; an `I-` that continues nothing begins a span, as in CoNLL's own script."""
    spans: list[Span] = []
    for at, tag in enumerate(tags):
        part, _, label = tag.partition("-")
        if part == "I" and spans and spans[-1][1] == at and spans[-1][2] == label:
            spans[-1] = (spans[-1][0], at + 1, label)
        elif tag != OUTSIDE:
            spans.append((at, at + 1, label))
    return spans


def from_characters(text: str, spans: Iterable[Span]) -> tuple[list[str], list[str]]:
    """Return tokens and tags of a text whose spans are given by characters, first and one after the last.

    A token that a span only touches belongs to it.

    Raises:
        InputError: For spans that overlap or hold no token.
    """
    found = [(match.start(), match.end()) for match in _TOKEN.finditer(text)]
    inside = []
    for start, end, label in spans:
        places = [at for at, (first, last) in enumerate(found) if first < end and last > start]
        inside.append((places[0], places[-1] + 1, label) if places else (0, 0, label))
    return [text[first:last] for first, last in found], tags_of(len(found), inside)


class Lexicon:
    """Finds names in tokens: the longest first, without overlaps, whatever their case.

    A name of three characters or fewer that holds a capital, and a word of a longer one that is all capitals and as
    short, must be spelt as it stands there: `AS` is a disease, `as` is not, nor is `vitamin a day` one of vitamins. A
    name that stands under two labels finds nothing: which one is meant cannot be told.

    Args:
        names: Label -> names, as texts or as tokens.
    """

    def __init__(self, names: Mapping[str, Iterable[str | Sequence[str]]]) -> None:
        labels: dict[tuple[str, ...], set[str]] = {}
        for label, own in names.items():
            for name in own:
                if key := _key(name):
                    labels.setdefault(key, set()).add(label)
        self._labels = {key: next(iter(found)) for key, found in labels.items() if len(found) == 1}
        self._lengths: dict[str, list[int]] = {}
        for key in sorted(self._labels, key=len, reverse=True):
            lengths = self._lengths.setdefault(key[0], [])
            if len(key) not in lengths:
                lengths.append(len(key))

    def spans(self, tokens: Sequence[str], taken: Iterable[Span] = ()) -> list[Span]:
        """Return the names in tokens, in order, beside spans that are there already."""
        found = sorted(taken)
        busy = {at for start, end, _ in found for at in range(start, end)}
        at, written = 0, (tokens, [_folded(token) for token in tokens])
        while at < len(tokens):
            name = max((name for own in written for name in self._names(own, at, busy)), key=len, default=())
            if name:
                found.append((at, at + len(name), self._labels[name]))
            at += len(name) or 1
        return sorted(found)

    def known(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return the name that words are, as the lexicon has it; nothing where they are none."""
        written = tuple(words), tuple(map(_folded, words))
        return next((name for name in written if name in self._labels), ())

    def _names(self, tokens: Sequence[str], at: int, busy: set[int]) -> Iterator[tuple[str, ...]]:
        """Yield the names that begin here."""
        for length in self._lengths.get(tokens[at], ()):
            name = tuple(tokens[at : at + length])
            if name in self._labels and not busy & {*range(at, at + length)}:
                yield name


def places(tokens: Sequence[str], words: Sequence[str]) -> list[int]:
    """Return where words stand in a row among tokens, whatever their case."""
    key, folded = [word.casefold() for word in words], [token.casefold() for token in tokens]
    return [at for at in range(len(folded) - len(key) + 1) if key and folded[at : at + len(key)] == key]


def named(tokens: Sequence[str], words: Sequence[str]) -> list[int]:
    """Return where a name's words stand in a row among tokens; a short one with a capital as it is spelt."""
    there = places(tokens, words)
    return [at for at in there if [*tokens[at : at + len(words)]] == [*words]] if _as_spelt(words) else there


def _as_spelt(words: Iterable[str]) -> bool:
    """Tell whether a name is so short that in other case it may be another word: `AS`, `Go`."""
    name = "".join(words)
    return len(name) <= 3 and name != name.lower()


def _folded(token: str) -> str:
    return token if len(token) <= 3 and token.isupper() else token.casefold()


def _key(name: str | Sequence[str]) -> tuple[str, ...]:
    words = tokens_of(name) if isinstance(name, str) else name
    return tuple(words if _as_spelt(words) else map(_folded, words))
