"""`hf-synth methods`: list the methods, or show one."""

from __future__ import annotations

import inspect

from ..methods import NAMES, get


def main(argv: list[str]) -> int:
    """Run the verb."""
    if argv and argv[0] in ("-h", "--help"):
        print("usage: hf-synth methods [NAME ...]: list the methods, or show what some do and their settings")
        return 0
    for name in argv:
        method = get(name)
        print(f"{method.paper.title}\n{method.paper.link}\n\n{inspect.getdoc(method.generate)}\n")
        print("Differs from the paper:\n" + "\n".join(f"- {sentence}" for sentence in method.differs))
        print("\nSettings:\n" + inspect.getdoc(method.config).partition("Attributes:")[2])  # type: ignore[union-attr]
    if not argv:
        for name in NAMES:
            print(f"{name:<12}{get(name).paper.link}  {get(name).paper.title}")
    return 0
