"""The package as a whole: what it imports, what it exports, what its wheel holds."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hf_synth

PACKAGE = Path(hf_synth.__file__).parent
# Imports point from a later layer to an earlier one. Folders stand for their modules.
LAYERS = [
    ("errors", "version", "characters"),
    ("config", "files", "losses", "bio", "card_merge"),
    ("trees", "licences", "pii", "packages"),
    ("directional", "sources", "augment", "mixture_settings", "backend_args"),
    ("mixture",),
    ("records", "ranks", "trainers", "students", "metrics"),
    ("task", "settings", "row_weights"),
    ("tasks", "arguments", "annotations", "journal"),
    ("prompts", "parse", "attributes", "models", "cells", "answers", "columns", "candidates"),
    ("slots", "deidentify", "filters.copies"),
    ("shapes", "ledger", "generators.base", "generators.local.processor", "student", "retrieval", "adapters"),
    ("learners", "mapping", "shots"),
    ("fit", "exemplars"),
    ("chunks", "home", "classifier", "influence", "prototypes"),
    ("dealing",),
    ("run",),
    ("generators", "reference", "denoise", "planner"),
    ("filters", "real", "elicit", "instructions", "queries", "rounds", "notes"),
    ("feedback", "plans"),
    ("openings", "few_shot", "variants"),
    ("methods", "verbalizers"),
    ("work",),
    ("produce",),
    ("leaving",),
    ("marks",),
    ("card", "backends", "standing", "curves"),
    ("folder",),
    ("builder", "progress", "weighted"),
    ("export",),
    ("request",),
    ("embedded",),
    ("stages",),
    ("sft",),
    ("train",),
    ("report", "baselines"),
    ("audit",),
    ("leaks", "retries", "reproduce"),
    ("hub", "collection", "deploy", "inspected", "images", "tables"),
    ("commands",),
]
RANK = {name: at for at, names in enumerate(LAYERS) for name in names}


def rank(module):
    """Return the layer of a module named relative to the package."""
    parts = module.split(".")
    return next(RANK[".".join(parts[:n])] for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in RANK)


def imports(path):
    """Yield the package's own modules that a file imports, relative to the package."""
    here = [*path.relative_to(PACKAGE).with_suffix("").parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = here[: len(here) - node.level] if path.name != "__init__.py" else here[: len(here) - node.level]
            target = [*base, *(node.module or "").split(".")] if node.module else base
            names = [".".join([*target, alias.name]) for alias in node.names]
            for name in names:
                module = PACKAGE.joinpath(*name.split("."))
                yield name if module.is_dir() or module.with_suffix(".py").exists() else ".".join(target)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hf_synth."):
            yield node.module.removeprefix("hf_synth.")


MODULES = [p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.name not in ("__init__.py", "__main__.py")]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    parts = [*path.relative_to(PACKAGE).with_suffix("").parts]
    own = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    for name in filter(None, imports(path)):
        same_family = name.split(".")[0] == own.split(".")[0]
        assert same_family or rank(name) < rank(own), f"{own} imports {name}"


def fresh(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_package_is_light():
    heavy = fresh(
        "import sys, hf_synth; print([m for m in ('torch', 'transformers', 'datasets') if m in sys.modules])"
    )
    assert heavy == "[]"


def test_help_is_quick():
    """What takes time are other packages, and none is loaded."""
    code = (
        "import sys; before = {*sys.modules}; import hf_synth.commands.main as m; m.main(['--help']);"
        "print(*{name.partition('.')[0] for name in {*sys.modules} - before} - sys.stdlib_module_names)"
    )
    assert fresh(code).splitlines()[-1] == "hf_synth"


def test_every_export_is_there_and_typed():
    source = (PACKAGE / "__init__.py").read_text()
    checked = {
        alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for part in node.body
        for alias in part.names
    }
    assert checked == set(hf_synth._EXPORTS)
    assert set(hf_synth.__all__) == {*hf_synth._EXPORTS, "__version__"}
    for name in hf_synth._EXPORTS:
        assert getattr(hf_synth, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Buildr'"):
        _ = hf_synth.Buildr


def test_templates_and_tasks_are_packaged():
    from importlib.resources import files

    assert {f.name for f in files("hf_synth.cards").iterdir()} >= {"dataset.md", "model.md"}
    assert (files("hf_synth.tasks") / "sst2.yaml").is_file()


def test_no_file_is_long():
    for path in PACKAGE.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 300, path
