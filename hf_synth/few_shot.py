"""Learning from a few real rows on the way: a method's generator is tuned once, and asked from then on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .adapters.folder import open_adapter
from .deidentify import deidentified
from .errors import InputError
from .filters.copies import Copies, fingerprints
from .generators.base import Tunable
from .real import load_real_rows, rows_source
from .run import Run
from .settings import ShotsConfig
from .shots import Shot, shots_of, tuned
from .task import Corpus, Task

if TYPE_CHECKING:
    from datasets import Dataset

Train = Callable[..., dict[str, Any]]


def check_shots(task: Task, config: ShotsConfig) -> None:
    """Refuse tasks that a generator is not tuned for, and settings without rows.

    Raises:
        InputError: If it is so.
    """
    tuned(task)
    if not config.shots:
        raise InputError("`shots` names the real rows to learn from: a file, folder or Hub id")


def sources_of(task: Task, config: ShotsConfig) -> list[Corpus]:
    """Return the rows learnt from, as the card names them."""
    return rows_source(task, config.shots)


def shots_first(given: Mapping[str, Any], epochs: float) -> dict[str, Any]:
    """Return settings under which a student is trained on the shots that a user named before it sees other rows."""
    if not given.get("shots"):
        return {}
    keys = {"real_rows": "shots", "real_per_class": "shots_per_class", "real_seed": "shots_seed"}
    found = {theirs: given.get(ours, getattr(ShotsConfig, ours)) for theirs, ours in keys.items()}
    return {**found, "real_first": epochs}


def few_shots(run: Run, task: Task, config: ShotsConfig) -> list[Shot]:
    """Load real rows and return them as shots of a task that `tuned` gave, masked where the run has masks."""
    assert config.shots is not None
    return shown(
        run, task, load_real_rows(task, config.shots, config.shots_per_class, config.shots_seed, "shots").data
    )


def shown(run: Run, task: Task, rows: Dataset) -> list[Shot]:
    """Return real rows as shots of a task that `tuned` gave, masked where the run has masks."""
    if run.masks:
        rows, told = deidentified(task, rows, run.masks)
        run.note("de-identification", told)
    return shots_of(task, rows, run.seed)


def copies_of(run: Run, shots: Sequence[Shot]) -> Copies:
    """Return what drops copies of shots, by which rejects also know what they must not show."""
    found = Copies(fingerprints(shot.text for shot in shots), run.task.generated)
    run.copies.append(found)
    return found


def learn(run: Run, name: str, shots: Sequence[Shot], config: Any, train: Train) -> Any:
    """Train something beside the run's generator, unless that was done before, and ask both together from here on.

    Args:
        run: Records what was trained.
        name: What it is.
        shots: What to learn from.
        config: Settings of the training.
        train: Called with the generator, the shots, the settings, an empty folder and the seed.

    Returns:
        The model's tokenizer.

    Raises:
        InputError: For a generator that cannot be tuned.
    """
    generator = run.generator
    if not isinstance(generator, Tunable):
        raise InputError(
            f"a generator that learns from rows runs in this process: `backend: local`; got {generator.name}"
        )
    given = [[shot.label, shot.prompt.text, shot.answer] for shot in shots]
    inputs = {"shots": given, "settings": asdict(config), "weights": generator.digest, "seed": run.seed}

    def compute(folder: Path) -> None:
        train(generator, shots, config, folder, run.seed)

    folder = run.once_folder(name, inputs, compute)
    run.ask(generator.adapted(open_adapter(str(folder), generator.digest)))
    return generator.tokenizer
