"""Texts that say where their entities are, as mark-up or as JSON: read whole, or refused with a reason."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from .bio import Span, places, tokens_of
from .characters import storable

Found = tuple[list[str], list[Span]]
_MARK = re.compile(r"<(/?)([^<>/]+)>")


def from_markup(text: str, labels: Collection[str]) -> Found | str:
    """Return tokens and spans of a text such as `has <Disease>gout</Disease>`.

    Returns:
        Both, or the reason why not: `unknown label`, `nested`, `unclosed`, `empty span`.
    """
    tokens: list[str] = []
    spans: list[Span] = []
    opened: tuple[str, int] | None = None
    at = 0
    for mark in _MARK.finditer(text):
        tokens += tokens_of(text[at : mark.start()])
        at, closes, label = mark.end(), bool(mark[1]), mark[2].strip()
        if label not in labels:
            return "unknown label"
        if not closes:
            if opened:
                return "nested"
            opened = (label, len(tokens))
            continue
        if opened is None or opened[0] != label:
            return "unclosed"
        if opened[1] == len(tokens):
            return "empty span"
        spans.append((opened[1], len(tokens), label))
        opened = None
    rest = text[at:]
    if opened or "<" in rest:
        return "unclosed"
    return tokens + tokens_of(rest), spans


def from_json(text: str, labels: Collection[str]) -> Found | str:
    """Return tokens and spans of {"text": "...", "entities": [{"text": "...", "type": "..."}]}.

    A name is tagged wherever it occurs, longer names first.

    Returns:
        Both, or the reason why not: `no json`, `other keys`, `unknown label`, `not in text`, `two labels`.
    """
    start = text.find("{")
    try:
        found, _ = json.JSONDecoder().raw_decode(text[max(start, 0) :])
    except ValueError:
        return "no json"
    if not _fits(found):
        return "other keys"
    tokens = tokens_of(storable(found["text"]))
    busy: dict[int, str] = {}
    spans: list[Span] = []
    named = {(storable(one["text"]), one["type"]) for one in found["entities"]}
    for name, label in sorted(named, key=lambda e: -len(e[0])):
        if label not in labels:
            return "unknown label"
        words = tokens_of(name)
        length, there = len(words), places(tokens, words)
        if not there:
            return "not in text"
        for place in there:
            covered = {busy.get(at) for at in range(place, place + length)}
            if covered == {None}:
                spans.append((place, place + length, label))
                busy |= dict.fromkeys(range(place, place + length), label)
            elif (place, place + length) in {(a, b) for a, b, _ in spans}:
                return "two labels"
    return tokens, sorted(spans)


def _fits(found: Any) -> bool:
    """Tell whether a value has the schema."""
    return (
        isinstance(found, dict)
        and isinstance(found.get("text"), str)
        and isinstance(found.get("entities"), list)
        and all(
            isinstance(one, dict) and isinstance(one.get("text"), str) and isinstance(one.get("type"), str)
            for one in found["entities"]
        )
    )
