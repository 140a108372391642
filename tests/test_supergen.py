"""SuperGen: what it asks, what it keeps of it and why, and in which order."""

import dataclasses
from collections import Counter
from pathlib import Path
from statistics import fmean

import pytest
from datasets import Dataset

from hf_synth.commands.options import parse
from hf_synth.errors import InputError
from hf_synth.fit import trainer_config
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.journal import Journal
from hf_synth.methods import get
from hf_synth.produce import Plan
from hf_synth.records import Completion
from hf_synth.run import Run
from hf_synth.settings import StudentConfig, SynthConfig
from hf_synth.tasks import load_task, parse_task

LABELS = ("negative", "positive")


class Sure(ScriptedGenerator):
    """Writes the text that it is scripted to, with a log-probability that the text tells; keeps what it is asked."""

    def __init__(self, script=None, name="sure"):
        super().__init__(script or (lambda prompt, rng: f" of {rng.randrange(10**6)} is what it is"), name=name)
        self.asked = []

    def complete(self, prompts, *, seed, batch_size, **decoding):
        self.asked += [(prompt, decoding) for prompt in prompts]
        plain = super().complete(prompts, seed=seed, batch_size=batch_size, **decoding)
        return [Completion(c.text, self.logprob(c.text), c.tokens) for c in plain]

    @staticmethod
    def logprob(text):
        digits = "".join(c for c in text if c.isdigit())
        return -int(digits) / 10**6 if digits else -1.0


def review_task(**changes):
    values = {
        "name": "reviews",
        "labels": ["negative", "positive"],
        "control": "Reviews",
        "starts": ["The movie", "This film"],
        "prompt": {"negative": "Rating: 1.0", "positive": "Rating: 5.0"},
        "repetition": {"positive": [0.9, 1.1]},
        "stop": ["\n"],
    }
    return parse_task({**values, **changes}, "reviews")


def pair_task(tmp_path, lines=40, **changes):
    folder = tmp_path / "corpus/data"
    folder.mkdir(parents=True, exist_ok=True)
    texts = [f"Real line number {at}." for at in range(lines)]
    Dataset.from_dict({"text": texts}).to_parquet(folder / "train-0.parquet")
    values = {
        "name": "nli",
        "kind": "pair",
        "labels": ["entailment", "neutral"],
        "columns": ["premise", "hypothesis"],
        "prompt": {"entailment": '"{premise}" In other words, "', "neutral": '"{premise}" Furthermore, "'},
        "opening": {"corpus": {"path": str(tmp_path / "corpus"), "column": "text"}, "prompt": 'A line: "'},
        "repetition": {"entailment": [0.8, 1.1], "neutral": [1.3, 1.3]},
    }
    return parse_task({**values, **changes}, "nli")


def rows_of(task, generator, rows=40, journal=None, **settings):
    method = get("supergen")
    run = Run(task, generator, num_rows=rows, journal=journal, chunk_size=32)
    config = method.config(**settings)
    method.check(task, config)
    return list(method.generate(run, config)), run


def test_prompts_end_with_a_start_word_that_the_text_keeps():
    generator = Sure()
    rows, _ = rows_of(review_task(), generator, control_codes=True)
    asked = {prompt.text for prompt, _ in generator.asked}
    starts = ("The movie", "This film")
    assert asked == {f"Reviews Rating: {stars} {start}" for stars in ("1.0", "5.0") for start in starts}
    for row in rows:
        start = row.prompt.text[len("Reviews Rating: 1.0 ") :]
        assert row.fields["text"].startswith(f"{start} of ")
        assert row.logprob == Sure.logprob(row.fields["text"])  # the score is that of what was sampled
        assert not row.prompt.against
    drawn = Counter(row.prompt.attributes["start word"] for row in rows)
    assert set(drawn) == set(starts)


def test_a_start_word_goes_inside_an_open_quote_and_control_codes_are_asked_for():
    generator = Sure()
    task = review_task(prompt='A {label} review: "', stop=['"'])
    rows, _ = rows_of(task, generator)
    assert {p.text for p, _ in generator.asked} == {
        f'A {label} review: "{start}' for label in LABELS for start in task.starts
    }
    repeats = Sure(lambda prompt, rng: f"{prompt.attributes['start word']} of {rng.randrange(10**6)} is what it is")
    rows, _ = rows_of(task, repeats)
    assert all(row.fields["text"].count(row.prompt.attributes["start word"]) == 1 for row in rows)
    with pytest.raises(InputError, match="`control_codes` needs a task with `control`; 'sst2' has none"):
        rows_of(load_task("sst2"), generator, control_codes=True)


def test_each_label_is_decoded_with_its_own_factors(tmp_path):
    generator = Sure()
    rows_of(review_task(), generator)
    decoding = {prompt.cell: decoding for prompt, decoding in generator.asked}
    assert decoding["positive"]["repetition_reward"] == 0.9
    assert decoding["positive"]["repetition_penalty"] == 1.1
    assert decoding["negative"]["repetition_reward"] == 1.0  # of which the task says nothing
    assert decoding["negative"]["repetition_penalty"] == 1.2
    assert all(d["top_k"] == 10 and d["temperature"] == 0.2 and d["stop"] == ("\n",) for d in decoding.values())
    generator = Sure()
    rows_of(review_task(), generator, repetition_reward=0.5, repetition_penalty=1.0, top_k=0, temperature=1.5)
    for _, d in generator.asked:
        assert (d["repetition_reward"], d["repetition_penalty"], d["top_k"], d["temperature"]) == (0.5, 1.0, 0, 1.5)


@pytest.mark.parametrize("rows", [40, 41])
def test_the_likeliest_of_each_label_are_kept_rank_by_rank(rows):
    generator = Sure()
    found, run = rows_of(review_task(), generator, rows=rows, attempts=3)
    each = 3 * -(-rows // 2)
    pool = {label: run_pool(generator, label, each) for label in LABELS}
    for label in LABELS:
        scores = [row.logprob for row in found if row.target == label]
        assert scores == sorted(pool[label], reverse=True)[: run.targets()[label]]
    assert [row.target for row in found] == [LABELS[at % 2] for at in range(rows)]
    counts = run.ledger.stage("rows")
    assert counts.kept == rows
    assert counts.dropped["ranked below"] == 2 * each - rows
    table = {line["label"]: line for line in run.ledger.notes["selection"]}
    for label in LABELS:
        own = [row.logprob for row in found if row.target == label]
        assert table[label]["pool, texts"] == each
        assert table[label]["kept, texts"] == len(own)
        assert table[label]["pool, mean log-probability"] == pytest.approx(fmean(pool[label]), abs=1e-4)
        assert table[label]["kept, least"] == pytest.approx(min(own), abs=1e-4)


def test_a_label_can_keep_what_is_unlikely_or_anything():
    """Ungrammatical sentences are those that the model finds unlikely; neutral ones are drawn."""
    task = dataclasses.replace(review_task(), ranking={"negative": "unlikely", "positive": "random"})
    generator = Sure()
    found, _ = rows_of(task, generator, rows=40, attempts=3)
    own = {label: [row.logprob for row in found if row.target == label] for label in LABELS}
    pool = {label: sorted(run_pool(generator, label, 60)) for label in LABELS}
    assert own["negative"] == pool["negative"][:20]  # rank by rank
    assert own["positive"] != sorted(own["positive"], reverse=True)
    assert sorted(own["positive"]) not in (pool["positive"][:20], pool["positive"][-20:])
    assert set(own["positive"]) <= set(pool["positive"])


def run_pool(generator, label, each):
    """Return the log-probabilities of the first different texts that a generator wrote for a label."""
    again = Sure(generator.script, generator.name)
    method = get("supergen")
    run = Run(review_task(), again, num_rows=2 * each, chunk_size=32)
    rows = list(method.generate(run, method.config(attempts=1)))
    return [row.logprob for row in rows if row.target == label]


def test_random_selection_takes_others_of_the_same_pool():
    likely, _ = rows_of(review_task(), Sure(), attempts=4)
    drawn, run = rows_of(review_task(), Sure(), attempts=4, selection="random")
    assert Counter(row.target for row in drawn) == {"negative": 20, "positive": 20}
    assert run.ledger.stage("rows").dropped["not drawn"] == 120
    assert "ranked below" not in run.ledger.stage("rows").dropped
    assert fmean(row.logprob for row in drawn) < fmean(row.logprob for row in likely)
    scores = [row.logprob for row in drawn if row.target == "positive"]
    assert scores != sorted(scores, reverse=True)
    asked, again = Sure(), Sure()
    rows_of(review_task(), asked, attempts=4)
    rows_of(review_task(), again, attempts=4, selection="random")
    assert asked.asked == again.asked


def test_pairs_take_each_corpus_line_once_under_every_label(tmp_path):
    task, generator = pair_task(tmp_path), Sure()
    rows, run = rows_of(task, generator, rows=20, attempts=2, openings="corpus", temperature=0)
    for row in rows:
        assert row.fields["premise"].startswith("Real line number")
        assert f'"{row.fields["premise"]}"' in row.prompt.text
    lines = {label: [p.given["premise"] for p, _ in generator.asked if p.cell == label] for label in task.labels}
    for own in lines.values():
        assert len(set(own)) == len(own)
    least = min(map(len, lines.values()))
    assert lines["entailment"][:least] == lines["neutral"][:least]
    assert [source.path for source in get("supergen").sources(task, get("supergen").config(openings="corpus"))]
    few = pair_task(tmp_path, lines=12)
    rows, run = rows_of(few, Sure(), rows=20, attempts=2, openings="corpus", temperature=0)
    assert len(rows) == 20  # all 12 lines of each label were written to, fewer than the 20 texts wanted of it
    assert run.ledger.accounts == {}  # the pool is short, the rows are not
    rows, _ = rows_of(few, Sure(), rows=20, attempts=2, openings="corpus", temperature=1.0)
    assert max(Counter(row.fields["premise"] for row in rows).values()) > 1


def test_copies_of_the_given_text_are_dropped(tmp_path):
    def copying(prompt, rng):
        text = prompt.given["premise"]
        return f"{text.upper()} !" if rng.random() < 0.5 else f"Another {rng.randrange(10**6)} thing"

    rows, run = rows_of(pair_task(tmp_path), Sure(copying), rows=10, attempts=2, openings="corpus", temperature=0)
    assert run.ledger.stage("rows").dropped["copy"] > 5
    assert not [row for row in rows if row.fields["hypothesis"].casefold().startswith("real")]


def test_generated_openings_are_sampled_and_are_no_rows(tmp_path):
    def script(prompt, rng):
        return f"Line {rng.randrange(10**6)} here" if prompt.cell is None else f"So {rng.randrange(10**6)} it is"

    generator = Sure(script)
    rows, run = rows_of(pair_task(tmp_path), generator, rows=8, openings="generated", temperature=0)
    assert all(row.fields["premise"].startswith("Line ") for row in rows)
    first = next(decoding for prompt, decoding in generator.asked if prompt.cell is None)
    assert first["temperature"] == 1.0
    assert run.ledger.stage("rows").kept == 8
    assert run.ledger.stage("openings").kept > 0


def test_a_backend_that_tells_no_log_probabilities_is_refused_at_once():
    class Silent(ScriptedGenerator):
        asked = 0

        def complete(self, prompts, **settings):
            self.asked += len(prompts)
            return super().complete(prompts, **settings)

    silent = Silent(lambda prompt, rng: f" of {rng.random()} and more")
    with pytest.raises(InputError, match="which this backend does not tell: use the backend local or vllm"):
        rows_of(review_task(), silent, rows=1000)
    assert silent.asked == 24
    rows, run = rows_of(review_task(), silent, selection="random")
    assert len(rows) == 40
    assert {line["kept, least"] for line in run.ledger.notes["selection"]} == {"unknown"}


def test_what_it_cannot_write_is_refused():
    tokens = parse_task({"name": "t", "kind": "tokens", "labels": ["a", "b"], "prompt": "{label}"}, "t")
    with pytest.raises(InputError, match="supergen is for tasks of kind single, pair; 't' is of kind 'tokens'"):
        rows_of(tokens, Sure())
    with pytest.raises(InputError, match="'reviews' has none"):
        rows_of(review_task(), Sure(), openings="corpus")
    own = {"kind": "pair", "columns": ["a", "b"], "labels": ["x", "y"], "prompt": "{a} {label}"}
    lineless = parse_task({"name": "nli", **own, "opening": {"prompt": "A line:"}}, "nli")
    with pytest.raises(InputError, match="needs a task with `opening.corpus`; 'nli' has none; give `corpus`, or set"):
        rows_of(lineless, Sure(), openings="corpus")


def told(rows):
    return [(row.fields["text"], row.target, row.logprob, row.prompt.text) for row in rows]


def test_killed_and_started_again_it_gives_the_same_rows(tmp_path):
    class Dies(Sure):
        def complete(self, prompts, **settings):
            if len(self.asked) > 60:
                raise KeyboardInterrupt
            return super().complete(prompts, **settings)

    whole, _ = rows_of(review_task(), Sure(), journal=Journal(tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        rows_of(review_task(), Dies(), journal=Journal(tmp_path / "killed"))
    recorded = chunks(tmp_path / "killed")
    assert recorded
    rest = Sure()
    again, _ = rows_of(review_task(), rest, journal=Journal(tmp_path / "killed"))
    assert told(again) == told(whole)
    assert chunks(tmp_path / "killed") == chunks(tmp_path / "whole") > recorded
    assert 0 < len(rest.asked) < 200


def chunks(folder):
    return {file.name for file in (folder / "chunks").glob("*/*.json")}


@pytest.mark.parametrize("rows", [(20, 90), (21, 22), (33, 91)])
def test_chunks_of_a_smaller_run_are_among_those_of_a_larger(tmp_path, rows):
    def repeats(prompt, rng):  # some labels lose more than others
        return f" of {rng.randrange(60 if prompt.cell == 'positive' else 10**6)} is what it is"

    for count in rows:
        rows_of(review_task(), Sure(repeats), rows=count, attempts=2, journal=Journal(tmp_path / str(count)))
    small, large = (chunks(tmp_path / str(count)) for count in rows)
    assert small <= large


@pytest.mark.parametrize(("task", "openings", "temperature"), [("sst2", "generated", 0.2), ("qnli", "corpus", 0)])
def test_settings_left_out_are_the_papers(task, openings, temperature):
    found = parse(["--task", task, "--method", "supergen"], "hf-synth run", SynthConfig, StudentConfig)
    assert (found["method"].openings, found["method"].temperature) == (openings, temperature)
    Plan.of(found[SynthConfig], found["method"])
    student = found[StudentConfig]
    assert (student.trainer, student.label_smoothing) == ("ensemble", 0.15)
    made = trainer_config(student, 0)
    assert (made.momentum, made.weight, made.keep_above, made.every) == (0.8, 10.0, 0.8, 20)


@pytest.mark.parametrize("name", ["cola", "mnli", "mrpc", "qqp", "qnli", "rte"])
def test_the_papers_tasks_have_their_control_codes(name):
    papers = Path(__file__).parent.parent / "recipes/paper_tasks" / f"{name}.yaml"
    task = load_task(str(papers) if papers.exists() else name)
    assert task.control in ("Wikipedia", "Links")
    assert all(0 < factor < 2 for pair in task.repetition.values() for factor in pair)
