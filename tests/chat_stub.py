"""A loopback OpenAI-compatible server whose answers and faults are pure functions of (messages, seed, attempt).

In a test: `with Stub(reply) as stub: ... stub.url ... stub.requests`. For benchmarks, as a process of its own:

    python tests/chat_stub.py PORT [latency_s] [malformed_share] [--log FILE]
"""

import argparse
import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

WORDS = ["the", "film", "movie", "plot", "story", "good", "bad", "great", "dull", "fine", "awful", "of", "is", "was"]


@dataclass(frozen=True)
class Reply:
    """What the server does with one request."""

    text: str | None = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    finish: str = "stop"
    usage: dict | None = None  # by default the words of the text are its tokens
    body: bytes | None = None  # sent as it is in place of a completion
    delay: float = 0.0
    until: Callable[[], bool] | None = None  # held until this is true, and `delay` after that
    drip: float = 0.0  # seconds between the bytes of the body
    hang_up: bool = False  # close the connection without an answer


def error(status: int, message: str = "no", **headers: str) -> Reply:
    """Return an error reply in OpenAI's form."""
    body = json.dumps({"error": {"message": message, "type": "stub", "code": status}}).encode()
    return Reply(status=status, headers=headers, body=body)


def review(messages: list[dict], seed: int | None, attempt: int, malformed: float = 0.0) -> Reply:
    """Write a short review, in JSON where the prompt says so; a share of the answers is broken off."""
    prompt = messages[-1]["content"]
    rng = random.Random(f"{prompt}:{seed}")
    broken = rng.random() < malformed
    text = " ".join(rng.choices(WORDS, k=12))
    if "JSON" in prompt:
        text = json.dumps({"review": text})
        return Reply(text[:-3] if broken else text)
    return Reply(body=b'{"choices": [{"mess') if broken else Reply(text)


class Stub:
    """The server, in a thread of its own.

    Args:
        reply: A pure function of messages, seed and attempt: how often these messages came with this seed before.
        latency: Seconds before every answer.
        lacks: Fields of the body that are refused with 422, as `transformers serve` does.
        log: File that gets one line for each request, for counting after a process was killed.

    Attributes:
        requests: What came: `messages`, `seed`, `attempt`, `body`, `headers`, `path`, `at`.
        most: The most requests that were open at once.
        vain: How many were held for a minute and what they waited for did not come; leaving with some is an error.
    """

    def __init__(
        self,
        reply: Callable[[list[dict], int | None, int], Reply] = review,
        *,
        latency: float = 0.0,
        lacks: tuple[str, ...] = (),
        log: str | None = None,
        port: int = 0,
    ):
        self.reply, self.latency, self.lacks, self.port = reply, latency, lacks, port
        self.log = open(log, "a", buffering=1) if log else None  # noqa: SIM115
        self.requests: list[dict] = []
        self.open = self.most = self.vain = 0
        self._seen: Counter[str] = Counter()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> "Stub":
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(self._listen())
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        assert not self.vain, f"{self.vain} requests were held in vain"

    async def _listen(self) -> asyncio.Server:
        server = await asyncio.get_running_loop().create_server(partial(_Connection, self), "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def serve(self) -> None:
        """Serve until cancelled."""
        await (await self._listen()).serve_forever()

    def receive(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        """Log a request and decide its reply."""
        sent = json.loads(body) if body else {}
        messages, seed = sent.get("messages"), sent.get("seed")
        if messages is None:  # a client that looks around first
            self.requests.append({"path": path, "headers": headers, "body": sent})
            return Reply(body=b'{"object": "list", "data": [{"id": "stub", "object": "model"}]}')
        key = json.dumps([messages, seed])
        attempt = self._seen[key]
        self._seen[key] += 1
        entry = {"messages": messages, "seed": seed, "attempt": attempt, "at": time.monotonic()}
        if self.log:
            self.log.write(json.dumps(entry) + "\n")
        else:
            self.requests.append({**entry, "body": sent, "headers": headers, "path": path})
        if refused := [name for name in self.lacks if name in sent]:
            return error(422, f"Unsupported fields in the request: {refused}")
        return self.reply(messages, seed, attempt)


class _Connection(asyncio.Protocol):
    """One keep-alive connection; requests on it come one after the other."""

    def __init__(self, stub: Stub):
        self.stub, self.buffer = stub, b""

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, gap, rest = self.buffer.partition(b"\r\n\r\n")
        if not gap:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", 0))
        if len(rest) < size:
            return
        self.buffer = rest[size:]
        stub = self.stub
        stub.open += 1
        stub.most = max(stub.most, stub.open)
        self.hold(stub.receive(first.split(" ")[1], headers, rest[:size]), time.monotonic() + 60)

    def hold(self, reply: Reply, until: float) -> None:
        if reply.until and not reply.until() and not self.transport.is_closing():
            if time.monotonic() < until:
                asyncio.get_running_loop().call_later(0.005, self.hold, reply, until)
                return
            self.stub.vain += 1
        wait = self.stub.latency + reply.delay
        if wait:
            asyncio.get_running_loop().call_later(wait, self.answer, reply)
        else:
            self.answer(reply)

    def answer(self, reply: Reply) -> None:
        self.stub.open -= 1
        if self.transport.is_closing():
            return
        if reply.hang_up:
            self.transport.close()
            return
        body = completion(reply) if reply.body is None else reply.body
        headers = {"content-type": "application/json", "content-length": str(len(body)), **reply.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {reply.status} Stub\r\n{lines}\r\n".encode()
        if reply.drip:
            self.transport.write(head)
            self.drip(body, reply.drip)
        else:
            self.transport.write(head + body)

    def drip(self, body: bytes, pause: float) -> None:
        if body and not self.transport.is_closing():
            self.transport.write(body[:1])
            asyncio.get_running_loop().call_later(pause, self.drip, body[1:], pause)


def completion(reply: Reply) -> bytes:
    """Return the body of an OpenAI chat completion."""
    words = len((reply.text or "").split())
    usage = {"prompt_tokens": 9, "completion_tokens": words, "total_tokens": 9 + words}
    choice = {"index": 0, "message": {"role": "assistant", "content": reply.text}, "finish_reason": reply.finish}
    whole = {"id": "stub", "object": "chat.completion", "created": 0, "model": "stub", "choices": [choice]}
    return json.dumps({**whole, "usage": usage if reply.usage is None else reply.usage}).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("latency", type=float, nargs="?", default=0.0)
    parser.add_argument("malformed", type=float, nargs="?", default=0.0)
    parser.add_argument("--log", default=None)
    args = parser.parse_args()
    reply = partial(review, malformed=args.malformed)
    stub = Stub(reply, latency=args.latency, log=args.log, port=args.port)
    asyncio.run(stub.serve())


if __name__ == "__main__":
    main()
