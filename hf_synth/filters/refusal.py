"""Refusals: answers in which an assistant says that it will not write the text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..records import Example

# Looked for at the start alone, and being sorry is not enough: reviewers are sorry too.
SORRY = r"(?:(?:(?:i am|i'm) (?:\w+ )?sorry|sorry|i apologi[sz]e)\b.{0,60}?\b|unfortunately,? )"
UNABLE = r"(?:i (?:cannot|can't|can not) |(?:i am|i'm) (?:unable|not able) to )(?:\w+ )?"
COMPLY = r"(?:assist|comply|fulfill?|generate|help (?:with|you))\b"
WRITE = r"(?:provide|write|create|produce|do that|complete|continue|engage)\b"
IS_AI = r"(?:as|i am|i'm)(?: just| only)? an? (?:\w+ ){0,2}(?:ai|language model)\b"
REFUSAL = re.compile(rf"\W*(?:{UNABLE}{COMPLY}|{SORRY}{UNABLE}(?:{COMPLY}|{WRITE})|{SORRY}?{IS_AI})", re.IGNORECASE)


def refused(examples: Sequence[Example]) -> list[str | None]:
    """Return `refusal` for every text that begins with one ("As an AI", "I'm sorry, but I can't help with that")."""
    return ["refusal" if any(map(is_refusal, example.fields.values())) else None for example in examples]


def is_refusal(text: str) -> bool:
    """Tell whether a text begins as a refusal does."""
    return REFUSAL.match(text.replace("’", "'")) is not None
