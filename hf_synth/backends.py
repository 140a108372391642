"""From settings to the generator that writes the texts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from .backend_args import of_ray
from .errors import InputError, LeavesError
from .generators.base import Generator
from .home import ALONE
from .leaving import real_texts
from .produce import Plan
from .ranks import Ranks
from .task import Corpus, Task

if TYPE_CHECKING:
    from .adapters.folder import Adapter


def open_generator(plan: Plan, ranks: Ranks = ALONE, *, private: bool = False) -> Generator:
    """Open the generator that a plan names; each rank of a launch has its own.

    Args:
        plan: The run.
        ranks: Which of the launched processes this is.
        private: Refuse what would send prompts to another machine.

    Raises:
        InputError: If the backend cannot be had, or must not be used.
    """
    config, model = plan.backend, plan.config.model
    if (config.backend == "corpus") != (plan.method.texts == "retrieved"):
        finds = "finds its texts: set" if config.backend != "corpus" else "has its texts written; not for it is"
        raise InputError(f"the method {plan.method.name} {finds} `backend: corpus`; got {config.backend}")
    if config.backend != "local" and (plan.config.adapter is not None or plan.method.tunes):
        what = "an adapter" if plan.config.adapter else f"what {plan.method.name} learns"
        raise InputError(f"{what} stands beside a model in this process: set `backend: local`; got {config.backend}")
    if config.backend == "chat":
        from .generators.chat import ChatGenerator

        try:
            return ChatGenerator(
                model,
                base_url=config.base_url,
                provider=config.provider,
                api_key=os.environ.get("HF_SYNTH_API_KEY"),
                private=private,
                concurrency=config.concurrency,
                max_cost=config.max_cost,
                **config.backend_args,
            )
        except LeavesError as error:
            raise InputError(f"{error}; {_leaving(plan)}") from None
    if config.backend == "ray":
        if ranks.world > 1:
            raise InputError("`backend: ray` has workers of its own; start it as one process")
        if private:
            raise InputError(
                "`private` keeps prompts on this machine; `backend: ray` sends them to the cluster's nodes; "
                + _leaving(plan)
            )
        from .generators.ray import RayGenerator

        own, args = of_ray(config.backend_args)
        engine = partial(_engine, config.ray_backend, model, args)
        return RayGenerator(engine, address=config.ray_address, num_cpus=config.ray_cpus, **own)
    if config.backend == "corpus":
        return _retriever(model, plan.task.corpus)
    generator = _engine(config.backend, model, config.backend_args, ranks.local_rank, plan.config.adapter)
    if adapter := getattr(generator, "adapter", None):
        _check_adapter(adapter, plan.task)
    return generator


def _check_adapter(adapter: Adapter, task: Task) -> None:
    """Refuse an adapter that has not learnt to write what the task's parser reads."""
    adapter.check_labels(task.labels)
    theirs = adapter.record.get("annotate", task.annotate)
    if task.kind == "tokens" and theirs != task.annotate:
        raise InputError(f"`annotate: {task.annotate}`: the adapter {adapter.name!r} has learnt `annotate: {theirs}`")


def _leaving(plan: Plan) -> str:
    """Return what prompts would take along to another machine."""
    real = real_texts(plan)
    return f"what would have left: {' and '.join(real)}" if real else "no real row is in the prompts"


def _retriever(model: str, corpus: Corpus | None) -> Generator:
    """Open a generator that finds its texts.

    Raises:
        InputError: If no corpus is given, or it cannot be loaded.
    """
    if corpus is None:
        raise InputError("`backend: corpus` finds its texts: give `corpus: {path: FOLDER_OR_HUB_ID, column: NAME}`")
    from .generators.corpus import CorpusGenerator
    from .models import resolve
    from .reference import load_corpus
    from .retrieval.passages import Passages

    data = load_corpus(corpus)
    return CorpusGenerator(resolve(model), Passages(data, corpus.column))


def _engine(
    backend: str, model: str, args: Mapping[str, Any], local_rank: int = 0, adapter: str | None = None
) -> Generator:
    """Open a generator that runs in this process, with the arguments that the user gave."""
    from .models import resolve

    source = resolve(model)
    given: dict[str, Any] = {"name": source.name, "digest": source.sha256, "source": source.facts(), **args}
    if backend == "vllm":
        from .generators.vllm import VLLMGenerator

        return VLLMGenerator(source.path, **given)
    from .adapters.folder import open_adapter
    from .generators.local import LocalGenerator, best_device

    best = best_device(local_rank)  # also where its kind is named without a number
    given["device"] = best if args.get("device") in (None, best.type) else args["device"]
    given["adapter"] = open_adapter(adapter, source.sha256) if adapter else None
    return LocalGenerator(source.path, **given)
