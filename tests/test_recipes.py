"""Every recipe parses into its settings; the README's commands are single lines."""

import json
from pathlib import Path

import pytest
import yaml

from hf_synth.commands.options import parse
from hf_synth.fit import trainer_config
from hf_synth.images.settings import FuseConfig, IllustrateConfig
from hf_synth.produce import Plan
from hf_synth.settings import OutputConfig, StudentConfig, SynthConfig
from hf_synth.tables.schema import read_schema
from hf_synth.tables.settings import ImputeConfig, ImputerConfig
from hf_synth.tasks import load_task

ROOT = Path(__file__).parent.parent
FILES = sorted(p for p in (ROOT / "recipes").rglob("*.yaml") if p.parent.name not in ("accelerate", "cluster"))
PAPERS = [p for p in FILES if p.parent.name == "paper_tasks"]  # named like the task
TASKS = [p for p in FILES if p.stem.endswith("_task")] + PAPERS
TABLES = [p for p in FILES if p.stem in ("impute", "schema") and p.parent.name != "images"]
IMAGES = [p for p in FILES if p.parent.name == "images"]
RECIPES = [p for p in FILES if p not in TASKS and p not in TABLES and p not in IMAGES]


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: str(p.relative_to(ROOT)))
def test_recipes_parse(path):
    found = parse(["--config", str(path)], "hf-synth run", SynthConfig, StudentConfig, OutputConfig)
    plan = Plan.of(found[SynthConfig], found["method"])
    assert path.parent.name == plan.task.name
    told = path.stem.partition("-")[0]  # the method, one of its ablations, or the trainer
    assert told in (plan.method.name, getattr(found["method"], "prompts", None), found[StudentConfig].trainer)
    assert found[OutputConfig].output_dir == f"outputs/{plan.task.name}-{path.stem}"


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_trainers_of_recipes_are_made_by_the_command_in_their_first_lines(path):
    """Annealing needs real rows, which the command names and the recipe cannot."""
    command = next(line for line in path.read_text().splitlines() if line.startswith("#   hf-synth run"))
    words = command.removeprefix("#   hf-synth run ").split()
    assert words[:2] == ["--config", str(path.relative_to(ROOT))]
    config = parse(["--config", str(path), *words[2:]], "hf-synth run", SynthConfig, StudentConfig, OutputConfig)
    assert (trainer_config(config[StudentConfig], 0) is None) == (config[StudentConfig].trainer == "weighted")


@pytest.mark.parametrize("path", TASKS, ids=lambda p: str(p.relative_to(ROOT)))
def test_task_files_beside_recipes_load(path):
    task, packaged = load_task(str(path)), load_task(path.stem if path in PAPERS else path.parent.name)
    assert (task.name, set(task.labels), task.columns) == (packaged.name, set(packaged.labels), packaged.columns)


def test_recipes_of_tables_parse():
    for path in (p for p in TABLES if p.stem == "impute"):
        command = next(line for line in path.read_text().splitlines() if line.startswith("#   hf-synth impute"))
        words = command.removeprefix("#   hf-synth impute ").split()
        found = parse(words, "hf-synth impute", ImputeConfig, ImputerConfig)[ImputeConfig]
        names = list(yaml.safe_load(Path(found.schema).read_text())["columns"])
        assert read_schema(found.schema, names).columns[found.label_column].type == "category"
        assert found.output_dir == f"outputs/{path.parent.name}-impute"


@pytest.mark.parametrize("path", IMAGES, ids=lambda p: p.stem)
def test_recipes_of_images_parse_and_say_that_they_were_not_run(path):
    told = path.read_text()
    verb, kind = ("fuse", FuseConfig) if path.stem == "fuse" else ("illustrate", IllustrateConfig)
    command = next(line for line in told.splitlines() if line.startswith(f"#   hf-synth {verb}"))
    words = command.removeprefix(f"#   hf-synth {verb} ").split()
    assert words[:2] == ["--config", str(path.relative_to(ROOT))]
    found = parse(words, f"hf-synth {verb}", kind)[kind]
    assert found.output_dir == f"outputs/images-{path.stem}"
    assert "Not run here" in told.splitlines()[0]


def test_there_are_recipes():
    assert len(RECIPES) >= 2


@pytest.mark.parametrize("path", sorted((ROOT / "recipes/accelerate").glob("*.yaml")), ids=lambda p: p.name)
def test_accelerate_configs_are_known_to_accelerate(path):
    from accelerate.commands.config.config_args import ClusterConfig
    from accelerate.commands.launch import launch_command_parser

    config = ClusterConfig.from_yaml_file(yaml_file=str(path))
    assert config.num_processes == yaml.safe_load(path.read_text())["num_processes"]
    flags = vars(launch_command_parser().parse_args(["script.py"]))
    assert {*config.fsdp_config, *config.deepspeed_config} <= {*flags}


@pytest.mark.parametrize("heading", ["## Run it", "## Test it"])
def test_readme_commands_are_one_line(heading):
    text = (ROOT / "README.md").read_text()
    assert text.count(f"\n{heading}\n") == 1
    block = text.partition(f"\n{heading}\n")[2].partition("```bash\n")
    assert "\n## " not in block[0]
    command = block[2].partition("```")[0].strip()
    assert command
    assert "\n" not in command


def test_the_readmes_own_task_works(tmp_path):
    """The YAML file that the README shows as a user's own task loads and writes its prompts."""
    text = (ROOT / "README.md").read_text()
    mine = tmp_path / "mine.yaml"
    mine.write_text(text.partition("```yaml\n")[2].partition("```")[0])
    assert len(mine.read_text().splitlines()) <= 10
    plan = Plan.of(SynthConfig(task=str(mine)))
    for label in plan.task.labels:
        assert plan.task.labels[label] in plan.task.render(label)


def test_the_readmes_python_runs(tmp_path):
    """The example that needs no model prints what the README says."""
    import subprocess
    import sys

    text = (ROOT / "README.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0]
    env = {"HF_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=tmp_path, check=True
    )
    assert done.stdout.strip() == code.strip().splitlines()[-1].partition("# ")[2]


def test_the_noise_table_names_cells_that_never_began(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "recipes" / "benchmarks"))
    from noise_table import show

    lines = [{"cell": ["head", "trec", "clean", 0, group], "methods": {}} for group in ("plain", "folds")]
    (tmp_path / "noise.jsonl").write_text(
        "\n".join(map(json.dumps, [*lines, {**lines[0], "cell": ["head", "trec", "clean", 1, "plain"]}]))
    )
    plan = [("head", "trec", noise, seed) for seed in (0, 1) for noise in ("clean", "uniform20")]
    show(tmp_path / "noise.jsonl", plan, ["plain", "folds"])
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("missing")] == [
        "missing: ('head', 'trec', 'clean', 1): folds",
        "missing: ('head', 'trec', 'uniform20'): seeds [0, 1]",
    ]
