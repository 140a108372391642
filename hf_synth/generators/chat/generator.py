"""`ChatGenerator`: an OpenAI-compatible endpoint behind the `Generator` seam."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from ...errors import InputError, unknown
from ...journal import digest
from ...records import Completion, Prompt
from .answer import Settings
from .chunk import Answered, Budget, Chunk
from .endpoint import Endpoint
from .schema import check_schema

NEUTRAL = {"top_k": (None, 0), "min_p": (None, 0), "repetition_penalty": (None, 1), "repetition_reward": (None, 1)}
DECODING = ("max_new_tokens", "temperature", "top_p", "stop", "schema", "chat", "debias", *NEUTRAL)

OURS = ("model", "messages", "stream", "n", "response_format")  # fields that `extra_body` may not set


class ChatGenerator:
    """A model behind any OpenAI-compatible endpoint or Inference Provider.

    A prompt's text is the user's message. Where local models continue a prompt, an endpoint answers it: see
    `answer.bare` for prompts that open the answer. Endpoints need not repeat themselves: what is promised instead is
    that nothing recorded is asked twice. With the decoding setting `schema` the server is told to hold answers to it;
    one that has no schemas gets it as words in front of the prompt. An answer that does not fit, after a repair that
    changes no value, has the finish `malformed`. A request that the server refuses, or never answers while it answers
    others, has the finish `error: …`.

    Args:
        model: The model's id at the endpoint.
        base_url: Address of an OpenAI-compatible server, such as `http://localhost:8000/v1`.
        provider: Inference Provider, where no address is given; by default the Hub chooses.
        api_key: Key of the endpoint. An address is sent no other; Inference Providers get the Hub's token.
        private: Refuse any endpoint that is not on this machine.
        concurrency: Requests at once; fewer while the server answers later than `timeout`.
        max_cost: US dollars after which no request is sent; needs an endpoint that reports costs.
        timeout: Seconds to wait for a whole answer.
        tries: How often a request is sent while it meets 429, 5xx, timeouts or lost connections.
        first_wait: Seconds before the second try; doubled from try to try, unless the server names a time.
        extra_body: Further fields of every request, for what only some servers know; `None` leaves a field out.

    Raises:
        InputError: Before anything is sent, if the endpoint must not or cannot be used.
    """

    takes_schema = True

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        provider: str | None = None,
        api_key: str | SecretStr | None = None,
        private: bool = False,
        concurrency: int = 32,
        max_cost: float | None = None,
        timeout: float = 120.0,
        tries: int = 6,
        first_wait: float = 0.5,
        extra_body: Mapping[str, Any] | None = None,
    ):
        api_key = SecretStr(api_key) if isinstance(api_key, str) else api_key
        self.name = Path(model).name if Path(model).is_absolute() else model  # a path is nobody's business
        if find_spec("tenacity") is None:
            raise InputError("chat endpoints need the package tenacity: pip install 'hf_synth[chat]'")
        for name, value, least in (("concurrency", concurrency, 1), ("tries", tries, 1)):
            if value < least:
                raise InputError(f"`{name}` must be at least {least}; got {value!r}")
        for name, amount in (("max_cost", max_cost), ("timeout", timeout)):
            if amount is not None and not amount > 0:
                raise InputError(f"`{name}` must be above 0; got {amount!r}")
        self.endpoint = Endpoint(
            model,
            base_url=base_url,
            provider=provider,
            api_key=api_key,
            private=private,
            connections=concurrency,
            timeout=timeout,
            tries=tries,
            first_wait=first_wait,
        )
        self.budget = Budget(max_cost, self.endpoint.host)
        self.extra_body = dict(extra_body or {})
        for name in OURS:
            if name in self.extra_body:
                raise InputError(f"`extra_body.{name}` would change what is asked; leave it out")
        where = self.endpoint.host if base_url else provider or "auto"
        extra = f" with {digest(self.extra_body)[:16]}" if self.extra_body else ""
        self.digest = f"chat:{self.name}@{where}{extra}"
        place = {"endpoint": where} if base_url else {"provider": where}
        fields = {"extra_body": sorted(self.extra_body)} if self.extra_body else {}  # their values may be secret
        self.source: Mapping[str, Any] = {"name": self.name, "origin": "endpoint", **place, **fields}
        self._width = concurrency
        self._background: Background | None = None
        self._chunks: list[Chunk] = []

    def __repr__(self) -> str:
        return f"ChatGenerator({self.name!r})"

    def complete(
        self,
        prompts: Sequence[Prompt],
        *,
        seed: int,
        batch_size: int = 0,
        answered: Answered | None = None,
        **decoding: Any,
    ) -> list[Completion]:
        """Ask for one completion per prompt.

        Args:
            prompts: What to answer.
            seed: Every request carries a seed of its own, made from this, the prompt's place and the attempt.
            batch_size: Not used: `concurrency` limits the requests at once.
            answered: Answers by (place of the prompt, attempt). Those that are there are not asked for again, and new
                ones are put there as they come, from another thread; its `spent` is what the run spent before.
            **decoding: `max_new_tokens`, `temperature`, `top_p`, `stop` (strings), `chat` (the text after a prompt's
                last newline opens the answer), `schema` (JSON schema). What a chat endpoint has no word for
                (`top_k`, `min_p`, `repetition_penalty`, `repetition_reward`) is refused, unless it changes nothing.

        Raises:
            InputError: For settings that an endpoint cannot honour, if the endpoint as a whole fails, and when
                `max_cost` is reached.
        """
        return self.start(prompts, seed=seed, answered=answered, **decoding)()

    def start(
        self,
        prompts: Sequence[Prompt],
        *,
        seed: int,
        batch_size: int = 0,
        answered: Answered | None = None,
        **decoding: Any,
    ) -> Callable[[], list[Completion]]:
        """Begin a chunk and return a function that waits for its answers; see `complete`.

        Its first requests leave when the chunk that was begun before has none left to send: slots that fall free
        there are taken here, and answers come chunk by chunk. What fails one ends those that were begun after it.
        """
        settings = self._settings(prompts, decoding)
        if self._background is None:
            self._background = Background()
        found: Answered = {} if answered is None else answered
        self._chunks = [other for other in self._chunks if other.halt.is_set() or not other.ended.is_set()]
        before = self._chunks[-1] if self._chunks else None
        chunk = Chunk(self.endpoint, self.budget, self._width, prompts, settings, seed, found, before)
        self._chunks.append(chunk)
        wait = self._background.begin(chunk.run())

        def waited() -> list[Completion]:
            try:
                return wait()
            except BaseException:
                self._chunks.clear()  # those after it ended with it; what is begun from now on is none of them
                raise

        return waited

    def rest(self) -> None:
        """Send nothing more for the chunks that were begun, and wait until what is under way is recorded."""
        if self._background is not None:
            self._background.begin(self._rest())()
        self._chunks.clear()

    async def _rest(self) -> None:
        for chunk in self._chunks:
            chunk.stop("stopped")
        for chunk in self._chunks:
            await chunk.ended.wait()

    def close(self) -> None:
        """Close the connections, for good."""
        if self._background is not None:
            self._background.begin(self.endpoint.close())()
            self._background.close()

    def _settings(self, prompts: Sequence[Prompt], decoding: Mapping[str, Any]) -> Settings:
        """Check decoding settings and put them into an endpoint's words."""
        for key, value in decoding.items():
            if key not in DECODING:
                raise unknown("decoding setting", key, DECODING)
            if value not in NEUTRAL.get(key, (value,)):
                raise InputError(
                    f"chat endpoints have no {key!r}; leave it out, or name the server's own field in `extra_body` "
                    f"of `backend_args`; got {value!r}"
                )
        if decoding.get("debias", 1) and any(prompt.against for prompt in prompts):
            raise InputError("chat endpoints cannot steer away from other prompts; use a local model or `debias: 0`")
        schema, stop = decoding.get("schema"), tuple(decoding.get("stop") or ())
        if schema is not None:
            check_schema(schema)
            if stop:
                raise InputError(f"stop strings would cut JSON; use `stop` or `schema`, not both; got {stop!r}")
        fields = {
            "max_tokens": decoding.get("max_new_tokens", 64),
            "temperature": decoding.get("temperature"),
            "top_p": decoding.get("top_p"),
            "extra_body": self.extra_body,
        }
        return Settings(fields, stop, bool(decoding.get("chat", False)), schema)


class Background:
    """An asyncio loop in a thread of its own.

    Connections outlive a chunk there, and a notebook, which runs a loop already, can wait for it.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="hf_synth chat", daemon=True)
        self.thread.start()
        self._unfinished: dict[Future[Any], threading.Event] = {}

    def begin(self, work: Coroutine[Any, Any, Any]) -> Callable[[], Any]:
        """Begin some work and return a function that waits for its result; if interrupted, all work is cancelled."""
        ended = threading.Event()

        async def run() -> Any:
            try:
                return await work
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(run(), self.loop)
        self._unfinished[future] = ended

        def wait() -> Any:
            try:
                return future.result()
            except BaseException:
                if not future.done():  # Ctrl-C: whoever catches it must find `answered` at rest
                    self._cancel()
                raise
            finally:
                self._unfinished.pop(future, None)

        return wait

    def _cancel(self) -> None:
        for future in self._unfinished:
            future.cancel()
        for ended in self._unfinished.values():
            ended.wait(5)
        self._unfinished.clear()

    def close(self) -> None:
        """End the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
