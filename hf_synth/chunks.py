"""`Chunks`: answers prompts a chunk at a time, from the journal, by this process, or by another rank."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, Protocol

from .answers import Answers
from .errors import InputError
from .generators.base import Concurrent, Generator, Lazy, OutOfMemory, Piecewise, settled
from .journal import Chunk, Journal, Place, seed_of, waited
from .ranks import Ranks
from .records import Completion, Prompt, label_set


class Listener(Protocol):
    """Told of everything a run does, as it does it."""

    def chunk(self, stage: str, chunk: Chunk, asked: Asked) -> None:
        """A chunk was answered, now or from the journal, and its drops are counted."""

    def rejected(self, stage: str, prompt: Prompt, text: str, reason: str) -> None:
        """A completion was dropped; its text is as it came."""


class Chunks:
    """Gives chunks their places; each is made whole by one worker and recorded before anyone sees it.

    Args:
        generator: Writes the texts.
        journal: Records and replays.
        seed: The run's seed.
        batch_size: Forward rows at once inside a chunk; less once a chunk was looked at that did not fit.
        ranks: Which of the launched processes this is: chunk `i` is made by rank `i` modulo their number.

    Attributes:
        paid: US dollars that the chunks known so far have cost.
    """

    def __init__(self, generator: Generator, journal: Journal, seed: int, batch_size: int, ranks: Ranks):
        self.generator, self.journal, self.seed, self.batch_size = generator, journal, seed, batch_size
        self.ranks = ranks
        self.finished = self.paid = 0.0

    def rest(self, chunks: Iterable[Asked]) -> None:
        """Bring those chunks to an end that were begun and that nobody will wait for; what came is recorded."""
        begun = [asked for asked in chunks if asked.begun]
        if begun and isinstance(self.generator, Piecewise):
            self.generator.rest()
            for asked in begun:
                asked.rest()

    def decide(self, prompts: Sequence[Prompt], decoding: Mapping[str, Any]) -> Asked:
        """Give a chunk its place in the run; nothing is asked yet.

        Places are given, and answers looked at, in an order that every rank and every sitting of a run shares.
        """
        decoding = settled(self.generator, decoding)
        settings = {"weights": self.generator.digest, "seed": self.seed, "decoding": dict(decoding)}
        if getattr(self.generator, "adapter", None):  # what answers depends on the labels, not on the text alone
            settings["sets"] = [label_set(prompt) for prompt in prompts]
        return Asked(self, prompts, decoding, self.journal.place(prompts, settings, self.batch_size))


class Asked:
    """A chunk on its way.

    Args:
        chunks: Whose it is.
        prompts: Its prompts.
        decoding: Passed to the generator.
        place: Its place in the run.

    Attributes:
        begun: Key, moment, and what waits for the answers, of a chunk that was begun before they were wanted.
    """

    def __init__(self, chunks: Chunks, prompts: Sequence[Prompt], decoding: Mapping[str, Any], place: Place):
        self.chunks, self.prompts, self.decoding, self.place = chunks, prompts, decoding, place
        self.begun: tuple[str, float, Callable[[], list[Completion]]] | None = None
        self._counted = False

    @property
    def batch_size(self) -> int:
        """Forward rows at once in it."""
        return self.chunks.journal.key(self.place)[1]

    def start(self, needed: bool) -> None:
        """Begin the chunk where work goes on beside others: in a generator that can, or for the other ranks.

        Otherwise it is made when its answers are wanted, as where answers cost money and it may not be `needed`.
        """
        chunks = self.chunks
        if not self.prompts or chunks.ranks.owner(self.place.sequence) != chunks.ranks.rank:
            return
        if chunks.ranks.world > 1:
            self._make()
        elif isinstance(chunks.generator, Concurrent) and (needed or not isinstance(chunks.generator, Piecewise)):
            key, batch_size = chunks.journal.key(self.place)
            if recorded := chunks.journal.read(key):
                self._count(recorded)
            else:
                self.begun = key, time.perf_counter(), self._start(chunks.generator, key, batch_size)

    def rest(self) -> None:
        """Leave a chunk that was begun; see `Chunks.rest`."""
        if self.begun:
            with suppress(Exception):  # that it was stopped, or whatever else: nobody wants these answers any more
                self.begun[2]()

    def answers(self) -> Chunk:
        """Wait for the answers."""
        chunks, owner = self.chunks, self.chunks.ranks.owner(self.place.sequence)
        if owner == chunks.ranks.rank:
            chunk = self._make()
        else:
            chunk = waited(self._recorded, f"chunk {self.place.sequence} of rank {owner}")
        # Later chunks would not fit either. Those already in their places find out for themselves, so that a chunk's
        # size depends on what was looked at before it was placed, whoever ran out of memory and when.
        chunks.batch_size = min(chunks.batch_size, self.batch_size)
        self._count(chunk)
        return chunk

    def _count(self, chunk: Chunk) -> None:
        """Count what the chunk has cost, once."""
        if not self._counted:
            self.chunks.paid += sum(answer.cost or 0.0 for answer in chunk.completions)
            self._counted = True

    def _recorded(self) -> Chunk | None:
        # The key is asked for anew: its rank may run out of memory and halve the batch.
        return self.chunks.journal.read(self.chunks.journal.key(self.place)[0])

    def _make(self) -> Chunk:
        journal, generator = self.chunks.journal, self.chunks.generator
        while True:
            key, batch_size = journal.key(self.place)
            if recorded := journal.read(key, say=True):
                return recorded
            if isinstance(generator, Lazy):
                generator.load()
            start = time.perf_counter()
            try:
                if self.begun and self.begun[0] == key:
                    start = max(self.begun[1], self.chunks.finished)  # what ran beside the chunk before counts once
                    completions = self.begun[2]()
                else:
                    completions = self._complete(key, batch_size)
            except OutOfMemory:
                journal.halve(self.place, batch_size)
                continue
            if len(completions) != len(self.prompts):
                raise InputError(f"{generator.name} gave {len(completions)} answers to {len(self.prompts)} prompts")
            self.chunks.finished = time.perf_counter()
            chunk = Chunk(key, seed_of(key), completions, self.chunks.finished - start)
            journal.write(chunk)
            if side := self._side(key):
                side.unlink(missing_ok=True)
            return chunk

    def _complete(self, key: str, batch_size: int) -> list[Completion]:
        generator = self.chunks.generator
        if isinstance(generator, Concurrent):
            return self._start(generator, key, batch_size)()
        return generator.complete(self.prompts, seed=seed_of(key), batch_size=batch_size, **self.decoding)

    def _start(self, generator: Concurrent, key: str, batch_size: int) -> Callable[[], list[Completion]]:
        settings = {"seed": seed_of(key), "batch_size": batch_size, **self.decoding}
        if not isinstance(generator, Piecewise):
            return generator.start(self.prompts, **settings)
        with ExitStack() as stack:
            answered = stack.enter_context(closing(Answers(self._side(key), self.chunks.paid)))
            wait = generator.start(self.prompts, answered=answered, **settings)
            ending = stack.pop_all()

        def answers() -> list[Completion]:
            with ending:
                return wait()

        return answers

    def _side(self, key: str) -> Path | None:
        folder = self.chunks.journal.folder
        if folder is None or not isinstance(self.chunks.generator, Piecewise):
            return None
        return folder / "unfinished" / f"{key}.jsonl"
