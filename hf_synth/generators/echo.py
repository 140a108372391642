"""`EchoGenerator`: says what it is asked: texts that need no language model pass through a run too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..records import Completion, Prompt


class EchoGenerator:
    """Answers each prompt with its own text.

    Args:
        name: What made the texts, for provenance.
    """

    def __init__(self, name: str):
        self.name, self.digest = name, f"echo:{name}"
        self.source: Mapping[str, Any] = {"name": name, "origin": "rules"}

    def complete(self, prompts: Sequence[Prompt], *, seed: int, batch_size: int, **decoding: Any) -> list[Completion]:
        """Return the prompts' texts; nothing is drawn."""
        return [Completion(prompt.text, None, 0) for prompt in prompts]
