"""Keys show nowhere, `private` keeps prompts on this machine, and bad settings are refused."""

import logging
import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from chat_cases import KEY, ask, at, chat, prompts
from chat_stub import Reply, Stub, error, review
from huggingface_hub import constants

from hf_synth.errors import InputError
from hf_synth.generators.chat import ChatGenerator
from hf_synth.records import Prompt

HERE = Path(__file__).parent


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


def test_offline_a_process_asks_a_loopback_endpoint(tmp_path):
    with Stub(at(0, Reply())) as stub:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", LONE, stub.url], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("text 1\n", "")


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
