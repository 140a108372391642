"""hf_synth's `LocalGenerator` through `Run`, with the journal on; launched with several ranks, they share the chunks.

Reports the seconds spent inside the model's forward passes beside the seconds in all.
"""

import os
import tempfile
import time
from pathlib import Path

import torch
from spec import read, report

from hf_synth.generators.local import LocalGenerator
from hf_synth.generators.local.rows import RowForward
from hf_synth.journal import Journal
from hf_synth.models import resolve
from hf_synth.parse import labelled
from hf_synth.ranks import Ranks, launched
from hf_synth.records import Prompt
from hf_synth.run import Run
from hf_synth.tasks import load_task

inside = 0.0


def timed(run):
    """Count the seconds of the one method through which the engine calls the model."""

    def wrapper(*arguments, **settings):
        global inside
        start = time.perf_counter()
        try:
            return run(*arguments, **settings)
        finally:
            inside += time.perf_counter() - start

    return wrapper


def all_here(ranks: Ranks) -> None:
    """Wait until every rank is here."""
    if ranks.world > 1:
        ranks.store.add("here", 1)
        while ranks.store.add("here", 0) < ranks.world:
            time.sleep(0.01)


def generate(spec: dict, ranks: Ranks, folder: Path) -> None:
    global inside
    task, source, settings = load_task(spec["task"]), resolve(spec["model"]), spec["settings"]
    dtype = getattr(torch, spec["dtype"])
    generator = LocalGenerator(source.path, name=source.name, digest=source.sha256, dtype=dtype)
    decoding = {"temperature": 1.0, "top_k": 0, "top_p": spec["top_p"], "stop": (spec["stop"],)}
    prompts = [Prompt(text, cell) for text, cell in zip(spec["prompts"], spec["cells"], strict=True)]
    generator.complete(prompts[:8], seed=0, batch_size=8, max_new_tokens=8, **decoding)
    RowForward._run = timed(RowForward._run)
    answers, keep = [], labelled(task)

    def parse(prompt, completion):
        answers.append(completion)
        return keep(prompt, completion)

    sizes = {name: settings[name] for name in ("batch_size", "chunk_size")}
    run = Run(task, generator, seed=spec["seed"], journal=Journal(folder), ranks=ranks, **sizes)
    all_here(ranks)
    start = time.perf_counter()
    for _ in run.complete(prompts, parse, max_new_tokens=spec["max_new_tokens"], **decoding):
        pass
    seconds = time.perf_counter() - start
    if ranks.rank:
        return
    report(
        {**settings, "journal": True, "device": generator.source["device"]},
        ("torch", "transformers"),
        seconds=seconds,
        model_seconds=inside,
        texts=[answer.text for answer in answers],
        ended=[answer.finish == "stop" for answer in answers],
    )


def main() -> None:
    with launched() as ranks, tempfile.TemporaryDirectory() as own:
        folder = Path(os.environ.get("SHARED_JOURNAL", own))
        generate(read(), ranks, folder)


if __name__ == "__main__":
    main()
