"""Write the prompts of the generation benchmark: ZeroGen's movie prompts around generated titles, and examples.

Prints openings (movie titles) and labelled examples, made by the package from the benchmark's own model.
"""

from itertools import islice

import torch
from spec import read, report

from hf_synth.filters.surface import Unique
from hf_synth.generators.local import LocalGenerator
from hf_synth.models import resolve
from hf_synth.parse import labelled, unlabelled
from hf_synth.prompts import label_prompts, opening_prompts
from hf_synth.run import Run
from hf_synth.tasks import load_task


def main() -> None:
    spec = read()
    task, source = load_task(spec["task"]), resolve(spec["model"])
    dtype = getattr(torch, spec["dtype"])
    generator = LocalGenerator(source.path, name=source.name, digest=source.sha256, dtype=dtype)
    run, decoding = Run(task, generator), {"top_p": spec["top_p"], "stop": (spec["stop"],)}
    titles = run.complete(
        islice(opening_prompts(task), 20 * spec["openings"]),
        unlabelled(task.opening.min_words),
        Unique(),
        stage="openings",
        max_new_tokens=task.opening.max_new_tokens,
        **decoding,
    )
    openings = [title.fields["text"] for title in islice(titles, spec["openings"])]
    examples = []
    for label in task.cells:
        prompts = label_prompts(task, label, openings, run.rng(label))
        stage = f"examples:{label}"
        rows = run.complete(
            prompts, labelled(task), Unique(), stage=stage, max_new_tokens=spec["max_new_tokens"], **decoding
        )
        examples.append([row.prompt.text + row.fields[task.generated] for row in islice(rows, spec["examples"])])
    report({}, ("torch", "transformers"), openings=openings, examples=examples)


if __name__ == "__main__":
    main()
