"""Chunks of chat requests that are begun beside each other: who sends first, and what ends them."""

import itertools
import os
import signal
import threading
import time

import pytest
from chat_cases import chat, place, prompts
from chat_stub import Reply, Stub, error

from hf_synth.errors import InputError
from hf_synth.journal import Journal
from hf_synth.records import Example, Prompt
from hf_synth.run import Run
from hf_synth.tasks import parse_task

TASK = parse_task({"name": "t", "labels": ["a", "b"], "prompt": "{label}"}, "t")


def test_the_next_chunk_takes_slots_as_they_fall_free_and_never_sooner():
    rows = prompts(60)

    def slow(messages, *_):  # row 3 is answered when all others have left: nobody may wait for it
        if place(messages) == 3:
            return Reply("text 3", until=lambda: len(stub.requests) == 60)
        return Reply(f"text {place(messages)}", until=lambda: stub.most == 8, delay=0.005)

    with Stub(slow) as stub:
        generator = chat(stub, concurrency=8)
        waits = [generator.start(rows[:20], seed=1), generator.start(rows[20:40], seed=2)]
        waits.append(generator.start(rows[40:], seed=3))
        found = [wait() for wait in waits]
    assert [answer.text for chunk in found for answer in chunk] == [f"text {at}" for at in range(60)]
    sent = [place(request["messages"]) for request in stub.requests]
    for later in (20, 40):  # a chunk's rows leave before any other; what is under way at once may arrive in any order
        last, first = max(map(sent.index, range(later))), min(map(sent.index, range(later, 60)))
        assert last < first + 8
    assert stub.most == 8


def test_a_run_of_many_chunks_keeps_all_slots_busy(tmp_path):
    # A chunk alone takes two waves of which the second is half empty, as a run's first does. All later rows are
    # answered when 8 of them, or the last 4, are there: never, where a slot stays empty at the end of a chunk.
    def in_waves(*_):
        before, end = (0, 12) if len(stub.requests) <= 12 else (12, 120)
        whole = min(before + -(-(len(stub.requests) - before) // 8) * 8, end)
        return Reply("text", until=lambda: len(stub.requests) >= whole)

    with Stub(in_waves) as stub:
        journal = Journal(tmp_path)
        run = Run(TASK, chat(stub, concurrency=8), seed=1, journal=journal, chunk_size=12)
        rows = run.complete(prompts(120), lambda prompt, answer: Example({"text": answer.text}, "a", "a", prompt))
        assert len(list(rows)) == 120
    assert not list((tmp_path / "unfinished").glob("*"))


def test_what_ends_a_chunk_ends_those_after_it_and_what_is_under_way_is_recorded():
    gone, first, second = threading.Event(), {}, {}

    def dies(messages, *_):
        if place(messages) == 5:
            gone.set()
            return Reply(status=404, body=error(404, "gone").body, delay=0.1)
        return Reply("text", delay=0.3 if gone.is_set() else 0.0)

    with Stub(dies) as stub:
        generator = chat(stub, concurrency=8)
        wait = generator.start(prompts(12), seed=1, answered=first)
        generator.start([*prompts(80)][12:], seed=2, answered=second)
        with pytest.raises(InputError, match="does not serve 'stub' to us"):
            wait()
        sent = len(stub.requests)
        assert len(first) + len(second) == sent - 1 < 30
        time.sleep(0.3)
        assert len(stub.requests) == sent
        assert generator.complete(prompts(3), seed=3)  # what was stopped is no part of what comes next


def test_a_full_disk_ends_two_chunks_as_it_ends_one():
    class Full(dict):
        def __setitem__(self, key, answer):
            if len(self) == 5:
                raise OSError(28, "No space left on device")
            super().__setitem__(key, answer)

    with Stub(lambda *_: Reply("text", delay=0.01)) as stub:
        generator = chat(stub, concurrency=4)
        wait = generator.start(prompts(12), seed=1, answered=Full())
        generator.start(prompts(80), seed=2)
        with pytest.raises(OSError, match="No space left"):
            wait()
        assert len(stub.requests) < 30


def test_a_chunk_behind_one_that_failed_asks_for_nothing():
    with Stub(lambda messages, *_: error(404, "gone") if place(messages) == 25 else Reply("text")) as stub:
        generator = chat(stub, concurrency=4)
        first, second = generator.start(prompts(12), seed=1), generator.start(prompts(40)[20:], seed=2)
        assert len(first()) == 12
        while not generator._chunks[-1].ended.is_set():
            time.sleep(0.002)
        sent, third = len(stub.requests), generator.start(prompts(80), seed=3)
        with pytest.raises(InputError, match="does not serve"):
            second()
        with pytest.raises(InputError, match="does not serve"):
            third()
        assert len(stub.requests) == sent < 30


def test_small_chunks_share_the_slots():
    with Stub(lambda *_: Reply("text", until=lambda: stub.most >= 16, delay=0.05)) as stub:
        generator = chat(stub, concurrency=16)
        waits = [generator.start(prompts(8), seed=seed) for seed in range(4)]
        assert [len(wait()) for wait in waits] == [8] * 4
        assert stub.most == 16


def kept(prompt, answer):
    return Example({"text": answer.text}, prompt.cell, prompt.cell, prompt)


def endless(cell):
    return (Prompt(f"{cell} {at}", cell) for at in itertools.count())


def test_no_row_is_paid_for_that_the_run_does_not_count(tmp_path):
    with Stub(lambda *_: Reply("text", delay=0.01)) as stub:
        run = Run(TASK, chat(stub, concurrency=8), seed=1, journal=Journal(tmp_path), chunk_size=64)
        rows = list(run.fill({"a": 45, "b": 45}, endless, kept))
        assert len(rows) == 90
        assert len(stub.requests) == run.ledger.stage("rows").asked
        opened = run.complete(endless("a"), kept, stage="openings")
        assert len(list(itertools.islice(opened, 70))) == 70
        opened.close()
        asked = run.ledger.stage("rows").asked + run.ledger.stage("openings").asked
        time.sleep(0.1)
        assert len(stub.requests) == asked
    assert not list((tmp_path / "unfinished").glob("*"))


def test_who_stops_in_the_middle_loses_what_is_in_flight_at_most(tmp_path):
    with Stub(lambda *_: Reply("text", delay=0.03)) as stub:
        run = Run(TASK, chat(stub, concurrency=8), seed=1, journal=Journal(tmp_path), chunk_size=40)
        listed = [Prompt(f"row {at}", "a") for at in range(400)]
        rows = run.complete(listed, kept)
        assert len(list(itertools.islice(rows, 30))) == 30
        rows.close()
        sent = len(stub.requests)
        recorded = sum(len(path.read_text().splitlines()) for path in (tmp_path / "unfinished").glob("*"))
        assert sent == run.ledger.stage("rows").asked + recorded <= 5 * 40  # one chunk, and four that were begun
        time.sleep(0.1)
        assert len(stub.requests) == sent
        again = Run(TASK, chat(stub, concurrency=8), seed=1, journal=Journal(tmp_path), chunk_size=40)
        assert len(list(again.complete(listed, kept))) == len(stub.requests) == 400


def test_a_limit_of_costs_holds_over_sittings_with_chunks_under_way(tmp_path):
    paid = lambda *_: Reply("text", usage={"completion_tokens": 3, "cost": 1.0}, delay=0.01)  # noqa: E731
    listed = [Prompt(f"row {at}", "a") for at in range(400)]
    with Stub(paid) as stub:
        for limit in (60, 100):
            run = Run(
                TASK, chat(stub, concurrency=4, max_cost=limit), seed=1, journal=Journal(tmp_path), chunk_size=16
            )
            with pytest.raises(InputError, match=f"`max_cost` is {limit}"):
                list(run.complete(listed, kept))
            assert limit <= len(stub.requests) < limit + 4


def test_a_chunk_that_was_left_and_is_begun_again_is_paid_once():
    def paid(messages, *_):  # row 6 is on its way when the chunk is left
        return Reply("text", usage={"cost": 1.0}, until=lambda: place(messages) < 6 or begun.halt.is_set())

    answered = {}
    with Stub(paid) as stub:
        generator = chat(stub, concurrency=1)
        generator.start(prompts(12), seed=1, answered=answered)
        [begun] = generator._chunks
        while len(answered) < 3:
            time.sleep(0.002)
        generator.rest()
        assert 3 <= len(answered) < 12
        assert len(generator.complete(prompts(12), seed=1, answered=answered)) == 12
    assert generator.budget.spent == len(stub.requests) == 12


def test_ctrl_c_ends_every_chunk_that_was_begun():
    def slow(messages, *_):  # the first chunk does not end, and the second comes no further than 50 requests
        return Reply("text", until=lambda: place(messages) != 2 and len(stub.requests) < 50, delay=0.02)

    with Stub(slow) as stub:
        generator = chat(stub, concurrency=4)
        wait = generator.start(prompts(4), seed=1)
        generator.start(prompts(400), seed=2)

        def press():
            while len(stub.requests) < 10:
                time.sleep(0.005)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=press).start()
        with pytest.raises(KeyboardInterrupt):
            wait()
        sent = len(stub.requests)
        time.sleep(0.3)
        assert 10 <= sent <= len(stub.requests) <= sent + 4  # what was on its way when it ended may arrive after that
