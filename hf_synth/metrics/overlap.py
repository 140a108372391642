"""How much of texts stands in a reference, word for word, as an `evaluate` measurement that loads by path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray

from hf_synth.errors import InputError
from hf_synth.metrics.classification import wilson
from hf_synth.metrics.sampling import ratio_interval
from hf_synth.metrics.suffix_automaton import SuffixAutomaton
from hf_synth.metrics.tokens import Ints, words

_DESCRIPTION = """Copying from a reference: the real train or test split, the few shots, any corpus.

Words are compared without case, punctuation and white space. A span is a run of words inside one text.

verbatim: share of texts whose letters and digits are all those of one reference text; verbatim_interval is Wilson's.
spans: share of texts with 8 words in a row (`span`) from one reference text; spans_interval is Wilson's.
copied_n, n = 1 to 10: share of all n-grams of the texts that stand in the reference, 1 - RAVEN's novelty (McCoy et al.
2023, https://huggingface.co/papers/2111.09509), None where no text has n words; copied_n_interval is that of a ratio
over rows, r +- 1.96 sqrt(N / (N - 1) sum_i (copied_i - r all_i)^2) / sum_i all_i. Small n are copied in any text of
the language: compare with real texts of another split against the same reference.
All are 0 to 1, lower is less copied. longest: words of the longest copied span of any text; mean_longest: its mean.
offenders: texts that are verbatim or have a span, worst first (verbatim before others, then the longer span): `row`,
`reference` (a row that holds the span, or the text), `verbatim`, `longest` and `words` of the text; `most` of them.
"""
SIZES = 10
SPAN = 8
MOST = 1_000
CHUNK = 10_000


@dataclass(frozen=True)
class Copies:
    """What each text shares with the reference.

    Attributes:
        words: Words of each text, [N].
        longest: Words of its longest span that stands in the reference, [N].
        reference: The first row of the reference that holds that span, -1 where there is none, [N].
        verbatim: The first row of the reference that is the text, -1 where there is none, [N].
        hits: Its n-grams that stand in the reference, n from 1 on, [N, n].
    """

    words: Ints
    longest: Ints
    reference: Ints
    verbatim: Ints
    hits: Ints


class Reference:
    """Texts to look for in others; several sets of texts can be compared with it.

    Args:
        texts: Read once; their spans are kept, about 120 bytes a word.
    """

    def __init__(self, texts: Iterable[str]):
        self.whole: dict[str, int] = {}
        self.rows = 0
        self.spans = SuffixAutomaton(self._words(texts))

    def _words(self, texts: Iterable[str]) -> Iterator[list[str]]:
        for text in texts:
            found = words(text)
            self.whole.setdefault("".join(found), self.rows)
            self.rows += 1
            yield found

    def copies(self, texts: Iterable[str], sizes: int = SIZES) -> Copies:
        """Return what each text shares with the reference; texts are read in pieces and not kept."""
        stream, parts = iter(texts), [self._piece([], sizes)]
        while piece := list(islice(stream, CHUNK)):
            parts.append(self._piece(piece, sizes))
        return Copies(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def _piece(self, texts: list[str], sizes: int) -> tuple[Ints, Ints, Ints, Ints, Ints]:
        ends: list[int] = []
        table: Ints = np.full((len(texts), 4), -1)
        for row, text in enumerate(texts):
            found = words(text)
            lengths, longest, reference = self.spans.matches(found)
            ends.extend(lengths)
            table[row] = len(found), longest, reference, self.whole.get("".join(found), -1) if found else -1
        of, spans = np.repeat(np.arange(len(texts)), table[:, 0]), np.array(ends, dtype=np.int64)
        hits: Ints = np.empty((len(texts), sizes), np.int64)
        for n in range(1, sizes + 1):
            hits[:, n - 1] = np.bincount(of[spans >= n], minlength=len(texts))
        return table[:, 0], table[:, 1], table[:, 2], table[:, 3], hits


def overlap(
    texts: Iterable[str], reference: Iterable[str] | Reference, *, span: int = SPAN, most: int = MOST
) -> dict[str, Any]:
    """Return how much of texts stands in a reference, and the texts that hold most of it.

    Args:
        texts: One or more.
        reference: Texts, or what was made of them before.
        span: Words in a row from the reference that make a text an offender.
        most: Offenders that are listed.

    Raises:
        InputError: If there is no text, or the reference has none, or `span` is below 1.
    """
    if span < 1:
        raise InputError(f"`span` must be 1 or more words; got {span}")
    known = reference if isinstance(reference, Reference) else Reference(reference)
    if not known.rows:
        raise InputError("overlap needs a reference with a text; got none")
    copies = known.copies(texts)
    if not (rows := len(copies.words)):
        raise InputError("overlap needs a text; got none")
    whole, part = int((copies.verbatim >= 0).sum()), int((copies.longest >= span).sum())
    found: dict[str, Any] = {"rows": rows, "reference_rows": known.rows, "words": int(copies.words.sum())}
    found |= {"verbatim": whole / rows, "verbatim_interval": list(wilson(whole, rows))}
    found |= {"span": span, "spans": part / rows, "spans_interval": list(wilson(part, rows))}
    for n in range(1, SIZES + 1):
        every, hits = np.maximum(copies.words - n + 1, 0), copies.hits[:, n - 1]
        some = bool(every.any())
        found[f"copied_{n}"] = float(hits.sum() / every.sum()) if some else None
        found[f"copied_{n}_interval"] = ratio_interval(hits, every) if some else None
    found |= {"longest": int(copies.longest.max()), "mean_longest": float(copies.longest.mean())}
    found["offenders"] = [
        {
            "row": int(row),
            "reference": int(copies.verbatim[row] if copies.verbatim[row] >= 0 else copies.reference[row]),
            "verbatim": bool(copies.verbatim[row] >= 0),
            "longest": int(copies.longest[row]),
            "words": int(copies.words[row]),
        }
        for row in worst(copies, span)[:most]
    ]
    return found


def worst(copies: Copies, span: int = SPAN) -> NDArray[np.int64]:
    """Return the rows that are verbatim or hold a span, worst first: verbatim before others, then the longer span."""
    rows = np.flatnonzero((copies.verbatim >= 0) | (copies.longest >= span))
    return rows[np.lexsort((rows, -copies.longest[rows], copies.verbatim[rows] < 0))]


class Overlap(evaluate.Measurement):
    """Measures texts against `reference`, texts as well; `span` and `most` as in `overlap`."""

    def _info(self) -> evaluate.MeasurementInfo:
        return evaluate.MeasurementInfo(_DESCRIPTION, "", datasets.Features({"data": datasets.Value("string")}))

    def _compute(self, data: list[str], reference: list[str], span: int = SPAN, most: int = MOST) -> dict:
        return overlap(data, reference, span=span, most=most)
