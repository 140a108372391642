"""transformers' `generate` in batches, prompts sorted by length (in its favour), padded on the left.

Settings: `batch_size`, `top_k` (0 keeps all), `stop`: `none` (cut afterwards), `strings` (`stop_strings`) or `tokens`
(every token that holds the quote is an end token).
"""

import time

import torch
from spec import end_tokens, quote_tokens, read, report
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    spec = read()
    settings = spec["settings"]
    tokenizer = AutoTokenizer.from_pretrained(spec["model"], padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(spec["model"], dtype=getattr(torch, spec["dtype"])).to(device).eval()
    decoding = {"do_sample": True, "temperature": 1.0, "top_k": settings["top_k"], "top_p": spec["top_p"]}
    decoding["pad_token_id"], ends = tokenizer.pad_token_id, end_tokens(model)
    if settings["stop"] == "strings":
        decoding |= {"stop_strings": [spec["stop"]], "tokenizer": tokenizer}
    elif settings["stop"] == "tokens":
        decoding["eos_token_id"] = ends + quote_tokens(tokenizer, spec["stop"])

    def generate(prompts: list[str], max_new_tokens: int) -> list[list[int]]:
        inputs = tokenizer(prompts, return_tensors="pt", padding=True).to(device)
        answers = model.generate(**inputs, max_new_tokens=max_new_tokens, **decoding)
        return answers[:, inputs.input_ids.shape[1] :].tolist()

    generate(spec["prompts"][:8], 8)
    torch.manual_seed(spec["seed"])
    start = time.perf_counter()
    order = sorted(range(len(spec["prompts"])), key=lambda at: len(spec["prompts"][at]))
    texts, ended = [""] * len(order), [False] * len(order)
    for first in range(0, len(order), settings["batch_size"]):
        places = order[first : first + settings["batch_size"]]
        answers = generate([spec["prompts"][at] for at in places], spec["max_new_tokens"])
        for at, ids in zip(places, answers, strict=True):
            texts[at] = tokenizer.decode(ids, skip_special_tokens=True)
            ended[at] = not set(ends).isdisjoint(ids)
    seconds = time.perf_counter() - start
    settings = {**settings, "attention": model.config._attn_implementation, "device": device}
    report(settings, ("torch", "transformers"), seconds=seconds, texts=texts, ended=ended)


if __name__ == "__main__":
    main()
