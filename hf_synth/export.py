"""A trained student as ONNX, checked against the one it was made from."""

from __future__ import annotations

import inspect
import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from .errors import InputError
from .folder import replace_folder, restore_folder

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4  # absolute, of logits
EXAMPLE = (3, 7)  # rows and tokens of the batch that the exporter follows


def check_packages() -> None:
    """Refuse to export without the packages that it takes.

    Raises:
        InputError: If one is not installed.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(f"ONNX export needs the packages {', '.join(missing)}: pip install 'hf_synth[onnx]'")


def export_onnx(folder: str | Path, target: str | Path, max_length: int = 128) -> float:
    """Export a saved student, in float32 with any number of rows and tokens, and check that its logits are the same.

    Args:
        folder: The model's folder.
        target: Gets `model.onnx`, `config.json` and the tokenizer, as optimum reads them, and the student's own
            `training.json`, which says whether it must stay; replaced whole, and left as it is where the student is
            refused.
        max_length: Tokens a text is cut to; the longest that is checked.

    Returns:
        The largest absolute difference between the logits of both.

    Raises:
        InputError: If a package is missing, the student cannot be exported, or the logits differ.
    """
    import hf_synth.students  # noqa: F401 (registers the BiLSTM)

    check_packages()
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    if any(isinstance(layer, torch.nn.RNNBase) for layer in model.modules()):
        raise _refused(model, "torch's exporter unrolls recurrent layers to texts of one length")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    target = Path(target)
    fresh = target.with_name(f".{target.name}-fresh")
    restore_folder(target)
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        _write(model, tokenizer, fresh / "model.onnx")
        difference = _compare(model, tokenizer, fresh / "model.onnx", max_length)
        model.config.save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
        if (record := Path(folder, "training.json")).is_file():
            shutil.copyfile(record, fresh / record.name)
        replace_folder(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return difference


def _write(model: Any, tokenizer: Any, path: Path) -> None:
    """Write the ONNX file.

    Raises:
        InputError: If torch's exporter fails, or fixes a size that must vary.
    """
    example = _batch(model, tokenizer, *EXAMPLE)
    rows, tokens = torch.export.Dim("batch"), torch.export.Dim("length")
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                model,
                (),
                path,
                kwargs=example,
                input_names=list(example),
                output_names=["logits"],
                dynamic_shapes={name: {0: rows, 1: tokens} for name in example},
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    # The exporter passes on whatever any of its steps raises.
    except Exception as error:
        raise _refused(model, _cause(error)) from error


def _compare(model: Any, tokenizer: Any, path: Path, max_length: int) -> float:
    """Return the largest difference of logits over batches of several sizes and lengths, with padding.

    Raises:
        InputError: If it is above the tolerance, or the file cannot be run.
    """
    import onnxruntime

    worst = 0.0
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        fixed = [f"{each.name} {each.shape}" for each in session.get_inputs() if not _varies(each.shape)]
        if fixed:
            raise _refused(model, f"the exporter fixed the size of {', '.join(fixed)}")
        longest = min(max_length, tokenizer.model_max_length)
        for rows, tokens in ((1, 1), (1, longest), (2, 5), (5, longest // 2), (8, longest)):
            batch = _batch(model, tokenizer, rows, tokens)
            wanted = {each.name: batch[each.name].numpy() for each in session.get_inputs()}
            found = torch.from_numpy(session.run(["logits"], wanted)[0])
            with torch.no_grad():
                difference = (found - model(**batch).logits).abs().max().item()
            if not difference <= TOLERANCE:  # also where it is not a number
                reason = f"logits of {rows} x {tokens} tokens differ by {difference:.3g}, more than {TOLERANCE:g}"
                raise _refused(model, reason)
            worst = max(worst, difference)
    except InputError:
        raise
    except Exception as error:  # onnxruntime's errors have no common type of their own
        raise _refused(model, f"onnxruntime cannot run it: {_cause(error)}") from error
    return worst


def _batch(model: Any, tokenizer: Any, rows: int, tokens: int) -> dict[str, Tensor]:
    """Return what the model takes, of random token ids [rows, tokens], padded on the right but for the first row."""
    generator = torch.Generator().manual_seed(rows * 1009 + tokens)
    lengths = torch.randint(1, tokens + 1, (rows, 1), generator=generator)
    lengths[0] = tokens
    places = torch.arange(tokens)
    mask = (places < lengths).long()
    ids = torch.randint(model.config.vocab_size, (rows, tokens), generator=generator)
    found = {
        "input_ids": ids.where(mask.bool(), tokenizer.pad_token_id),
        "attention_mask": mask,
        "token_type_ids": (places >= lengths // 2).long() * mask,
    }
    known = inspect.signature(model.forward).parameters
    return {name: value for name, value in found.items() if name in tokenizer.model_input_names and name in known}


def _varies(shape: list[int | str]) -> bool:
    return all(isinstance(size, str) for size in shape)


def _cause(error: BaseException) -> str:
    """Return the first line of what an error came from; the exporter wraps it in advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else type(error).__name__


def _refused(model: Any, reason: str) -> InputError:
    kind = f"{model.config.model_type!r} ({type(model).__name__})"
    return InputError(f"a student of type {kind} cannot be exported to ONNX: {reason}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own remarks down: what matters is said by the check afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
