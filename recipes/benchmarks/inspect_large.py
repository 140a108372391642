"""Time and memory of `hf-synth inspect` on many rows, each read or a sample of them.

python recipes/benchmarks/inspect_large.py ../shared/data/sst2 --num_rows 1000000 --max_rows 100000 1000000

Rows are walks over pairs of words of the real train split, by class, beside its test split as the reference.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hf_synth.audit.data import load

BLOCK = 50_000


def walks(texts: list[str]) -> dict[str, list[str]]:
    """Return the words that follow each word; the empty one stands before and after a text."""
    follows = defaultdict(list)
    for text in texts:
        words = text.split()
        for word, after in zip(["", *words], [*words, ""], strict=True):
            follows[word].append(after)
    return follows


def write(path: Path, source: str, count: int) -> None:
    rows, rng = load(source, "dataset", ("train",), 1_000_000, 0).rows, random.Random(0)
    follows = [
        walks([text for text, own in zip(rows.texts, rows.labels, strict=True) if own == label])
        for label in range(len(rows.names))
    ]
    schema = pa.schema({"text": pa.string(), "label": pa.string()})
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, count, BLOCK):
            texts, labels = [], []
            for _ in range(min(BLOCK, count - start)):
                label = rng.randrange(len(rows.names))
                words, word = [], rng.choice(follows[label][""])
                while word and len(words) < 30:
                    words.append(word)
                    word = rng.choice(follows[label][word])
                texts.append(" ".join(words))
                labels.append(rows.names[label])
            writer.write_table(pa.table({"text": texts, "label": labels}, schema))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--num_rows", type=int, default=1_000_000)
    parser.add_argument("--max_rows", type=int, nargs="+", default=[100_000])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "rows.parquet"
        write(file, args.source, args.num_rows)
        print("| rows | read | minutes | peak GB |\n|---|---|---|---|", flush=True)
        for most in args.max_rows:
            command = [sys.executable, "-m", "hf_synth", "inspect", str(file), "--reference", args.source]
            command += ["--max_rows", str(most), "--output_dir", str(Path(scratch) / "out")]
            start = time.perf_counter()
            done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
            minutes = (time.perf_counter() - start) / 60
            # The largest of all children so far: give `max_rows` in rising order.
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
            said = f"{minutes:.1f}" if done.returncode == 0 else f"exit {done.returncode}"
            print(f"| {args.num_rows:,} | {most:,} | {said} | {peak:.1f} |", flush=True)


if __name__ == "__main__":
    main()
