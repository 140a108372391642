"""`RayGenerator` on a real cluster of three nodes: actors and nodes are killed and added, the bytes stay the same."""

import hashlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from hf_synth.errors import InputError
from hf_synth.folder import write_folder
from hf_synth.generators.base import Concurrent, Generator, OutOfMemory, Scorer, takes_schema
from hf_synth.generators.local import LocalGenerator
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.produce import Plan, produce
from hf_synth.records import Completion, Prompt
from hf_synth.settings import SynthConfig

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402

from hf_synth.generators import ray_pool, ray_worker  # noqa: E402
from hf_synth.generators.ray import RayGenerator  # noqa: E402

pytestmark = pytest.mark.ray
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
SECRET = "hf_thisIsNoRealToken"


def write(prompt, rng):
    return f"{prompt.cell} text number {rng.randrange(10**6)} of many"


class Slow:
    """Takes its time, notes in a folder who made which chunk, and misbehaves where decoding says so."""

    def __init__(self, folder, pause=0.1, fits=10**6, digest=lambda: "slow", token=SECRET):
        self.script = ScriptedGenerator(write)
        self.folder, self.pause, self.fits, self.token = Path(folder), pause, fits, token
        self.name, self.digest, self.source = "slow", digest(), {"name": "slow", "origin": "scripted"}

    def complete(self, prompts, *, seed, batch_size, fail=None, die=False, **decoding):
        if fail:
            raise fail
        if die:
            os._exit(1)
        if batch_size > self.fits:
            raise OutOfMemory(f"{batch_size} rows do not fit")
        (self.folder / f"{os.getpid()}-{seed}").touch()
        time.sleep(self.pause)
        return self.script.complete(prompts, seed=seed, batch_size=batch_size, **decoding)


class Long(Slow):
    """Answers are too large to travel inside the reply and stay on the worker's node until they are fetched."""

    takes_schema = True

    def complete(self, prompts, **settings):
        super().complete(prompts, **settings)
        return [Completion(str(settings["seed"]) * 10**6)]


@pytest.fixture(scope="module")
def cluster():
    # The workers are not told where this file is: nothing but the package has to be on a node.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")  # else whoever reaches this machine may run code on these nodes
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        ray._raylet.Config.initialize("")  # reads the variables again
        cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        try:
            for _ in range(2):
                cluster.add_node(**NODE)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()
        ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def workers(cluster):
    """Open a `RayGenerator` on the cluster; its workers end with the test."""
    opened = []

    def open_(factory, **settings):
        opened.append(RayGenerator(factory, address=cluster.address, **settings))
        return opened[-1]

    yield open_
    for generator in opened:
        generator.close()
    ray.shutdown()


def grown(generator, count):
    """Let the pool grow to this many workers, and each make a chunk."""
    deadline = time.monotonic() + 240
    while len(generator.pool.live) < count:
        assert time.monotonic() < deadline, f"{len(generator.pool.live)} of {count} workers after four minutes"
        generator.complete([Prompt("p")], seed=0, batch_size=1)
    for wait in [generator.start([Prompt("p")], seed=0, batch_size=1) for _ in range(count)]:
        wait()


def makers(folder):
    """Return the process of each chunk made, by the chunk's seed."""
    return [file.name.split("-") for file in sorted(folder.iterdir())]


@pytest.fixture
def seen(tmp_path):
    folder = tmp_path / "seen"
    folder.mkdir()
    return folder


PLAN = Plan.of(SynthConfig(task="sst2", num_rows=640, chunk_size=32, ahead=6, batch_size=64))


def run(generator, folder, at=None, plan=PLAN):
    """Produce a folder; `at` is called with the number of chunks after each."""
    made = []

    def watch(run, stage):
        made.append(stage)
        if at:
            at(len(made))

    def use(work, facts):
        return write_folder(work, folder / "dataset", plan.task, facts)

    return produce(plan, generator, folder, use, watch)


def data(folder):
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in (folder / "dataset/data").iterdir()}


def chunks(folder):
    """Return what the journal holds of each chunk, but for the seconds."""
    files = [*(folder / "journal/chunks").glob("*/*")]
    return {f.name: {k: v for k, v in json.loads(f.read_text()).items() if k != "seconds"} for f in files}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of one process."""
    folder = tmp_path_factory.mktemp("alone")
    run(Slow(tmp_path_factory.mktemp("seen"), pause=0), folder)
    assert len(chunks(folder)) > 20
    return folder


def kill_actor(cluster, generator):
    ray.kill(generator.pool.live[0], no_restart=False)


def kill_node(cluster, generator):
    cluster.remove_node(sorted(cluster.worker_nodes, key=id)[0], allow_graceful=False)


def add_node(cluster, generator):
    cluster.add_node(**NODE)


@pytest.mark.parametrize(("happens", "lost", "others"), [(kill_actor, 1, 1), (kill_node, 1, 0), (add_node, 0, 1)])
def test_bytes_stay_the_same_when(happens, lost, others, cluster, workers, alone, tmp_path, seen):
    generator = workers(partial(Slow, seen, token=SECRET))
    grown(generator, 3)
    before, workers_before = {pid for pid, _ in makers(seen)}, set(generator.pool.live)
    records = {}

    def at(count):
        for file in (tmp_path / "out/journal/chunks").glob("*/*"):
            records.setdefault(file.name, set()).add(file.stat().st_ino)
        if count == 5:
            happens(cluster, generator)
            deadline = time.monotonic() + 240
            while others and not set(generator.pool.live) - workers_before:  # whoever comes gets some of what is left
                assert time.monotonic() < deadline, "nobody has come"
                generator.complete([Prompt("p")], seed=0, batch_size=1)

    try:
        run(generator, tmp_path / "out", at)
        assert data(tmp_path / "out") == data(alone)
        assert chunks(tmp_path / "out") == chunks(alone)
        assert all(len(files) == 1 for files in records.values())  # a chunk written again is another file
        assert (generator.pool.lost > 0) == bool(lost)
        assert len({pid for pid, _ in makers(seen)} - before) == others
    finally:
        while len(cluster.worker_nodes) < 2:
            cluster.add_node(**NODE)
        while len(cluster.worker_nodes) > 2:
            cluster.remove_node(next(iter(cluster.worker_nodes)))
        logs = Path(cluster.head_node.get_logs_dir_path())
        assert not any(SECRET.encode() in f.read_bytes() for f in logs.rglob("*") if f.is_file())


def test_several_chunks_are_under_way_at_once(workers, seen):
    generator = workers(partial(Slow, seen, pause=2.0))
    assert isinstance(generator, Generator)
    assert isinstance(generator, Concurrent)
    assert not isinstance(generator, Scorer)
    assert not takes_schema(generator)
    grown(generator, 3)
    for file in seen.iterdir():
        file.unlink()
    prompts = [[Prompt(f"prompt {at}", cell="x")] * 3 for at in range(9)]
    begun = time.perf_counter()
    started = [generator.start(p, seed=at, batch_size=2) for at, p in enumerate(prompts)]
    assert time.perf_counter() - begun < 2.0
    answers = [wait() for wait in reversed(started)][::-1]
    assert time.perf_counter() - begun < 9 * 2.0 - 1
    script = ScriptedGenerator(write)
    assert answers == [script.complete(p, seed=at, batch_size=2) for at, p in enumerate(prompts)]
    made = [pid for pid, _ in makers(seen)]
    assert len(made) == 9
    counts = [made.count(pid) for pid in set(made)]
    assert len(counts) == 3
    assert min(counts) >= 2  # of 3: a busy machine may shift one
    assert started[0]() == answers[0]  # asked for twice


def test_errors_of_a_generator_come_as_they_are_and_a_fatal_chunk_ends(workers, seen, monkeypatch):
    generator = workers(partial(Slow, seen, pause=0), num_cpus=1)
    for error in (InputError("no such setting"), OutOfMemory("too many"), KeyError("x")):
        with pytest.raises(type(error), match=error.args[0]) as raised:
            generator.complete([Prompt("p")], seed=0, batch_size=1, fail=error)
        assert type(raised.value) is type(error)
    monkeypatch.setattr(ray_pool, "TRIES", 2)
    with pytest.raises(InputError, match="^2 Ray workers were lost with the same chunk: The actor died") as raised:
        generator.complete([Prompt("p")], seed=0, batch_size=1, die=True)
    assert "\n" not in str(raised.value)
    assert generator.complete([Prompt("p", cell="x")], seed=0, batch_size=1)  # and the next chunk is made


def test_a_batch_that_does_not_fit_is_halved(workers, tmp_path, seen):
    plan = Plan.of(SynthConfig(task="sst2", num_rows=64, chunk_size=32, batch_size=64))
    run(Slow(seen, pause=0, fits=32), tmp_path / "alone", plan=plan)
    generator = workers(partial(Slow, seen, pause=0, fits=32))
    run(generator, tmp_path / "out", plan=plan)
    assert data(tmp_path / "out") == data(tmp_path / "alone")
    assert (tmp_path / "out/journal/halvings.json").read_text() == (
        tmp_path / "alone/journal/halvings.json"
    ).read_text()


def test_answers_that_lay_on_a_lost_node_are_asked_for_again(cluster, workers, seen):
    generator = workers(partial(Long, seen, pause=0))
    assert takes_schema(generator)
    grown(generator, 3)
    for file in seen.iterdir():
        file.unlink()
    started = [generator.start([Prompt("p")], seed=seed, batch_size=1) for seed in range(1, 7)]
    while len(makers(seen)) < 6:
        time.sleep(0.1)
    time.sleep(1)
    try:
        cluster.remove_node(next(iter(cluster.worker_nodes)))
        assert [wait()[0].text for wait in started] == [str(seed) * 10**6 for seed in range(1, 7)]
        assert len(makers(seen)) > 6
    finally:
        cluster.add_node(**NODE)


def test_a_model_writes_and_scores_the_same(workers, causal_folder):
    settings = {"name": "tiny", "digest": "tiny", "dtype": torch.float32, "device": torch.device("cpu")}
    factory = partial(LocalGenerator, str(causal_folder), **settings)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        local = factory()
        generator = workers(factory, workers=1)
        assert isinstance(generator, Scorer)
        assert (generator.name, generator.digest) == ("tiny", "tiny")
        assert {**local.source, "cluster": f"ray {ray.__version__}"} == generator.source
        sampling = {"seed": 3, "batch_size": 8, "max_new_tokens": 12, "top_p": 0.9, "stop": ('"',)}
        prompts = [Prompt('the film is "'), Prompt('a very good movie review of the plot is: "')] * 8
        assert generator.complete(prompts, **sampling) == local.complete(prompts, **sampling)
        pairs = ["the film is"] * 2, [" good", " of the plot is dull"]
        assert generator.score(*pairs, batch_size=2) == local.score(*pairs, batch_size=2)
    finally:
        torch.set_num_threads(threads)


def refuse():
    raise InputError("no such model")


def of_another_version(folder):
    ray_worker.version = lambda name: "0.0.1"  # in the worker's own process
    return Slow(folder)


class Elsewhere:
    """A factory of a module that the nodes lack."""

    def __reduce__(self):
        return __import__, ("no_such_module",)


def test_what_keeps_workers_from_loading_is_one_sentence(workers, monkeypatch, seen):
    monkeypatch.setattr(ray_pool, "TRIES", 2)
    with pytest.raises(InputError, match="^no such model$"):
        workers(refuse)
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        workers(Elsewhere())
    with pytest.raises(InputError, match=r"^the Ray worker on [\d.]+ has hf_synth 0.0.1, this process [\d.]+"):
        workers(partial(of_another_version, seen))
    with pytest.raises(InputError, match=r"^no node of the Ray cluster has 2 CPUs and 0 GPUs for a worker; the nodes"):
        workers(partial(Slow, seen), num_cpus=2)
    with pytest.raises(InputError, match="^2 Ray workers died before they had the model: The actor died"):
        workers(partial(os._exit, 1))


def unlike_on(marked, otherwise, factory):
    """Open a generator; on the node whose id stands in a file, another one."""
    here = ray.get_runtime_context().get_node_id()
    return (otherwise if marked.exists() and marked.read_text() == here else factory)()


@pytest.mark.parametrize("differs", [False, True])
def test_a_new_node_that_will_not_do_is_left_out_and_the_run_goes_on(
    differs, cluster, workers, tmp_path, seen, monkeypatch, caplog
):
    monkeypatch.setattr(ray_pool, "TRIES", 2)
    otherwise = partial(Slow, seen, digest=lambda: "other") if differs else refuse
    generator = workers(partial(unlike_on, tmp_path / "bad", otherwise, partial(Slow, seen, pause=0)), workers=1)
    [first] = generator.pool.live
    nodes = {node["NodeID"] for node in ray.nodes() if node["Alive"]} - {ray.get(first.node.remote())}
    bad = sorted(nodes)[0]
    (tmp_path / "bad").write_text(bad)
    generator.pool.wanted = None
    grown(generator, 2)
    deadline = time.monotonic() + 240
    while not generator.pool._without and time.monotonic() < deadline:
        assert generator.complete([Prompt("p", cell="x")], seed=0, batch_size=1)
        time.sleep(0.05)
    assert generator.pool._without == [bad]
    deadline = time.monotonic() + 240
    assert generator.pool._room() == 2
    ray.kill(first)  # whoever comes in its place is not on that node
    grown(generator, 2)
    while len(generator.pool.live) < 2 or first in generator.pool.live:
        assert time.monotonic() < deadline
        generator.complete([Prompt("p", cell="x")], seed=0, batch_size=1)
    assert bad not in {ray.get(worker.node.remote()) for worker in generator.pool.live}
    [said] = [record.getMessage() for record in caplog.records if record.name == ray_pool.__name__]
    why = r"Ray workers differ: `digest` is 'slow' on [\d.]+ and 'other' on" if differs else "no such model$"
    assert re.match(f"node {bad[:12]} of the Ray cluster is left out: {why}", said)


def test_joining_a_cluster_leaves_sigterm_to_whoever_had_it(workers, seen):
    def ours(*_):
        pass

    before = signal.signal(signal.SIGTERM, ours)
    try:
        workers(partial(Slow, seen), workers=1)
        assert signal.getsignal(signal.SIGTERM) is ours
    finally:
        signal.signal(signal.SIGTERM, before)


def test_workers_on_another_kind_of_processor_differ():
    versions = {name: ray_worker.version(name) for name in ray_worker.LIBRARIES}
    facts = {**dict.fromkeys(ray_worker.SAME), "node": "10.0.0.1", "versions": versions, "processor": "A (AVX512)"}
    ray_worker.check(facts, facts)
    with pytest.raises(InputError, match=r"`processor` is 'A \(AVX512\)' on 10.0.0.1 and 'A \(AVX2\)' on 10.0.0.2"):
        ray_worker.check({**facts, "node": "10.0.0.2", "processor": "A (AVX2)"}, facts)


NOBODY = """
import sys
if "without" in sys.argv:
    sys.modules["ray"] = None
from hf_synth.errors import InputError
from hf_synth.generators.ray import RayGenerator
for address in sys.argv[1:]:
    try:
        RayGenerator(dict, address=address)
    except InputError as error:
        print(error)
"""


def test_without_ray_the_command_to_install_it_is_told():
    told = subprocess.run([sys.executable, "-c", NOBODY, "without"], capture_output=True, text=True)
    assert told.stdout == "`backend: ray` needs Ray: pip install 'hf_synth[ray]'\n"


def test_no_cluster_is_one_sentence():
    addresses = ["auto", "127.0.0.1:1", "nonsense", "ray://127.0.0.1:10001"]
    environment = {**os.environ, "RAY_ADDRESS": "127.0.0.1:2"}
    told = subprocess.run(
        [sys.executable, "-c", NOBODY, *addresses], capture_output=True, text=True, env=environment, timeout=240
    )
    assert told.stderr == ""
    for address, line in zip(addresses, told.stdout.splitlines(), strict=True):
        assert line.startswith(f"cannot join a Ray cluster at {address!r} (`ray_address`): ")


def test_cluster_recipes_are_valid():
    import shlex

    import yaml
    from ray.autoscaler._private.util import prepare_config, validate_config

    from hf_synth.commands.options import parse
    from hf_synth.settings import BackendConfig, OutputConfig

    folder = Path(__file__).parent.parent / "recipes/cluster"
    text = (folder / "ray.yaml").read_text()
    validate_config(prepare_config(yaml.safe_load(text)))
    flags = shlex.split(text.partition("hf-synth generate ")[2].partition("'")[0])
    found = parse(flags, "hf-synth generate", SynthConfig, BackendConfig, OutputConfig)[BackendConfig]
    assert (found.backend, found.ray_backend) == ("ray", "vllm")
    subprocess.run(["bash", "-n", str(folder / "slurm.sh")], check=True)
