"""`hf-synth tasks`: list the packaged tasks, or show one."""

from __future__ import annotations

from importlib import resources

from ..errors import unknown
from ..tasks import load_task, task_names


def main(argv: list[str]) -> int:
    """Run the verb."""
    if argv and argv[0] in ("-h", "--help"):
        print("usage: hf-synth tasks [NAME ...]: list the packaged tasks, or show the YAML of some")
        return 0
    for name in argv:
        if name not in task_names():
            raise unknown("the task", name, task_names())
        print((resources.files("hf_synth.tasks") / f"{name}.yaml").read_text(encoding="utf-8"), end="")
    if not argv:
        for name in task_names():
            task = load_task(name)
            print(f"{name:<27}{task.kind:<12}{len(task.labels):>4} labels  {task.description}")
    return 0
