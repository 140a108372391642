"""The same losses from temporal ensembling however its 16 rows a step are cut up, and whether it was killed or not.

Parameters are not compared: AdamW makes steps out of the rounding noise that is the gradient of a key bias.
"""

import json

import pytest
import trajectory
from test_trajectory import TOLERANCE, launch

pytestmark = pytest.mark.usefixtures("one_thread")

KINDS = ("ensemble-prediction", "ensemble-training")
CHECKPOINT = 6  # in the middle of the second epoch; on an update of the first kind, a step after one of the second


def run(kind: str, folder, **how) -> dict:
    return {"folder": str(folder), "kind": kind, "optim": "adamw_torch", "max_steps": 24, **how}


def distance(left: dict, right: dict, after: int = 0) -> float:
    """Return the largest difference in any loss logged after a step."""
    left, right = ({int(step): loss for step, loss in one["losses"].items()} for one in (left, right))
    steps = range(after + 1, 25)
    return max(abs(left[step] - right[step]) for step in steps)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}


@pytest.fixture(scope="module")
def baselines(folders):
    return {kind: trajectory.train(**run(kind, folders[kind], batch=16, save=True)) for kind in KINDS}


def checkpoint(folder) -> str:
    return str(folder / f"checkpoint-{CHECKPOINT}")


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Kill a run that has predictions of its own on each of two ranks; return where its checkpoint is."""
    folder = tmp_path_factory.mktemp("killed")
    noisy = run("ensemble-training", folder / "run", batch=8, save=True, dropout=0.1)
    ended = launch(folder / "none.json", [noisy | {"kill_at": CHECKPOINT + 1}], ranks=2)
    assert "SIGKILL" in ended.stderr
    assert [path.name for path in (folder / "run").iterdir()] == [f"checkpoint-{CHECKPOINT}"]
    return checkpoint(folder / "run")


@pytest.fixture(scope="module")
def two_ranks(baselines, folders, killed, tmp_path_factory):
    """In one launch, train on two ranks in each way."""
    folder, runs = tmp_path_factory.mktemp("two"), {}
    for kind in KINDS:
        whole = folder / kind
        stopped = {"ensemble-prediction": checkpoint(whole), "ensemble-training": killed}[kind]
        runs[kind, "plain"] = run(kind, folder, batch=8)
        runs[kind, "accumulated"] = run(kind, folder, batch=4, accumulate=2)
        runs[kind, "joined"] = run(kind, folder, batch=8, resume=checkpoint(folders[kind]))
        runs[kind, "undisturbed"] = run(kind, whole, batch=8, dropout=0.1, save=True)
        runs[kind, "resumed"] = run(kind, folder, batch=8, dropout=0.1, resume=stopped)
    done = launch(folder / "out.json", list(runs.values()), ranks=2)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(runs, json.loads((folder / "out.json").read_text()), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_dropped_and_return_and_the_distance_counts(baselines, folders, kind):
    """A filter that let all rows pass, or a weight of 0, would make every comparison below too easy."""
    history = json.loads((folders[kind] / "checkpoint-24" / "trainer_state.json").read_text())["log_history"]
    logs = [log for log in history if "ensemble/kept" in log]
    kept = [log["ensemble/kept"] for log in logs]
    assert (kept[0], logs[0]["ensemble/weight"]) == (1, 0)
    assert 0.2 < min(kept) < max(kept[CHECKPOINT:]) < 0.95
    assert logs[-1]["ensemble/weight"] >= 2


@pytest.mark.parametrize(("batch", "accumulate"), [(8, 2), (4, 4)])
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_accumulation(baselines, tmp_path, kind, batch, accumulate):
    cut = trajectory.train(**run(kind, tmp_path, batch=batch, accumulate=accumulate))
    assert distance(baselines[kind], cut) < TOLERANCE


@pytest.mark.parametrize("way", ["plain", "accumulated"])
@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks(baselines, two_ranks, kind, way):
    assert distance(baselines[kind], two_ranks[kind, way]) < TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_resumed_on_one_rank(baselines, folders, tmp_path, kind):
    resumed = trajectory.train(**run(kind, tmp_path, batch=4, accumulate=4, resume=checkpoint(folders[kind])))
    assert distance(baselines[kind], resumed, after=CHECKPOINT) < TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_on_one_rank_and_resumed_on_two(baselines, two_ranks, kind):
    assert distance(baselines[kind], two_ranks[kind, "joined"], after=CHECKPOINT) < TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_resumed_on_two_ranks_with_dropout(two_ranks, kind):
    assert distance(two_ranks[kind, "undisturbed"], two_ranks[kind, "resumed"], after=CHECKPOINT) < TOLERANCE
