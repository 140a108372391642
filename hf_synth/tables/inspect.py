"""`hf-synth inspect` of a table, one of ours or any: its cells, rows, columns and labels."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..audit import balance, gap, labels, oracle, usefulness
from ..audit.figures import text_map
from ..audit.records import Rows, Verdict, skipped
from ..audit.report import report
from ..audit.settings import InspectConfig
from ..metrics.sampling import drawn
from ..pii import EXCERPT, mask
from . import likeness
from .parts import Part, Row, read_parts
from .schema import Column, Schema
from .vectors import counted, vectors

PARTS = 10  # words of a column of numbers


def inspect_table(config: InspectConfig) -> dict[str, Any]:
    """Run all checks of a table.

    Args:
        config: The settings; models are not used.

    Returns:
        What `audit.report.report` returns.

    Raises:
        InputError: If something cannot be loaded, or the two tables have no column in common.
    """
    own, test, train, schema, label = read_parts(config)
    real = test if train is None else train
    scale = (real or own).cells
    mine = _rows(own, scale, schema, label, config)
    tests, trains = (None if part is None else _rows(part, scale, schema, label, config) for part in (test, train))
    drawn_map = usefulness.data_map(mine, config.seed)
    as_many = None
    if real is not None:
        as_many = [real.cells[at] for at in drawn(len(real.cells), max(len(own.cells), 2), config.seed)]
    found = [*_made(Path(config.dataset)), likeness.repeated(own.cells, own.index, as_many, own.unread)]
    if test is None or tests is None or real is None:
        found.append(skipped("test rows", "needs a `reference`, whose test split must not stand in the table"))
    else:
        found += [
            *_beside(own, test, train, real, schema, config),
            gap.two_samples(*_equal(mine, tests, config.seed), config.seed),
        ]
    found += [*_labelled(mine, tests, trains, config.seed), drawn_map[0]]
    shown = dict(zip(own.index, own.cells, strict=True))
    verdicts = [_shown(one, shown) for one in found]
    places = text_map(mine, tests, config.seed)
    for point in places["own"] if places else ():
        point["text"] = _excerpt(shown[point["row"]])
    figures = {"lengths": None, "map": places, "data_map": drawn_map[1]}
    sides = (own.facts(label), test.facts(label) if test else None, train.facts(label) if train else None)
    return report(verdicts, sides, figures, rows=len(own.cells), judged=len(mine), seed=config.seed)


def _rows(part: Part, scale: Sequence[Row], schema: Schema, label: str | None, config: InspectConfig) -> Rows:
    """Return a sample as rows that the checks of texts know: each cell is a word, a number that of its tenth."""
    some = part.where(lambda row: label is None or row[label] is not None)
    places = drawn(len(some.cells), config.embedded, config.seed)
    cells, index = [some.cells[at] for at in places], np.array([some.index[at] for at in places])
    inputs = Schema({name: column for name, column in schema.columns.items() if name != label})
    words = []
    for at, (name, column) in enumerate(inputs.columns.items()):
        known = [row[name] for row in scale if row[name] is not None]
        edges = np.quantile(known, np.linspace(0, 1, PARTS + 1)[1:-1]) if column.numeric and known else []
        words.append([f"c{at}v{_word(column, row[name], edges)}" for row in cells])
    names = list(schema.columns[label].categories) if label else [""]
    classes = np.array([names.index(row[label]) for row in cells]) if label else np.zeros(len(cells), dtype=np.int64)
    texts = [" ".join(own) for own in zip(*words, strict=True)]
    table = vectors(cells, inputs, scale)
    return Rows(texts, classes, names, index, table, labelled=label is not None and len(np.unique(classes)) > 1)


def _equal(own: Rows, real: Rows, seed: int) -> tuple[Rows, Rows]:
    """Return as many rows of both."""
    count = min(len(own), len(real))
    return own.take(drawn(len(own), count, seed)), real.take(drawn(len(real), count, seed))


def _word(column: Column, value: Any, edges: Any) -> str:
    if value is None:
        return "none"
    return str(int(np.searchsorted(edges, value)) if column.numeric else column.categories.index(value))


def _made(folder: Path) -> Iterator[Verdict]:
    """Of a table that `impute` completed: what its cells were found to be worth when it was made."""
    file = folder / "hf_synth" / "facts.json"
    facts = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if "covered" not in facts:
        return
    if not facts["covered"]:
        share = facts["settings"]["hidden"]
        yield skipped("hidden cells", f"no cell was hidden (`hidden: {share}`): the error of the imputed is unknown")
        return
    yield _error(facts)
    whole, claimed = facts["covered"], facts["settings"]["interval"]
    reason = f"{whole['covered']:.0%} of the hidden cells lie in the intervals that claim {claimed:.0%}"
    short = "look" if whole["interval"][1] < claimed else "good"
    yield Verdict("coverage", short, whole["covered"], claimed, reason, (), whole)  # type: ignore[arg-type]


def _error(facts: Mapping[str, Any]) -> Verdict:
    check = "hidden cells"
    ratios = [one["error"] / one["baseline"] for one in facts["checked"] if one["baseline"]]
    if not ratios:  # as in constant columns
        return skipped(check, "each hidden cell holds the mean, or the commonest value, of its column")
    ratio, cells = float(np.mean(ratios)), facts["covered"]["cells"]
    reason = f"the error of {cells} hidden cells is {ratio:.2f} times that of the mean or the commonest"
    return Verdict(check, "look" if ratio >= 1 else "good", ratio, 1.0, reason, (), {"columns": facts["checked"]})


def _beside(
    own: Part, test: Part, train: Part | None, real: Part, schema: Schema, config: InspectConfig
) -> Iterator[Verdict]:
    """Cells, rows and columns beside the reference's, and what the rows give away of those learnt from."""
    yield likeness.allowed(own.wrong, len(own.cells), [*test.cells, *(train.cells if train else ())], schema)
    yield likeness.missing(own.cells, real.cells, schema, _unread(own))
    yield likeness.copied(own, test, None if train is None else train.cells, "test")
    yield likeness.columns(own.cells, real.cells, schema, config.seed)
    yield likeness.pairs(own.cells, real.cells, schema)
    yield from _given_away(own, test, train, schema, config)


def _unread(own: Part) -> Counter[str]:
    """Return how many cells of each column hold what cannot be read, and are not missing."""
    rows = dict(zip(own.index, own.cells, strict=True))
    return Counter(name for at, name, _ in own.wrong if rows[at][name] is None)


def _given_away(own: Part, test: Part, train: Part | None, schema: Schema, config: InspectConfig) -> Iterator[Verdict]:
    """What the rows tell of those learnt from."""
    checks = ("closest record", "membership")
    if train is None:
        yield from (skipped(check, "needs a train and a test split") for check in checks)
        return
    again = likeness.copied(own, train, test.cells, "train")
    yield again
    if own.completed and again.found > len(own.cells) / 2:
        yield from (
            skipped(check, "most rows are train rows, completed: all that those hold is given away")
            for check in checks
        )
        return
    parts = [_drawn(part, config) for part in (own, train, test)]
    mine, learnt, others = (vectors(part, schema, parts[1], holes=True) for part in parts)
    yield from likeness.given_away(mine, learnt, others, counted(schema, parts[1]), config.seed)


def _drawn(part: Part, config: InspectConfig) -> list[Row]:
    return [part.cells[at] for at in drawn(len(part.cells), config.embedded, config.seed)]


def _labelled(own: Rows, test: Rows | None, train: Rows | None, seed: int) -> Iterator[Verdict]:
    """Checks that texts have, too: rows are words and numbers to them."""
    if not own.labelled:
        checks = ("wrong labels", "class names", "oracle", "balance", "usefulness", "calibration", "more rows")
        yield from (skipped(check, "no column of labels, or one label alone") for check in checks)
        return
    yield labels.suspects(own, seed)
    yield balance.shares(own, test)
    if test is None:
        yield skipped("usefulness", "needs a `reference`, whose rows judge what is learnt")
        return
    yield labels.swapped(own, train or test)
    yield oracle.agreement(own, train, test) if train else skipped("oracle", "needs a `reference` with a train split")
    yield from usefulness.learnt(own, train, test, seed)


def _shown(verdict: Verdict, shown: Mapping[int, Row]) -> Verdict:
    """Add a masked excerpt to each row that a verdict names."""
    rows = [{**row, "text": _excerpt(shown[row["row"]])} for row in verdict.rows]
    told = {"rows": len(shown), **verdict.measures}
    return replace(verdict, reason=mask(verdict.reason), rows=rows, found=verdict.found or len(rows), measures=told)


def _excerpt(row: Row) -> str:
    text = ", ".join(f"{name} {likeness.shown(value)}" for name, value in row.items() if value is not None)
    return text if len(text) <= EXCERPT else text[:EXCERPT] + "…"
