"""transformers' continuous batching (`generate_batch`), its manager built and warmed up before the clock starts.

Settings: `requests` (sequences at once), `page_size`, `top_k`. It knows no stop strings: every token that holds the
quote is an end token, in its favour.
"""

import time

import torch
from spec import end_tokens, quote_tokens, read, report
from transformers import AutoModelForCausalLM, AutoTokenizer, ContinuousBatchingConfig, GenerationConfig


def main() -> None:
    spec = read()
    settings = spec["settings"]
    tokenizer = AutoTokenizer.from_pretrained(spec["model"])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(spec["model"], dtype=getattr(torch, spec["dtype"])).to(device).eval()
    ends = end_tokens(model)
    prompts = tokenizer(spec["prompts"]).input_ids
    longest = max(map(len, prompts)) + spec["max_new_tokens"]
    pages = settings["requests"] * (-(-longest // settings["page_size"]) + 1)
    batching = ContinuousBatchingConfig(
        page_size=settings["page_size"],
        num_blocks=pages,
        max_batch_tokens=max(512, settings["requests"]),
        max_requests_per_batch=settings["requests"],
        seed=spec["seed"],
    )
    decoding = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=settings["top_k"],
        top_p=spec["top_p"],
        max_new_tokens=spec["max_new_tokens"],
        eos_token_id=ends + quote_tokens(tokenizer, spec["stop"]),
        pad_token_id=ends[0],
    )

    def generate(some: list[list[int]], **limit: int) -> list[list[int]]:
        found = model.generate_batch(some, decoding, batching, persistent_manager=True, **limit)
        if errors := [answer.error for answer in found.values() if answer.error]:
            raise RuntimeError(errors[0])
        return [answer.generated_tokens for answer in found.values()]

    generate(prompts[:8], max_new_tokens=8)
    start = time.perf_counter()
    answers = generate(prompts)
    texts = tokenizer.batch_decode(answers, skip_special_tokens=True)
    seconds = time.perf_counter() - start
    model.destroy_cached_continuous_batching_manager()
    report(
        {**settings, "num_blocks": pages, "attention": "sdpa", "device": device},
        ("torch", "transformers"),
        seconds=seconds,
        texts=texts,
        ended=[not set(ends).isdisjoint(ids) for ids in answers],
    )


if __name__ == "__main__":
    main()
