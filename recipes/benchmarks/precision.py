"""What students of the benchmarks compute in on a CPU: bf16 where it is native, since elsewhere fp32 is faster."""

import json

import torch

from hf_synth.generators.local.processor import best_dtype

ARGUMENTS = {"bf16": best_dtype(torch.device("cpu")) == torch.bfloat16, "use_cpu": True}
FLAGS = ["--training_args", json.dumps(ARGUMENTS)]
