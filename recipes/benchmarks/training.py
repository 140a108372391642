"""What each trainer costs beside plain training: the tables in recipes/benchmarks/README.md.

    python recipes/benchmarks/training.py --data ../shared/data/sst2 --out training.jsonl
    python recipes/benchmarks/training.py --data ../shared/data/sst2 --out training.jsonl --table

The package's default student, the same rows in the same batches for all, through the Trainer's own loop, without
evaluation and saving. In each repeat every contender has its turn, and its time is divided by that of plain training
in the same repeat; the order rotates. A line of the results file is one whole repeat, so that a stopped run goes on
with the next one and never divides by a time of another day.

- Ensembles: the second epoch, in which averages exist, over a plain second epoch. A preset that predicts does so once
  an epoch here (1,024 rows end before its own interval does), so that as many rows are predicted as trained on.
- Online bilevel: some of the first epoch's steps over the same steps of plain training. Beside it what it replaces:
  a look-ahead that is differentiated twice, and takes its step along the same gradient or (`exact`) a new one.
- The hypergradient pass of `sungen` over all rows, for which the round is cut short, over a plain second epoch.
"""

import argparse
import gc
import hashlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, load_dataset
from torch import Tensor
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import DataCollatorWithPadding, PrinterCallback, TrainerCallback, TrainingArguments
from transformers.utils import logging

from hf_synth.directional import still
from hf_synth.losses import example_loss
from hf_synth.settings import StudentConfig
from hf_synth.student import encode, load_student
from hf_synth.trainers.bilevel import BilevelConfig, BilevelTrainer
from hf_synth.trainers.ensemble import EnsembleConfig, EnsembleTrainer
from hf_synth.trainers.lookahead import LookAhead
from hf_synth.trainers.predictions import Predictions
from hf_synth.trainers.rows import Rows
from hf_synth.trainers.weighted import WeightedTrainer

WARM = 4  # steps that are not counted


class Clock(TrainerCallback):
    """Notes when steps and epochs begin and end; as the first callback it counts what the others do after a step."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.epochs: list[float] = []
        self.began = self.step_began = 0.0

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began, self.step_began = now(), 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._step()
        self.step_began = now()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._step()
        self.epochs.append(now() - self.began)

    def _step(self) -> None:
        if self.step_began:
            self.steps.append(now() - self.step_began)


def now() -> float:
    """Return the time, after an accelerator has done what it was told."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter()


class DoubleBackward(BilevelTrainer):
    """What `online` replaces: the look-ahead stays in the graph, and the outer loss is differentiated through it.

    The same rows, outer rows and losses. The fused attention kernels have no second derivative.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.remove_callback(LookAhead)
        self.ahead = LookAhead(self)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        model.train()
        columns, rest, labels = self.split(self._prepare_inputs(inputs))
        at, named = self.rows.at(columns["index"]), dict(self.model.named_parameters())
        scale = 1 / self.raw_weights.mean().item()
        weights = self.raw_weights[at].to(labels.device).requires_grad_()
        with sdpa_kernel(SDPBackend.MATH):
            loss = (weights * scale * example_loss()(self.model(**rest).logits, labels)).mean()
            gradients = torch.autograd.grad(loss, list(named.values()), create_graph=True)
            slope = self._slope(weights, dict(zip(named, gradients, strict=True)), named)
        self.ahead._step(at, -slope.cpu(), None)
        if self.config.inner == "exact":
            loss = self.compute_loss(self.model, {**rest, **columns, "labels": labels})
            gradients = torch.autograd.grad(loss, list(named.values()))
        for value, gradient in zip(named.values(), gradients, strict=True):
            value.grad = gradient.detach()
        return loss.detach()

    def _slope(self, weights: Tensor, gradients: dict[str, Tensor], named: dict[str, Tensor]) -> Tensor:
        """Return the derivative of the outer loss, one step ahead, by each weight, [N]."""
        speed = self.lr_scheduler.get_last_lr()[0] or self.args.learning_rate
        ahead = {name: value - speed * gradients[name] for name, value in named.items()}
        chosen = self.ahead.outer_rows(self.state.global_step)
        _, rest, labels = self.split(next(self.batches_of(self.outer.data, chosen, size=len(chosen))))
        with still(self.model):
            outer = self.outer.loss(functional_call(self.model, ahead, (), rest).logits, labels).mean()
        return torch.autograd.grad(outer, weights)[0]


class HypergradientPass(BilevelTrainer):
    """One round of `sungen` that notes how long the pass at its end takes."""

    def __init__(self, derivative: Any, **kwargs: Any) -> None:
        super().__init__(config=BilevelConfig(rounds=1, derivative=derivative), **kwargs)

    def _step_weights(self) -> None:
        began = now()
        super()._step_weights()
        self.seconds = now() - began


def ensemble(preset: str, **kwargs: Any) -> EnsembleTrainer:
    """Return the trainer of a preset that updates its averages once an epoch."""
    return EnsembleTrainer(config=EnsembleConfig.preset(preset, every=None), **kwargs)


def online(kind: type[BilevelTrainer], inner: Any, derivative: Any = "forward", **kwargs: Any) -> BilevelTrainer:
    """Return a bilevel trainer that looks one step ahead, with an outer batch of half."""
    return kind(config=BilevelConfig(mode="online", inner=inner, derivative=derivative), **kwargs)


WAYS = ("forward", "difference")
BOUNDS = {"reused": 2.2, "exact": 3.6}
# How a trainer is made, which of its times counts, and how many times that of plain training it may be.
CONTENDERS: dict[str, tuple[Callable[..., WeightedTrainer], str, float | None]] = {
    "plain": (WeightedTrainer, "epoch", None),
    **{f"ensemble {name}": (partial(ensemble, name), "epoch", 1.15) for name in ("laine_aila", "supergen", "fewgen")},
    **{f"online {i} {w}": (partial(online, BilevelTrainer, i, w), "step", BOUNDS[i]) for i in BOUNDS for w in WAYS},
    **{f"double backward {inner}": (partial(online, DoubleBackward, inner), "step", None) for inner in BOUNDS},
    **{f"hypergradient pass {way}": (partial(HypergradientPass, way), "pass", 1.3) for way in WAYS},
}


def rows_of(options: argparse.Namespace) -> tuple[Dataset, list[str]]:
    """Return the rows that all train on, and the names of their labels."""
    data = load_dataset(str(options.data), split="train").shuffle(seed=0)
    data = data.select(range(min(options.rows, len(data))))
    return data.add_column("index", list(range(len(data)))), data.features["label"].names


def run(name: str, data: Dataset, names: list[str], seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train as one contender and return its seconds."""
    (make, kind, _), student = CONTENDERS[name], StudentConfig()
    torch.manual_seed(seed)
    model, tokenizer, _ = load_student(student, names, [])
    text = next(column for column, feature in data.features.items() if getattr(feature, "dtype", "") == "string")
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        length = {"num_train_epochs": 2} if kind == "epoch" else {"max_steps": WARM + options.steps}
        sizes = {"per_device_train_batch_size": options.batch, "per_device_eval_batch_size": options.pass_batch}
        quiet = {"save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True}
        rate, pin = student.learning_rate, torch.accelerator.is_available()
        given = {"learning_rate": rate, "seed": seed, "dataloader_pin_memory": pin, **length, **sizes, **quiet}
        args = TrainingArguments(folder, **given)
        rows = encode(data, tokenizer, [text], "label", student.max_length)
        collate = DataCollatorWithPadding(tokenizer)
        trainer = make(model=model, args=args, train_dataset=rows, data_collator=collate, callbacks=[clock])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        found: dict[str, Any] = {"steps": clock.steps[WARM : WARM + options.steps]}
        if kind == "epoch":
            found |= {"seconds": clock.epochs[1], "trained": len(data)}
        if isinstance(trainer, EnsembleTrainer) and trainer.config.source == "prediction":
            found["predicted"] = len(data)
        if isinstance(trainer, HypergradientPass):
            found["seconds"] = trainer.seconds
    return {key: [round(v, 4) for v in value] if key == "steps" else value for key, value in found.items()}


def state_megabytes(rows: int = 1_000_000, classes: int = 2) -> dict[str, float]:
    """Return what the ensemble keeps for many rows, in MB: between updates, with its buffers, and at most."""
    labels = torch.randint(classes, (rows,)).numpy()
    data = Dataset.from_dict({"index": torch.arange(rows).numpy(), "labels": labels})
    tracemalloc.start()
    kept = Rows(data, classes)
    with tempfile.TemporaryDirectory() as folder:
        predictions = Predictions(kept, classes, 0.8, folder)
        found = {"between updates": tracemalloc.get_traced_memory()[0]}
        tracemalloc.reset_peak()
        for start in range(0, rows, 1000):
            at = torch.arange(start, start + 1000).numpy()
            predictions.add(at, labels[at], torch.full((1000, classes), 1 / classes).numpy())
        found["with buffers"] = tracemalloc.get_traced_memory()[0]
        predictions.update()
        predictions.keep(0.8, 16)
        found["at most"] = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {name: round(value / 1e6, 1) for name, value in found.items()}


def measure(options: argparse.Namespace, chosen: list[str], spec: dict[str, Any]) -> None:
    """Append the repeats that are missing to the results file, and the size of the ensemble's state once."""
    done = records(options.out, spec)
    if not any("megabytes" in record for record in done):
        note(options.out, {**spec, "megabytes": state_megabytes()})
    data, names = rows_of(options)
    for repeat in sorted({*range(options.repeats)} - {record.get("repeat") for record in done}):
        load, start, turn = round(os.getloadavg()[0], 2), time.strftime("%Y-%m-%d %H:%M:%S"), repeat % len(chosen)
        found: dict[str, Any] = {}
        for name in [*chosen[turn:], *chosen[:turn]]:
            found[name] = run(name, data, names, repeat, options)
            gc.collect()
            print(f"{repeat} {name}: {json.dumps(found[name])}", file=sys.stderr, flush=True)
        note(options.out, {**spec, "repeat": repeat, "start": start, "load_before": load, "found": found})


def note(out: Path, record: dict[str, Any]) -> None:
    with out.open("a") as stream:
        print(json.dumps(record), file=stream)


def records(out: Path, spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the results file holds of runs like this one."""
    lines = map(json.loads, out.read_text().splitlines() if out.exists() else [])
    return [record for record in lines if record["key"] == spec["key"]]


def ratio(name: str, found: dict[str, Any]) -> float:
    """Return how many times as long as plain training a contender took in one repeat."""
    what = "steps" if CONTENDERS[name][1] == "step" else "seconds"
    mine, plain = (found[one][what] for one in (name, "plain"))
    return sum(mine) / sum(plain) if what == "steps" else mine / plain


def table(done: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    repeats = [record["found"] for record in done if "found" in record]
    lines = ["| | seconds | times plain, median (range) | asked | |", "|---|---|---|---|---|"]
    for name in repeats[0] if repeats else ():
        _, kind, asked = CONTENDERS[name]
        took = [statistics.mean(r[name]["steps"]) if kind == "step" else r[name]["seconds"] for r in repeats]
        times = [ratio(name, found) for found in repeats]
        middle, last = statistics.median(times), repeats[-1][name]
        if asked is not None and "predicted" in last:
            asked += last["predicted"] / (3 * last["trained"])
        verdict = " | " if asked is None else f"{asked:.2f} | {'met' if middle <= asked else 'not met'}"
        span = f"{middle:.2f} ({min(times):.2f} to {max(times):.2f})"
        lines.append(f"| {name}, {kind} | {statistics.median(took):.3f} | {span} | {verdict} |")
    sizes = [json.dumps(record["megabytes"]) for record in done if "megabytes" in record]
    facts = [f"State of 1,000,000 rows of 2 classes, MB, asked below 64: {size}" for size in sizes[-1:]]
    return "\n".join([*lines, f"\n{len(repeats)} repeats.", *facts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder: a split `train`, a text column, `label`")
    parser.add_argument("--out", type=Path, required=True, help="results, one JSON line a repeat")
    parser.add_argument("--contenders", nargs="+", default=["*"], help="names or patterns; plain runs in any case")
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--pass_batch", type=int, default=128, help="rows at once of passes outside training")
    parser.add_argument("--steps", type=int, default=12, help="steps counted of each online contender")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--table", action="store_true", help="print the results and run nothing")
    options = parser.parse_args()
    if WARM + options.steps > options.rows // options.batch:
        parser.error(f"`--steps` and {WARM} before them must fit into one epoch of `--rows`")
    logging.set_verbosity_error()
    torch.set_num_threads(options.threads)
    chosen = [name for name in CONTENDERS if any(fnmatch(name, glob) for glob in ("plain", *options.contenders))]
    same: dict[str, Any] = {key: getattr(options, key) for key in ("rows", "batch", "pass_batch", "steps", "threads")}
    same |= {"data": options.data.name, "contenders": chosen, "torch": torch.__version__, "cpu": platform.machine()}
    spec = {"key": hashlib.sha256(json.dumps(same).encode()).hexdigest()[:16], **same}
    if not options.table:
        measure(options, chosen, spec)
    print(table(records(options.out, spec)))


if __name__ == "__main__":
    main()
