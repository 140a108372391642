from collections import Counter
from dataclasses import replace
from itertools import repeat
from types import SimpleNamespace

import pytest

from hf_synth.dealing import HAND, PROBE
from hf_synth.errors import InputError
from hf_synth.filters.surface import Unique
from hf_synth.generators.base import OutOfMemory
from hf_synth.generators.scripted import ScriptedGenerator
from hf_synth.journal import Journal
from hf_synth.methods import get
from hf_synth.parse import labelled
from hf_synth.records import Prompt
from hf_synth.run import Run
from hf_synth.tasks import load_task

ANY = labelled(replace(load_task("sst2"), min_words=1))


class Counting:
    """A generator that counts what it is asked, around another."""

    def __init__(self, inner):
        self.inner, self.name, self.digest, self.source = inner, inner.name, inner.digest, inner.source
        self.asked, self.sizes = 0, []

    def complete(self, prompts, *, seed, batch_size, **decoding):
        self.asked += len(prompts)
        self.sizes.append(batch_size)
        return self.inner.complete(prompts, seed=seed, batch_size=batch_size, **decoding)


def make(generator, folder=None, rows=300, **settings):
    run = Run(load_task("sst2"), generator, num_rows=rows, journal=Journal(folder), **settings)
    method = get("zerogen")
    return run, [(e.fields["sentence"], e.target) for e in method.generate(run, method.config())]


def test_rows_are_balanced_and_counted(scripted):
    run, rows = make(scripted, rows=301)
    assert Counter(label for _, label in rows) == {"negative": 151, "positive": 150}
    assert len({text.casefold() for text, _ in rows}) == 301
    counts = run.ledger.stage("rows")
    assert counts.asked == len(rows) + counts.dropped.total()
    assert counts.dropped["surplus"] > 0
    assert counts.dropped["short"] > 0
    assert counts.dropped["duplicate"] > 0


def test_rows_of_a_smaller_run_open_those_of_a_larger(scripted, tmp_path):
    _, few = make(scripted, tmp_path, rows=1000)
    counting = Counting(scripted)
    run, many = make(counting, tmp_path, rows=2000)
    assert many[:1000] == few
    fresh, _ = make(Counting(scripted), rows=2000)
    assert 0 < counting.asked < run.ledger.stage("rows").asked
    assert fresh.ledger.facts()["stages"]["rows"]["asked"] == run.ledger.facts()["stages"]["rows"]["asked"]


def test_a_small_run_asks_for_few_rows_that_nobody_needs():
    """Chunks grow from few prompts to whole ones and hold prompts of several labels, so that little is over."""
    whole = ScriptedGenerator(lambda prompt, rng: f"what is the number {rng.randrange(10**9)} good for?")
    run = Run(load_task("trec"), whole, num_rows=60)
    assert len(list(get("zerogen").generate(run, get("zerogen").config()))) == 60
    assert run.ledger.stage("rows").asked == 3 * PROBE
    sizes, labels = [], []
    run = Run(load_task("trec"), whole, num_rows=6 * 700)
    decide = run.chunks.decide

    def noted(prompts, decoding):
        sizes.append(len(prompts))
        labels.append(Counter(prompt.cell for prompt in prompts))
        return decide(prompts, decoding)

    run.chunks.decide = noted
    list(get("zerogen").generate(run, get("zerogen").config()))
    assert sizes[:8] == [PROBE, PROBE, PROBE, 36, 54, 81, 121, 182]
    assert {*sizes[8:]} == {256}
    assert run.ledger.stage("rows").asked < 6 * 700 + 256
    assert all(count >= HAND[1] for part in labels[8:] for count in part.values())  # who share a beginning


def test_a_label_that_is_hard_to_write_gets_more_of_a_chunk():
    generator = ScriptedGenerator(
        lambda prompt, rng: "no" if prompt.cell == "positive" and rng.random() < 0.8 else f"text {rng.random()} of it"
    )
    run, rows = make(generator, rows=400)
    assert Counter(label for _, label in rows) == {"negative": 200, "positive": 200}
    assert [cell.kept < 300 for cell in run.cells] == [True, True]
    assert run.cells[1].asked > 3 * run.cells[0].asked


@pytest.mark.parametrize("names", [["negative", "positive"], ["default"]])
def test_labels_with_parameters_of_their_own_have_chunks_of_their_own(names):
    class Noting(ScriptedGenerator):
        def complete(self, prompts, **settings):
            asked.append({prompt.cell for prompt in prompts})
            return super().complete(prompts, **settings)

    asked, generator = [], Noting(lambda prompt, rng: f"text {rng.random()} of it")
    generator.adapter = SimpleNamespace(names=names)
    run = Run(load_task("sst2"), generator)
    targets = dict.fromkeys(run.task.cells, 40)
    assert len(list(run.fill(targets, lambda cell: repeat(Prompt("a text", cell=cell)), ANY))) == 80
    assert max(map(len, asked)) == (1 if len(names) == 2 else 2)


def test_a_label_whose_prompts_end_gives_its_account(scripted):
    run = Run(load_task("sst2"), scripted)
    few = {"negative": 7, "positive": 0}
    rows = list(run.fill(dict.fromkeys(few, 30), lambda cell: repeat(Prompt("a", cell=cell), few[cell]), ANY))
    assert 0 < len(rows) <= 7
    assert run.ledger.accounts["positive"] == "0 of 30 rows after 0 completions"
    assert run.ledger.accounts["negative"] == f"{len(rows)} of 30 rows after 7 completions"


def test_nothing_recorded_is_asked_again(scripted, tmp_path):
    _, first = make(scripted, tmp_path)
    counting = Counting(scripted)
    _, second = make(counting, tmp_path)
    assert counting.asked == 0
    assert second == first


def test_another_seed_gives_other_rows(scripted):
    assert make(scripted, seed=0)[1] != make(scripted, seed=1)[1]


def test_equal_prompts_get_new_answers(scripted):
    run = Run(load_task("sst2"), scripted, chunk_size=8)
    prompts = repeat(Prompt("same", cell="positive"), 32)
    texts = [e.fields["sentence"] for e in run.complete(prompts, ANY)]
    assert len(set(texts)) > 16


def test_a_cell_that_cannot_be_filled_gives_its_account():
    generator = ScriptedGenerator(
        lambda prompt, rng: "always the same text" if prompt.cell == "positive" else f"text {rng.random()} of a kind"
    )
    run, rows = make(generator, rows=200)
    assert Counter(label for _, label in rows) == {"negative": 100, "positive": 1}
    assert list(run.ledger.accounts) == ["positive"]
    assert "1 of 100 rows after" in run.ledger.accounts["positive"]


def test_a_generator_that_gives_nothing_is_found_out_at_once():
    counting = Counting(ScriptedGenerator(lambda prompt, rng: "no" if prompt.cell else f"title {rng.random()}"))
    with pytest.raises(
        InputError, match=r"nothing of the first 24 rows could be kept \(mostly: short\).*answered 'no'"
    ):
        make(counting, rows=100_000)
    assert counting.asked == 2 * PROBE


def test_out_of_memory_halves_the_batch_for_good(scripted, tmp_path):
    class Small(Counting):
        def complete(self, prompts, *, seed, batch_size, **decoding):
            if batch_size > 32:
                self.sizes.append(batch_size)
                raise OutOfMemory
            return super().complete(prompts, seed=seed, batch_size=batch_size, **decoding)

    small = Small(scripted)
    _, rows = make(small, tmp_path, rows=200)
    assert small.sizes[:3] == [128, 64, 32]
    assert set(small.sizes[3:]) == {32}
    large = Counting(scripted)  # a machine with more memory obeys what was recorded
    _, again = make(large, tmp_path, rows=200)
    assert (large.asked, again) == (0, rows)
    _, more = make(large, tmp_path, rows=1000)
    assert set(large.sizes) == {32}
    assert more[:200] == rows


def test_a_consumer_that_stops_early_loses_nothing(scripted):
    run = Run(load_task("sst2"), scripted, chunk_size=64)
    stream = run.complete(repeat(Prompt("p", cell="positive")), ANY, Unique())
    taken = [next(stream) for _ in range(30)]
    stream.close()
    counts = run.ledger.stage("rows")
    assert counts.kept == len(taken)
    assert counts.dropped["surplus"] > 0


def test_keep_counts_under_the_reason(scripted):
    run = Run(load_task("sst2"), scripted)
    examples = list(run.complete(repeat(Prompt("p", cell="positive"), 24), ANY))
    kept = list(run.keep(examples, lambda block: ["odd" if at % 2 else None for at in range(len(block))]))
    assert kept == examples[::2]
    assert run.ledger.stage("rows").dropped["odd"] == len(examples) // 2


def test_once_computes_once(tmp_path, scripted):
    calls = []

    def compute():
        calls.append(1)
        return {"score": 0.1 + 0.2}

    for _ in range(2):
        run = Run(load_task("sst2"), scripted, journal=Journal(tmp_path))
        assert run.once("score", {"a": 1}, compute) == {"score": 0.1 + 0.2}
    assert len(calls) == 1
    run.once("score", {"a": 2}, compute)
    assert len(calls) == 2


def test_once_folder_is_whole_or_absent(tmp_path, scripted):
    run = Run(load_task("sst2"), scripted, journal=Journal(tmp_path))

    def fails(folder):
        (folder / "half").write_text("x")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        run.once_folder("student", 1, fails)
    folder = run.once_folder("student", 1, lambda folder: (folder / "whole").write_text("y"))
    assert [file.name for file in folder.iterdir()] == ["whole"]
    assert run.once_folder("student", 1, fails) == folder


class Moody(Counting):
    """Runs out of memory on some chunks, openings among them; which, their prompts decide."""

    def complete(self, prompts, *, seed, batch_size, **decoding):
        if batch_size > 32 and seed % 3 == 0:
            raise OutOfMemory
        return super().complete(prompts, seed=seed, batch_size=batch_size, **decoding)


@pytest.mark.parametrize("seed", range(4))
def test_out_of_memory_in_the_middle_changes_no_bytes_afterwards(scripted, tmp_path, seed):
    settings = {"chunk_size": 32, "batch_size": 64, "seed": seed}
    _, few = make(Moody(scripted), tmp_path, rows=200, **settings)
    _, again = make(counting := Moody(scripted), tmp_path, rows=200, **settings)
    assert counting.asked == 0
    assert again == few
    _, more = make(Moody(scripted), tmp_path, rows=600, **settings)
    _, fresh = make(moody := Moody(scripted), rows=600, **settings)
    assert 32 in moody.sizes
    assert more == fresh
    assert more[:200] == few


def test_what_an_endpoint_could_not_give_is_dropped_under_its_reason():
    class Failing(Counting):
        def complete(self, prompts, **settings):
            done = self.inner.complete(prompts, **settings)
            return [replace(c, finish="malformed") if at % 4 == 0 else c for at, c in enumerate(done)]

    inner = ScriptedGenerator(lambda prompt, rng: f"A whole text of {rng.random()} for you.", name="whole")
    run, rows = make(Failing(inner), rows=60)
    counts = run.ledger.stage("rows")
    assert counts.dropped["malformed"] == counts.asked / 4
    assert len(rows) == 60


def test_a_fill_goes_on_where_one_had_rows_over(scripted):
    run, over = Run(load_task("sst2"), scripted, chunk_size=16), []

    def prompts_for(cell):
        return repeat(Prompt(f"a {cell} text", cell=cell))

    def fill(each):
        targets = dict.fromkeys(run.task.cells, each)
        return list(run.fill(targets, prompts_for, ANY, Unique(), over=over))

    first = fill(10)
    held = list(over)
    assert len(first) == 20
    assert held
    second = fill(10)
    for cell in run.task.cells:  # what was over comes first, in order
        before = [e for e in held if e.cell == cell][:10]
        assert [e for e in second if e.cell == cell][: len(before)] == before
    assert Counter(e.cell for e in second) == {"negative": 10, "positive": 10}
    ledger = run.ledger.stage("rows")
    assert ledger.kept == len(first) + len(second) + len(over)
    assert sum(cell.kept - cell.want for cell in run.cells) == len(over)  # what progress leaves out
    assert not ledger.dropped["surplus"]


def test_cells_have_decoding_of_their_own():
    asked = []

    class Noting(ScriptedGenerator):
        def complete(self, prompts, *, seed, batch_size, **decoding):
            asked.extend((prompt.cell, decoding["temperature"], decoding["top_k"]) for prompt in prompts)
            return super().complete(prompts, seed=seed, batch_size=batch_size, **decoding)

    run = Run(load_task("sst2"), Noting(lambda prompt, rng: f"text {rng.random()}"), chunk_size=8)
    by_cell = {"positive": {"temperature": 0.5}}
    targets = dict.fromkeys(run.task.cells, 5)
    list(
        run.fill(
            targets,
            lambda cell: repeat(Prompt("a text", cell=cell)),
            ANY,
            by_cell=by_cell,
            temperature=1.0,
            top_k=3,
        )
    )
    assert set(asked) == {("negative", 1.0, 3), ("positive", 0.5, 3)}


def test_a_filter_that_ranks_sees_all_at_once(scripted):
    run = Run(load_task("sst2"), scripted, chunk_size=4)
    prompts = [Prompt("same", cell="positive") for _ in range(20)]
    pool = list(run.complete(prompts, ANY))
    sizes = []

    def shortest(examples):
        sizes.append(len(examples))
        return [None if at < 3 else "long" for at in range(len(examples))]

    assert len(list(run.keep(pool, shortest, whole=True))) == 3
    assert sizes == [20]
    assert run.ledger.stage("rows").dropped["long"] == 17


def test_a_later_fill_of_which_nothing_can_be_kept_gives_its_account():
    run = Run(
        load_task("sst2"), ScriptedGenerator(lambda prompt, rng: f"the only text of {prompt.cell}"), chunk_size=8
    )
    unique = Unique()

    def prompts_for(cell):
        return repeat(Prompt("a text", cell=cell))

    def fill(each):
        targets = dict.fromkeys(run.task.cells, each)
        return list(run.fill(targets, prompts_for, ANY, unique, max_attempts=4))

    assert [example.cell for example in fill(1)] == ["negative", "positive"]
    assert fill(5) == []  # the rows there are stay, and so does the run
    assert [*run.ledger.accounts] == ["negative", "positive"]


def test_the_digest_of_a_script_does_not_depend_on_the_order_of_its_sets():
    def script(prompt, rng):
        return "a" if rng.random() in {0, 8} else "b"

    code = script.__code__
    places = [at for at, value in enumerate(code.co_consts) if isinstance(value, frozenset)]
    digests = set()
    for order in ([0, 8], [8, 0]):  # which collide, so that the first one in stays in front
        constants = [frozenset(order) if at in places else value for at, value in enumerate(code.co_consts)]
        script.__code__ = code.replace(co_consts=tuple(constants))
        digests.add(ScriptedGenerator(script).digest)
    assert len(places) == len(digests) == 1
