"""Training a student that writes its answer: supervised fine-tuning on prompts and completions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import EarlyStoppingCallback
from transformers.trainer_utils import EvalLoopOutput
from trl import SFTConfig, SFTTrainer

from .arguments import preparing, training_arguments
from .errors import InputError
from .generators.local.processor import best_dtype
from .learners import parses
from .request import Request
from .settings import StudentConfig
from .stages import kept, last_checkpoint, mark, open_scratch, save, trained_before
from .trainers.warmup import WarmUp

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from .task import Task

JUDGED = 200  # validation rows whose parses are written each epoch


class WriterTrainer(WarmUp, SFTTrainer):
    """SFTTrainer that also judges by what the model writes: evaluation adds `eval_exact_match`.

    Args:
        *args: As of `trl.SFTTrainer`.
        judged: Rows whose parses are written, with their texts.
        task: Names the columns.
        **kwargs: As of `trl.SFTTrainer`.
    """

    args: SFTConfig  # what Trainer's own annotations leave out

    def __init__(self, *args: Any, judged: Dataset | None, task: Task, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.judged, self.task = judged, task

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """Evaluate as Trainer does, then let the model write."""
        output = super().evaluation_loop(*args, **kwargs)
        if self.judged is not None and output.metrics is not None:
            model = self.accelerator.unwrap_model(self.model)
            texts = self.judged[self.task.columns[-1]][:]
            with self.compute_loss_context_manager(), self.accelerator.autocast():
                said = parses.write(model, self.processing_class, texts, self.args.max_length or 128, 64)
            found = parses.score(self.task, said, self.judged[self.task.label_column][:])
            output.metrics[f"eval_{parses.metric}"] = found[parses.metric]
        return output


def train_writer(
    data: DatasetDict, task: Task, config: StudentConfig, folder: Path, seed: int, private: Sequence[str] = ()
) -> dict[str, Any]:
    """Fine-tune a causal language model on `train`, choose the epoch by exact match on `validation`, and save it.

    What was trained before, on the same rows with the same settings, is not trained again; what was killed goes on
    from its last checkpoint.

    Args:
        data: Splits `train` and (where there are rows enough) `validation`.
        task: Names the text column and the column of parses.
        config: How to train.
        folder: Where the model goes; replaced whole.
        seed: Re-seeds order and dropout.
        private: What real text the model must stay for, in words.

    Returns:
        Facts for the model card, as `train_student` returns them.

    Raises:
        InputError: For settings, students or rows that cannot work.
    """
    parses.check(config)
    _refuse_weights(data["train"])
    request = Request.of(task, config, seed)
    model, tokenizer, source = parses.load(config, task)
    key = request.key(data, source)
    if before := trained_before(folder, key, private):
        return before
    validates = len(data.get("validation", ())) > 0
    args = sft_arguments(config, folder.with_name(f".{folder.name}-training"), seed, validates)
    open_scratch(args, key)
    told = {"key": key, **request.facts(source), **request.given(data), **mark(private)}
    return _train(data, task, config, model, tokenizer, args, folder, told)


def _train(
    data: DatasetDict,
    task: Task,
    config: StudentConfig,
    model: Any,
    tokenizer: Any,
    args: SFTConfig,
    folder: Path,
    told: dict[str, Any],
) -> dict[str, Any]:
    """Fine-tune, save the model and return the facts."""
    encoded = {name: parses.encode(part, tokenizer, task, config.max_length) for name, part in data.items()}
    validates = args.eval_strategy != "no"
    trainer = WriterTrainer(
        model=model,
        args=args,
        train_dataset=encoded["train"],
        eval_dataset=encoded["validation"] if validates else None,
        processing_class=tokenizer,
        callbacks=[EarlyStoppingCallback(config.early_stopping_patience)]
        if config.early_stopping_patience and validates
        else [],
        judged=data["validation"].select(range(min(JUDGED, len(data["validation"])))) if validates else None,
        task=task,
    )
    outcome = trainer.train(resume_from_checkpoint=last_checkpoint(Path(str(args.output_dir))))
    facts = {
        **told,
        "rows": len(encoded["train"]),
        "validation_rows": len(encoded.get("validation", ())),
        "scored_rows": len(trainer.judged or ()),
        **kept(trainer, parses.metric),
        "seconds": round(outcome.metrics["train_runtime"], 1),
        "denoised": None,
        "weights": None,
        "log_history": trainer.state.log_history,
        "rounds_log_history": None,
    }
    return save(trainer, folder, facts)


def sft_arguments(config: StudentConfig, output_dir: Path, seed: int, validates: bool) -> SFTConfig:
    """Return the SFTTrainer's arguments: ours, then the user's `training_args`; bfloat16 where it is native.

    Raises:
        InputError: For an argument that `TrainingArguments` does not have, or one that has a key of ours.
    """
    # Rows of like length together: padding costs as much as text.
    ours: dict[str, Any] = {"per_device_eval_batch_size": 16, "train_sampling_strategy": "group_by_length"}
    if validates:
        ours["metric_for_best_model"] = parses.metric
    given = dataclasses.replace(config, training_args={**ours, **config.training_args})
    args = training_arguments(given if validates else preparing(given), output_dir, seed, validates)
    settings = {field.name: getattr(args, field.name) for field in dataclasses.fields(args) if field.init}
    if "bf16" not in config.training_args and "fp16" not in config.training_args:
        settings["bf16"] = best_dtype(args.device) == torch.bfloat16  # float32 weights under autocast
    settings["use_cpu"] = args.device.type == "cpu"  # else bf16 is refused where there is no accelerator
    return SFTConfig(**settings, max_length=config.max_length, completion_only_loss=True)


def _refuse_weights(train: Dataset) -> None:
    if "weight" in train.column_names and any(weight != 1 for weight in train["weight"]):
        raise InputError("a student that writes its answer counts all rows alike; drop the column `weight`")
