"""Questions whose answer stands in a given context, in the columns of SQuAD.

ZeroGen (https://huggingface.co/papers/2202.07922), section 3: answers are found in a context first, then a question is
asked for each.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..candidates import KINDS, finder
from ..errors import InputError
from ..parse import labelled
from ..records import Completion, Example, Prompt
from ..task import Task

if TYPE_CHECKING:
    from datasets import Features

category = "question-answering"
means = "An answer is a span that was found in the context first; the question written for it need not ask for it."
_BREAK = re.compile(r"(?<=[.!?][\"')\]])\s+(?=[A-Z\"'(])|(?<=\w\w[.!?])\s+(?=[A-Z\"'(])")
BLANK = "___"
BARREN = 10_000  # contexts without an answer of a kind, one after the other, after which no more are read


def check(task: Task) -> None:
    """Refuse kinds of answers that nothing finds.

    Raises:
        InputError: If the rules find answers, and a label is none of theirs.
    """
    for label in task.labels:
        if task.finder == "rules" and label not in KINDS:
            raise InputError(f"`labels` must be kinds of answers that rules find, {', '.join(KINDS)}; got {label!r}")


def features(task: Task) -> Features:
    """Return SQuAD's columns."""
    from datasets import Features, List, Value

    text = Value("string")
    answers = {"text": List(text), "answer_start": List(Value("int32"))}
    return Features({"id": text, "title": text, **dict.fromkeys(task.columns, text), task.label_column: answers})


def stored(task: Task, example: Example) -> dict[str, Any]:
    """Return an id made of the texts, an empty title, the texts and the answer."""
    mark = hashlib.sha256("\0".join(example.fields.values()).encode()).hexdigest()[:24]
    return {"id": mark, "title": "", **example.fields, task.label_column: example.target}


def counted(task: Task, row: Mapping[str, Any]) -> list[str]:
    """Return the kind of the answer."""
    return [json.loads(row["attributes"])["kind"]]


def flaw(task: Task, row: Mapping[str, Any]) -> str:
    """Tell of answers that are not all texts with a place."""
    texts, starts = row[task.label_column]["text"], row[task.label_column]["answer_start"]
    if len(texts) != len(starts or ()) or None in starts:
        return f"`text` holds {texts!r}, and `answer_start` {starts!r}"
    return "" if all(text and text.strip() for text in texts) else f"an answer without words: {texts!r}"


def shown(task: Task, row: Mapping[str, Any]) -> dict[str, str]:
    """Return context, question and answer."""
    return {**{column: row[column] for column in task.columns}, "answer": row[task.label_column]["text"][0]}


def prompts(
    task: Task, cell: str, openings: Iterable[str], rng: random.Random, *, steer: bool | None = None
) -> Iterator[Prompt]:
    """Yield prompts that ask for a question about one answer of the cell's kind in each context that has one."""
    find, words, barren = finder(task.finder), task.words.get(cell, ()), 0
    for context in openings:
        found = [one for one in find(context) if one.kind == cell]
        barren = 0 if found else barren + 1
        if barren == BARREN:
            return
        if not found:
            continue
        start, end, kind = rng.choice(found)
        answer = context[start:end]
        sentence = sentence_of(context, start, end)
        values = {"label": task.labels[cell], "answer": answer, "opening": context, task.columns[0]: context}
        values |= {
            "cloze": _whole(answer).sub(BLANK, sentence),
            "sentence": sentence,
            "word": rng.choice(words) if words else "",
        }
        attributes = {"answer": answer, "start": str(start), "kind": kind, "sentence": sentence}
        if words:  # the question begins with it: parsers put it back in front
            attributes["start word"] = values["word"]
        yield Prompt(
            task.template(cell).format(**values), cell=cell, given={task.columns[0]: context}, attributes=attributes
        )


def sentence_of(context: str, start: int, end: int) -> str:
    """Return the sentence, or sentences, of a context that hold its characters from `start` to `end`."""
    breaks = [0, *(match.end() for match in _BREAK.finditer(context)), len(context)]
    return context[max(at for at in breaks if at <= start) : min(at for at in breaks if at >= end)].strip()


def parser(task: Task) -> Callable[[Prompt, Completion], Example | str]:
    """Return a parser of questions.

    Reasons: those of `labelled`, `gives answer away` (it holds the answer), `off context` (of its longer words fewer
    than a third stand in the sentence that holds the answer).
    """
    read = labelled(task)

    def parse(prompt: Prompt, completion: Completion) -> Example | str:
        found = read(prompt, completion)
        if isinstance(found, str):
            return found
        if "\n" in completion.text.strip() or completion.text.count('"') % 2:  # went on behind its closing quote
            return "unfinished"
        answer, question = prompt.attributes["answer"], found.fields[task.generated]
        if _whole(answer.casefold()).search(question.casefold()):
            return "gives answer away"
        asked = _long_words(question)
        if len(asked & _long_words(prompt.attributes["sentence"])) < max(1, len(asked) / 3):
            return "off context"
        target = {"text": [answer], "answer_start": [int(prompt.attributes["start"])]}
        return Example(found.fields, target, prompt.cell, prompt, found.logprob)

    return parse


def _whole(answer: str) -> re.Pattern[str]:
    """Return what finds an answer as whole words, whatever lies between them: `art` is none of `part`."""
    words = r"\s+".join(map(re.escape, answer.split()))
    return re.compile(rf"(?<!\w){words}(?!\w)")


def _long_words(text: str) -> set[str]:
    """Return the words of five letters and more, in lower case, cut to five: `finished` and `finish` are the same."""
    return {word[:5] for word in re.findall(r"[^\W\d_]{5,}", text.casefold())}
