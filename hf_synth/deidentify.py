"""De-identification: personal data masked in rows before a generator learns from them, and kept out of what it writes.

Patterns find e-mail addresses, telephone, card, account and social security numbers, IP addresses, URLs and dates in
digits; names of people, dates in words and record numbers are no patterns and are not found, but where the user lists
them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from .bio import spans_of, tags_of
from .errors import InputError
from .files import read_lines
from .pii import IMPERSONAL, LISTED, MASKED, spans
from .records import Example
from .task import Task

if TYPE_CHECKING:
    from datasets import Dataset

REGEX = "re:"
Place = tuple[str, int, int]  # kind, start, end
# Tokens are joined by spaces, so that a number is found, and without those, so that an address in pieces is.
CLOSE = re.compile(r"[.@:/_+-]+")
SPACED = re.compile(rf" ({CLOSE.pattern}) ")


@dataclass(frozen=True)
class Masks:
    """Finds personal data, and puts `[KIND]` in its place.

    Attributes:
        listed: What the user named, beside presidio's patterns.
    """

    listed: Sequence[re.Pattern[str]] = ()

    def places(self, text: str) -> list[Place]:
        """Return what is found, in order, without overlaps; what the user listed goes first."""
        found: list[Place] = []
        mine = [(LISTED, match.start(), match.end()) for one in self.listed for match in one.finditer(text)]
        for kind, start, end in [*sorted(mine, key=lambda one: one[1] - one[2]), *spans(text)]:
            if start < end and all(end <= first or start >= last for _, first, last in found):
                found.append((kind, start, end))
        return sorted(found, key=lambda one: one[1])

    def text(self, text: str) -> str:
        """Return a text with what is found masked; all of it, where that stands in pieces."""
        for kind, start, end in reversed(self.places(text)):
            text = f"{text[:start]}[{kind}]{text[end:]}"
        return f"[{self.kinds(text)[0]}]" if self.kinds(text) else text

    def kinds(self, text: str) -> list[str]:
        """Return the kinds of what is found in a text, URLs aside, also where spaces stand between its pieces."""
        found = {kind for own in (text, SPACED.sub(r"\1", text)) for kind, _, _ in self.places(own)}
        return sorted(found - {*IMPERSONAL})

    def tokens(self, tokens: Sequence[str], tags: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return tokens and BIO tags with what is found as one token; a name of an entity that has some is none."""
        masked: dict[int, str] = {}
        for apart in (True, False):
            text, starts = _joined(tokens, apart)
            for kind, start, end in self.places(text):
                for at, (begin, token) in enumerate(zip(starts, tokens, strict=True)):
                    if begin < end and start < begin + len(token):
                        masked.setdefault(at, kind)
        kept = [at for at in range(len(tokens)) if at not in masked or masked.get(at - 1) != masked[at]]
        entities = [span for span in spans_of(tags) if not {*range(*span[:2])} & {*masked}]
        new = {old: at for at, old in enumerate(kept)}
        moved = [(new[start], new[end - 1] + 1, label) for start, end, label in entities]
        return [f"[{masked[at]}]" if at in masked else tokens[at] for at in kept], tags_of(len(kept), moved)

    def answers(self, context: str, given: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Return, of answers in a context, those that stand in it as they were when it is masked, at their places."""
        places, masked = self.places(context), self.text(context)
        found: dict[str, list[Any]] = {"text": [], "answer_start": []}
        for text, start in zip(given["text"], given["answer_start"], strict=True):
            place = start + sum(len(kind) + 2 - (end - first) for kind, first, end in places if end <= start)
            if masked[place : place + len(text)] == text:
                found["text"].append(text)
                found["answer_start"].append(place)
        return found

    def facts(self) -> dict[str, Any]:
        """Return what is recorded: never what the user listed, but how much."""
        return {"by": "presidio's patterns", "listed": len(self.listed)}

    def __call__(self, examples: Sequence[Example]) -> list[str | None]:
        """Return `personal data: KIND` for every text that holds some, URLs aside."""
        found = [self.kinds("\n".join(example.fields.values())) for example in examples]
        return [f"personal data: {kinds[0]}" if kinds else None for kinds in found]


def open_masks(deidentify: bool, personal: str | None) -> Masks | None:
    """Return the masks that the settings want, if any.

    Args:
        deidentify: Whether personal data is looked for.
        personal: A text file with a name a line or, behind `re:`, a regular expression.

    Raises:
        InputError: If presidio is missing, or the file cannot be read as such.
    """
    if not deidentify:
        if personal is not None:
            raise InputError(f"`personal: {personal}` is read with `deidentify` alone, which is off")
        return None
    if find_spec("presidio_analyzer") is None:
        raise InputError(
            "`deidentify` needs presidio: pip install 'hf_synth[pii]' (no model is downloaded), or say "
            "`deidentify: false`; nothing was learnt or written"
        )
    return Masks(() if personal is None else _listed(personal))


def deidentified(task: Task, rows: Dataset, masks: Masks) -> tuple[Dataset, dict[str, Any]]:
    """Return rows with personal data masked, and what is recorded of it.

    Rows of parses that hold some are left out, and questions whose answers were masked.

    Args:
        task: Names the columns.
        rows: Real rows, labels by name.
        masks: Find it.

    Raises:
        InputError: If no row is left.
    """
    counts: Counter[str] = Counter()
    touched = 0

    def clean(row: dict[str, Any]) -> dict[str, Any]:
        nonlocal touched
        new = dict(row)
        for column in task.columns:
            if isinstance(row[column], list):
                new[column], new[task.label_column] = masks.tokens(row[column], row[task.label_column])
            else:
                new[column] = masks.text(row[column] or "")
        here = _masked(task, new) - _masked(task, row)
        counts.update(here)
        touched += bool(here)
        if here and task.kind == "qa":
            new[task.label_column] = masks.answers(row[task.columns[0]], row[task.label_column])
            return new if new[task.label_column]["text"] else {}
        return {} if here and task.kind == "parse" else new

    made = [new for row in rows if (new := clean(row))]
    if not made:
        raise InputError(f"none of the {len(rows)} real rows is left once personal data is masked: give others")
    told = {**masks.facts(), "rows": len(rows), "rows_with_some": touched, "masked": dict(counts.most_common())}
    return type(rows).from_list(made, features=rows.features), told


def masks_told(told: Mapping[str, Any]) -> str:
    """Return what was masked, in a sentence."""
    kinds = ", ".join(f"{kind} {count}" for kind, count in told["masked"].items()) or "nothing"
    listed = f" and {told['listed']} listed names or expressions" if told["listed"] else ""
    return (
        f"masked in {told['rows_with_some']} of {told['rows']} real rows: {kinds}; {told['by']}{listed} find no other "
        "names of people, no dates in words and no addresses"
    )


def _masked(task: Task, row: dict[str, Any]) -> Counter[str]:
    """Return how many masks of each kind stand in a row."""
    texts = [" ".join(own) if isinstance(own, list) else own or "" for own in (row[name] for name in task.columns)]
    return Counter(kind for text in texts for kind in MASKED.findall(text))


def _joined(tokens: Sequence[str], apart: bool) -> tuple[str, list[int]]:
    """Return tokens as a text, and where each begins."""
    text, starts = "", []
    for at, token in enumerate(tokens):
        close = not apart and at and (CLOSE.fullmatch(token) or CLOSE.fullmatch(tokens[at - 1]))
        text += "" if close or not at else " "
        starts.append(len(text))
        text += token
    return text, starts


def _listed(path: str) -> list[re.Pattern[str]]:
    found = []
    for line in read_lines(path, "personal"):
        words = r"\s+".join(map(re.escape, line.split()))  # a name may stand at the end of a line and go on below
        own = line.removeprefix(REGEX) if line.startswith(REGEX) else rf"(?<!\w){words}(?!\w)"
        try:
            found.append(re.compile(own, 0 if line.startswith(REGEX) else re.IGNORECASE))
        except re.error as error:
            raise InputError(f"`personal`: {line!r} is no regular expression: {error}") from None
    return found
