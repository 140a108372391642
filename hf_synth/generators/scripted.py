"""`ScriptedGenerator`: texts from a function, for tests, examples and dry runs."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from types import CodeType
from typing import Any

from ..records import Completion, Prompt


class ScriptedGenerator:
    """A real backend whose texts come from a function.

    Args:
        script: Called with the prompt and a random stream of that row's own, returns the text.
        name: Name for provenance. Name and code decide the digest; change the name when what the code reads changes.
        scores: Called with prompt and text for `score`.

    Example:
        >>> generator = ScriptedGenerator(lambda prompt, rng: f"text {rng.randrange(10**9)} for {prompt.cell}")
    """

    def __init__(
        self,
        script: Callable[[Prompt, random.Random], str],
        *,
        name: str = "scripted",
        scores: Callable[[str, str], float] = lambda prompt, text: -float(len(text)),
    ):
        self.script, self.name, self.scores = script, name, scores
        code = getattr(script, "__code__", None)
        self.digest = f"scripted:{name}" + (f":{sha256(_written(code)).hexdigest()[:16]}" if code else "")
        self.source: Mapping[str, Any] = {"name": name, "origin": "scripted"}

    def complete(self, prompts: Sequence[Prompt], *, seed: int, batch_size: int, **decoding: Any) -> list[Completion]:
        """Return the script's text for each prompt, cut at the first stop string."""
        rng = random.Random()
        stop = decoding.get("stop", ())
        completions = []
        for place, prompt in enumerate(prompts):
            rng.seed(seed ^ (place * 0x9E3779B97F4A7C15))
            text = self.script(prompt, rng)
            for end in stop:
                text = text.partition(end)[0]
            completions.append(Completion(text, None, text.count(" ") + 1))
        return completions

    def score(self, prompts: Sequence[str], texts: Sequence[str], *, batch_size: int) -> list[float]:
        """Return the scripted score of each text after its prompt."""
        return [self.scores(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]


def _written(code: CodeType) -> bytes:
    """Return what a function's code says, the same in every process."""
    return b"\0".join([code.co_code, repr(code.co_names).encode(), *map(_constant, code.co_consts)])


def _constant(value: Any) -> bytes:
    if isinstance(value, frozenset):  # of `x in {"a", "b"}`: its order is another in every process
        value = sorted(map(repr, value))
    return _written(value) if isinstance(value, CodeType) else repr(value).encode()
