"""ProGen in two rounds: one process, two ranks, or one that was killed between the rounds write the same bytes."""

import hashlib
import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet as parquet
import pytest

SCRIPT = """
import sys, time
from pathlib import Path
import hf_synth.commands.generate as generate
import hf_synth.feedback as feedback
from hf_synth.commands.main import main
from hf_synth.generators.scripted import ScriptedGenerator

out, hold = Path(sys.argv[1]), sys.argv[3]

def held():
    out.joinpath("held").touch()
    time.sleep(600)  # until it is killed

class Watched(ScriptedGenerator):
    def complete(self, prompts, **settings):
        if hold == "after the feedback" and [*out.glob("journal/once/feedback-*.json")]:
            held()
        return super().complete(prompts, **settings)

if hold == "in the feedback":
    feedback.Feedback._compute = lambda *_: held()

words = "the film movie review story plot of in is was and but with no very".split()
sides = {"positive": "good great fine".split(), "negative": "bad awful dull".split()}

def write(prompt, rng):
    if prompt.cell is None:
        return f"Title {rng.randrange(10**6)}"
    wrong = rng.random() < 0.2
    side = sides[prompt.cell] if not wrong else sides["positive" if prompt.cell == "negative" else "negative"]
    return " ".join([*rng.sample(words, 6), *rng.choices(side, k=2)])

generator = Watched(write, name="sides")
generate.open_generator = lambda *_, **__: generator
settings = {
    "task": "sst2", "method": "progen", "num_rows": 120, "first_round": 60, "chunk_size": 16, "license": "mit",
    "quality_model": sys.argv[2], "quality_lr": 0.005, "validation_size": 20, "pool_size": 10, "examples": 4,
    "rows_per_examples": 4, "output_dir": sys.argv[1],
}
sys.exit(main(["generate", *(f"--{name}={value}" for name, value in settings.items())]))
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory, student_folder):
    script = tmp_path_factory.mktemp("script") / "generate.py"
    script.write_text(SCRIPT)

    def started(folder, ranks=1, hold=""):
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)] if ranks > 1 else []
        command = [sys.executable, *launcher, str(script), str(folder), str(student_folder), hold]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return started


def finish(process):
    _, said = process.communicate(timeout=480)
    assert process.returncode == 0, said


def digests(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (folder / "dataset/data").iterdir()}


def chunks(folder):
    return [*folder.glob("journal/chunks/*/*.json")]


def judged(folder):
    return sorted(folder.glob("journal/once/feedback-*.json"), key=lambda file: file.stat().st_mtime)


def attributes_of(file):
    return parquet.read_table(file, columns=["attributes"])["attributes"].to_pylist()


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    finish(start(folder))
    assert len(judged(folder)) == 2
    attributes = [text for file in folder.glob("dataset/data/train-*") for text in attributes_of(file)]
    assert any("examples" in text for text in attributes)
    return folder


def test_two_ranks_write_the_bytes_of_one_process(start, whole, tmp_path):
    finish(start(tmp_path / "run", ranks=2))
    assert digests(tmp_path / "run") == digests(whole)
    assert [file.name for file in judged(tmp_path / "run")] == [file.name for file in judged(whole)]


@pytest.mark.parametrize("when", ["in the feedback", "after the feedback"])
def test_killed_between_rounds_it_goes_on_to_the_same_bytes(start, whole, tmp_path, when):
    first = judged(whole)[0].stat().st_mtime
    before = sum(file.stat().st_mtime < first for file in chunks(whole))
    folder = tmp_path / "run"
    process = start(folder, hold=when)
    while process.poll() is None and not (folder / "held").exists():
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    (folder / "held").unlink()
    assert len(judged(folder)) == (1 if when == "after the feedback" else 0)
    assert before <= len(chunks(folder)) < len(chunks(whole))
    assert not (folder / "dataset").exists()
    finish(start(folder))
    assert digests(folder) == digests(whole)
    assert {file.name for file in chunks(folder)} == {file.name for file in chunks(whole)}
