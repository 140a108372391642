"""The same losses and parameters however the 16 rows of a step are cut up, and whether training was killed or not."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import trajectory

import hf_synth

pytestmark = pytest.mark.usefixtures("one_thread")

TOLERANCE = 1e-5
SHARDED = ("weighted", "ensemble-prediction", "ensemble-training", "annealing-share", "annealing-weight")
NOISY = {"dropout": 0.1, "optim": "adamw_torch"}
ADAMW = {"optim": "adamw_torch", "max_steps": 24}


def launch(out: Path, runs: list[dict], ranks: int = 1) -> subprocess.CompletedProcess:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)] if ranks > 1 else []
    return subprocess.run(
        [sys.executable, *launcher, trajectory.__file__, str(out), json.dumps(runs)],
        env=os.environ
        | {
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(hf_synth.__path__[0]).parent),
            "HF_HUB_OFFLINE": "1",
        },
        cwd=out.parent,
        capture_output=True,
        text=True,
        timeout=480,
    )


def distance(left: dict, right: dict) -> float:
    """Return the largest difference in any logged loss or final parameter."""
    assert list(left["losses"]) == list(right["losses"])
    by_step = [abs(left["losses"][step] - right["losses"][step]) for step in left["losses"]]
    parameters = torch.tensor(left["parameters"]) - torch.tensor(right["parameters"])
    return max(*by_step, parameters.abs().max().item())


def after(result: dict, step: int) -> dict:
    return result | {"losses": {key: loss for key, loss in result["losses"].items() if int(key) > step}}


@pytest.fixture(scope="module")
def baseline(tmp_path_factory):
    return trajectory.train(str(tmp_path_factory.mktemp("baseline")), batch=16)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """Kill a run on two ranks, then in one launch: resume it, repeat it undisturbed, and train the other ways."""
    folder = tmp_path_factory.mktemp("two")
    noisy = {"folder": str(folder / "killed"), "batch": 8, "save": True, **NOISY}
    killed = launch(folder / "none.json", [noisy | {"kill_at": 7}], ranks=2)
    checkpoints = sorted(path.name for path in (folder / "killed").glob("checkpoint-*"))
    saved = noisy | {"folder": str(folder / "fsdp"), "fsdp": True, "kind": "ensemble-training"}
    runs = {
        "plain": {"folder": str(folder), "batch": 8},
        "accumulated": {"folder": str(folder), "batch": 4, "accumulate": 2},
        "dispatched": {"folder": str(folder), "batch": 8, "accelerator_config": {"dispatch_batches": True}},
        "split": {"folder": str(folder), "batch": 16, "accelerator_config": {"split_batches": True}},
        "adamw": {"folder": str(folder), "batch": 4, "accumulate": 2, **ADAMW},
        "stock": {"folder": str(folder), "batch": 8, "stock": True},
        "resumed": noisy | {"resume": True},
        **{f"fsdp {kind}": {"folder": str(folder), "batch": 8, "fsdp": True, "kind": kind} for kind in SHARDED},
        "fsdp saved": saved,
        "fsdp resumed": saved | {"resume": str(folder / "fsdp" / "checkpoint-6")},
        "undisturbed": noisy | {"folder": str(folder / "undisturbed")},
    }
    done = launch(folder / "out.json", list(runs.values()), ranks=2)
    assert done.returncode == 0, done.stderr[-3000:]
    results = dict(zip(runs, json.loads((folder / "out.json").read_text()), strict=True))
    return results | {"killed": (killed, checkpoints, folder / "none.json")}


def test_weights_are_in_the_loss(baseline, tmp_path):
    """A weight column that did nothing would make every comparison below too easy."""
    step_1 = baseline["losses"]["1"]
    assert abs(step_1 - trajectory.train(str(tmp_path), batch=16, stock=True, max_steps=1)["losses"]["1"]) > 0.1


@pytest.mark.parametrize(("batch", "accumulate"), [(8, 2), (4, 4), (1, 16)])
def test_gradient_accumulation(baseline, tmp_path, batch, accumulate):
    assert distance(baseline, trajectory.train(str(tmp_path), batch=batch, accumulate=accumulate)) < TOLERANCE


def test_adamw(two_ranks, tmp_path):
    """Of 24 steps, the losses: it makes steps out of the rounding noise that is the gradient of a key bias."""
    baseline = trajectory.train(str(tmp_path), batch=16, **ADAMW)["losses"]
    others = [trajectory.train(str(tmp_path), batch=16 // by, accumulate=by, **ADAMW)["losses"] for by in (2, 4)]
    assert len(baseline) == 24
    for losses in (*others, two_ranks["adamw"]["losses"]):
        assert max(abs(baseline[step] - losses[step]) for step in baseline) < TOLERANCE


@pytest.mark.parametrize("way", ["plain", "accumulated", "dispatched", "split"])
def test_two_ranks(baseline, two_ranks, way):
    assert distance(baseline, two_ranks[way]) < TOLERANCE


@pytest.mark.parametrize("kind", SHARDED)
def test_parameters_spread_over_two_ranks(two_ranks, tmp_path, kind):
    """FSDP2; the trainers that need all parameters at once refuse it."""
    found, alone = two_ranks[f"fsdp {kind}"], trajectory.train(str(tmp_path), batch=16, kind=kind)
    assert (found["sharded"], alone["sharded"]) == (True, False)
    assert distance(alone, found) < TOLERANCE
    assert found["eval_loss"] == pytest.approx(alone["eval_loss"], abs=TOLERANCE)


def test_parameters_spread_over_two_ranks_are_in_the_checkpoint(two_ranks):
    assert distance(after(two_ranks["fsdp saved"], 6), after(two_ranks["fsdp resumed"], 6)) < TOLERANCE


def test_evaluation_loss_on_two_ranks(baseline, two_ranks):
    """13 rows in batches of 4: the last round repeats 3 rows, which must not count."""
    assert two_ranks["plain"]["eval_loss"] == pytest.approx(baseline["eval_loss"], abs=TOLERANCE)


def test_stock_trainer_is_not_invariant(two_ranks, tmp_path):
    stock = trajectory.train(str(tmp_path), batch=16, stock=True)
    accumulated = trajectory.train(str(tmp_path), batch=4, accumulate=4, stock=True)
    assert accumulated["losses"]["1"] == pytest.approx(4 * stock["losses"]["1"], rel=0.05)
    assert two_ranks["stock"]["losses"]["1"] == pytest.approx(2 * stock["losses"]["1"], rel=0.05)


def test_killed_and_resumed_on_one_rank(tmp_path):
    noisy = {"folder": str(tmp_path / "killed"), "batch": 4, "accumulate": 4, "save": True, **NOISY}
    killed = launch(tmp_path / "none.json", [noisy | {"kill_at": 7}])
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["checkpoint-6"]
    resumed = trajectory.train(**noisy, resume=True)
    undisturbed = trajectory.train(**noisy | {"folder": str(tmp_path / "undisturbed")})
    assert len(undisturbed["losses"]) == 12
    assert distance(after(undisturbed, 6), after(resumed, 6)) < TOLERANCE


def test_killed_and_resumed_on_two_ranks(two_ranks):
    """Checkpoint 6 is in the middle of the second epoch: order, repeats and each rank's dropout must come back."""
    killed, checkpoints, never_written = two_ranks["killed"]
    assert killed.returncode != 0
    assert "SIGKILL" in killed.stderr
    assert checkpoints == ["checkpoint-6"]
    assert not never_written.exists()
    assert distance(after(two_ranks["undisturbed"], 6), after(two_ranks["resumed"], 6)) < TOLERANCE
