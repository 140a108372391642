"""`hf-synth reproduce`: redo chunks of a data set and compare."""

from __future__ import annotations

from pydantic import Field

from ..config import strict
from .generate import console
from .options import parse


@strict
class ReproduceConfig:
    """What is redone.

    Attributes:
        dataset: A data set folder that `generate` wrote, or its Hub id; its journal is not needed.
        chunks: How many chunks, drawn at random.
        seed: Decides which.
        model: Where the generator's weights are, if its recorded name does not lead there: a folder or Hub id.
    """

    dataset: str
    chunks: int = Field(2, ge=1)
    seed: int = Field(0, ge=0)
    model: str | None = None


def main(argv: list[str]) -> int:
    """Run the verb; the data set may stand without its flag.

    Returns:
        0 where all chunks match, else 1.
    """
    config = parse(argv, "hf-synth reproduce", ReproduceConfig, bare="dataset")[ReproduceConfig]
    from ..reproduce import MATCH, find, open_writer, read_facts, reproduce

    folder = find(config.dataset)
    facts = read_facts(folder)
    writer = open_writer(facts, config.model)
    verdicts = []
    for outcome in reproduce(folder, facts, writer, config.chunks, config.seed):
        verdicts.append(outcome.verdict)
        console.print(f"chunk {outcome.key[:12]} ({outcome.stage}): {outcome.verdict}: {outcome.reason}", markup=False)
    return 0 if all(verdict == MATCH for verdict in verdicts) else 1
