"""Train a tiny BERT on 55 rows and write down every loss: run in the test's process, or alone as
`trajectory.py out.json '[{"folder": "a", "batch": 8, "kind": "weighted"}, …]'`, under torchrun too."""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from accelerate import DistributedType, PartialState
from datasets import Dataset
from kinds import KINDS
from torch.distributed.tensor import DTensor
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

ZERO3 = {
    "zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0},  # else small ones stay whole
    "zero_allow_untested_optimizer": True,
    **dict.fromkeys(
        ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping"),
        "auto",
    ),
}
ROWS, EVAL_ROWS, LENGTH, CLASSES = 55, 13, 12, 3


def rows(count: int, seed: int) -> Dataset:
    """Return random rows of unequal length, two thirds synthetic; the weights have mean 1 and differ widely."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 50, (count, LENGTH), generator=draw)
    lengths = torch.randint(3, LENGTH + 1, (count, 1), generator=draw)
    weight = torch.rand(count, generator=draw) ** 2
    return Dataset.from_dict(
        {
            "input_ids": ids.tolist(),
            "attention_mask": (torch.arange(LENGTH) < lengths).long().tolist(),
            "labels": torch.randint(CLASSES, (count,), generator=draw).tolist(),
            "weight": (weight / weight.mean()).tolist(),
            "index": list(range(count)),
            "synthetic": [row % 3 != 0 for row in range(count)],
        }
    )


def tiny_bert(dropout: float) -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        num_labels=CLASSES,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=0.2,
    )
    return BertForSequenceClassification(config)


def whole(parameter: torch.Tensor) -> torch.Tensor:
    """Return all of a parameter that is spread over ranks."""
    if hasattr(parameter, "ds_id"):
        import deepspeed

        with deepspeed.zero.GatheredParameters([parameter]):
            return parameter.data.clone()
    return parameter.full_tensor() if isinstance(parameter, DTensor) else parameter


class KillAt(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step and args.process_index == args.world_size - 1:
            os.kill(os.getpid(), signal.SIGKILL)


def train(
    folder: str,
    batch: int = 16,
    accumulate: int = 1,
    dropout: float = 0.0,
    optim: str = "sgd",
    stock: bool = False,
    kind: str = "weighted",
    save: bool = False,
    kill_at: int | None = None,
    resume: bool | str = False,
    fsdp: bool = False,
    zero3: bool = False,
    **arguments,
) -> dict:
    """Train 3 epochs (4 steps each at global batch 16) and return the trajectory, by step, and the parameters."""
    defaults = {
        "per_device_train_batch_size": batch,
        "per_device_eval_batch_size": 4,
        "gradient_accumulation_steps": accumulate,
        "num_train_epochs": 3,
        "learning_rate": 0.1 if optim == "sgd" else 1e-3,
        "optim": optim,
        "max_grad_norm": 0.0,
        "logging_steps": 1,
        "logging_strategy": "steps",
        "save_strategy": "steps" if save else "no",
        "save_steps": 6,
        "disable_tqdm": True,
        "use_cpu": True,
        "ddp_backend": "gloo" if "RANK" in os.environ else None,
    }
    if fsdp:
        defaults |= {"fsdp": True, "fsdp_config": {"version": 2, "transformer_layer_cls_to_wrap": ["BertLayer"]}}
    if zero3:
        defaults["deepspeed"] = ZERO3
    args = TrainingArguments(folder, **defaults | arguments)
    if fsdp and args.device.type == "cpu":  # accelerate itself shards over accelerators only
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    model = tiny_bert(dropout)
    data, held_out = rows(ROWS, seed=1), rows(EVAL_ROWS, seed=2)
    trainer = (Trainer if stock else KINDS[kind])(model, args, train_dataset=data, eval_dataset=held_out)
    trainer.remove_callback(PrinterCallback)
    if kill_at is not None:
        trainer.add_callback(KillAt(kill_at))
    trainer.train(resume_from_checkpoint=resume or None)
    losses = {str(log["step"]): log["loss"] for log in trainer.state.log_history if "loss" in log}
    parameters = torch.cat([whole(parameter).detach().flatten() for parameter in model.parameters()]).tolist()
    sharded = any(isinstance(value, DTensor) or hasattr(value, "ds_id") for value in model.parameters())
    found = {"losses": losses, "parameters": parameters, "sharded": sharded}
    return {**found, "eval_loss": trainer.evaluate()["eval_loss"]}


if __name__ == "__main__":
    results = [train(**options) for options in json.loads(sys.argv[2])]
    if os.environ.get("RANK", "0") == "0":
        Path(sys.argv[1]).write_text(json.dumps(results))
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
        os._exit(0)  # else gloo's threads are now and then still there when the interpreter goes, which aborts
