"""Killed, starved of disk, locked out or interrupted, a run ends with the bytes of one that was left alone."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

SCRIPT = """
import sys, time
import hf_synth.commands.generate as generate
from hf_synth.commands.main import main
from hf_synth.generators.scripted import ScriptedGenerator

class Slow(ScriptedGenerator):
    def complete(self, prompts, **settings):
        time.sleep(float(sys.argv[2]))
        return super().complete(prompts, **settings)

generator = Slow(lambda prompt, rng: f"{prompt.cell} text number {rng.randrange(10**6)} of many", name="slow")
generate.open_generator = lambda *_, **__: generator
settings = {"task": "sst2", "num_rows": sys.argv[3], "chunk_size": 32, "license": "mit", "output_dir": sys.argv[1]}
sys.exit(main(["generate", *(f"--{name}={value}" for name, value in settings.items())]))
"""
ROWS = 1100  # 50 chunks of 32


def start(folder, pause=0.0, rows=ROWS):
    command = [sys.executable, "-c", SCRIPT, str(folder), str(pause), str(rows)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(folder, **settings):
    process = start(folder, **settings)
    _, said = process.communicate(timeout=480)
    return process.returncode, said


def digests(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (folder / "dataset/data").iterdir()}


def chunks(folder):
    return sorted((folder / "journal/chunks").glob("*/*.json"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert finish(folder)[0] == 0
    return folder


def test_killed_at_twenty_random_moments(tmp_path, whole):
    total = len(chunks(whole))
    assert total >= 50
    folder, rng, kills = tmp_path / "run", random.Random(), 0
    while kills < 20:
        process, before = start(folder, pause=0.2), len(chunks(folder))
        while len(chunks(folder)) <= before and process.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.3)
        process.kill()
        process.communicate()
        if process.returncode != -signal.SIGKILL:
            break
        kills += 1
        assert not (folder / "dataset").exists()
    assert kills >= 15, f"the run ended after {kills} kills"
    assert finish(folder)[0] == 0
    assert digests(folder) == digests(whole)
    assert [file.name for file in chunks(folder)] == [file.name for file in chunks(whole)]  # none lost, none twice
    assert not list(folder.glob(".work-*"))


@pytest.mark.parametrize("left", [0, 0.5])
def test_a_torn_journal_file_is_made_again(tmp_path, whole, left):
    folder = tmp_path / "run"
    assert finish(folder)[0] == 0
    last = max(chunks(folder), key=lambda file: file.stat().st_mtime)
    text = last.read_bytes()
    last.write_bytes(text[: int(len(text) * left)])
    code, said = finish(folder)
    assert code == 0
    assert f"{last.name} in the journal is torn; it is made again" in said
    assert digests(folder) == digests(whole)


@contextmanager
def mounted(where, *options):
    where.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *options, str(where)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting needs rights that are not here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(where)], check=True)


def test_a_full_disk_costs_nothing_that_was_written(tmp_path):
    small, rows = tmp_path / "small", 20_000
    with mounted(small, "-t", "tmpfs", "-o", "size=2m", "tmpfs"):
        code, said = finish(small / "run", rows=rows)
        assert code == 2
        assert "hf-synth: No space left on device" in said
        assert "What was written so far is kept: the same command goes on from there." in said
        assert "Traceback" not in said
        kept = {file.name for file in chunks(small / "run")}
        assert len(kept) > 10
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        assert finish(small / "run", rows=rows)[0] == 0
        found = digests(small / "run")
        assert kept <= {file.name for file in chunks(small / "run")}
    assert finish(tmp_path / "large", rows=rows)[0] == 0
    assert found == digests(tmp_path / "large")


def test_a_journal_that_cannot_be_written_is_named(tmp_path, whole):
    folder = tmp_path / "run"
    process = start(folder, pause=0.5)
    while len(chunks(folder)) < 5 and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    journal = folder / "journal"
    with mounted(journal, "--bind", str(journal)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(journal)], check=True)
        code, said = finish(folder)
    assert code == 2
    assert "hf-synth: Read-only file system" in said
    assert "journal" in said
    assert "Traceback" not in said
    assert finish(folder)[0] == 0
    assert digests(folder) == digests(whole)


def test_a_second_process_is_refused_and_a_dead_ones_lock_is_not_obeyed(tmp_path, whole):
    folder = tmp_path / "run"
    first = start(folder, pause=1)
    while not chunks(folder) and first.poll() is None:
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)  # a slow machine may take longer to start the second than the first takes
    code, said = finish(folder)
    assert code == 2
    assert f"another process is writing in {str(folder)!r}" in said
    first.kill()
    first.communicate()
    assert (folder / ".lock").exists()
    assert finish(folder)[0] == 0
    assert digests(folder) == digests(whole)


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_is_stopped_says_how_to_go_on(tmp_path, whole, how, code):
    folder = tmp_path / "run"
    process = start(folder, pause=0.5)
    while len(chunks(folder)) < 5 and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, how)
    _, said = process.communicate(timeout=240)
    assert process.returncode == code
    assert "stopped. What was written so far is kept: the same command goes on from there." in said
    assert "Traceback" not in said
    assert not (folder / "dataset").exists()
    assert finish(folder)[0] == 0
    assert digests(folder) == digests(whole)
