"""`hf-synth methods`: list the methods, or show one."""

from __future__ import annotations

import inspect
import textwrap

from ..methods import NAMES, get
from .options import documented


def main(argv: list[str]) -> int:
    """Run the verb."""
    if argv and argv[0] in ("-h", "--help"):
        print("usage: hf-synth methods [NAME ...]: list the methods, or show what some do and their settings")
        return 0
    for name in argv:
        method = get(name)
        print(f"{method.paper.title}\n{method.paper.link}\n\n{inspect.getdoc(method.generate)}\n")
        print(f"Data it is given: {method.needs}. Cost: {method.cost}.\n")
        print("Differs from the paper:\n" + "\n".join(f"- {sentence}" for sentence in method.differs))
        print("\nSettings:\n" + "\n".join(_setting(*pair) for pair in documented(method.config).items()))
    if not argv:
        for name in NAMES:
            method = get(name)
            print(f"{name:<12}{method.paper.link}  {method.paper.title}")
            print(f"{'':<12}given: {method.needs}; cost: {method.cost}")
    return 0


def _setting(name: str, text: str) -> str:
    return textwrap.fill(f"{name}: {text}", 110, initial_indent="    ", subsequent_indent="        ")
