"""How a student of each kind of task is loaded, fed and judged, one file each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from ..settings import StudentConfig
from ..task import Task

if TYPE_CHECKING:
    from datasets import Dataset

FILES = {
    "single": "label",
    "pair": "label",
    "relation": "label",
    "multi_label": "label_set",
    "tokens": "entities",
    "qa": "questions",
    "parse": "parses",
}


Settle = Callable[[Any, Any, Any], dict[str, Any]] | None
Finish = Callable[[Path, StudentConfig], None] | None


class Learner(Protocol):
    """What the module of a kind gives."""

    metric: str  # what epochs are chosen by and reports are headed with; higher is better
    beside: tuple[str, ...]  # the other scores that tables show
    auto: Any  # the class that loads a saved student
    finish: Finish  # changes a saved model as the settings ask, before it is in place
    settle: Settle  # notes in a model's config how to read it, by validation logits and labels; returns that

    def check(self, config: StudentConfig) -> None:
        """Refuse settings and students that cannot work, before anything is generated for them."""

    def load(
        self, config: StudentConfig, task: Task, names: Sequence[str], texts: Sequence[str]
    ) -> tuple[Any, Any, dict[str, Any]]:
        """Return model, in float32, tokenizer and provenance facts of an untrained student.

        Small steps are lost in half precision, in which many weights are kept.

        Args:
            config: Names the student.
            task: What it is trained for.
            names: Its classes, in the order of the rows' class ids; none where answers are no classes.
            texts: The training texts, for a vocabulary.
        """

    def columns(self, rows: Dataset, task: Task) -> list[Sequence[str]]:
        """Return the columns of texts that a student reads."""

    def encode(self, rows: Dataset, tokenizer: Any, task: Task, max_length: int) -> Dataset:
        """Return tokenised rows with `labels`, and of the other columns `index`, `weight` and `synthetic`."""

    def collator(self, tokenizer: Any) -> Any:
        """Return what makes a batch of tokenised rows."""

    def compute_metrics(self, prediction: Any) -> dict[str, float]:
        """Return scores of the validation rows, `metric` among them."""

    def run(self, model: Any, tokenizer: Any, texts: Sequence[Sequence[str]], max_length: int) -> Any:
        """Go from columns of texts to what a loaded model says of them, as it is timed."""

    def predict(
        self, folder: str | Path, rows: Dataset, task: Task, max_length: int = 128, batch_size: int = 128
    ) -> list[Any]:
        """Return what a saved student says of rows, as `RealRows.data` has it: labels by name."""

    def score(self, task: Task, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, Any]:
        """Return `rows`, `metric`, `<metric>_interval` (95 %) and the scores beside it."""


def learner(task: Task) -> Learner:
    """Return how students of a task are treated."""
    return cast(Learner, import_module(f".{FILES[task.kind]}", __name__))


def check_names(task: Task, names: Sequence[str], model_names: Mapping[int, str]) -> None:
    """Refuse a model whose classes are not the task's, naming both sides.

    Raises:
        InputError: If they differ.
    """
    from ..errors import InputError

    found = list(model_names.values())
    if set(found) != set(names):
        raise InputError(f"the model's labels are {found!r}, those of {task.name} are {list(names)!r}")
