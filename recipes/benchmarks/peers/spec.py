"""What every contender of the benchmarks shares: the spec file it is started with and the one line it prints.

Standard library only: each contender runs in a Python environment of its own.
"""

import json
import resource
import sys
from importlib.metadata import version
from pathlib import Path


def read() -> dict:
    """Return the spec named on the command line."""
    return json.loads(Path(sys.argv[1]).read_text())


def report(settings: dict, packages: tuple[str, ...], **found) -> None:
    """Print the result: `found` beside the settings in force, the versions of `packages`, and the peak memory."""
    versions = {name: version(name) for name in packages}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"result": {**found, "settings": settings, "versions": versions, "memory_gb": round(memory, 2)}}))


def quote_tokens(tokenizer, stop: str) -> list[int]:
    """Return the tokens that hold the stop string: as end tokens they stop a peer that knows no stop strings."""
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    return [i for i, text in enumerate(texts) if stop in text]


def end_tokens(model) -> list[int]:
    """Return the model's own end tokens."""
    ends = model.generation_config.eos_token_id
    return [ends] if isinstance(ends, int) else list(ends or [])


def accepted(spec: dict, answers) -> list[str]:
    """Return the texts of the endpoint benchmark that came through: not empty, and where JSON is asked, a review."""
    texts = []
    for answer in answers:
        if spec["json"] and isinstance(answer, str) and answer.lstrip().startswith("{"):
            try:
                answer = json.loads(answer)
            except ValueError:
                continue
        text = answer.get("review") if isinstance(answer, dict) else answer
        if isinstance(text, str) and text.strip():
            texts.append(text)
    return texts
