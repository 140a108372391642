"""A recipe over several seeds, beside the same student on as many gold rows: the tables in recipes/*/README.md.

    python recipes/benchmarks/seeds.py recipes/sst2/zerogen.yaml ../shared/data/sst2 [--seeds 3] [--any_key value ...]

The folder holds real rows: its `test` split judges, its `train` split gives the gold rows. Generation and training
are both re-seeded. Runs that were done before are read from their report.
"""

import json
import random
import statistics
import sys
from pathlib import Path

from datasets import ClassLabel, DatasetDict

from hf_synth.commands.main import main as hf_synth
from hf_synth.commands.options import parse
from hf_synth.learners import learner
from hf_synth.produce import Plan
from hf_synth.reference import load_reference
from hf_synth.settings import OutputConfig, StudentConfig, SynthConfig
from hf_synth.train import train_student


def gold_of(task, path: str, rows: int, seed: int) -> DatasetDict:
    """Return gold rows, as many as were written, cut 9 to 1 like them."""
    whole = load_reference(task, path, "train").data
    chosen = random.Random(seed).sample(range(len(whole)), min(rows, len(whole)))
    data = whole.select(chosen).cast_column(task.label_column, ClassLabel(names=list(task.labels)))
    return DatasetDict(train=data.select(range(rows // 10, len(data))), validation=data.select(range(rows // 10)))


def one(argv: list[str], path: str, seed: int) -> dict:
    """Return a seed's report, with the gold student's scores under `gold`."""
    kinds = (SynthConfig, StudentConfig, OutputConfig)
    flags = [*argv, "--reference", path, "--seed", str(seed)]
    if seed:  # the prompting baseline knows no seed
        flags += ["--baseline_rows", "0"]
    found = parse(flags, "seeds", *kinds)
    folder = Path(f"{found[OutputConfig].output_dir}-seed{seed}")
    done = folder / "with_gold.json"
    if done.exists():
        return json.loads(done.read_text())
    if hf_synth(["run", *flags, "--output_dir", str(folder)]):
        sys.exit(2)
    report = json.loads((folder / "report.json").read_text())
    plan = Plan.of(found[SynthConfig], found["method"])
    judge = load_reference(plan.task, path)
    training = train_student(
        gold_of(plan.task, path, report["rows"], seed), plan.task, found[StudentConfig], folder / "gold", seed
    )
    kind = learner(plan.task)
    labels = kind.predict(folder / "gold", judge.data, plan.task, found[StudentConfig].max_length)
    report["gold"] = kind.score(plan.task, labels, judge.data[plan.task.label_column]) | {"trained": training["rows"]}
    done.write_text(json.dumps(report, indent=2))
    return report


def spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values) if len(values) > 1 else 0:.4f}"


def main() -> None:
    recipe, path, *rest = sys.argv[1:]
    seeds = 3
    if "--seeds" in rest:
        at = rest.index("--seeds")
        seeds = int(rest[at + 1])
        del rest[at : at + 2]
    reports = [one(["--config", recipe, *rest], path, seed) for seed in range(seeds)]
    print(f"\n{recipe}, {reports[0]['rows']} rows, judged on {reports[0]['reference']['rows']} rows, {seeds} seeds")
    for report in reports:
        seconds = report["seconds"]
        print(f"  asked {report['asked']}, dropped {report['dropped']}")
        speed = report["tokens_per_second"]  # None where an endpoint tells no tokens
        took = f"{seconds['generate']:.0f} s" + (f", {speed:.0f} tokens/s" if speed is not None else "")
        print(f"  generated in {took}; trained in {seconds['train']:.0f} s")
    print(f"  student on synthetic rows: {spread([r['metrics']['accuracy'] for r in reports])}")
    print(f"  student on gold rows:      {spread([r['gold']['accuracy'] for r in reports])}")
    for name, result in reports[0]["baselines"].items():
        print(f"  {name}: {result['accuracy']:.4f} ({result['rows']} rows)")


if __name__ == "__main__":
    main()
