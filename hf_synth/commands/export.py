"""`hf-synth export`: write a trained student in another format."""

from __future__ import annotations

import json
from typing import Literal

from ..config import strict
from ..errors import InputError
from ..settings import OutputConfig, SynthConfig
from .generate import console, output_folder, plan_of
from .options import parse


@strict
class ExportConfig:
    """What is written.

    Attributes:
        format: `onnx`, into `onnx/` of the output folder.
    """

    format: Literal["onnx"] = "onnx"


def main(argv: list[str]) -> int:
    """Run the verb."""
    found = parse(argv, "hf-synth export", SynthConfig, OutputConfig, ExportConfig)
    plan = plan_of(found)
    plan.task.needs_kind("single", "pair", "relation", "multi_label", what="export")
    folder = output_folder(found[OutputConfig], plan)
    record = folder / "model" / "training.json"
    if not record.exists():
        raise InputError(f"{str(record)!r} is missing: run `hf-synth run`, or `generate` and `train`, first")
    from ..export import export_onnx

    max_length = json.loads(record.read_text(encoding="utf-8"))["settings"]["max_length"]
    difference = export_onnx(folder / "model", folder / "onnx", max_length)
    console.print(f"ONNX in {folder / 'onnx'}; its logits are the student's to {difference:.1g}", markup=False)
    return 0
