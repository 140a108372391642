"""`Slots`: how many requests may be under way at once."""

from __future__ import annotations

import asyncio
from typing import Self


class Slots:
    """Fewer requests at once for a server that answers too late: what it cannot do in time delays all the others.

    Every answer that is too late takes a slot away, down to one; as many answers as there are slots bring one back,
    as TCP does with what it sends (additive increase).

    Args:
        width: Requests at once, at most.
    """

    def __init__(self, width: int):
        self.width = self.now = width
        self.free = asyncio.Semaphore(width)
        self._answers = 0

    def late(self) -> None:
        """Take a slot that was held away, or free it where it is the only one."""
        self._answers = 0
        if self.now > 1:
            self.now -= 1
        else:
            self.free.release()

    def answered(self) -> None:
        """Count an answer that came in time."""
        self._answers += 1
        if self.now < self.width and self._answers >= self.now:
            self.now, self._answers = self.now + 1, 0
            self.free.release()


class Slot:
    """A place among the requests under way, held inside `async with`."""

    def __init__(self, slots: Slots):
        self.slots, self._held = slots, False

    async def __aenter__(self) -> Self:
        await self.take()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._held:
            self.slots.free.release()

    async def take(self) -> None:
        """Wait for a place, unless one is held."""
        if not self._held:
            await self.slots.free.acquire()
            self._held = True

    def late(self) -> None:
        """Leave the place, since the answer did not come in time."""
        self._held = False
        self.slots.late()
