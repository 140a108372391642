"""`hf-synth generate`: write a labelled data set."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field
from rich.console import Console

from ..audit.learnt import write_local
from ..backends import open_generator
from ..config import strict
from ..folder import write_folder
from ..generators.base import Generator
from ..home import ALONE, check_folder, locked, refuse_held
from ..leaving import reads_real
from ..marks import kept_here
from ..produce import HERE, Plan, examples, produce
from ..progress import Watch
from ..ranks import Ranks, launched
from ..run import Run
from ..settings import BackendConfig, OutputConfig, SynthConfig
from .options import parse
from .sharing import check_sharing, share
from .unfinished import push_parts

console = Console(highlight=False, soft_wrap=True)


@strict
class PreviewConfig:
    """Looking before writing.

    Attributes:
        preview: Print this many rows with their prompts and stop; nothing is written.
    """

    preview: int = Field(0, ge=0)


def output_folder(output: OutputConfig, plan: Plan) -> Path:
    """Return the output folder: the given one, else one named by task and method."""
    return Path(output.output_dir or f"outputs/{plan.task.name}-{plan.method.name}")


def plan_of(found: Mapping[Any, Any]) -> Plan:
    """Return a verb's checked plan; where `deidentify` is left out, it is on if `private` is and real text is read.

    Real rows that the student alone reads are masked as it learns them (`masks_of`): what is generated depends on
    nothing of the student's, and `personal` is then for those alone.

    Raises:
        InputError: If settings do not go together.
    """
    config, rest = found[SynthConfig], (found["method"], found.get(BackendConfig, HERE))
    if config.deidentify is None and found[OutputConfig].private:
        unlisted = replace(config, personal=None)
        if reads_real(Plan.of(unlisted, *rest)):
            config = replace(config, deidentify=True)
        elif found["real_rows"]:
            config = unlisted
    return Plan.of(config, *rest)


def plan_and_folder(found: Mapping[Any, Any], *, writes: bool = True) -> tuple[Plan, Path]:
    """Check settings and, where something will be written, the output folder, before anything is loaded.

    Raises:
        InputError: If they do not go together.
    """
    plan = plan_of(found)
    folder = output_folder(found[OutputConfig], plan)
    if writes:
        check_folder(folder, plan.settings())
    return plan, folder


def preview(plan: Plan, generator: Generator, rows: int) -> None:
    """Print rows with their prompts; the settings are those of the full run, nothing is written."""
    run = Run(
        plan.task, generator, seed=plan.config.seed, num_rows=rows, chunk_size=24, batch_size=plan.config.batch_size
    )
    for example in examples(plan, run):
        console.print(f"\nprompt  {example.prompt.text}", markup=False)
        for column, text in example.fields.items():
            console.print(f"{column}  {text}", markup=False)
        console.print(f"{plan.task.label_column}  {example.target}", markup=False)
    counts = run.ledger.stage("rows")
    console.print(
        f"\n{counts.kept} shown of {counts.asked} asked; dropped: {dict(counts.dropped) or 'none'}", markup=False
    )


def generate(
    plan: Plan, generator: Generator, folder: Path, output: OutputConfig, ranks: Ranks = ALONE
) -> dict[str, Any]:
    """Generate into `folder/dataset`, whose lock is held, and return the recorded facts (on rank 0)."""
    source = generator.source
    threads = source.get("threads", 1) if source.get("device") == "cpu" and "engine" not in source else 1
    watch = Watch(console, folder, plan.config.num_rows, threads)
    few = plan.config.num_rows < len(plan.task.cells)
    if ranks.rank == 0 and few:
        console.print(f"{len(plan.task.cells)} labels, and `num_rows: {plan.config.num_rows}`: some will have no row")
    kept = {"private": behind} if (behind := kept_here(plan, output.private)) else {}

    def use(work: Path, facts: dict[str, Any]) -> dict[str, Any]:
        write_local(folder, plan.config, plan.method_config, output.reference)
        return write_folder(work, folder / "dataset", plan.task, {**facts, **kept})

    try:
        push_parts(plan, generator, folder, output, console, watch, ranks)
        return produce(plan, generator, folder, use, watch, ranks)
    finally:
        watch.close()


def main(argv: list[str]) -> int:
    """Run the verb."""
    found = parse(argv, "hf-synth generate", SynthConfig, BackendConfig, OutputConfig, PreviewConfig)
    shown = found[PreviewConfig].preview
    plan, folder = plan_and_folder(found, writes=not shown)
    output = found[OutputConfig]
    check_sharing(output, plan)
    if shown:
        preview(plan, open_generator(plan, private=output.private), shown)
        return 0
    with launched() as ranks:
        if ranks.world > plan.config.ahead and ranks.rank == 0:
            console.print(
                f"{ranks.world} processes, and `ahead: {plan.config.ahead}` chunks at a time: some will idle"
            )
        refuse_held(folder, ranks)
        generator = open_generator(plan, ranks, private=output.private)
        with locked(folder, ranks):
            facts = generate(plan, generator, folder, output, ranks)
    if ranks.rank:
        return 0
    console.print(f"{facts['rows']} rows in {folder / 'dataset'}: load_dataset({str(folder / 'dataset')!r})")
    for cell, sentence in facts["ledger"]["accounts"].items():
        console.print(f"not filled: {cell}: {sentence}", markup=False)
    if output.hub_id:
        share(folder / "dataset", output.hub_id, output, console)
    return 0


if __name__ == "__main__":
    from .main import guarded

    sys.exit(guarded("generate", sys.argv[1:]))
