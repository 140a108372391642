import random
import re
import tracemalloc

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    PrinterCallback,
    TrainingArguments,
)

from hf_synth.errors import InputError
from hf_synth.losses import example_loss
from hf_synth.trainers import predictions as module
from hf_synth.trainers.ensemble import PRESETS, EnsembleConfig, EnsembleTrainer, distance
from hf_synth.trainers.predictions import Predictions
from hf_synth.trainers.rows import Rows

pytestmark = pytest.mark.usefixtures("one_thread")

HALF_STEP = 0.5 / 65535
LABELS = {
    "one": [0, 1, 2, 0, 1, 2],
    "tokens": [[row % 3] * (row + 1) + [-100] * (6 - row) for row in range(6)],
    "set": [[float(row % 2), 1.0, 0.0] for row in range(6)],
}


def data_of(labels, **columns) -> Dataset:
    draw = torch.Generator().manual_seed(3)
    ids = torch.randint(1, 50, (len(labels), 7), generator=draw).tolist()
    return Dataset.from_dict({"input_ids": ids, "labels": labels, "index": range(100, 100 + len(labels))} | columns)


def bert(head=BertForSequenceClassification, dropout=0.0, classes=3):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    drop = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    return head(BertConfig(vocab_size=50, num_labels=classes, initializer_range=0.3, **sizes, **drop))


@pytest.fixture
def make(tmp_path):
    def trainer(data, config=None, model=None, **arguments):
        settings = {"save_strategy": "no", "logging_steps": 1, "use_cpu": True, "disable_tqdm": True} | arguments
        args = TrainingArguments(str(tmp_path), **{"per_device_train_batch_size": 6, "max_grad_norm": 0.0} | settings)
        made = EnsembleTrainer(model or bert(), args, train_dataset=data, config=config)
        made.remove_callback(PrinterCallback)
        return made

    return trainer


def predicted(labels, *updates, momentum=0.8, classes=3) -> Predictions:
    """Return what has seen, at each update, one list of probabilities per row; None for rows not seen."""
    rows = Rows(data_of(labels), classes)
    found = Predictions(rows, classes, momentum, "nowhere")
    batch = np.array(labels)
    for update in updates:
        seen = np.array([at for at, row in enumerate(update) if row is not None])
        found.add(seen, batch[seen], np.array([update[at] for at in seen], np.float32))
        found.update()
    return found


def averages(found: Predictions) -> np.ndarray:
    return found.averages / 65535


def surely(*probabilities: float) -> list[list[float]]:
    """Return, for each row, a probability of class 0 of two."""
    return [[p, 1 - p] for p in probabilities]


# --- averages


def test_first_update_gives_what_was_predicted():
    p = [[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]]
    assert averages(predicted([0, 1], p)) == pytest.approx(np.array(p), abs=HALF_STEP * 1.01)


def test_three_updates_are_the_corrected_moving_average():
    p = np.random.default_rng(0).dirichlet([1, 1, 1], (3, 4))
    z = (0.2 * (0.64 * p[0] + 0.8 * p[1] + p[2])) / (1 - 0.8**3)
    assert averages(predicted([0, 1, 2, 0], *p.tolist())) == pytest.approx(z, abs=3 * HALF_STEP)


def test_each_row_has_its_own_count():
    p, q, r = [0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]
    found = predicted([0, 1, 2], [p, p, None], [q, None, None], [r, r, None])
    assert found.counts.tolist() == [3, 2, 0]
    twice = (0.8 * np.array(p) + np.array(r)) / 1.8
    assert averages(found)[1] == pytest.approx(twice, abs=3 * HALF_STEP)
    assert averages(found)[2].tolist() == [0, 0, 0]


def test_a_row_seen_twice_between_updates_counts_once_with_the_mean():
    found = predicted([0, 1])
    for p in ([[0.6, 0.4, 0.0]], [[0.2, 0.4, 0.4]]):
        found.add(np.array([1]), np.array([1]), np.array(p, np.float32))
    found.add(np.array([0]), np.array([-100]), np.ones((1, 3), np.float32))
    found.update()
    assert found.counts.tolist() == [0, 1]
    assert averages(found)[1] == pytest.approx([0.4, 0.4, 0.2], abs=HALF_STEP * 1.01)


def test_no_momentum_is_the_last_prediction():
    found = predicted([0], [[0.7, 0.2, 0.1]], [[0.1, 0.2, 0.7]], momentum=0.0)
    assert averages(found)[0] == pytest.approx([0.1, 0.2, 0.7], abs=HALF_STEP * 1.01)


def test_state_goes_through_a_file_with_half_an_interval(tmp_path):
    p = np.random.default_rng(0).dirichlet([1, 1, 1], (3, 2)).astype(np.float32)
    found, batch = predicted([0, 1], p[0].tolist()), (np.array([0, 1]), np.array([0, 1]))
    found.add(*batch, p[1])
    torch.save(found.state(), tmp_path / "state.pt")
    back, elsewhere = predicted([0, 1]), predicted([0, 1])
    back.load(torch.load(tmp_path / "state.pt", weights_only=True))
    elsewhere.load(torch.load(tmp_path / "state.pt", weights_only=True), buffers=False)
    for one in (found, back):
        one.add(*batch, p[2])
        one.update()
    elsewhere.update()
    assert back.averages.tolist() == found.averages.tolist() != elsewhere.averages.tolist()
    assert (back.updates, back.counts.tolist(), elsewhere.counts.tolist()) == (2, [2, 2], [1, 1])
    with pytest.raises(InputError, match="other rows or labels than `train_dataset`"):
        predicted([0, 2]).load(found.state())


def test_large_state_lies_in_a_file_without_a_name(tmp_path, monkeypatch):
    p = np.random.default_rng(0).dirichlet([1, 1, 1], (2, 4))
    expected = predicted([0, 1, 2, 0], *p.tolist())
    monkeypatch.setattr(module, "LARGE", 0)
    monkeypatch.setattr(module, "BLOCK", 3)
    monkeypatch.chdir(tmp_path)
    found = predicted([0, 1, 2, 0], *p.tolist())
    assert isinstance(found.averages, np.memmap)
    assert found.averages.tolist() == expected.averages.tolist()
    assert not list((tmp_path / "nowhere").iterdir())
    torch.save(found.state(), tmp_path / "state.pt")
    expected.load(torch.load(tmp_path / "state.pt", weights_only=True))


def test_a_million_rows_of_two_classes_take_less_than_64_mb():
    count = 1_000_000
    columns = {"index": np.random.default_rng(0).permutation(count), "labels": np.arange(count) % 2}
    data = Dataset.from_dict(columns)
    tracemalloc.start()
    rows = Rows(data, 2)
    found = Predictions(rows, 2, 0.8, "nowhere")
    every = np.arange(count)
    for start in range(0, count, 200_000):
        part = every[start : start + 200_000]
        found.add(part, rows.labels[part], np.full((len(part), 2), 0.5, np.float32))
    del every, part
    held = tracemalloc.get_traced_memory()[0]  # the buffer is full: never is it more
    tracemalloc.stop()
    arrays = [value for owner in (rows, found) for value in vars(owner).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in arrays) <= held < 64e6
    found.update()
    found.keep(0.4, 16)
    assert found.share == 0.75  # of the class that is not the likeliest, the better half


# --- which rows are kept


def test_rows_are_kept_where_the_label_is_likeliest_and_above_the_threshold():
    found = predicted([0, 0, 0, 1], surely(0.9, 0.8, 0.1, 0.05), classes=2)
    found.keep(0.8, least=0)
    assert found.kept.tolist() == [True, False, False, True]
    assert found.weights(np.arange(4)).tolist() == [2, 0, 0, 2]
    assert found.class_shares().tolist() == pytest.approx([1 / 3, 1])
    found.keep(0.0, least=0)  # as CoLA has it: the likeliest class decides alone
    assert found.kept.tolist() == [True, True, False, True]


def test_a_class_with_few_rows_kept_keeps_its_better_half():
    found = predicted([0, 0, 0, 1, 1, 1], surely(0.9, 0.95, 0.3, 0.6, 0.7, 0.65), classes=2)
    found.keep(0.8, least=2)
    assert found.kept.tolist() == [True, True, False, True, False, True]
    found.keep(0.8, least=3)  # the better half of class 0 is what it keeps already
    assert found.kept.tolist() == [True, True, False, True, False, True]


def test_if_nothing_is_kept_each_class_keeps_its_better_half():
    found = predicted([0, 0, 1, 1], surely(0.4, 0.3, 0.7, 0.8), classes=2)
    found.keep(0.8, least=0)
    assert found.kept.tolist() == [True, False, True, False]


def test_dropped_rows_return_and_unseen_ones_stay():
    found = predicted([0, 0, 0], [[0.9, 0.1], [0.1, 0.9], None], momentum=0.5, classes=2)
    found.keep(0.5, least=0)
    assert found.kept.tolist() == [True, False, True]
    found.add(np.array([1]), np.array([0]), np.array([[0.9, 0.1]], np.float32))
    found.update()
    found.keep(0.5, least=0)
    assert found.kept.tolist() == [True, True, True]


def test_a_row_of_tokens_is_kept_by_the_mean_probability_of_its_labels():
    labels = [[0, 0, -100], [1, -100, 1], [-100, 0, -100]]
    p = [surely(0.9, 0.8, 0.0), surely(0.5, 0.0, 0.1), surely(0.0, 0.84, 0.0)]
    found = predicted(labels, p, classes=2)
    assert averages(found)[:, 0] == pytest.approx([0.9, 0.8, 0.5, 0.1, 0.84], abs=1e-5)
    found.keep(0.8, least=0)
    assert found.kept.tolist() == [True, False, True]
    assert found.class_shares() is None
    batch = np.array([2, 0]), np.array([[-100, 0], [0, 0]])
    assert found.of(*batch)[[0, 1, 1], [1, 0, 1], 0] == pytest.approx([0.84, 0.9, 0.8], abs=1e-4)
    with pytest.raises(InputError, match="1 labelled tokens of a row that has 2"):
        found.of(np.array([0]), np.array([[0, -100]]))


def test_a_row_of_several_choices_is_kept_by_the_mean_probability_of_the_given_sides():
    found = predicted([[1.0, 0.0], [1.0, 0.0]], [[0.9, 0.2], [0.9, 0.4]], classes=2)
    found.keep(0.8, least=0)
    assert found.kept.tolist() == [True, False]
    assert found.of(np.array([1]), np.array([[1.0, 0.0]]))[0] == pytest.approx([0.9, 0.4], abs=1e-5)


# --- the loss


def logits_of(model, data) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(torch.tensor(data["input_ids"])).logits.double()


def test_presets_are_those_of_the_papers():
    assert EnsembleConfig.preset("supergen") == EnsembleConfig(
        momentum=0.8, weight=10, ramp=10, every=100, source="prediction", consistency="kl", keep_above=0.8
    )
    assert EnsembleConfig.preset("fewgen", ramp=3) == EnsembleConfig(
        momentum=0.9, weight=20, ramp=3, every=200, keep_above=0.8, update_first=True
    )
    ours = EnsembleConfig.preset("agreement")
    assert ours == EnsembleConfig(momentum=0.6, weight=1, ramp=0, every=None, source="prediction", keep_above=0)
    assert ours == EnsembleConfig()
    laine = EnsembleConfig.preset("laine_aila")
    assert (laine.momentum, laine.weight, laine.ramp, laine.every) == (0.6, 30, 80, None)
    assert (laine.source, laine.consistency, laine.keep_above) == ("training", "mse", None)


def test_ramp_is_the_table_of_supergen(make):
    trainer, weights = make(data_of(LABELS["one"]), EnsembleConfig.preset("supergen")), []
    for updates in range(12):
        trainer.predictions.updates = updates
        weights.append(trainer.consistency_weight())
    table = [0, 0.174, 0.408, 0.863, 1.653, 2.865, 4.493, 6.376, 8.187, 9.512, 10, 10]
    assert weights == pytest.approx(table, abs=5e-4)


@pytest.mark.parametrize(
    ("preset", "steps", "every", "said"),
    [
        ("supergen", 100, 100, r"updates its averages 0 times in 100 .* this was training without an ensemble"),
        ("supergen", 1000, 100, r"9 times in 1000 .* reaches 9.51 of its weight 10 \(`ramp: 10`\)"),
        ("supergen", 1001, 100, None),
        ("fewgen", 12, 200, None),  # its first update comes before the first step
        ("laine_aila", 30, 10, r"2 times in 30 .* reaches 0.259 of its weight 30 \(`ramp: 80`\)"),
        ("agreement", 4, 4, "0 times in 4"),
        ("agreement", 12, 4, None),
    ],
)
def test_what_a_training_is_too_short_for_is_said(make, preset, steps, every, said):
    found = make(data_of(LABELS["one"]), EnsembleConfig.preset(preset)).shortfall(steps, every)
    assert found is None if said is None else re.search(said, found)


def test_a_training_that_was_too_short_says_so(make, caplog):
    long, short = (make(data_of(LABELS["one"]), max_steps=steps) for steps in (3, 1))
    long.train()
    assert not long.notes
    short.train()
    assert caplog.messages.count(short.notes[0]) == 1
    assert "training without an ensemble" in short.notes[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradient_is_that_of_a_soft_target(make, dtype):
    """(p - q) + w (p - z) = (1 + w) (p - (q + w z) / (1 + w)), with q the smoothed label and z the average."""
    data = data_of(LABELS["one"])
    trainer = make(data, EnsembleConfig(ramp=0, weight=4, keep_above=None), label_smoothing_factor=0.15)
    trainer.update()
    z = torch.from_numpy(averages(trainer.predictions)).roll(1, 0)
    trainer.predictions.averages[:] = np.roll(trainer.predictions.averages, 1, 0)
    batch = {name: torch.tensor(data[name]) for name in ("input_ids", "labels", "index")}
    trainer.model.train()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        loss, outputs = trainer.compute_loss(trainer.model, batch, return_outputs=True)
    assert loss.dtype == torch.float32
    gradient = torch.autograd.grad(loss, outputs["logits"])[0] * len(data)
    p = outputs["logits"].detach().double().softmax(-1)
    q = 0.85 * torch.nn.functional.one_hot(batch["labels"], 3) + 0.05
    expected = 5 * (p - (q + 4 * z) / 5)
    assert (gradient - expected).abs().max() < 1e-4


@pytest.mark.parametrize("by", ["kl", "mse"])
@pytest.mark.parametrize("head", ["one", "tokens", "set"])
def test_distance_of_each_head(head, by):
    labels = torch.tensor(LABELS[head])
    shape = (6, 7, 3) if head == "tokens" else (6, 3)
    draw = torch.Generator().manual_seed(0)
    logits, other = torch.randn(2, *shape, generator=draw)
    p, z = (logits.sigmoid(), other.sigmoid()) if head == "set" else (logits.softmax(-1), other.softmax(-1))
    if by == "mse":
        values = (p - z) ** 2 if head == "set" else ((p - z) ** 2).mean(-1)
    else:
        values = z * (z / p).log()
        values = values + (1 - z) * ((1 - z) / (1 - p)).log() if head == "set" else values.sum(-1)
    if head == "tokens":
        values = torch.stack([values[row, : row + 1].mean() for row in range(6)])
    expected = values.mean(-1) if head == "set" else values
    assert distance(logits, z, labels, by).tolist() == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.parametrize("source", ["prediction", "training"])
@pytest.mark.parametrize("head", LABELS)
def test_training_on_each_head(make, head, source):
    """Without momentum the average is the last prediction: after a step, or in its training pass."""
    data, labels = data_of(LABELS[head]), torch.tensor(LABELS[head])
    settings = {"learning_rate": 0.05, "lr_scheduler_type": "constant", "optim": "sgd"}
    ensemble = EnsembleConfig(momentum=0.0, every=1, ramp=0, weight=7, source=source, keep_above=None)
    kind = BertForTokenClassification if head == "tokens" else BertForSequenceClassification
    logits = [logits_of(bert(kind), data)]
    for steps in (1, 2):
        trainer = make(data, ensemble, bert(kind), max_steps=steps, **settings)
        trainer.train()
        logits.append(logits_of(trainer.model, data))
    losses = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    p = [each.sigmoid() if head == "set" else each.softmax(-1) for each in logits]
    seen = p[2 if source == "prediction" else 1]
    expected = seen[labels != -100] if head == "tokens" else seen
    assert averages(trainer.predictions) == pytest.approx(expected.numpy(), abs=2e-5)
    before = p[1 if source == "prediction" else 0].float()
    second = example_loss()(logits[1], labels) + 7 * distance(logits[1], before, labels, "kl")
    assert losses == pytest.approx([example_loss()(logits[0], labels).mean().item(), second.mean().item()], abs=1e-4)


def test_loss_of_a_step_is_that_of_kept_rows_and_their_distance(make):
    data = data_of(LABELS["one"], weight=[2.0, 0.5, 0.5, 1.0, 1.0, 1.0])
    trainer = make(data, EnsembleConfig(ramp=0, weight=3, consistency="mse", keep_above=0.5, least_kept=0))
    sure = np.full((6, 3), 0.1, np.float32)
    sure[np.arange(6), [0, 1, 2, 1, 2, 0]] = 0.8  # three labels are contradicted
    trainer.predictions.add(np.arange(6), np.array(LABELS["one"]), sure)
    trainer.predictions.update()
    trainer.predictions.keep(0.5, 0)
    log_p = logits_of(trainer.model, data).log_softmax(-1)
    batch = {name: torch.tensor(data[name]) for name in data.column_names}
    loss = trainer.compute_loss(trainer.model.train(), batch).item()
    far = ((log_p.exp() - torch.from_numpy(sure)) ** 2).mean(-1)
    rows = [2 * (-weight * log_p[row, row] + 3 * far[row]) for row, weight in enumerate([2.0, 0.5, 0.5])]
    assert loss == pytest.approx(sum(rows).item() / 6, abs=2e-5)


# --- updates


def test_prediction_pass_is_without_dropout_and_moves_no_random_state(make):
    data = data_of(LABELS["one"])
    ragged = [ids[: 7 - label] for ids, label in zip(data["input_ids"], data["labels"], strict=True)]
    data = data.remove_columns("input_ids").add_column("input_ids", ragged)
    data = data.select([5, 3, 1, 0, 2, 4])  # an order of its own beside the stored one
    trainer = make(data, model=bert(dropout=0.5), per_device_eval_batch_size=2, bf16=False)
    trainer.model.train()
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    trainer.update()
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert all(part.training for part in trainer.model.modules())
    trainer.model.eval()
    with torch.no_grad():
        p = [trainer.model(torch.tensor([ids])).logits[0].softmax(-1).tolist() for ids in data["input_ids"]]
    assert averages(trainer.predictions) == pytest.approx(np.array(p), abs=2e-5)


def test_training_passes_are_averaged_as_they_were_made(make):
    data = data_of(LABELS["one"])
    trainer = make(data, EnsembleConfig(every=None, source="training", keep_above=None), num_train_epochs=1)
    p = logits_of(trainer.model, data).softmax(-1).numpy()
    trainer.train()
    assert averages(trainer.predictions) == pytest.approx(p, abs=2e-5)
    assert trainer.predictions.updates == 1


def test_first_update_may_come_before_the_first_step(make):
    data = data_of(LABELS["one"])
    ensemble = EnsembleConfig.preset("fewgen", keep_above=None, every=50)
    trainer = make(data, ensemble, max_steps=1, learning_rate=0.01)
    p = logits_of(trainer.model, data).softmax(-1).numpy()
    trainer.train()
    assert averages(trainer.predictions) == pytest.approx(p, abs=2e-5)
    assert next(log["ensemble/weight"] for log in trainer.state.log_history if "loss" in log) == 20


@pytest.mark.parametrize(("accumulate", "updates"), [(1, 3), (2, 3)])
def test_an_epoch_is_counted_in_steps_and_its_checkpoint_holds_the_update(make, tmp_path, accumulate, updates):
    """6 rows in batches of 2: 3 steps an epoch, or 2 with accumulation."""
    ensemble = EnsembleConfig(every=None, source="training", keep_above=None)
    steps = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": accumulate, "num_train_epochs": 3}
    trainer = make(data_of(LABELS["one"]), ensemble, save_strategy="epoch", **steps)
    trainer.train()
    assert trainer.predictions.updates == updates
    first = min(tmp_path.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    state = torch.load(first / "side_state.pt", weights_only=True)
    assert (state["updates"], state["counts"].tolist(), "sums" in state) == (1, [1] * 6, False)


def test_training_again_begins_anew(make):
    ensemble = EnsembleConfig(weight=10, ramp=10, every=1, source="training", keep_above=0.9)
    trainer = make(data_of(LABELS["one"]), ensemble, max_steps=2)
    trainer.train()
    trainer.train()
    assert trainer.predictions.updates == 2
    assert next(log["ensemble/weight"] for log in trainer.state.log_history if "loss" in log) == pytest.approx(
        0.1738, abs=1e-3
    )


def test_rows_kept_have_better_labels(make):
    """The first token tells the class; a fifth of the labels is wrong."""
    draw = np.random.default_rng(1)
    ids = draw.integers(10, 50, (160, 6))
    ids[:, 0] = draw.integers(1, 3, 160)
    true = ids[:, 0] - 1
    wrong = draw.permutation(160) < 32
    data = Dataset.from_dict({"input_ids": ids, "labels": np.where(wrong, 1 - true, true), "index": range(160)})
    arguments = {"per_device_train_batch_size": 20, "num_train_epochs": 5, "learning_rate": 3e-3, "logging_steps": 8}
    ensemble = EnsembleConfig(every=8, ramp=3, keep_above=0.6)
    trainer = make(data, ensemble, bert(classes=2), label_smoothing_factor=0.15, **arguments)
    trainer.model.config.id2label = {0: "no", 1: "yes"}
    trainer.train()
    kept = trainer.predictions.kept
    assert 0.6 < kept.mean() < 0.95
    assert wrong[kept].mean() < 0.05 < wrong.mean() == 0.2
    log = [log for log in trainer.state.log_history if "loss" in log][-1]
    assert log["ensemble/kept"] == pytest.approx(kept.mean())
    labels = np.array(data["labels"])
    assert log["ensemble/kept_no"] == pytest.approx(kept[labels == 0].mean())
    assert log["ensemble/kept_yes"] == pytest.approx(kept[labels == 1].mean())


# --- refusals


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(
        InputError, match="`preset` must be one of laine_aila, supergen, fewgen, agreement; got 'supergn'. Did you"
    ):
        EnsembleConfig.preset("supergn")
    with pytest.raises(InputError, match="momentum"):
        EnsembleConfig.preset("fewgen", momentum=1.0)
    with pytest.raises(InputError, match="`update_first` needs `source: prediction`"):
        EnsembleConfig.preset("laine_aila", update_first=True)
    with pytest.raises(InputError, match="a key"):
        EnsembleConfig.preset("supergen", gamma=0.5)
    assert list(PRESETS) == ["laine_aila", "supergen", "fewgen", "agreement"]


def test_a_filter_that_no_row_can_pass_is_refused(make):
    data, ensemble = data_of(LABELS["one"]), EnsembleConfig(keep_above=0.9)
    with pytest.raises(InputError, match="`keep_above` 0.9 can never be reached: .* 0.15 and 3 classes .* 0.900"):
        make(data, ensemble, label_smoothing_factor=0.15)
    make(data, ensemble, label_smoothing_factor=0.14)


@pytest.mark.parametrize("settings", [{"num_labels": 1}, {"num_labels": 3, "problem_type": "regression"}])
def test_regression_is_refused(make, settings):
    model = bert(classes=settings["num_labels"])
    model.config.problem_type = settings.get("problem_type")
    with pytest.raises(InputError, match="no regression"):
        make(data_of([0] * 6), model=model)


def test_rows_without_index_are_refused(make):
    with pytest.raises(InputError, match="`train_dataset` needs a column `index`"):
        make(data_of(LABELS["one"]).remove_columns("index"))


def test_predictions_that_are_not_numbers_are_refused(make):
    trainer = make(data_of(LABELS["one"]))
    trainer.model.classifier.bias.data[0] = float("nan")
    with pytest.raises(InputError, match="not numbers; lower `learning_rate`"):
        trainer.update()


def test_a_checkpoint_of_other_settings_is_refused(make, tmp_path):
    data = data_of(LABELS["one"])
    make(data, EnsembleConfig(every=1), max_steps=1, save_strategy="steps", save_steps=1).train()
    other = make(data, EnsembleConfig(every=1, momentum=0.3, weight=2), max_steps=2)
    with pytest.raises(InputError, match="was trained with `momentum: 0.6`; got 0.3"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))


def test_a_checkpoint_of_other_rows_is_refused(make, tmp_path):
    ensemble = EnsembleConfig(every=1)
    make(data_of(LABELS["one"]), ensemble, max_steps=1, save_strategy="steps", save_steps=1).train()
    other = make(data_of([1, 1, 2, 0, 1, 2]), ensemble, max_steps=2)
    with pytest.raises(InputError, match="other rows or labels"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
