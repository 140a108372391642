"""`hf-synth evaluate`: judge a trained student on real data."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..backends import open_generator
from ..baselines import judge_baselines
from ..card import model_card
from ..card_merge import decode_card, merge_card
from ..deploy import footprint, prompting_rate, sentence
from ..errors import InputError
from ..generators.base import Generator, Scorer
from ..home import locked
from ..inspected import write_student
from ..journal import write_json, write_whole
from ..learners import learner
from ..produce import Plan
from ..reference import WHOLE, NotEvaluated, RealRows, load_reference
from ..report import report_of, show, student_of
from ..request import rows_digest
from ..settings import BackendConfig, OutputConfig, StudentConfig, SynthConfig
from .generate import console, output_folder, plan_of
from .options import parse
from .train import load_splits

if TYPE_CHECKING:
    from datasets import DatasetDict

    from ..task import Task


def judge(
    plan: Plan, output: OutputConfig, folder: Path, reference: RealRows | str, generator: Generator | None
) -> dict:
    """Judge `folder/model` and write `report.json` and the model's card.

    Args:
        plan: The run.
        output: How many rows the baseline labels.
        folder: The output folder.
        reference: Real rows, or why there are none.
        generator: For the prompting baseline; loaded where `None`.

    Returns:
        The report.
    """
    facts = _read(folder / "dataset" / "hf_synth" / "facts.json")
    training = _read(folder / "model" / "training.json")
    data = load_splits(folder / "dataset", plan.task)
    _refuse_other_rows(plan.task, training, data, folder)
    refuse_leak(training["real"], reference)
    for source in facts["sources"]:
        refuse_leak({"name": source["path"], "split": source["split"]}, reference, "corpus")
    report = report_of(facts, training)
    # Of a name alone the Hub makes one of whoever pushes: as it stands it would be another's data set.
    report["dataset_id"] = output.hub_id if output.hub_id and "/" in output.hub_id else None
    rows = data["train"] if isinstance(reference, str) else reference.data
    kind, max_length = learner(plan.task), training["settings"]["max_length"]
    texts = kind.columns(rows, plan.task)
    report["deployment"] = footprint(folder / "model", texts, max_length, kind)
    if isinstance(reference, str):
        report["not_evaluated"] = reference
    else:
        student = kind.predict(folder / "model", reference.data, plan.task, max_length)
        report["reference"] = {"name": reference.name, "split": reference.split, "rows": len(reference.data)}
        left = {"malformed": reference.malformed, "blank": reference.blank}
        report["reference"] |= {why: rows for why, rows in left.items() if rows}
        report["headline"] = [kind.metric, *kind.beside]
        report["metrics"] = kind.score(plan.task, student, reference.data[plan.task.label_column])
        if output.baseline_rows and plan.method.texts == "generated":
            write_json(folder / "report.json", report)  # what is known so far is not lost with the baseline
            generator = _baseline_generator(plan, output, facts["generator"], generator)
            report["baselines"] = judge_baselines(
                generator, reference, plan.task, output.baseline_rows, plan.config.batch_size, student
            )
    if generator and output.baseline_rows and kind.metric == "accuracy":
        report["deployment"]["prompting"] = prompting_rate(generator, texts, plan.task, plan.config.batch_size)
    write_json(folder / "report.json", report)
    card = folder / "model" / "README.md"
    ours = model_card(plan.task, report, training)
    theirs = decode_card(card.read_bytes(), str(card)) if card.exists() else None
    write_whole(card, merge_card(ours, theirs, str(card)))
    if report["metrics"]:
        write_student(folder / "dataset", student_of(report))
    show(report, console)
    console.print(sentence(report["deployment"]), markup=False)
    return report


def _refuse_other_rows(task: Task, training: Mapping[str, Any], data: DatasetDict, folder: Path) -> None:
    """Refuse a model that was trained on other rows than the data set's, on whose card its figures would stand.

    Raises:
        InputError: If it was.
    """
    given, here = training["given_rows"] + training["validation_rows"], sum(map(len, data.values()))
    ours = rows_digest(task, data)
    # Rows with weights may be some of all; a model from before tells no sha256.
    if not training["given_weights"] and (given != here or training.get("given_sha256", ours) != ours):
        other = "others" if given == here else here
        raise InputError(
            f"{str(folder / 'model')!r} was trained on {given} rows, and {str(folder / 'dataset')!r} holds "
            f"{other}: train again first"
        )


def _baseline_generator(
    plan: Plan, output: OutputConfig, wrote: dict[str, Any], generator: Generator | None
) -> Generator:
    """Return the generator that labels by prompting; opened where it is not given.

    Raises:
        InputError: If it is not the one that wrote the rows.
    """
    generator = generator or open_generator(plan, private=output.private)
    if generator.source.get("sha256") != wrote.get("sha256"):
        raise InputError(
            f"the rows were written by {wrote['name']!r}, and `model` is {generator.name!r}: "
            "its prompting baseline says nothing of them. Give the same `model`, or `baseline_rows: 0`."
        )
    if not isinstance(generator, Scorer):
        console.print(f"no prompting baseline: {generator.name} tells no likelihoods", markup=False)
    return generator


def reference_or_reason(plan: Plan, output: OutputConfig) -> RealRows | str:
    """Return the real rows, or why there are none."""
    try:
        return load_reference(plan.task, output.reference, output.reference_split)
    except NotEvaluated as reason:
        return str(reason)


def refuse_leak(real: Mapping[str, Any] | None, reference: RealRows | str, what: str = "real_rows") -> None:
    """Refuse to judge a student on the real rows that it is trained on, or that its texts come from.

    Args:
        real: Their `name` and `split`.
        reference: What judges.
        what: The setting that names them.

    Raises:
        InputError: If they are of one data set and split.
    """
    if isinstance(reference, str) or not real or real["name"] != reference.name:
        return
    if real["split"] == reference.split or reference.split == WHOLE:  # a file's split has whatever name is asked for
        raise InputError(
            f"`{what}` and `reference` are both the split {reference.split!r} of {reference.name!r}: a student "
            "must be judged on other real rows than it has learnt from (rename one, if they are two of one name)"
        )


def say_not_evaluated(reason: str, plan: Plan, folder: Path) -> None:
    """Print why nothing was judged and the command that does it."""
    console.print(f"not evaluated: {reason}", markup=False)
    task = plan.config.task if isinstance(plan.config.task, str) else plan.task.name
    told = {"task": task, "method": plan.method.name, "model": plan.config.model, "output_dir": str(folder)}
    flags = " ".join(f"--{name} {shlex.quote(value)}" for name, value in told.items())
    console.print(
        f"with real rows at hand: hf-synth evaluate {flags} --reference FOLDER_OR_HUB_ID", markup=False, soft_wrap=True
    )


def main(argv: list[str]) -> int:
    """Run the verb."""
    found = parse(argv, "hf-synth evaluate", SynthConfig, BackendConfig, StudentConfig, OutputConfig)
    plan = plan_of(found)
    folder = output_folder(found[OutputConfig], plan)
    for part in ("dataset/hf_synth/facts.json", "model/training.json"):
        if not (folder / part).exists():
            raise InputError(
                f"{str(folder / part)!r} is missing: run `hf-synth run`, or `generate` and `train`, first"
            )
    reference = reference_or_reason(plan, found[OutputConfig])
    with locked(folder):
        judge(plan, found[OutputConfig], folder, reference, None)
    if isinstance(reference, str):
        say_not_evaluated(reference, plan, folder)
    return 0


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
