"""Several launched processes share the chunks of one run and give the bytes that one process gives."""

import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import free_port

from hf_synth.chunks import Chunks
from hf_synth.errors import InputError
from hf_synth.generators.base import OutOfMemory
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.journal import Journal
from hf_synth.produce import Plan, produce
from hf_synth.ranks import Ranks, launched
from hf_synth.records import Prompt
from hf_synth.settings import SynthConfig

SETTINGS = {"task": "sst2", "num_rows": 200, "chunk_size": 32, "min_words": 1, "max_new_tokens": 8}


TORCH = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node")
ACCELERATE = ("-m", "accelerate.commands.launch", "--multi_gpu", "--mixed_precision=no", "--num_processes")


def generate(folder, model, ranks, launcher=TORCH):
    flags = [f"--{name}={value}" for name, value in {**SETTINGS, "model": model, "output_dir": folder}.items()]
    command = ["-m", "hf_synth.commands.generate", *flags]
    launch = [*launcher, str(ranks)] if ranks > 1 else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launch, *command], env=environment, capture_output=True, text=True, timeout=480
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def digests(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (folder / "dataset/data").iterdir()}


def test_ranks_give_the_bytes_of_one_process(tmp_path, causal_folder):
    generate(tmp_path / "one", causal_folder, 1)
    said = generate(tmp_path / "two", causal_folder, 2)
    assert said.count("rows in") == 1  # rank 0 alone speaks
    generate(tmp_path / "four", causal_folder, 4, ACCELERATE)
    for ranks in ("two", "four"):
        assert digests(tmp_path / ranks) == digests(tmp_path / "one")
    ledgers = [json.loads((tmp_path / name / "dataset/hf_synth/ledger.json").read_text()) for name in ("one", "four")]
    counts = [{name: (stage["asked"], stage["dropped"]) for name, stage in each["stages"].items()} for each in ledgers]
    assert counts[0] == counts[1]


def scripted(asked=None):
    def script(prompt, rng):
        if asked is not None:
            asked.append(prompt)
        return f"text {rng.random()} of a {prompt.cell} kind"

    return ScriptedGenerator(script, name="shared")


def started(chunks, prompts):
    asked = chunks.decide(prompts, {})
    asked.start(needed=True)
    return asked


def test_each_rank_makes_its_own_chunks_and_reads_the_others(tmp_path):
    prompts = [[Prompt(f"p{at}", cell="positive")] * 4 for at in range(6)]
    asked = ([], [])
    ranks = [Chunks(scripted(asked[rank]), Journal(tmp_path), 0, 8, Ranks(rank, 2)) for rank in (0, 1)]
    answers = [[started(chunks, part) for part in prompts] for chunks in ranks]
    ours, theirs = ([asked.answers().completions for asked in part] for part in answers)
    assert ours == theirs
    assert [len(part) for part in asked] == [12, 12]
    alone = Chunks(scripted(), Journal(None), 0, 8, Ranks())
    assert [alone.decide(part, {}).answers().completions for part in prompts] == ours


def test_ranks_obey_each_others_out_of_memory(tmp_path):
    class Small:
        name = digest = "small"
        source = {}

        def complete(self, prompts, *, seed, batch_size, **decoding):
            if batch_size > 4 and prompts[0].text == "p1":
                raise OutOfMemory
            return scripted().complete(prompts, seed=seed, batch_size=batch_size)

    prompts = [[Prompt(f"p{at}", cell="positive")] * 4 for at in range(4)]

    def keys(folder, world):
        ranks = [Chunks(Small(), Journal(folder), 0, 8, Ranks(rank, world)) for rank in range(world)]
        asked = [[started(chunks, part) for part in prompts] for chunks in ranks]
        found = []
        for place in range(len(prompts)):
            # Rank 0 has made chunk 2 with the old batch size by now; its owner comes to it first, as it would.
            order = sorted(range(world), key=lambda rank: rank != place % world)
            found.append({asked[rank][place].answers().key for rank in order})
        assert all(len(same) == 1 for same in found)
        return [same.pop() for same in found]

    assert keys(tmp_path / "two", 2) == keys(tmp_path / "one", 1)


def test_a_launch_is_hidden_from_what_runs_inside(monkeypatch):
    with launched() as ranks:
        assert (ranks.rank, ranks.world) == (0, 1)
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="launcher's environment is incomplete"), launched():
        pass


TRAINS_INSIDE = """
import os
from accelerate import PartialState
from hf_synth.ranks import launched
with launched() as ranks:
    assert "RANK" not in os.environ
    print(ranks.rank, ranks.world, PartialState(cpu=True).num_processes)
    ranks.meet("end")
assert os.environ["WORLD_SIZE"] == "2"
"""


def test_what_trains_inside_a_method_is_not_launched():
    launch = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", TRAINS_INSIDE],
            env={**os.environ, **launch, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    assert [process.communicate(timeout=480)[0].split() for process in ranks] == [["0", "2", "1"], ["1", "2", "1"]]


def test_one_rank_computes_and_the_others_wait(tmp_path):
    def late():
        time.sleep(0.3)
        return {"score": 1}

    def fills(folder):
        (folder / "weights").write_text("w")

    with ThreadPoolExecutor() as pool:
        other = Journal(tmp_path, computes=False)
        waits = pool.submit(other.once, "score", 1, lambda: pytest.fail("computed twice"))
        waits_too = pool.submit(other.once_folder, "student", 1, lambda _: pytest.fail("computed twice"))
        first = Journal(tmp_path)
        assert first.once("score", 1, late) == waits.result(timeout=120) == {"score": 1}
        assert first.once_folder("student", 1, fills) == waits_too.result(timeout=120)


def test_ranks_need_a_folder_to_share():
    with pytest.raises(InputError, match="share their work through the output folder"):
        produce(Plan.of(SynthConfig(task="sst2")), scripted(), None, lambda *_: None, ranks=Ranks(0, 2))
