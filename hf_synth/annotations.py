"""Texts that say where their entities are, as mark-up or as JSON: read whole, or refused with a reason."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from .bio import Span, named, tokens_of
from .characters import storable

Found = tuple[list[str], list[Span]]
_MARK = re.compile(r"<(/?)([^<>/]+)>")
_HALF = re.compile(r"<\s*/?\s*[^\W\d_]")  # what begins like a mark; `p < 0.05` does not


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
        closes, label = bool(mark[1]), mark[2].strip()
        if label not in labels and not _HALF.match(mark[0]):
            continue  # `n < 5 and > 2`
        if _HALF.search(piece := text[at : mark.start()]):
            return "unclosed"
        if label not in labels:
            return "unknown label"
        tokens += tokens_of(piece)
        at = mark.end()
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
    if opened or _HALF.search(rest):
        return "unclosed"
    return tokens + tokens_of(rest), spans


def from_json(text: str, labels: Collection[str]) -> Found | str:
    """Return tokens and spans of {"text": "...", "entities": [{"text": "...", "type": "..."}]}.

    Returns:
        Both, or why not: `no json`, `other keys`, `unknown label`, `not in text`, those of `spans_of_names`.
    """
    start = text.find("{")
    try:
        found, _ = json.JSONDecoder().raw_decode(text[max(start, 0) :])
    except (ValueError, RecursionError):  # the latter of ten thousand brackets
        return "no json"
    if not _fits(found):
        return "other keys"
    tokens = tokens_of(storable(found["text"]))
    names = [(storable(one["text"]), one["type"]) for one in found["entities"]]
    if any(label not in labels for _, label in names):
        return "unknown label"
    if not all(named(tokens, tokens_of(name)) for name, _ in names):
        return "not in text"
    spans = spans_of_names(tokens, names)
    return spans if isinstance(spans, str) else (tokens, spans)


def schema_of(labels: Iterable[str]) -> dict[str, Any]:
    """Return the JSON schema of what `from_json` reads; all is named and wanted, as OpenAI's strict mode asks."""
    text = {"type": "string"}
    entity = _closed({"text": text, "type": {"type": "string", "enum": [*labels]}})
    return _closed({"text": text, "entities": {"type": "array", "items": entity}})


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    names = [*properties]
    return {"type": "object", "properties": {**properties}, "required": names, "additionalProperties": False}


def spans_of_names(tokens: Sequence[str], names: Iterable[tuple[str, str]]) -> list[Span] | str:
    """Return where names stand in tokens, each wherever it occurs, with their labels; longer names first.

    Returns:
        Spans in order, or the reason why not: `entity missing`, `two labels` (of the same words), `entities overlap`
        (a name stands within longer ones alone, or crosses one).
    """
    found: dict[tuple[int, int], str] = {}
    for name, label in sorted(names, key=lambda one: (-len(one[0]), *one)):
        words, own = tokens_of(name), False
        there = named(tokens, words)
        if not there:
            return "entity missing"
        for at in there:
            place = at, at + len(words)
            over = [one for one in found if one[0] < place[1] and one[1] > place[0]]
            if over in ([], [place]):
                own = True
                if found.setdefault(place, label) != label:
                    return "two labels"
            elif any(place[0] < first or place[1] > last for first, last in over):
                return "entities overlap"
        if not own:
            return "entities overlap"
    return sorted((*place, label) for place, label in found.items())


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
