"""From a completion to an example, or to the reason why not."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .characters import begins, length
from .records import Completion, Example, Prompt
from .task import Task

FULL_STOP = re.compile(r"\.(?!\w)|[。।۔]")  # in other scripts too; that of `3.5` and `example.com` ends nothing


def until_stop(completion: Completion, ending: str = "", start: str = "") -> str | None:
    """Cut a completion to a whole text (ZeroGen, https://huggingface.co/papers/2202.07922).

    A completion that reached its stop string is whole. One that ran into the token limit is cut at its first newline,
    else after its last full stop; where the task asks for an `ending` (a question mark) it is refused instead.

    Args:
        completion: What came.
        ending: Put back behind a text that stopped.
        start: What of the text stood in the prompt already; put back in front, where it was not repeated.

    Returns:
        The text with white space collapsed, or `None` if nothing whole is in it.
    """
    if not completion.text.strip():
        return None
    text = completion.text
    if start and not begins(text.lstrip(), start):
        text = start + text
    if completion.finish != "stop":
        if ending:
            return None
        head, newline, _ = text.strip().partition("\n")
        text = head if newline else text[: max((stop.end() for stop in FULL_STOP.finditer(text)), default=0)]
    text = " ".join(text.split())
    return text + ending if text else None


def labelled(task: Task, encode: Callable[[Any], Any] | None = None) -> Callable[[Prompt, Completion], Example | str]:
    """Return a parser for texts whose label is the prompt's cell.

    Reasons: `unfinished` (no whole text), `other start` (an endpoint began anew, with other words), `short` (fewer
    words than asked), `echo` (repeats its opening, or an example that the task's prompts quote).

    Args:
        task: Names the columns, the ending and the shortest text.
        encode: Makes the target of the prompt's cell; by default it must be a label.
    """
    column, ending, encode = task.generated, task.ending, encode or task.encode
    templates = [*task.prompt.values()] if isinstance(task.prompt, Mapping) else [task.prompt]
    examples = {_bare(part) for text in (*templates, task.empty or "") for part in text.split('"')}

    def parse(prompt: Prompt, completion: Completion) -> Example | str:
        start = prompt.attributes.get("start word", "")
        if start and completion.text[:1].isupper() and not begins(completion.text, start):
            return "other start"
        text = until_stop(completion, ending, start)
        if text is None:
            return "unfinished"
        if length(text) < task.min_words:
            return "short"
        if text == prompt.attributes.get("opening") or _bare(text) in examples:
            return "echo"
        fields = {**prompt.given, column: text}
        return Example(fields, encode(prompt.cell), prompt.cell, prompt, completion.logprob)

    return parse


def _bare(text: str) -> str:
    """Return a text in lower case without the marks around it, in which copies differ."""
    return text.casefold().strip(".,!?;: \n")


def unlabelled(min_words: int = 1) -> Callable[[Prompt, Completion], Example | str]:
    """Return a parser for texts without a label, such as openings; the text stands in the field `text`."""

    def parse(prompt: Prompt, completion: Completion) -> Example | str:
        text = until_stop(completion)
        if text is None:
            return "unfinished"
        if length(text) < min_words:
            return "short"
        return Example({"text": text}, None, None, prompt, completion.logprob)

    return parse
