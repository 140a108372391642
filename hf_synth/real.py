"""Real labelled rows beside generated ones: a few of each class, marked as what they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .columns import ids_of
from .reference import RealRows, load_labelled
from .shapes import shape
from .shots import choose
from .task import Corpus, Task

if TYPE_CHECKING:
    from datasets import Dataset

SPLIT = "train"


def load_real_rows(task: Task, path: str, per_class: int | None, seed: int = 0, key: str = "real_rows") -> RealRows:
    """Load real rows to learn from: all of the split `train`, or so many of each label, the same ones for a seed.

    Args:
        task: Names columns and labels; those of the rows are mapped by name.
        path: A file, folder or Hub id.
        per_class: How many of each label; all where `None`.
        seed: Decides which.
        key: The setting, for messages.

    Raises:
        InputError: If they cannot be loaded, do not fit the task, or a label has too few.
    """
    found = load_labelled(task, path, SPLIT, key)
    if per_class is None:
        return found
    chosen = choose(task, found.data, per_class, seed, f"the split {SPLIT} of {found.name}")
    return replace(found, data=found.data.select(chosen))


def rows_source(task: Task, path: str | None) -> list[Corpus]:
    """Return the real rows that a setting names, as the card names them, where it names some."""
    return [Corpus(path, task.generated, split=SPLIT)] if path else []


def mix_in(train: Dataset, real: RealRows, task: Task, above: int) -> Dataset:
    """Return generated rows, then real ones, told apart by the column `synthetic`.

    Args:
        train: Generated rows: the task's columns and, if any, `index` and `weight`.
        real: Real rows, which weigh 1 where the others have weights.
        task: Names columns and labels.
        above: The largest `index` of the data set; those of real rows come after it.
    """
    from datasets import Features, Value, concatenate_datasets

    own = list(shape(task).features(task))
    kept = {name: train.features[name] for name in (*own, "index", "weight") if name in train.features}
    features = Features({**kept, "synthetic": Value("bool")})
    ours = train.select_columns(list(kept)).add_column("synthetic", [True] * len(train))
    count = len(real.data)
    columns: dict[str, Any] = {name: [ids_of(value, kept[name]) for value in real.data[name]] for name in own}
    columns |= {"index": list(range(above + 1, above + 1 + count)), "weight": [1.0] * count}
    columns = {name: values for name, values in columns.items() if name in kept} | {"synthetic": [False] * count}
    return concatenate_datasets([ours.cast(features), type(train).from_dict(columns, features=features)])
