"""From an endpoint's reply to a `Completion`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...characters import UNSPACED, begins, storable
from ...records import Completion, Prompt
from .schema import Schema, mend

NO_CHOICES, NO_TEXT, UNREADABLE = "error: no choices", "error: no text", "error: unreadable answer"
UNUSABLE = (NO_CHOICES, NO_TEXT, UNREADABLE)  # worth asking again with another seed
CUT_SHORT = ("length", "max_tokens", "MAX_TOKENS", "model_length")
A_FORTUNE = 1e6  # US dollars: what is said to cost more is no sum of money; a JSON number may be larger than any float
QUOTES = {'"': '"', "“": "”"}


@dataclass(frozen=True)
class Settings:
    """What all requests of a chunk have in common.

    Attributes:
        fields: Arguments of `chat_completion`.
        stop: Strings that end a text.
        chat: The text after a prompt's last newline opens the answer.
        schema: JSON schema that answers must fit.
    """

    fields: Mapping[str, Any]
    stop: tuple[str, ...] = ()
    chat: bool = False
    schema: Schema | None = None

    def opening(self, prompt: Prompt) -> str:
        """Return the text with which a local model's answer would begin."""
        return prompt.text.rpartition("\n")[2] if self.chat and "\n" in prompt.text else ""

    def sent_stop(self, prompt: Prompt) -> list[str] | None:
        """Return the stop strings that the server is told, four at most.

        An endpoint answers and does not continue: to a prompt that ends in an open quote it may well reply with a
        quote first. A stop string of the opening would end such a reply at once, so it is left to `completion`.
        """
        begun = self.opening(prompt) or prompt.text.rstrip()[-1:]
        return [stop for stop in self.stop if stop not in begun][:4] or None


def completion(output: Any, prompt: Prompt, settings: Settings) -> Completion:
    """Read a reply as permissively as it was parsed: any field may be missing or of another type."""
    usage = getattr(output, "usage", None)
    tokens, asked = _count(usage, "completion_tokens"), _count(usage, "prompt_tokens")
    answer = partial(Completion, tokens=tokens, cost=cost(usage), prompt_tokens=asked)
    choices = getattr(output, "choices", None)
    if not isinstance(choices, list) or not choices:
        return answer("", finish=NO_CHOICES)
    finish = getattr(choices[0], "finish_reason", None)
    if finish == "content_filter":
        return answer("", finish="error: content filter")
    message = getattr(choices[0], "message", None)
    text = _text(getattr(message, "content", None))
    if text is None:
        return answer("", finish="error: refusal" if getattr(message, "refusal", None) else NO_TEXT)
    if settings.schema is not None:
        mended = mend(text, settings.schema)
        return answer(text, finish="malformed") if mended is None else answer(mended)
    text, stop = bare(text, prompt, settings)
    text, stopped = cut(text, stop)
    return answer(text, finish="length" if finish in CUT_SHORT and not stopped else "stop")


def bare(text: str, prompt: Prompt, settings: Settings) -> tuple[str, tuple[str, ...]]:
    """Return a reply without what the prompt opened, and the stop strings that still mean its end.

    A prompt that ends in `Review: "` asks for the text inside the quotes, and a stop string `"` for the end of that.
    An endpoint may repeat the opening, quote its reply, or do neither; then quotes that come in pairs are part of it.
    Where a prompt ends with its text's first words, a reply that goes on from them gets the space between.
    """
    if start := prompt.attributes.get("start word", ""):
        reply = text.strip().removeprefix(settings.opening(prompt).strip().removesuffix(start)).lstrip('"')
        goes_on = reply[:1].isalnum() and not reply[:1].isupper() and not re.match(f"[{UNSPACED}]", reply)
        return f" {reply}" if goes_on and not begins(reply, start) else reply, settings.stop
    opening, reply = settings.opening(prompt).strip(), text.strip()
    quoted = prompt.text.rstrip()[-1:] in QUOTES
    begun = opening if opening and reply.startswith(opening) else reply[:1] if quoted and reply[:1] in QUOTES else ""
    if begun:
        text = reply[len(begun) :].removesuffix(QUOTES.get(begun[-1], ""))
    if quoted and text.count('"') % 2 == 0:
        return text, tuple(stop for stop in settings.stop if stop != '"')
    return text, settings.stop


def cut(text: str, stop: tuple[str, ...]) -> tuple[str, bool]:
    """Return a text up to its first stop string, which a server may ignore or leave in, and whether it has one."""
    at = min((place for place in map(text.find, stop) if place >= 0), default=-1)
    return (text, False) if at < 0 else (text[:at], True)


def cost(usage: Any) -> float | None:
    """Return US dollars as the provider reports them: `usage.cost` (OpenRouter) or `usage.estimated_cost` (DeepInfra).

    Where it says nothing, or nothing that is a sum of money, the cost is not known; it is never computed from tokens.
    """
    for name in ("cost", "estimated_cost"):
        said = getattr(usage, name, None)
        if isinstance(said, Mapping):  # Perplexity
            said = said.get("total_cost")
        if isinstance(said, int | float) and not isinstance(said, bool) and 0 <= said < A_FORTUNE:
            return float(said)
    return None


def _text(content: Any) -> str | None:
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        content = "".join(part for part in parts if isinstance(part, str)) if parts else None
    return storable(content) if isinstance(content, str) else None


def _count(usage: Any, name: str) -> int | None:
    said = getattr(usage, name, None)
    return said if isinstance(said, int) and not isinstance(said, bool) and 0 <= said < 2**31 else None
