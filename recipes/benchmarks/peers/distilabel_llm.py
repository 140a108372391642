"""distilabel's `TransformersLLM`, called without a pipeline around it (in its favour).

Settings: `batch_size` 0 is distilabel as shipped, which hands its pipeline no batch size; any other patches one in,
with padding on the left. Its answers are text only, and it knows no stop strings.
"""

import time

import torch
from distilabel.models import TransformersLLM
from spec import read, report


class Batched(TransformersLLM):
    """The patch."""

    def batch(self, size: int) -> None:
        self._pipeline._batch_size = size
        self._pipeline.tokenizer.padding_side = "left"


def main() -> None:
    spec = read()
    settings = spec["settings"]
    llm = (Batched if settings["batch_size"] else TransformersLLM)(
        model=spec["model"],
        torch_dtype=spec["dtype"],
        chat_template="{{ messages[0]['content'] }}",  # the same bare prompts as everybody
    )
    llm.load()
    if settings["batch_size"]:
        llm.batch(settings["batch_size"])
    inputs = [[{"role": "user", "content": prompt}] for prompt in spec["prompts"]]
    decoding = {"temperature": 1.0, "repetition_penalty": 1.0, "top_p": spec["top_p"], "top_k": settings["top_k"]}
    llm.generate(inputs[:8], max_new_tokens=8, **decoding)
    torch.manual_seed(spec["seed"])
    start = time.perf_counter()
    answers = llm.generate(inputs, max_new_tokens=spec["max_new_tokens"], **decoding)
    seconds = time.perf_counter() - start
    texts = [answer["generations"][0] for answer in answers]
    report(settings, ("torch", "transformers", "distilabel"), seconds=seconds, texts=texts)


if __name__ == "__main__":
    main()
