"""`hf-synth run`: generate, train and judge, in one go."""

from __future__ import annotations

import os

from ..backends import open_generator
from ..errors import InputError
from ..home import locked, refuse_held
from ..leaving import sources_of
from ..models import known_as
from ..settings import BUILT, BackendConfig, OutputConfig, StudentConfig, SynthConfig
from .evaluate import judge, reference_or_reason, refuse_leak, say_not_evaluated
from .generate import console, generate, plan_and_folder
from .inspect import inspect_run
from .options import parse
from .sharing import check_sharing, share
from .train import masks_of, real_learnt, train


def main(argv: list[str]) -> int:
    """Run the verb."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("`run` is one process; launch `hf_synth.commands.generate` and `hf_synth.commands.train`")
    found = parse(argv, "hf-synth run", SynthConfig, BackendConfig, StudentConfig, OutputConfig)
    from ..train import check_training

    plan, folder = plan_and_folder(found)
    output, student = found[OutputConfig], found[StudentConfig]
    check_sharing(
        output, plan, [f"a model that has learnt from {what}" for what in real_learnt(student, output.private)]
    )
    reference = reference_or_reason(plan, output)  # first: a reference that cannot be loaded must not cost an hour
    # No presidio, or a tracker elsewhere, must not either.
    masks = masks_of(found[SynthConfig], student, output.private)
    refuse_leak(check_training(student, plan.task).real_facts(), reference)
    for source in sources_of(plan):
        refuse_leak({"name": known_as(source.path), "split": source.split}, reference, "corpus")
    refuse_held(folder)
    generator = open_generator(plan, private=output.private)
    if learnt := generator.source.get("adapter"):
        refuse_leak(learnt["shots"], reference, "adapter")
    with locked(folder):
        generate(plan, generator, folder, output)
        train(plan, student, folder, masks, private=output.private)
        judge(plan, output, folder, reference, generator)
        if output.inspect:
            # The weights that the student starts from are at hand; what is built anew has none.
            base = student.student
            encoder = "none" if base in BUILT else base
            inspect_run(plan.task, folder / "dataset", reference, output.reference, encoder, plan.config.seed)
    console.print(f"data set: {folder / 'dataset'}   model: {folder / 'model'}   report: {folder / 'report.json'}")
    if isinstance(reference, str):
        say_not_evaluated(reference, plan, folder)
    if output.hub_id:
        share(folder / "dataset", output.hub_id, output, console)
        share(folder / "model", f"{output.hub_id}-model", output, console, "model")
    return 0
