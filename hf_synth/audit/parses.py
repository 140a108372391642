"""Whether parses are parses of their texts, how deep they are, and how many slots an intent has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..trees import Tree, parse
from . import counts, limits
from .records import Rows, Verdict, level, share_of


def checks(own: Rows, real: Rows | None, seed: int) -> Iterator[Verdict]:
    """Yield the checks of parses; depth and slots are compared within intents, however often each is here."""
    problems = {
        at: said for at, row in enumerate(zip(own.texts, own.parses or (), strict=True)) if (said := _flaw(*row))
    }
    told = share_of(len(problems), len(own))
    reason = f"{len(problems):,} of {len(own):,} parses are malformed or hold other words than their text"
    named = [{"row": int(own.index[at]), "problem": said} for at, said in [*problems.items()][: limits.MOST_ROWS]]
    verdict = level(told["share"], limits.PARSES)
    yield Verdict("parses", verdict, told["share"], limits.PARSES[0], reason, named, told, len(problems))
    trees = [None if side is None else _trees(side.parses or ()) for side in (own, real)]
    if not trees[0]:
        return
    for check, what, of in (("parse depth", "levels a parse", _depth), ("slots", "slots a parse", _slots)):
        mine, theirs = ([(tree.name, of(tree)) for tree in side or ()] for side in trees)
        yield counts.beside(check, what, mine, theirs or None, seed)


def _flaw(text: str, written: str) -> str:
    tree = parse(written)
    if isinstance(tree, str):
        return tree
    return "" if "".join(tree.words()) == "".join(text.split()) else "other words"


def _trees(parses: Sequence[str]) -> list[Tree]:
    return [tree for tree in map(parse, parses) if isinstance(tree, Tree)]


def _depth(tree: Tree) -> int:
    return 1 + max((_depth(child) for child in tree.children if isinstance(child, Tree)), default=0)


def _slots(tree: Tree) -> int:
    return len(tree.slots())
