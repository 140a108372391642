"""Instructions that the generator writes itself: the baseline MetaPrompt."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .attributes import INSTRUCTION, Values, lead
from .errors import InputError
from .parse import until_stop
from .records import Completion, Example, Prompt
from .run import Run
from .task import Task

WRITE = """You want a writer to write varied and realistic texts of this kind: {line}
Give the writer a better and more detailed instruction, in one or two sentences that name {label}.
"Write"""


def instructions(run: Run, count: int, sampling: Mapping[str, Any]) -> Values:
    """Return instructions that the generator writes itself for each label, under `instruction`; they are noted.

    The baseline MetaPrompt of AttrPrompt, after https://huggingface.co/papers/2102.07350. What does not name the class
    is dropped (`off class`), and what holds a text to copy (`example`), is `short` or `long`.

    Args:
        run: Has the task.
        count: Instructions of a label at most; four times as many are asked.
        sampling: Decoding.

    Raises:
        InputError: If a label has none.
    """
    task = run.task
    prompts = [
        # Without a cell, as it asks for no row.
        Prompt(WRITE.format(line=" ".join(lead(task, label)).strip(' ":'), label=words), attributes={"label": label})
        for _ in range(4 * count)
        for label, words in task.labels.items()
    ]
    found: dict[str, list[str]] = {label: [] for label in task.labels}
    limits = {"max_new_tokens": 80, "stop": ('"', "\n"), "chat": True}
    for written in run.complete(
        prompts, _instruction(task), stage="instructions", required=False, **limits, **sampling
    ):
        own, text = found[written.prompt.attributes["label"]], written.fields["text"]
        if len(own) < count and text not in own:
            own.append(text)
    for label, own in found.items():
        if not own:
            raise InputError(f"{run.generator.name} wrote no usable instruction for the label {label!r}")
    run.note("instructions", found)
    return {INSTRUCTION: {label: tuple(own) for label, own in found.items()}}


def _instruction(task: Task) -> Callable[[Prompt, Completion], Example | str]:
    def parse(prompt: Prompt, completion: Completion) -> Example | str:
        text = until_stop(completion)
        if text is None:
            return "unfinished"
        text = text if text.startswith("Write") else f"Write {text}"
        words = len(text.split())
        if not 5 <= words <= 60:
            return "short" if words < 5 else "long"
        if re.search(r"for example|e\.g\.|[“”:]", text, re.IGNORECASE):
            return "example"
        label = prompt.attributes["label"]
        if not any(name.casefold() in text.casefold() for name in (label, task.labels[label])):
            return "off class"
        return Example({"text": text}, None, None, prompt)

    return parse
