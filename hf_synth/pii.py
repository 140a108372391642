"""Personal data in texts, found by presidio's patterns, and the masks that keep it out of what is written."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from typing import Any

CHARACTERS = 5_000  # of a text that are looked at at once
EXCERPT = 100  # characters of a row that are shown
# What a text must hold for a pattern to be worth a try: presidio takes 3 ms a text, this some microseconds.
HINTS = {
    "EMAIL_ADDRESS": re.compile(r"\w@\w"),
    "PHONE_NUMBER": re.compile(r"(?:\d\W{0,2}){7}"),
    "CREDIT_CARD": re.compile(r"(?:\d[ -]?){12}"),
    "IBAN_CODE": re.compile(r"\b[A-Za-z]{2}\d{2}[ \w]{8}"),
    "US_SSN": re.compile(r"\b\d{3}[- .]\d{2}[- .]\d{4}\b"),
    "IP_ADDRESS": re.compile(r"\d\.\d{1,3}\.\d|[0-9A-Fa-f]:[0-9A-Fa-f:]{3}"),
    "URL": re.compile(r"://|www\."),
    "DATE_TIME": re.compile(r"\d[/.-]\d{1,2}[/.-]\d|\b[A-Za-z]{3}-\d{2}|\d-[A-Za-z]{3}\b"),
}
IMPERSONAL = ("URL", "DATE_TIME")  # counted and masked, but no fault
LISTED = "LISTED"  # the kind of what the user names
MASKED = re.compile(rf"\[({'|'.join([*HINTS, LISTED])})\]")  # what a mask leaves
# Masks e-mail addresses and long numbers without presidio; a share such as 0.00471 is none of these, and is kept.
ROUGH = re.compile(r"(\b0\.\d+\b(?![ ().-]*\d))|\S+@\S+|\+?\d(?:[\d ().-]{5,})\d")


def mask(text: str) -> str:
    """Return a text without personal data; without presidio, e-mail addresses and long numbers alone are masked."""
    if find_spec("presidio_analyzer") is not None:
        for kind, start, end in reversed(spans(text)):
            text = f"{text[:start]}<{kind}>{text[end:]}"
    return ROUGH.sub(lambda found: found[1] or "<masked>", text)


def excerpt(text: str) -> str:
    """Return the beginning of a text as a report shows it: masked, on one line."""
    masked = " ".join(mask(text[:CHARACTERS]).split())
    return masked if len(masked) <= EXCERPT else masked[:EXCERPT] + "…"


def spans(text: str) -> list[tuple[str, int, int]]:
    """Return kind, start and end of what the patterns find, by place; of those that overlap, the surest or longest."""
    found = []
    for kind, recognizer in _recognizers().items():
        if HINTS[kind].search(text):
            said = recognizer.analyze(text, [kind])
            found += [(kind in IMPERSONAL, -one.score, one.start - one.end, one.start, kind) for one in said]
    kept: list[tuple[str, int, int]] = []
    for _, _, length, start, kind in sorted(found):
        end = start - length
        if all(end <= other or start >= last for _, other, last in kept):
            kept.append((kind, start, end))
    return sorted(kept, key=lambda one: one[1])


@cache
def _recognizers() -> dict[str, Any]:
    """Return presidio's recognisers.

    E-mail addresses and URLs go by presidio's patterns alone: its own check of the domain loads a list from the net.
    """
    from presidio_analyzer import PatternRecognizer
    from presidio_analyzer import predefined_recognizers as presidio

    by_pattern: dict[str, Any] = {"EMAIL_ADDRESS": presidio.EmailRecognizer, "URL": presidio.UrlRecognizer}
    found = {kind: PatternRecognizer(supported_entity=kind, patterns=own.PATTERNS) for kind, own in by_pattern.items()}
    # Dates in digits, or with a month of three letters; the patterns that are left out find fractions.
    dates = [pattern for pattern in presidio.DateRecognizer.PATTERNS if pattern.score >= 0.5]
    ssn = [pattern for pattern in presidio.UsSsnRecognizer.PATTERNS if pattern.score >= 0.5]  # the others: any digits
    return found | {
        "CREDIT_CARD": presidio.CreditCardRecognizer(),
        "IBAN_CODE": presidio.IbanRecognizer(),
        "IP_ADDRESS": presidio.IpRecognizer(),
        "US_SSN": presidio.UsSsnRecognizer(patterns=ssn),
        "DATE_TIME": presidio.DateRecognizer(patterns=dates),
        "PHONE_NUMBER": presidio.PhoneRecognizer(leniency=2),
    }
