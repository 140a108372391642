"""A suffix automaton over tokens: every span of a set of texts, in a graph of at most two states a token."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence


class SuffixAutomaton:
    """Finds for every token of a text the longest span ending there that stands in one of the reference's texts.

    The automaton of Blumer et al. (1985, https://doi.org/10.1016/0304-3975(85)90157-4), over several texts: each
    begins at the root, so no span crosses from one into the next. Most states lead to one other: that edge stands in
    two arrays, and further ones in dictionaries, about 120 bytes a token in all.

    Args:
        texts: The reference, tokens of each text; they are read once and not kept.
    """

    def __init__(self, texts: Iterable[Sequence[str]]):
        self.numbers: dict[str, int] = {}
        self.lengths, self.links, self.rows = array("i"), array("i"), array("i")
        self._tokens, self._targets = array("i"), array("i")
        self._more: dict[int, dict[int, int]] = {}
        self._add(0, -1)
        for row, text in enumerate(texts):
            last = 0
            for token in text:
                last = self._extend(last, self.numbers.setdefault(token, len(self.numbers)), row)

    def __len__(self) -> int:
        return len(self.lengths)

    def matches(self, text: Sequence[str]) -> tuple[list[int], int, int]:
        """Return, for each token, the length of the longest span ending there that the reference holds.

        Then the longest of them, and the first of the reference's texts that holds it (-1 where there is none).
        """
        numbers, links, lengths = self.numbers, self.links, self.lengths
        tokens, targets, more = self._tokens, self._targets, self._more
        found, state, length, best, best_state = [], 0, 0, 0, 0
        for word in text:
            token = numbers.get(word, -1)
            if token < 0:
                state = length = 0
                found.append(0)
                continue
            while tokens[state] != token:  # ends at the root at the latest, which leads on with every known token
                if state in more and token in more[state]:
                    state = more[state][token]
                    break
                state = links[state]
                length = lengths[state]
            else:
                state = targets[state]
            length += 1
            found.append(length)
            if length > best:
                best, best_state = length, state
        return found, best, self.rows[best_state]

    def _add(self, length: int, row: int) -> int:
        self.lengths.append(length)
        self.links.append(-1)
        self.rows.append(row)
        self._tokens.append(-1)
        self._targets.append(-1)
        return len(self.lengths) - 1

    def _edge(self, state: int, token: int) -> int:
        if self._tokens[state] == token:
            return self._targets[state]
        return self._more[state].get(token, -1) if state in self._more else -1

    def _lead(self, state: int, token: int, target: int) -> None:
        if self._tokens[state] in (-1, token):
            self._tokens[state], self._targets[state] = token, target
        else:
            self._more.setdefault(state, {})[token] = target

    def _extend(self, last: int, token: int, row: int) -> int:
        """Return the state of the text so far with one token more."""
        known = self._edge(last, token)
        if known >= 0:
            return self._exactly(last, token, known)
        new, state = self._add(self.lengths[last] + 1, row), last
        tokens, targets, more, links = self._tokens, self._targets, self._more, self.links
        while state >= 0:  # `_edge` and `_lead`, written out: here the time goes
            if (first := tokens[state]) == -1:
                tokens[state], targets[state] = token, new
            elif first == token:
                known = targets[state]
                break
            elif (known := more.setdefault(state, {}).setdefault(token, new)) != new:
                break
            state = links[state]
        self.links[new] = 0 if state < 0 else self._exactly(state, token, known)
        return new

    def _exactly(self, state: int, token: int, target: int) -> int:
        """Return the state whose longest span is that of `state` with the token, split off the target where needed."""
        if self.lengths[target] == self.lengths[state] + 1:
            return target
        clone = self._add(self.lengths[state] + 1, self.rows[target])
        self.links[clone], self.links[target] = self.links[target], clone
        self._tokens[clone], self._targets[clone] = self._tokens[target], self._targets[target]
        if target in self._more:
            self._more[clone] = dict(self._more[target])
        while state >= 0 and self._edge(state, token) == target:
            self._lead(state, token, clone)
            state = self.links[state]
        return clone
