"""Running a method in an output folder: checked, locked, resumable, then written as a Hub-ready folder."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .config import checked
from .deidentify import open_masks
from .errors import InputError
from .filters.consistency import check_consistency, check_scores, consistency
from .filters.copies import Copies
from .generators.base import Generator
from .home import ALONE, check_folder
from .journal import Journal, digest, write_json
from .licences import licence_of
from .methods import Method, get
from .models import known_as
from .ranks import Ranks
from .records import Example
from .reference import refuse_judged
from .run import Run
from .settings import BackendConfig, SynthConfig
from .shapes import shape
from .shots import tuned
from .task import Corpus, Task
from .tasks import load_task
from .verbalizers import check_words, expanded, word_sources
from .work import Work

HERE = BackendConfig()
# What decides nothing as long as the first is `none`.
PARTS = {
    "expand_words": ("words_per_label", "words_model"),
    "consistency": ("consistency_model", "min_confidence", "calibrate", "hypothesis"),
    "deidentify": ("personal",),
}
OVERRIDES = ("min_words", "max_new_tokens", "annotate", "shares")  # of the task
OFF = ("none", False, None)
PLACE = ("device", "processor", "threads", "engine", "engine_args")  # what digits are a function of, beside the dtype
DECIDING = ("torch", "transformers", "tokenizers", "datasets", "pyarrow", "numpy", "hf_synth")
MODELLING = DECIDING[:3]  # what a model is run by


@dataclasses.dataclass(frozen=True)
class Plan:
    """A checked request: the task with the user's overrides, the method and both configurations."""

    config: SynthConfig
    method: Method
    method_config: Any
    task: Task
    backend: BackendConfig = HERE

    @classmethod
    def of(cls, config: SynthConfig, method_config: Any = None, backend: BackendConfig = HERE) -> Plan:
        """Check that task, method and settings go together, before anything is loaded.

        Raises:
            InputError: If they do not.
        """
        method = get(config.method)
        task = load_task(config.task)
        own = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
        given = {name: value for name in OVERRIDES if (value := getattr(config, name)) is not None}
        task = checked(Task, {**own, **given}, f"the task {task.name!r}")
        if config.annotate is not None:
            task.needs_kind("tokens", what="`annotate`")
        if config.adapter is not None:
            if method.tunes:
                raise InputError(f"{method.name} tunes the model itself, not on top of an `adapter`: leave it out")
            task = tuned(task)
        if config.corpus is not None:
            task = _conditioned(task, checked(Corpus, config.corpus, "`corpus`"))
        method_config = method.config() if method_config is None else method_config
        method.check(task, method_config)
        refuse_judged(task, method.sources(task, method_config))
        shape(task).check(task)
        _check_backend(config, backend)
        if config.expand_words != "none" and not method.template:
            raise InputError(f"`expand_words: {config.expand_words}` has no place in the prompts of {method.name}")
        open_masks(bool(config.deidentify), config.personal)
        check_words(task, config)
        check_consistency(task, config)
        if backend.backend != "corpus":
            _check_read(config, [*method.sources(task, method_config), *word_sources(task, config)])
        return cls(config, method, method_config, task, backend)

    def settings(self) -> dict[str, Any]:
        """Return every setting that decides the texts, as JSON: all but `num_rows`, the licence and the generator."""
        backend, config, shared = self.backend, self.config, dataclasses.asdict(self.config)
        off = [name for part, names in PARTS.items() if shared[part] in OFF for name in (part, *names)]
        for name in ("task", "method", "model", "num_rows", "license", *OVERRIDES, "corpus", "adapter", *off):
            shared.pop(name)
        task = dataclasses.asdict(self.task)
        scored = config.consistency == "self" or config.expand_words == "prototypes"
        unread = [
            *(["description"] if config.consistency != "round_trip" else []),
            *([] if scored else ["score_prompt"]),
            *([] if self.task.shares else ["shares"]),
        ]
        for name in {"language", "reference", "tuning_prompt", *unread} - {*self.method.reads}:
            task.pop(name)
        return json.loads(
            json.dumps(
                {
                    "task": task,
                    "method": self.method.name,
                    "model": self.config.model,
                    # A cluster changes nothing that its workers write.
                    "backend": backend.ray_backend if backend.backend == "ray" else backend.backend,
                    **shared,
                    **dataclasses.asdict(self.method_config),
                }
            )
        )


def _check_backend(config: SynthConfig, backend: BackendConfig) -> None:
    """Refuse to ask a language model where texts are found, not written.

    Raises:
        InputError: If a setting does.
    """
    for name, writes in (("expand_words", ("model", "prototypes")), ("consistency", ("self", "round_trip"))):
        if backend.backend == "corpus" and getattr(config, name) in writes:
            raise InputError(f"`{name}: {getattr(config, name)}` asks a language model; `backend: corpus` has none")


def _check_read(config: SynthConfig, sources: Sequence[Corpus]) -> None:
    """Refuse settings that nothing would read.

    Raises:
        InputError: Naming the first.
    """
    for part, names in PARTS.items():
        for name in names:
            if getattr(config, part) in OFF and getattr(config, name) != getattr(SynthConfig, name):
                off = "`none`" if getattr(config, part) == "none" else "off"
                raise InputError(f"`{name}: {getattr(config, name)}` is read with `{part}` alone, which is {off}")
    if config.corpus is not None and all(source.path != config.corpus.get("path") for source in sources):
        raise InputError(
            f"nothing reads `corpus` here: {config.method} finds no texts in it, and takes openings from it with "
            "`openings: corpus` alone"
        )


def _conditioned(task: Task, corpus: Corpus) -> Task:
    """Return the task with a corpus in place of its own."""
    opening = task.opening and dataclasses.replace(task.opening, corpus=corpus)
    return dataclasses.replace(task, corpus=corpus, opening=opening)


def produce(
    plan: Plan,
    generator: Generator,
    folder: Path | None,
    use: Callable[[Path, dict[str, Any]], Any],
    watch: Callable[[Run, str], None] | None = None,
    ranks: Ranks = ALONE,
) -> Any:
    """Run a plan's method, then hand its work folder and the recorded facts to `use`.

    Completions are recorded under `folder/journal` as they come, so a run that was killed goes on where it was. The
    tables are made anew each time from the journal and live as long as `use` runs.

    Args:
        plan: What to make.
        generator: Writes the texts.
        folder: The output folder; `None` records nothing.
        use: Called with the work folder and the facts; its result is returned.
        watch: Called with the run and the stage after every chunk.
        ranks: Which of the launched processes this is. All follow the method and share its chunks by way of the
            journal, which must lie on a disk that they all see; the first alone writes tables and has a result.

    Raises:
        InputError: For a folder that holds something else, for ranks without a folder, or if there is no row.
    """
    if ranks.world > 1 and folder is None:
        raise InputError("several processes share their work through the output folder; run this in one")
    config = plan.config
    check_scores(generator, config)
    place = {name: generator.source[name] for name in PLACE if name in generator.source}
    if place:  # a model of ours, not an endpoint's
        place["versions"] = {name: version(name) for name in MODELLING}
    asked = {**plan.settings(), "weights": generator.digest, "dtype": generator.source.get("dtype")}
    settings = {**asked, "place": place}
    journal = Journal(None)
    if folder is not None:
        if ranks.rank == 0:
            check_folder(folder, settings)
        ranks.meet("checked")
        journal = Journal(folder / "journal", computes=ranks.rank == 0)
    run = Run(
        plan.task,
        generator,
        seed=config.seed,
        num_rows=config.num_rows,
        journal=journal,
        chunk_size=config.chunk_size,
        batch_size=config.batch_size,
        ahead=config.ahead,
        ranks=ranks,
    )
    if ranks.rank:
        deque(examples(plan, run), maxlen=0)
        return None
    with tempfile.TemporaryDirectory(dir=folder, prefix=".work-") as scratch:
        work = Work(Path(scratch), run, watch)
        record = folder and folder / "journal" / "settings.json"
        first = record and not record.exists()
        if record:
            write_json(record, settings)
        try:
            rows = work.write(examples(plan, run))
            if not rows:
                accounts = "; ".join(f"{cell}: {why}" for cell, why in run.ledger.accounts.items())
                raise InputError(f"there is no row to write ({accounts or 'the method gave none'})")
        except InputError:  # such as prompts that give nothing: the user may mend them and try again here
            counts = run.ledger.stage("rows")
            # What a run left that had rows stays its own, also where this one did not come as far as to replay them.
            if record and not counts.kept and (first or counts.asked):
                record.unlink()
            raise
        return use(work.folder, facts(plan, run, rows))


def examples(plan: Plan, run: Run) -> Iterator[Example]:
    """Yield what a plan's method writes with the words that were found, and of that what is consistent."""
    run.task = expanded(run, plan.config)
    adapter = getattr(run.generator, "adapter", None)
    prints = adapter and adapter.record.get("fingerprints")
    copies = run.copies = [Copies(prints, run.task.generated)] if prints else []
    run.masks = open_masks(bool(plan.config.deidentify), plan.config.personal)
    run.filters = [*copies, *([run.masks] if run.masks else []), *consistency(run, plan.config)]
    rows = plan.method.generate(run, plan.method_config)
    for one in copies:
        rows = one.counted(rows)
    yield from rows
    for one in copies:
        run.note("the adapter's few shots", one.note())


def _nameless(setting: Any) -> Any:
    """Return a setting in which files and folders of this machine go by what they are known by."""
    if isinstance(setting, dict):
        return {key: _nameless(value) for key, value in setting.items()}
    if isinstance(setting, list):
        return [_nameless(value) for value in setting]
    return known_as(setting) if isinstance(setting, str) and "/" in setting and len(setting) < 1000 else setting


def shot_sources(task: Task, adapter: Mapping[str, Any] | None) -> list[Corpus]:
    """Return the rows that an adapter has learnt from, if there is one."""
    shots = adapter and adapter["shots"]
    return [Corpus(shots["name"], task.generated, split=shots["split"])] if shots else []


def _told(source: Corpus) -> dict[str, Any]:
    """Return what is recorded of a corpus."""
    return {**dataclasses.asdict(source), "path": known_as(source.path), "license": licence_of(source.path, data=True)}


def facts(plan: Plan, run: Run, rows: int) -> dict[str, Any]:
    """Return what is recorded of a finished run, JSON-ready; cards and reports state nothing else."""
    method, settings = plan.method, plan.settings()
    generator = run.generator  # not that of the plan: the method may have tuned it
    sources = [
        *method.sources(plan.task, plan.method_config),
        *word_sources(plan.task, plan.config),
        *shot_sources(plan.task, generator.source.get("adapter")),
    ]
    return {
        "task": plan.task.name,
        "method": method.name,
        "rows": rows,
        "wanted": plan.config.num_rows,
        "license": plan.config.license,
        "generator": dict(generator.source),
        "settings": {**_nameless(settings), "model": generator.name, "num_rows": plan.config.num_rows},
        "sources": [_told(source) for at, source in enumerate(sources) if source not in sources[:at]],
        "chunk_size": run.chunk_size,
        "ledger": run.ledger.facts(),
        "versions": {name: version(name) for name in DECIDING},
        "fingerprint": digest({**settings, "weights": generator.digest, "num_rows": plan.config.num_rows}),
    }
