"""`Run`: a task, a generator, a seed, a journal and a ledger, behind four verbs."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from .cells import Cell, cells_of, cut, rotation, waits
from .chunks import Asked, Chunks, Listener
from .dealing import PROBE, Dealing
from .deidentify import Masks
from .errors import InputError
from .filters.copies import Copies
from .generators.base import Generator
from .journal import Journal
from .ledger import Ledger
from .ranks import Ranks
from .records import Completion, Example, Prompt
from .task import Task

Parse = Callable[[Prompt, Completion], "Example | str"]
Filter = Callable[[Sequence[Example]], "Sequence[str | None]"]


class Run:
    """What a method writes against. A method is one function over a `Run` that yields examples.

    Args:
        task: The task.
        generator: Writes the texts.
        seed: Decides, with the settings, every text.
        num_rows: Where to stop; never read by anything that decides a text.
        journal: Records and replays; by default nothing is recorded.
        listener: Told of chunks and drops.
        chunk_size: Prompts per chunk, fewer in the first ones; by default 256.
        batch_size: Forward rows at once inside a chunk.
        ahead: Chunks decided on before the first one's answers are looked at; it decides which prompts are asked.
        ranks: Which of the launched processes this is.

    Attributes:
        filters: What drops rows after the method's own filters, when their completions come.
        masks: Keep personal data out of shots and rejects; `copies` keep real rows out of rejects.
        cells: What the last `fill` fills, as far as it came.
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
        ahead: int = 4,
        ranks: Ranks | None = None,
    ):
        self.task, self.generator, self.seed, self.num_rows = task, generator, seed, num_rows
        self.journal, self.listener, self.ledger = journal or Journal(None), listener, Ledger()
        self.filters, self.copies = list[Filter](), list[Copies]()
        self.masks: Masks | None = None
        self.chunk_size, self.ahead, self.cells = chunk_size or 256, ahead, list[Cell]()
        self.chunks = Chunks(generator, self.journal, seed, batch_size, ranks or Ranks())

    def ask(self, generator: Generator) -> None:
        """Ask this one from here on."""
        self.generator = self.chunks.generator = generator

    def rng(self, name: str) -> random.Random:
        """Return a random stream of its own for one purpose, a function of the seed and the name."""
        return random.Random(f"{self.seed}:{name}")

    def targets(self, rows: int | None = None) -> dict[Hashable, int]:
        """Return the wanted rows of each cell: `num_rows`, or so many, cut by the task's shares."""
        return cut(self.num_rows if rows is None else rows, self.task.weights)

    def complete(
        self,
        prompts: Iterable[Prompt],
        parse: Parse,
        *filters: Filter,
        stage: str = "rows",
        required: bool = True,
        **decoding: Any,
    ) -> Iterator[Example]:
        """Ask for completions, chunk by chunk, and yield those that parse and that no filter drops.

        Args:
            prompts: A stream of prompts.
            parse: Turns a completion into an example or the reason for dropping it.
            *filters: See `keep`.
            stage: Name under which the ledger counts; the examples of `rows` become rows.
            required: Whether nothing kept of a stage's first prompts ends the run.
            **decoding: Passed to the generator; of `schema` and `stop` the one that it can have.

        Raises:
            InputError: If it does.
        """
        stream = iter(prompts)
        started: deque[Asked] = deque()
        try:
            while True:
                while len(started) < self._ahead(stage) and (part := list(islice(stream, self._size(stage)))):
                    started.append(self.chunks.decide(part, decoding))
                    started[-1].start(needed=isinstance(prompts, Sequence))
                if not started:
                    return
                yield from self._handed_on(self._block(started.popleft(), parse, filters, stage, required), stage)
        finally:
            self.chunks.rest(started)

    def keep(
        self, examples: Iterable[Example], *filters: Filter, whole: bool = False, stage: str = "rows"
    ) -> Iterator[Example]:
        """Yield the examples that no filter drops; each filter sees what the ones before it kept.

        Args:
            examples: Kept so far.
            *filters: Each gives every example `None` or the reason for dropping it.
            whole: Show a filter all examples at once, for those that rank; else in blocks.
            stage: Name under which the ledger counts.
        """
        stream = iter(examples)
        while block := list(islice(stream, None if whole else self.chunk_size)):
            yield from self._handed_on(self._filtered(block, filters, stage), stage)

    def fill(
        self,
        targets: Mapping[Hashable, int],
        prompts_for: Callable[[Any], Iterable[Prompt]],
        parse: Parse,
        *filters: Filter,
        max_attempts: int = 20,
        by_cell: Mapping[Any, Mapping[str, Any]] | None = None,
        over: list[Example] | None = None,
        **decoding: Any,
    ) -> Iterator[Example]:
        """Ask until each cell is full, or give its account.

        A chunk's prompts are dealt to the cells that will be least full; kept examples come in rotation over cells.
        Neither order reads how many rows are wanted: a smaller run's rows open a larger's, while no cell is given up.

        Args:
            targets: Rows wanted per cell.
            prompts_for: Gives a cell's endless stream of prompts.
            parse: See `complete`.
            *filters: See `keep`.
            max_attempts: A cell is given up, and the ledger says so, after so many a row (at least two chunks).
            by_cell: Decoding of a cell's own, over `decoding`.
            over: Examples that an earlier fill had over, which come first; on return, those that this one has.
            **decoding: See `complete`.
        """
        cells = self.cells = cells_of(targets, self.task.shares)
        left = [] if over is None else [example for example in over if not waits(example, cells)]
        adapter = getattr(self.generator, "adapter", None)  # whose sets, one a label, take turns inside a chunk
        apart = adapter is not None and len(adapter.names) > 1
        own = {cell: {**decoding, **(by_cell or {}).get(cell.key, {})} for cell in cells}
        dealing = Dealing(self.chunks, cells, prompts_for, own, apart)
        try:
            while not all(cell.closed for cell in cells):
                dealing.decide(self._ahead("rows"), partial(self._size, "rows"))
                dealing.begin()
                if asked := dealing.next():
                    self._block(asked, parse, filters, "rows", True, cells)
                    if not self.ledger.stage("rows").kept and all(c.asked or c.ended for c in cells):
                        raise self._nothing("rows", asked.prompts)
                for cell in dealing.give_up(max_attempts):
                    self.ledger.account(cell.key, f"{cell.kept} of {cell.want} rows after {cell.asked} completions")
                yield from rotation(cells)
            yield from rotation(cells)
        finally:  # also where the caller stops in the middle
            dealing.rest()
            left += [example for cell in cells for example in cell.waiting]
            if over is None:
                self.surplus(left)
            else:
                over[:] = left

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

    def note(self, name: str, value: Any) -> None:
        """Record what the method found out on its way, JSON-able; the card shows it."""
        self.ledger.note(name, value)

    def settle(self, rows: Iterable[Example], reason: str) -> None:
        """Give the account of each cell that has fewer of these rows than wanted, and of no other."""
        kept = Counter(example.cell for example in rows)
        for cell, want in self.targets().items():
            before = self.ledger.accounts.pop(str(cell), "")
            if kept[cell] < want:
                before = before and f"given up with {before}"
                self.ledger.account(cell, f"{kept[cell]} of {want} rows: {before or reason}")

    def drop(self, example: Example, reason: str, stage: str) -> None:
        """Count an example as dropped and keep its text for the rejects."""
        self._reject(stage, example.prompt, "\n".join(example.fields.values()), reason)

    def surplus(self, examples: Iterable[Example], stage: str = "rows") -> None:
        """Drop examples that nobody needs."""
        for example in examples:
            self.drop(example, "surplus", stage)

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
            self.surplus(block, stage)

    def _filtered(self, block: Sequence[Example], filters: Sequence[Filter], stage: str) -> list[Example]:
        left = list(block)
        for check in filters:
            reasons = check(left)
            for example, reason in zip(left, reasons, strict=True):
                if reason is not None:
                    self.drop(example, reason, stage)
            left = [example for example, reason in zip(left, reasons, strict=True) if reason is None]
        return left

    def _size(self, stage: str, before: int | None = None) -> int:
        """Return a chunk's size: small for a stage's first, to fail early; then half of what came `before` at most."""
        if stage not in self.ledger.stages:
            return min(PROBE, self.chunk_size)
        return self.chunk_size if before is None else min(max(PROBE, before // 2), self.chunk_size)

    def _ahead(self, stage: str) -> int:
        """Return how many chunks to have under way: one until a stage's first was looked at."""
        return self.ahead if stage in self.ledger.stages else 1

    def _block(
        self, asked: Asked, parse: Parse, filters: Sequence[Filter], stage: str, needed: bool, to: Sequence[Cell] = ()
    ) -> list[Example]:
        """Wait for one chunk's answers and return what is kept of them, which also goes to its cells."""
        prompts, chunk = asked.prompts, asked.answers()
        first = stage not in self.ledger.stages
        self.ledger.asked(stage, chunk)
        # Others are failures that an endpoint names; what fits no schema a parser may read all the same.
        parsed, read = [], ("stop", "length", *(["malformed"] if "schema" in asked.decoding else []))
        for prompt, completion in zip(prompts, chunk.completions, strict=True):
            example = parse(prompt, completion) if completion.finish in read else completion.finish
            if isinstance(example, str):
                self._reject(stage, prompt, completion.text, example)
            else:
                parsed.append(example)
        written = self._filtered(parsed, filters, stage)
        kept = self._filtered(written, self.filters if stage == "rows" else (), stage)
        for example in kept:
            waits(example, to)
        if self.listener:
            self.listener.chunk(stage, chunk, asked)
        if needed and first and not written:  # where a judge rejects all of one label, that is the label's account
            raise self._nothing(stage, prompts, chunk.completions[0].text)
        return kept

    def _nothing(self, stage: str, prompts: Sequence[Prompt], answer: str = "") -> InputError:
        """Return the error of a stage of which nothing can be kept."""
        counts = self.ledger.stage(stage)
        [(reason, _)] = counts.dropped.most_common(1)
        shown = f" To the prompt {prompts[0].text!r} {self.generator.name} answered {answer!r}" if answer else ""
        return InputError(f"nothing of the first {counts.asked} {stage} could be kept (mostly: {reason}).{shown}")
