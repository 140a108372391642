"""Does a text hold JSON that fits a schema, and where; with the repairs that change no value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from ...errors import InputError

Schema = Mapping[str, Any]

STARTS = 50  # places in a text where JSON is looked for
STRING_OR_LAST_COMMA = re.compile(r'"(?:[^"\\]|\\.)*"|,(?=\s*[}\]])', re.DOTALL)


def check_schema(schema: Schema) -> None:
    """Refuse what is no JSON schema.

    Raises:
        InputError: If it is none, or if the package that checks answers is missing.
    """
    try:
        from jsonschema import Draft202012Validator, SchemaError
    except ImportError:
        raise InputError("JSON schemas need the package jsonschema: pip install 'hf_synth[chat]'") from None
    if not isinstance(schema, Mapping):
        raise InputError(f"a JSON schema must be a mapping; got {schema!r}")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise InputError(f"`schema` is no JSON schema: {error.message}") from None


def mend(text: str, schema: Schema) -> str | None:
    """Return the part of a text that is JSON for the schema, or `None`.

    Prose and code fences around it are left out, and commas before a closing bracket; nothing else is changed.
    """
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(schema)
    clean = STRING_OR_LAST_COMMA.sub(lambda found: found[0] if found[0] != "," else "", text).strip()
    decoder = json.JSONDecoder(parse_constant=_refuse)
    for whole in dict.fromkeys((text.strip(), clean)):
        for start in _starts(whole):
            try:
                value, end = decoder.raw_decode(whole, start)
                # "1,000" and "12 monkeys" hold no number: what is no object or list must be all there is.
                if (isinstance(value, dict | list) or end == len(whole)) and validator.is_valid(value):
                    return whole[start:end]
            except (ValueError, RecursionError):
                continue
    return None


def in_words(schema: Schema, messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return messages that say in words that the answer must fit a schema, for servers that have no schemas."""
    said = f"Answer with JSON alone, which fits this schema: {json.dumps(schema, ensure_ascii=False)}\n\n"
    return [{**message, "content": said + message["content"]} for message in messages]


def closed(schema: Schema) -> bool:
    """Tell whether a schema names all columns and wants them all, which OpenAI's strict mode asks."""
    names = schema.get("properties", {})
    return schema.get("additionalProperties") is False and set(schema.get("required", ())) == set(names)


def _starts(text: str) -> Iterator[int]:
    """Yield where JSON may begin: the whole text, then brackets that stand inside no other open one.

    What stands inside a bracket that is never closed is a piece of an answer that broke off.
    """
    yield 0
    for match in islice(re.finditer(r"[{\[]", text), STARTS):
        before = text[: match.start()]
        if before and before.count("{") == before.count("}") and before.count("[") == before.count("]"):
            yield match.start()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
