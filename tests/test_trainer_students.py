"""Every trainer with every kind of student: one text or two, float32 or bfloat16."""

import pytest
import torch
from datasets import Dataset
from test_directional import KINDS, build
from transformers import TrainingArguments, default_data_collator

from hf_synth.students.bilstm import BiLSTMConfig, BiLSTMForSequenceClassification
from hf_synth.trainers.annealing import AnnealingConfig, AnnealingTrainer
from hf_synth.trainers.bilevel import BilevelConfig, BilevelTrainer
from hf_synth.trainers.ensemble import EnsembleConfig, EnsembleTrainer
from hf_synth.trainers.weighted import WeightedTrainer

pytestmark = pytest.mark.usefixtures("one_thread")

TRAINERS = {
    "weighted": (WeightedTrainer, None),
    "ensemble": (EnsembleTrainer, EnsembleConfig.preset("agreement", ramp=2)),
    "bilevel-sungen": (BilevelTrainer, BilevelConfig(rounds=2, confident=1.0)),
    "bilevel-online": (BilevelTrainer, BilevelConfig(mode="online")),
    "annealing-share": (AnnealingTrainer, AnnealingConfig(kind="share")),
    "annealing-rounds": (AnnealingTrainer, AnnealingConfig(kind="rounds")),
}
PAIRS = {"pairs": True, "num_layers": 1, "dropout": 0.0, "num_labels": 3}
PAIRS |= {"vocab_size": 60, "embedding_size": 16, "hidden_size": 16}


def rows(pairs):
    """Rows whose class is told by words: of one text, or by which of two texts holds them."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(24) % 3
    ids = torch.randint(20, 60, (24, 12), generator=draw)
    second = (torch.arange(12) >= 6).long().expand(24, -1)
    ids[:, 2], ids[:, 8] = torch.where(labels == 1, 5, 6), torch.where(labels == 2, 5, 6)
    columns = {"input_ids": ids.tolist(), "attention_mask": torch.ones_like(ids).tolist(), "labels": labels.tolist()}
    columns |= {"index": list(range(24)), "synthetic": [at % 2 == 0 for at in range(24)]}
    return Dataset.from_dict(columns | ({"token_type_ids": second.tolist()} if pairs else {}))


def trained(name, model, folder, pairs=False, **settings):
    """Return the trainer, and how much less the loss of all rows is than before."""
    kind, config = TRAINERS[name]
    args = {"save_strategy": "no", "report_to": "none", "use_cpu": True, "disable_tqdm": True, "num_train_epochs": 6}
    args |= {"learning_rate": 1e-2, "per_device_train_batch_size": 8, "logging_steps": 1, "seed": 0, **settings}
    data = rows(pairs)
    own = {} if config is None else {"config": config}
    trainer = kind(model, TrainingArguments(str(folder), **args), default_data_collator, data, data, **own)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    return trainer, before - trainer.evaluate()["eval_loss"]


@pytest.mark.parametrize("name", TRAINERS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_student_learns_by_every_trainer(tmp_path, kind, name):
    assert trained(name, build(kind), tmp_path)[1] > 0.2


@pytest.mark.parametrize("name", TRAINERS)
def test_pairs(tmp_path, name):
    torch.manual_seed(0)
    for model in (build("bert"), BiLSTMForSequenceClassification(BiLSTMConfig(**PAIRS))):
        assert trained(name, model, tmp_path, pairs=True, num_train_epochs=16)[1] > 0.2, type(model)


@pytest.mark.parametrize("name", TRAINERS)
def test_bfloat16_trains_as_float32_does(tmp_path, name):
    def losses(**how):
        trainer, _ = trained(name, build("bert"), tmp_path, num_train_epochs=2, learning_rate=2e-3, **how)
        found = [log["loss"] for log in trainer.state.log_history if "loss" in log]
        assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}
        return torch.tensor(found)

    full, half = losses(), losses(bf16=True)
    assert not torch.equal(full, half)  # or it was not used
    torch.testing.assert_close(half, full, rtol=0.03, atol=0.03)
