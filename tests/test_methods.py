"""What holds of every method's file, and of what `hf-synth methods` and the README say of them."""

import re
from pathlib import Path

import pytest

import hf_synth.methods
from hf_synth.commands.main import main
from hf_synth.config import checked
from hf_synth.errors import InputError
from hf_synth.methods import NAMES, get
from hf_synth.retrieval.settings import IndexConfig
from hf_synth.tasks import load_task, task_names
from hf_synth.trainers.annealing import AnnealingConfig
from hf_synth.trainers.bilevel import BilevelConfig

ROOT = Path(__file__).parent.parent
FOLDER = Path(hf_synth.methods.__path__[0])


def source(name):
    return (FOLDER / f"{name}.py").read_text()


def bodies(name):
    """Return a method's lines of code: no blank ones, no imports."""
    lines = [line.strip() for line in source(name).splitlines()]
    return [line for line in lines if line and not line.startswith(("from ", "import "))]


@pytest.mark.parametrize("name", NAMES)
def test_a_method_is_short_and_the_readme_says_how_short(name):
    count = len(source(name).splitlines())
    assert count <= 120
    row = next(
        line for line in (ROOT / "README.md").read_text().splitlines() if f"(hf_synth/methods/{name}.py)" in line
    )
    assert f", {count} lines" in row
    recipes = re.findall(r"\]\((recipes/[^)]*)\)", row)
    assert len(recipes) >= 2
    assert all((ROOT / path).exists() for path in recipes)
    assert get(name).paper.link in row


@pytest.mark.parametrize("name", NAMES)
def test_no_method_names_a_task(name):
    words = set(re.findall(r"[a-z0-9_]+", source(name).lower()))
    assert not words & {*task_names(), "sst", "glue"}


def test_no_six_lines_stand_in_two_methods():
    seen = {}
    for name in NAMES:
        lines = bodies(name)
        for at in range(len(lines) - 5):
            run = tuple(lines[at : at + 6])
            assert seen.setdefault(run, name) == name, f"{seen[run]} and {name} share {run[0]!r}…"


@pytest.mark.parametrize("name", NAMES)
def test_what_stands_in_is_known(name):
    """The settings that a method brings along parse for a task that it writes."""
    from hf_synth.commands.options import parse
    from hf_synth.settings import BackendConfig, StudentConfig, SynthConfig

    flags = ["--task", "ag_news", "--method", name]
    parse(flags, "x", SynthConfig, BackendConfig, StudentConfig)
    known = {
        key
        for kind in (SynthConfig, BackendConfig, StudentConfig, get(name).config)
        for key in kind.__dataclass_fields__
    }
    assert {*get(name).defaults(load_task("ag_news"), {"shots": "x"})} <= known


def test_the_list_says_what_each_is_given_and_costs(capsys):
    assert main(["methods", *NAMES]) == 0
    told = capsys.readouterr().out
    assert main(["methods"]) == 0
    listed = capsys.readouterr().out
    for name in NAMES:
        method = get(name)
        for text in (method.needs, method.cost):
            assert text in listed
            assert text in told
        assert all(sentence in told for sentence in method.differs)


@pytest.mark.parametrize(
    ("method", "given", "sentence"),
    [
        (
            "progen",
            {"feedback": "random", "inverse": "lissa"},
            "`inverse: lissa` needs `feedback: influence`; got rand",
        ),
        ("progen", {"lissa_depth": 9}, "`lissa_depth: 9` needs `inverse: lissa`; got identity"),
        ("fewgen", {"virtual_rate": 0.1, "meta_weighting": False}, "needs `meta_weighting: true`; got false"),
        ("regen", {"neighbours": 9, "round_trip": False}, "`neighbours: 9` needs `round_trip: true`; got false"),
        ("attrprompt", {"prompts": "simprompt", "fixed_attribute": "x"}, "needs `prompts: attrprompt`; got simprompt"),
        ("augment", {"how": "names", "alpha": 0.5}, "`alpha: 0.5` needs `how: eda`; got names"),
        ("msp", {"mixer": "pooling", "tau": 2.0}, "`tau: 2.0` needs `mixer: attention or bottleneck`; got pooling"),
    ],
)
def test_an_ablation_that_changes_nothing_is_refused(method, given, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        checked(get(method).config, given, "x")


@pytest.mark.parametrize("kind", [*(get(name).config for name in NAMES), AnnealingConfig, BilevelConfig, IndexConfig])
def test_what_reads_a_setting_can_be_set_and_defaults_never_conflict(kind):
    rules = {name: rule for base in kind.__mro__ for name, rule in vars(base).get("read_by", {}).items()}
    for name, (other, readers) in rules.items():
        before = {rules[other][0]: rules[other][1][0]} if other in rules else {}
        for reader in readers:
            found = checked(kind, {name: getattr(kind(), name), other: reader, **before}, "x")
            assert getattr(found, other) == reader
