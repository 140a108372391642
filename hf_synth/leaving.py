"""What real text stands behind the rows of a plan, and would leave this machine with its prompts or its rows."""

from __future__ import annotations

from typing import Any

from .models import known_as
from .produce import Plan
from .task import Corpus
from .verbalizers import word_sources


def reads_real(plan: Plan) -> bool:
    """Tell whether a plan's generator learns from real text or is shown some, which its own task may name."""
    return bool(real_texts(plan))


def sources_of(plan: Plan) -> list[Corpus]:
    """Return the real text that a plan names, with that whose words alone stand in its prompts."""
    return [*plan.method.sources(plan.task, plan.method_config), *word_sources(plan.task, plan.config)]


def real_rows(method_config: Any) -> str | None:
    """Return the real rows that a method learns from or quotes, where its settings name such."""
    return getattr(method_config, "shots", None) or getattr(method_config, "seen_rows", None)


def real_texts(plan: Plan) -> list[str]:
    """Return what real text a plan's prompts hold or its generator has learnt from, in words."""
    found = []
    if plan.config.adapter is not None:
        found.append(f"the adapter {known_as(plan.config.adapter)!r}, which has learnt from real rows")
    config, labels = plan.method_config, len(plan.task.labels)
    for source in sources_of(plan):
        if source.path == real_rows(config):
            does = "prompts that quote" if plan.method.quotes else "a generator that has learnt from"
            most = f"up to {config.shots_per_class * labels} " if hasattr(config, "shots_per_class") else ""
            found.append(f"{does} {most}real rows of {known_as(source.path)!r}")
        else:
            found.append(f"texts of the corpus {known_as(source.path)!r}")
    return [*dict.fromkeys(found)]
