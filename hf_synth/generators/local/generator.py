"""`LocalGenerator`: a transformers causal or encoder-decoder model behind the `Generator` seam."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from ...errors import InputError, unknown
from ...records import Completion, Prompt
from ..base import OutOfMemory
from .decode import Stops, decode
from .forward import CausalForward, Seq2SeqForward, left_padded
from .sample import Sampler, streams

SCORED_TOKENS = 4096  # tokens scored at once: their logits over the vocabulary are the memory
SCORED_TEXT = 512  # tokens of a text that are scored
DECODING = ("max_new_tokens", "temperature", "top_k", "top_p", "min_p", "stop", "debias", "chat")


def best_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the processor multiplies it natively, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16") else torch.float32
    return torch.float32


def best_device() -> torch.device:
    """Return the accelerator where there is one, else the CPU."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return found if found is not None else torch.device("cpu")


class LocalGenerator:
    """A language model of the Hugging Face Hub or a local folder.

    Args:
        path: Folder with the model's weights, config and tokenizer.
        name: The id that the user gave.
        digest: sha256 of the weights.
        source: Provenance facts; dtype and device are added.
        dtype: Defaults to the fastest that the processor multiplies natively.
        device: Defaults to the accelerator, else the CPU.
    """

    def __init__(
        self,
        path: str,
        *,
        name: str,
        digest: str,
        source: Mapping[str, Any] | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ):
        self.device = device or best_device()
        dtype = dtype or best_dtype(self.device)
        config = AutoConfig.from_pretrained(path)
        auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        model: Any = auto.from_pretrained(path, dtype=dtype)
        self.model = model.to(self.device).eval()
        self.name, self.digest = name, digest
        self.source: Mapping[str, Any] = {
            **(source or {}),
            "dtype": str(dtype).removeprefix("torch."),
            "device": self.device.type,
            "chat_template": bool(self.tokenizer.chat_template),
        }
        self.pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else 0
        self._stops = lru_cache(maxsize=8)(self._make_stops)

    @torch.inference_mode()
    def complete(self, prompts: Sequence[Prompt], *, seed: int, batch_size: int, **decoding: Any) -> list[Completion]:
        """Sample one completion per prompt.

        Args:
            prompts: What to continue.
            seed: Row `i` draws from the stream `(seed, i)`, whatever else is in the batch.
            batch_size: Forward rows at once; a prompt with k counter prompts takes k + 1.
            **decoding: `max_new_tokens`, `temperature`, `top_k`, `top_p`, `min_p`, `stop` (strings), `debias`
                (self-debiasing strength), `chat` (wrap prompts in the model's chat template where it has one; a
                prompt's last line then opens the answer).

        Raises:
            InputError: For a decoding setting that this backend does not know.
            OutOfMemory: When a batch does not fit.
        """
        for key in decoding:
            if key not in DECODING:
                raise unknown("decoding setting", key, DECODING)
        settings = {k: decoding[k] for k in ("temperature", "top_k", "top_p", "min_p") if k in decoding}
        sampler, stops = Sampler(**settings), self._stops(tuple(decoding.get("stop", ())))
        uniforms = streams(seed, len(prompts), decoding.get("max_new_tokens", 64))
        chat, strength = decoding.get("chat", False), decoding.get("debias", 200.0)
        encoded = [[self._encode(text, chat) for text in (p.text, *p.against)] for p in prompts]
        answers: list[Completion | None] = [None] * len(prompts)
        try:
            for places in _batches(encoded, batch_size):
                lanes = len(encoded[places[0]])
                forward = self._forward([ids for at in places for ids in encoded[at]])
                done = decode(forward, sampler, uniforms[places], stops, lanes=lanes, strength=strength)
                for at, completion in zip(places, done, strict=True):
                    answers[at] = completion
        except RuntimeError as error:  # on the CPU a failed allocation is a plain RuntimeError
            if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
                raise
            raise OutOfMemory(str(error)) from error
        return [answer for answer in answers if answer is not None]

    @torch.inference_mode()
    def score(self, prompts: Sequence[str], texts: Sequence[str], *, batch_size: int) -> list[float]:
        """Return the mean log-probability (nats per token) of the first 512 tokens of each text after its prompt.

        Raises:
            InputError: For an empty text, which has no mean.
        """
        pairs = []
        for prompt, text in zip(prompts, texts, strict=True):
            head, tail = self._split(prompt, text)
            if not tail:
                raise InputError(f"cannot score an empty text (after the prompt {prompt[:60]!r})")
            pairs.append((head, tail[:SCORED_TEXT]))
        order = sorted(range(len(pairs)), key=lambda at: (len(pairs[at][0]) + len(pairs[at][1]), at))
        scores = [0.0] * len(pairs)
        while order:
            longest = sum(map(len, pairs[order[-1]]))
            size = max(1, min(batch_size, SCORED_TOKENS // longest))
            places = order[-size:]
            del order[-size:]
            for at, value in zip(places, self._score([pairs[at] for at in places]), strict=True):
                scores[at] = value
        return scores

    def _score(self, pairs: Sequence[tuple[list[int], list[int]]]) -> list[float]:
        longest = max(len(tail) for _, tail in pairs)
        if self.model.config.is_encoder_decoder:
            ids, mask = left_padded([head for head, _ in pairs], self.pad, self.device)
            start = self.model.config.decoder_start_token_id
            # Padded on the right: what comes after a text does not change its likelihood, what comes before does.
            tails = [[start, *tail[:-1]] + [self.pad] * (longest - len(tail)) for _, tail in pairs]
            inputs = torch.tensor(tails, device=self.device)
            logits = self.model(input_ids=ids, attention_mask=mask, decoder_input_ids=inputs).logits
            rows = [row[: len(tail)] for row, (_, tail) in zip(logits, pairs, strict=True)]
        else:
            ids, mask = left_padded([[*head, *tail][:-1] for head, tail in pairs], self.pad, self.device)
            positions = (mask.cumsum(-1) - 1).clamp(min=0)
            settings = {"position_ids": positions, "logits_to_keep": longest}
            logits = self.model(input_ids=ids, attention_mask=mask, **settings).logits
            rows = [row[-len(tail) :] for row, (_, tail) in zip(logits, pairs, strict=True)]
        wanted = [torch.tensor(tail, device=self.device)[:, None] for _, tail in pairs]
        logprobs = [row.float().log_softmax(-1).gather(-1, ids).mean() for row, ids in zip(rows, wanted, strict=True)]
        return torch.stack(logprobs).tolist()

    def _split(self, prompt: str, text: str) -> tuple[list[int], list[int]]:
        """Tokenise prompt and text together, as the model would write them, and cut where the prompt ends."""
        if self.model.config.is_encoder_decoder:
            return self.tokenizer(prompt).input_ids, self.tokenizer(text).input_ids
        whole = self.tokenizer(prompt + text, return_offsets_mapping=True)
        cut = sum(1 for start, end in whole["offset_mapping"] if end <= len(prompt))
        ids = whole["input_ids"]
        if cut == 0:  # nothing comes before the first token: condition on the start (or end) token
            start = self.tokenizer.bos_token_id
            return [start if start is not None else self.tokenizer.eos_token_id], ids
        return ids[:cut], ids[cut:]

    def _encode(self, text: str, chat: bool) -> list[int]:
        if chat and self.tokenizer.chat_template:
            question, _, start = text.rpartition("\n") if "\n" in text else (text, "", "")
            message = [{"role": "user", "content": question}]
            wrapped: Any = self.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
            return self.tokenizer(wrapped + start, add_special_tokens=False).input_ids
        return self.tokenizer(text).input_ids

    def _forward(self, ids: Sequence[Sequence[int]]) -> CausalForward | Seq2SeqForward:
        kind = Seq2SeqForward if self.model.config.is_encoder_decoder else CausalForward
        return kind(self.model, ids, self.pad)

    def _make_stops(self, stop: tuple[str, ...]) -> Stops:
        ends = self.model.generation_config.eos_token_id
        return Stops(self.tokenizer, stop, [ends] if isinstance(ends, int) else list(ends or []))


def _batches(encoded: Sequence[Sequence[Sequence[int]]], batch_size: int) -> Iterator[list[int]]:
    """Cut a chunk into batches of equal lane count and similar length; a function of the chunk alone."""
    order = sorted(range(len(encoded)), key=lambda at: (len(encoded[at]), max(map(len, encoded[at])), at))
    while order:
        lanes = len(encoded[order[0]])
        size = max(1, batch_size // lanes)
        batch = [at for at in order[:size] if len(encoded[at]) == lanes]
        yield batch
        order = order[len(batch) :]
