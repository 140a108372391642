"""ProGen's rounds: what is asked, what is shown, what judges it, and when it ends."""

import gc
from pathlib import Path

import pytest
import torch
from conftest import WORDS
from datasets import Dataset

import hf_synth.classifier
from hf_synth.classifier import fit, rows_of
from hf_synth.errors import InputError
from hf_synth.filters.overlap import Overlap
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.journal import Journal
from hf_synth.losses import example_loss
from hf_synth.methods import get
from hf_synth.produce import Plan
from hf_synth.prompts import shown_in
from hf_synth.records import Example, Prompt
from hf_synth.run import Run
from hf_synth.settings import StudentConfig, SynthConfig
from hf_synth.student import encode
from hf_synth.tasks import load_task

pytestmark = pytest.mark.usefixtures("one_thread", "little_garbage")

SST2 = load_task("sst2")
SIDES = {"positive": "good great fine", "negative": "bad awful dull"}
FEW = {
    "first_round": 40,
    "rows_per_examples": 4,
    "pool_size": 6,
    "examples": 3,
    "quality_epochs": 1,
    "validation_size": 16,
}


class Reviews(ScriptedGenerator):
    """Writes texts that tell a side, a share of them the wrong one, and keeps what it was asked."""

    def __init__(self, wrong=0.0):
        super().__init__(self.write, name="reviews")
        self.wrong, self.prompts = wrong, []

    def write(self, prompt, rng):
        if prompt.cell is None:
            return f'The long title of film number {rng.randrange(10**6)}, which {"few " * 12}saw"'
        sides = sorted(SIDES)
        side = prompt.cell if prompt.cell in SIDES else rng.choice(sides)
        if rng.random() < self.wrong:
            side = sides[1 - sides.index(side)]
        return " ".join([*rng.sample(WORDS[:7], 5), *rng.choices(SIDES[side].split(), k=3)]) + '"'

    def complete(self, prompts, *, seed, batch_size, **decoding):
        self.prompts += [prompt for prompt in prompts if prompt.cell is not None]
        return super().complete(prompts, seed=seed, batch_size=batch_size, **decoding)


@pytest.fixture(scope="module")
def little_garbage():
    """Each training ends with a look through all objects there are; those of the imports are left out of it."""
    gc.freeze()
    yield
    gc.unfreeze()


ROOT = Path(__file__).parent.parent


def progen(student, rows=100, task=SST2, generator=None, journal=None, chunk_size=8, seed=0, **settings):
    generator = generator or Reviews()
    run = Run(task, generator, num_rows=rows, journal=journal, chunk_size=chunk_size, seed=seed)
    method = get("progen")
    config = method.config(**{"quality_model": str(student), "quality_lr": 2e-3, **FEW, **settings})
    method.check(task, config)
    return list(method.generate(run, config)), run, generator


@pytest.fixture(scope="module")
def whole(student_folder, tmp_path_factory):
    """A run of three rounds, and where it is recorded."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, *progen(student_folder, rows=160, journal=Journal(folder))


def test_rounds_show_rows_of_the_rounds_before(whole):
    _, rows, run, generator = whole
    table = run.ledger.notes["rounds"]
    assert [row["rows"] for row in table] == [40, 120, 160]
    ends = [0, *(row["rows"] for row in table)]
    place = {id(row): at for at, row in enumerate(rows)}
    for told, start, end in zip(table, ends[:-1], ends[1:], strict=True):
        fresh = rows[start:end]
        share = sum("examples" in row.prompt.attributes for row in fresh) / len(fresh)
        assert told["written after examples"] == pytest.approx(share, abs=1e-4)
    assert not any(shown_in(prompt) for prompt in generator.prompts[:40])
    asked = [prompt for prompt in generator.prompts if shown_in(prompt)]
    assert 0.2 < len(asked) / len(generator.prompts[60:]) < 0.8
    for prompt in asked:
        shown = [rows[at] for at in shown_in(prompt)]
        assert 1 <= len(shown) <= 3
        assert {row.target for row in shown} == {prompt.cell}
        block = "".join(
            f'The movie review for movie "{row.prompt.attributes["opening"]}" is: "{row.fields["sentence"]}"\n\n'
            for row in shown
        )
        opening, word = prompt.attributes["opening"], SST2.words[prompt.cell].index(prompt.attributes["word"])
        assert prompt.text == block + SST2.render(prompt.cell, opening=opening, word=word)
    for row in rows:  # the pool is of rounds that are over
        ended = max(end for end in ends if end <= place[id(row)])
        assert all(at < ended for at in shown_in(row.prompt))
    assert run.ledger.stage("rows").kept == len(rows)


def by_hand(student, rows, held, candidates):
    """Influence of rows as the paper writes it: a backward pass for each."""
    config = StudentConfig(student=str(student), num_train_epochs=1, learning_rate=2e-3)
    train, judges = [row for at, row in enumerate(rows) if at not in held], [rows[at] for at in sorted(held)]
    trainer = fit(SST2, rows_of(SST2, train), config, 0)
    model = trainer.model.eval()
    parameters = [value for value in model.parameters() if value.requires_grad]

    def gradient(examples, loss):
        data = encode(rows_of(SST2, examples), trainer.processing_class, SST2.columns, "label", 128)
        batch = trainer.data_collator([data[at] for at in range(len(data))])
        _, inputs, labels = trainer.split(batch)
        value = loss(model(**inputs).logits, labels).mean()
        return torch.autograd.grad(value, parameters, materialize_grads=True)

    direction = gradient(judges, example_loss("rce", scale=1.0))

    def score(example):
        pairs = zip(gradient([example], example_loss("ce")), direction, strict=True)
        return -sum((a * b).sum() for a, b in pairs).item()

    return {at: score(rows[at]) for at in candidates}


def test_the_most_helpful_rows_of_each_label_are_shown(student_folder):
    rows, run, generator = progen(student_folder, rows=100, feedback_ratio=1.0)
    held = set(run.rng("validation").sample(range(40), 16))
    scores = by_hand(student_folder, rows[:40], held, [at for at in range(40) if at not in held])
    for label in SIDES:
        best = sorted((at for at in scores if rows[at].target == label), key=scores.get)[:6]
        shown = {at for prompt in generator.prompts if prompt.cell == label for at in shown_in(prompt)}
        assert shown == set(best)
    everything = {at for prompt in generator.prompts for at in shown_in(prompt)}
    assert run.ledger.notes["rounds"][0]["rows to show next"] == len(everything)


LISSA = {"inverse": "lissa", "lissa_depth": 50, "lissa_scale": 100.0}


@pytest.mark.parametrize("feedback", [{}, {"feedback": "weights"}, LISSA], ids=["influence", "weights", "lissa"])
def test_wrong_labels_are_hardly_shown(student_folder, feedback):
    """A quarter of the texts are on the wrong side, those of the validation rows too."""
    settings = {"first_round": 360, "validation_size": 80, "quality_epochs": 5, "quality_lr": 8e-3, "pool_size": 20}
    settings |= {"feedback_ratio": 1.0, **feedback}
    generator = Reviews(wrong=0.25)
    progen(student_folder, rows=400, generator=generator, seed=2, **settings)  # of which the tiny student learns
    shown = [(prompt.cell, part) for prompt in generator.prompts for part in prompt.text.split("\n\n")[:-1]]
    wrong = [part for cell, part in shown if not any(word in part for word in SIDES[cell].split())]
    assert len(shown) > 50
    assert len(wrong) < 0.05 * len(shown)


def test_random_rows_are_any_but_those_that_validate(student_folder):
    rows, run, generator = progen(student_folder, rows=120, first_round=60, growth=1, feedback="random")
    held = set(run.rng("validation").sample(range(60), 16))
    shown = {at for prompt in generator.prompts for at in shown_in(prompt)}
    assert not shown & held
    assert len(shown) > 20  # more than a pool
    assert run.ledger.notes["rounds"][0]["rows to show next"] == 60 - 16


def test_without_feedback_the_rows_are_zerogens(student_folder):
    rows, run, generator = progen(student_folder, rows=40, feedback="none")
    plain = Reviews()
    zerogen, again = get("zerogen"), Run(SST2, plain, num_rows=40, chunk_size=8)
    assert [row.fields for row in zerogen.generate(again, zerogen.config())] == [row.fields for row in rows]
    assert plain.prompts == generator.prompts
    assert "accuracy on the validation rows" in run.ledger.notes["rounds"][0]


def test_below_a_size_nothing_is_shown(student_folder):
    _, run, generator = progen(student_folder, rows=60, min_size_for_influence=41, feedback="random")
    assert not any(shown_in(prompt) for prompt in generator.prompts)
    assert [row["rows to show next"] for row in run.ledger.notes["rounds"]] == [0, 0]


def test_real_rows_may_judge(student_folder, tmp_path):
    real = tmp_path / "real" / "data"
    real.mkdir(parents=True)
    sides = ["negative", "positive", "negative", "negative"] * 10
    texts = [f"a {SIDES[side].split()[0]} film {at}" for at, side in enumerate(sides)]
    Dataset.from_dict({"sentence": texts, "label": sides}).to_parquet(real / "train-0.parquet")
    settings = {"quality_data": "oracle", "oracle_rows": str(real.parent), "validation_size": 30}
    journal = tmp_path / "journal"
    _, run, generator = progen(student_folder, rows=60, feedback="random", journal=Journal(journal), **settings)
    first = run.ledger.notes["rounds"][0]
    assert first["rows to show next"] == 40  # none of ours is held back
    (source,) = get("progen").sources(SST2, get("progen").config(**settings))
    assert (source.path, source.column, source.split) == (str(real.parent), "sentence", "train")
    assert not any(text in prompt.text for text in texts for prompt in generator.prompts)
    flipped = ["negative" if side == "positive" else "positive" for side in sides]
    Dataset.from_dict({"sentence": texts, "label": flipped}).to_parquet(real / "train-0.parquet")
    _, run, _ = progen(student_folder, rows=60, feedback="random", journal=Journal(journal), **settings)
    judged = "accuracy on the validation rows"
    assert run.ledger.notes["rounds"][0][judged] == pytest.approx(1 - first[judged], abs=1e-3) != first[judged]


def test_a_text_that_repeats_an_example_is_dropped():
    ten = "one two three four five six seven eight nine ten"
    rows = [Example({"text": "nothing alike"}, "a", "a", Prompt("")), Example({"text": ten}, "a", "a", Prompt(""))]
    shows = Prompt("", cell="a", attributes={"examples": "0 1"})

    def reason(text, prompt=shows):
        return Overlap(rows, "text")([Example({"text": text}, "a", "a", prompt)])[0]

    nine = "Nine, eight! seven SIX five four three two one"
    assert reason(nine) == "overlap"  # nine of ten
    assert reason(nine.replace("Nine,", "") + " of a longer text in which there are more words") is None
    assert reason("other words " + nine) == "overlap"
    assert reason(nine, Prompt("", cell="a")) is None
    assert reason("nothing more") is None


def test_it_stops_when_a_round_gains_too_little(student_folder):
    rows, run, generator = progen(student_folder, rows=1000, feedback="none", min_gain=1000.0)
    assert not any(shown_in(prompt) for prompt in generator.prompts)
    table = run.ledger.notes["rounds"]
    assert [row["rows"] for row in table] == [40, 120] == [40, len(rows)]
    first, second = (row["accuracy on the validation rows"] for row in table)
    gain = table[1]["gain per 1,000 rows"]
    assert gain == pytest.approx((second - first) / 0.08, abs=1e-3)
    said = f"60 of 500 rows: the last round gained {gain} in accuracy per 1,000 rows, less than `min_gain`, 1000.0"
    assert run.ledger.accounts == {"negative": said, "positive": said}
    assert run.ledger.stage("rows").kept == 120


def test_a_label_that_is_given_up_is_not_asked_again(student_folder):
    class Few(Reviews):
        def write(self, prompt, rng):
            text = super().write(prompt, rng)
            return f'the {rng.randrange(25)} of it"' if prompt.cell == "positive" else text

    rows, run, generator = progen(student_folder, rows=100, generator=Few(), max_attempts=2, feedback="none")
    kept = sum(row.target == "positive" for row in rows)
    assert kept <= 25
    assert len(rows) == 50 + kept
    (told,) = run.ledger.accounts.values()
    assert told.startswith(f"{kept} of 50 rows: given up with ")
    assert run.ledger.stage("rows").kept == len(rows)


def chunks(folder):
    return {file.name for file in folder.glob("chunks/*/*.json")}


def test_a_larger_run_goes_on_where_a_smaller_ended(student_folder, tmp_path, whole):
    folder, rows, *_ = whole
    small, _, _ = progen(student_folder, rows=71, journal=Journal(tmp_path))
    assert [row.fields for row in small] == [row.fields for row in rows[:71]]
    assert chunks(tmp_path) < chunks(folder)


def test_what_was_computed_is_not_computed_again(student_folder, monkeypatch, whole):
    folder, rows, run, _ = whole
    monkeypatch.setattr(hf_synth.classifier, "fit", lambda *_: pytest.fail("trained again"))
    again, rerun, generator = progen(student_folder, rows=160, journal=Journal(folder))
    assert [(row.fields, row.prompt) for row in again] == [(row.fields, row.prompt) for row in rows]
    assert rerun.ledger.notes == run.ledger.notes
    assert not generator.prompts


@pytest.mark.parametrize("name", ["ag_news", str(ROOT / "recipes/paper_tasks/rte.yaml")])
def test_any_number_of_labels_and_pairs(student_folder, name):
    task = load_task(name)
    rows, _, generator = progen(
        student_folder, rows=80, task=task, feedback="random", feedback_ratio=1.0, max_attempts=50
    )
    asked = [prompt for prompt in generator.prompts if shown_in(prompt)]
    assert {prompt.cell for prompt in asked} == set(task.labels)
    for prompt in asked:
        shown = [rows[at].fields[task.generated] for at in shown_in(prompt)]
        block = "".join(f'"{text}"\n\n' for text in shown)  # neither has a template for examples
        assert prompt.text.startswith(block)
        assert bool(prompt.against) == (task.name == "rte")
        assert all(text.startswith(block) for text in prompt.against)


def test_examples_that_do_not_fit_are_left_out_whole(student_folder):
    settings = {"examples": 8, "example_words": 75, "feedback_ratio": 1.0}
    _, _, generator = progen(student_folder, rows=60, feedback="random", **settings)
    for prompt in generator.prompts:
        shown = prompt.text.split("\n\n")[:-1]
        assert len(shown) == len(shown_in(prompt))
        assert sum(len(text.split()) for text in shown) <= 75
        assert all(text.endswith('"') for text in shown)
    assert {len(shown_in(prompt)) for prompt in generator.prompts} == {0, 2}  # of 35 words each


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quality_data": "oracle"}, "`quality_data: oracle` and `oracle_rows`.* go together; got oracle and None"),
        ({"oracle_rows": "some/where"}, "go together; got synthetic and 'some/where'"),
        ({"quality_model": "no/such-model"}, "no model 'no/such-model'"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_asked(student_folder, settings, message):
    generator = Reviews()
    with pytest.raises(InputError, match=message):
        progen(student_folder, generator=generator, **settings)
    assert not generator.prompts


def test_rows_that_the_task_is_judged_on_do_not_judge():
    task = {"name": "mine", "labels": {"a": "good", "b": "bad"}, "prompt": "{label}"}
    config = get("progen").config(quality_data="oracle", oracle_rows="me/rows")
    for split, refused in (("test", False), ("train", True), ("train+test", True)):
        given = SynthConfig(task={**task, "reference": {"path": "me/rows", "split": split}}, method="progen")
        if not refused:
            Plan.of(given, config)
            continue
        with pytest.raises(InputError, match="mine is judged on the split 'train.*' of 'me/rows'"):
            Plan.of(given, config)
