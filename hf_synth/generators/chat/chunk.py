"""`Chunk`: asks for the answers of one chunk that are not there yet, many at a time, each recorded as it comes."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import MutableMapping, Sequence
from dataclasses import replace
from typing import Any

from ...errors import InputError
from ...records import Completion, Prompt, known
from .answer import NO_CHOICES, UNREADABLE, UNUSABLE, Settings, completion
from .endpoint import Again, Endpoint, Refused, Unreadable
from .schema import in_words
from .slots import Slot

Answered = MutableMapping[tuple[int, int], Completion]

# Requests that leave together are answered together, and their successors leave when all of them are read: with 32 at
# once and answers after 0.25 s that costs a twentieth of the time.
STAGGER = 0.002
ATTEMPTS = 3  # answers to one prompt before an unusable one stands
IN_A_ROW = 8  # requests that fail with no answer between them: then the endpoint is at fault, not the prompts


def request_seed(seed: int, ordinal: int, attempt: int) -> int:
    """Return a request's seed in 31 bits; no two requests of a chunk share one."""
    return (seed + (attempt * 2**20 + ordinal) * 0x9E3779B1) % 2**31


class Budget:
    """US dollars spent, as reported, against a limit.

    Args:
        limit: The most to spend; `None` for no limit.
        host: Who reports.
    """

    def __init__(self, limit: float | None, host: str):
        self.limit, self.host, self.spent = limit, host, 0.0
        self._told: bool | None = None
        self._counted: defaultdict[int, float] = defaultdict(float)  # of `spent`, by the chunk's seed

    def open(self, chunk: int, answered: Answered) -> None:
        """Count what was spent before: on earlier chunks of the run, and on this one in an earlier sitting.

        A chunk that was left and is begun again here (see `push_parts`) is counted as far as it is not yet.
        """
        before = sum(answer.cost for answer in answered.values() if answer.cost is not None)
        new = max(0.0, before - self._counted[chunk])
        self.spent = max(self.spent, getattr(answered, "spent", 0.0)) + new
        self._counted[chunk] += new

    def pay(self, chunk: int, answer: Completion) -> None:
        """Count an answer's cost."""
        if answer.cost is not None:
            self._told, self.spent = True, self.spent + answer.cost
            self._counted[chunk] += answer.cost
        elif self._told is None and not answer.finish.startswith("error"):
            self._told = self.spent > 0

    def exceeded(self) -> str | None:
        """Return why nothing more may be sent, or `None`."""
        if self.limit is None:
            return None
        if self._told is False:
            return f"`max_cost` is {self.limit}, but {self.host} does not report costs, so no limit can be kept"
        if self.spent >= self.limit:
            return f"{self.spent:.4f} US dollars are spent and `max_cost` is {self.limit}; raise it to go on"
        return None


class Chunk:
    """The requests of one chunk.

    Args:
        endpoint: Is asked.
        budget: Is charged.
        width: Requests at once of this chunk; `endpoint` limits those of all chunks together.
        prompts: The chunk's prompts.
        settings: What all requests have in common.
        seed: The chunk's seed.
        answered: The answers that are there; each new one is put there at once.
        before: The chunk that was begun before. It sends all its requests first, and if it is stopped, so is this one.

    Attributes:
        sent: Set when the last row is on its way to a slot.
        ended: Set when nothing is under way any more.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        budget: Budget,
        width: int,
        prompts: Sequence[Prompt],
        settings: Settings,
        seed: int,
        answered: Answered,
        before: Chunk | None = None,
    ):
        self.endpoint, self.budget, self.width = endpoint, budget, width
        self.prompts, self.settings, self.seed, self.answered = prompts, settings, seed, answered
        self.halt, self.sent, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._before = before
        self._after: Chunk | None = None
        self._why = ""
        self._lost: dict[int, Completion] = {}
        self._failures = self._refusals = 0

    async def run(self) -> list[Completion]:
        """Return one completion per prompt, in order.

        Raises:
            InputError: If the endpoint as a whole fails or the budget is spent. Requests that are under way, here and
                in chunks that were begun after this one, are waited for and recorded first.
        """
        try:
            await self._turn()
            await self._rows()
        except Exception as error:
            self.stop(str(error))
            self.sent.set()
            after = self._after
            while after:
                await after.ended.wait()
                after = after._after
            raise
        finally:
            self.sent.set()
            self.ended.set()
        return [self._whole(ordinal) for ordinal in range(len(self.prompts))]

    async def _turn(self) -> None:
        """Wait until the chunk before has sent everything."""
        before, self._before = self._before, None
        if before:
            before._after = self
            await before.sent.wait()
            if before.halt.is_set():
                self.stop(before._why)

    async def _rows(self) -> None:
        """Ask for what is missing, many rows at a time."""
        self.budget.open(self.seed, self.answered)
        missing = [ordinal for ordinal in range(len(self.prompts)) if not self._settled(ordinal)]
        if missing and self.settings.schema is not None and self.endpoint.structured is None:
            await self._row(missing.pop(0))  # alone: a server without schemas refuses one request, not all of them
        rows = deque(missing)
        try:
            async with asyncio.TaskGroup() as group:
                for place in range(min(self.width, len(missing))):
                    group.create_task(self._worker(place, rows))
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None  # a full disk, say
        if self._why:
            raise InputError(f"{self._why}. Every answer that came is recorded")

    def _settled(self, ordinal: int) -> bool:
        """Tell whether a prompt has an answer that stands."""
        found = [answer for attempt in range(ATTEMPTS) if (answer := self.answered.get((ordinal, attempt)))]
        return len(found) == ATTEMPTS or any(answer.finish not in UNUSABLE for answer in found)

    def _whole(self, ordinal: int) -> Completion:
        """Return a prompt's last answer, with the tokens and the cost of all of them."""
        found = [answer for attempt in range(ATTEMPTS) if (answer := self.answered.get((ordinal, attempt)))]
        return replace(
            self._lost.get(ordinal) or found[-1],
            tokens=known(answer.tokens for answer in found),
            cost=known(answer.cost for answer in found),
            prompt_tokens=known(answer.prompt_tokens for answer in found),
        )

    async def _worker(self, place: int, rows: deque[int]) -> None:
        """Ask for one row after the other, beginning a little later than the worker before."""
        await asyncio.sleep(place * STAGGER)
        while rows:
            ordinal = rows.popleft()
            if not rows:
                self.sent.set()
            await self._row(ordinal)

    async def _row(self, ordinal: int) -> None:
        for attempt in range(ATTEMPTS):
            if (ordinal, attempt) not in self.answered:
                async with Slot(self.endpoint.slots) as slot:
                    answer = await self._answer(ordinal, attempt, slot)
                    if answer is None and ordinal in self._lost and self._lost[ordinal].finish in UNUSABLE:
                        continue
                    if answer is None:
                        return
                    self._lost.pop(ordinal, None)
                    self.answered[ordinal, attempt] = answer
                    self.budget.pay(self.seed, answer)
            if self.answered[ordinal, attempt].finish not in UNUSABLE:
                return

    async def _answer(self, ordinal: int, attempt: int, slot: Slot) -> Completion | None:
        """Return the answer to one request; `None` if there is nothing to record."""
        if why := self.budget.exceeded():
            self.stop(why)
        if self.halt.is_set():
            return None
        prompt = self.prompts[ordinal]
        fields = {
            **self.settings.fields,
            "messages": [{"role": "user", "content": prompt.text}],
            "seed": request_seed(self.seed, ordinal, attempt),
            "stop": self.settings.sent_stop(prompt),
        }
        try:
            output = await self._ask(fields, slot)
        except InputError as error:
            self.stop(str(error))
            return None
        except Again as failure:
            self._failed(ordinal, failure)
            return None
        except Refused as refusal:
            return self._refused(ordinal, refusal)
        except Unreadable:
            return self._useless(ordinal, Completion("", None, None, UNREADABLE), "gave no answer that can be read")
        self._failures = 0
        answer = completion(output, prompt, self.settings)
        return self._useless(ordinal, answer, "gave no choices") if answer.finish == NO_CHOICES else answer

    async def _ask(self, fields: dict[str, Any], slot: Slot) -> Any:
        """Ask with the schema where the server has that, else in words; learn from a refusal that it does not."""
        schema = self.settings.schema
        if schema is None:
            return await self.endpoint.ask(fields, self.halt, slot)
        said = {**fields, "messages": in_words(schema, fields["messages"])}
        if self.endpoint.structured is False:
            return await self.endpoint.ask(said, self.halt, slot)
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        try:
            output = await self.endpoint.ask({**fields, "response_format": form}, self.halt, slot)
        except Refused:
            if self.endpoint.structured:
                raise
            output = await self.endpoint.ask(said, self.halt, slot)
            self.endpoint.structured = False
        else:
            self.endpoint.structured = True
        return output

    def stop(self, why: str) -> None:
        """Send nothing more, here and in the chunks begun after this one, and end all waiting."""
        self._why = self._why or why.removesuffix(".")
        self.halt.set()
        if self._after:
            self._after.stop(why)

    def _failed(self, ordinal: int, failure: Again) -> None:
        """Note a request that failed for good: it becomes a lost row, unless the endpoint is at fault.

        Lost rows are not recorded, so that a run that is started again asks for them again.
        """
        self._failures += 1
        self._lost[ordinal] = Completion("", None, None, f"error: {failure.reason}")
        if failure.everyones or self._failures >= self._too_many:
            said = f" ({failure.said})" if failure.said else ""
            self.stop(f"{self.endpoint.host} did not answer: {failure.reason}{said}")

    def _refused(self, ordinal: int, refusal: Refused) -> Completion | None:
        if self.endpoint.heard:
            self.endpoint.warn(refusal)
        answer = Completion("", None, None, f"error: {refusal.status}")
        return self._useless(ordinal, answer, f"refused all requests so far ({refusal.status}): {refusal.said}")

    def _useless(self, ordinal: int, answer: Completion, why: str) -> Completion | None:
        """Return what a request brought in place of an answer; a lost row, as of `_failed`, while nothing else came.

        What answers then may be no model at all but a proxy's page, and after some such the run is at its end.
        """
        if self.endpoint.heard:
            return answer
        self._refusals += 1
        self._lost[ordinal] = answer
        if self._refusals >= self._too_many:
            self.stop(f"{self.endpoint.host} {why}")
        return None

    @property
    def _too_many(self) -> int:
        return min(IN_A_ROW, max(2, len(self.prompts)))
