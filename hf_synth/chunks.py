"""`Chunks`: answers prompts a chunk at a time, from the journal, by this process, or by another rank."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from .answers import Answers
from .errors import InputError
from .generators.base import Concurrent, Generator, Lazy, OutOfMemory, Piecewise
from .journal import Chunk, Journal, Place, seed_of, waited
from .ranks import Ranks
from .records import Completion, Prompt


class Chunks:
    """Starts chunks and hands them over; each is made whole by one worker and recorded before anyone sees it.

    Args:
        generator: Writes the texts.
        journal: Records and replays.
        seed: The run's seed.
        batch_size: Forward rows at once inside a chunk, as configured.
        ranks: Which of the launched processes this is: chunk `i` is made by rank `i` modulo their number.
        spent: Gives the US dollars that the run has cost so far.
    """

    def __init__(
        self,
        generator: Generator,
        journal: Journal,
        seed: int,
        batch_size: int,
        ranks: Ranks,
        spent: Callable[[], float],
    ):
        self.generator, self.journal, self.seed, self.batch_size = generator, journal, seed, batch_size
        self.ranks, self.spent = ranks, spent
        self._finished = 0.0

    def start(self, prompts: Sequence[Prompt], decoding: Mapping[str, Any]) -> Callable[[], Chunk]:
        """Give a chunk its place in the run and return a function that waits for its answers.

        Nothing is asked before that function is called, except where work goes on beside it: by a generator that
        answers several chunks at once, or for other ranks.
        """
        settings = {"weights": self.generator.digest, "seed": self.seed, "decoding": dict(decoding)}
        place = self.journal.place(prompts, settings)
        if not self.ranks.owns(place.sequence):
            return lambda: self._theirs(place)
        if self.ranks.world > 1:
            self._ours(place, prompts, decoding)
        elif isinstance(self.generator, Concurrent):
            key, batch_size = self.journal.key(place, self.batch_size)
            if self.journal.read(key) is None:
                begun = time.perf_counter()
                wait = self.generator.start(prompts, seed=seed_of(key), batch_size=batch_size, **decoding)
                return lambda: self._ours(place, prompts, decoding, (key, begun, wait))
        return lambda: self._ours(place, prompts, decoding)

    def _theirs(self, place: Place) -> Chunk:
        def recorded() -> Chunk | None:
            # The key is asked for anew: the other rank may run out of memory and halve the batch.
            return self.journal.read(self.journal.key(place, self.batch_size)[0])

        return waited(recorded, f"chunk {place.sequence} of rank {place.sequence % self.ranks.world}")

    def _ours(
        self,
        place: Place,
        prompts: Sequence[Prompt],
        decoding: Mapping[str, Any],
        begun: tuple[str, float, Callable[[], list[Completion]]] | None = None,
    ) -> Chunk:
        while True:
            key, batch_size = self.journal.key(place, self.batch_size)
            if recorded := self.journal.read(key):
                return recorded
            if isinstance(self.generator, Lazy):
                self.generator.load()
            start = time.perf_counter()
            try:
                if begun and begun[0] == key:
                    start = max(begun[1], self._finished)  # what ran beside the chunk before it counts once
                    completions = begun[2]()
                else:
                    completions = self._complete(key, prompts, batch_size, decoding)
            except OutOfMemory:
                self.journal.halve(place, batch_size)
                continue
            if len(completions) != len(prompts):
                raise InputError(f"{self.generator.name} gave {len(completions)} answers to {len(prompts)} prompts")
            self._finished = time.perf_counter()
            chunk = Chunk(key, seed_of(key), completions, self._finished - start)
            self.journal.write(chunk)
            if side := self._side(key):
                side.unlink(missing_ok=True)
            return chunk

    def _complete(
        self, key: str, prompts: Sequence[Prompt], batch_size: int, decoding: Mapping[str, Any]
    ) -> list[Completion]:
        settings = {"seed": seed_of(key), "batch_size": batch_size, **decoding}
        if not isinstance(self.generator, Piecewise):
            return self.generator.complete(prompts, **settings)
        with closing(Answers(self._side(key), self.spent())) as answered:
            return self.generator.complete(prompts, answered=answered, **settings)

    def _side(self, key: str) -> Path | None:
        if self.journal.folder is None or not isinstance(self.generator, Piecewise):
            return None
        return self.journal.folder / "unfinished" / f"{key}.jsonl"
