"""`LocalGenerator`: a transformers causal or encoder-decoder model behind the `Generator` seam."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property, lru_cache
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from ...adapters import Adapters
from ...adapters.folder import ALL, Adapter
from ...errors import InputError, unknown
from ...records import Completion, Prompt, label_set
from ..base import OutOfMemory, lacks_memory
from ..encoding import Encoding
from .agree import rows_agree, window
from .attention import row_attention
from .decode import Draw, Stops, decode
from .forward import Pair, PlainForward, Seq2SeqForward, Tokens, before
from .packed import pack
from .processor import best_device, best_dtype, device_of, dtype_of, processor
from .rows import RowForward
from .sample import Repetition, Sampler, streams
from .score import score_tokens
from .soft import led, soft_tokens

DECODING = (
    "max_new_tokens",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "repetition_reward",
    "stop",
    "debias",
    "contrast",
    "chat",
)
MEASURED = ("dtype", "device", "processor", "threads", "chat_template")  # what a generator adds to its source


@contextmanager
def _memory() -> Iterator[None]:
    """Say in one way on every device that something did not fit."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not lacks_memory(error):
            raise
        raise OutOfMemory(str(error)) from error


class LocalGenerator:
    """A language model of the Hugging Face Hub or a local folder.

    Args:
        path: Folder with the model's weights, config and tokenizer.
        name: The id that the user gave.
        digest: sha256 of the weights.
        source: Provenance facts; dtype, device, processor and threads are added.
        dtype: `float32`, `float16` or `bfloat16`; the fastest that the processor multiplies natively where left out.
        device: As torch names it (`cuda:1`); the accelerator where left out, else the CPU.
        adapter: What was trained beside the model; prompts that ask for no row (openings) are answered without it.

    Raises:
        InputError: For a dtype or device that there is not.
    """

    def __init__(
        self,
        path: str,
        *,
        name: str,
        digest: str,
        source: Mapping[str, Any] | None = None,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
        adapter: Adapter | None = None,
    ):
        self.device = device_of(device) if device else best_device()
        self.dtype = dtype_of(dtype) if dtype else best_dtype(self.device)
        self.path, self.name, self.weights, self.digest, self.adapter = path, name, digest, digest, adapter
        if adapter:
            self.digest = hashlib.sha256(f"{digest} {adapter.digest}".encode()).hexdigest()
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.source: Mapping[str, Any] = {
            **(source or {}),
            "dtype": str(self.dtype).removeprefix("torch."),
            **processor(self.device),
            "chat_template": bool(self.tokenizer.chat_template),
            **({"adapter": adapter.facts()} if adapter else {}),
        }
        self._adapters: Adapters | None = None
        self._stops = lru_cache(maxsize=8)(self._make_stops)

    def adapted(self, adapter: Adapter) -> LocalGenerator:
        """Return the same model with an adapter beside it."""
        source = {key: value for key, value in self.source.items() if key not in MEASURED}
        settings: dict[str, Any] = {"dtype": self.dtype, "device": self.device, "adapter": adapter}
        return LocalGenerator(self.path, name=self.name, digest=self.weights, source=source, **settings)

    def load(self) -> None:
        """Load the model now; otherwise it is loaded when it is first used."""
        self.model  # noqa: B018

    @cached_property
    def model(self) -> Any:
        """The model."""
        config = AutoConfig.from_pretrained(self.path)
        auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model: Any = auto.from_pretrained(self.path, dtype=self.dtype)
        model = model.to(self.device)
        if self.adapter:
            with torch.inference_mode(False):  # an adapter moves in and out of the model
                self._adapters = self.adapter.open(model)
        else:
            pack(model)
        return model.eval()

    @cached_property
    def encoding(self) -> Encoding:
        """How texts become tokens."""
        return Encoding(self.tokenizer, apart=self.model.config.is_encoder_decoder)

    @torch.inference_mode()
    def complete(self, prompts: Sequence[Prompt], *, seed: int, batch_size: int, **decoding: Any) -> list[Completion]:
        """Sample one completion per prompt.

        Args:
            prompts: What to continue.
            seed: Row `i` draws from the stream `(seed, i)`, whatever else is in the batch.
            batch_size: Forward rows at once; a prompt with k counter prompts takes k + 1.
            **decoding: `max_new_tokens`, `temperature`, `top_k`, `top_p`, `min_p`, `repetition_penalty` and
                `repetition_reward` (see `Repetition`), `stop` (strings), `debias` (self-debiasing strength) or
                `contrast` (weight of contrastive decoding) against a prompt's counter prompts, `chat` (wrap prompts
                in the model's chat template where it has one; a prompt's last line then opens the answer).

        Raises:
            InputError: For a decoding setting that this backend does not know.
            OutOfMemory: When a batch does not fit.
        """
        for key in decoding:
            if key not in DECODING:
                raise unknown("decoding setting", key, DECODING)
        if "" in decoding.get("stop", ()):
            raise InputError(f"a stop string must not be empty; got {decoding['stop']!r}")
        if self.adapter and ALL not in self.adapter.names and any(prompt.against for prompt in prompts):
            raise InputError(
                f"the adapter {self.adapter.name!r} answers each label by parameters of its own, which other labels' "
                "prompts are not for: set `steer_away: false`"
            )
        self.load()
        chat = decoding.get("chat", False)
        alike = [(len(p.against), self._set_of(p)) for p in prompts]
        encoded = [
            [self.encoding.prompt(text, chat, begun=self._begins(name)) for text in (p.text, *p.against)]
            for p, (_, name) in zip(prompts, alike, strict=True)
        ]
        answers: dict[int, Completion] = {}
        with _memory():
            for kind in sorted(set(alike)):
                places = [at for at, other in enumerate(alike) if other == kind]
                draw = self._draw([prompts[at] for at in places], places, seed, decoding)
                sets = [label_set(prompts[at]) for at in places for _ in encoded[at]]
                with self._led([ids for at in places for ids in encoded[at]], kind[1], sets) as (flat, start):
                    lanes, stop = kind[0] + 1, tuple(decoding.get("stop", ()))
                    found = self._decode(flat, start, draw, lanes, max(1, batch_size // lanes), stop)
                answers |= {places[at]: completion for at, completion in found.items()}
        return [answers[at] for at in range(len(prompts))]

    def _draw(self, prompts: Sequence[Prompt], places: Sequence[int], seed: int, decoding: Mapping[str, Any]) -> Draw:
        settings = {k: decoding[k] for k in ("temperature", "top_k", "top_p", "min_p") if k in decoding}
        penalty, reward = decoding.get("repetition_penalty", 1.0), decoding.get("repetition_reward", 1.0)
        repetition = None
        if penalty != 1 or reward != 1:
            parts = [self.encoding.given(prompt, decoding.get("chat", False)) for prompt in prompts]
            vocabulary = self.model.get_output_embeddings().out_features
            rest, given = [part[0] for part in parts], [part[1] for part in parts]
            repetition = Repetition(rest, given, vocabulary, penalty, reward, self.device)
        uniforms = streams(seed, max(places) + 1, decoding.get("max_new_tokens", 64))[list(places)]
        steering = (decoding.get("debias", 200.0), decoding.get("contrast", 0.0))
        return Draw(Sampler(**settings), uniforms, *steering, repetition)

    @contextmanager
    def _led(
        self, texts: Sequence[Tokens], name: str, sets: Sequence[Sequence[str]]
    ) -> Iterator[tuple[Sequence[Tokens], Sequence[Pair]]]:
        """Use a set of the adapter (none where `name` is empty), and give the texts and what stands before them."""
        adapters = self._adapters
        if not adapters or not name:
            yield texts, ()
            return
        adapters.use(name)
        start, soft = adapters.start(name), adapters.soft(name, sets, texts)
        with ExitStack() as stack:
            stack.callback(adapters.use, None)
            if soft is not None:
                texts, table = led(texts, soft, self.model.get_input_embeddings().weight.shape[0], adapters.behind)
                stack.enter_context(soft_tokens(self.model, table))
            yield texts, start

    def _decode(
        self, flat: Sequence[Tokens], start: Sequence[Pair], draw: Draw, lanes: int, rows: int, stop: tuple[str, ...]
    ) -> dict[int, Completion]:
        """Decode prompts that have equally many texts each; the order of reading is a function of these alone."""
        limit, stops, longest = draw.uniforms.shape[1], self._stops(stop), max(map(len, flat))
        apart = self.model.config.is_encoder_decoder
        self._check_length(max(longest, limit) if apart else before(start) + longest + limit - 1)
        if apart:
            return decode(Seq2SeqForward(self.model, flat, start), draw, stops, lanes=lanes, rows=rows)
        if not self._by_rows(before(start) + longest + limit):
            return decode(PlainForward(self.model, flat, start), draw, stops, lanes=lanes, rows=rows)
        with row_attention(self.model):
            forward = RowForward(self.model, flat, min(rows * lanes, len(flat)), limit, start)
            return decode(forward, draw, stops, lanes=lanes, rows=rows)

    @torch.inference_mode()
    def score(self, prompts: Sequence[str | Prompt], texts: Sequence[str], *, batch_size: int) -> list[float]:
        """Return the mean log-probability (nats per token) of the first 512 tokens of each text after its prompt.

        After a prompt that is a text alone, an adapter of all labels takes part; where each label has its own, none.
        Half as many rows are tried where a batch does not fit.

        Raises:
            InputError: For an empty text, which has no mean.
            OutOfMemory: When a single row does not fit.
        """
        self.load()
        while True:
            try:
                with _memory():
                    return self._score(prompts, texts, batch_size)
            except OutOfMemory:
                if batch_size == 1:
                    raise
                batch_size //= 2

    def _score(self, prompts: Sequence[str | Prompt], texts: Sequence[str], batch_size: int) -> list[float]:
        plain = ALL if self.adapter and ALL in self.adapter.names else ""
        given = [prompt if isinstance(prompt, Prompt) else Prompt(prompt) for prompt in prompts]
        names = [plain if prompt.cell is None else self._set_of(prompt) for prompt in given]
        scores: dict[int, float] = {}
        for name in sorted(set(names)):
            places = [at for at, other in enumerate(names) if other == name]
            asked = [given[at] for at in places]
            pairs = self.encoding.pairs([p.text for p in asked], [texts[at] for at in places], self._begins(name))
            with self._led([head for head, _ in pairs], name, [label_set(p) for p in asked]) as (heads, start):
                pairs = [(list(head), tail) for head, (_, tail) in zip(heads, pairs, strict=True)]
                longest = before(start) + max(len(head) + len(tail) for head, tail in pairs)
                if not self.model.config.is_encoder_decoder:
                    self._check_length(longest)
                found = score_tokens(self.model, pairs, batch_size, self._by_rows(longest), start)
            scores |= dict(zip(places, found, strict=True))
        return [scores[at] for at in range(len(given))]

    def _set_of(self, prompt: Prompt) -> str:
        """Return the name of the adapter's set that answers a prompt; empty where none does."""
        return (self.adapter and self.adapter.of(prompt.cell)) or ""

    def _begins(self, name: str) -> bool:
        """Return whether a set stands where the prompt would begin."""
        return bool(name and self._adapters and self._adapters.behind)

    def _check_length(self, longest: int) -> None:
        """Refuse texts that go beyond a model's table of positions; one that turns its vectors instead has none.

        Raises:
            InputError: If they do.
        """
        config = self.model.config.get_text_config()
        most = getattr(config, "max_position_embeddings", None)
        if most and longest > most and not getattr(config, "rope_parameters", None):
            raise InputError(f"a prompt and its text take {longest} tokens, and {self.name} reads {most} at most")

    def _by_rows(self, longest: int) -> bool:
        """Return whether `RowForward` can take texts of so many tokens."""
        fits = not self.model.config.is_encoder_decoder and longest <= window(self.model)
        return fits and self._rows_agree

    @cached_property
    def _rows_agree(self) -> bool:
        return rows_agree(self.model)

    def _make_stops(self, stop: tuple[str, ...]) -> Stops:
        ends = self.model.generation_config.eos_token_id
        return Stops(self.tokenizer, stop, [ends] if isinstance(ends, int) else list(ends or []))
