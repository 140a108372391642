import re
from collections import Counter
from contextlib import nullcontext

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    EarlyStoppingCallback,
    TrainingArguments,
)

from hf_synth.config import checked
from hf_synth.errors import InputError
from hf_synth.students.bilstm import BiLSTMConfig, BiLSTMForSequenceClassification
from hf_synth.trainers.annealing import AnnealingConfig, AnnealingTrainer, Round, parameter_sets

pytestmark = pytest.mark.usefixtures("one_thread")

SYNTHETIC, REAL = 20, 10
REAL_LABELS = [0] * 6 + [1] * 3 + [2]
HEAD = {"classifier.weight", "classifier.bias"}


def rows(**columns) -> Dataset:
    """20 synthetic rows, then 10 real ones of unequal classes."""
    draw = torch.Generator().manual_seed(3)
    number = SYNTHETIC + REAL
    columns = {
        "input_ids": torch.randint(1, 50, (number, 5), generator=draw).tolist(),
        "labels": [at % 3 for at in range(SYNTHETIC)] + REAL_LABELS,
        "synthetic": [True] * SYNTHETIC + [False] * REAL,
        "index": list(range(number)),
    } | columns
    return Dataset.from_dict({name: values for name, values in columns.items() if values is not None})


def classifier(kind="bert", layers=3):
    torch.manual_seed(0)
    if kind == "bilstm":
        config = BiLSTMConfig(vocab_size=50, hidden_size=8, embedding_size=8, num_layers=layers, num_labels=3)
        return BiLSTMForSequenceClassification(config)
    sizes = {"hidden_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 16}
    if kind == "distilbert":
        sizes = {"dim": 16, "n_layers": layers, "n_heads": 2, "hidden_dim": 16}
    config = AutoConfig.for_model(kind, vocab_size=50, num_labels=3, pad_token_id=0, **sizes)
    return AutoModelForSequenceClassification.from_config(config)


class Watched(AnnealingTrainer):
    """Writes down what each optimizer step saw and which parameters it moved."""

    def training_step(self, model, inputs, num_items_in_batch=None):
        if not hasattr(self, "seen") or len(self.seen) == self.state.global_step:
            self.seen = [*getattr(self, "seen", []), []]
            self.free = [*getattr(self, "free", []), {n for n, p in model.named_parameters() if p.requires_grad}]
            self.rates = [*getattr(self, "rates", []), self.optimizer.param_groups[0]["lr"]]
            self.states = [*getattr(self, "states", []), len(self.optimizer.state)]
            self.values = [*getattr(self, "values", []), {n: p.detach().clone() for n, p in model.named_parameters()}]
        self.seen[-1] += inputs["index"].tolist()
        return super().training_step(model, inputs, num_items_in_batch)


@pytest.fixture
def make(tmp_path):
    def trainer(config=None, data=None, model=None, **arguments):
        trainer_arguments = {name: arguments.pop(name) for name in ("optimizers", "callbacks") if name in arguments}
        settings = {"save_strategy": "no", "use_cpu": True, "disable_tqdm": True, "learning_rate": 1e-3} | arguments
        args = TrainingArguments(
            str(tmp_path), **{"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, **settings}
        )
        data = rows() if data is None else data
        model = model or classifier()
        config = config if isinstance(config, AnnealingConfig) else AnnealingConfig(**config or {})
        return Watched(model, args, train_dataset=data, eval_dataset=rows(), config=config, **trainer_arguments)

    return trainer


def synthetic_in(trainer) -> list[int]:
    return [sum(row < SYNTHETIC for row in step) for step in trainer.seen]


def test_published_rounds(make):
    """Three sets of parameters, each within the one before; synthetic, then real rows; every visit starts anew."""
    trainer = make(num_train_epochs=2)
    everything = {name for name, _ in trainer.model.named_parameters()}
    upper = {name for name in everything if re.match(r"bert\.encoder\.layer\.2\.|bert\.pooler|classifier", name)}
    trainer.train()
    # ceil(2 epochs x rows / 8): 20 synthetic, 10 real, 3 classes x the 6 rows of the largest
    expected = [(everything, 5, 8), (everything, 3, 0), (upper, 5, 8), (upper, 3, 0), (HEAD, 5, 0)]
    assert trainer.free == [names for names, steps, _ in expected for _ in range(steps)]
    assert synthetic_in(trainer) == [synthetic for _, steps, synthetic in expected for _ in range(steps)]
    assert {len(step) for step in trainer.seen} == {8}
    starts = [0, 5, 8, 13, 16]
    assert [trainer.rates[at] for at in starts] == [1e-3] * 5
    assert all(trainer.rates[at] < 1e-3 for at in range(21) if at not in starts)
    assert [at for at, state in enumerate(trainer.states) if not state] == starts
    assert {name for name, parameter in trainer.model.named_parameters() if parameter.requires_grad} == everything


def test_frozen_parameters_stand_still_to_the_bit_and_the_others_move(make):
    trainer = make(num_train_epochs=1, weight_decay=0.5)
    trainer.train()
    values = [*trainer.values, dict(trainer.model.named_parameters())]
    for step, free in enumerate(trainer.free):
        moved = {name for name in values[step] if not torch.equal(values[step][name], values[step + 1][name])}
        assert moved <= free
        # A key bias has no gradient but rounding; words that the step does not hold have none at all.
        assert {name for name in free if "key.bias" not in name} <= moved
    assert len(trainer.free[0]) > len(trainer.free[-1]) == 2


def test_own_rounds(make):
    rounds = [
        {"trainable": ["layer", "pooler", "classifier"], "rows": "all", "epochs": 1},
        {"trainable": [r"layer\.1\.output", "classifier"], "rows": "real", "epochs": 2.5, "learning_rate": 5e-4},
        {"trainable": "head", "rows": "synthetic", "epochs": 0.1},
    ]
    trainer = make(checked(AnnealingConfig, {"rounds": rounds}, "x.yaml"))
    trainer.train()
    names = [name for name, _ in trainer.model.named_parameters()]
    first = {name for name in names if "embeddings" not in name}
    second = {name for name in names if "layer.1.output" in name or "classifier" in name}
    assert trainer.free == [first] * 4 + [second] * 4 + [HEAD]
    assert synthetic_in(trainer)[4:] == [0] * 4 + [8]
    assert [trainer.rates[at] for at in (0, 4, 8)] == [1e-3, 5e-4, 1e-3]
    assert sorted(sum(trainer.seen[:4], [])[:30]) == list(range(30))


UPPER = {
    "bert": (r"bert\.encoder\.layer\.2\.|bert\.pooler", r"classifier"),
    "distilbert": (r"distilbert\.transformer\.layer\.2\.", r"pre_classifier|classifier"),
    "roberta": (r"roberta\.encoder\.layer\.2\.", r"classifier"),
    "deberta-v2": (r"deberta\.encoder\.layer\.2\.", r"pooler|classifier"),
    "modernbert": (r"model\.layers\.2\.|model\.final_norm", r"head|classifier"),
    "bilstm": (r"layers\.2\.", r"classifier"),
}


@pytest.mark.parametrize("kind", UPPER)
def test_sets_of_each_student(kind):
    model = classifier(kind)
    names = [name for name, _ in model.named_parameters()]
    upper, head = UPPER[kind]
    sets = parameter_sets(model)
    assert sets["everything"] == set(names)
    assert sets["head"] == {name for name in names if re.match(head, name)} != set()
    assert sets["upper"] - sets["head"] == {name for name in names if re.match(upper, name)} != set()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks for what transformers renames
@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_sets_of_a_student_with_adapters(kind):
    """The head that PEFT trains beside its adapters is the head; an adapter belongs to the layer it stands in."""
    wrapped = get_peft_model(classifier(kind), LoraConfig("SEQ_CLS"))
    sets = parameter_sets(wrapped)
    assert sets["everything"] == {name for name, value in wrapped.named_parameters() if value.requires_grad}
    assert sets["head"] == {name for name in sets["everything"] if "modules_to_save" in name} != set()
    assert sets["upper"] - sets["head"] == {name for name in sets["everything"] if ".layer.2." in name} != set()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft asks for what transformers renames
def test_published_rounds_with_adapters(make):
    trainer = make(model=get_peft_model(classifier(), LoraConfig("SEQ_CLS")), num_train_epochs=0.1)
    trainer.train()
    assert len({frozenset(free) for free in trainer.free}) == 3
    assert all("modules_to_save" in name for name in trainer.free[-1])


@pytest.mark.parametrize(("layers", "upper"), [(1, {0}), (2, {1}), (4, {2, 3}), (6, {4, 5}), (12, {8, 9, 10, 11})])
def test_upper_third_of_the_layers(layers, upper):
    found = {re.search(r"layer\.(\d+)", name) for name in parameter_sets(classifier(layers=layers))["upper"]}
    assert {int(match[1]) for match in found if match} == upper


def test_what_the_user_froze_stays_frozen(make):
    model = classifier()
    model.bert.embeddings.requires_grad_(False)
    trainer = make(model=model, num_train_epochs=0.1)
    trainer.train()
    assert not any("embeddings" in name for free in trainer.free for name in free)
    assert not model.bert.embeddings.word_embeddings.weight.requires_grad
    assert model.bert.pooler.dense.weight.requires_grad


def test_classes_are_balanced_and_no_real_row_is_left_out(make):
    trainer = make({"rounds": (Round(rows="real", balanced=True),)}, num_train_epochs=4)
    trainer.train()
    drawn = sum(trainer.seen, [])
    assert len(drawn) == 72  # four epochs of 3 classes x 6 rows
    assert Counter(REAL_LABELS[row - SYNTHETIC] for row in drawn) == {0: 24, 1: 24, 2: 24}
    assert set(drawn[:18]) == set(range(SYNTHETIC, SYNTHETIC + REAL))
    assert max(Counter(drawn[:18]).values()) == 6  # the one row of class 2
    for step in trainer.seen:
        assert sorted(Counter(REAL_LABELS[row - SYNTHETIC] for row in step).values()) in ([2, 3, 3], [2, 2, 4])


def test_rows_with_several_labels_are_not_balanced_unless_asked(make):
    labels = [[0.0, 1.0, 1.0]] * (SYNTHETIC + REAL)
    trainer = make(data=rows(labels=labels), num_train_epochs=1)
    trainer.train()
    assert [len(set(sum(trainer.seen[at : at + 2], []))) for at in (3, 8, 10)] == [10, 10, 10]
    with pytest.raises(InputError, match="round 1: `balanced` needs rows of one class"):
        make({"rounds": (Round(balanced=True),)}, data=rows(labels=labels))


CURVES = {  # at the start, in the middle, at the end of 9 steps from 1 to 0
    "linear": (1, 0.5, 0),
    "cosine": (1, 0.5, 0),
    "step": (1, 1 / 3, 0),
    "exponential": (1, 0.0758582, 0),
}


@pytest.mark.parametrize("curve", CURVES)
def test_curves(curve):
    there, back = (AnnealingConfig(curve=curve, order=f"{one}") for one in ("synthetic_to_real", "real_to_synthetic"))
    values = [there.value(step, 9) for step in range(9)]
    assert [values[at] for at in (0, 4, 8)] == pytest.approx(CURVES[curve], abs=1e-6)
    assert values == sorted(values, reverse=True)
    assert [back.value(step, 9) for step in range(9)] == values[::-1]
    between = AnnealingConfig(curve=curve, start=0.8, end=0.2)
    assert [between.value(step, 9) for step in range(9)] == pytest.approx([0.2 + 0.6 * value for value in values])
    assert there.value(0, 1) == 1


def test_curves_differ_where_they_should():
    quarter = {curve: AnnealingConfig(curve=curve).value(2, 9) for curve in CURVES}
    assert quarter["cosine"] == pytest.approx(0.8535534)
    assert quarter["linear"] == 0.75
    stairs = [AnnealingConfig(curve="step", steps=3).value(step, 12) for step in range(12)]
    assert stairs == [1.0] * 4 + [0.5] * 4 + [0.0] * 4


@pytest.mark.parametrize("order", ["synthetic_to_real", "real_to_synthetic"])
def test_share(make, order):
    """30 rows, 3 epochs, batches of 8: 12 steps; 8 x (1 - step / 11) synthetic rows, 48 in all."""
    trainer = make({"kind": "share", "order": order}, num_train_epochs=3)
    trainer.train()
    counts = synthetic_in(trainer)
    expected = [8 * (1 - step / 11) for step in range(12)][:: 1 if order == "synthetic_to_real" else -1]
    assert sum(counts) == 48
    assert all(abs(sum(counts[: at + 1]) - sum(expected[: at + 1])) <= 0.5001 for at in range(12))
    assert [counts[0], counts[-1]] == [round(expected[0]), round(expected[-1])]
    assert {len(step) for step in trainer.seen} == {8}
    times = Counter(sum(trainer.seen, []))
    assert {times[row] for row in range(SYNTHETIC)} == {2, 3}  # 48 of 20: twice each, and eight of them again
    assert {times[row] for row in range(SYNTHETIC, SYNTHETIC + REAL)} == {4, 5}


@pytest.mark.parametrize("kind", ["share", "weight"])
def test_max_steps_is_the_length_of_the_curve(make, kind):
    trainer = make({"kind": kind, "curve": "step", "steps": 2}, max_steps=6)
    trainer.train()
    assert trainer.state.global_step == len(trainer.seen) == 6
    if kind == "share":
        assert synthetic_in(trainer) == [8] * 3 + [0] * 3


@pytest.mark.parametrize("column", [None, "weight"])
def test_weights_have_mean_1_at_any_time(make, column):
    given = torch.linspace(0.5, 1.5, SYNTHETIC + REAL)
    data = rows(weight=given.tolist()) if column else rows()
    trainer = make({"kind": "weight", "curve": "cosine", "start": 3.0, "end": 0.0}, data=data)
    columns = {name: torch.tensor(data[name][:]) for name in ("synthetic", *([column] if column else ()))}
    for step, value in ((0, 3.0), (5, 1.5), (10, 0.0)):
        trainer.state.global_step, trainer.state.max_steps = step, 11
        weights = trainer.example_weights(columns)
        assert weights.mean().item() == pytest.approx(1, abs=1e-6)
        counts = weights / given if column else weights
        assert (counts[0] / counts[-1]).item() == pytest.approx(value, abs=1e-6)
        assert len({round(count, 5) for count in counts.tolist()}) == 2


def test_weights_are_in_the_loss(make):
    """With the curve at 0, the loss of the last step is that of its real rows, 30 / 10 times."""
    trainer = make({"kind": "weight"}, max_steps=6, logging_steps=1, gradient_accumulation_steps=1, learning_rate=1e-9)
    trainer.model.eval()
    data = rows()
    with torch.no_grad():
        log_p = trainer.model(torch.tensor(data["input_ids"][:])).logits.log_softmax(-1)
    trainer.model.apply(lambda module: setattr(module, "p", 0.0) if isinstance(module, torch.nn.Dropout) else None)
    trainer.train()
    last = [log["loss"] for log in trainer.state.log_history if "loss" in log][-1]
    real = [-3 * log_p[row, data["labels"][row]].item() for row in trainer.seen[-1] if row >= SYNTHETIC]
    assert len(real) in range(1, 4)
    assert last == pytest.approx(sum(real) / 4, abs=1e-5)


@pytest.mark.parametrize(
    ("config", "ends"), [({}, [3, 5, 8, 10, 13]), ({"kind": "share"}, [4, 8, 10]), ({"kind": "weight"}, [4, 8, 10])]
)
def test_each_epoch_means_each_visit_or_pass(make, tmp_path, config, ends):
    """30 rows are through after 3.75 steps of 8; the run of 2.5 epochs ends at step 10."""
    each = dict.fromkeys(("eval_strategy", "save_strategy", "logging_strategy"), "epoch")
    epochs = 1 if not config else 2.5
    trainer = make(config, num_train_epochs=epochs, load_best_model_at_end=True, eval_delay=2, **each)
    trainer.train()
    logs = trainer.state.log_history
    assert [log["step"] for log in logs if "loss" in log] == ends
    assert [log["step"] for log in logs if "eval_loss" in log] == ends[1:]
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {f"checkpoint-{step}" for step in ends}
    best = min((log for log in logs if "eval_loss" in log), key=lambda log: log["eval_loss"])
    assert trainer.state.best_model_checkpoint.endswith(f"checkpoint-{best['step']}")
    assert trainer.evaluate()["eval_loss"] == pytest.approx(best["eval_loss"], abs=1e-6)


def test_early_stopping_evaluates_once_at_its_step(make):
    each = dict.fromkeys(("eval_strategy", "save_strategy"), "epoch")
    stop = EarlyStoppingCallback(early_stopping_patience=1, early_stopping_threshold=100.0)
    trainer = make(num_train_epochs=1, load_best_model_at_end=True, callbacks=[stop], **each)
    trainer.train()
    assert [log["step"] for log in trainer.state.log_history if "eval_loss" in log] == [3, 5]
    assert all(parameter.requires_grad for parameter in trainer.model.parameters())


def test_the_users_arguments_are_left_alone(make, tmp_path):
    args = TrainingArguments(str(tmp_path), use_cpu=True, max_steps=7, num_train_epochs=5)
    AnnealingTrainer(classifier(), args, train_dataset=rows(), config=AnnealingConfig(kind="share"))
    assert (args.max_steps, args.num_train_epochs) == (7, 5)


def test_order_is_a_function_of_the_seed(make):
    def order(**arguments):
        trainer = make({"kind": "share"}, max_steps=3, **arguments)
        trainer.train()
        return trainer.seen

    assert order() == order(per_device_train_batch_size=2, gradient_accumulation_steps=4)
    assert order(seed=1, data_seed=2) == order(seed=3, data_seed=2) != order(seed=1)


def shrunk_and_grown():
    return {"rounds": (Round("head"), Round("upper"))}


@pytest.mark.parametrize(
    ("config", "arguments", "sentence"),
    [
        ({}, {"data": rows(synthetic=None)}, "needs a length and a column `synthetic`.*'labels'"),
        ({}, {"data": rows().to_iterable_dataset()}, "needs a length and a column `synthetic`"),
        ({}, {"data": rows(synthetic=[True] * 30)}, "all 30 are synthetic"),
        ({"kind": "share"}, {"data": rows(synthetic=[False] * 30)}, "all 30 are real"),
        ({}, {"data": rows(synthetic=["yes"] * 20 + ["no"] * 10)}, "must be true or false"),
        (shrunk_and_grown(), {}, "round 2 trains 'bert.encoder.layer.2.*which round 1 does not"),
        ({"rounds": (Round(("encoder", "decoder")),)}, {}, "round 1: 'decoder' names no trainable parameter"),
        ({}, {"max_steps": 5}, "`max_steps`: set the `epochs` of each round instead; got 5"),
        ({}, {"train_sampling_strategy": "group_by_length"}, "must be 'random'; got 'group_by_length'"),
        ({"kind": "share"}, {"ignore_data_skip": True}, "`ignore_data_skip` must be false"),
    ],
)
def test_refusals(make, config, arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        make(config, **arguments)


def test_a_frozen_head_cannot_be_a_round(make):
    model = classifier()
    model.classifier.requires_grad_(False)
    with pytest.raises(InputError, match="round 5: 'head' names no trainable parameter"):
        make(model=model)


def test_a_schedule_of_ones_own_cannot_start_anew(make):
    model = classifier()
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    with pytest.raises(InputError, match="must hold no schedule"):
        make(model=model, optimizers=(optimizer, schedule)).train()
    make({"kind": "share"}, model=model, optimizers=(optimizer, schedule), max_steps=1).train()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"kind": "shares"}, "'rounds', 'share' or 'weight'; got 'shares'. Did you mean 'share'?"),
        ({"kind": "share", "start": 2}, "must lie between 0 and 1; got 2.0, 0.0"),
        ({"rounds": [{"trainable": "heads"}]}, "'everything', 'upper' or 'head'; got 'heads'"),
        ({"rounds": [{"trainable": ["("]}]}, r"'\(' is no regular expression"),
        ({"rounds": [{"rows": "fake"}]}, "'synthetic', 'real' or 'all'; got 'fake'"),
    ],
)
def test_settings_that_are_refused(values, sentence):
    with pytest.raises(InputError, match=sentence):
        checked(AnnealingConfig, values, "x.yaml")


@pytest.mark.parametrize("kind", ["rounds", "share", "weight"])
def test_only_rounds_are_refused_where_parameters_are_sharded(make, kind):
    trainer = make({"kind": kind})
    trainer.is_fsdp_enabled = True  # FSDP itself: invariant/test_trajectory.py
    if kind == "rounds":
        with pytest.raises(InputError, match="does not work under FSDP"):
            trainer._refuse_sharding("")
    else:
        trainer._refuse_sharding("")


@pytest.mark.parametrize(
    ("config", "arguments", "said"),
    [
        ({"kind": "weight"}, {}, "was trained with `kind: share`; got weight"),
        ({"kind": "share", "end": 0.2}, {}, "was trained with `end: 0.0`; got 0.2"),
        ({"kind": "share"}, {"num_train_epochs": 3}, r"passes that end at the steps \[4, 8\]; got \[4, 8, 12\]"),
        ({"kind": "share"}, {"seed": 7}, "visits other rows in turn"),
        ({"kind": "share"}, {}, None),
    ],
)
def test_a_checkpoint_of_another_plan_is_refused(make, tmp_path, config, arguments, said):
    saves = {"save_strategy": "steps", "save_steps": 3, "num_train_epochs": 2}
    make({"kind": "share"}, **saves).train()
    again = make(config, **saves | arguments)
    with pytest.raises(InputError, match=said) if said else nullcontext():
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
