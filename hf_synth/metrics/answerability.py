"""Whether questions can be answered from their contexts, without a model, and with a reader's answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from hf_synth.metrics.sampling import bootstrap
from hf_synth.metrics.squad import f1, normalized
from hf_synth.metrics.tokens import words

_DESCRIPTION = """Measures of extractive questions: contexts, questions, and one answer each with its first character.

in_place: share of rows whose answer stands where it says in the context; below 1 the data set is broken.
given_away: share of questions that hold the words of their answer; 0 to 1, lower is better.
located: share of rows whose context has two sentences or more and whose question shares the most content words with a
sentence that holds the answer (ties count as their share); 0 to 1, higher is better.
located_by_chance: the same for a sentence at random.
lead: share of answers in the first sentence of such contexts.
answered: mean F1 (SQuAD's) between the answers and those that a reader gave who was not trained on the row, when
given; 0 to 1, higher is better: what a reader cannot find may not be there.
Intervals: 95 % percentile bootstrap over rows.
"""
_SENTENCE = re.compile(r"(?<=[.!?])[\"'”’)]*\s+(?=[\"'“(]?[A-Z0-9])")
LONG = 4  # letters of a word that counts: shorter ones mostly stand in every sentence


def answerability(
    contexts: Sequence[str],
    questions: Sequence[str],
    answers: Sequence[str],
    starts: Sequence[int],
    predictions: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the measures described above; `None` where no row counts.

    Args:
        contexts: Texts.
        questions: One for each.
        answers: Spans of the contexts.
        starts: Their first characters.
        predictions: A reader's answers.
    """
    rows = list(zip(contexts, questions, answers, starts, strict=True))
    held = [_located(context, question, start) for context, question, _, start in rows]
    several = [one for one in held if one is not None]
    given = [_holds(_parted(question), _parted(answer)) for _, question, answer, _ in rows]
    found: dict[str, Any] = {
        "rows": len(rows),
        "in_place": float(np.mean([text[at : at + len(answer)] == answer for text, _, answer, at in rows])),
        "given_away": float(np.mean(given)),
        "rows_of_several_sentences": len(several),
    }
    for at, name in enumerate(("located", "located_by_chance", "lead")):
        found[name] = float(np.mean([one[at] for one in several])) if several else None
    found["located_interval"] = list(bootstrap([one[0] for one in several])) if several else None
    if predictions is not None:
        scores = [f1(said, answer) for said, answer in zip(predictions, answers, strict=True)]
        found |= {"answered": float(np.mean(scores)), "answered_interval": list(bootstrap(scores))}
    return found


def sentences(context: str) -> list[tuple[int, int]]:
    """Return where the sentences of a text begin and end."""
    cuts = [0, *(match.end() for match in _SENTENCE.finditer(context)), len(context)]
    return list(zip(cuts, cuts[1:], strict=False))


def _located(context: str, question: str, start: int) -> tuple[float, float, float] | None:
    """Return how surely word overlap finds the answer's sentence, how surely chance, and whether it is the first."""
    spans = sentences(context)
    if len(spans) < 2:
        return None
    asked = _content(question)
    shared = [len(asked & _content(context[first:last])) for first, last in spans]
    own = next(at for at, (_, last) in enumerate(spans) if start < last or at == len(spans) - 1)
    best = [at for at, count in enumerate(shared) if count == max(shared)]
    return (own in best) / len(best), 1 / len(spans), float(own == 0)


def _content(text: str) -> set[str]:
    return {word for word in normalized(text) if len(word) >= LONG}


def _parted(text: str) -> list[str]:
    """Return normalised words; of scripts without spaces, characters."""
    return words(" ".join(normalized(text)))


def _holds(text: list[str], part: list[str]) -> bool:
    return bool(part) and any(text[at : at + len(part)] == part for at in range(len(text)))


class Answerability(evaluate.Measurement):
    """Measures questions."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        features = {"contexts": text, "questions": text, "answers": text, "starts": datasets.Value("int64")}
        return evaluate.MetricInfo(_DESCRIPTION, "", datasets.Features(features))

    def _compute(
        self,
        contexts: list[str],
        questions: list[str],
        answers: list[str],
        starts: list[int],
        predictions: list[str] | None = None,
    ) -> dict[str, Any]:
        return answerability(contexts, questions, answers, starts, predictions)
