"""Running a method once into files: rows, rejects, chunks and prompts, written as they come."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .chunks import Asked
from .columns import named_schema
from .journal import Chunk, answer_digest
from .records import Example, Prompt
from .run import Run
from .shapes import shape

HIDDEN = "(a real row, word for word: not shown)"
BLOCK = 4096  # rows held in memory before they are written


class RowWriter:
    """A Parquet file that grows row by row; its bytes depend on the rows alone.

    Args:
        path: The file.
        columns: Name -> Arrow type of what `append` is given, in order.
        constants: Name -> value of string columns that are the same in every row.
    """

    def __init__(self, path: Path, columns: Mapping[str, pa.DataType], constants: Mapping[str, str] | None = None):
        self.constants = dict(constants or {})
        self.names, self.types = list(columns), list(columns.values())
        fields = [*columns.items(), *((name, pa.string()) for name in self.constants)]
        self.schema = pa.schema(fields)
        self.rows = 0
        self._writer = pq.ParquetWriter(path, self.schema, compression="zstd")
        self._held: list[Sequence[Any]] = []

    def append(self, row: Sequence[Any]) -> None:
        """Add one row."""
        self._held.append(row)
        if len(self._held) >= BLOCK:
            self._flush()

    def close(self) -> None:
        """Write what is held and the file's footer."""
        if self._held:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        count = len(self._held)
        columns = [
            pa.array(values, kind) for values, kind in zip(zip(*self._held, strict=True), self.types, strict=True)
        ]
        columns += [pa.repeat(pa.scalar(value, pa.string()), count) for value in self.constants.values()]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self.schema))
        self.rows += count
        self._held = []


@lru_cache(maxsize=4096)
def _prompt_id(text: str, against: tuple[str, ...]) -> str:
    return hashlib.sha256("\0".join((text, *against)).encode()).hexdigest()[:16]


@lru_cache(maxsize=4096)
def _json(attributes: tuple[tuple[str, str], ...]) -> str:
    return json.dumps(dict(attributes), ensure_ascii=False)


def prompt_id(prompt: Prompt) -> str:
    """Return the id under which a prompt stands in the provenance columns."""
    return _prompt_id(prompt.text, prompt.against)


class Work:
    """The four tables of one run, listening to it as it goes.

    `rows` has the task's columns (labels by name), `index` and the provenance columns; `rejects` the
    raw texts that were dropped, each with its reason; `chunks` what is needed to ask again and to know the answers;
    `prompts` each prompt once.
    """

    def __init__(self, folder: Path, run: Run, watch: Callable[[Run, str], None] | None = None):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.run, self.watch = folder, run, watch
        text = pa.string()
        self.shape = shape(run.task)
        own = named_schema(self.shape.features(run.task))
        self.rows = RowWriter(
            folder / "rows.parquet",
            dict(zip(own.names, own.types, strict=True))
            | {
                "index": pa.int64(),
                "prompt_id": text,
                "attributes": text,
                "logprob": pa.float32(),
            },
            {"model": "", "model_sha256": ""},
        )
        self.rejects = RowWriter(
            folder / "rejects.parquet", {"text": text, "cell": text, "stage": text, "reason": text, "prompt_id": text}
        )
        self.chunks = RowWriter(
            folder / "chunks.parquet",
            {
                "stage": text,
                "key": text,
                "seed": pa.uint64(),
                "prompt_ids": pa.list_(text),
                "decoding": text,
                "batch_size": pa.int32(),
                "ordinal": pa.int32(),
                "given": pa.list_(text),
                "answers": pa.list_(pa.uint64()),
            },
        )
        self.prompts = RowWriter(
            folder / "prompts.parquet", {"prompt_id": text, "text": text, "against": pa.list_(text)}
        )
        self._known: set[int] = set()
        run.listener = self

    def chunk(self, stage: str, chunk: Chunk, asked: Asked) -> None:
        """Note a chunk and the prompts that are new with it."""
        ids = []
        for prompt in asked.prompts:
            ids.append(prompt_id(prompt))
            key = int(ids[-1], 16)
            if key not in self._known:
                self._known.add(key)
                self.prompts.append((ids[-1], prompt.text, prompt.against))
        decoding = json.dumps(dict(asked.decoding), ensure_ascii=False)
        given = [_json(tuple(prompt.given.items())) for prompt in asked.prompts]
        answers = [answer_digest(answer) for answer in chunk.completions]
        how = (decoding, asked.batch_size, asked.place.ordinal)
        self.chunks.append(
            (
                stage,
                chunk.key,
                chunk.seed,
                ids,
                *how,
                given if any(prompt.given for prompt in asked.prompts) else None,
                answers,
            )
        )
        if self.watch:
            self.watch(self.run, stage)

    def rejected(self, stage: str, prompt: Prompt, text: str, reason: str) -> None:
        """Note a dropped completion, personal data masked; a real row is not published by being repeated.

        That holds whatever it was dropped for: the second copy is a duplicate, and one of few words too short.
        """
        if any(copies.within(text) for copies in self.run.copies):
            text = HIDDEN
        elif self.run.masks:
            text = self.run.masks.text(text)
        cell = None if prompt.cell is None else str(prompt.cell)
        self.rejects.append((text, cell, stage, reason, prompt_id(prompt)))

    def write(self, examples: Iterable[Example]) -> int:
        """Write a method's examples as they come and close the tables.

        Returns:
            The number of rows.

        Raises:
            RuntimeError: If the ledger does not add up to the rows written.
        """
        task, count = self.run.task, 0
        for count, example in enumerate(examples, 1):  # noqa: B007 (read after the loop)
            if count == 1:  # by now a method has tuned its generator, or taken another, if it does
                writer = self.run.generator
                self.rows.constants.update(model=writer.name, model_sha256=writer.digest)
            prompt = example.prompt
            self.rows.append(
                (
                    *self.shape.stored(task, example).values(),
                    count - 1,
                    prompt_id(prompt),
                    _json(tuple(prompt.attributes.items())),
                    example.logprob,
                )
            )
        for table in (self.rows, self.rejects, self.chunks, self.prompts):
            table.close()
        kept = self.run.ledger.stage("rows").kept
        if kept != count:
            raise RuntimeError(f"the ledger counts {kept} kept rows, {count} were written: a bug in the method")
        return count
