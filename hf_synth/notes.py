"""Unlabelled notes as rows to learn from: their sentences that hold names of the task, tagged where these stand."""

from __future__ import annotations

import dataclasses
import re

from .bio import Lexicon, tags_of, tokens_of
from .errors import InputError
from .models import known_as
from .reference import RealRows, check_corpus, load_corpus
from .task import Corpus, Task

BETWEEN = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")
LEAST, MOST = 4, 60  # tokens of a sentence


def tagged_notes(task: Task, corpus: Corpus) -> RealRows:
    """Return sentences of a corpus with a name of the task's `words` or more; other names in them stay untagged.

    Raises:
        InputError: For tasks without names, a corpus that cannot be loaded or is test data, or none such sentences.
    """
    task.needs_kind("tokens", what="`notes`")
    check_corpus(dataclasses.replace(task, corpus=corpus))
    lexicon, found, name = Lexicon(task.words), [], known_as(corpus.path)
    for text in load_corpus(corpus)[corpus.column]:
        for sentence in BETWEEN.split(text or ""):
            tokens = tokens_of(sentence)
            if LEAST <= len(tokens) <= MOST and (spans := lexicon.spans(tokens)):
                found.append({task.generated: tokens, task.label_column: tags_of(len(tokens), spans)})
    if not found:
        raise InputError(
            f"`notes`: no sentence of {name!r}, column {corpus.column!r}, holds a name of the task's `words`"
        )
    from datasets import Dataset

    return RealRows(Dataset.from_list(found), name, corpus.split)
