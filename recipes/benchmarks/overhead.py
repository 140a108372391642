"""The framework's own cost with a scripted generator: rows per second from prompt to Arrow, and resident memory.

    taskset -c 0 python recipes/benchmarks/overhead.py            # 100,000 rows on one core, five times
    taskset -c 0 python recipes/benchmarks/overhead.py 1000000 1  # a million rows, once
"""

import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from hf_synth.folder import write_folder
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.produce import Plan, produce
from hf_synth.settings import SynthConfig


def once(rows: int) -> tuple[float, float, float]:
    """Return rows/s from prompt to Arrow (journal, rejects and provenance included), to the Hub-ready folder, and replayed."""
    generator = ScriptedGenerator(lambda prompt, rng: f"a {prompt.cell} review of number {rng.randrange(10**12)}", name="n")
    plan = Plan.of(SynthConfig(task="sst2", num_rows=rows))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "out"
        start = time.perf_counter()
        arrow = produce(plan, generator, folder, lambda work, facts: time.perf_counter() - start)
        start = time.perf_counter()
        produce(plan, generator, folder, lambda work, facts: write_folder(work, folder / "dataset", plan.task, facts))
        replayed = time.perf_counter() - start
        return rows / arrow, rows / (arrow + replayed), rows / replayed


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    times = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    runs = [once(rows) for _ in range(times)]
    for name, column in zip(("prompt to Arrow", "both", "replay and write the folder"), zip(*runs), strict=True):
        print(f"{name}: median {statistics.median(column):,.0f} rows/s, {min(column):,.0f} to {max(column):,.0f} ({times} runs)")
    print(f"peak resident memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB after {rows:,} rows")


if __name__ == "__main__":
    main()
