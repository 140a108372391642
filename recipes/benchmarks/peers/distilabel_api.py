"""distilabel's `OpenAILLM` in a pipeline.

Where JSON is wanted it is asked for by `response_format` and judged afterwards. Its own structured output cannot be
used: by default it wants tool calls, and any other `mode` ends in "'str' object has no attribute 'value'" (1.5.3).
"""

import os
import time

os.environ["DISTILABEL_LOG_LEVEL"] = "ERROR"

from distilabel.models import OpenAILLM  # noqa: E402
from distilabel.pipeline import Pipeline  # noqa: E402
from distilabel.steps import LoadDataFromDicts  # noqa: E402
from distilabel.steps.tasks import TextGeneration  # noqa: E402
from spec import accepted, read, report  # noqa: E402


def main() -> None:
    spec = read()
    shape = {"response_format": {"type": "json_object"}} if spec["json"] else {}
    with Pipeline("benchmark", cache_dir=spec["folder"]) as pipeline:
        load = LoadDataFromDicts(data=[{"instruction": p} for p in spec["prompts"]], batch_size=spec["concurrency"])
        llm = OpenAILLM(
            model="stub",
            base_url=spec["url"],
            api_key="none",
            generation_kwargs={"temperature": 1.0, "max_new_tokens": 60, **shape},
        )
        load >> TextGeneration(llm=llm, input_batch_size=spec["concurrency"])
    start = time.perf_counter()
    rows = pipeline.run(use_cache=spec["resume"])["default"]["train"]
    seconds = time.perf_counter() - start
    settings = {"input_batch_size": spec["concurrency"], "use_cache": spec["resume"]}
    report(settings, ("distilabel", "openai"), seconds=seconds, accepted=accepted(spec, rows["generation"]))


if __name__ == "__main__":
    main()
