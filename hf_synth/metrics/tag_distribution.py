"""How entities are spread over texts, and whether a name is tagged alike wherever it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from hf_synth.bio import Lexicon, spans_of
from hf_synth.metrics.sampling import ratio_interval

_DESCRIPTION = """Measures of BIO tags, one list for each text, with its tokens.

entities_per_text, tagged_share: entities a text, and share of tokens that belong to one; beside those of real texts.
labels: label -> share of the entities, mean tokens of one, different names (whatever their case), and the share of the
entities that the ten most frequent names make up (0 to 1; near 1, few names are all there is).
divergence: Jensen-Shannon divergence in bits between the labels' shares and those of the reference, when given; 0 to
1, 0 for the same shares, None where a side has no entity (Lin 1991, https://doi.org/10.1109/18.61115).
span_agreement: of all places where a name stands that is tagged somewhere, the share that is tagged with that name's
most frequent label; 0 to 1, higher is better. What is missed is a name left untagged, or tagged as something else.
span_agreement_interval: 95 %, over texts as a ratio of sums (Cochran 1977, section 6.4).
untagged: the names most often left untagged, with how often.
"""
FREQUENT = 10


def span_agreement(tokens: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return how often names are tagged where they stand; see the description above."""
    every = [words[start:end] for words, row in zip(tokens, tags, strict=True) for start, end, _ in spans_of(row)]
    lexicon, left = Lexicon({"": every}), Counter[str]()
    said: dict[tuple[str, ...], Counter[str]] = {}
    for words, row in zip(tokens, tags, strict=True):
        for start, end, label in spans_of(row):
            said.setdefault(lexicon.known(words[start:end]), Counter())[label] += 1
    usual = {name: labels.most_common(1)[0][0] for name, labels in said.items()}
    right, places = np.zeros(len(tags)), np.zeros(len(tags))
    for at, (words, row) in enumerate(zip(tokens, tags, strict=True)):
        own = spans_of(row)
        found = {(start, end): label for start, end, label in own}
        for start, end, _ in lexicon.spans(words, own):
            places[at] += 1
            right[at] += found.get((start, end)) == usual[lexicon.known(words[start:end])]
            left[_name(words[start:end])] += (start, end) not in found
    total = float(places.sum())
    return {
        "span_agreement": float(right.sum()) / total if total else None,
        "span_agreement_interval": ratio_interval(right, places) if total else None,
        "untagged": {name: count for name, count in left.most_common(FREQUENT) if count},
    }


def tag_distribution(tokens: Sequence[Sequence[str]], tags: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return how entities are spread; see the description above."""
    names: dict[str, Counter[str]] = {}
    lengths: Counter[str] = Counter()
    tagged = 0
    for words, row in zip(tokens, tags, strict=True):
        for start, end, label in spans_of(row):
            names.setdefault(label, Counter())[_name(words[start:end])] += 1
            lengths[label] += end - start
            tagged += end - start
    counts = {label: own.total() for label, own in names.items()}
    total = sum(counts.values())
    return {
        "texts": len(tags),
        "entities_per_text": total / len(tags) if tags else None,
        "tagged_share": tagged / max(sum(map(len, tags)), 1),
        "labels": {
            label: {
                "share": counts[label] / total,
                "tokens": lengths[label] / counts[label],
                "names": len(own),
                "most_frequent": sum(count for _, count in own.most_common(FREQUENT)) / counts[label],
            }
            for label, own in sorted(names.items())
        },
    }


def divergence(ours: dict[str, Any], theirs: dict[str, Any]) -> float | None:
    """Return the Jensen-Shannon divergence, in bits, between the labels' shares of two distributions.

    None where one of them has no entity, and so no shares.
    """
    if not ours["labels"] or not theirs["labels"]:
        return None
    labels = sorted({*ours["labels"], *theirs["labels"]})
    p, q = (
        np.array([part["labels"].get(label, {"share": 0.0})["share"] for label in labels]) for part in (ours, theirs)
    )
    middle = (p + q) / 2

    def apart(part: np.ndarray) -> float:
        there = part > 0
        return float(np.sum(part[there] * np.log2(part[there] / middle[there])))

    return (apart(p) + apart(q)) / 2


def _name(words: Sequence[str]) -> str:
    return " ".join(words).casefold()


class TagDistribution(evaluate.Measurement):
    """Measures tags; `reference_tokens` and `reference_tags` are those of real texts."""

    def _info(self) -> evaluate.MetricInfo:
        texts = datasets.List(datasets.Value("string"))
        features = datasets.Features({"tokens": texts, "tags": texts})
        return evaluate.MetricInfo(_DESCRIPTION, "", features)

    def _compute(
        self,
        tokens: list[list[str]],
        tags: list[list[str]],
        reference_tokens: list[list[str]] | None = None,
        reference_tags: list[list[str]] | None = None,
    ) -> dict[str, Any]:
        for row, (words, own) in enumerate(zip(tokens, tags, strict=True)):
            if len(words) != len(own):
                raise ValueError(f"row {row} has {len(words)} tokens and {len(own)} tags")
        found = {**tag_distribution(tokens, tags), **span_agreement(tokens, tags)}
        if reference_tokens is not None and reference_tags is not None:
            real = {
                **tag_distribution(reference_tokens, reference_tags),
                **span_agreement(reference_tokens, reference_tags),
            }
            found |= {"divergence": divergence(found, real), "reference": real}
        return found
