"""What stands in for settings that are left out: a method brings its student's trainer and its backend along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .methods import Method
from .settings import BackendConfig, StudentConfig
from .tasks import load_task

# A method's value for the first makes sense with its value for the second alone.
BELONGS = {
    **dict.fromkeys(("trainer_args", "select", "keep"), "trainer"),
    "denoise_args": "denoise",
    "label_smoothing": "loss",
    "model": "backend",
}
PLAIN = {
    "trainer": StudentConfig.trainer,
    "denoise": StudentConfig.denoise,
    "loss": StudentConfig.loss,
    "backend": BackendConfig.backend,
}


def filled(method: Method, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return flat settings with a method's own for those left out.

    Args:
        method: See `Method.defaults`.
        given: What the user set; of mappings, key by key. Without a task, nothing stands in.
    """
    task = given.get("task")
    if not isinstance(task, str | Mapping):
        return dict(given)
    found = method.defaults(load_task(task), given)
    theirs, whole = {**PLAIN, **found}, dict(given)
    for key, value in found.items():
        owner = BELONGS.get(key, "")
        if owner in given and given[owner] != theirs[owner]:
            continue
        whole[key] = given.get(key, value)
        if isinstance(value, Mapping) and isinstance(whole[key], Mapping):
            whole[key] = {**value, **whole[key]}
    return whole
