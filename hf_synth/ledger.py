"""`Ledger`: what was asked, what came of it and why not. Written only by `Run`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .journal import Chunk
from .records import known


@dataclass
class Counts:
    """Counts of one stage of generation (openings, texts)."""

    asked: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    tokens: int | None = None
    seconds: float = 0.0
    cost: float | None = None
    prompt_tokens: int | None = None

    @property
    def kept(self) -> int:
        """Completions that were not dropped."""
        return self.asked - self.dropped.total()


@dataclass
class Ledger:
    """Counts by stage; `rows` is the stage whose examples become rows."""

    stages: dict[str, Counts] = field(default_factory=dict)
    accounts: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def stage(self, name: str) -> Counts:
        """Return a stage's counts, started at zero."""
        return self.stages.setdefault(name, Counts())

    def asked(self, stage: str, chunk: Chunk) -> None:
        """Count a chunk's completions, whether answered now or replayed from the journal."""
        counts = self.stage(stage)
        counts.asked += len(chunk.completions)
        counts.seconds += chunk.seconds
        counts.tokens = known([counts.tokens, *(c.tokens for c in chunk.completions)])
        counts.cost = known([counts.cost, *(c.cost for c in chunk.completions)])
        counts.prompt_tokens = known([counts.prompt_tokens, *(c.prompt_tokens for c in chunk.completions)])

    def dropped(self, stage: str, reason: str) -> None:
        """Count a dropped completion under a reason."""
        self.stage(stage).dropped[reason] += 1

    def account(self, cell: object, sentence: str) -> None:
        """Note why a cell was not filled."""
        self.accounts[str(cell)] = sentence

    def note(self, name: str, value: Any) -> None:
        """Keep what a method found out on its way: a figure, a list, a mapping, or a table as a list of mappings."""
        self.notes[name] = value

    def facts(self) -> dict[str, Any]:
        """Return the counts as JSON-ready facts."""
        stages = {
            name: {
                "asked": stage.asked,
                "kept": stage.kept,
                "dropped": dict(sorted(stage.dropped.items())),
                "tokens": stage.tokens,
                "prompt_tokens": stage.prompt_tokens,
                "seconds": round(stage.seconds, 3),
                "cost": stage.cost,
            }
            for name, stage in self.stages.items()
        }
        return {"stages": stages, "accounts": dict(self.accounts), "notes": dict(self.notes)}
