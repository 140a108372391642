"""What a model runs on: its device, its dtype, and the kind of processor, for which digits are promised."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any, get_args

import torch

from ...backend_args import Dtype
from ...errors import InputError, reason_of, unknown


def processor(device: torch.device) -> dict[str, Any]:
    """Return the kind of processor that a device is, and the threads that share its sums."""
    if device.type == "cuda":
        return {"device": "cuda", "processor": torch.cuda.get_device_name(device)}
    if device.type != "cpu":
        return {"device": device.type, "processor": platform.processor() or platform.machine()}
    info = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else None
    name = named[1].strip() if named else platform.processor() or platform.machine()
    # The instructions in use decide the digits too, and can be set lower than the processor's best.
    instructions = torch.backends.cpu.get_cpu_capability()
    return {"device": "cpu", "processor": f"{name} ({instructions})", "threads": torch.get_num_threads()}


def best_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the processor multiplies it natively, else float16 on CUDA and float32 elsewhere."""
    if device.type == "cuda":
        # Cards before Ampere have no bfloat16; torch emulates it, slowly, and counts it as supported.
        native = torch.version.hip or torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if native else torch.float16
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16") else torch.float32
    return torch.float32


def best_device(local_rank: int = 0) -> torch.device:
    """Return the accelerator of a rank on this machine where there is one, else the CPU."""
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None:
        return torch.device("cpu")
    return torch.device(found.type, local_rank % torch.accelerator.device_count())


def device_of(given: torch.device | str) -> torch.device:
    """Return the device of a name, once it is known that it can be used.

    Raises:
        InputError: If it cannot.
    """
    try:
        found = torch.device(given)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:  # the latter where torch was built without it
        raise InputError(f"`device: {given}` cannot be used: {reason_of(error, 100)}") from None
    return found


def dtype_of(given: torch.dtype | str) -> torch.dtype:
    """Return the dtype of a name.

    Raises:
        InputError: If it is none of `Dtype`.
    """
    if isinstance(given, torch.dtype):
        return given
    if given not in get_args(Dtype):
        raise unknown("`dtype`", given, get_args(Dtype))
    return getattr(torch, given)
