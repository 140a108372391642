"""hf_synth's `ChatGenerator` through `Run`, with the journal on; a JSON schema where JSON is wanted.

Where JSON is wanted the run tops up: it asks on, in chunks as small as the concurrency, until all rows are there.
"""

import itertools
import json
import time
from pathlib import Path

from spec import read, report

from hf_synth.generators.chat import ChatGenerator
from hf_synth.journal import Journal
from hf_synth.records import Completion, Example, Prompt
from hf_synth.run import Run
from hf_synth.tasks import parse_task

TASK = {"labels": ["positive", "negative"], "prompt": "A {label} review.", "name": "benchmark"}
SCHEMA = {"type": "object", "properties": {"review": {"type": "string"}}, "required": ["review"]}


def main() -> None:
    spec = read()
    generator = ChatGenerator("stub", base_url=spec["url"], api_key="none", concurrency=spec["concurrency"])
    chunk_size = spec["concurrency"] if spec["json"] else 256
    prompts = [Prompt(text, "positive") for text in spec["prompts"]]
    decoding = {"max_new_tokens": 60, "temperature": 1.0, **({"schema": SCHEMA} if spec["json"] else {})}

    def parse(prompt: Prompt, completion: Completion) -> Example | str:
        if completion.finish != "stop":
            return completion.finish
        text = json.loads(completion.text)["review"] if spec["json"] else completion.text
        return Example({"text": text}, prompt.cell, prompt.cell, prompt)

    start = time.perf_counter()
    journal = Journal(Path(spec["folder"]) / "journal")
    run = Run(parse_task(TASK, "benchmark"), generator, seed=spec["seed"], journal=journal, chunk_size=chunk_size)
    if spec["json"]:
        rows = run.fill({"positive": len(prompts)}, lambda cell: itertools.cycle(prompts), parse, **decoding)
    else:
        rows = run.complete(prompts, parse, **decoding)
    texts = [row.fields["text"] for row in rows]
    seconds = time.perf_counter() - start
    settings = {"concurrency": spec["concurrency"], "chunk_size": chunk_size, "journal": True}
    report(settings, ("huggingface_hub",), seconds=seconds, accepted=texts)


if __name__ == "__main__":
    main()
