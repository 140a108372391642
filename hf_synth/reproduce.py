"""Redoing chunks of a data set from what its folder records, with no journal at hand."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from .errors import InputError
from .generators.base import OutOfMemory
from .journal import Journal, Place, answer_digest, seed_of
from .models import Source, resolve, snapshot
from .produce import PLACE
from .records import Prompt
from .version import installed

MATCH, DIFFERS, ELSEWHERE = "match", "differs", "other processor or versions"
# Of a generator's facts, what decides digits.
DIGITS = ("dtype", *PLACE)
VERBATIM = ("single", "pair")  # kinds of task whose text is the answer but for white space
FILES = ("facts.json", "config.yaml", "chunks.parquet", "prompts.parquet")


@dataclass(frozen=True)
class Outcome:
    """What became of one chunk.

    Attributes:
        key: The chunk's key.
        stage: Which stage of the method it is of.
        verdict: `match`, `differs`, or `other processor or versions`.
        reason: In words.
    """

    key: str
    stage: str
    verdict: str
    reason: str


def find(name: str) -> Path:
    """Return the folder of a data set: a local one, or the copy of a repository of the Hub.

    Raises:
        InputError: If there is none.
    """
    if (folder := Path(os.path.expanduser(name))).is_dir():
        return folder
    return snapshot(name, repo_type="dataset", allow_patterns=["hf_synth/*", "data/*.parquet"])


def read_facts(folder: Path) -> dict[str, Any]:
    """Return what is recorded of a data set whose chunks can be redone.

    Raises:
        InputError: Saying why they cannot.
    """
    for name in FILES:
        if not (folder / "hf_synth" / name).exists():
            raise InputError(
                f"{str(folder)!r} holds no hf_synth/{name}: not a data set that `hf-synth generate` wrote"
            )
    try:
        facts = json.loads((folder / "hf_synth/facts.json").read_text(encoding="utf-8"))
        columns = pq.read_schema(folder / "hf_synth/chunks.parquet").names
    except (ValueError, OSError) as error:
        raise InputError(f"the records in {str(folder / 'hf_synth')!r} cannot be read: {error}") from None
    if "answers" not in columns:
        raise InputError(
            f"hf_synth/chunks.parquet of {str(folder)!r} was written before answers were recorded; "
            "`hf-synth generate` with the same settings and `output_dir` writes it anew, asking nothing"
        )
    if reason := _cannot(facts):
        raise InputError(f"{str(folder)!r} cannot be redone: {reason}")
    return facts


def _cannot(facts: Mapping[str, Any]) -> str | None:
    generator, backend = facts["generator"], facts["settings"]["backend"]
    name = generator.get("name")
    if backend == "chat":
        return f"`backend: chat` asked {name} over an endpoint, which does not repeat itself"
    if backend == "corpus":
        sources = ", ".join(source["path"] for source in facts["sources"]) or "a corpus"
        return f"`backend: corpus` found its texts in {sources}, which the folder does not hold"
    if "adapter" in generator:
        return (
            f"its texts were written beside the adapter {generator['adapter']['name']}, which the folder does not hold"
        )
    if generator.get("origin") not in ("local", "hub", "package"):
        return f"its texts are not those of a language model but of {name} ({generator.get('origin')})"
    return None


def open_writer(facts: Mapping[str, Any], model: str | None = None) -> Any:
    """Open the generator that wrote a data set, with the dtype and threads it had.

    Args:
        facts: As recorded.
        model: Where its weights are, if not where their name leads: a folder or Hub id.

    Raises:
        InputError: If other weights are found there.
    """
    recorded = facts["generator"]
    source = resolve(model or recorded["name"])
    if source.sha256 != recorded["sha256"]:
        raise InputError(
            f"the data set was written by {recorded['name']} with weights of sha256 {recorded['sha256'][:12]}; those "
            f"of {model or source.name!r} have {source.sha256[:12]}: give the right ones with `model`"
        )
    return _engine(facts["settings"]["backend"], source, recorded)


def _engine(backend: str, source: Source, recorded: Mapping[str, Any]) -> Any:
    named: Any = {"name": source.name, "digest": source.sha256, "source": source.facts()}
    if backend == "vllm":
        from .generators.vllm import VLLMGenerator

        return VLLMGenerator(source.path, dtype=recorded["dtype"], engine=recorded.get("engine_args"), **named)
    from .generators.local import LocalGenerator

    if "threads" in recorded:
        import torch

        torch.set_num_threads(recorded["threads"])
    return LocalGenerator(source.path, dtype=recorded["dtype"], **named)


def reproduce(folder: Path, facts: Mapping[str, Any], writer: Any, chunks: int, seed: int) -> Iterator[Outcome]:
    """Redo chunks drawn at random.

    Args:
        folder: The data set's folder.
        facts: What `read_facts` returned.
        writer: What `open_writer` returned.
        chunks: How many; all where there are fewer.
        seed: Decides which.
    """
    table = pq.read_table(folder / "hf_synth/chunks.parquet")
    drawn = random.Random(seed).sample(range(len(table)), min(chunks, len(table)))
    for chunk in table.take(sorted(drawn)).to_pylist():
        verdict, reason = _redo(folder, facts, writer, chunk)
        yield Outcome(chunk["key"], chunk["stage"], verdict, reason)


def differences(facts: Mapping[str, Any], writer: Any) -> list[str]:
    """Say what of the processor and the versions differs between then and now."""
    before = {**facts["versions"], **{name: facts["generator"].get(name) for name in DIGITS}}
    now = {
        **{name: installed(name) for name in facts["versions"]},
        **{name: writer.source.get(name) for name in DIGITS},
    }
    return [f"{name} {before[name]} there and {now[name]} here" for name in before if before[name] != now[name]]


def _redo(folder: Path, facts: Mapping[str, Any], writer: Any, chunk: Mapping[str, Any]) -> tuple[str, str]:
    """Return the verdict on a chunk and the reason; only for its answers can processor and versions be to blame."""
    prompts, decoding = _prompts(folder, chunk), json.loads(chunk["decoding"])
    whole = len(prompts) == len(chunk["answers"]) and chunk["seed"] == seed_of(chunk["key"])
    if not whole or _key(facts, writer, chunk, prompts, decoding) != chunk["key"]:
        return DIFFERS, "its prompts and settings, as they are recorded, are not those of its key"
    try:
        answers = writer.complete(prompts, seed=chunk["seed"], batch_size=chunk["batch_size"], **decoding)
    except OutOfMemory:
        size = chunk["batch_size"]
        raise InputError(f"a batch of {size}, as it was written in, does not fit into the memory here") from None
    for place, (answer, recorded) in enumerate(zip(answers, chunk["answers"], strict=True), 1):
        if answer_digest(answer) != recorded:
            asked, elsewhere = chunk["prompt_ids"][place - 1], differences(facts, writer)
            reason = f"answer {place} of {len(answers)} (prompt {asked}) is another: it is now {answer.text!r}"
            return (ELSEWHERE, "; ".join([*elsewhere, reason])) if elsewhere else (DIFFERS, reason)
    rows = _rows(folder, facts, chunk) if chunk["stage"] == "rows" else {}
    found = 0
    for asked, answer in zip(chunk["prompt_ids"], answers, strict=True):
        for index, text in rows.get((asked, answer.logprob and np.float32(answer.logprob)), ()):
            if text not in " ".join(answer.text.split()):
                return DIFFERS, f"row {index} of the data set holds {text!r}; the answer was {answer.text!r}"
            found += 1
    return MATCH, f"{len(answers)} answers{f', {found} of them rows of the data set' if rows else ''}"


def _prompts(folder: Path, chunk: Mapping[str, Any]) -> list[Prompt]:
    """Return a chunk's prompts; none where one is missing."""
    ids = chunk["prompt_ids"]
    wanted = [("prompt_id", "in", sorted({*ids}))]
    held = pq.read_table(folder / "hf_synth/prompts.parquet", filters=wanted).to_pylist()
    known = {one["prompt_id"]: (one["text"], tuple(one["against"])) for one in held}
    if known.keys() != {*ids}:
        return []
    pairs = zip(ids, chunk["given"] or ["{}"] * len(ids), strict=True)
    return [Prompt(known[one][0], given=json.loads(fields), against=known[one][1]) for one, fields in pairs]


def _key(
    facts: Mapping[str, Any], writer: Any, chunk: Mapping[str, Any], prompts: Sequence[Prompt], decoding: Any
) -> str:
    settings = {"weights": writer.digest, "seed": facts["settings"]["seed"], "decoding": decoding}
    content = Journal(None).place(prompts, settings, chunk["batch_size"]).content
    return Journal(None).key(Place(content, chunk["ordinal"], 0, chunk["batch_size"]))[0]


def _rows(
    folder: Path, facts: Mapping[str, Any], chunk: Mapping[str, Any]
) -> dict[tuple[str, Any], list[tuple[int, str]]]:
    """Return index and text of the rows to a chunk's prompts, by prompt and log-probability.

    Only where a row's text is the answer's but for white space, its ending and a start that it was given.
    """
    task = facts["settings"]["task"]
    if task["kind"] not in VERBATIM:
        return {}
    column, wanted = task["columns"][-1], [("prompt_id", "in", sorted({*chunk["prompt_ids"]}))]
    found: dict[tuple[str, Any], list[tuple[int, str]]] = {}
    for file in sorted(file for pattern in facts["data"] for file in folder.glob(pattern)):
        names = ["index", "prompt_id", "logprob", "attributes", column]
        for row in pq.read_table(file, columns=names, filters=wanted).to_pylist():
            start = " ".join(json.loads(row["attributes"]).get("start word", "").split())
            text = row[column].removesuffix(task["ending"]).removeprefix(start).strip()
            logprob = None if row["logprob"] is None else np.float32(row["logprob"])
            found.setdefault((row["prompt_id"], logprob), []).append((row["index"], text))
    return found
