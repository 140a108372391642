"""`SynthBuilder`: a method as a `datasets` builder, cached by its configuration; `build` is the short form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets import Dataset, DatasetDict, DatasetInfo

from .backends import open_generator
from .columns import with_ids
from .config import checked
from .errors import unknown
from .folder import row_features, split_tables
from .generators.base import Generator
from .home import locked
from .journal import digest
from .leaving import sources_of
from .methods import get
from .produce import Plan, produce
from .settings import BackendConfig, SynthConfig
from .standing import filled

OWN = tuple(f.name for f in fields(SynthConfig))
BACKEND = tuple(f.name for f in fields(BackendConfig))


def plan_of(values: dict[str, Any], where: str) -> Plan:
    """Build a plan from flat settings: ours and the method's.

    Raises:
        InputError: If a key or a value is not allowed.
    """
    method = get(values.get("method", SynthConfig.method))
    names = tuple(f.name for f in fields(method.config))
    standing = filled(method, values)  # a student's settings among them are not for here
    values = {key: value for key, value in standing.items() if key in values or key in (*OWN, *BACKEND, *names)}
    theirs = {key: value for key, value in values.items() if key in names}
    backend = {key: value for key, value in values.items() if key in BACKEND}
    ours = {key: value for key, value in values.items() if key not in (*names, *BACKEND)}
    for key in ours:
        if key not in OWN:
            raise unknown(f"{where}: a key", key, (*OWN, *BACKEND, *names))
    config, backend_config = checked(SynthConfig, ours, where), checked(BackendConfig, backend, where)
    return Plan.of(config, checked(method.config, theirs, where), backend_config)


@dataclass
class SynthBuilderConfig(datasets.BuilderConfig):
    """Configuration of a `SynthBuilder`; `settings` decides the cache folder.

    Attributes:
        settings: JSON of every setting that decides the rows, the weights' digest and `num_rows`.
    """

    settings: str = ""
    plan: Any = field(default=None, compare=False)
    generator: Any = field(default=None, compare=False)

    def create_config_id(self, config_kwargs: dict, custom_features: Any = None) -> str:
        """Name the cache folder by the settings alone: plan and generator cannot be hashed and add nothing."""
        return super().create_config_id({"settings": self.settings}, custom_features)


class SynthBuilder(datasets.GeneratorBasedBuilder):
    """Rows of a method, written to Arrow once and read from the cache after that."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = SynthBuilderConfig

    def _info(self) -> DatasetInfo:
        return DatasetInfo(features=row_features(self.config.plan.task))

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        """Run the method into a work folder; both splits read the same tables."""
        plan, generator = self.config.plan, self.config.generator or open_generator(self.config.plan)
        # Without `num_rows`: more rows go on in the same journal.
        mark = digest([_decides(plan, generator), generator.digest])[:16]
        home = Path(self._cache_dir_root) / "hf_synth_runs" / f"{self.config.name}-{mark}"
        with locked(home):
            kept = home / f"rows-{plan.config.num_rows}.parquet"
            self._work = produce(plan, generator, home, lambda work, _: (work / "rows.parquet").replace(kept))
        present = {split for split, _ in split_tables(self._work)}
        return [
            datasets.SplitGenerator(name=name, gen_kwargs={"split": name})
            for name in ("train", "validation")
            if name in present
        ]

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for name, table in split_tables(self._work):
            if name == split:
                for row in with_ids(table, self.info.features).to_pylist():
                    yield row["index"], row


def _decides(plan: Plan, generator: Generator) -> dict[str, Any]:
    """Return the settings that decide the rows, and the dtype that the model has, asked for or not."""
    dtype = generator.source.get("dtype")
    return {**plan.settings(), **({"dtype": dtype} if dtype else {})}


def _read(plan: Plan) -> list[list[Any]]:
    """Return what tells the real text that a plan reads from what it was: the files that lie here, and their names."""
    sources, names = sources_of(plan), plan.task.reference
    found = [path for source in sources for path in (Path(source.path), *Path(source.path).rglob("*"))]
    states = [(file, file.stat()) for file in sorted(found) if file.is_file()]
    mapped = [[names.columns, names.label, names.labels, names.only]] if sources and names else []
    return [*([str(file), state.st_size, state.st_mtime_ns] for file, state in states), *mapped]


def build(
    method: str,
    *,
    generator: Generator | None = None,
    split: str | None = None,
    cache_dir: str | None = None,
    **settings: Any,
) -> Dataset | DatasetDict:
    """Generate a labelled data set, or load it from the cache when the same one was built before.

    Args:
        method: The method's name.
        generator: Writes the texts; by default the model named by `model`.
        split: `train` or `validation`; by default all rows, in the order of `index`.
        cache_dir: Where to cache; by default where `datasets` does.
        **settings: Any setting of `SynthConfig` and of the method: `task`, `num_rows`, `seed`, `top_p`, …

    Returns:
        The rows, with `ClassLabel` names, `index` and provenance columns.

    Raises:
        InputError: If a setting is not allowed.

    Example:
        >>> build("zerogen", task="sst2", num_rows=100, seed=1)  # doctest: +SKIP
    """
    plan = plan_of({**settings, "method": method}, "build")
    generator = generator or open_generator(plan)
    decides = {**_decides(plan, generator), "num_rows": plan.config.num_rows, "weights": generator.digest}
    if read := _read(plan):
        decides["read"] = read
    builder = SynthBuilder(
        cache_dir=cache_dir,
        config_name=f"{plan.task.name}-{method}",
        settings=json.dumps(decides, sort_keys=True),
        plan=plan,
        generator=generator,
    )
    builder.download_and_prepare()
    if split is not None:
        return builder.as_dataset(split=split)
    parts = builder.as_dataset()
    rows = datasets.concatenate_datasets(list(parts.values()))
    return rows.select(np.argsort(rows["index"]))
