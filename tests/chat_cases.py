"""What tests of chat endpoints share: prompts with a number, faults at one of them, a generator on the stub."""

from chat_stub import Reply

from hf_synth.generators.chat import ChatGenerator
from hf_synth.records import Prompt

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
