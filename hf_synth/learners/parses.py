"""Students that write a parse: a causal language model continues the utterance with its bracket notation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from ..errors import InputError
from ..models import Source, resolve
from ..settings import StudentConfig
from ..trees import parse
from . import Finish, Settle

if TYPE_CHECKING:
    from ..task import Task

STUDENT = "HuggingFaceTB/SmolLM2-135M-Instruct"  # where the settings name no student
WRITERS = ("ForCausalLM", "LMHeadModel")
# A student that writes has no classes to smooth, average or weigh.
PLAIN: dict[str, Any] = {
    "trainer": "weighted",
    "trainer_args": {},
    "loss": "ce",
    "label_smoothing": 0.0,
    "select": "weights",
    "denoise": "none",
    "denoise_args": {},
    "real_rows": None,
    "real_per_class": None,
    "real_seed": 0,
    "real_first": 0.0,
}
metric = "exact_match"
beside: tuple[str, ...] = ("exact_match_loose", "intent_accuracy", "slot_f1")
auto: Any = AutoModelForCausalLM
finish: Finish = None
settle: Settle = None


def columns(rows: Dataset, task: Task) -> list[Sequence[str]]:
    """Return the column of texts."""
    return [rows[task.columns[-1]][:]]


def load(
    config: StudentConfig, task: Task, names: Sequence[str] = (), texts: Sequence[str] = ()
) -> tuple[Any, Any, dict[str, Any]]:
    """Return model (in float32), tokenizer and provenance facts of a language model that is not yet trained.

    Args:
        config: Names the student; left at its default, which is an encoder, it is `STUDENT`.
        task: Not read: the names of intents and slots are learnt as text.
        names: None: a parse is no class.
        texts: Not read: the vocabulary is the model's own.

    Raises:
        InputError: If the student exists nowhere, or does not write text.
    """
    source = _source(config)
    tokenizer = AutoTokenizer.from_pretrained(source.path)
    model: Any = AutoModelForCausalLM.from_pretrained(source.path, dtype=torch.float32)
    return model, tokenizer, source.facts()


def _source(config: StudentConfig) -> Source:
    """Find a student and refuse one that does not write text, before anything is generated for it.

    Raises:
        InputError: If the student exists nowhere, or does not write text.
    """
    name = STUDENT if config.student == StudentConfig.student else config.student
    if name == "bilstm":
        raise InputError(f"`student`: a parse is written by a causal language model such as {STUDENT!r}; got 'bilstm'")
    source = resolve(name)
    made = AutoConfig.from_pretrained(source.path).architectures or []
    if not any(kind.endswith(WRITERS) for kind in made):
        raise InputError(
            f"`student`: a parse is written by a causal language model such as {STUDENT!r}; "
            f"{name!r} is {', '.join(made) or 'of no known kind'}"
        )
    return source


def check(config: StudentConfig) -> None:
    """Refuse settings and students that cannot work for a student that writes its answer.

    Raises:
        InputError: Naming the setting.
    """
    for key, plain in PLAIN.items():
        if (got := getattr(config, key)) != plain:
            raise InputError(f"`{key}` must be {plain!r} for a student that writes its answer; got {got!r}")
    _source(config)


def encode(rows: Dataset, tokenizer: Any, task: Task, max_length: int) -> Dataset:
    """Return columns `prompt` and `completion`, as `trl.SFTTrainer` takes and tokenises them itself.

    Raises:
        InputError: For a parse that is malformed, or a row that does not fit into `max_length` tokens.
    """
    column, label = task.columns[-1], task.label_column
    prompts, parses = [prompt(text) for text in rows[column]], list(rows[label])
    for at, text in enumerate(parses):
        if isinstance(reason := parse(text), str):
            raise InputError(f"row {at}: `{label}` is no parse ({reason}): {text!r}")
    whole = tokenizer([head + tail for head, tail in zip(prompts, parses, strict=True)])["input_ids"]
    longest = max(map(len, whole), default=0) + 1  # the end token
    if longest > max_length:
        raise InputError(f"`max_length` must hold the longest row, {longest} tokens with its parse; got {max_length}")
    return Dataset.from_dict({"prompt": prompts, "completion": parses})


def prompt(text: str) -> str:
    """Return what the student goes on from: the text, and a line end, which no token joins with what follows."""
    return f"{text}\n"


@torch.inference_mode()
def write(model: Any, tokenizer: Any, texts: Sequence[str], max_length: int, batch_size: int) -> list[str]:
    """Return the parse that a model writes for each text: the likeliest token each time, up to the end of the line.

    Args:
        model: A causal language model on its device.
        tokenizer: Its tokenizer.
        texts: Utterances.
        max_length: Tokens of a text and its parse together.
        batch_size: Texts at once.
    """
    ends = {tokenizer.eos_token_id, *(at for token, at in tokenizer.get_vocab().items() if token[:1] in ("Ċ", "\n"))}
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))  # like lengths together: less padding
    parses, training = [""] * len(texts), model.training
    model.eval()
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        inputs = tokenizer(
            [prompt(texts[at]) for at in chosen], padding=True, padding_side="left", return_tensors="pt"
        ).to(model.device)
        inputs.pop("token_type_ids", None)
        length = inputs["input_ids"].shape[1]
        settings = {"max_new_tokens": max(max_length - length, 1), "do_sample": False, "use_cache": True}
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        written = model.generate(**inputs, **settings, eos_token_id=sorted(ends), pad_token_id=pad)[:, length:]
        for at, text in zip(chosen, tokenizer.batch_decode(written, skip_special_tokens=True), strict=True):
            parses[at] = text.strip().partition("\n")[0]
    model.train(training)
    return parses


def run(model: Any, tokenizer: Any, texts: Sequence[Sequence[str]], max_length: int) -> list[str]:
    """Return the parses that a loaded model writes."""
    return write(model, tokenizer, texts[-1], max_length, len(texts[-1]))


def predict(folder: str | Path, rows: Dataset, task: Task, max_length: int = 128, batch_size: int = 64) -> list[str]:
    """Return the parses that a saved student writes for rows; some may be malformed.

    It computes as it did when it was trained and validated: by float32 weights, in bfloat16 where that is native.

    Args:
        folder: The model's folder.
        rows: Real rows.
        task: Names the text column.
        max_length: Tokens of a text and its parse together.
        batch_size: Texts at once.
    """
    from ..generators.local.processor import best_device, best_dtype

    device = best_device()
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model = model.to(device)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.autocast(device.type, torch.bfloat16, enabled=best_dtype(device) == torch.bfloat16):
        return write(model, tokenizer, rows[task.columns[-1]][:], max_length, batch_size)


def score(task: Task, predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """Return rows, exact match with its interval, intent accuracy and slot F1 of parses."""
    from ..metrics.exact_match import ExactMatch

    found = ExactMatch().compute(predictions=list(predictions), references=list(references))
    assert found is not None
    return found
