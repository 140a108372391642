"""Kept tokens per second of this engine and of its peers: the tables in recipes/benchmarks/README.md.

    python recipes/benchmarks/generation.py --model FOLDER --out results.jsonl \
        --python distilabel=ENV/bin/python --python vllm=ENV/bin/python [--scenario icl] [--contenders ours 'plain-*']

Every contender is a process of its own (`peers/`), in its own Python, and gets the same spec file: model, prompts,
40 new tokens, top-p 0.9, the closing quote, bfloat16, threads. It loads the model, warms up, and times generation.
What its texts are worth is counted here, for all in the same way: a text is cut by the package's own parser, and a
*kept token* is a token of a text that survives. Contenders take turns; the order rotates with each repeat. Results go
to a file line by line; what stands there is not run again.

To tune plain `generate`: --contenders 'plain-*' --repeats 1 --rows 256, then name the best ones in the long run.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from hf_synth.parse import labelled
from hf_synth.prompts import Rotation, label_prompts
from hf_synth.records import Completion, Prompt
from hf_synth.tasks import load_task

HERE = Path(__file__).parent
TASK = HERE.parent / "paper_tasks" / "sst2.yaml"
BLOCK = 256  # rows of one label that follow one another, as in a run: the chunk
GROUP = 64  # rows that share their in-context examples
EXAMPLES = 8


@dataclass(frozen=True)
class Contender:
    """A script of `peers/`, the name of its Python environment, its settings, and its own number of rows if slow."""

    script: str
    python: str
    settings: dict[str, Any] = field(default_factory=dict)
    rows: int | None = None


def plain(batch_size: int, top_k: int = 0, stop: str = "none") -> Contender:
    return Contender("plain_generate", "hf_synth", {"batch_size": batch_size, "top_k": top_k, "stop": stop}, rows=256)


def continuous(requests: int, page_size: int, top_k: int = 0) -> Contender:
    settings = {"requests": requests, "page_size": page_size, "top_k": top_k}
    return Contender("continuous", "hf_synth", settings)


def vllm(sequences: int, how: str) -> Contender:
    settings = {"max_num_seqs": sequences, "compile": how != "eager", "process": "own" if how == "own" else "in"}
    return Contender("vllm_cpu", "vllm", settings)


OURS = {"ours": Contender("ours", "hf_synth", {"batch_size": 256, "chunk_size": 256})}
RANKS = {"ours-2-ranks": Contender("ours", "hf_synth", {"batch_size": 256, "chunk_size": 256, "ranks": 2})}
PLAIN = {
    f"plain-{size}-k{top_k}-{stop}": plain(size, top_k, stop)
    for size in (32, 64, 128, 256)
    for top_k in (0, 50)
    for stop in ("none", "strings", "tokens")
}
SCENARIOS: dict[str, dict[str, Contender]] = {
    "zerogen": {
        **OURS,
        **RANKS,
        **PLAIN,
        **{f"continuous-{n}-k{k}": continuous(n, 32, k) for n in (32, 64, 128, 256) for k in (0, 50)},
        "distilabel-shipped": Contender("distilabel_llm", "distilabel", {"batch_size": 0, "top_k": 0}, rows=32),
        **{
            f"distilabel-patched-{n}": Contender(
                "distilabel_llm", "distilabel", {"batch_size": n, "top_k": 0}, rows=256
            )
            for n in (32, 64, 128)
        },
        **{f"vllm-{n}-{how}": vllm(n, how) for n in (64, 128, 256) for how in ("eager", "compiled", "own")},
    },
    "icl": {
        **OURS,
        **{f"plain-{size}-k{k}-tokens": plain(size, k, "tokens") for size in (16, 32, 64) for k in (0, 50)},
        **{f"continuous-{n}-k{k}": continuous(n, 32, k) for n in (32, 64) for k in (0, 50)},
        "vllm-64-compiled": vllm(64, "compiled"),
    },
}
HEADLINE = (
    *("ours", "ours-2-ranks", "plain-32-k0-tokens", "plain-128-k50-tokens", "vllm-256-compiled"),
    *("distilabel-shipped", "distilabel-patched-128"),
)


def call(contender: Contender, spec: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Run a contender once and return what it printed, or its last words under `error`."""
    pythons = {"hf_synth": sys.executable, **dict(entry.split("=", 1) for entry in options.python)}
    if contender.python not in pythons:
        return {"error": f"no environment: give --python {contender.python}=PATH"}
    ranks = contender.settings.get("ranks", 1)
    threads = str(options.threads // ranks)
    closed = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": threads, "TRANSFORMERS_VERBOSITY": "error"}
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"] if ranks > 1 else []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "spec.json"
        file.write_text(json.dumps({**spec, "settings": contender.settings}))
        script = [*launcher, str(HERE / "peers" / f"{contender.script}.py"), str(file)]
        command = [pythons[contender.python], "-W", "ignore", *script]
        closed["SHARED_JOURNAL"] = folder
        try:
            found = subprocess.run(
                command, capture_output=True, text=True, env={**os.environ, **closed}, timeout=options.timeout
            )
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {options.timeout} s"}
    for line in reversed(found.stdout.splitlines()):
        if line.startswith('{"result":'):
            return json.loads(line)["result"]
    return {"error": " | ".join((found.stderr or found.stdout).strip().splitlines()[-3:])}


def make_prompts(options: argparse.Namespace, rows: int) -> list[Prompt]:
    """Return the scenario's prompts; the model writes titles and examples once, they stay beside the results."""
    task = load_task(str(TASK))
    file = options.out.with_suffix(f".prompts-{rows}.json")
    spec = {**shared_spec(options), "openings": max(8, rows // 2), "examples": EXAMPLES * max(1, rows // GROUP) // 2}
    if not file.exists():
        made = call(Contender("prompts", "hf_synth"), spec, options)
        if "error" in made:
            sys.exit(f"no prompts: {made['error']}")
        file.write_text(json.dumps(made, indent=1, ensure_ascii=False))
    made = json.loads(file.read_text())
    titles = Rotation(iter(made["openings"]))
    streams = {label: label_prompts(task, label, titles, random.Random(0)) for label in task.cells}
    prompts: list[Prompt] = []
    while len(prompts) < rows:
        label = task.cells[len(prompts) // BLOCK % len(task.cells)]
        prompts += islice(streams[label], min(BLOCK, rows - len(prompts)))
    if options.scenario == "icl":
        mixed = [text for pair in zip_longest(*made["examples"]) for text in pair if text]
        prompts = [_with_examples(prompt, mixed, at // GROUP) for at, prompt in enumerate(prompts)]
    return prompts


def _with_examples(prompt: Prompt, examples: list[str], group: int) -> Prompt:
    chosen = (examples[group * EXAMPLES :] + examples)[:EXAMPLES]
    return Prompt("".join(f'{text}"\n' for text in chosen) + prompt.text, prompt.cell, attributes=prompt.attributes)


def shared_spec(options: argparse.Namespace) -> dict[str, Any]:
    """Return what every contender is told, prompts aside."""
    task = load_task(str(TASK))
    spec = {"model": str(options.model), "task": str(TASK), "dtype": options.dtype, "threads": options.threads}
    return {**spec, "max_new_tokens": task.max_new_tokens, "top_p": 0.9, "stop": task.stop[0], "seed": 0}


def count_kept(options: argparse.Namespace, prompts: list[Prompt], found: dict[str, Any]) -> list[int]:
    """Return the kept tokens of each text: 0 for one that the package's parser drops.

    A text that reached neither the quote nor an end token was cut off by the token limit. Where a contender cannot
    tell, an answer shorter than the limit is taken to have ended by itself.
    """
    task, tokenizer = load_task(str(TASK)), Tokenizer.from_file(str(options.model / "tokenizer.json"))
    parse, kept = labelled(task), []

    def tokens(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    for at, (prompt, text) in enumerate(zip(prompts, found["texts"], strict=True)):
        head, quote, _ = text.partition(task.stop[0])
        ended = found["ended"][at] if "ended" in found else tokens(text) < task.max_new_tokens
        example = parse(prompt, Completion(head, finish="stop" if quote or ended else "length"))
        kept.append(0 if isinstance(example, str) else tokens(example.fields[task.generated]))
    return kept


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield one record per contender and repeat: those of the results file, and the missing ones as they finish."""
    chosen = {
        name: contender
        for name, contender in SCENARIOS[options.scenario].items()
        if any(fnmatch(name, pattern) for pattern in options.contenders)
    }
    prompts = make_prompts(options, options.rows)
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    done = {record["key"]: record for record in map(json.loads, lines) if "error" not in record}
    for repeat in range(options.repeats):
        turn = repeat % max(1, len(chosen))
        for name in [*list(chosen)[turn:], *list(chosen)[:turn]]:
            contender = chosen[name]
            asked = prompts[: contender.rows or options.rows]
            spec = {**shared_spec(options), "prompts": [p.text for p in asked], "cells": [p.cell for p in asked]}
            spec["seed"] = repeat
            key = hashlib.sha256(json.dumps([name, repeat, spec, contender.settings]).encode()).hexdigest()[:16]
            if key not in done:
                label = {"key": key, "scenario": options.scenario, "contender": name, "repeat": repeat}
                done[key] = record_once(options, label, contender, spec, asked)
            yield done[key]


def record_once(
    options: argparse.Namespace,
    label: dict[str, Any],
    contender: Contender,
    spec: dict[str, Any],
    asked: list[Prompt],
) -> dict[str, Any]:
    """Run a contender once, append the record to the results file, and return it."""
    load, start = os.getloadavg()[0], time.strftime("%Y-%m-%d %H:%M:%S")
    found = call(contender, spec, options)
    record = {**label, "rows": len(asked), "start": start, "load_before": round(load, 2), **found}
    if "texts" in found:
        kept = count_kept(options, asked, found)
        record |= {"kept_tokens": sum(kept), "kept_rows": sum(map(bool, kept))}
        record["per_second"] = record["kept_tokens"] / record["seconds"]
    with options.out.open("a") as stream:
        stream.write(json.dumps(record, ensure_ascii=False) + "\n")
    rate = f"{record['per_second']:.1f} kept tokens/s" if "per_second" in record else record["error"]
    print(f"{label['contender']} {label['repeat']}: {rate} (load before: {load:.2f})", file=sys.stderr, flush=True)
    return record


def table(records: list[dict[str, Any]]) -> str:
    """Return the results as Markdown, best first."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault(record["contender"], []).append(record)
    rates = {name: [r["per_second"] for r in runs if "per_second" in r] for name, runs in groups.items()}
    medians = {name: statistics.median(values) if values else 0.0 for name, values in rates.items()}
    lines = [
        "| contender | kept tokens/s, median (range) | runs | ours is | rows | kept | peak GB | settings | versions |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in sorted(groups, key=lambda name: -medians[name]):
        last = groups[name][-1]
        if not rates[name]:
            lines.append(f"| {name} | failed: {last['error'].replace('|', '/')[:300]} | | | | | | | |")
            continue
        good = [record for record in groups[name] if "per_second" in record]
        span = f"{medians[name]:.1f} ({min(rates[name]):.1f} to {max(rates[name]):.1f})"
        times = f"{medians['ours'] / medians[name]:.2f} times" if medians.get("ours") else ""
        kept = f"{sum(r['kept_rows'] for r in good) / sum(r['rows'] for r in good):.0%}"
        memory = max(r["memory_gb"] for r in good)
        parts = (good[-1]["settings"], good[-1]["versions"])
        settings, versions = ("; ".join(f"{key} {value}" for key, value in part.items()) for part in parts)
        row = [name, span, len(good), times, good[-1]["rows"], kept, memory, settings, versions]
        lines.append(f"| {' | '.join(map(str, row))} |")
    shares = [1 - r["model_seconds"] / r["seconds"] for r in groups.get("ours", []) if "model_seconds" in r]
    if shares and medians.get("ours"):
        outside = statistics.median(shares)
        limit = medians["ours"] / (1 - outside)
        lines.append(f"\nours: {outside:.1%} of the time outside the model's forward passes (limit {limit:.1f}/s)")
    return "\n".join(lines)


def machine() -> str:
    """Return the processor's name and the number of cores in use."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {len(os.sched_getaffinity(0))} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder with safetensors and tokenizer.json")
    parser.add_argument("--out", type=Path, required=True, help="results, one JSON line each")
    parser.add_argument("--scenario", choices=SCENARIOS, default="zerogen")
    parser.add_argument("--contenders", nargs="+", default=list(HEADLINE), help="names or patterns")
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--timeout", type=float, default=3600)
    options = parser.parse_args()
    records = list(measure(options))
    print(f"\n{options.scenario}: {options.rows} rows, {options.threads} threads, {options.dtype}, {machine()}\n")
    print(table(records))


if __name__ == "__main__":
    main()
