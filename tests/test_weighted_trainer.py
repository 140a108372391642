import pytest
import torch
from datasets import Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from hf_synth.errors import InputError
from hf_synth.trainers.phases import Phase, PhasedTrainer
from hf_synth.trainers.weighted import WeightedTrainer

pytestmark = pytest.mark.usefixtures("one_thread")

WEIGHT = [2.0, 0.0, 1.5, 0.5, 1.0, 1.0]


def rows(**columns) -> Dataset:
    draw = torch.Generator().manual_seed(3)
    ids = torch.randint(1, 50, (6, 7), generator=draw).tolist()
    return Dataset.from_dict({"input_ids": ids, "labels": [0, 1, 2, 0, 1, 2]} | columns)


def bert(head=BertForSequenceClassification):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return head(BertConfig(vocab_size=50, num_labels=3, initializer_range=0.3, **sizes, **no_dropout))


@pytest.fixture
def make(tmp_path):
    def trainer(data, kind=WeightedTrainer, model=None, **arguments):
        settings = {"save_strategy": "no", "logging_steps": 1, "use_cpu": True, "disable_tqdm": True} | arguments
        args = TrainingArguments(str(tmp_path), **{"per_device_train_batch_size": 6, **settings})
        return kind(model or bert(), args, train_dataset=data, eval_dataset=data)

    return trainer


def log_probabilities(trainer, data) -> list[list[float]]:
    trainer.model.eval()
    with torch.no_grad():
        return trainer.model(torch.tensor(data["input_ids"])).logits.double().log_softmax(-1).tolist()


def first_loss(trainer) -> float:
    trainer.args.max_steps = 1
    trainer.train()
    return next(log["loss"] for log in trainer.state.log_history if "loss" in log)


@pytest.mark.parametrize(("label", "said"), [(-1, "-1 to 2"), (3, "0 to 3")])
def test_labels_that_are_no_class_are_refused_before_training(make, label, said):
    for head, labels in (
        (BertForSequenceClassification, [0, 1, 2, 0, 1, label]),
        (BertForTokenClassification, [[-100, 0, 1, 2, 0, 1, label]] * 6),
    ):
        with pytest.raises(InputError, match=f"`train_dataset` must lie between 0 and 2; they go from {said}"):
            make(rows(labels=labels), model=bert(head))
    make(rows(labels=[0, 1, 2, 0, 1, -100]))  # a row without a label is not counted


def test_loss_is_the_weighted_sum_over_the_number_of_examples(make):
    data = rows(weight=[weight * 3 for weight in WEIGHT])
    trainer = make(data)
    log_p = log_probabilities(trainer, data)
    expected = sum(-3 * w * p[y] for w, p, y in zip(WEIGHT, log_p, data["labels"], strict=True)) / 6
    assert first_loss(trainer) == pytest.approx(expected, abs=1e-6)


def test_one_step_is_learnt_from(make):
    """A warm-up of a tenth, rounded up, is all of it, at rate 0."""
    trainer = make(rows(), num_train_epochs=1, warmup_steps=0.1)
    before = [value.clone() for value in trainer.model.parameters()]
    trainer.train()
    assert trainer.state.global_step == 1
    assert any(not torch.equal(old, new) for old, new in zip(before, trainer.model.parameters(), strict=True))


def test_a_first_epoch_of_one_step_is_learnt_from(make):
    """It would be kept as the best where no later one scores higher."""
    trainer = make(rows(), num_train_epochs=3, warmup_steps=0.1, learning_rate=0.5)
    short = trainer.create_scheduler(3, torch.optim.SGD(trainer.model.parameters(), lr=0.5)).get_last_lr()
    trainer = make(rows(), num_train_epochs=3, warmup_steps=0.1, learning_rate=0.5, per_device_train_batch_size=3)
    longer = trainer.create_scheduler(6, torch.optim.SGD(trainer.model.parameters(), lr=0.5)).get_last_lr()
    assert (short, longer, trainer.args.warmup_steps) == ([0.5], [0], 0.1)


def test_a_phase_of_one_step_is_learnt_from(make):
    """Such as a visit to a few real rows: its schedule begins anew, and with it the warm-up."""

    class Visits(PhasedTrainer):
        def phases(self, steps):
            return [Phase("generated", 2), Phase("real", 1)]

    settings = {"max_steps": 3, "warmup_steps": 0.1, "learning_rate": 0.5, "per_device_train_batch_size": 3}
    trainer = make(rows(), kind=Visits, **settings)
    schedule, rates = trainer.create_scheduler(3, torch.optim.SGD(trainer.model.parameters(), lr=0.5)), []
    for _ in range(3):
        rates += schedule.get_last_lr()
        schedule.optimizer.step()
        schedule.step()
    assert rates == [0, 0.5, 0.5]


def test_label_smoothing_is_inside_the_weighted_loss(make):
    data = rows(weight=WEIGHT)
    trainer = make(data, label_smoothing_factor=0.3)
    log_p = log_probabilities(trainer, data)
    smooth = [-0.7 * p[y] - 0.3 * sum(p) / 3 for p, y in zip(log_p, data["labels"], strict=True)]
    expected = sum(w * loss for w, loss in zip(WEIGHT, smooth, strict=True)) / 6
    assert first_loss(trainer) == pytest.approx(expected, abs=1e-6)


def test_without_weights_it_is_stock_trainer_and_every_parameter_moves(make):
    ours, stock = make(rows(), max_steps=4), make(rows(), kind=Trainer, max_steps=4)
    before = {name: parameter.clone() for name, parameter in ours.model.named_parameters()}
    ours.train()
    stock.train()
    steps = [[log["loss"] for log in trainer.state.log_history if "loss" in log] for trainer in (ours, stock)]
    assert len(steps[0]) == 4
    assert steps[0] == pytest.approx(steps[1], abs=1e-5)
    # A key bias shifts all scores of a query alike, so its gradient is rounding only.
    moved = {name for name, parameter in ours.model.named_parameters() if not torch.equal(before[name], parameter)}
    assert {name for name in before if not name.endswith("key.bias")} <= moved


def test_evaluation_is_plain_cross_entropy(make):
    class Loud(WeightedTrainer):
        def regularizer(self, logits, labels, columns):
            return torch.full_like(labels, 100.0, dtype=logits.dtype)

    data = rows(weight=WEIGHT)
    trainer = make(data, kind=Loud, label_smoothing_factor=0.3, per_device_eval_batch_size=4)
    log_p = log_probabilities(trainer, data)
    expected = -sum(p[y] for p, y in zip(log_p, data["labels"], strict=True)) / 6
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, abs=1e-6)
    assert trainer.predict(data).predictions.shape == (6, 3)


def test_hooks_see_the_columns_and_add_up(make):
    seen = {}

    class Ruled(WeightedTrainer):
        def example_weights(self, columns):
            seen.update(columns)
            return torch.where(columns["synthetic"], 0.5, 2.0)

        def regularizer(self, logits, labels, columns):
            return columns["index"].float()

    data = rows(index=list(range(6)), synthetic=[True, True, True, False, False, False], other=[9] * 6)
    trainer = make(data, kind=Ruled)
    log_p = log_probabilities(trainer, data)
    losses = [-p[y] for p, y in zip(log_p, data["labels"], strict=True)]
    expected = (0.5 * sum(losses[:3]) + 2.0 * sum(losses[3:]) + sum(range(6))) / 6
    assert first_loss(trainer) == pytest.approx(expected, abs=1e-6)
    assert set(seen) == {"index", "synthetic"}


def test_ignored_rows_are_neither_summed_nor_counted(make):
    class Loud(WeightedTrainer):
        def regularizer(self, logits, labels, columns):
            return torch.where(labels == -100, 100.0, 0.0)

    data = rows(weight=WEIGHT).remove_columns("labels").add_column("labels", [0, -100, 2, -100, 1, 2])
    trainer = make(data, kind=Loud)
    log_p = log_probabilities(trainer, data)
    expected = -(2.0 * log_p[0][0] + 1.5 * log_p[2][2] + log_p[4][1] + log_p[5][2]) / 4
    assert first_loss(trainer) == pytest.approx(expected, abs=1e-6)


def test_token_classification(make):
    labels = [[row % 3] * (row + 1) + [-100] * (6 - row) for row in range(6)]
    data = rows().remove_columns("labels").add_column("labels", labels).add_column("weight", WEIGHT)
    trainer = make(data, model=bert(BertForTokenClassification))
    log_p = log_probabilities(trainer, data)
    means = [-sum(log_p[row][t][row % 3] for t in range(row + 1)) / (row + 1) for row in range(6)]
    expected = sum(weight * mean for weight, mean in zip(WEIGHT, means, strict=True)) / 6
    assert first_loss(trainer) == pytest.approx(expected, abs=1e-6)


def test_inputs_are_left_alone_and_logits_come_back(make):
    trainer = make(rows(weight=WEIGHT))
    inputs = {name: torch.tensor(rows(weight=WEIGHT)[name]) for name in ("input_ids", "labels", "weight")}
    names = set(inputs)
    trainer.model.train()
    loss, outputs = trainer.compute_loss(trainer.model, inputs, return_outputs=True)
    assert set(inputs) == names
    assert set(outputs) == {"logits"}
    assert loss.requires_grad
    assert trainer.compute_loss(trainer.model, inputs, num_items_in_batch=6).item() == pytest.approx(loss.item())


class Counting(WeightedTrainer):
    """Weights each example by how often it was seen, which only a checkpoint can know."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen = torch.zeros(6)

    def example_weights(self, columns):
        self.seen[columns["index"]] += 1
        return self.seen[columns["index"]]

    def side_state(self):
        return {"seen": self.seen}

    def load_side_state(self, state):
        self.seen = state["seen"]


class StopAfter(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step == 2


def test_side_state_is_in_the_checkpoint(make, tmp_path):
    data = rows(index=list(range(6)))
    whole = make(data, kind=Counting, num_train_epochs=4)
    whole.train()
    interrupted = make(data, kind=Counting, num_train_epochs=4, save_strategy="steps", save_steps=2)
    interrupted.add_callback(StopAfter())
    interrupted.train()
    resumed = make(data, kind=Counting, num_train_epochs=4)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    losses = [[log["loss"] for log in run.state.log_history if "loss" in log] for run in (whole, resumed)]
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    assert resumed.seen.tolist() == [4.0] * 6


def test_checkpoint_without_its_side_state_is_refused(make, tmp_path):
    data = rows(index=list(range(6)))
    make(data, kind=WeightedTrainer, max_steps=2, save_strategy="steps", save_steps=2).train()
    assert not (tmp_path / "checkpoint-2" / "side_state.pt").exists()
    with pytest.raises(InputError, match="side_state.pt"):
        make(data, kind=Counting, max_steps=4).train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))


def test_sets_of_labels(make):
    labels = [[float(row % 2), 1.0, 0.0] for row in range(6)]
    data = rows().remove_columns("labels").add_column("labels", labels).add_column("weight", WEIGHT)
    trainer = make(data)
    with torch.no_grad():
        p = trainer.model.eval()(torch.tensor(data["input_ids"])).logits.sigmoid()
    y = torch.tensor(labels)
    means = -(y * p.log() + (1 - y) * (1 - p).log()).mean(-1)
    assert first_loss(trainer) == pytest.approx((torch.tensor(WEIGHT) * means).sum().item() / 6, abs=1e-6)


def test_a_loss_that_is_not_a_number_ends_training(make):
    class Odd(WeightedTrainer):
        def example_weights(self, columns):
            return torch.full((6,), float("nan"))

    trainer = make(rows(), kind=Odd)
    with pytest.raises(InputError, match="the loss became nan after 0 steps"):
        trainer.train()


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        ([1.0, 1.0, -3.0, 1.0, 1.0, 1.0], "`weight` must be a number, 0 or more; row 2 has -3.0"),
        ([1.0, float("nan"), 1.0, 1.0, 1.0, 1.0], "row 1 has nan"),
        ([float("inf")] * 6, "row 0 has inf"),
        ([0.0] * 6, "`weight` is 0 in all 6 rows"),
        (["1"] * 6, "`weight` must be a number in each row; got '1'"),
    ],
)
def test_weights_by_which_rows_would_be_unlearnt_are_refused(make, weight, said):
    with pytest.raises(InputError, match=said):
        make(rows(weight=weight))


def test_a_loss_function_that_would_not_be_called_is_refused(tmp_path):
    args = TrainingArguments(str(tmp_path), use_cpu=True)
    with pytest.raises(InputError, match="`compute_loss_func` would not be called"):
        WeightedTrainer(bert(), args, compute_loss_func=lambda *given, **named: None)


@pytest.mark.parametrize("named", [False, True])
def test_labels_to_evaluate_on_that_are_no_class_are_refused(tmp_path, named):
    wrong = rows(labels=[0, 1, 2, 0, 1, 3])
    judged = {"first": rows(), "second": wrong} if named else wrong
    name = "second" if named else "eval_dataset"
    with pytest.raises(InputError, match=f"labels of `{name}` must lie between 0 and 2"):
        WeightedTrainer(bert(), TrainingArguments(str(tmp_path), use_cpu=True), eval_dataset=judged)


@pytest.mark.parametrize("labels", [[[0.0, 1.0]] * 6, [0.5] * 6])
def test_labels_that_are_no_class_indices_are_refused(make, labels):
    data = rows().remove_columns("labels").add_column("labels", labels)
    with pytest.raises(InputError, match="`labels` must be one class index"):
        make(data, max_steps=1).train()


@pytest.mark.parametrize(
    ("arguments", "data", "named"),
    [
        ({"accelerator_config": {"even_batches": False}}, rows(), "even_batches"),
        ({"train_sampling_strategy": "batch_rebalance"}, rows(), "batch_rebalance"),
        ({"max_steps": 1}, rows().to_iterable_dataset(), "length"),
    ],
)
def test_what_several_ranks_cannot_do_is_refused(make, monkeypatch, arguments, data, named):
    make(data, **arguments)
    monkeypatch.setattr(TrainingArguments, "world_size", property(lambda self: 2))
    with pytest.raises(InputError, match=named):
        make(data, **arguments)
