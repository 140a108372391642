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


def once(rows: int) -> tuple[float, float]:
    """Return rows/s from prompt to Arrow (journal, rejects and provenance included), and replayed to a Hub folder."""
    generator = ScriptedGenerator(lambda prompt, rng: f"a {prompt.cell} review of {rng.randrange(10**12)}", name="n")
    plan = Plan.of(SynthConfig(task="sst2", num_rows=rows))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "out"
        start = time.perf_counter()
        produce(plan, generator, folder, lambda work, facts: None)
        middle = time.perf_counter()
        produce(plan, generator, folder, lambda work, facts: write_folder(work, folder / "dataset", plan.task, facts))
        return rows / (middle - start), rows / (time.perf_counter() - middle)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    times = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    arrow, folder = zip(*(once(rows) for _ in range(times)), strict=True)
    for name, rates in (("prompt to Arrow", arrow), ("replay to Hub folder", folder)):
        low, middle, high = min(rates), statistics.median(rates), max(rates)
        print(f"{name}: median {middle:,.0f} rows/s, {low:,.0f} to {high:,.0f} ({times} runs)")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak resident memory: {memory:.2f} GB after {rows:,} rows")


if __name__ == "__main__":
    main()
