"""`Run`: a task, a generator, a seed, a journal and a ledger, behind four verbs."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from .errors import InputError
from .generators.base import Generator, OutOfMemory
from .journal import Chunk, Journal, seed_of
from .ledger import Ledger
from .records import Completion, Example, Prompt
from .task import Task

Parse = Callable[[Prompt, Completion], "Example | str"]
Filter = Callable[[Sequence[Example]], "Sequence[str | None]"]

PROBE = 24  # prompts in the first chunk of a stage


class Listener(Protocol):
    """Told of everything a run does, as it does it."""

    def chunk(self, stage: str, chunk: Chunk, prompts: Sequence[Prompt]) -> None:
        """A chunk was answered, now or from the journal, and its drops are counted."""

    def rejected(self, stage: str, prompt: Prompt, text: str, reason: str) -> None:
        """A completion was dropped."""


class Run:
    """What a method writes against. A method is one function over a `Run` that yields examples.

    Args:
        task: The task.
        generator: Writes the texts.
        seed: Decides, with the settings, every text.
        num_rows: Where to stop; never read by anything that decides a text.
        journal: Records and replays; by default nothing is recorded.
        listener: Told of chunks and drops.
        chunk_size: Prompts per chunk; by default 256, fewer for tasks of many labels.
        batch_size: Forward rows at once inside a chunk.
    """

    def __init__(
        self,
        task: Task,
        generator: Generator,
        *,
        seed: int = 0,
        num_rows: int = 1000,
        journal: Journal | None = None,
        listener: Listener | None = None,
        chunk_size: int | None = None,
        batch_size: int = 128,
    ):
        self.task, self.generator, self.seed, self.num_rows = task, generator, seed, num_rows
        self.journal = journal or Journal(None)
        self.listener = listener
        self.ledger = Ledger()
        self.chunk_size = chunk_size or max(16, min(256, 2048 // len(task.cells)))
        self.batch_size = batch_size

    def rng(self, name: str) -> random.Random:
        """Return a random stream of its own for one purpose, a function of the seed and the name."""
        return random.Random(f"{self.seed}:{name}")

    def targets(self) -> dict[Hashable, int]:
        """Return the wanted rows of each cell: `num_rows` cut evenly, the first cells taking what is over."""
        share, over = divmod(self.num_rows, len(self.task.cells))
        return {cell: share + (place < over) for place, cell in enumerate(self.task.cells)}

    def complete(
        self, prompts: Iterable[Prompt], parse: Parse, *filters: Filter, stage: str = "rows", **decoding: Any
    ) -> Iterator[Example]:
        """Ask for completions, chunk by chunk, and yield those that parse and that no filter drops.

        Args:
            prompts: A stream of prompts.
            parse: Turns a completion into an example or the reason for dropping it.
            *filters: See `keep`.
            stage: Name under which the ledger counts; the examples of `rows` become rows.
            **decoding: Passed to the generator.

        Raises:
            InputError: If nothing of a stage's first prompts can be kept.
        """
        stream = iter(prompts)
        while chunk := list(islice(stream, self._size(stage))):
            yield from self._handed_on(self._block(chunk, parse, filters, stage, decoding), stage)

    def keep(self, examples: Iterable[Example], *filters: Filter, stage: str = "rows") -> Iterator[Example]:
        """Yield the examples that no filter drops; each filter sees what the ones before it kept, in blocks."""
        stream = iter(examples)
        while block := list(islice(stream, self.chunk_size)):
            yield from self._handed_on(self._filtered(block, filters, stage), stage)

    def fill(
        self,
        targets: Mapping[Hashable, int],
        prompts_for: Callable[[Any], Iterable[Prompt]],
        parse: Parse,
        *filters: Filter,
        max_attempts: int = 20,
        **decoding: Any,
    ) -> Iterator[Example]:
        """Ask until each cell is full, or give its account.

        The cell that is least full is asked next, a chunk at a time, and kept examples are yielded in rotation over
        the cells. Neither order reads how many rows are wanted, so the rows of a smaller run open those of a larger
        (as long as no cell is given up: that limit grows with the rows wanted).

        Args:
            targets: Rows wanted per cell.
            prompts_for: Gives a cell's endless stream of prompts.
            parse: See `complete`.
            *filters: See `keep`.
            max_attempts: A cell is given up once this many completions were asked per row wanted (and at least
                two chunks); the ledger then says so.
            **decoding: Passed to the generator.
        """
        cells = {cell: _Cell(cell, place, want) for place, (cell, want) in enumerate(targets.items()) if want > 0}
        streams = {cell: iter(prompts_for(cell)) for cell in cells}
        while open_cells := [c for c in cells.values() if not c.closed]:
            cell = min(open_cells, key=_Cell.fullness)
            prompts = list(islice(streams[cell.key], self._size("rows")))
            kept = self._block(prompts, parse, filters, "rows", decoding)
            cell.asked += len(prompts)
            cell.kept += len(kept)
            cell.waiting.extend(kept)
            spent = cell.asked >= max(max_attempts * cell.want, 2 * self.chunk_size)
            if cell.kept < cell.want and (spent or not prompts):
                cell.given_up = True
                self.ledger.account(cell.key, f"{cell.kept} of {cell.want} rows after {cell.asked} completions")
            yield from _rotation(cells.values())
        for cell in cells.values():
            for example in cell.waiting:
                self.drop(example, "surplus", "rows")

    def once(self, name: str, inputs: Any, compute: Callable[[], Any]) -> Any:
        """Return the JSON-able result of something expensive or float-dependent, recorded the first time.

        Args:
            name: What it is.
            inputs: JSON-able; a change makes it be computed anew.
            compute: Computes it.
        """
        return self.journal.once(name, inputs, compute)

    def once_folder(self, name: str, inputs: Any, compute: Callable[[Path], None]) -> Path:
        """Like `once`, for results that are files: `compute` fills the folder it is given."""
        return self.journal.once_folder(name, inputs, compute)

    def drop(self, example: Example, reason: str, stage: str) -> None:
        """Count an example as dropped and keep its text for the rejects."""
        self._reject(stage, example.prompt, "\n".join(example.fields.values()), reason)

    def _reject(self, stage: str, prompt: Prompt, text: str, reason: str) -> None:
        self.ledger.dropped(stage, reason)
        if self.listener:
            self.listener.rejected(stage, prompt, text, reason)

    def _handed_on(self, examples: Iterable[Example], stage: str) -> Iterator[Example]:
        """Yield examples; where the caller stops in the middle, what it did not take is counted as over."""
        block = deque(examples)
        try:
            while block:
                yield block.popleft()
        finally:
            for example in block:
                self.drop(example, "surplus", stage)

    def _filtered(self, block: Sequence[Example], filters: Sequence[Filter], stage: str) -> list[Example]:
        left = list(block)
        for check in filters:
            reasons = check(left)
            for example, reason in zip(left, reasons, strict=True):
                if reason is not None:
                    self.drop(example, reason, stage)
            left = [example for example, reason in zip(left, reasons, strict=True) if reason is None]
        return left

    def _size(self, stage: str) -> int:
        """Return how many prompts the next chunk takes: few for a stage's first, so that it fails or reports early."""
        return self.chunk_size if stage in self.ledger.stages else min(PROBE, self.chunk_size)

    def _block(
        self,
        prompts: Sequence[Prompt],
        parse: Parse,
        filters: Sequence[Filter],
        stage: str,
        decoding: Mapping[str, Any],
    ) -> list[Example]:
        """Ask one chunk and return what is kept of it."""
        if not prompts:
            return []
        first = stage not in self.ledger.stages
        chunk = self._answer(prompts, decoding)
        self.ledger.asked(stage, len(prompts), sum(c.tokens for c in chunk.completions), chunk.seconds)
        parsed = []
        for prompt, completion in zip(prompts, chunk.completions, strict=True):
            example = parse(prompt, completion)
            if isinstance(example, str):
                self._reject(stage, prompt, completion.text, example)
            else:
                parsed.append(example)
        kept = self._filtered(parsed, filters, stage)
        if self.listener:
            self.listener.chunk(stage, chunk, prompts)
        if first and not kept:
            (reason, _), *_ = self.ledger.stage(stage).dropped.most_common(1)
            raise InputError(
                f"nothing of the first {len(prompts)} {stage} could be kept (mostly: {reason}). To the prompt "
                f"{prompts[0].text!r} {self.generator.name} answered {chunk.completions[0].text!r}"
            )
        return kept

    def _answer(self, prompts: Sequence[Prompt], decoding: Mapping[str, Any]) -> Chunk:
        """Answer one chunk from the journal, else from the generator, which is then recorded."""
        settings = {"weights": self.generator.digest, "seed": self.seed, "decoding": dict(decoding)}
        while True:
            key, batch_size = self.journal.open_chunk(prompts, settings, self.batch_size)
            if recorded := self.journal.read(key):
                return recorded
            start = time.perf_counter()
            try:
                completions = self.generator.complete(prompts, seed=seed_of(key), batch_size=batch_size, **decoding)
            except OutOfMemory:
                self.journal.halve(batch_size)
                continue
            if len(completions) != len(prompts):
                raise InputError(f"{self.generator.name} gave {len(completions)} answers to {len(prompts)} prompts")
            chunk = Chunk(key, seed_of(key), completions, time.perf_counter() - start)
            self.journal.write(chunk)
            return chunk


class _Cell:
    """A cell as it fills: what was asked, kept, handed on, and waits for its turn."""

    def __init__(self, key: Hashable, place: int, want: int):
        self.key, self.place, self.want = key, place, want
        self.asked = self.kept = self.yielded = 0
        self.waiting: deque[Example] = deque()
        self.given_up = False

    @property
    def closed(self) -> bool:
        return self.given_up or self.kept >= self.want

    def fullness(self) -> tuple[float, int]:
        return self.kept / self.want, self.place


def _rotation(cells: Iterable[_Cell]) -> Iterator[Example]:
    """Yield waiting examples in rotation, as far as every cell that is owed a turn has one."""
    while owed := [c for c in cells if c.yielded < c.want and not (c.given_up and not c.waiting)]:
        cell = min(owed, key=lambda c: (c.yielded / c.want, c.place))
        if not cell.waiting:
            return
        cell.yielded += 1
        yield cell.waiting.popleft()
