"""Every kind of adapter side by side: what is trained, how long, in how much memory, and how well it fits.

    python recipes/benchmarks/adapters.py ../shared/data/sst2 [--task sst2] [--kinds lora prefix] [--epochs 5]

Each kind is tuned on 16 rows a class in a process of its own, whose peak memory is read. `held out` is the mean
log-probability (nats a token) of 64 other real rows under the prompt of their label, and `told apart` the share of
them that their own label's prompt makes likelier than the others'.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from hf_synth.adapters.folder import open_adapter
from hf_synth.adapters.settings import Adapt, TuningConfig
from hf_synth.generators.local import LocalGenerator
from hf_synth.generators.tuning import tune
from hf_synth.models import resolve
from hf_synth.real import load_real_rows
from hf_synth.settings import SynthConfig
from hf_synth.shots import shots_of, tuned
from hf_synth.tasks import load_task

HELD_OUT = 64


def one(task: str, data: str, kind: str, epochs: float) -> dict:
    """Tune one kind and return its line; called in a process of its own."""
    known, source = tuned(load_task(task)), resolve(SynthConfig.model)
    shots = shots_of(known, load_real_rows(known, data, 16, 0, "shots").data, 0)
    with tempfile.TemporaryDirectory() as scratch:
        record = {"parameters": 0, "seconds": 0.0, "loss": {"default": [None, None]}}
        adapter = None
        if kind != "none":
            record = tune(
                source.path, source.facts(), shots, TuningConfig(adapt=kind, tune_epochs=epochs), Path(scratch), 0
            )
            adapter = open_adapter(scratch, source.sha256)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        generator = LocalGenerator(source.path, name=source.name, digest=source.sha256, adapter=adapter)
        rest = load_real_rows(known, data, 16 + HELD_OUT // len(known.labels), 0).data
        seen = {shot.text for shot in shots}
        held = [shot for shot in shots_of(known, rest, 0) if shot.text not in seen][:HELD_OUT]
        labels = list(known.labels)
        given = [next(iter(shot.prompt.given.values()), "") for shot in held]
        prompts = [known.render(label, opening=text) for text in given for label in labels]
        texts = [shot.answer for shot in held for _ in labels]
        scores = np.array(generator.score(prompts, texts, batch_size=32)).reshape(len(held), len(labels))
    own = np.array([labels.index(shot.label) for shot in held])
    return {
        "kind": kind,
        "parameters": record["parameters"],
        "seconds": record["seconds"],
        "peak_gib": round(peak, 2),
        "loss": record["loss"]["default"],
        "held_out": round(float(scores[np.arange(len(held)), own].mean()), 3),
        "told_apart": round(float((scores.argmax(1) == own).mean()), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--task", default="sst2")
    parser.add_argument("--kinds", nargs="+", default=["none", *Adapt.__args__])
    parser.add_argument("--epochs", type=float, default=5.0)
    parser.add_argument("--alone", action="store_true", help="print one kind's line as JSON")
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(one(given.task, given.data, given.kinds[0], given.epochs)))
        return
    print("| adapt | parameters | seconds | peak GiB | loss, first and last epoch | held out | told apart |")
    print("|---|---|---|---|---|---|---|")
    for kind in given.kinds:
        command = [sys.executable, __file__, given.data, "--task", given.task, "--epochs", str(given.epochs)]
        done = subprocess.run([*command, "--kinds", kind, "--alone"], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.strip().splitlines()[-1])
        losses = "" if found["loss"][0] is None else "{:.2f}, {:.2f}".format(*found["loss"])
        row = [kind, f"{found['parameters']:,}", found["seconds"], found["peak_gib"], losses, found["held_out"]]
        print("| " + " | ".join(map(str, [*row, found["told_apart"]])) + " |", flush=True)


if __name__ == "__main__":
    main()
