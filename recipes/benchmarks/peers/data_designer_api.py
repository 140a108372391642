"""NeMo Data Designer; a structured column where JSON is wanted."""

import time
from pathlib import Path

import data_designer.config as dd
import pandas as pd
from data_designer.interface import DataDesigner
from pydantic import BaseModel
from spec import accepted, read, report


class Review(BaseModel):
    review: str


def main() -> None:
    spec = read()
    model = dd.ModelConfig(
        alias="writer",
        model="stub",
        provider="stub",
        skip_health_check=True,
        inference_parameters=dd.ChatCompletionInferenceParams(
            temperature=1.0, max_tokens=60, max_parallel_requests=spec["concurrency"]
        ),
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    seeds = Path(spec["folder"]) / "prompts.parquet"  # a file: a frame in memory cannot be resumed
    if not seeds.exists():
        pd.DataFrame({"question": spec["prompts"]}).to_parquet(seeds)
    builder.with_seed_dataset(dd.LocalFileSeedSource(path=str(seeds)))
    column = {"name": "answer", "model_alias": "writer", "prompt": "{{ question }}"}
    if spec["json"]:
        builder.add_column(dd.LLMStructuredColumnConfig(**column, output_format=Review))
    else:
        builder.add_column(dd.LLMTextColumnConfig(**column))
    provider = dd.ModelProvider(name="stub", endpoint=spec["url"], provider_type="openai", api_key="none")
    designer = DataDesigner(artifact_path=Path(spec["folder"]), model_providers=[provider])
    # Left on, a share of bad answers over one half ends the run; the metrics port would be taken by the next run.
    designer.set_run_config(dd.RunConfig(disable_early_shutdown=True, otel_metrics_port=None))
    resume = dd.ResumeMode.IF_POSSIBLE if spec["resume"] else dd.ResumeMode.NEVER
    start = time.perf_counter()
    found = designer.create(builder, num_records=len(spec["prompts"]), dataset_name="rows", resume=resume)
    rows = found.load_dataset()
    seconds = time.perf_counter() - start
    settings = {"max_parallel_requests": spec["concurrency"], "resume": resume.value, "early_shutdown": False}
    report(settings, ("data-designer",), seconds=seconds, accepted=accepted(spec, rows["answer"].tolist()))


if __name__ == "__main__":
    main()
