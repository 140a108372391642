"""Chat endpoints against a stub: what is asked and recorded, in which order it comes back, and what it costs."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from chat_cases import SCHEMA, ask, at, chat, place, prompts, texts
from chat_stub import Reply, Stub, review

from hf_synth.answers import Answers
from hf_synth.errors import InputError
from hf_synth.generators.base import Generator, Piecewise, takes_schema
from hf_synth.generators.chat import ChatGenerator
from hf_synth.journal import Journal
from hf_synth.records import Completion, Example, Prompt
from hf_synth.run import Run
from hf_synth.tasks import parse_task

HERE = Path(__file__).parent
TASK = parse_task({"name": "t", "labels": ["a", "b"], "prompt": "{label}"}, "t")


# What is asked, and in which order it comes back


def test_rows_keep_prompt_order_whatever_comes_first():
    def late(messages, seed, attempt):
        return Reply(f"text {place(messages)}", delay=random.Random(seed).random() * 0.05)

    with Stub(late) as stub:
        done = ask(stub, prompts(60))
    assert [c.text for c in done] == texts(60)
    assert {(c.finish, c.tokens, c.prompt_tokens, c.logprob, c.cost) for c in done} == {("stop", 2, 9, None, None)}


def test_every_request_has_a_seed_of_its_own_that_the_run_decides():
    same = [Prompt("write")] * 200
    with Stub(review) as stub:
        first, again, other = (ask(stub, same, seed=seed) for seed in (2**63 + 5, 2**63 + 5, 6))
    seeds = [request["seed"] for request in stub.requests]
    assert len(set(seeds[:200])) == 200
    assert sorted(seeds[:200]) == sorted(seeds[200:400])
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert first == again
    assert first != other


def test_a_bounded_number_of_requests_is_open():
    with Stub(lambda *_: Reply("text", until=lambda: stub.most >= 7, delay=0.05)) as stub:
        ask(stub, prompts(40), concurrency=7)
    assert stub.most == 7


def test_the_request_says_what_the_decoding_settings_say():
    decoding = {
        "max_new_tokens": 9,
        "temperature": 0.7,
        "top_p": 0.9,
        "stop": ("\n", "a", "b", "c", "d"),
        "chat": True,
    }
    with Stub(review) as stub:
        ask(stub, [Prompt("Say it")], decoding={**decoding, "top_k": 0, "min_p": 0.0}, extra_body={"top_k": 5})
        ask(stub, [Prompt("Say it")], extra_body={"max_tokens": None, "max_completion_tokens": 9})
    request, other = stub.requests
    assert "max_tokens" not in other["body"]
    assert other["body"]["max_completion_tokens"] == 9
    del request["body"]["seed"]
    assert request["body"] == {
        "model": "stub",
        "messages": [{"role": "user", "content": "Say it"}],
        "max_tokens": 9,
        "temperature": 0.7,
        "top_p": 0.9,
        "stop": ["\n", "a", "b", "c"],
        "stream": False,
        "top_k": 5,
    }
    assert request["path"] == "/v1/chat/completions"


@pytest.mark.parametrize(
    ("decoding", "sentence"),
    [
        ({"top_k": 5}, "no 'top_k'; leave it out, or name .* in `extra_body` of `backend_args`; got 5"),
        ({"repetition_penalty": 1.2}, "no 'repetition_penalty'"),
        ({"topp": 0.5}, "decoding setting must be one of .* got 'topp'. Did you mean 'top_p'?"),
        ({"stop": ('"',), "schema": SCHEMA}, "use `stop` or `schema`, not both"),
        ({"schema": {"type": "text"}}, "`schema` is no JSON schema: 'text' is not valid"),
    ],
)
def test_what_an_endpoint_cannot_honour_is_refused(decoding, sentence):
    with Stub(review) as stub, pytest.raises(InputError, match=sentence):
        ask(stub, prompts(1), decoding=decoding)
    assert not stub.requests


def test_prompts_to_steer_away_from_are_refused_unless_they_change_nothing():
    steered = [Prompt("write 0", against=("do not",))]
    with Stub(review) as stub:
        with pytest.raises(InputError, match="cannot steer away"):
            ask(stub, steered)
        assert not stub.requests
        assert ask(stub, steered, decoding={"debias": 0.0})[0].text


# What is recorded


def test_it_is_a_piecewise_generator():
    with Stub(review) as stub:
        generator = chat(stub)
    assert isinstance(generator, Generator)
    assert isinstance(generator, Piecewise)
    assert takes_schema(generator)
    assert (generator.name, generator.digest) == ("stub", "chat:stub@127.0.0.1")
    assert generator.source == {"name": "stub", "origin": "endpoint", "endpoint": "127.0.0.1"}
    assert chat(stub, extra_body={"top_k": 5}).digest != generator.digest
    assert ChatGenerator("/home/me/model", base_url=stub.url).name == "model"


def test_answers_are_recorded_as_they_come_and_not_asked_for_again():
    seen = threading.Event()

    class Watched(dict):
        def __setitem__(self, key, answer):
            super().__setitem__(key, answer)
            seen.set()

    def last_waits_for_a_record(messages, seed, attempt):
        return Reply("recorded" if place(messages) < 9 or seen.wait(60) else "waited in vain")

    answered = Watched({(3, 0): Completion("from before", None, 1)})
    with Stub(last_waits_for_a_record) as stub:
        done = ask(stub, prompts(10), answered=answered, concurrency=4)
    assert [c.text for c in done] == ["recorded"] * 3 + ["from before"] + ["recorded"] * 6
    assert len(stub.requests) == 9
    with Stub(review) as stub:
        assert ask(stub, prompts(10), answered=answered) == done
    assert not stub.requests


KILLED = """
import sys
from pathlib import Path
from hf_synth.answers import Answers
from hf_synth.generators.chat import ChatGenerator
from hf_synth.records import Prompt
generator = ChatGenerator("stub", base_url=sys.argv[1], concurrency=8)
answered = Answers(Path(sys.argv[2]))
print("ready", flush=True)
done = generator.complete([Prompt(f"prompt {i}") for i in range(120)], seed=1, answered=answered)
Path(sys.argv[3]).write_text(repr([c.text for c in done]))
"""


def test_killed_at_random_moments_it_wastes_what_was_in_flight(tmp_path):
    side, result = tmp_path / "side.jsonl", tmp_path / "result"
    rng = random.Random()
    with Stub(review, latency=0.02) as stub:
        for kills in range(1, 4):
            process = subprocess.Popen(
                [sys.executable, "-c", KILLED, stub.url, str(side), str(result)], stdout=subprocess.PIPE
            )
            process.stdout.readline()
            before = len(stub.requests)
            while len(stub.requests) < before + rng.randrange(10, 35) and process.poll() is None:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            process.wait()
            recorded = len(Answers(side))
            assert recorded <= len(stub.requests) <= recorded + 8 * kills
        subprocess.run([sys.executable, "-c", KILLED, stub.url, str(side), str(result)], check=True)
        assert len(stub.requests) <= 120 + 8 * 3
    lines = [json.loads(line)[:2] for line in side.read_text().splitlines()]
    assert sorted(lines) == [[ordinal, 0] for ordinal in range(120)]
    with Stub(review) as stub:
        assert repr([c.text for c in ask(stub, prompts(120))]) == result.read_text()


def test_ctrl_c_ends_it_at_once_and_leaves_the_answers_at_rest():
    answered, pressed = {}, []

    def interrupt():
        while len(answered) < 5:
            time.sleep(0.01)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    with Stub(lambda messages, *_: Reply("text", delay=0 if place(messages) < 5 else 30)) as stub:
        generator = chat(stub)
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            generator.complete(prompts(40), seed=1, answered=answered)
        assert time.monotonic() - pressed[0] < 4  # the answers take 30, and waiting for them would be given up after 5
        assert sorted(answered) == [(ordinal, 0) for ordinal in range(5)]
        assert generator.complete(prompts(5), seed=2)  # and it can still be used


def test_a_full_disk_is_reported_as_such():
    class Full(dict):
        def __setitem__(self, key, answer):
            raise OSError(28, "No space left on device")

    with Stub(review) as stub, pytest.raises(OSError, match="No space left"):
        ask(stub, prompts(5), answered=Full())


def test_it_works_where_a_loop_is_running_already():
    async def cell():
        return ask(stub, prompts(3))

    with Stub(at(0, Reply())) as stub:
        assert [c.text for c in asyncio.run(cell())][1:] == texts(3)[1:]


# Money


def paid(cost, **usage):
    return lambda messages, *_: Reply("text", usage={"completion_tokens": 3, "cost": cost, **usage})


@pytest.mark.parametrize(
    ("reported", "cost"),
    [(0.25, 0.25), (0, 0.0), (None, None), ("0.25", None), (True, None), (-1, None), ({"total_cost": 0.5}, 0.5)],
)
def test_the_cost_is_the_providers_or_unknown(reported, cost):
    with Stub(paid(reported)) as stub:
        assert ask(stub, prompts(1)) == [Completion("text", None, 3, "stop", cost)]


@pytest.mark.parametrize("usage", [{}, {"completion_tokens": "3", "prompt_tokens": -1}, {"completion_tokens": 1e9}])
def test_what_is_not_told_is_not_known(usage):
    with Stub(lambda *_: Reply("text", usage=usage)) as stub:
        assert ask(stub, prompts(1)) == [Completion("text", None, None, "stop", None, None)]


def test_cost_and_tokens_of_unusable_answers_are_counted():
    def first_is_empty(messages, seed, attempt):
        usage = {"cost": 0.25, "completion_tokens": 3, "prompt_tokens": 7}
        return Reply(None if len(stub.requests) == 1 else "text", usage=usage)

    with Stub(first_is_empty) as stub:
        assert [(c.cost, c.tokens, c.prompt_tokens) for c in ask(stub, prompts(1))] == [(0.5, 6, 14)]


def test_the_ledger_and_the_journal_know_what_was_told(tmp_path):
    def told_of_even_rows(messages, *_):
        return Reply("a text", usage={"completion_tokens": 3, "prompt_tokens": 7} if place(messages) % 2 == 0 else {})

    def counted(stub, stage):
        run = Run(TASK, chat(stub), seed=1, journal=Journal(tmp_path))
        parse = lambda prompt, answer: Example({"text": answer.text}, "a", "a", prompt)  # noqa: E731
        asked = prompts(4) if stage == "some" else [Prompt("prompt 1"), Prompt("prompt 3")]
        assert list(run.complete(asked, parse, stage=stage))
        return [run.ledger.facts()["stages"][stage][name] for name in ("tokens", "prompt_tokens", "cost")]

    with Stub(told_of_even_rows) as stub:
        for stage, told in (("some", [6, 14, None]), ("none", [None, None, None])):
            assert counted(stub, stage) == told
            assert counted(stub, stage) == told  # from the journal
    assert len(stub.requests) == 6


class Earlier(dict):
    spent = 0.0


def test_a_spending_limit_holds_over_chunks_and_sittings():
    answered = Earlier({(0, 0): Completion("text", None, 3, "stop", 0.5)})
    answered.spent = 7.0
    with Stub(paid(0.5), latency=0.02) as stub:
        sentence = (
            r"^10\.[05]000 US dollars are spent and `max_cost` is 10.0; raise it to go on. Every answer that came"
        )
        with pytest.raises(InputError, match=sentence):
            ask(stub, prompts(40), answered=answered, max_cost=10.0, concurrency=2)
        assert 5 <= len(stub.requests) <= 6  # the limit, and what was under way when it was reached
        assert len(answered) == 1 + len(stub.requests)
        before = len(stub.requests)
        with pytest.raises(InputError, match="US dollars are spent"):
            ask(stub, prompts(40), answered=answered, max_cost=10.0)
        assert len(stub.requests) == before
        assert len(ask(stub, prompts(40), answered=answered, max_cost=100.0)) == 40
        generator = chat(stub, max_cost=3.0, concurrency=1)  # nobody records: what the process spent counts
        assert len(generator.complete(prompts(4), seed=1)) == 4
        with pytest.raises(InputError, match="3.0000 US dollars are spent"):
            generator.complete(prompts(4), seed=2)


def test_a_limit_that_nobody_can_keep_is_refused():
    with Stub(review) as stub, pytest.raises(InputError, match="does not report costs, so no limit can be kept"):
        ask(stub, prompts(40), max_cost=1.0, concurrency=2)
    assert len(stub.requests) <= 3
