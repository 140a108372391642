"""Weights of rows, learnt through the embeddings that the untrained student's encoder gives them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainingArguments, default_data_collator, set_seed

from .arguments import preparing, training_arguments
from .errors import InputError
from .learners import learner
from .request import Request
from .retrieval.encode import pooled
from .student import KEPT
from .students.head import FrozenHead
from .trainers.bilevel import BilevelConfig, BilevelTrainer

if TYPE_CHECKING:
    from datasets import Dataset

KINDS = ("single", "pair", "relation")  # of one label a row
RATE, BATCH = 2e-3, 32  # of the head
READ = 64  # rows embedded at once


def through_encoder(request: Request, model: Any) -> bool:
    """Tell whether weights are learnt through the student's frozen encoder.

    Raises:
        InputError: If that is asked for and the student has none, or rows have no one label each.
    """
    made, kind = request.made, request.task.kind
    encoder = getattr(model, "base_model", model) is not model
    if isinstance(made, BilevelConfig) and made.through == "encoder":
        if not encoder:
            raise InputError(f"`trainer_args.through: encoder`: {request.config.student!r} has no pretrained encoder")
        if kind not in KINDS:
            raise InputError(
                f"`trainer_args.through: encoder` needs rows of one label each; the task's kind is {kind}"
            )
        return True
    # Not of pairs: what two texts have to do with each other a mean over both does not tell.
    return isinstance(made, BilevelConfig) and made.through is None and encoder and kind == "single"


def head_trainer(
    request: Request, model: Any, tokenizer: Any, train: Dataset, args: TrainingArguments
) -> BilevelTrainer:
    """Return the trainer that learns weights of tokenised rows by a head on their embeddings.

    Args:
        request: Task and settings.
        model: The untrained student.
        tokenizer: Its tokenizer.
        train: Tokenised rows.
        args: The student's; names the folder and the device.
    """
    assert isinstance(request.made, BilevelConfig)
    table = embeddings(model.base_model.to(args.device), tokenizer, train)
    rows = train.select_columns([name for name in ("labels", *KEPT) if name in train.column_names])
    rows = rows.add_column("input_ids", [[at] for at in range(len(rows))])
    own = dataclasses.replace(
        request.config, learning_rate=RATE, train_batch_size=BATCH, num_train_epochs=1, label_smoothing=0.0
    )
    quiet = preparing(own, max_steps=-1, save_strategy="no", report_to="none", bf16=False, fp16=False)
    set_seed(request.seed)  # of its first weights: a training that goes on may not have drawn what came before
    head = FrozenHead(table, model.config.num_labels)
    given = training_arguments(quiet, Path(str(args.output_dir), "head"), request.seed, False)
    return BilevelTrainer(
        model=head,
        args=given,
        train_dataset=rows,
        data_collator=default_data_collator,
        compute_metrics=learner(request.task).compute_metrics,
        loss=request.config.loss,
        config=request.made,
    )


@torch.inference_mode()
def embeddings(encoder: Any, tokenizer: Any, rows: Dataset) -> torch.Tensor:
    """Return the mean over the tokens of each tokenised row, [N, D], on the CPU."""
    encoder.eval()
    names = [name for name in tokenizer.model_input_names if name in rows.column_names]
    order = sorted(range(len(rows)), key=[len(ids) for ids in rows["input_ids"]].__getitem__)
    found = torch.zeros(len(rows), encoder.config.hidden_size)
    for start in range(0, len(order), READ):
        places = order[start : start + READ]
        some = rows.select(places)
        inputs = tokenizer.pad({name: some[name][:] for name in names}, return_tensors="pt").to(encoder.device)
        hidden = encoder(**inputs).last_hidden_state
        found[places] = pooled(hidden.float(), inputs["attention_mask"], "mean", False).cpu()
    return found
