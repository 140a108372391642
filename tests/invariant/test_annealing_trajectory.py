"""The same losses from an annealing trainer however its 16 rows a step are cut up, and whether it was killed or not.

Parameters are not compared: AdamW makes steps out of the rounding noise that is the gradient of a key bias.
"""

import json
import shutil
import signal

import pytest
import trajectory
from test_trajectory import TOLERANCE, launch

pytestmark = pytest.mark.usefixtures("one_thread")

LENGTHS = {
    "annealing-rounds": {"num_train_epochs": 2.5},  # visits of 6, 3, 6, 3 and 4 steps
    "annealing-share": {"max_steps": 24},
    "annealing-weight": {"max_steps": 24},
}
KILLED_AT, CHECKPOINT = 13, 12  # in the middle of the third visit


def run(kind: str, folder, **how) -> dict:
    return {"folder": str(folder), "kind": kind, "optim": "adamw_torch", **LENGTHS[kind], **how}


def distance(left: dict, right: dict, after: int = 0) -> float:
    """Return the largest difference in any loss logged after a step."""
    left, right = ({int(step): loss for step, loss in one["losses"].items()} for one in (left, right))
    steps = [step for step in left if step > after]
    assert steps == [step for step in right if step > after]
    return max(abs(left[step] - right[step]) for step in steps)


@pytest.fixture(scope="module")
def baselines(tmp_path_factory):
    return {kind: trajectory.train(**run(kind, tmp_path_factory.mktemp(kind), batch=16)) for kind in LENGTHS}


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Kill a run of each kind; return where its checkpoints are."""
    folders = {kind: tmp_path_factory.mktemp("killed") / kind for kind in LENGTHS}
    for kind, folder in folders.items():
        how = {"batch": 4, "accumulate": 4, "save": True, "kill_at": KILLED_AT}
        ended = launch(folder.parent / "none.json", [run(kind, folder, **how)])
        assert ended.returncode == -signal.SIGKILL, ended.stderr[-3000:]
        assert f"checkpoint-{CHECKPOINT}" in [path.name for path in folder.iterdir()]
    return folders


@pytest.fixture(scope="module")
def two_ranks(killed, tmp_path_factory):
    """In one launch, train on two ranks in each way, and resume what was killed on one."""
    folder = tmp_path_factory.mktemp("two")
    runs = {}
    for kind in LENGTHS:
        resumed = shutil.copytree(killed[kind], folder / kind)
        runs[kind, "undisturbed"] = run(kind, folder, batch=8)
        runs[kind, "resumed"] = run(kind, resumed, batch=8, resume=True)
    runs["annealing-rounds", "accumulated"] = run("annealing-rounds", folder, batch=4, accumulate=2)
    done = launch(folder / "out.json", list(runs.values()), ranks=2)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(runs, json.loads((folder / "out.json").read_text()), strict=True))


def test_the_kinds_differ(baselines):
    assert [len(baselines[kind]["losses"]) for kind in LENGTHS] == [22, 24, 24]
    first_12 = [{"losses": dict([*baselines[kind]["losses"].items()][:12])} for kind in LENGTHS]
    for at, one in enumerate(first_12):
        assert distance(one, first_12[at - 1]) > 0.1


@pytest.mark.parametrize(("batch", "accumulate"), [(8, 2), (4, 4)])
@pytest.mark.parametrize("kind", LENGTHS)
def test_gradient_accumulation(baselines, tmp_path, kind, batch, accumulate):
    cut = trajectory.train(**run(kind, tmp_path, batch=batch, accumulate=accumulate))
    assert distance(baselines[kind], cut) < TOLERANCE


@pytest.mark.parametrize(
    ("kind", "way"), [*((kind, "undisturbed") for kind in LENGTHS), ("annealing-rounds", "accumulated")]
)
def test_two_ranks(baselines, two_ranks, kind, way):
    assert distance(baselines[kind], two_ranks[kind, way]) < TOLERANCE


@pytest.mark.parametrize("kind", LENGTHS)
def test_killed_and_resumed_on_one_rank(baselines, killed, tmp_path, kind):
    folder = shutil.copytree(killed[kind], tmp_path / kind)
    resumed = trajectory.train(**run(kind, folder, batch=4, accumulate=4, resume=True))
    assert distance(baselines[kind], resumed, after=CHECKPOINT) < TOLERANCE


@pytest.mark.parametrize("kind", LENGTHS)
def test_killed_on_one_rank_and_resumed_on_two(baselines, two_ranks, kind):
    assert distance(baselines[kind], two_ranks[kind, "resumed"], after=CHECKPOINT) < TOLERANCE
