"""Entities that nobody tagged: students whose odds of `O` are lowered still find them."""

from math import log

import numpy as np
import pytest
import torch
from datasets import DatasetDict
from test_learners import FAST, TOKENS, judged, tagged
from transformers import AutoModelForTokenClassification

from hf_synth.errors import InputError
from hf_synth.learners import learner
from hf_synth.methods import get
from hf_synth.methods.zerogen import METHOD
from hf_synth.settings import StudentConfig
from hf_synth.standing import filled
from hf_synth.tasks import load_task
from hf_synth.train import check_training, train_student

pytestmark = pytest.mark.usefixtures("one_thread")


def test_entities_that_were_seldom_tagged_are_found_by_whoever_loads_the_model(tmp_path, student_folder):
    draw = np.random.default_rng(0)
    rows = tagged(128).map(lambda row: {"tags": [0] * len(row["tags"]) if draw.random() < 0.6 else row["tags"]})
    judge, found, logits = judged(TOKENS, tagged(40, 2), tmp_path / "test"), {}, {}
    for share in (1.0, 0.1):
        config = StudentConfig(student=str(student_folder), outside=share, **FAST)
        facts = train_student(DatasetDict(train=rows), TOKENS, config, tmp_path / "model", 0)
        assert facts["settings"]["outside"] == share
        said = learner(TOKENS).predict(tmp_path / "model", judge.data, TOKENS)
        found[share] = learner(TOKENS).score(TOKENS, said, judge.data["tags"])["recall"]
        model = AutoModelForTokenClassification.from_pretrained(tmp_path / "model").eval()
        logits[share] = model(torch.tensor([[3, 7, 9]])).logits.detach()
    assert found[0.1] > 0.8 > 0.5 > found[1.0]
    moved = logits[0.1] - logits[1.0]
    torch.testing.assert_close(moved[..., 0], torch.full((1, 3), log(0.1)), atol=1e-4, rtol=0)
    assert moved[..., 1:].abs().max() < 1e-4


def test_only_entities_have_tokens_outside_of_them():
    with pytest.raises(InputError, match="`outside` is for tasks of kind tokens; 'sst2' is of kind 'single'"):
        check_training(StudentConfig(outside=0.5), load_task("sst2"))


def test_zerogen_brings_it_where_only_what_was_asked_for_is_tagged():
    assert filled(METHOD, {"task": "ncbi_disease"})["outside"] == 0.15
    assert filled(METHOD, {"task": "ncbi_disease", "outside": 1.0})["outside"] == 1
    assert "outside" not in filled(METHOD, {"task": "ncbi_disease", "annotate": "markup"})
    assert "outside" not in filled(METHOD, {"task": "sst2"})
    assert filled(get("sungen"), {"task": "ncbi_disease"})["outside"] == 0.15
