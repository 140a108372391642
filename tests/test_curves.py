"""Pictures of a training: what is drawn, what is not, and what a user without matplotlib sees."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from hf_synth.curves import draw

HISTORY = [
    {"loss": 0.7, "grad_norm": 1.0, "learning_rate": 5e-5, "epoch": 0.5, "step": 1},
    {"loss": 0.5, "grad_norm": 1.0, "learning_rate": 2e-5, "epoch": 1.0, "step": 2},
    {"eval_loss": 0.6, "eval_accuracy": 0.75, "eval_runtime": 99.0, "epoch": 1.0, "step": 2},
    {"train_runtime": 1.0, "train_loss": 0.6, "epoch": 1.0, "step": 2},
]


def picture(path):
    return imread(path)[..., :3]


def coloured(image):
    """Count the pixels that are neither white, black nor grey: the drawn lines and bars."""
    return int((image.max(-1) - image.min(-1) > 0.3).sum())


def test_curves_and_histogram_are_drawn(tmp_path):
    assert draw(HISTORY, [0.5, 1.0, 1.0, 1.5], tmp_path) == ["curves.png", "weights.png"]
    assert {file.name for file in tmp_path.iterdir()} == {"curves.png", "weights.png"}
    assert coloured(picture(tmp_path / "curves.png")) > 300
    assert coloured(picture(tmp_path / "weights.png")) > 300


def test_the_curves_show_the_history(tmp_path):
    """Another loss, evaluation or learning rate is another picture; running times are not in it."""

    def drawn(history):
        draw(history, None, tmp_path)
        return picture(tmp_path / "curves.png")

    first = drawn(HISTORY)
    for entry, key in ((1, "loss"), (2, "eval_loss"), (2, "eval_accuracy"), (1, "learning_rate")):
        changed = [{**one, key: one[key] / 3} if at == entry else one for at, one in enumerate(HISTORY)]
        assert not np.array_equal(drawn(changed), first), key
    slower = [{**one, **({"eval_runtime": 1.0} if "eval_runtime" in one else {})} for one in HISTORY]
    assert np.array_equal(drawn(slower), first)


def test_without_evaluation_there_are_two_panels_instead_of_three(tmp_path):
    draw(HISTORY, None, tmp_path)
    wide = picture(tmp_path / "curves.png").shape[1]
    draw(HISTORY[:2], None, tmp_path)
    assert picture(tmp_path / "curves.png").shape[1] * 3 == pytest.approx(wide * 2)


def test_the_histogram_shows_the_weights(tmp_path):
    draw([], np.array([1.0, 1.0, 1.0, 2.0], dtype=np.float32), tmp_path)
    one = picture(tmp_path / "weights.png")
    draw([], np.array([1.0, 2.0, 2.0, 2.0], dtype=np.float32), tmp_path)
    assert not np.array_equal(picture(tmp_path / "weights.png"), one)


@pytest.mark.parametrize("weights", [None, []])
def test_nothing_to_draw_writes_nothing(weights, tmp_path):
    assert draw([{"train_loss": 0.6, "step": 2}], weights, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_one_sentence_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert draw(HISTORY, [1.0], tmp_path) == []
    said = capsys.readouterr().err
    assert "pip install 'hf_synth[plots]'" in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_no_pyplot(tmp_path):
    """pyplot keeps figures and may want a display; training must need neither."""
    code = (
        "import sys, pathlib; from hf_synth.curves import draw;"
        f"draw({HISTORY!r}, [1.0], pathlib.Path({str(tmp_path)!r}));"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
