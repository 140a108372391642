"""Pushing while texts are still being written."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HTTPError
from rich.console import Console

from ..folder import write_folder
from ..generators.base import Generator
from ..journal import read_json, write_whole
from ..produce import Plan, produce
from ..progress import Watch
from ..ranks import Ranks
from ..settings import OutputConfig


def push_parts(
    plan: Plan,
    generator: Generator,
    folder: Path,
    output: OutputConfig,
    console: Console,
    watch: Watch,
    ranks: Ranks,
) -> None:
    """Push the rows there are each time `push_every` more of them are there; the last push is not made here.

    Each part is the data set of a smaller run in the same journal, so it is whole by itself, and the runs after it
    ask for nothing twice and write what they would have written without it. What was pushed before a run was stopped
    is not pushed again when it goes on.
    """
    if not output.push_every:
        return
    pushed = folder / "journal" / "pushed.json"
    before = read_json(pushed) or {}  # where it is torn, what was pushed is pushed again
    for rows in range(output.push_every, plan.config.num_rows, output.push_every):
        if ranks.rank == 0 and rows <= before.get(output.hub_id, 0):  # the others find it whole in the journal
            continue
        part = dataclasses.replace(plan, config=dataclasses.replace(plan.config, num_rows=rows))

        def share(work: Path, facts: dict[str, Any]) -> bool:
            wanted = {"wanted": plan.config.num_rows, "unfinished": True}
            settings = {**facts["settings"], "num_rows": plan.config.num_rows}
            with tempfile.TemporaryDirectory(dir=folder, prefix=".dataset-part-") as scratch:
                fresh = Path(scratch) / "dataset"
                write_folder(work, fresh, plan.task, {**facts, **wanted, "settings": settings})
                return _push(fresh, facts["rows"], output, console)

        if produce(part, generator, folder, share, watch, ranks):
            write_whole(pushed, json.dumps({**before, output.hub_id: rows}))


def _push(fresh: Path, rows: int, output: OutputConfig, console: Console) -> bool:
    """Push, or say in one line why not: the push at the end is what counts."""
    from ..hub import push

    assert output.hub_id is not None
    message = f"Push {rows} rows with hf_synth, unfinished"
    try:
        address = push(fresh, output.hub_id, private=output.private, message=message)
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        console.print(f"warning: {rows} rows were not pushed, generation goes on: {reason}", markup=False)
        return False
    console.print(f"{rows} rows pushed: {address}", markup=False)
    return True
