"""Chunks of chat requests that are begun beside each other: who sends first, and what ends them."""

import os
import signal
import threading
import time

import pytest
from chat_cases import chat, place, prompts
from chat_stub import Reply, Stub, error

from hf_synth.errors import InputError
from hf_synth.journal import Journal
from hf_synth.records import Example
from hf_synth.run import Run
from hf_synth.tasks import parse_task


def test_the_next_chunk_takes_slots_as_they_fall_free_and_never_sooner():
    rows = prompts(60)

    def slow(messages, *_):
        return Reply(f"text {place(messages)}", delay=1.0 if place(messages) == 3 else 0.005)

    with Stub(slow) as stub:
        generator = chat(stub, concurrency=8)
        waits = [generator.start(rows[:20], seed=1), generator.start(rows[20:40], seed=2)]
        waits.append(generator.start(rows[40:], seed=3))
        begun, found = time.monotonic(), [wait() for wait in waits]
    assert [answer.text for chunk in found for answer in chunk] == [f"text {at}" for at in range(60)]
    sent = [place(request["messages"]) for request in stub.requests]
    assert set(sent[:20]) == set(range(20))  # the first chunk's rows leave before any other
    assert max(sent.index(at) for at in range(20, 40)) < min(sent.index(at) for at in range(40, 60))
    assert max(request["at"] for request in stub.requests) - begun < 0.9  # nobody waited for the slow row
    assert stub.most == 8


def test_a_run_of_many_chunks_keeps_all_slots_busy(tmp_path):
    task = parse_task({"name": "t", "labels": ["a", "b"], "prompt": "{label}"}, "t")
    with Stub(lambda *_: Reply("text", delay=0.1)) as stub:
        journal = Journal(tmp_path)
        run = Run(task, chat(stub, concurrency=8), seed=1, journal=journal, chunk_size=12)
        rows = run.complete(prompts(120), lambda prompt, answer: Example({"text": answer.text}, "a", "a", prompt))
        begun = time.monotonic()
        assert len(list(rows)) == 120
    # A chunk alone takes two waves of which the second is half empty: 20 waves, 15 of them full.
    assert time.monotonic() - begun < 19 * 0.1
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


def test_ctrl_c_ends_every_chunk_that_was_begun():
    with Stub(lambda messages, *_: Reply("text", delay=0.2 if place(messages) == 2 else 0.02)) as stub:
        generator = chat(stub, concurrency=4)
        wait = generator.start(prompts(4), seed=1)
        generator.start(prompts(400), seed=2)
        threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            wait()
        sent = len(stub.requests)
        time.sleep(0.3)
        assert 4 < len(stub.requests) == sent < 100
