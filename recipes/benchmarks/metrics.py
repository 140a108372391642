"""How fast the measures of diversity and overlap are beside NLTK, vendi-score, rensa, datasketch and plain Python.

taskset -c 1 python recipes/benchmarks/metrics.py ../shared/data

Everything is measured in one process on real rows, in which each contender takes its turn; read the ratios. Packages
that are not installed (nltk, vendi-score, datasketch) are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Value, get_dataset_config_names, load_dataset

from hf_synth.metrics.distinct import distinct
from hf_synth.metrics.near_duplicates import by_words
from hf_synth.metrics.overlap import overlap
from hf_synth.metrics.self_bleu import scores, self_bleu
from hf_synth.metrics.similarity import similarity
from hf_synth.metrics.tokens import tokens, words
from hf_synth.metrics.vendi import vendi
from hf_synth.models import resolve
from hf_synth.retrieval.encode import Encoder

ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
HEADER = ("measure", "rows", "ours, s", "beside", "theirs, s", "ours is", "agreement")


def real_rows(folder: Path, wanted: int, longest: int, seed: int) -> list[str]:
    """Return different texts of up to `longest` characters from the train splits of all data sets in a folder."""
    found: dict[str, None] = {}
    for path in sorted(own for own in folder.iterdir() if own.is_dir()):
        for config in get_dataset_config_names(str(path)):
            rows = load_dataset(str(path), config, split="train")
            for name, feature in rows.features.items():
                if isinstance(feature, Value) and feature.dtype in ("string", "large_string"):
                    found.update(dict.fromkeys(text for text in rows[name][:] if text and 20 <= len(text) <= longest))
    texts = list(found)
    random.Random(seed).shuffle(texts)
    return texts[:wanted]


def timed(call: Callable[[], Any], times: int = 1) -> tuple[float, Any]:
    """Return the shortest of several times, and the answer."""
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        answer = call()
        spent.append(time.perf_counter() - start)
    return min(spent), answer


def line(measure: str, rows: int, ours: float, beside: str = "", theirs: float | None = None, note: str = "") -> None:
    other = ("", "") if theirs is None else (f"{theirs:,.2f}", f"{theirs / ours:,.1f} times as fast")
    print(f"| {measure} | {rows:,} | {ours:,.3f} | {beside} | {other[0]} | {other[1]} | {note} |", flush=True)


def bleu(texts: list[str], asked: int) -> None:
    """Time Self-BLEU beside NLTK's, all five orders in one call, of `asked` of the texts against all others."""
    own = [tokens(text) for text in texts]
    ours, table = timed(lambda: scores(own), 3)
    if not importlib.util.find_spec("nltk"):
        return line("Self-BLEU 1 to 5", len(own), ours)
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    weights, smooth = [(1 / n,) * n for n in range(1, 6)], SmoothingFunction().method1
    some = range(0, len(own), len(own) // asked)
    theirs, told = timed(lambda: [sentence_bleu(own[:at] + own[at + 1 :], own[at], weights, smooth) for at in some])
    far = float(np.abs(np.array(told) - table[list(some)]).max())
    told_of = f"NLTK, {len(some)} texts timed"
    line("Self-BLEU 1 to 5", len(own), ours, told_of, theirs * len(own) / len(some), f"largest difference {far:.0e}")


def sets(texts: list[str]) -> None:
    """Time distinct-n, vocabulary and MATTR with their intervals beside plain sets of n-grams without intervals."""
    ours, found = timed(lambda: distinct(texts))

    def plain() -> list[float]:
        own, shares = [tokens(text) for text in texts], []
        for n in range(1, 5):
            grams = [tuple(row[at : at + n]) for row in own for at in range(len(row) - n + 1)]
            shares.append(len(set(grams)) / len(grams))
        return shares

    theirs, shares = timed(plain)
    same = np.allclose(shares, [found[f"distinct_{n}"] for n in range(1, 5)], rtol=0, atol=1e-12)
    line("distinct-1 to 4, MATTR, intervals", len(texts), ours, "sets of tuples, no interval", theirs, f"same: {same}")


def spread(vectors: np.ndarray, many: int) -> None:
    """Time pairwise similarity and the Vendi score beside all pairs and the package `vendi-score`."""
    ours, found = timed(lambda: similarity(vectors), 3)
    unit = vectors / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    theirs, mean = timed(lambda: ((unit @ unit.T).sum() - len(unit)) / (len(unit) * (len(unit) - 1)), 3)
    line(
        "pairwise similarity, interval",
        len(unit),
        ours,
        "all pairs, no interval",
        theirs,
        f"{found['aps'] - mean:.0e}",
    )
    ours, found = timed(lambda: vendi(vectors), 3)
    if importlib.util.find_spec("vendi_score"):
        from vendi_score.vendi import score_dual, score_X

        for name, call in (("score_X", score_X), ("score_dual", score_dual)):
            theirs, value = timed(lambda call=call: call(unit))
            note = f"{found['vendi']:.4f}, {value:.4f}"
            line("Vendi score, interval", len(unit), ours, f"vendi-score's {name}, no interval", theirs, note)
    large = np.tile(vectors, (many // len(vectors) + 1, 1))[:many]
    line("pairwise similarity, interval", many, timed(lambda: similarity(large))[0])
    line("Vendi score, interval", many, timed(lambda: vendi(large))[0])


def duplicates(texts: list[str], planted: int) -> None:
    """Time MinHash with checked candidates beside rensa's and datasketch's own, and count what each finds."""
    draw, known = random.Random(0), [word for text in texts[:2000] for word in text.split()]
    sources = draw.sample([at for at, text in enumerate(texts) if len(text.split()) >= 8], planted)
    edited = []
    for at in sources:
        own = texts[at].split()
        own[draw.randrange(len(own))] = draw.choice(known)
        edited.append(" ".join(own))
    rows = [*texts, *edited]
    ours, (_, group) = timed(lambda: by_words(rows))
    plain = len(texts) - len(set(group[: len(texts)]))
    hit = np.mean([group[len(texts) + n] == group[at] for n, at in enumerate(sources)])
    ours_told = f"ours {hit:.1%} of planted, {plain} others"
    from rensa import RMinHashDeduplicator

    def rensas() -> list[bool]:
        found = RMinHashDeduplicator(threshold=0.75, num_perm=128, use_lsh=True)
        return found.add_pairs((str(at), words(text)) for at, text in enumerate(rows))

    theirs, kept = timed(rensas)
    told = f"{1 - np.mean(kept[len(texts) :]):.1%}, {len(texts) - sum(kept[: len(texts)])}"
    line("near-duplicates", len(rows), ours, "rensa's deduplicator, estimates", theirs, f"{ours_told}; theirs {told}")
    if importlib.util.find_spec("datasketch"):
        theirs, kept = timed(lambda: _datasketch(rows))
        told = f"{1 - np.mean(kept[len(texts) :]):.1%}, {len(texts) - sum(kept[: len(texts)])}"
        line("near-duplicates", len(rows), ours, "datasketch's MinHashLSH", theirs, f"{ours_told}; theirs {told}")


def _datasketch(rows: list[str]) -> list[bool]:
    from datasketch import MinHash, MinHashLSH

    index, kept = MinHashLSH(threshold=0.75, num_perm=128), []
    for at, text in enumerate(rows):
        own = MinHash(num_perm=128)
        own.update_batch([word.encode() for word in words(text)])
        kept.append(not index.query(own))
        index.insert(str(at), own)
    return kept


def copies(texts: list[str], reference: list[str]) -> None:
    """Time overlap with a reference beside plain sets of its n-grams, n = 1 to 10, without longest spans."""
    ours, found = timed(lambda: overlap(texts, reference))

    def plain() -> list[float]:
        known, own, shares = [words(text) for text in reference], [words(text) for text in texts], []
        for n in range(1, 11):
            held = {tuple(row[at : at + n]) for row in known for at in range(len(row) - n + 1)}
            hits = [tuple(row[at : at + n]) in held for row in own for at in range(len(row) - n + 1)]
            shares.append(sum(hits) / len(hits))
        return shares

    theirs, shares = timed(plain)
    same = np.allclose(shares, [found[f"copied_{n}"] for n in range(1, 11)], rtol=0, atol=1e-12)
    beside = f"sets of tuples (reference of {len(reference):,} rows), no spans"
    line("verbatim, spans, copied n-grams", len(texts), ours, beside, theirs, f"same: {same}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of data sets")
    parser.add_argument("--num_rows", type=int, default=100_000)
    parser.add_argument("--longest", type=int, default=300, help="characters of a text")
    parser.add_argument("--embedded", type=int, default=2_000)
    args = parser.parse_args()
    texts = real_rows(args.data, args.num_rows + 10_000, args.longest, seed=0)
    reference, many = texts[:10_000], texts[10_000:]
    print(f"{len(many):,} real rows of {np.mean([len(words(text)) for text in many]):.1f} words on average\n")
    print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
    bleu(many[:1000], 20)
    line("Self-BLEU 1 to 5, intervals", len(many), timed(lambda: self_bleu(many))[0])
    sets(many)
    copies(many, reference)
    duplicates(many[:20_000], 1_000)
    line("near-duplicates", len(many), timed(lambda: by_words(many))[0])
    spread(Encoder(resolve(ENCODER).path, "mean", True, 128)(many[: args.embedded]), args.num_rows)
    print(f"\npeak resident memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
