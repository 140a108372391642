"""What a model runs on, beside its dtype: digits are promised on one kind of processor and number of threads."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any

import torch


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
