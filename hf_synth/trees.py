"""Parse trees of intents and slots in the bracket notation of TOP (https://huggingface.co/papers/1810.07942)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .bio import places
from .characters import JOINERS, MARKS

INTENT, SLOT = "IN:", "SL:"
DEEPEST = 100  # levels; those of people have a handful, and Python recurses into no thousand
NAME = re.compile(r"(IN|SL):[A-Z0-9_]+\Z")
# Each mark is a token of its own, as in `don ' t` and `9 : 30`; a number stands apart from its `am` or `pm`.
TOKEN = re.compile(rf"\d+(?=[ap]m\b)|[^\W_](?:[^\W_]|[{MARKS}{JOINERS}])*|[^\w\s]|_", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Tree:
    """An intent or a slot with what stands in it, in order.

    Attributes:
        name: `IN:...` of an intent, `SL:...` of a slot.
        children: Words and trees.
    """

    name: str
    children: tuple[Tree | str, ...]

    def __str__(self) -> str:
        """Return the bracket notation, tokens one space apart."""
        return " ".join([f"[{self.name}", *map(str, self.children), "]"])

    def words(self) -> list[str]:
        """Return the words without brackets, in order: the utterance."""
        return [word for child in self.children for word in (child.words() if isinstance(child, Tree) else [child])]

    def trees(self) -> Iterator[Tree]:
        """Yield this tree and all below it, from left to right."""
        yield self
        for child in self.children:
            if isinstance(child, Tree):
                yield from child.trees()

    def slots(self) -> list[tuple[str, str]]:
        """Return name and words of each slot at any depth."""
        return [(tree.name, " ".join(tree.words())) for tree in self.trees() if tree.name.startswith(SLOT)]

    def structure(self) -> Tree:
        """Return the tree without the words of its intents: what they carry stands in slots (decoupled TOP)."""
        inside = tuple(
            child.structure() if isinstance(child, Tree) else child
            for child in self.children
            if isinstance(child, Tree) or self.name.startswith(SLOT)
        )
        return Tree(self.name, inside)


def parse(text: str, names: Iterable[str] = ()) -> Tree | str:
    """Return the tree that a text writes down, or the reason why it writes none.

    Reasons: `unbalanced brackets`, `no intent at the root`, `unknown name` (no name of an intent or slot, or none of
    `names`), `nested too deep`, `slot inside slot`, `intent inside intent`, `empty slot`.

    Args:
        text: Bracket notation; tokens are separated by white space.
        names: Intents and slots that there are; any where empty.
    """
    known, tokens = frozenset(names), text.split()
    for token in tokens:
        if token.startswith("[") and (not NAME.match(token[1:]) or (known and token[1:] not in known)):
            return "unknown name"
        if not token.startswith("[") and token != "]" and ("[" in token or "]" in token):
            return "unbalanced brackets"
    if not tokens or not tokens[0].startswith("[" + INTENT):
        return "no intent at the root"
    tree = _closed(tokens)
    return tree if isinstance(tree, str) else _checked(tree)


def _closed(tokens: Sequence[str]) -> Tree | str:
    """Return the one tree whose brackets these are, whatever is in it."""
    names: list[str] = []
    inside: list[list[Tree | str]] = [[]]
    for at, token in enumerate(tokens):
        if at and not names:
            return "unbalanced brackets"
        if token == "]":
            done = Tree(names.pop(), tuple(inside.pop()))
            inside[-1].append(done)
        elif token.startswith("["):
            names.append(token[1:])
            inside.append([])
            if len(names) > DEEPEST:
                return "nested too deep"
        else:
            inside[-1].append(token)
    tree = inside[0][0] if not names else None
    return tree if isinstance(tree, Tree) else "unbalanced brackets"


def _checked(root: Tree) -> Tree | str:
    for tree in root.trees():
        kind = tree.name[:3]
        if any(isinstance(child, Tree) and child.name.startswith(kind) for child in tree.children):
            return "slot inside slot" if kind == SLOT else "intent inside intent"
        if kind == SLOT and not tree.words():
            return "empty slot"
    return root


def tokenised(text: str) -> list[str]:
    """Return the tokens of a text as TOPv2 has them: each mark apart, clitics and times cut (`I ' m`, `9 : 30 am`)."""
    return TOKEN.findall(text.replace("’", "'").replace("‘", "'"))


def value_tree(slot: str, value: str) -> Tree | str:
    """Return a slot that holds a value: words, or bracket notation such as `[IN:GET_TODO [SL:TODO lunch ] ]`.

    Returns:
        The slot, or the reason why the value is malformed.
    """
    if "[" not in value and "]" not in value:
        words = tokenised(value)
        return Tree(slot, tuple(words)) if words else "empty slot"
    whole = parse(f"[{INTENT}X [{slot} {value} ] ]")
    if isinstance(whole, str):
        return whole
    (tree,) = whole.children
    assert isinstance(tree, Tree)
    return tree


def spoken(value: str) -> str:
    """Return the words of a value without its brackets."""
    return " ".join(word for word in value.split() if word != "]" and not word.startswith("["))


def compose(intent: str, text: str, slots: Mapping[str, str]) -> Tree | str:
    """Return the parse of a text whose intent and slot values are known, or the reason why there is none.

    Each value must stand in the text exactly once, as whole words in any case; what the tree holds is the text's own
    writing. Reasons: `slot missing`, `slot twice`, `slots overlap`, `brackets in text`, those of a malformed value.

    Args:
        intent: The intent at the root.
        text: The text, tokenised or not.
        slots: Slot -> its value, in words or bracket notation.
    """
    if "[" in text or "]" in text:
        return "brackets in text"
    tokens = tokenised(text)
    found: list[tuple[int, Tree]] = []
    for slot, value in slots.items():
        tree = value_tree(slot, value)
        if isinstance(tree, str):
            return tree
        starts = places(tokens, tree.words())
        if len(starts) != 1:
            return "slot twice" if starts else "slot missing"
        found.append((starts[0], tree))
    children: list[Tree | str] = []
    at = 0
    for start, tree in sorted(found, key=lambda one: one[0]):
        if start < at:
            return "slots overlap"
        end = start + len(tree.words())
        children += [*tokens[at:start], _rewritten(tree, iter(tokens[start:end]))]
        at = end
    return Tree(intent, (*children, *tokens[at:]))


def _rewritten(tree: Tree, words: Iterator[str]) -> Tree:
    """Return the tree with its words replaced by others, one by one."""
    inside = tuple(_rewritten(child, words) if isinstance(child, Tree) else next(words) for child in tree.children)
    return Tree(tree.name, inside)
