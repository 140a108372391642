"""`hf-synth impute`: complete a table with missing cells."""

from __future__ import annotations

from pathlib import Path

from ..home import locked
from ..tables.settings import ImputeConfig, ImputerConfig
from .generate import console
from .options import parse
from .sharing import check_given, hand_over


def main(argv: list[str]) -> int:
    """Run the verb; the table may stand without its flag."""
    found = parse(argv, "hf-synth impute", ImputeConfig, ImputerConfig, bare="table")
    task, config = found[ImputeConfig], found[ImputerConfig]
    from ..tables.produce import Request, produce_table, sentences

    check_given(task.table, task.hub_id, task.private)
    folder = Path(task.output_dir or f"outputs/{Path(task.table).stem}-impute")
    request = Request.of(task, config)
    with locked(folder):
        facts = produce_table(request, folder)
    hand_over(folder / "dataset", sentences(facts), task.hub_id, console)
    return 0
