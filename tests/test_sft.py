"""Students that write a parse: fine-tuned, saved whole, resumed after a kill, judged by what they write."""

import json

import pytest
import torch
from datasets import Dataset, DatasetDict
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_synth import sft
from hf_synth.errors import InputError
from hf_synth.learners import parses
from hf_synth.settings import StudentConfig
from hf_synth.sft import WriterTrainer, sft_arguments, train_writer
from hf_synth.task import Task

TASK = Task(
    name="films",
    labels={"IN:GOOD": "good", "IN:BAD": "bad"},
    prompt="{label}",
    columns=("utterance",),
    label_column="semantic_parse",
)


def data_of(rows=48):
    sides = [("good", "a good film", "[IN:GOOD a [SL:A good ] film ]"), ("bad", "a bad film", "[IN:BAD a bad film ]")]
    picked = [sides[at % 2] for at in range(rows)]
    columns = {"utterance": [one[1] for one in picked], "semantic_parse": [one[2] for one in picked]}
    data = Dataset.from_dict({**columns, "index": list(range(rows))})
    return DatasetDict(train=data.select(range(8, rows)), validation=data.select(range(8)))


def config_of(student, **settings):
    args = {"per_device_eval_batch_size": 8, **settings.pop("training_args", {})}
    ours = {"num_train_epochs": 4, "learning_rate": 1e-2, "train_batch_size": 8, "max_length": 64}
    return StudentConfig(student=str(student), training_args=args, **{**ours, **settings})


@pytest.fixture(scope="module")
def trained(causal_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder / "model", train_writer(data_of(), TASK, config_of(causal_folder), folder / "model", seed=0)


def test_a_student_learns_to_write_parses_and_is_saved_whole(trained):
    folder, facts = trained
    assert (facts["rows"], facts["validation_rows"], facts["validation_score"]) == (40, 8, 1.0)
    assert json.loads((folder / "training.json").read_text()) == facts
    assert [entry.name for entry in folder.parent.iterdir()] == ["model"]
    assert not (folder / "training_args.bin").exists()
    rows = data_of()["validation"].select(range(3))
    said = parses.predict(folder, rows, TASK, max_length=64, batch_size=2)
    assert said == rows["semantic_parse"][:]
    assert parses.score(TASK, said, rows["semantic_parse"][:])["exact_match"] == 1.0


@pytest.mark.parametrize("native", [torch.bfloat16, torch.float32])
def test_real_rows_are_judged_as_precisely_as_the_validation_rows(trained, monkeypatch, native):
    """Float32 weights, under autocast to bfloat16 only where the processor has it."""
    seen = []
    monkeypatch.setattr("hf_synth.generators.local.processor.best_dtype", lambda device: native)

    def write(model, *_):
        seen.append((model.dtype, torch.is_autocast_enabled("cpu")))

    monkeypatch.setattr(parses, "write", write)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    parses.predict(trained[0], data_of()["validation"], TASK)
    assert seen == [(torch.float32, native == torch.bfloat16)]


def test_the_rows_that_are_scored_are_told(causal_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sft, "JUDGED", 5)
    facts = train_writer(data_of(), TASK, config_of(causal_folder, num_train_epochs=1), tmp_path / "model", seed=0)
    assert (facts["validation_rows"], facts["scored_rows"]) == (8, 5)


def test_what_was_trained_before_is_not_trained_again(trained, causal_folder, monkeypatch):
    folder, facts = trained
    monkeypatch.setattr(WriterTrainer, "train", lambda *args, **kwargs: pytest.fail("trained again"))
    assert train_writer(data_of(), TASK, config_of(causal_folder), folder, seed=0) == facts


def test_the_loss_is_on_the_parse_alone(causal_folder, tmp_path):
    config = config_of(causal_folder)
    model, tokenizer, facts = parses.load(config, TASK)
    assert facts["origin"] == "local"
    rows = parses.encode(data_of()["train"].select(range(1)), tokenizer, TASK, 64)
    args = sft_arguments(config, tmp_path, 0, False)
    trainer = WriterTrainer(
        model=model, args=args, train_dataset=rows, processing_class=tokenizer, judged=None, task=TASK
    )
    batch = next(iter(trainer.get_train_dataloader()))
    counted = batch["labels"][0][batch["labels"][0] != -100]
    assert tokenizer.decode(counted, skip_special_tokens=True).strip() == rows["completion"][0]
    assert counted[-1] == tokenizer.eos_token_id


def test_training_that_was_killed_goes_on(causal_folder, tmp_path, monkeypatch):
    config = config_of(causal_folder, num_train_epochs=2, learning_rate=2e-3)
    train_writer(data_of(), TASK, config, tmp_path / "whole", seed=0)

    class Killed(BaseException):
        pass

    steps, step = [], WriterTrainer.training_step

    def counted(self, *args, **kwargs):
        steps.append(self.state.global_step)
        if len(steps) == 7:  # after the checkpoint of the first epoch, five steps long
            raise Killed
        return step(self, *args, **kwargs)

    monkeypatch.setattr(WriterTrainer, "training_step", counted)
    with pytest.raises(Killed):
        train_writer(data_of(), TASK, config, tmp_path / "model", seed=0)
    assert not (tmp_path / "model").exists()
    train_writer(data_of(), TASK, config, tmp_path / "model", seed=0)
    assert steps == [0, 1, 2, 3, 4, 5, 6, 5, 6, 7, 8, 9]
    first, second = (AutoModelForCausalLM.from_pretrained(tmp_path / one).state_dict() for one in ("whole", "model"))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-5, rtol=0)


@pytest.mark.parametrize("epochs", [1, 3])
def test_few_rows_are_learnt_from(causal_folder, tmp_path, epochs):
    """An epoch is one step: its warm-up would be all of it, at rate 0, and the best epoch the untrained model."""
    config = config_of(causal_folder, num_train_epochs=epochs, train_batch_size=64)
    facts = train_writer(data_of(), TASK, config, tmp_path / "model", seed=0)
    assert facts["log_history"][-1]["step"] == epochs
    before, after = (AutoModelForCausalLM.from_pretrained(one) for one in (causal_folder, tmp_path / "model"))
    assert not torch.equal(before.lm_head.weight, after.lm_head.weight)


def test_without_validation_rows_nothing_is_evaluated_whatever_was_asked(causal_folder, tmp_path):
    config = config_of(causal_folder, num_train_epochs=1, training_args={"eval_strategy": "epoch"})
    facts = train_writer(DatasetDict(train=data_of()["train"]), TASK, config, tmp_path / "model", seed=0)
    assert (facts["kept"], facts["validation_score"]) == ("last", None)


def test_writing_does_not_depend_on_the_batch(trained):
    folder, _ = trained
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    texts = ["a good film", "a very good film of the bad plot", "film", "a bad film"]
    one = [parses.write(model, tokenizer, [text], 48, 1)[0] for text in texts]
    assert parses.write(model, tokenizer, texts, 48, 4) == one
    assert not any("\n" in text for text in one)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trainer": "ensemble"}, "`trainer` must be 'weighted' for a student that writes its answer; got 'ensemble'"),
        ({"loss": "gce"}, "`loss` must be 'ce'"),
        ({"denoise": "hard"}, "`denoise` must be 'none'"),
        ({"label_smoothing": 0.1}, "`label_smoothing` must be 0.0"),
        ({"real_rows": "x"}, "`real_rows` must be None"),
        ({"student": "bilstm"}, "`student`: a parse is written by a causal language model"),
    ],
)
def test_what_cannot_work_is_refused(causal_folder, settings, message):
    with pytest.raises(InputError, match=message):
        parses.check(StudentConfig(**{"student": str(causal_folder), **settings}))


def test_an_encoder_is_refused_by_name(student_folder):
    with pytest.raises(InputError, match="causal language model.*is BertForSequenceClassification"):
        parses.check(StudentConfig(student=str(student_folder)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"semantic_parse": "[IN:GOOD a"}, r"row 0: `semantic_parse` is no parse \(unbalanced brackets\)"),
        ({"utterance": "film " * 60}, "`max_length` must hold the longest row, .* tokens with its parse; got 64"),
        ({"weight": 0.5}, "counts all rows alike; drop the column `weight`"),
    ],
)
def test_rows_that_cannot_be_learnt_are_refused(causal_folder, tmp_path, change, message):
    data = data_of()
    data["train"] = data["train"].map(lambda row: {**row, **change}, load_from_cache_file=False)
    with pytest.raises(InputError, match=message):
        train_writer(data, TASK, config_of(causal_folder), tmp_path / "model", seed=0)
    assert not (tmp_path / "model").exists()
