"""Chat endpoints against a stub whose answers and faults are decided beforehand, and against `transformers serve`."""

import asyncio
import json
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
from pathlib import Path

import pytest
from chat_stub import Reply, Stub, error, review
from huggingface_hub import constants

from hf_synth.answers import Answers
from hf_synth.errors import InputError
from hf_synth.generators.base import Generator, Piecewise
from hf_synth.generators.chat import ChatGenerator
from hf_synth.generators.chat.endpoint import retry_after
from hf_synth.generators.chat.schema import check_schema, mend
from hf_synth.records import Completion, Prompt

HERE = Path(__file__).parent
KEY = "secret-4f9c2b7d"
SCHEMA = {
    "type": "object",
    "properties": {"review": {"type": "string", "minLength": 1}, "stars": {"type": "integer"}},
    "required": ["review"],
    "additionalProperties": False,
}


def prompts(count):
    return [Prompt(f"prompt {place}") for place in range(count)]


def place(messages):
    """Return the number at the end of a prompt."""
    return int(messages[-1]["content"].split()[-1])


def at(which, fault, everywhere=False):
    """Return a script that meets a fault at one prompt, the first time or every time, and else answers."""

    def reply(messages, seed, attempt):
        return fault if place(messages) == which and (everywhere or attempt == 0) else Reply(f"text {place(messages)}")

    return reply


def chat(stub, **settings):
    return ChatGenerator("stub", base_url=stub.url, **{"first_wait": 0.01, "tries": 4, **settings})


def ask(stub, wanted, seed=1, answered=None, decoding=None, **settings):
    generator = chat(stub, **settings)
    try:
        return generator.complete(wanted, seed=seed, answered=answered, **(decoding or {}))
    finally:
        generator.close()


def texts(count):
    return [f"text {place}" for place in range(count)]


# What is asked, and in which order it comes back


def test_rows_keep_prompt_order_whatever_comes_first():
    def late(messages, seed, attempt):
        return Reply(f"text {place(messages)}", delay=random.Random(seed).random() * 0.05)

    with Stub(late) as stub:
        done = ask(stub, prompts(60))
    assert [c.text for c in done] == texts(60)
    assert {(c.finish, c.tokens, c.logprob, c.cost) for c in done} == {("stop", 2, None, None)}


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
    with Stub(review, latency=0.05) as stub:
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
        ({"top_k": 5}, "chat endpoints have no 'top_k'; leave it out, or name .* in `extra_body`; got 5"),
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


# Faults


@pytest.mark.parametrize(
    "fault",
    [
        error(429, **{"Retry-After": "0"}),
        error(500),
        error(503),
        error(408),
        Reply(hang_up=True),
        Reply(delay=3.0),  # longer than the timeout
    ],
    ids=["429", "500", "503", "408", "connection lost", "timeout"],
)
def test_what_passes_is_tried_again_with_the_same_seed(fault):
    with Stub(at(3, fault)) as stub:
        assert [c.text for c in ask(stub, prompts(6), timeout=0.4)] == texts(6)
    tried = [request["seed"] for request in stub.requests if place(request["messages"]) == 3]
    assert len(tried) == 2
    assert len(set(tried)) == 1


def test_waits_grow_from_try_to_try():
    with Stub(lambda messages, seed, attempt: Reply("text 0") if attempt == 3 else error(503)) as stub:
        ask(stub, prompts(1), first_wait=0.05)
    times = [request["at"] for request in stub.requests]
    gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
    assert all(gap >= least for gap, least in zip(gaps, (0.05, 0.1, 0.2), strict=True))
    assert sum(gaps) < 2


def test_retry_after_is_honoured_by_all_requests():
    busy = error(429, **{"Retry-After": "0.5"})
    with Stub(at(0, busy)) as stub:
        assert [c.text for c in ask(stub, prompts(200), concurrency=4)] == texts(200)
    first, *others = [request["at"] for request in stub.requests]
    waited = [time for time in others if time - first >= 0.5]
    under_way = len(others) - len(waited)
    assert under_way < 50
    assert len(others) == 200


def test_retry_after_is_a_number_or_a_date():
    assert retry_after("2.5") == 2.5
    assert retry_after("-3") == 0
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))
    assert 28 < retry_after(later) <= 30
    assert [retry_after(nothing) for nothing in (None, "", "soon", "nan")] == [None] * 4


def test_a_server_that_wants_hours_is_not_waited_for():
    daily = error(429, "daily limit", **{"Retry-After": "3600"})
    sentence = r"wants no request for 3600 seconds \(429\): daily limit"
    with Stub(at(0, daily)) as stub, pytest.raises(InputError, match=sentence):
        ask(stub, prompts(2))


@pytest.mark.parametrize(
    ("fault", "finish", "calls"),
    [
        (error(400, "prompt too long"), "error: 400", 1),
        (error(422), "error: 422", 1),
        (error(500), "error: 500", 4),
        (Reply("", finish="content_filter"), "error: content filter", 1),
        (Reply(None), "error: no text", 3),
        (Reply(body=b'{"choices": []}'), "error: no choices", 3),
        (Reply(body=b'{"choices": {"a": 1}}'), "error: no choices", 3),
        (Reply(body=b'{"choices": [7]}'), "error: unreadable answer", 3),
        (Reply(body=b'{"choices": [{"message": "text"}]}'), "error: no text", 3),
        (Reply(body=b'{"choices": [{"mess'), "error: unreadable answer", 3),
        (Reply(body=b"<html>\xff"), "error: unreadable answer", 3),
        (Reply(body=b"[1]"), "error: unreadable answer", 3),
        (Reply(body=b"null"), "error: unreadable answer", 3),
        (Reply(body=b""), "error: unreadable answer", 3),
    ],
)
def test_one_bad_answer_harms_no_other_row(fault, finish, calls):
    answered = {}
    with Stub(at(5, fault, everywhere=True)) as stub:
        done = ask(stub, prompts(12), answered=answered, concurrency=2)
    assert done[5] == Completion("", None, 0, finish)
    assert [c.text for c in done[:5] + done[6:]] == [text for text in texts(12) if text != "text 5"]
    assert sum(place(request["messages"]) == 5 for request in stub.requests) == calls
    assert len(stub.requests) == 11 + calls
    if finish == "error: 500":  # a fault of today is not recorded: who starts again asks again
        assert not [key for key in answered if key[0] == 5]


def test_why_a_prompt_is_refused_is_said_once(caplog):
    refusal = error(400, f"too long for {KEY}")
    with Stub(lambda messages, *_: refusal if place(messages) > 2 else Reply("text")) as stub:
        ask(stub, prompts(9), concurrency=1, api_key=KEY)
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said == ["127.0.0.1 refused a request (400): too long for ***"]


def test_many_prompts_that_a_server_cannot_bear_are_dropped_while_it_answers_others():
    def reply(messages, seed, attempt):
        return error(500) if place(messages) % 4 == 0 else Reply("text")

    with Stub(reply) as stub:
        done = ask(stub, prompts(80), tries=2, concurrency=4)
    assert [c.finish for c in done] == ["error: 500", *["stop"] * 3] * 20


def test_a_rate_limit_that_does_not_end_drops_no_row():
    answered = {}
    with Stub(at(5, error(429), everywhere=True)) as stub, pytest.raises(InputError, match="did not answer: 429"):
        ask(stub, prompts(12), answered=answered)
    assert sorted(answered) == [(ordinal, 0) for ordinal in range(12) if ordinal != 5]


def test_an_unusable_answer_is_asked_for_again_with_another_seed():
    def first_seed_is_bad(messages, seed, attempt):
        bad = place(messages) == 2 and seed == spoilt
        return Reply(body=b"{") if bad else Reply(f"text {place(messages)}")

    with Stub(at(0, Reply())) as stub:
        ask(stub, prompts(4))
    spoilt = next(request["seed"] for request in stub.requests if place(request["messages"]) == 2)
    answered = {}
    with Stub(first_seed_is_bad) as stub:
        assert [c.text for c in ask(stub, prompts(4), answered=answered)] == texts(4)
    assert answered[2, 0].finish == "error: unreadable answer"
    assert sorted(answered) == [(0, 0), (1, 0), (2, 0), (2, 1), (3, 0)]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (error(401), r"^127.0.0.1 asks for an API key and none was given \(401\)"),
        (error(402, "no credits left"), r"does not serve 'stub' to us \(402\): no credits left"),
        (error(403, "gated"), r"does not serve 'stub' to us \(403\): gated"),
        (error(404, "no such model"), r"does not serve 'stub' to us \(404\): no such model"),
        (error(503, "loading"), r"did not answer: 503 \(loading\)"),
        (error(429, "slow down"), r"did not answer: 429 \(slow down\)"),
        (error(400, "use max_completion_tokens"), r"refused all requests so far \(400\): use max_completion_tokens"),
        (Reply(hang_up=True), "did not answer: connection lost"),
        (Reply(status=307, headers={"Location": "http://example.com/v1"}), r"redirects to another address \(307\)"),
    ],
)
def test_an_endpoint_that_fails_as_a_whole_ends_the_run_with_a_sentence(fault, sentence):
    answered = {}
    with Stub(lambda *_: fault) as stub, pytest.raises(InputError, match=sentence) as raised:
        ask(stub, prompts(40), answered=answered, concurrency=4)
    assert str(raised.value).endswith("Every answer that came is recorded")
    assert "\n" not in str(raised.value)
    assert len(stub.requests) < 40
    assert not answered


def test_a_server_that_is_not_there_is_noticed_at_once():
    with Stub(review) as stub:
        pass
    start = time.monotonic()
    with pytest.raises(InputError, match="127.0.0.1 did not answer: no connection"):
        ask(stub, prompts(40), first_wait=0.1, tries=20)
    assert time.monotonic() - start < 3


def test_an_outage_in_the_middle_loses_no_row():
    answered = {}

    def going_down(messages, seed, attempt):
        return Reply(f"text {place(messages)}") if place(messages) < 30 else error(503, "restarting")

    with Stub(going_down) as stub, pytest.raises(InputError, match="restarting"):
        ask(stub, prompts(60), answered=answered, concurrency=8)
    assert sorted(answered) == [(ordinal, 0) for ordinal in range(30)]
    with Stub(at(0, Reply())) as stub:
        assert [c.text for c in ask(stub, prompts(60), answered=answered)] == texts(60)
    assert len(stub.requests) == 30


# What is recorded


def test_it_is_a_piecewise_generator():
    with Stub(review) as stub:
        generator = chat(stub)
    assert isinstance(generator, Generator)
    assert isinstance(generator, Piecewise)
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
        return Reply("recorded" if place(messages) < 9 or seen.wait(5) else "waited in vain")

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
        assert time.monotonic() - pressed[0] < 2
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


def test_no_usage_means_no_cost_and_no_tokens():
    with Stub(lambda *_: Reply("text", usage={})) as stub:
        assert ask(stub, prompts(1)) == [Completion("text", None, 0, "stop", None)]


def test_the_cost_of_unusable_answers_is_counted():
    def first_is_empty(messages, seed, attempt):
        return Reply(None if len(stub.requests) == 1 else "text", usage={"cost": 0.25})

    with Stub(first_is_empty) as stub:
        assert [c.cost for c in ask(stub, prompts(1))] == [0.5]


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


# Text


@pytest.mark.parametrize(
    ("prompt", "reply", "text"),
    [
        ("Write a review.", 'good" and more', "good"),
        ("Write a review.", "good", "good"),
        ('The review: "', '"good" and more', "good"),
        ('The review: "', 'good" and more', "good"),
        ('The review: "', "“good.”", "good."),
        ('The review: "', "good", "good"),
        ('Write one.\nReview: "', 'Review: "good"', "good"),
        ('Write one.\nReview: "', ' "good" ', "good"),
        ("Write one.\nReview:", "Review: good", " good"),
        ("Write one.\nReview:", "good", "good"),
        ('The review: "', 'A "must see" film', 'A "must see" film'),
        ('The review: "', '"A "must see" film."', 'A "must see" film.'),
        ('Write one.\nReview: "', 'Review: "A "must see" film."', 'A "must see" film.'),
        ('Write one.\n"', "good\nNote: short", "good"),
    ],
)
def test_an_opened_answer_comes_without_its_opening_and_quotes(prompt, reply, text):
    with Stub(lambda *_: Reply(reply)) as stub:
        done = ask(stub, [Prompt(prompt)], decoding={"stop": ('"', "\n"), "chat": True})
    assert [(c.text, c.finish) for c in done] == [(text, "stop")]
    assert stub.requests[0]["messages"] == [{"role": "user", "content": prompt}]
    # The server must not stop at the quote with which a reply to an open quote begins.
    assert stub.requests[0]["body"].get("stop") == (["\n"] if prompt.endswith('"') else ['"', "\n"])


def test_a_text_that_was_cut_short_says_so_unless_it_was_whole_before():
    with Stub(lambda messages, *_: Reply(["a b", "a\nb"][place(messages)], finish="length")) as stub:
        done = ask(stub, prompts(2), decoding={"stop": ("\n",)})
    assert [(c.text, c.finish) for c in done] == [("a b", "length"), ("a", "stop")]


def test_text_in_parts_is_joined():
    parts = [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]
    body = json.dumps({"choices": [{"message": {"content": parts}}]}).encode()
    with Stub(lambda *_: Reply(body=body)) as stub:
        assert ask(stub, prompts(1))[0].text == "a b"


# JSON


def test_the_schema_is_sent_in_openais_words():
    with Stub(review) as stub:
        (done,) = ask(stub, [Prompt("a review in JSON")], decoding={"schema": SCHEMA})
        ask(stub, [Prompt("a review in JSON")], decoding={"schema": {**SCHEMA, "required": ["review", "stars"]}})
    assert set(json.loads(done.text)) == {"review"}
    first, strict = (request["body"]["response_format"] for request in stub.requests)
    assert first == {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
    assert strict["json_schema"]["strict"] is True


def test_a_server_without_schemas_is_asked_without():
    wanted = [Prompt(f"a review in JSON {place}") for place in range(30)]
    with Stub(review, lacks=("response_format",)) as stub:
        generator = chat(stub)
        done = [generator.complete(wanted, seed=seed, schema=SCHEMA) for seed in (1, 2)]
    assert {c.finish for c in done[0] + done[1]} == {"stop"}
    assert ["response_format" in request["body"] for request in stub.requests] == [True] + [False] * 60


def test_one_refused_prompt_does_not_turn_schemas_off():
    def refuse(messages, seed, attempt):
        return error(400) if place(messages) in (0, 4) else Reply('{"review": "good"}')

    with Stub(refuse) as stub:
        done = ask(stub, prompts(8), decoding={"schema": SCHEMA}, concurrency=1)
    assert [c.finish for c in done] == [*["error: 400"], *["stop"] * 3, "error: 400", *["stop"] * 3]
    assert [place(r["messages"]) for r in stub.requests if "response_format" not in r["body"]] == [0]


def test_broken_json_is_malformed_and_keeps_its_text():
    with Stub(lambda messages, *_: Reply('{"review": "good'), lacks=("response_format",)) as stub:
        done = ask(stub, prompts(3), decoding={"schema": SCHEMA})
    assert done == [Completion('{"review": "good', None, 2, "malformed")] * 3


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"review": "good"}', '{"review": "good"}'),
        (' ```json\n{"review": "good"}\n```', '{"review": "good"}'),
        ('Here [as asked] it is: {"review": "a ,} b",} Enjoy {it}!', '{"review": "a ,} b"}'),
        ('{"review": "good", "stars": 4.0}', '{"review": "good", "stars": 4.0}'),
        ('{"review": "good", "stars": 4.5}', None),
        ('{"review": "good", "stars": true}', None),
        ('{"review": "good", "stars": NaN}', None),
        ('{"review": ""}', None),
        ('{"review": "good", "more": 1}', None),
        ('{"other": {"review": "good"}}', None),
        ('{"answer": {"review": "good"}, "review": "broken o', None),
        ("{'review': 'good'}", None),
        ("[" * 100_000, None),
        ("good", None),
        ("", None),
    ],
)
def test_repairs_change_no_value(text, found):
    assert mend(text, SCHEMA) == found


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (
            {"type": "integer", "minimum": 1, "maximum": 5},
            ["3", " 5 "],
            ["0", "6", "1,000", "3 monkeys", '"3"', "true"],
        ),
        ({"enum": ["a", 1]}, ['"a"', "1"], ['"b"', "true"]),
        ({"const": False}, ["false"], ["0"]),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2}, ['["a"]'], ["[]", "[1]"]),
        ({"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 1}]}, ["null", '"a"'], ['"ab"', "1"]),
        ({"type": ["string", "null"]}, ["null", '"a"'], ["1"]),
        ({"type": "object", "additionalProperties": {"type": "number"}}, ['{"a": 1.5}'], ['{"a": "b"}']),
        ({"$defs": {"A": {"type": "number"}}, "type": "array", "items": {"$ref": "#/$defs/A"}}, ["[1]"], ['["a"]']),
        ({"$defs": {"A": {"$ref": "#/$defs/A"}}, "$ref": "#/$defs/A"}, [], ["1"]),
    ],
)
def test_a_schema_is_checked(schema, good, bad):
    check_schema(schema)
    assert [mend(text, schema) for text in good] == [text.strip() for text in good]
    assert [mend(text, schema) for text in bad] == [None] * len(bad)


# Secrets and privacy


def shown(failure):
    """Return all that a traceback can print of our frames and those below, locals included."""
    whole = traceback.TracebackException.from_exception(failure, capture_locals=True)
    assert whole.__cause__ is None
    assert whole.__context__ is None
    frames = [frame for frame in whole.stack if frame.filename != __file__]
    assert frames
    return str(failure) + "".join(traceback.StackSummary.from_list(frames).format())


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
def test_the_key_shows_nowhere(status, caplog):
    caplog.set_level(logging.DEBUG)
    echo = error(status, f"the key {KEY} (Bearer {KEY}, sk-other-key-1234) is not good")
    answered = {}
    with Stub(lambda *_: echo) as stub:
        generator = chat(stub, api_key=KEY, tries=2)
        with pytest.raises(InputError) as raised:
            generator.complete(prompts(9), seed=1, answered=answered)
    assert stub.requests[0]["headers"]["authorization"] == f"Bearer {KEY}"
    assert str(status) in str(raised.value)
    everything = [shown(raised.value), repr(generator), repr(vars(generator)), repr(vars(generator.endpoint))]
    everything += [caplog.text, repr(answered), generator.digest, repr(generator.source)]
    for text in everything:
        assert KEY not in text
        assert "sk-other" not in text


def test_the_key_shows_in_no_refusal_of_the_address():
    for url in (f"http://me:{KEY}@localhost/v1", f"http://localhost/v1?key={KEY}", KEY, "http://example.com/v1"):
        with pytest.raises(InputError) as raised:
            ChatGenerator("m", base_url=url, api_key=KEY, private=True)
        assert KEY not in str(raised.value)
    assert KEY not in shown(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/v1",
        "http://localhost.example.com/v1",
        "http://127.0.0.1.example.com/v1",
        "http://0.0.0.0:8000/v1",
        "http://192.168.0.5/v1",
        "http://10.0.0.1/v1",
        "http://[2001:db8::1]/v1",
        None,
    ],
)
def test_private_refuses_every_other_machine(url):
    with pytest.raises(InputError, match="with `private` nothing may leave this machine, and .* is not on it"):
        ChatGenerator("model", base_url=url, api_key=KEY, private=True)


@pytest.mark.parametrize("url", ["http://localhost:1/v1", "http://127.8.9.1:1/v1", "http://[::1]:1/v1"])
def test_private_lets_this_machine_pass(url):
    assert ChatGenerator("model", base_url=url, private=True).source["endpoint"] in url


def test_nothing_for_this_machine_goes_through_a_proxy_or_a_redirect(monkeypatch):
    with Stub(review) as elsewhere, Stub(at(0, Reply(status=307, headers={"Location": elsewhere.url}), True)) as stub:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, elsewhere.url)
        assert ask(stub, [Prompt("prompt 1")], private=True)[0].text == "text 1"
        with pytest.raises(InputError, match="redirects"):
            ask(stub, prompts(1), private=True)
    assert len(stub.requests) == 2
    assert not elsewhere.requests


def test_offline_a_loopback_endpoint_works_and_another_is_refused(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with Stub(at(0, Reply())) as stub:
        assert ask(stub, [Prompt("prompt 1")])[0].text == "text 1"
    for settings in ({"base_url": "https://example.com/v1"}, {"provider": "groq"}, {}):
        with pytest.raises(InputError, match="HF_HUB_OFFLINE is set, and .* is not on this machine"):
            ChatGenerator("model", api_key=KEY, **settings)


LONE = """
import sys
from hf_synth.generators.chat import ChatGenerator
from hf_synth.records import Prompt
print(ChatGenerator("stub", base_url=sys.argv[1]).complete([Prompt("prompt 1")], seed=1)[0].text)
"""


def test_an_address_is_sent_neither_the_hubs_token_nor_anything_else(tmp_path):
    with Stub(at(0, Reply())) as stub:
        hub = {"HF_TOKEN": "hf_" + KEY, "HF_ENDPOINT": stub.url, "HF_HOME": str(tmp_path)}
        env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
        run = subprocess.run(
            [sys.executable, "-c", LONE, stub.url], env={**env, **hub}, capture_output=True, text=True, check=True
        )
    assert run.stdout == "text 1\n"
    assert run.stderr == ""
    (request,) = stub.requests  # in particular, the Hub is not asked which coding agent runs us
    assert request["headers"]["authorization"] == "Bearer none"
    assert request["headers"]["user-agent"].startswith("hf_synth/")
    assert "torch" not in str(request["headers"])


def test_without_tenacity_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tenacity", None)
    with pytest.raises(InputError, match=r"need the package tenacity: pip install 'hf_synth\[chat\]'"):
        ChatGenerator("model", base_url="http://localhost:1/v1")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"concurrency": 0}, "`concurrency` must be at least 1; got 0"),
        ({"tries": 0}, "`tries` must be at least 1; got 0"),
        ({"max_cost": 0}, "`max_cost` must be above 0; got 0"),
        ({"timeout": -1.0}, "`timeout` must be above 0; got -1.0"),
        ({"provider": "groq"}, "either `base_url` or `provider`, not both; got 'groq'"),
        ({"base_url": "localhost:8000/v1"}, "`base_url` must be http"),
        ({"base_url": "ftp://localhost/v1"}, "`base_url` must be http"),
    ],
)
def test_bad_settings_are_refused(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        ChatGenerator("model", **{"base_url": "http://localhost:1/v1", **settings})


def test_inference_providers_need_a_token(monkeypatch):
    monkeypatch.setattr("hf_synth.generators.chat.client.get_token", lambda: None)
    with pytest.raises(InputError, match="need a Hugging Face token: set HF_TOKEN or run `hf auth login`"):
        ChatGenerator("model")
    generator = ChatGenerator("org/model", provider="groq", api_key="hf_" + KEY)
    assert generator.digest == "chat:org/model@groq"
    assert generator.source == {"name": "org/model", "origin": "endpoint", "provider": "groq"}
    with pytest.raises(InputError, match="cannot be asked for 'org/model'.*not supported"):
        ChatGenerator("org/model", provider="nobody", api_key=KEY).complete(prompts(2), seed=1)


# A real server


TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %} is{% endif %}"


@pytest.fixture(scope="module")
def served(causal_folder, tmp_path_factory):
    """Address of `transformers serve` with the tiny model, which samples, and the model's name there."""
    from transformers import GenerationConfig
    from transformers.utils.import_utils import is_serve_available

    if not is_serve_available():
        pytest.skip("needs transformers[serving]")
    folder = tmp_path_factory.mktemp("served") / "tiny"
    shutil.copytree(causal_folder, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    GenerationConfig(do_sample=True, eos_token_id=1, pad_token_id=0).save_pretrained(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(folder), "--host", "127.0.0.1"]
    server = subprocess.Popen(
        [*command, "--port", str(port), "--device", "cpu"],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1)
                break
            except OSError:
                assert server.poll() is None, "transformers serve ended"
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        server.kill()
        server.wait()


@pytest.mark.serve
def test_transformers_serve_answers_and_obeys_the_fields_it_has(served):
    url, model = served
    generator = ChatGenerator(model, base_url=url, private=True, concurrency=1)
    assert "/" not in generator.name + generator.digest
    decoding = {"max_new_tokens": 12, "temperature": 1.0, "top_p": 0.9, "stop": (".", "film")}
    done = generator.complete([Prompt("the film")] * 12, seed=3, **decoding)
    assert done == generator.complete([Prompt("the film")] * 12, seed=3, **decoding)  # one at a time, seeds hold
    assert len({c.text for c in done}) > 8
    assert {c.finish for c in done} <= {"stop", "length"}
    assert all(0 < c.tokens <= 12 for c in done)
    assert not [c.text for c in done if "." in c.text or "film" in c.text]
    assert {c.cost for c in done} == {None}
    cold = generator.complete([Prompt("the film")] * 2, seed=4, max_new_tokens=8, temperature=0.0)
    assert cold[0].text == cold[1].text


@pytest.mark.serve
def test_transformers_serve_knows_no_schema_and_says_no_to_other_fields(served):
    url, model = served
    generator = ChatGenerator(model, base_url=url, first_wait=0.01)
    done = generator.complete([Prompt("the film")] * 4, seed=3, max_new_tokens=8, schema=SCHEMA)
    assert {c.finish for c in done} == {"malformed"}
    unknown = ChatGenerator(model, base_url=url, extra_body={"top_k": 5})
    with pytest.raises(InputError, match=r"refused all requests so far \(422\): Unexpected fields .*top_k"):
        unknown.complete([Prompt("the film")] * 4, seed=3)
    other = ChatGenerator("other/model", base_url=url)
    with pytest.raises(InputError, match="Server is pinned to"):
        other.complete([Prompt("the film")] * 4, seed=3)
