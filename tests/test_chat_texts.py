"""Answers of chat endpoints: openings and quotes, JSON by a schema and without one."""

import json
from pathlib import Path

import pytest
from chat_cases import SCHEMA, ask, chat, place, prompts
from chat_stub import Reply, Stub, error, review

from hf_synth.generators.chat.schema import check_schema, mend
from hf_synth.records import Completion, Prompt

HERE = Path(__file__).parent


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


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ('"Who wrote it?"', "Who wrote it?"),
        ("Who wrote it?", "Who wrote it?"),
        ("wrote it?", " wrote it?"),
        ('"wrote it?"', " wrote it?"),
        ("2 men wrote it?", " 2 men wrote it?"),
        ("كتب هذا؟", " كتب هذا؟"),  # of a script without capitals
        ("写的?", "写的?"),
        ("Which man wrote it?", "Which man wrote it?"),  # the parser refuses what begins anew
    ],
)
@pytest.mark.parametrize("chat", [True, False])
def test_a_reply_to_an_opened_text_repeats_its_first_words_or_goes_on_from_them(reply, text, chat):
    prompt = Prompt('Write one.\n"Who', attributes={"start word": "Who"})
    with Stub(lambda *_: Reply(reply)) as stub:
        assert [c.text for c in ask(stub, [prompt], decoding={"stop": ('"',), "chat": chat})] == [text]


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
    assert done == [Completion('{"review": "good', None, 2, "malformed", None, 9)] * 3


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
