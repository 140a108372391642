"""Personal data in the texts, and in what the generator was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from ..pii import CHARACTERS, IMPERSONAL, spans
from . import limits
from .records import Ints, Rows, Verdict, level, percent, share_of, skipped

OVERLAP = 100  # characters of the next piece that are read along, so that nothing is cut in two


def personal(own: Rows) -> Verdict:
    """Texts with e-mail addresses, phone and card numbers, IBANs, social security numbers or IP addresses."""
    return _personal("personal data", "texts", "row", own.texts, own.index)


def personal_prompts(prompts: Sequence[str]) -> Verdict:
    """The same in what the generator was asked: what a prompt holds has left the machine of a remote generator."""
    return _personal("personal data, prompts", "prompts", "prompt", prompts, range(len(prompts)))


def _personal(check: str, what: str, key: str, texts: Sequence[str], index: Sequence[int] | Ints) -> Verdict:
    if find_spec("presidio_analyzer") is None:
        return skipped(check, "this check needs presidio: pip install 'hf_synth[pii]' (no model is downloaded)")
    if not len(texts):
        return skipped(check, f"there are no {what}")
    rows: list[dict[str, Any]] = []
    kinds: Counter[str] = Counter()
    for at, text in enumerate(texts):
        here = _kinds(text)
        kinds += here
        if any(kind not in IMPERSONAL for kind in here):
            rows.append({key: int(index[at]), "kinds": dict(here)})
    found = share_of(len(rows), len(texts))
    share = found["share"]
    named = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()) or "none"
    reason = f"{percent(share)} of the {what} hold personal data ({named}); masked here"
    told = {**found, "kinds": dict(kinds)}
    verdict = level(share, limits.PERSONAL)
    return Verdict(check, verdict, share, limits.PERSONAL[0], reason, rows[: limits.MOST_ROWS], told, len(rows))


def _kinds(text: str) -> Counter[str]:
    """Return how often each kind stands in a text, read in pieces: on long ones the patterns are slow."""
    found, last = Counter[str](), 0
    for at in range(0, len(text), CHARACTERS):
        for kind, start, end in spans(text[at : at + CHARACTERS + OVERLAP]):
            if start < CHARACTERS and at + start >= last:
                found[kind] += 1
                last = at + end
    return found
