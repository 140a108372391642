"""Asking the Hub again, for what its client sends only once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TypeVar

from huggingface_hub import utils as hub_utils
from huggingface_hub.errors import HfHubHTTPError, HTTPError

TRIES = 5
FIRST_WAIT = 1.0  # seconds; each further wait is twice as long

T = TypeVar("T")


def patiently(call: Callable[[], T], attempt: int = 1) -> T:
    """Repeat a call that can be repeated while the Hub is busy or out of reach."""
    try:
        return call()
    except (HTTPError, json.JSONDecodeError) as error:
        if not transient(error) or attempt == TRIES:
            raise
        wait(attempt, error)
    return patiently(call, attempt + 1)


def status_of(error: Exception) -> int | None:
    """Return the status that the Hub answered with, if it answered."""
    return error.response.status_code if isinstance(error, HfHubHTTPError) else None


def transient(error: Exception) -> bool:
    """Tell whether a second try may succeed: no connection, a busy Hub, or a gateway's page where JSON was due."""
    status = status_of(error)
    return status is None or status in (408, 429) or status >= 500


def wait(attempt: int, error: Exception) -> None:
    """Sleep before the next try, at least as long as the Hub has asked for."""
    seconds = FIRST_WAIT * 2 ** (attempt - 1)
    if isinstance(error, HfHubHTTPError):
        headers = error.response.headers
        limit = hub_utils.parse_ratelimit_headers(headers) if error.response.status_code == 429 else None
        asked = headers.get("Retry-After", "")  # seconds; where it is a date, our own wait must do
        seconds = max(seconds, limit.reset_in_seconds if limit else 0, int(asked) if asked.isdigit() else 0)
    time.sleep(seconds)
