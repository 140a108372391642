"""bespoke curator by its LiteLLM backend.

Where JSON is wanted, `parse` reads it and raises at a bad answer. Its response format cannot be used here: it is
refused for a model that LiteLLM does not list, and then wants tool calls.
"""

import json
import time

from bespokelabs import curator
from bespokelabs.curator.request_processor.online.litellm_online_request_processor import (
    LiteLLMOnlineRequestProcessor,
)
from spec import accepted, read, report


class Writer(curator.LLM):
    """The two methods that curator asks for."""

    def prompt(self, input: dict) -> str:
        return input["question"]

    def parse(self, input: dict, response) -> dict:
        return {"answer": json.loads(response)["review"] if "JSON" in input["question"] else response}


def main() -> None:
    spec = read()
    limits = {"max_requests_per_minute": 10_000_000, "max_tokens_per_minute": 10_000_000_000}
    writer = Writer(
        model_name="hosted_vllm/stub",
        backend="litellm",
        generation_params={"temperature": 1.0, "max_tokens": 60},
        backend_params={
            "base_url": spec["url"],
            "api_key": "none",
            "max_concurrent_requests": spec["concurrency"],
            "require_all_responses": False,
            **limits,
        },
    )
    # Its first call, "hi", asks for rate limits and ends the run if the answer is bad; spared in its favour.
    LiteLLMOnlineRequestProcessor.get_header_based_rate_limits = lambda self: (0, 0)
    start = time.perf_counter()
    rows = writer([{"question": prompt} for prompt in spec["prompts"]], working_dir=spec["folder"]).dataset
    seconds = time.perf_counter() - start
    settings = {"max_concurrent_requests": spec["concurrency"], "max_retries": 10, "rate_limits": "off"}
    report(settings, ("bespokelabs-curator", "litellm"), seconds=seconds, accepted=accepted(spec, rows["answer"]))


if __name__ == "__main__":
    main()
