"""Learnt weights: the gradient they follow, the rounds they are learnt in, and the flipped labels they find."""

import copy

import pytest
import torch
from datasets import Dataset
from torch.func import functional_call
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    TrainingArguments,
    default_data_collator,
)

from hf_synth.config import checked
from hf_synth.errors import InputError
from hf_synth.losses import example_loss
from hf_synth.students.bilstm import BiLSTMConfig, BiLSTMForSequenceClassification
from hf_synth.trainers.bilevel import BilevelConfig, BilevelTrainer
from hf_synth.trainers.lookahead import LookAhead
from hf_synth.trainers.weighted import WeightedTrainer
from hf_synth.trainers.weights import lowest_of_classes

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = 3
OWN = torch.linspace(0.2, 1.8, 24)  # a data set's column `weight`


def rows(number=24, flips=0.3, **columns) -> Dataset:
    """Rows of which half the words tell the class; some have another label, as the column `flipped` says."""
    draw = torch.Generator().manual_seed(0)
    true = torch.arange(number) % CLASSES
    cues = 1 + 3 * true[:, None] + torch.randint(0, 3, (number, 6), generator=draw)
    tells = torch.rand(number, 6, generator=draw) < 0.5
    tells[:, 0] = True
    words = torch.where(tells, cues, torch.randint(10, 50, (number, 6), generator=draw))
    flipped = torch.randperm(number, generator=draw) < round(flips * number)
    labels = (true + flipped * torch.randint(1, CLASSES, (number,), generator=draw)) % CLASSES
    columns = {
        "input_ids": words.tolist(),
        "labels": labels.tolist(),
        "index": [7 * at for at in range(number)],
        "flipped": flipped.tolist(),
    } | columns
    return Dataset.from_dict({name: values for name, values in columns.items() if values is not None})


def student(kind="bert", dropout=0.0, auto=AutoModelForSequenceClassification, **settings):
    torch.manual_seed(0)
    if kind == "bilstm":
        sizes = {"vocab_size": 50, "hidden_size": 16, "embedding_size": 16, "num_labels": CLASSES, "dropout": dropout}
        return BiLSTMForSequenceClassification(BiLSTMConfig(**sizes))
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    sizes |= {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout, "initializer_range": 0.1}
    config = AutoConfig.for_model(kind, vocab_size=50, num_labels=CLASSES, pad_token_id=0, **sizes, **settings)
    return auto.from_config(config, attn_implementation="eager")


class Watched(BilevelTrainer):
    """Writes down what each optimizer step starts from."""

    def training_step(self, model, inputs, num_items_in_batch=None):
        start = {
            "values": torch.cat([parameter.detach().flatten() for parameter in model.parameters()]),
            "rate": self.optimizer.param_groups[0]["lr"],
            "moments": len(self.optimizer.state),
            "outer_rows": self.outer.rows,
        }
        self.starts = [*getattr(self, "starts", []), start]
        return super().training_step(model, inputs, num_items_in_batch)


@pytest.fixture
def make(tmp_path):
    def trainer(config=None, data=None, model=None, kind=Watched, outer_dataset=None, model_init=None, **arguments):
        settings = {"save_strategy": "no", "use_cpu": True, "disable_tqdm": True, "learning_rate": 1e-2}
        settings |= {"per_device_train_batch_size": 8, "per_device_eval_batch_size": 10, "report_to": "none"}
        args = TrainingArguments(str(tmp_path), **settings | arguments)
        data = rows() if data is None else data
        config = BilevelConfig(**config or {})
        extra = {} if kind is WeightedTrainer else {"config": config, "outer_dataset": outer_dataset}
        return kind(
            model or (None if model_init else student()),
            args,
            default_data_collator,
            train_dataset=data,
            eval_dataset=rows(30, flips=0),
            model_init=model_init and (lambda: model_init()),
            **extra,
        )

    return trainer


def cosine(left, right):
    return torch.nn.functional.cosine_similarity(left.double(), right.double(), dim=0).item()


def through_pseudo_step(model, batch, outer, weights, scale, outer_loss, by_class, outer_kept=None):
    """Return the outer loss after `theta' = theta - scale * sum_i w_i grad CE_i(theta)`, without dropout."""
    model = copy.deepcopy(model).double().eval()
    named = dict(model.named_parameters())

    def losses(parameters, data, loss):
        return loss(functional_call(model, parameters, (data["input_ids"],)).logits, data["labels"])

    inner = (weights * losses(named, batch, example_loss())).sum()
    gradients = torch.autograd.grad(inner, list(named.values()), create_graph=True, allow_unused=True)
    ahead = {
        name: value if gradient is None else value - scale * gradient
        for (name, value), gradient in zip(named.items(), gradients, strict=True)
    }
    robust = losses(ahead, outer, example_loss(outer_loss)) * by_class[outer["labels"]]
    return (robust if outer_kept is None else robust[outer_kept]).mean()


def tensors(data, chosen=None):
    data = data if chosen is None else data.select(chosen)
    return {name: torch.tensor(data[name][:]) for name in ("input_ids", "labels")}


def class_weights(trainer):
    """Return what makes all labels of the outer rows count the same, however many rows have them."""
    if not trainer.config.balanced:
        return torch.ones(CLASSES, dtype=torch.double)
    labels = [trainer.outer.data["labels"][row] for row in trainer.outer.rows]
    return torch.tensor([len(labels) / CLASSES / labels.count(label) for label in range(CLASSES)]).double()


@pytest.mark.parametrize(
    ("outer_loss", "confident", "balanced"),
    [("rce", 1.0, True), ("rce", 1.0, False), ("ce", 1.0, True), ("gce", 0.6, True)],
)
def test_rounds_follow_the_gradient_through_a_pseudo_step(make, outer_loss, confident, balanced):
    config = {"outer_loss": outer_loss, "confident": confident, "balanced": balanced, "outer_rows": 15}
    trainer = make(config, rows(weight=OWN.tolist()))
    logit = torch.randn(24, generator=torch.Generator().manual_seed(2))
    trainer.rule.load_state_dict({"logit": logit})
    trainer.raw_weights = logit.sigmoid()
    trainer._step_weights()

    data, free = tensors(trainer.train_dataset), logit.double().requires_grad_()
    keep = torch.ones(24, dtype=torch.bool)
    if confident < 1:
        for label in range(CLASSES):
            of_class = (data["labels"] == label).nonzero().flatten()
            keep[of_class[logit[of_class].argsort()[: int(0.4 * (len(of_class) - 1)) + 1]]] = False
        assert 6 < keep.sum() < 20
    weights = free.sigmoid()
    chosen = torch.tensor(trainer.outer.rows)
    outer = {name: value[chosen] for name, value in data.items()}
    step = 1e-4 / weights.sum().detach()
    loss = through_pseudo_step(
        trainer.model, data, outer, weights * OWN, step, outer_loss, class_weights(trainer), keep[chosen]
    )
    (expected,) = torch.autograd.grad(loss, free)
    found = trainer.rule.logit.grad
    assert cosine(found, expected) > 0.99999
    assert found.square().mean().item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(trainer.rule.logit.detach(), logit - 0.2 * found)
    torch.testing.assert_close(trainer.raw_weights, (logit - 0.2 * found).sigmoid())


@pytest.mark.parametrize("derivative", ["forward", "difference"])
@pytest.mark.parametrize("inner", ["reused", "exact"])
def test_online_weights_follow_the_gradient_one_step_ahead(make, monkeypatch, inner, derivative):
    """At a learning rate at which a gradient taken where the student stands would not do."""
    rate, seen = 2.0, []
    step = LookAhead._step
    monkeypatch.setattr(LookAhead, "_step", lambda *args: (seen.append(args[1:3]), step(*args)))
    plain = {"optim": "sgd", "lr_scheduler_type": "constant", "max_grad_norm": 0, "max_steps": 1}
    config = {"mode": "online", "inner": inner, "derivative": derivative, "weight_lr": 0.2}
    trainer = make(config, rows(weight=OWN.tolist()), learning_rate=rate, gradient_accumulation_steps=2, **plain)
    start = copy.deepcopy(trainer.model)
    trainer.train()

    (at, derivatives), data = seen[0], trainer.train_dataset
    (look,) = [one for one in trainer.callback_handler.callbacks if isinstance(one, LookAhead)]
    batch, outer = tensors(data, at.tolist()), tensors(data, look.outer_rows(0))
    assert (len(at), len(outer["labels"])) == (16, 8)

    def gradient(speed):
        weights = torch.ones(16, dtype=torch.double, requires_grad=True)
        loss = through_pseudo_step(start, batch, outer, weights * OWN[at], speed / 16, "rce", class_weights(trainer))
        return torch.autograd.grad(loss, weights)[0]

    close = 0.99999 if derivative == "forward" else 0.9999
    assert cosine(-derivatives, gradient(rate)) > close
    assert cosine(-derivatives, gradient(1e-4)) < 0.99

    moved = 0.2 * derivatives / derivatives.square().mean().sqrt()
    torch.testing.assert_close(trainer.rule.logit[at].detach(), moved, rtol=1e-4, atol=1e-5)
    assert trainer.rule.logit.count_nonzero() == 16
    # The step that was taken: along all rows by their own weights alone, or times the weights just found.
    weights = trainer.weights[at] if inner == "exact" else torch.ones(16)
    model = start.eval()
    losses = example_loss()(model(batch["input_ids"]).logits, batch["labels"])
    (weights * OWN[at] * losses).mean().backward()
    for (name, value), now in zip(model.named_parameters(), trainer.model.parameters(), strict=True):
        if value.grad is not None:
            torch.testing.assert_close(now, value - rate * value.grad, rtol=1e-4, atol=2e-6, msg=name)


@pytest.mark.parametrize("weigh", ["examples", "network"])
def test_online_needs_no_float64_which_mps_lacks(make, monkeypatch, weigh):
    trainer = make({"mode": "online", "weigh": weigh}, max_steps=2)

    def refuse(*args):
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")

    monkeypatch.setattr(torch.Tensor, "double", refuse)
    trainer.train()
    assert trainer.raw_weights.unique().numel() > 1


def test_each_round_starts_over_and_the_last_student_stays(make):
    """10 steps in rounds of 3, 3 and 4; what is evaluated at a round's end is what the round has trained."""
    often = {"logging_steps": 1, "eval_strategy": "steps", "eval_steps": 3}
    trainer = make({"rounds": 3}, max_steps=10, **often)
    untrained = trainer.evaluate()["eval_loss"]
    trainer.train()
    starts = trainer.starts
    alike = [at for at in range(10) if torch.equal(starts[at]["values"], starts[0]["values"])]
    fresh = [at for at in range(10) if starts[at]["moments"] == 0]
    assert alike == fresh == [0, 3, 6]
    assert [at for at in range(10) if starts[at]["rate"] == 1e-2] == [0, 3, 6]
    assert starts[9]["rate"] == pytest.approx(1e-2 / 4)
    logs = trainer.state.log_history
    assert [log["step"] for log in logs if "loss" in log] == list(range(1, 11))
    shares = [log["bilevel/effective_share"] for log in logs if "loss" in log]
    assert shares[:2] == [1, 1]
    assert len(set(shares[2:5])) == 1
    assert 1 > shares[2] > shares[5] > shares[9]
    assert all(abs(log["eval_loss"] - untrained) > 0.01 for log in logs if "eval_loss" in log)
    final = torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])
    assert 0 < (final - starts[9]["values"]).abs().max() < 0.01


def test_epochs_are_those_of_one_round(make):
    trainer = make({"rounds": 4}, num_train_epochs=2)
    given = trainer.args
    trainer.train()
    assert trainer.state.global_step == 4 * 2 * 3
    assert TrainingArguments(given.output_dir, use_cpu=True).num_train_epochs == 3


FINDERS = {
    "scaled": {"rounds": 3},
    "adam": {"rounds": 3, "step": "adam"},
    "rounds-network": {"rounds": 3, "weigh": "network"},
    "loss-alone": {"rounds": 3, "weigh": "network", "features": ("loss",)},
    "reused": {"mode": "online", "outer_momentum": 0.8},  # in 24 steps
    "exact": {"mode": "online", "outer_momentum": 0.8, "inner": "exact"},
    "online-network": {"mode": "online", "weigh": "network", "weight_lr": 0.01},
}


def auroc(scores, flipped):
    """How often a clean row has a higher score than a flipped one; a tie counts half."""
    left, right = scores[~flipped][:, None], scores[flipped][None]
    return ((left > right).double() + (left == right).double() / 2).mean().item()


@pytest.mark.parametrize(
    ("kind", "way"),
    [*(("bert", way) for way in FINDERS), *(("bilstm", way) for way in ("scaled", "exact", "online-network"))],
)
def test_flipped_rows_are_found(make, kind, way):
    data = rows(150)
    flipped = torch.tensor(data["flipped"][:])
    how = {"num_train_epochs": 2, "per_device_train_batch_size": 25}
    if "mode" in FINDERS[way]:  # a student that knows the outer rows by heart, flipped ones too, tells nothing more
        how = {"num_train_epochs": 8, "per_device_train_batch_size": 50}
    trainer = make(FINDERS[way], data, student(kind), per_device_eval_batch_size=75, **how)
    trainer.train()
    weights = trainer.weights
    assert weights.mean().item() == pytest.approx(1, abs=1e-5)
    assert auroc(trainer.scores, flipped) > 0.8
    assert weights[flipped].mean() < weights[~flipped].mean()
    assert 1 / weights.square().mean() < 0.98
    assert len(weights.unique()) > 100  # a network that saw only a sign would know two
    assert 0.01 < trainer.raw_weights.mean() < 0.99  # they do not all rise, nor all fall
    order = trainer.scores.argsort()
    assert (weights[order].diff() >= 0).all()


def test_a_network_finds_mistakes_that_lean_to_one_label(make):
    """The student comes to expect that label, so that its margin, and its loss, say the same of right and wrong."""
    data = rows(240, flips=0)
    moved = torch.rand(240, generator=torch.Generator().manual_seed(3)) < 0.45
    true = torch.tensor(data["labels"][:])
    flipped = moved & (true != 0)
    data = data.remove_columns("labels").add_column("labels", torch.where(flipped, 0, true).tolist())
    seen = {"features": ("margin", "label"), "weight_lr": 0.02}
    trainer = make({"rounds": 4, "weigh": "network", **seen}, data, num_train_epochs=2)
    trainer.train()
    assert auroc(trainer.scores, flipped) > 0.9


def test_the_data_sets_own_weights_multiply(make):
    own = torch.linspace(0.5, 1.5, 24)
    trainer = make(data=rows(weight=own.tolist()))
    trainer.raw_weights = torch.rand(24, generator=torch.Generator().manual_seed(0))
    at = torch.tensor([5, 0, 23])
    weights = trainer.example_weights({"index": 7 * at, "weight": own[at]})
    torch.testing.assert_close(weights, own[at] * trainer.raw_weights[at] / trainer.raw_weights.mean())
    torch.testing.assert_close(trainer.example_weights({"index": 7 * at}), trainer.weights[at])


def test_the_lowest_of_each_class():
    weights = torch.tensor([0.1, 0.9, 0.2, 0.8, 0.3, 0.7])
    labels = torch.tensor([0, 1, 0, 1, 0, 1]).numpy()
    assert lowest_of_classes(weights, labels, 0.4).tolist() == [True, False, False, False, False, True]
    assert lowest_of_classes(weights, labels[:, None], 0.4).tolist() == [True, False, True, False, False, False]
    # Of 11 equally spaced ones, the boundary is a weight itself, which counts.
    assert lowest_of_classes(torch.linspace(0, 1, 11), labels[[0] * 11], 1 - 0.9).sum() == 1


@pytest.mark.parametrize("mode", ["sungen", "online"])
@pytest.mark.parametrize("index", [None, list(range(100, 130))])
def test_clean_rows_to_judge_by(make, mode, index):
    """They need no `index`, nor one that the training set knows; all of them count."""
    outer = rows(30, flips=0, index=index)
    trainer = make({"mode": mode, "rounds": 2, "outer_rows": 5}, outer_dataset=outer, num_train_epochs=2)
    assert trainer.outer.rows == list(range(30))
    trainer.train()
    other = make({"mode": mode, "rounds": 2}, outer_dataset=outer.map(relabelled), num_train_epochs=2)
    other.train()
    assert cosine(trainer.scores, other.scores) < 0.5


@pytest.mark.parametrize("config", [{"rounds": 2, "redraw": True}, {"mode": "online"}])
def test_real_rows_of_the_training_set_judge(make, config):
    """They alone, whatever their weights are; where their labels are others, other rows are trusted."""
    real = [at % 2 == 0 for at in range(24)]
    data = rows().add_column("synthetic", [not kind for kind in real])
    wrong = data.map(lambda row: row if row["synthetic"] else relabelled(row))
    scores = []
    for given in (data, wrong):
        trainer = make({**config, "outer": "real", "outer_rows": 8, "confident": 0.1}, given, num_train_epochs=2)
        trainer.train()
        assert len(trainer.outer.rows) == 8
        assert all(real[row] for row in trainer.outer.rows)
        scores.append(trainer.scores[~torch.tensor(real)])
    assert cosine(*scores) < 0.5


def test_a_round_may_have_epochs_of_its_own(make):
    trainer = make({"rounds": 3, "epochs": 1}, num_train_epochs=4)
    trainer.train()
    assert trainer.state.global_step == 3 * -(-len(trainer.train_dataset) // trainer.args.train_batch_size)


def relabelled(row):
    return {"labels": (row["labels"] + 1) % CLASSES}


@pytest.mark.parametrize("config", [{"rounds": 2}, {"mode": "online", "inner": "exact"}])
@pytest.mark.parametrize("task", ["tokens", "several", "bilstm"])
def test_tokens_and_sets_of_labels(make, task, config):
    """Also the features of a network; the fourth row of the token task has no label at all, and does not move."""
    labels, model = rows()["labels"][:], student("bilstm")
    if task == "tokens":
        labels = [[label, -100] * 3 if at != 3 else [-100] * 6 for at, label in enumerate(labels)]
        model = student(auto=AutoModelForTokenClassification)
    if task == "several":
        labels, model = [[float(label == k) for k in range(CLASSES)] for label in labels], student()
    for weigh in ("examples", "network"):
        features = ("loss", "margin", "embedding")
        settings = config | {"weigh": weigh, "features": features, "weight_lr": 0.05, "outer_loss": "gce"}
        trainer = make(settings, rows(labels=labels), copy.deepcopy(model), num_train_epochs=2)
        trainer.train()
        assert torch.isfinite(trainer.weights).all()
        assert len(trainer.weights.unique()) > 20
        if task == "tokens" and weigh == "examples":
            assert trainer.raw_weights[3] == 0.5


def test_drawn_anew_in_each_round_and_alike_after_a_resume(make, tmp_path):
    config = {"rounds": 4, "redraw": True, "outer_rows": 10}
    saving = {"max_steps": 12, "save_strategy": "steps", "save_steps": 5}
    whole = make(config, **saving)
    whole.train()
    drawn = [tuple(start["outer_rows"]) for start in whole.starts] + [tuple(whole.outer.rows)]
    assert [len(set(drawn[:6])), len(set(drawn))] == [1, 4]  # the first draw serves at the end of the first round
    resumed = make(config, **saving)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
    assert [tuple(start["outer_rows"]) for start in resumed.starts] == drawn[5:12]
    torch.testing.assert_close(resumed.scores, whole.scores)
    once = make(config | {"redraw": False}, max_steps=12)
    once.train()
    assert len({tuple(start["outer_rows"]) for start in once.starts}) == 1


@pytest.mark.parametrize(
    "config",
    [{"rounds": 3}, {"rounds": 3, "weigh": "network"}, {"mode": "online"}, {"mode": "online", "weigh": "network"}],
)
def test_passes_for_the_weights_move_no_random_state(make, config):
    """With dropout, so that a pass that left it on would show."""

    def after(kind):
        torch.manual_seed(5)
        trainer = make(config, model=student(dropout=0.3), kind=kind, max_steps=9)
        trainer.train()
        return trainer.model.training, torch.get_rng_state()

    (mode, state), (plain_mode, plain_state) = after(Watched), after(WeightedTrainer)
    assert mode == plain_mode
    assert torch.equal(state, plain_state)


@pytest.mark.parametrize(
    ("config", "data", "sentence"),
    [
        ({}, {"index": None}, "needs a column `index` that names each row; it has"),
        ({}, {"index": [1, *range(1, 24)]}, "1 stands on several rows"),
        ({}, {"labels": [3] * 24}, "labels of `train_dataset` must lie between 0 and 2; they go from 3 to 3"),
        ({}, {"labels": [1] * 24}, "the 24 outer rows have one class only; give more of them"),
        ({"outer_rows": 2, "seed": 1}, {"labels": [0] * 23 + [1]}, "the 2 outer rows have one class only"),
    ],
)
def test_rows_that_are_refused(make, config, data, sentence):
    with pytest.raises(InputError, match=sentence):
        make(config, rows(**data))


@pytest.mark.parametrize(
    ("labels", "sentence"), [([1] * 24, "have one class only"), ([0, 1, 7] * 8, r"between 0 and 2; got \[0, 1, 7\]")]
)
def test_outer_rows_that_are_refused(make, labels, sentence):
    with pytest.raises(InputError, match=sentence):
        make(outer_dataset=rows(labels=labels))


def test_more_rounds_than_steps(make):
    with pytest.raises(InputError, match="`rounds` is 5, and training has 4 optimizer steps in all"):
        make({"rounds": 5}, max_steps=4).train()


def test_another_runs_checkpoint_is_refused(make, tmp_path):
    make({"mode": "online"}, max_steps=1, save_strategy="steps", save_steps=1).train()
    other = make({"mode": "online"}, rows(labels=[0, 1, 2] * 8), max_steps=2)
    with pytest.raises(InputError, match="weights of other rows or labels"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"step": "adam"}, "`resume_from_checkpoint` was trained with `step: scaled`; got adam"),
        ({"weigh": "network"}, "`resume_from_checkpoint` was trained with `weigh: examples`; got network"),
        ({"rounds": 6}, "`resume_from_checkpoint` was trained with `rounds: 3`; got 6"),
        ({"epochs": 2.0}, "`resume_from_checkpoint` was trained with `epochs: null`; got 2.0"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(make, settings, sentence):
    before = make({"rounds": 3}).side_state()
    make({"rounds": 3}).load_side_state(before)
    with pytest.raises(InputError, match=sentence):
        make({"rounds": 3, **settings}).load_side_state(before)


def test_a_checkpoint_whose_rounds_end_elsewhere_is_refused(make, tmp_path):
    make({"rounds": 2}, num_train_epochs=1, save_strategy="steps", save_steps=1).train()
    other = make({"rounds": 2}, num_train_epochs=2)
    with pytest.raises(InputError, match="its rounds end at other steps"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))


@pytest.mark.parametrize("inner", ["reused", "exact"])
def test_fp16_is_refused_online(make, inner):
    with pytest.raises(InputError, match="gradients that `fp16` does not scale; use `bf16`, or neither"):
        make({"mode": "online", "inner": inner}, fp16=True)


@pytest.mark.parametrize(
    "config",
    [
        {"rounds": 2, "redraw": True, "outer_rows": 12},
        {"mode": "online"},
        {"rounds": 2, "weigh": "network", "features": ("embedding",)},
    ],
)
def test_a_second_run_learns_from_the_start(make, config):
    """As in a search over settings, with a model made anew for each run."""
    trainer = make(config, model_init=student, max_steps=4)
    found = []
    for _ in range(2):
        trainer.train()
        found.append(trainer.scores)
    assert len(found[0].unique()) > 12
    assert torch.equal(*found)


def test_mean_absolute_error_is_reverse_cross_entropy(make):
    """And the scale of either is divided out."""
    found = []
    for config in ({"outer_loss": "mae"}, {"outer_loss": "rce"}, {"outer_loss": "rce", "scale": 1.0}):
        trainer = make(config)
        trainer._step_weights()
        found.append(trainer.raw_weights)
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])
    assert found[0].std() > 0.01


def test_epochs_of_a_round_beside_steps_are_refused(make):
    with pytest.raises(InputError, match="`epochs: 5.0` is not read with `max_steps`, which rounds share"):
        make({"epochs": 5}, max_steps=6)


@pytest.mark.parametrize("sharding", ["FSDP", "DeepSpeed"])
def test_sharding_is_refused(make, sharding):
    trainer = make()
    setattr(trainer, f"is_{sharding.lower()}_enabled", True)  # sharding itself needs a GPU
    with pytest.raises(InputError, match=f"does not work under {sharding}"):
        trainer._refuse_sharding("")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"mode": "offline"}, "'sungen' or 'online'; got 'offline'"),
        ({"rounds": 0}, "`rounds`.*0"),
        ({"outer_loss": "rxe"}, "got 'rxe'"),
        ({"confident": 1.5}, "`confident`.*1.5"),
        ({"scale": 1.0}, "`scale: 1.0` needs `outer_loss: sce`; got rce"),
    ],
)
def test_settings_that_are_refused(values, sentence):
    with pytest.raises(InputError, match=sentence):
        checked(BilevelConfig, values, "x.yaml")
