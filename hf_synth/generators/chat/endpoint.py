"""`Endpoint`: sends a request until it is answered, refused, or given up."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
from huggingface_hub.errors import HfHubHTTPError
from pydantic import SecretStr

from ...errors import InputError
from .client import check_remote, connect, hub_token, place
from .slots import Slot, Slots

log = logging.getLogger(__name__)

NO_CONNECTION = "no connection"
TIMEOUT = "timeout"
LONGEST_BACKOFF = 60.0
LONGEST_RETRY_AFTER = 300.0
KEY_LIKE = re.compile(r"\b(?:Bearer +\S+|(?:sk|hf|gsk|xai|nvapi)[-_]\S{6,})")


class Again(Exception):
    """The request may be answered if it is sent again.

    Args:
        reason: A few words.
        said: The server's own words.
        after: Seconds that the server wants to be left alone.
        everyones: Not the fault of this request in particular.
    """

    def __init__(self, reason: str, said: str = "", after: float | None = None, everyones: bool = False):
        super().__init__(reason)
        self.reason, self.said, self.after, self.everyones = reason, said, after, everyones


class Refused(Exception):
    """The server refused this very request."""

    def __init__(self, status: int, said: str):
        super().__init__(f"{status} {said}")
        self.status, self.said = status, said


class Unreadable(Exception):
    """The server answered with something that is no chat completion."""


class Endpoint:
    """One model behind one address.

    Args:
        model: The model's id there.
        base_url: Address of an OpenAI-compatible server, such as `http://localhost:8000/v1`.
        provider: Inference Provider, where no address is given; `auto` lets the Hub choose.
        api_key: Key; without one an address gets none (never the Hub's token), and a provider the Hub's token.
        private: Refuse any address that is not on this machine.
        connections: Requests at once.
        timeout: Seconds to wait for a whole answer.
        tries: How often a request is sent at most.
        first_wait: Seconds before the second try; doubled from try to try.

    Attributes:
        heard: The model has answered in this process.
        slots: Limits the requests at once.
        structured: Whether the server takes a JSON schema; `None` until it was asked.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None,
        provider: str | None,
        api_key: SecretStr | None,
        private: bool,
        connections: int,
        timeout: float,
        tries: int,
        first_wait: float,
    ):
        self.model, self.timeout, self.tries, self.first_wait = model, timeout, tries, first_wait
        self.host, local = place(base_url, provider)
        if not local:
            check_remote(self.host, private)
        self._key = hub_token() if base_url is None and api_key is None else api_key
        limits: dict[str, Any] = {"connections": connections, "timeout": timeout}
        self.client = connect(base_url, provider, self._key, local=local, received=self._received, **limits)
        self.heard, self.slots = False, Slots(connections)
        self.structured: bool | None = None
        self._reached, self._quiet_until = False, 0.0
        self._warned: set[int | str] = set()

    async def ask(self, fields: Mapping[str, Any], halt: asyncio.Event, slot: Slot) -> Any:
        """Send a request until it is answered; a retry carries the same seed, since no answer was seen.

        Args:
            fields: Arguments of `chat_completion`.
            halt: Ends all waiting.
            slot: Is left after a timeout, and taken again before the next try.

        Raises:
            Refused: If the server does not want this request.
            Unreadable: If its answer is no chat completion.
            Again: If all tries failed.
            InputError: If no other request would fare better.
        """
        from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential, wait_random

        backoff = wait_exponential(multiplier=self.first_wait, max=LONGEST_BACKOFF) + wait_random(0, self.first_wait)

        def wait(state: Any) -> float:
            after = state.outcome.exception().after
            return backoff(state) if after is None else after + random.uniform(0, self.first_wait)

        def enough(state: Any) -> bool:
            # A server that was never there is most likely not started or misspelt: say so within seconds.
            never = not self._reached and state.outcome.exception().reason == NO_CONNECTION
            return halt.is_set() or state.attempt_number >= (min(3, self.tries) if never else self.tries)

        def leave(state: Any) -> None:
            if state.outcome.exception().reason == TIMEOUT:
                self._late()
                slot.late()

        async def sleep(seconds: float) -> None:
            await _until(halt)(seconds)
            await slot.take()

        again = retry_if_exception_type(Again)
        retrying = AsyncRetrying(retry=again, wait=wait, stop=enough, before_sleep=leave, sleep=sleep, reraise=True)
        output: Any = await retrying(self._once, fields, halt)
        self.slots.answered()
        self.heard = self.heard or bool(getattr(output, "choices", None))
        return output

    def warn(self, refusal: Refused) -> None:
        """Log why a request was refused, once for each status."""
        if refusal.status not in self._warned:
            self._warned.add(refusal.status)
            log.warning("%s refused a request (%s): %s", self.host, refusal.status, refusal.said)

    def _late(self) -> None:
        if TIMEOUT not in self._warned:
            self._warned.add(TIMEOUT)
            told = "%s did not answer within %g seconds (`timeout`): fewer at once, until answers come in time"
            log.warning(told, self.host, self.timeout)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.session.aclose()

    async def _once(self, fields: Mapping[str, Any], halt: asyncio.Event) -> Any:
        while (wait := self._quiet_until - time.monotonic()) > 0 and not halt.is_set():
            await _until(halt)(wait + random.uniform(0, self.first_wait))
        if halt.is_set():
            raise Again("stopped")
        try:
            async with asyncio.timeout(self.timeout):  # httpx counts anew with every byte that drips in
                output = await self.client.chat_completion(model=self.model, **fields)
        except Exception as error:  # whatever it is: one bad answer must not harm another row
            raise self._trouble(error) from None
        said = getattr(output, "error", None)
        status = said.get("code") if isinstance(said, Mapping) else None
        if not getattr(output, "choices", None) and isinstance(status, int) and _passes(status):
            raise Again(str(status), self._words(said), everyones=status == 429)  # OpenRouter's way: inside a 200
        return output

    async def _received(self, response: httpx2.Response) -> None:
        self._reached = True
        if response.is_redirect:  # it may lead off this machine
            raise InputError(f"{self.host} redirects to another address ({response.status_code}); give that one")

    def _trouble(self, error: Exception) -> Exception:
        """Return what an error of the client means."""
        if isinstance(error, InputError):
            return InputError(str(error))
        if isinstance(error, HfHubHTTPError):
            return self._turned_down(error.response)
        if isinstance(error, TimeoutError | httpx2.TimeoutException):
            return Again(TIMEOUT)
        if isinstance(error, httpx2.ConnectError):
            return Again(NO_CONNECTION, everyones=True)
        if isinstance(error, httpx2.TransportError):
            return Again("connection lost")
        if not self._reached and not isinstance(error, UnicodeError):  # an unknown provider, say
            return InputError(f"{self.host} cannot be asked for {self.model!r}: {self.scrub(str(error))}")
        return Unreadable()

    def _turned_down(self, response: httpx2.Response) -> Exception:
        """Return what an HTTP error status means."""
        status, said = response.status_code, self._said(response)
        if status == 401:
            key = "refused the API key" if self._key else "asks for an API key and none was given"
            return InputError(f"{self.host} {key} (401)")
        if status in (402, 404, 405) or (status == 403 and not self.heard):
            return InputError(f"{self.host} does not serve {self.model!r} to us ({status}): {said}")
        if _passes(status):
            after = retry_after(response.headers.get("retry-after"))
            if after is not None and after > LONGEST_RETRY_AFTER:
                return InputError(f"{self.host} wants no request for {after:.0f} seconds ({status}): {said}")
            if after is not None:
                self._quiet_until = max(self._quiet_until, time.monotonic() + after)
            return Again(str(status), said, after, everyones=status == 429)
        return Refused(status, said)

    def _said(self, response: httpx2.Response) -> str:
        """Return the server's words, short and without secrets."""
        try:
            body = response.json()
        except ValueError:
            body = response.text
        return self._words(body)

    def _words(self, body: Any) -> str:
        for name in ("error", "message", "detail"):
            body = body.get(name, body) if isinstance(body, dict) else body
        return self.scrub(" ".join(str(body).split()))[:200]

    def scrub(self, text: str) -> str:
        """Return a text without the key and without anything that looks like one."""
        key = self._key.get_secret_value() if self._key else ""
        return KEY_LIKE.sub("***", text.replace(key, "***") if key else text)


def _passes(status: int) -> bool:
    """Tell whether the same request may be answered later."""
    return status in (408, 409, 425, 429) or status >= 500


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a `Retry-After` header means, a number or a date; `None` if it means nothing."""
    try:
        seconds = float(value or "nan")
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value or "").timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _until(halt: asyncio.Event) -> Callable[[float], Any]:
    """Return a sleep that ends early when `halt` is set."""

    async def sleep(seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(halt.wait(), seconds)

    return sleep
