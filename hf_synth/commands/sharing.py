"""What `push`, `generate` and `run` do alike to share a folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ..errors import InputError
from ..marks import kept_here, stays
from ..produce import Plan
from ..settings import OutputConfig

WITH_HUB_ID = ("push_every", "create_pr", "collection")


def check_private(hub_id: str | None, learnt: Sequence[str]) -> None:
    """Refuse to push, in the run that makes it, what was made of real text that shall stay on this machine.

    Args:
        hub_id: Where the push would go, if anywhere.
        learnt: What would be sent, in words; nothing where no such text is in it.

    Raises:
        InputError: Saying what would have left, and how to send it all the same.
    """
    if hub_id and learnt:
        raise InputError(
            f"`private` keeps real text on this machine, and `hub_id: {hub_id}` would send {' and '.join(learnt)}: "
            "leave `hub_id` out, inspect what was made, and push it with `hf-synth push --overrule private`"
        )


def check_sharing(output: OutputConfig, plan: Plan, learnt: Sequence[str] = ()) -> None:
    """Refuse a push that cannot succeed, or must not be, before the work that it would share is done.

    Args:
        output: Where it goes.
        plan: What is made.
        learnt: What else would be sent and must not be, in words.

    Raises:
        InputError: If settings do not go together, or there is no way to the Hub.
    """
    if output.hub_id is None:
        for name in WITH_HUB_ID:
            if getattr(output, name):
                raise InputError(f"`{name}: {getattr(output, name)}` is read with `hub_id` alone, which is not given")
        return
    made = [f"rows made with {what}" for what in kept_here(plan, output.private)]
    check_private(output.hub_id, [*made, *learnt])
    if output.push_every and output.create_pr:
        raise InputError("`push_every` would open a pull request at each push; leave `create_pr` or `push_every` out")
    from ..hub import check_access

    check_access(output.hub_id)


def check_given(path: str, hub_id: str | None, private: bool) -> None:
    """Refuse to push what is made of rows that must stay on this machine, or in vain.

    Args:
        path: The rows: a file, folder or Hub id.
        hub_id: Where the push would go, if anywhere.
        private: Whether they shall stay.

    Raises:
        InputError: If the rows must not leave, or there is no way to the Hub.
    """
    check_private(hub_id, [f"rows made with {what}" for what in stays(path, private)])
    if hub_id:
        from ..hub import check_access

        check_access(hub_id)


def share(
    folder: Path, hub_id: str, output: OutputConfig, console: Console, kind: str = "dataset", overrule: str = ""
) -> None:
    """Push a folder, link it in its collection, and print where both are."""
    from ..collection import collect
    from ..hub import push

    names = [name.strip() for name in overrule.split(",") if name.strip()]
    settings: Any = {"repo_type": kind, "private": output.private}
    console.print(push(folder, hub_id, create_pr=output.create_pr, overrule=names, **settings), markup=False)
    if output.collection:
        console.print(collect(output.collection, hub_id, **settings), markup=False)


def hand_over(folder: Path, told: Iterable[str], hub_id: str | None, console: Console) -> None:
    """Print what is known of a data set that is done, and where it is; push it where a repository is named."""
    for sentence in told:
        console.print(sentence, markup=False)
    console.print(f"in {folder}: load_dataset({str(folder)!r})", markup=False)
    if hub_id:
        from ..hub import push

        console.print(push(folder, hub_id))
