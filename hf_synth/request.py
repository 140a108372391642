"""What a training is asked to be: the student's settings, checked, with the real rows and the teacher they name."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .columns import class_names
from .config import checked
from .deidentify import Masks, deidentified
from .denoise import DenoiseConfig
from .errors import InputError
from .fit import TrainerConfig, trainer_config
from .journal import digest
from .learners import learner
from .models import Source, resolve
from .real import load_real_rows
from .reference import RealRows
from .settings import StudentConfig
from .shapes import shape
from .task import Task

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


@dataclass(frozen=True)
class Request:
    """A checked request.

    Attributes:
        task: Names columns and labels.
        config: The student's settings.
        seed: Of the run.
        made: Settings of the trainer; `None` for the weighted one.
        judging: Settings of denoising, if any is wanted.
        real: Real rows to train on, if any are named.
        teacher: Who judges instead of students, if anyone.
        masked: What was masked in the real rows, where personal data was looked for.
    """

    task: Task
    config: StudentConfig
    seed: int
    made: TrainerConfig
    judging: DenoiseConfig | None
    real: RealRows | None
    teacher: Source | None
    masked: dict[str, Any] | None = None

    @classmethod
    def of(cls, task: Task, config: StudentConfig, seed: int, masks: Masks | None = None) -> Request:
        """Check the settings and load what they name; `masks` hide personal data in real rows.

        Raises:
            InputError: If they cannot work.
        """
        made, judging, real, masked = trainer_config(config, seed), _judging(config), None, None
        if config.select != "weights":
            task.needs_kind("single", "pair", "relation", what=f"`select: {config.select}`")
        if config.outside < 1:
            task.needs_kind("tokens", what="`outside`")
        if config.real_rows is not None:
            real = load_real_rows(task, config.real_rows, config.real_per_class, config.real_seed)
            if masks:
                data, masked = deidentified(task, real.data, masks)
                real = dataclasses.replace(real, data=data)
        teacher = resolve(judging.teacher) if judging and judging.teacher else None
        return cls(task, config, seed, made, judging, real, teacher, masked)

    def texts(self, train: Dataset) -> list[str]:
        """Return all training texts, generated and real."""
        tables = [train, self.real.data] if self.real else [train]
        found = (column for table in tables for column in learner(self.task).columns(table, self.task))
        return [text for column in found for text in column]

    def settings(self, student: str) -> dict[str, Any]:
        """Return all settings, JSON-ready; folders go by their last part, since their path is nobody's business."""
        told = {**dataclasses.asdict(self.config), "student": student, "seed": self.seed}
        if self.real:
            told["real_rows"] = self.real.name
        if self.teacher:
            told["denoise_args"] = {**told["denoise_args"], "teacher": self.teacher.name}
        return told

    def key(self, data: DatasetDict, source: dict[str, Any]) -> str:
        """Return what tells this training from every other: settings, starting weights, rows, names of labels."""
        given = _columns(self.task, [*data.values(), *([self.real.data] if self.real else [])])
        made = self.made and dataclasses.asdict(self.made)  # defaults may change
        names = class_names(data["train"].features[self.task.label_column])  # rows hold their numbers alone
        told = [self.settings(source["name"]), made, source, self.teacher and self.teacher.facts()]
        return digest([*told, names, given])

    def given(self, data: DatasetDict) -> dict[str, Any]:
        """Return what tells the generated rows that a model is trained on from others."""
        weights = "weight" in data["train"].column_names
        return {
            "given_rows": len(data["train"]),
            "given_weights": weights,
            "given_sha256": rows_digest(self.task, data),
        }

    def facts(self, source: dict[str, Any]) -> dict[str, Any]:
        """Return what is known before training."""
        denoising = self.judging and {"how": self.config.denoise, **dataclasses.asdict(self.judging)}
        if denoising and self.teacher:
            denoising["teacher"] = self.teacher.name
        return {
            "student": source["name"],
            "source": source,
            "settings": self.settings(source["name"]),
            "trainer": self.config.trainer,
            "trainer_settings": None if self.made is None else dataclasses.asdict(self.made),
            "denoise": denoising,
            "real": self.real_facts(),
        }

    def real_facts(self) -> dict[str, Any] | None:
        """Return what is known of the real rows, if there are any."""
        if self.real is None:
            return None
        found = {"name": self.real.name, "split": self.real.split, "rows": len(self.real.data)}
        more = {"malformed": self.real.malformed, "deidentified": self.masked}
        return {**found, **{name: value for name, value in more.items() if value}}

    def provenance(self, weighted: bool = False) -> dict[str, Any]:
        """Return what the cards say of weights that this training makes for rows, which may have had some."""
        known = self.facts({"name": self.config.student})
        learns = self.config.trainer == "bilevel"
        steps = ([f"denoising ({self.config.denoise})"] if self.judging else []) + (["bilevel"] if learns else [])
        settings = {"denoise": known["denoise"]} if self.judging else {}
        if learns:
            settings |= {"bilevel": known["trainer_settings"], "select": self.config.select, "keep": self.config.keep}
        given = [
            "the texts and generated labels of this data set",
            *(["the weights it had before"] if weighted else []),
        ]
        if learns and self.real:
            given.append(f"{len(self.real.data)} real rows of {self.real.name}, split {self.real.split}")
        if self.teacher:
            given.append(f"the classifier {self.teacher.name}")
        alone = len(given) == 1
        source = given[0] + " alone; no person's label was used" if alone else " and ".join(given)
        return {"trainer": ", then ".join(steps), "settings": settings, "source": source}


def rows_digest(task: Task, data: DatasetDict) -> str:
    """Return the sha256 of a data set's rows, as far as trainings read them."""
    return digest(_columns(task, data.values()))


def _columns(task: Task, tables: Iterable[Dataset]) -> list[str]:
    names = (*shape(task).features(task), "index", "weight")
    return [
        hashlib.sha256(repr(table[name][:]).encode()).hexdigest()
        for table in tables
        for name in names
        if name in table.column_names
    ]


def _judging(config: StudentConfig) -> DenoiseConfig | None:
    if config.denoise != "none":
        return checked(DenoiseConfig, config.denoise_args, "`denoise_args`")
    if config.denoise_args:
        raise InputError("`denoise_args` needs `denoise`: one of confident, hard, information")
    return None
