"""Students of extractive question answering: rows to windows, training by our trainers, answers back as text."""

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, List, Value
from tokenizers import processors
from transformers import (
    AutoModelForQuestionAnswering,
    BertConfig,
    BertForQuestionAnswering,
    EvalPrediction,
    PreTrainedTokenizerFast,
    TrainingArguments,
)

from hf_synth.errors import InputError
from hf_synth.learners import questions
from hf_synth.settings import StudentConfig
from hf_synth.students import BiLSTMConfig, BiLSTMForSequenceClassification, build_reader_tokenizer
from hf_synth.trainers.bilevel import BilevelConfig, BilevelTrainer
from hf_synth.trainers.ensemble import EnsembleTrainer
from hf_synth.trainers.spans import best_spans, span_scores
from hf_synth.trainers.weighted import WeightedTrainer

pytestmark = pytest.mark.usefixtures("one_thread")

TASK = SimpleNamespace(columns=("context", "question"), label_column="answers")
SQUAD = Features(
    {
        **{name: Value("string") for name in ("id", "title", "context", "question")},
        "answers": {"text": List(Value("string")), "answer_start": List(Value("int32"))},
        "index": Value("int64"),
    }
)
NAMES = ["Ann Lee", "Bo", "Zoë Á. Quint", "Max Mai-Ray"]
FILLER = "It rained all day and nobody came to see it , which was a pity . "


def row(at, before="", wrong=False):
    """A film's row: who made it, or when; the answer stands in the middle of its context."""
    name, year = NAMES[at % 4], str(1950 + at % 40)
    context = f"{before}The film was made by {name} in {year}, they say."
    question, answer = (("Who made the film?", name), ("When was it made?", year))[at // 4 % 2]
    answer = "they" if wrong else answer
    found = {"text": [answer], "answer_start": [context.rindex(answer)]}
    return {"id": f"q{at}", "title": "", "context": context, "question": question, "answers": found, "index": 100 + at}


def squad(*rows):
    return Dataset.from_list(list(rows), features=SQUAD)


ROWS = [row(at) for at in range(24)]
TEXTS = [one[column] for one in ROWS for column in TASK.columns] + [FILLER]


def bert_tokenizer() -> PreTrainedTokenizerFast:
    """Words with a BERT's special tokens around them."""
    words = build_reader_tokenizer(TEXTS).backend_tokenizer
    words.add_special_tokens(["[CLS]", "[SEP]"])
    ids = [(token, words.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=words, model_input_names=inputs, **special)


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory) -> Path:
    folder, tokenizer = tmp_path_factory.mktemp("bert"), bert_tokenizer()
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "max_position_embeddings": 64}
    BertForQuestionAnswering(BertConfig(vocab_size=len(tokenizer), **sizes, **no_dropout)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def load(student):
    torch.manual_seed(0)
    model, tokenizer, facts = questions.load(StudentConfig(student=str(student)), TASK, (), TEXTS)
    return model, tokenizer, facts


def trainer_of(folder, model, tokenizer, data, kind=WeightedTrainer, own=None, **settings):
    common = {"save_strategy": "no", "use_cpu": True, "disable_tqdm": True, "report_to": "none", "logging_steps": 1}
    args = TrainingArguments(str(folder), **common | settings)
    return kind(
        model,
        args,
        train_dataset=data,
        eval_dataset=data,
        data_collator=questions.collator(tokenizer),
        processing_class=tokenizer,
        compute_metrics=questions.compute_metrics,
        **own or {},
    )


# Rows to windows


@pytest.mark.parametrize("student", ["bidaf", "bert"])
def test_labels_are_the_tokens_of_the_answer(student, bert_folder):
    tokenizer = load("bidaf" if student == "bidaf" else bert_folder)[1]
    data = squad(*ROWS).add_column("weight", [0.5] * 24)
    found = questions.encode(data, tokenizer, TASK, 64)
    assert found["index"] == data["index"]
    assert found["weight"] == [0.5] * 24
    assert "question" not in found.column_names
    for given, one in zip(ROWS, found, strict=True):
        first, last = one["labels"]
        text = tokenizer.decode(one["input_ids"][first : last + 1])
        assert text.replace(" ", "") == given["answers"]["text"][0].lower().replace(" ", "")
        said = tokenizer.decode([i for i, mine in zip(one["input_ids"], one["context_mask"], strict=True) if mine])
        assert said.replace(" ", "") == given["context"].lower().replace(" ", "")


def test_a_long_context_is_cut_around_its_answer(bert_folder):
    tokenizer = load(bert_folder)[1]
    rows = [row(at, before=FILLER * at) for at in range(8)]
    for one in rows:
        one["context"] += FILLER * 5
    found = questions.encode(squad(*rows), tokenizer, TASK, 48)
    assert len(found) == 8
    for given, one in zip(rows, found, strict=True):
        assert len(one["input_ids"]) <= 48
        first, last = one["labels"]
        answer = given["answers"]["text"][0].lower().replace(" ", "")
        assert tokenizer.decode(one["input_ids"][first : last + 1]).replace(" ", "") == answer
        mine = [at for at, part in enumerate(one["context_mask"]) if part]
        # Windows of about 38 tokens overlap by 16: nothing shorter need stand nearer to a side than (16 - 6) / 2.
        assert given["id"] == "q0" or min(first - mine[0], mine[-1] - last) >= 5


def test_an_answer_inside_a_token_takes_the_token(bert_folder):
    tokenizer = load(bert_folder)[1]
    one = row(0) | {"answers": {"text": ["fil"], "answer_start": [4]}}
    found = questions.encode(squad(one), tokenizer, TASK, 64)[0]
    first, last = found["labels"]
    assert tokenizer.decode(found["input_ids"][first : last + 1]) == "film"


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"text": ["Bo"], "answer_start": [3]}, "row of index 101 .* 'Bo' does not stand at character 3"),
        ({"text": ["Bo"], "answer_start": [-2]}, "'Bo' does not stand at character -2"),
        ({"text": ["Bo"], "answer_start": [5000]}, "'Bo' does not stand at character 5000"),
        ({"text": [], "answer_start": []}, "row of index 101 cannot be learnt from: it has no answer"),
        ({"text": [" "], "answer_start": [3]}, "its answer ' ' is empty"),
    ],
)
def test_rows_that_cannot_be_learnt_from_are_named(answers, message, bert_folder):
    bad = row(1) | {"answers": answers}
    with pytest.raises(InputError, match=message):
        questions.encode(squad(row(0), bad), load(bert_folder)[1], TASK, 64)


def test_an_answer_longer_than_a_window_is_refused_by_the_name_there_is(bert_folder):
    long = row(0, before=FILLER * 4)
    long["answers"] = {"text": [FILLER * 4], "answer_start": [0]}
    tokenizer = load(bert_folder)[1]
    with pytest.raises(InputError, match="row of id 'q0' cannot .* no window of 48 tokens holds"):
        questions.encode(squad(long).remove_columns("index"), tokenizer, TASK, 48)
    with pytest.raises(InputError, match="row 1 cannot"):
        questions.encode(squad(row(1), long).remove_columns(["index", "id"]), tokenizer, TASK, 48)


def test_questions_longer_than_a_window_are_cut(bert_folder):
    long = row(0) | {"question": "who made the film " * 40}
    found = questions.encode(squad(long), load(bert_folder)[1], TASK, 64)[0]
    assert len(found["input_ids"]) <= 64
    assert sum(found["context_mask"]) > 10


def test_short_windows_are_refused(bert_folder):
    with pytest.raises(InputError, match="`max_length` must be 32 or more .* got 16"):
        questions.encode(squad(row(0)), load(bert_folder)[1], TASK, 16)


def test_padding_leaves_labels_true_whatever_the_tokenizers_side(bert_folder):
    tokenizer = load(bert_folder)[1]
    tokenizer.padding_side = "left"
    data = questions.encode(squad(row(0), row(2)), tokenizer, TASK, 64)
    batch = questions.collator(tokenizer)([{k: v for k, v in one.items() if k != "index"} for one in data])
    assert batch["context_mask"].shape == batch["input_ids"].shape
    for ids, (first, last), one in zip(batch["input_ids"], batch["labels"], data, strict=True):
        assert ids[first : last + 1].tolist() == one["input_ids"][first : last + 1]
        assert batch["context_mask"][0, -1] == 0


# What may be a student


def test_students_and_their_facts(bert_folder):
    model, tokenizer, facts = load("bidaf")
    assert facts == {"name": "bidaf", "origin": "built"}
    assert model.config.vocab_size == len(tokenizer)
    assert load(bert_folder)[2]["origin"] == "local"


def test_students_that_cannot_answer_are_refused(tmp_path):
    with pytest.raises(InputError, match="`student: bilstm` classifies texts; for questions take `bidaf`"):
        load("bilstm")
    with pytest.raises(InputError, match="`label_smoothing` needs classes"):
        questions.load(StudentConfig(student="bidaf", label_smoothing=0.1), TASK, (), TEXTS)
    BiLSTMForSequenceClassification(BiLSTMConfig(vocab_size=20)).save_pretrained(tmp_path)
    build_reader_tokenizer(TEXTS).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"cannot answer questions: Unrecognized .*BiLSTMConfig"):
        load(tmp_path)


# Training


def test_loss_is_the_weighted_mean_of_both_ends_among_context_tokens(bert_folder, tmp_path):
    model, tokenizer, _ = load(bert_folder)
    weights = [2.0, 0.0, 1.0]
    data = questions.encode(squad(*ROWS[:3]).add_column("weight", weights), tokenizer, TASK, 64)
    plain = AutoModelForQuestionAnswering.from_pretrained(bert_folder).eval()
    plain.load_state_dict(model.state_dict())
    expected = 0.0
    for weight, one in zip(weights, data, strict=True):
        names = ("input_ids", "attention_mask", "token_type_ids")
        with torch.no_grad():
            output = plain(**{name: torch.tensor([one[name]]) for name in names})
        mine = torch.tensor(one["context_mask"]).bool()
        for scores, at in zip((output.start_logits[0], output.end_logits[0]), one["labels"], strict=True):
            expected += weight * -(scores[at] - scores[mine].logsumexp(0)).item() / 2 / 3
    trainer = trainer_of(tmp_path, model, tokenizer, data, max_steps=1, learning_rate=0.0)
    trainer.train()
    losses = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    assert losses == [pytest.approx(expected, abs=1e-5)]


@pytest.mark.parametrize("student", ["bidaf", "bert"])
def test_a_student_learns_is_saved_and_answers_in_the_texts_own_words(student, bert_folder, tmp_path):
    model, tokenizer, _ = load("bidaf" if student == "bidaf" else bert_folder)
    data = questions.encode(squad(*[row(at, FILLER * (at % 2)) for at in range(24)]), tokenizer, TASK, 64)
    settings = {"learning_rate": 0.005, "per_device_train_batch_size": 8, "per_device_eval_batch_size": 5}
    epochs, most = (10, 6) if student == "bidaf" else (30, 1)  # BERT knows only the places that it has seen
    trainer = trainer_of(tmp_path, model, tokenizer, data, num_train_epochs=epochs, **settings)
    start = trainer.evaluate()["eval_f1"]
    trainer.train()
    assert trainer.evaluate()["eval_f1"] > 0.95 > start
    trainer.save_model(str(tmp_path / "model"))
    assert json.loads((tmp_path / "model/config.json").read_text())["architectures"][0].endswith(
        "ForQuestionAnswering"
    )
    asked = squad(*[row(at, before=FILLER * (at % (most + 1))) for at in range(16)])  # of 6, several windows
    said = questions.predict(tmp_path / "model", asked, TASK, max_length=64, batch_size=7)
    scores = questions.score(TASK, said, asked["answers"])
    assert scores["f1"] >= scores["exact_match"] > 0.8
    assert scores["rows"] == 16
    for answer, context in zip(said, asked["context"], strict=True):
        assert context[answer["answer_start"][0] :].startswith(answer["text"][0])
    assert any("ë Á" in answer["text"][0] for answer in said)
    assert Dataset.from_dict({"answers": said}).cast_column("answers", SQUAD["answers"]).num_rows == 16


def test_derivatives_of_rows_are_their_gradients_times_the_direction(bert_folder, tmp_path):
    model, tokenizer, _ = load(bert_folder)
    data = questions.encode(squad(*ROWS[:4]), tokenizer, TASK, 64)
    trainer = trainer_of(tmp_path, model, tokenizer, data, kind=BilevelTrainer)
    columns, inputs, labels = trainer.split(next(iter(trainer.batches_of(data, [0, 1, 2, 3], 4))))
    parameters = dict(model.eval().named_parameters())
    draw = torch.Generator().manual_seed(3)
    direction = {name: torch.randn(value.shape, generator=draw) for name, value in parameters.items()}
    found = trainer.derivatives(columns, inputs, labels, direction)
    log_p = model(**inputs)["logits"].log_softmax(-1)
    for at, (first, last) in enumerate(labels.tolist()):
        loss = -(log_p[at, 0, first] + log_p[at, 1, last]) / 2
        slopes = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
        pairs = zip(slopes, direction.values(), strict=True)
        expected = sum((slope * way).sum() for slope, way in pairs if slope is not None)
        assert found[at].item() == pytest.approx(expected.item(), rel=1e-3)


@pytest.mark.parametrize("mode", ["sungen", "online"])
def test_bilevel_finds_rows_with_wrong_answers(mode, bert_folder, tmp_path):
    model, tokenizer, _ = load(bert_folder)
    wrong = [at % 4 == 3 for at in range(24)]
    rows = [row(at, wrong=bad) for at, bad in enumerate(wrong)]
    data = questions.encode(squad(*rows), tokenizer, TASK, 64)
    good = questions.encode(squad(*[row(at) for at in range(40, 56)]), tokenizer, TASK, 64)
    config = BilevelConfig(mode=mode, rounds=2)
    settings = {"learning_rate": 0.005, "per_device_train_batch_size": 8, "num_train_epochs": 12}
    own = {"config": config, "outer_dataset": good}
    trainer = trainer_of(tmp_path, model, tokenizer, data, kind=BilevelTrainer, own=own, **settings)
    trainer.train()
    weights = trainer.weights.numpy()
    assert weights[~np.array(wrong)].mean() > 1.1 * weights[wrong].mean()


def test_trainers_that_need_classes_say_so(bert_folder, tmp_path):
    model, tokenizer, _ = load(bert_folder)
    data = questions.encode(squad(*ROWS[:4]), tokenizer, TASK, 64)
    with pytest.raises(
        InputError, match="temporal ensembling averages over classes; answers that are spans have none"
    ):
        trainer_of(tmp_path, model, tokenizer, data, kind=EnsembleTrainer)
    for name in ("embedding", "label"):
        own = {"config": BilevelConfig(weigh="network", features=(name,))}
        with pytest.raises(InputError, match=f"`features: {name}` needs a model of classes"):
            trainer_of(tmp_path, model, tokenizer, data, kind=BilevelTrainer, own=own)
    with pytest.raises(InputError, match="`label_smoothing_factor` needs classes"):
        trainer_of(tmp_path, model, tokenizer, data, label_smoothing_factor=0.1)


# Spans and scores


def test_best_span_is_that_of_an_exhaustive_search():
    logits = torch.randn(50, 2, 9, generator=torch.Generator().manual_seed(1))
    scores, best = span_scores(logits, 4), best_spans(logits, 4)
    for one, table, found in zip(logits, scores, best.tolist(), strict=True):
        valid = [(a, b) for a, b in itertools.product(range(9), repeat=2) if a <= b < a + 4]
        expected = {pair: (one[0, pair[0]] + one[1, pair[1]]).item() for pair in valid}
        assert tuple(found) == max(expected, key=expected.__getitem__)
        assert torch.isfinite(table).sum() == len(valid)


def test_n_best_are_distinct_and_in_order(bert_folder):
    rows = squad(row(0, before=FILLER * 6), row(1) | {"context": "  "})
    found, nothing = questions.answers(bert_folder, rows, TASK, max_length=64, n_best=6)
    assert len({(answer.text, answer.start) for answer in found}) == 6
    shares = [answer.probability for answer in found]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)
    assert nothing == [questions.Answer("", 0, 1.0)]


def test_numbers_of_validation():
    said, true = [[3, 5], [2, 2], [0, 1], [7, 9]], [[3, 5], [2, 5], [4, 4], [8, 12]]
    found = questions.compute_metrics(EvalPrediction(np.array(said), np.array(true)))
    # F1 of spans: 1; 1 of 1 and 1 of 4 tokens: 0.4; 0; 2 of 3 and 2 of 5: 0.5.
    assert found == {"f1": pytest.approx((1 + 0.4 + 0 + 0.5) / 4), "exact_match": 0.25}
    assert questions.metric in found


def test_score_takes_the_best_reference():
    said = [{"text": ["the Bo"], "answer_start": [0]}, {"text": [], "answer_start": []}]
    real = [{"text": ["Ann", "Bo"], "answer_start": [0, 9]}, {"text": ["Max"], "answer_start": [3]}]
    found = questions.score(TASK, said, real)
    assert (found["rows"], found["exact_match"], found["f1"]) == (2, 0.5, 0.5)
    assert found[f"{questions.metric}_interval"][0] <= found["f1"] <= found[f"{questions.metric}_interval"][1]
