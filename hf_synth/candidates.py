"""Answers that a context offers, as spans of characters, for questions to be asked about."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from .bio import spans_of
from .errors import InputError
from .pii import MASKED

Kind = Literal["date", "quote", "name", "number", "phrase"]
KINDS: tuple[str, ...] = get_args(Kind)


class Candidate(NamedTuple):
    """A span of a context that may be an answer.

    Attributes:
        start: Its first character.
        end: The character behind its last.
        kind: What it is: of the rules `date`, `quote`, `name`, `number` or `phrase`; of a student, its label.
    """

    start: int
    end: int
    kind: str


_MONTH = (
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December"
    r"|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\.)"
)
_YEAR = r"(?:1\d{3}|20\d{2})"
_ERA = r"(?:\s?(?:BCE|BC|CE|AD))"
_DAY = r"(?:[0-3]?\d(?:st|nd|rd|th)?)"
# A month of the name of a word (May, March) needs a day or year beside it; the others stand alone as well.
_DATE = re.compile(
    rf"\b(?:{_DAY}\s(?:of\s)?{_MONTH}(?:,?\s{_YEAR})?"  # 4 July 1776
    rf"|{_MONTH}\s{_DAY}(?:,?\s{_YEAR})?(?!\d)"  # July 4, 1776
    rf"|{_MONTH},?\s{_YEAR}"  # July 1776
    rf"|\d{{4}}-\d\d-\d\d"  # 1776-07-04
    rf"|(?:AD\s)\d{{1,4}}|\d{{1,4}}{_ERA}"  # 44 BC
    rf"|(?:early|mid|late)?[\s-]?\d{{1,2}}(?:st|nd|rd|th)(?:\s|-)(?:century|centuries){_ERA}?"  # 19th century
    rf"|{_YEAR}s|{_YEAR}(?:\s?[-–—]\s?(?:{_YEAR}|\d\d))?(?![\d,.]*\d)"  # 1990s, 1939–45
    r"|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
    r"|(?:January|February|April|June|July|August|September|October|November|December))\b"
)

_WORD_NUMBER = (
    r"(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    r"|eighteen|nineteen|(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:-[a-z]+)?|hundreds?|thousands?)"
)
_SCALE = r"(?:hundred|thousand|million|billion|trillion)"
_UNIT = (
    r"(?:%|percent|per\scent|°\s?[CF]|km²?|kilomet(?:er|re)s?|met(?:er|re)s?|mi|miles?|feet|foot|ft|inch(?:es)?|cm|mm"
    r"|kg|kilograms?|grams?|pounds?|lbs?|tons?|tonnes?|acres?|hectares?|lit(?:er|re)s?|gallons?|mph|km/h|[kMG]?Hz"
    r"|[kMG]?W|volts?|seconds?|minutes?|hours?|days?|weeks?|months?|years?|decades?|centuries"
    r"|dollars?|euros?|cents?|degrees?)"
)
_NUMBER = re.compile(
    rf"(?<![\w.,])(?:(?:US\s?)?[$€£¥]\s?)?(?:\d{{1,3}}(?:,\d{{3}})+|\d+)(?:\.\d+)?(?:st|nd|rd|th)?"
    rf"(?:\s{_SCALE})?(?:[\s-]?{_UNIT}(?!\w))?(?![\w]|[.,]\d)"
    rf"|\b{_WORD_NUMBER}(?:\s{_SCALE})?(?:[\s-]{_UNIT})?\b"
)

# Straight and curly quotes around a title: short, beginning with a capital or a digit, of one line.
_QUOTE = re.compile(r"[\"“]([A-Z0-9][^\"“”\n]{1,79}?)[,.]?[\"”]")

_CAPITAL = r"(?:[A-Z]\.(?:[A-Z]\.)+|[A-Z]\.|[^\W\d_a-zà-ÿ](?:[\w'’&]|-(?=\w))*)"
_JOIN = r"(?:of\sthe|of|de\sla|de|del|du|von|van|der|da|di|al|el|la|le|and\sthe|for\sthe|&|the)"
_NAME = re.compile(rf"(?<![\w'’-]){_CAPITAL}(?:\s(?:{_JOIN}\s)?{_CAPITAL})*(?:\s\d{{1,3}}\b(?![.,]?\d))?")
_ENDS = re.compile(r"(?:^|[.!?:;][\"”')\]]*\s+|\n\s*|[\"“(])$")  # what stands before the first word of a sentence
# Words that begin sentences and names alike, and are no part of a name.
_OPENERS = frozenset(
    re.findall(
        r"\w+",
        "a after all also although an and another any as at because before both but by despite during each even "
        "every few finally first following for from further given he her here his how however i if in into it its "
        "just later like many more moreover most much my nearly next no not now of on once one only or other "
        "others our out over perhaps several she similarly since so some soon still such than that the their then "
        "there these they this those though through thus to today together two under unlike until upon us we what "
        "when where whereas whether which while who whom whose why with within without yet you your",
    )
)

# One to three lower-case words between a word such as `of` or `the` and the next such word, or a comma: most are nouns
# with what describes them. Which words those are, and those of `for example` and the like, is all the grammar of these
# rules; words in -ly and -ed end none, since few of them are nouns.
_FUNCTION = (
    r"(?:an?|the|of|in|on|at|by|for|to|from|with|without|as|into|onto|over|under|between|among|through|during|before"
    r"|after|against|about|within|across|along|behind|near|upon|towards?|via|per|than|and|or|but|nor|so|yet|if|because"
    r"|while|when|where|which|who|whom|whose|that|this|these|those|is|are|was|were|be|been|being|has|have|had|do|does"
    r"|did|can|could|will|would|may|might|must|shall|should|not|no|its?|they|them|their|he|him|his|she|her|we|us|our"
    r"|you|your|also|only|both|either|such|other|most|more|many|much|some|any|each|every|all|very|too|there|here|then"
    r"|however|thus|often|still|even|just|up|out|off|down|one|once|less|least|first|last|well|example|instance|order|part"
    r"|front|fact|general|particular|addition|case|terms|spite|lot|number|way|today|result|others|kinds?|types?)"
)
_WORD = rf"(?!{_FUNCTION}\b(?!-))[a-z]{{2,}}(?:-[a-z]+)*"
_PHRASE = re.compile(
    r"\b(?:[Aa]n?|[Tt]he|its|their|his|her|of|by|with|for|in|from|into|through|including|called|like|between)\s"
    r"(?:(?:an?|the|its|their|his|her)\s)?"
    rf"((?:{_WORD}\s){{0,2}}{_WORD})(?<!ly)(?<!ed)(?=[.,;:)]|\s{_FUNCTION}\b)"
)


def rules(context: str) -> list[Candidate]:
    """Return what regular expressions find in a context, in order, without overlaps.

    - `date`: days, months with a day or year, years, decades, spans of years, centuries, years BC or AD, weekdays.
    - `quote`: up to 80 characters between quotes that begin with a capital, as titles do; the quotes are left out.
    - `name`: runs of capitalised words, joined by words such as `of` and `de`; articles and other openers in front
      are left out, and so is a single capitalised word that begins a sentence, unless it is an acronym.
    - `number`: numbers in digits or words, with currency, scale and unit.
    - `phrase`: up to three lower-case words between two function words, or one and a comma or full stop; the last of
      them does not end in -ly or -ed.

    Where two overlap, the kind that stands first in this list counts, of one kind the first; a number inside a name
    belongs to the name.

    >>> context = 'In 1979 Pink Floyd sold 30 million copies of "The Wall".'
    >>> [(context[start:end], kind) for start, end, kind in rules(context)]
    [('1979', 'date'), ('Pink Floyd', 'name'), ('30 million', 'number'), ('The Wall', 'quote')]
    """
    found: list[Candidate] = []
    taken = [match.span() for match in MASKED.finditer(context)]  # what was hidden is no answer
    for start, end, kind in _matches(context):
        if all(end <= first or start >= last for first, last in taken):
            found.append(Candidate(start, end, kind))
            taken.append((start, end))
    return sorted(found)


def _matches(context: str) -> Iterator[tuple[int, int, Kind]]:
    for match in _DATE.finditer(context):
        text = match.group()
        yield match.end() - len(text.lstrip(" -")), match.end(), "date"
    for match in _QUOTE.finditer(context):
        yield match.start(1), match.end(1), "quote"
    for match in _NAME.finditer(context):
        if (start := _name_start(context, match.start(), match.end())) is not None:
            yield start, match.end(), "name"
    for match in _NUMBER.finditer(context):
        yield match.start(), match.end(), "number"
    for match in _PHRASE.finditer(context):
        yield match.start(1), match.end(1), "phrase"


def _name_start(context: str, start: int, end: int) -> int | None:
    """Return where a run of capitalised words becomes a name, if it does."""
    opens = bool(_ENDS.search(context, max(start - 8, 0), start)) or start == 0
    while (word := context[start:end].split(" ")[0].split("\n")[0]).lower() in _OPENERS:
        start += len(word) + 1
        opens = False
        if start >= end:
            return None
    while (word := context[start:end].split(" ")[0]).islower():  # a joining word behind an opener
        start += len(word) + 1
    text = context[start:end]
    if len(text) < 2 or text[:1].isdigit():
        return None
    alone = " " not in text and "\n" not in text
    return None if opens and alone and not text.replace(".", "").isupper() else start


def random_answer(context: str, rng: random.Random) -> Candidate:
    """Return one of the rules' names, dates, numbers and titles at random, one of the words where there are none.

    An answerer that never reads the question: what a trained one must beat.

    Raises:
        InputError: For a context without words.
    """
    # Phrases are many, and few are ever asked for: they would make this an easy one to beat.
    if found := [candidate for candidate in rules(context) if candidate.kind != "phrase"]:
        return rng.choice(found)
    words = [Candidate(match.start(), match.end(), "word") for match in re.finditer(r"\w+", context)]
    if not words:
        raise InputError(f"a context needs a word to be an answer; got {context!r}")
    return rng.choice(words)


def finder(which: str) -> Callable[[str], list[Candidate]]:
    """Return what finds answers in a context: `rules`, or the trained student of entities in a folder."""
    if which == "rules":
        return rules

    @lru_cache(maxsize=1 << 16)  # contexts come round again
    def find(context: str) -> list[Candidate]:
        return by_student(which, [context])[0]

    return find


@lru_cache(maxsize=1)
def _student(folder: str | Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    model = AutoModelForTokenClassification.from_pretrained(folder).to(device).eval()
    return model, AutoTokenizer.from_pretrained(folder)


def by_student(
    folder: str | Path, contexts: Sequence[str], max_length: int = 256, batch_size: int = 32
) -> list[list[Candidate]]:
    """Return what a trained student of entities finds in contexts, in order.

    A word has the tag of its first token. `B-kind` begins a span, and so does `I-kind` behind another kind.

    Args:
        folder: Folder of a token classifier whose labels are `O`, `B-kind` and `I-kind`.
        contexts: Texts; long ones are read in several pieces.
        max_length: Most tokens of a piece.
        batch_size: Pieces at once.

    Raises:
        InputError: For a model of other labels, or a tokenizer that does not know where its tokens stand.
    """
    import torch

    model, tokenizer = _student(folder)
    names = [model.config.id2label[at] for at in range(model.config.num_labels)]
    if wrong := [name for name in names if name != "O" and name[:2] not in ("B-", "I-")]:
        raise InputError(f"labels of a student that finds answers must be O, B-kind and I-kind; got {wrong[0]!r}")
    if not tokenizer.is_fast:
        raise InputError("a student that finds answers needs a fast tokenizer, which tells where tokens stand")
    found = tokenizer(
        list(contexts),
        truncation=True,
        max_length=max_length,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    rows, offsets = found.pop("overflow_to_sample_mapping"), found.pop("offset_mapping")
    words: list[dict[int, tuple[int, int, str]]] = [{} for _ in contexts]
    for first in range(0, len(rows), batch_size):
        places = range(first, min(first + batch_size, len(rows)))
        inputs = {name: [found[name][at] for at in places] for name in found}
        batch = tokenizer.pad(inputs, padding_side="right", return_tensors="pt").to(model.device)
        with torch.inference_mode():
            said = model(**batch).logits.argmax(-1).tolist()
        for at, tags in zip(places, said, strict=True):
            _collect(words[rows[at]], found.word_ids(at), offsets[at], [names[tag] for tag in tags])
    return [_spans(list(known.values())) for known in words]


def _collect(known: dict[int, tuple[int, int, str]], ids: Any, offsets: Any, tags: Sequence[str]) -> None:
    """Add the words of a piece: where they stand, and the tag of their first token."""
    for word, (start, end), tag in zip(ids, offsets, tags, strict=False):  # tags of padding stand behind
        if word is not None:
            begin, _, kept = known.get(word, (start, end, tag))
            known[word] = begin, end, kept


def _spans(words: Sequence[tuple[int, int, str]]) -> list[Candidate]:
    found = spans_of([tag for _, _, tag in words])
    return [Candidate(words[first][0], words[end - 1][1], label) for first, end, label in found]
