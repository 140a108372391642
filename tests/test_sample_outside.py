"""Entities that nobody tagged: students that learn by few of the `O` tags still find them."""

import numpy as np
import pytest
from datasets import Dataset, DatasetDict
from test_learners import FAST, TOKENS, judged, tagged

from hf_synth.errors import InputError
from hf_synth.learners import learner
from hf_synth.learners.entities import sample_outside
from hf_synth.losses import IGNORED
from hf_synth.methods.zerogen import METHOD
from hf_synth.settings import StudentConfig
from hf_synth.standing import filled
from hf_synth.tasks import load_task
from hf_synth.train import check_training, train_student

pytestmark = pytest.mark.usefixtures("one_thread")


def untagged(rows, share):
    """Rows of which most entities have lost their tags."""
    draw = np.random.default_rng(0)
    return rows.map(lambda row: {"tags": [0] * len(row["tags"]) if draw.random() < share else row["tags"]})


def test_entities_that_were_seldom_tagged_are_found(tmp_path, student_folder):
    data = DatasetDict(train=untagged(tagged(128), 0.6))
    judge, found = judged(TOKENS, tagged(40, 2), tmp_path / "test"), {}
    for share in (1.0, 0.1):
        config = StudentConfig(student=str(student_folder), outside=share, **FAST)
        train_student(data, TOKENS, config, tmp_path / "model", 0)
        said = learner(TOKENS).predict(tmp_path / "model", judge.data, TOKENS)
        found[share] = learner(TOKENS).score(TOKENS, said, judge.data["tags"])["recall"]
    assert found[0.1] > 0.8 > 0.5 > found[1.0]


def test_which_tags_count_depends_on_seed_and_index_alone_and_real_rows_keep_theirs():
    labels = [[IGNORED, 0, 3, 0, 0, 4, 0, 0, IGNORED]] * 40
    rows = Dataset.from_dict({"labels": labels, "index": list(range(40)), "synthetic": [at < 30 for at in range(40)]})
    kept = sample_outside(rows, 0.3, 0)["labels"][:]
    zeros = sum(row.count(0) for row in kept[:30]) / (30 * 5)
    assert 0.15 < zeros < 0.45
    assert all([tag for tag in row if tag > 0] == [3, 4] for row in kept)
    assert kept[30:] == labels[30:]
    backwards = sample_outside(rows.select(range(39, -1, -1)), 0.3, 0)["labels"][:]
    assert backwards[::-1] == kept
    assert sample_outside(rows, 0.3, 1)["labels"][:] != kept


def test_only_entities_have_tokens_outside_of_them():
    with pytest.raises(InputError, match="`outside` is for tasks of kind tokens; 'sst2' is of kind 'single'"):
        check_training(StudentConfig(outside=0.5), load_task("sst2"))


def test_zerogen_brings_it_where_only_what_was_asked_for_is_tagged():
    assert filled(METHOD, {"task": "ncbi_disease"})["outside"] == 0.2
    assert filled(METHOD, {"task": "ncbi_disease", "outside": 1.0})["outside"] == 1
    assert "outside" not in filled(METHOD, {"task": "ncbi_disease", "annotate": "markup"})
    assert "outside" not in filled(METHOD, {"task": "sst2"})
