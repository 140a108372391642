"""The figures of a deployed student, each found another way."""

import dataclasses
import os
import shutil
import time

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import hf_synth.deploy as deploy
from hf_synth.deploy import footprint, needed_files, one_core, prompting_rate, sentence
from hf_synth.errors import InputError
from hf_synth.generators.local import LocalGenerator
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.students import BiLSTMConfig, BiLSTMForSequenceClassification, build_tokenizer
from hf_synth.tasks import load_task

TEXTS = ["a good film", "the plot is dull and the story is no good", "fine", "a great great great movie"] * 20


@pytest.fixture(params=["bert", "bilstm"])
def folder(request, student_folder, tmp_path):
    if request.param == "bert":
        return shutil.copytree(student_folder, tmp_path / "model")
    tokenizer = build_tokenizer(TEXTS)
    BiLSTMForSequenceClassification(BiLSTMConfig(vocab_size=len(tokenizer))).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_parameters_and_megabytes(folder):
    before = footprint(folder, [TEXTS])
    tensors = load_file(folder / "model.safetensors")
    assert before["parameters"] == sum(tensor.numel() for tensor in tensors.values())
    bytes_ = sum(file.stat().st_size for file in folder.iterdir())
    assert before["megabytes"] == pytest.approx(bytes_ / 1e6, abs=0.005)
    for name in ("README.md", "training.json", "curves.png"):  # not needed to run
        (folder / name).write_bytes(b"x" * 10**6)
    assert footprint(folder, [TEXTS])["megabytes"] == before["megabytes"]


def test_the_files_counted_are_enough_to_run(folder, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    for file in needed_files(folder):
        shutil.copy(file, alone)
    found = AutoModelForSequenceClassification.from_pretrained(alone)
    inputs = AutoTokenizer.from_pretrained(alone)(["a good film"], return_tensors="pt")
    assert found(**inputs).logits.isfinite().all()


class Clock:
    """Stands still but for what takes time here, so that a busy machine changes no figure."""

    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(deploy, "time", Clock())
    return deploy.time


def test_times_are_those_of_the_model(student_folder, clock):
    """A layer that takes a 32nd of a second: one text takes that, and a batch of 64 does too."""

    def in_classifier(module, inputs):
        if isinstance(module, torch.nn.Linear) and module.out_features == 2:
            clock.now += 1 / 32  # no rounding

    handle = torch.nn.modules.module.register_module_forward_pre_hook(in_classifier)
    try:
        slow = footprint(student_folder, [TEXTS])
    finally:
        handle.remove()
    assert slow["milliseconds_per_text"] == 1000 / 32
    assert slow["rows"] == 32  # one by one, in a second
    assert slow["rows_per_second"] == 32 * 32


def test_times_are_seconds_of_a_real_clock(student_folder):
    def in_classifier(module, inputs):
        if isinstance(module, torch.nn.Linear) and module.out_features == 2:
            time.sleep(0.020)

    handle = torch.nn.modules.module.register_module_forward_pre_hook(in_classifier)
    try:
        slow = footprint(student_folder, [TEXTS])
    finally:
        handle.remove()
    assert slow["milliseconds_per_text"] >= 20
    assert slow["rows_per_second"] <= 64 / 0.020


def test_one_core_and_everything_put_back(student_folder, monkeypatch):
    seen = []
    hook = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, inputs: seen.append((torch.get_num_threads(), os.environ.get("TOKENIZERS_PARALLELISM")))
    )
    before = torch.get_num_threads()
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    torch.set_num_threads(3)
    try:
        footprint(student_folder, [TEXTS])
        after = torch.get_num_threads(), os.environ["TOKENIZERS_PARALLELISM"]
    finally:
        hook.remove()
        torch.set_num_threads(before)
    assert set(seen) == {(1, "false")}
    assert after == (3, "true")


def test_threads_come_back_after_an_error(monkeypatch):
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), one_core():
        raise RuntimeError
    assert torch.get_num_threads() == before
    assert "TOKENIZERS_PARALLELISM" not in os.environ


def test_blank_texts_are_refused_and_pairs_are_timed_as_pairs(folder):
    with pytest.raises(InputError, match="there is none that is not blank"):
        footprint(folder, [["", "  "]])
    assert footprint(folder, [TEXTS, TEXTS[::-1]], max_length=16)["rows_per_second"] > 0


def test_prompting_is_timed_on_the_same_labels_and_one_core(causal_folder):
    task = load_task("sst2")
    threads = []
    hook = torch.nn.modules.module.register_module_forward_pre_hook(
        lambda module, inputs: threads.append(torch.get_num_threads())
    )
    try:
        generator = LocalGenerator(str(causal_folder), name="tiny", digest="d", device=torch.device("cpu"))
        found = prompting_rate(generator, [TEXTS], task, 8)
    finally:
        hook.remove()
    assert found["rows"] >= 1
    assert found["rows_per_second"] > 0
    assert set(threads) == {1}


def test_the_rate_counts_rows_not_forward_passes(clock):
    """2 labels, a text and the content-free one: four scores of 5 ms a row, as a user of prompting pays for."""

    class Slow(ScriptedGenerator):
        def score(self, prompts, texts, *, batch_size):
            clock.now += 0.005 * len(texts)
            return super().score(prompts, texts, batch_size=batch_size)

    found = prompting_rate(Slow(lambda prompt, rng: ""), [TEXTS], load_task("sst2"), 8)
    assert found["rows"] == deploy.PROMPTED
    calls = 2 * (found["rows"] + 1)  # one content-free text a label
    assert found["rows"] / found["rows_per_second"] == pytest.approx(0.005 * calls, rel=1e-3)


@pytest.mark.parametrize("source", [{"device": "cuda"}, {"device": "cpu", "engine": "vllm 1"}])
def test_no_rate_where_one_core_says_nothing(source):
    generator = ScriptedGenerator(lambda prompt, rng: "")
    generator.source = source
    assert prompting_rate(generator, [TEXTS], load_task("sst2"), 8) is None


def test_no_rate_of_a_generator_that_cannot_score():
    @dataclasses.dataclass
    class Mute:
        source: dict

    assert prompting_rate(Mute({}), [TEXTS], load_task("sst2"), 8) is None


def test_the_sentence_has_every_figure():
    figures = {
        "parameters": 22_713_986, "megabytes": 91.6, "milliseconds_per_text": 12.34, "rows_per_second": 110.0,
        "rows": 64, "prompting": {"rows": 4, "rows_per_second": 0.5},
    }  # fmt: skip
    said = sentence(figures)
    for part in ("22,713,986 parameters", "91.6 MB", "12.3 ms per text", "110 rows/s", "0.50 rows/s (220.0 x)"):
        assert part in said
    assert "prompting" not in sentence({**figures, "prompting": None})
