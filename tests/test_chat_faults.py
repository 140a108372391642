"""Chat endpoints against a stub that fails: what is tried again, what is dropped, and what ends a run."""

import json
import logging
import time
from pathlib import Path

import pytest
from chat_cases import KEY, ask, at, place, prompts, texts
from chat_stub import Reply, Stub, error, review

from hf_synth.answers import Answers
from hf_synth.errors import InputError
from hf_synth.generators.chat.endpoint import retry_after
from hf_synth.generators.chat.slots import Slots
from hf_synth.records import Completion

HERE = Path(__file__).parent


@pytest.mark.parametrize(
    "fault",
    [
        error(429, **{"Retry-After": "0"}),
        error(500),
        error(503),
        error(408),
        Reply(body=b'{"error": {"message": "slow down", "code": 429}}'),
        Reply(hang_up=True),
        Reply(delay=30.0),  # longer than the timeout
        Reply(drip=0.02),  # no byte for longer than that, and no end
    ],
    ids=["429", "500", "503", "408", "429 in a 200", "connection lost", "timeout", "drip"],
)
def test_what_passes_is_tried_again_with_the_same_seed(fault):
    timeout = 2.0 if fault.delay or fault.drip else 60.0
    with Stub(at(3, fault)) as stub:
        assert [c.text for c in ask(stub, prompts(6), timeout=timeout)] == texts(6)
    tried = [request["seed"] for request in stub.requests if place(request["messages"]) == 3]
    assert len(tried) == 2
    assert len(set(tried)) == 1


def test_a_server_that_is_too_slow_for_so_many_gets_fewer_at_once(caplog):
    """It does nothing while more than 4 are open, as one that runs out of memory or cores; no row pays for that."""
    caplog.set_level(logging.WARNING)

    def slow(messages, *_):
        return Reply(f"text {place(messages)}", until=lambda: stub.open <= 4, delay=0.1)

    with Stub(slow) as stub:
        assert [c.text for c in ask(stub, prompts(24), timeout=1.0, concurrency=16)] == texts(24)
    assert 16 <= stub.most < 24  # one that was let go may be counted a moment longer
    assert [record.message for record in caplog.records] == [
        "127.0.0.1 did not answer within 1 seconds (`timeout`): fewer at once, until answers come in time"
    ]


def test_slots_come_back_one_for_as_many_answers_as_there_are():
    slots = Slots(4)
    for _ in range(5):
        slots.late()
    seen = []
    for _ in range(12):
        slots.answered()
        seen.append(slots.now)
    assert seen == [2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4]


def test_waits_grow_from_try_to_try():
    with Stub(lambda messages, seed, attempt: Reply("text 0") if attempt == 3 else error(503)) as stub:
        ask(stub, prompts(1), first_wait=0.05)
    times = [request["at"] for request in stub.requests]
    gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
    assert all(gap >= least for gap, least in zip(gaps, (0.05, 0.1, 0.2), strict=True))
    assert sum(gaps) < 5


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
    assert 20 < retry_after(later) <= 30
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
    assert (done[5].text, done[5].finish) == ("", finish)
    assert [c.text for c in done[:5] + done[6:]] == [text for text in texts(12) if text != "text 5"]
    assert sum(place(request["messages"]) == 5 for request in stub.requests) == calls
    assert len(stub.requests) == 11 + calls
    if finish == "error: 500":  # a fault of today is not recorded: who starts again asks again
        assert not [key for key in answered if key[0] == 5]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("good \ud83d", "good "),  # an emoji that the limit of tokens cut
        ("\ude00 good", " good"),
        ([{"text": "good \ud83d"}, {"text": "\ude00"}], "good \N{GRINNING FACE}"),
        ("go\0od", "good"),
    ],
)
def test_half_a_character_harms_no_row(content, text, tmp_path):
    body = json.dumps({"choices": [{"message": {"content": content}}], "usage": {"cost": 10**400}}).encode()
    answered = Answers(tmp_path / "side.jsonl")
    with Stub(at(1, Reply(body=body), everywhere=True)) as stub:
        done = ask(stub, prompts(3), answered=answered)
    assert [c.text for c in done] == ["text 0", text, "text 2"]
    assert Answers(answered.path)[1, 0] == Completion(text, None, None)


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
        assert [c.text for c in ask(stub, prompts(4), answered=answered, concurrency=1)] == texts(4)
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
        (Reply(body=b"<html>Log in</html>"), "gave no answer that can be read"),
        (Reply(body=b'{"choices": []}'), "gave no choices"),
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
    assert time.monotonic() - start < 30  # twenty tries take minutes


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
