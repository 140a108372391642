"""Near-duplicates among texts, by words and by embeddings, as an `evaluate` measurement that loads by path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hf_synth.errors import InputError
from hf_synth.metrics.tokens import Ints, words
from hf_synth.metrics.vectors import checked, unit_blocks

_DESCRIPTION = """Texts that nearly repeat another text.

Two texts are near-duplicates where the bags of their words, without case and punctuation, have a Jaccard similarity
sum min(a, b) / sum max(a, b) of 0.75 or more: one word of eight swapped or deleted, but not one of six. MinHash
(https://en.wikipedia.org/wiki/MinHash; `rensa`, 25 bands of 5) finds candidates, and the similarity of each is
computed: a pair just at the threshold is found with probability 0.99, none below it counts. Given embeddings, also
where their cosine is 0.95 or more, every pair compared in blocks: O(N^2 D), so measure a sample beyond 100,000 texts.

groups: the connected near-duplicates, row numbers, largest group first; texts of a group may be linked through others.
rate: share of texts that would go if one of each group stayed, (N - groups - texts in none) / N. 0 to 1, lower is more
diverse; it grows with N. exact_rate: the same for texts that differ in case, punctuation and white space alone.
rate_interval: 95 % percentile bootstrap over groups and single texts, 1,000 draws by the seed.
"""
BANDS, DEEP = 25, 5
THRESHOLD = 0.75
COSINE = 0.95  # with MiniLM, at 0.9, a tenth of 1,000 real rows of banking77 would count
CHUNK = 20_000
NEIGHBOURS = 10  # texts of a bucket compared with each, so that one of thousands (a template's) stays affordable
SLACK = 0.1  # 2.6 standard errors of an estimate from BANDS * DEEP hashes


def jaccard(a: Sequence[str], b: Sequence[str]) -> float:
    """Return the Jaccard similarity of two bags of words."""
    one, other = Counter(a), Counter(b)
    same = sum((one & other).values())
    return same / (len(a) + len(b) - same) if same else 0.0


def by_words(texts: Sequence[str], threshold: float = THRESHOLD, seed: int = 0) -> tuple[Ints, Ints]:
    """Return the group of each text, [N], a row number in it: of exact repetitions, and of near-duplicates.

    Args:
        texts: Any number.
        threshold: Jaccard similarity from which two texts are near-duplicates.
        seed: Of the hash functions.

    Raises:
        InputError: If `rensa` is not installed or the threshold is not above 0.5 and up to 1.
    """
    if not 0.5 < threshold <= 1:
        raise InputError(f"`threshold` of near-duplicates must be above 0.5 and up to 1; got {threshold}")
    firsts: dict[str, int] = {}
    exact = np.fromiter((firsts.setdefault("".join(_bag(text)), at) for at, text in enumerate(texts)), np.int64)
    kept = np.fromiter(firsts.values(), np.int64)
    parent = {int(at): int(at) for at in kept}
    for a, b in _candidates([texts[at] for at in kept], threshold, seed):
        one, other = _root(parent, int(kept[a])), _root(parent, int(kept[b]))
        if one != other and jaccard(_bag(texts[kept[a]]), _bag(texts[kept[b]])) >= threshold:
            parent[max(one, other)] = min(one, other)
    return exact, np.fromiter((_root(parent, int(at)) for at in exact), np.int64)


def by_vectors(embeddings: ArrayLike, threshold: float = COSINE, block: int = 4096) -> Ints:
    """Return the group of each embedded text, [N], a row number in it.

    Args:
        embeddings: [N, D], of any lengths but zero.
        threshold: Cosine from which two texts are near-duplicates.
        block: Rows and columns that are compared at once.
    """
    vectors = checked(embeddings, rows=1)
    group: Ints = np.arange(len(vectors))
    for start, rows in unit_blocks(vectors, block):
        one = rows.astype(np.float32)
        for after, columns in unit_blocks(vectors[start:], block):
            near = one @ columns.astype(np.float32).T >= threshold
            for row in np.flatnonzero(near.any(axis=1)):
                hits = np.append(start + after + np.flatnonzero(near[row]), start + row)
                if len(joined := np.unique(group[hits])) > 1:
                    group[np.isin(group, joined)] = joined[0]
    return group


def _bag(text: str) -> list[str]:
    return words(text) or text.split()


def _root(parent: dict[int, int], at: int) -> int:
    while parent[at] != at:
        parent[at] = at = parent[parent[at]]
    return at


def _signatures(texts: Sequence[str], seed: int) -> NDArray[np.uint32]:
    """Return the MinHash signature of each text's bag, [N, BANDS * DEEP]; a word's second occurrence counts apart."""
    try:
        from rensa import RMinHash
    except ImportError:
        raise InputError("near-duplicates need rensa: pip install 'hf_synth[duplicates]'") from None
    found: NDArray[np.uint32] = np.empty((len(texts), BANDS * DEEP), np.uint32)
    for start in range(0, len(texts), CHUNK):
        bags = [
            [f"{word} {n}" for word, count in Counter(_bag(text)).items() for n in range(count)]
            for text in texts[start : start + CHUNK]
        ]
        hashed = RMinHash.digest_matrix_from_token_sets(bags, num_perm=BANDS * DEEP, seed=seed)
        found[start : start + len(bags)] = hashed.to_rows()
    return found


def _candidates(texts: Sequence[str], threshold: float, seed: int) -> Iterator[tuple[int, int]]:
    """Yield the pairs of texts that share a band and whose signatures look alike, most alike first."""
    signatures = _signatures(texts, seed)
    found, alike = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for at in range(BANDS):
        for pairs in _sharing(signatures[:, at::BANDS]):
            ones, others = np.divmod(pairs, len(texts))
            share = (signatures[ones] == signatures[others]).mean(axis=1, dtype=np.float32)
            near = share >= threshold - SLACK
            found.append(pairs[near])
            alike.append(share[near])
    known, firsts = np.unique(np.concatenate(found), return_index=True)
    for at in np.argsort(-np.concatenate(alike)[firsts], kind="stable"):
        yield divmod(int(known[at]), len(texts))


def _sharing(band: NDArray[np.uint32]) -> Iterator[Ints]:
    """Yield pieces of the pairs a * N + b, a < b, of texts whose hashes are the same in a band, [N, DEEP]."""
    rows = len(band)
    key = np.zeros(rows, np.uint64)
    for column in band.T:
        key = (key ^ column) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(32)
    order = np.argsort(key, kind="stable")
    for far in range(1, NEIGHBOURS + 1):
        same = np.flatnonzero(key[order[far:]] == key[order[:-far]])
        for start in range(0, len(same), CHUNK):
            near = same[start : start + CHUNK]
            yield order[near] * rows + order[near + far]


def summary(group: Ints, seed: int = 0) -> dict[str, Any]:
    """Return groups, rate and its interval from the group of each text, [N]."""
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    members = np.split(order, starts[1:])
    known, counts = np.unique([len(own) for own in members], return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(members), counts / len(members), 1000)
    low, high = np.quantile((draws @ (known - 1)) / (draws @ known), [0.025, 0.975])
    return {
        "rate": 1 - len(members) / len(group),
        "rate_interval": [float(low), float(high)],
        "groups": sorted((own.tolist() for own in members if len(own) > 1), key=lambda own: (-len(own), own)),
    }


def near_duplicates(
    texts: Sequence[str],
    *,
    embeddings: ArrayLike | None = None,
    threshold: float = THRESHOLD,
    cosine: float = COSINE,
    seed: int = 0,
) -> dict[str, Any]:
    """Return near-duplicates by words, and under `semantic` by embeddings where they are given.

    Args:
        texts: One or more.
        embeddings: Of the texts, [N, D].
        threshold: See `by_words`.
        cosine: See `by_vectors`.
        seed: Of the hash functions and the bootstrap's draws.

    Raises:
        InputError: If there is no text, embeddings are not as many, or `rensa` is not installed.
    """
    if not len(texts):
        raise InputError("near-duplicates need a text; got none")
    exact, group = by_words(texts, threshold, seed)
    found: dict[str, Any] = {"rows": len(texts), "seed": seed, "threshold": threshold}
    found["exact_rate"] = summary(exact, seed)["rate"]
    found |= summary(group, seed)
    if embeddings is not None:
        vectors = checked(embeddings, rows=1)
        if len(vectors) != len(texts):
            raise InputError(f"there must be an embedding for each text; got {len(vectors)} for {len(texts)}")
        found["semantic"] = {"cosine": cosine} | summary(by_vectors(vectors, cosine), seed)
    return found


class NearDuplicates(evaluate.Measurement):
    """Measures texts; `embeddings`, `threshold`, `cosine` and `seed` as in `near_duplicates`."""

    def _info(self) -> evaluate.MeasurementInfo:
        return evaluate.MeasurementInfo(_DESCRIPTION, "", datasets.Features({"data": datasets.Value("string")}))

    def _compute(
        self,
        data: list[str],
        embeddings: ArrayLike | None = None,
        threshold: float = THRESHOLD,
        cosine: float = COSINE,
        seed: int = 0,
    ) -> dict:
        return near_duplicates(data, embeddings=embeddings, threshold=threshold, cosine=cosine, seed=seed)
