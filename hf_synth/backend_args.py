"""What `backend_args` may hold: arguments of a generator that have no setting; light, to be checked first."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from .config import checked, strict
from .errors import InputError, unknown

Dtype = Literal["float32", "bfloat16", "float16"]


@strict
class LocalArgs:
    """Of `backend: local`.

    Attributes:
        dtype: Of the weights; by default the fastest that the processor multiplies natively.
        device: By default the accelerator, else the CPU.
    """

    dtype: Dtype | None = None
    device: str | None = Field(None, pattern=r"^(cpu|cuda|mps|xpu)(:\d+)?$")


@strict
class VLLMArgs:
    """Of `backend: vllm`.

    Attributes:
        dtype: Of the weights; by default the fastest that the processor multiplies natively.
        engine: Arguments of vLLM itself, such as `tensor_parallel_size`.
    """

    dtype: Dtype | None = None
    engine: dict[str, Any] = Field(default_factory=dict)


@strict
class ChatArgs:
    """Of `backend: chat`.

    Attributes:
        timeout: Seconds to wait for a whole answer.
        tries: How often a request is sent while it meets 429, 5xx, timeouts or lost connections.
        first_wait: Seconds before the second try.
        extra_body: Further fields of every request; `null` leaves one of ours out.
    """

    timeout: float = Field(120.0, gt=0)
    tries: int = Field(6, ge=1)
    first_wait: float = Field(0.5, gt=0)
    extra_body: dict[str, Any] = Field(default_factory=dict)


@strict
class RayArgs:
    """Of `backend: ray`, beside those of what its workers run.

    Attributes:
        num_gpus: GPUs of a worker; by default one if any node has one.
        workers: How many to ask for, which makes an autoscaling cluster grow; by default as many as have room.
    """

    num_gpus: float | None = Field(None, ge=0)
    workers: int | None = Field(None, ge=1)


KINDS: dict[str, tuple[type, ...]] = {"local": (LocalArgs,), "vllm": (VLLMArgs,), "chat": (ChatArgs,), "corpus": ()}


def check_args(backend: str, worker: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that were given, of the right types.

    Args:
        backend: Whose they are.
        worker: What each worker of `ray` runs.
        given: As the user wrote them.

    Raises:
        InputError: For one that this backend does not take here.
    """
    kinds = (RayArgs, *KINDS[worker]) if backend == "ray" else KINDS[backend]
    owner = {field.name: kind for kind in kinds for field in dataclasses.fields(kind)}
    for key in given:
        if not owner:
            raise InputError(f"`backend_args`: `backend: {backend}` takes none; got {key!r}")
        if key not in owner:
            raise unknown(f"`backend_args` of `backend: {backend}`: a key", key, owner)
    return {key: getattr(checked(owner[key], {key: value}, "`backend_args`"), key) for key, value in given.items()}


def of_ray(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what of the arguments is Ray's, and what its workers'."""
    names = {field.name for field in dataclasses.fields(RayArgs)}
    own = {key: value for key, value in given.items() if key in names}
    return own, {key: value for key, value in given.items() if key not in names}
