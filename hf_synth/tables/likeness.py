"""Checks of a table beside a real one: its cells, its rows, its columns, and what its rows give away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from operator import itemgetter
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..audit import limits
from ..audit.counts import apart, by_chance
from ..audit.leakage import known_split
from ..audit.records import Level, Verdict, level, percent, repetition, share_of, skipped
from ..metrics.closest_record import closest_record
from ..metrics.membership import membership
from ..pii import mask
from ..reference import WHOLE
from .parts import Part
from .schema import SHOWN, Schema

Rows = Sequence[Mapping[str, Any]]
Held = list[tuple[Callable[[tuple[Any, ...]], Any], Counter[Any]]]
CELL = 40  # characters of a cell that are shown
WAYS = 100  # of having holes, the commonest


def allowed(wrong: Sequence[tuple[int, str, Any]], rows: int, real: Rows, schema: Schema) -> Verdict:
    """Rows with a cell that no real row has: out of its column's range, or of no known category.

    Another real row has such a cell as often as one of them alone holds an end of a range, or a category.

    Args:
        wrong: Row, column and what stands there.
        rows: How many there are.
        real: The reference.
        schema: Its ranges and categories.
    """
    bad, by_column = sorted({row for row, _, _ in wrong}), Counter(column for _, column, _ in wrong)
    usual = share_of(len(_alone(real, schema)), len(real))
    told = {**share_of(len(bad), rows), "columns": dict(by_column), "usual": usual}
    reason = f"{len(bad)} of {rows:,} rows have a cell beyond the ranges and categories of real rows"
    reason += "".join(f"; {count} in {name!r}" for name, count in by_column.most_common(3))
    reason += f" (other real rows: {percent(usual['share'])})"
    cells: dict[int, list[tuple[str, Any]]] = {}
    for row, column, cell in wrong:
        cells.setdefault(row, []).append((column, cell))
    named = [
        {"row": row, "column": ", ".join(name for name, _ in own), "cell": ", ".join(shown(cell) for _, cell in own)}
        for row, own in list(cells.items())[: limits.MOST_ROWS]
    ]
    chance = usual["interval"][1]
    verdict = level(told["interval"][0] - chance, limits.CELLS)
    return Verdict("cells", verdict, told["share"], limits.CELLS[0] + chance, reason, named, told, len(bad))


def _alone(rows: Rows, schema: Schema) -> set[int]:
    """Return the places of rows that alone hold an end of a column's range, or a category."""
    found = set()
    for name, column in schema.columns.items():
        held: dict[Any, list[int]] = {}
        for at, row in enumerate(rows):
            held.setdefault(row[name], []).append(at)
        ends = column.range or () if column.numeric else column.categories
        found |= {held[one][0] for one in ends if len(held.get(one, ())) == 1}
    return found


def shown(cell: Any) -> str:
    """Return a cell as a report shows it: masked, of a number four digits, which are no personal data."""
    text = f"{cell:.4g}" if isinstance(cell, float) else mask(str(cell))
    return text if len(text) <= CELL else text[:CELL] + "…"


def missing(own: Rows, real: Rows, schema: Schema, unread: Mapping[str, int]) -> Verdict:
    """The column whose share of missing cells differs most from the reference's.

    Args:
        own: The table.
        real: The reference.
        schema: The columns.
        unread: Cells of the table, by column, that are not missing, but None since they cannot be read.
    """
    found = {}
    for name in schema.columns:
        holes = [sum(row[name] is None for row in part) for part in (own, real)]
        found[name] = [share_of(holes[0] - unread.get(name, 0), len(own)), share_of(holes[1], len(real))]
    gaps = {name: mine["share"] - theirs["share"] for name, (mine, theirs) in found.items()}
    worst = max(gaps, key=lambda name: abs(gaps[name]))
    mine, theirs = found[worst]
    beyond = max(mine["interval"][0] - theirs["share"], theirs["share"] - mine["interval"][1])
    reason = (
        f"{percent(mine['share'])} of the cells of {worst!r} are missing, in the reference {percent(theirs['share'])}"
    )
    verdict: Level = "look" if beyond > limits.HOLES else "good"
    return Verdict("missing cells", verdict, abs(gaps[worst]), limits.HOLES, reason, (), {"columns": found})


def repeated(own: Rows, index: Sequence[int], real: Rows | None, unread: Sequence[str] = ()) -> Verdict:
    """Rows that are an earlier row, cell for cell.

    Args:
        own: The table.
        index: The places of its rows in the split.
        real: Rows of the reference, no more than there are here: the share grows with them.
        unread: Columns that were not compared.
    """
    again = [index[at] for at in _again(own)]
    there = None if real is None else (len(_again(real)) / len(real), len(real))
    told = {**share_of(len(again), len(own)), "reference": there and there[0]}
    times, words = repetition(there, len(own), limits.EXACT[0])
    reason = f"{percent(told['share'])} of the rows are an earlier row, cell for cell"
    if unread:
        names = ", ".join(map(repr, unread[:SHOWN]))
        reason += f"; not compared: {names}{f' and {len(unread) - SHOWN} more' if len(unread) > SHOWN else ''}"
    verdict, named = level(told["interval"][0], limits.EXACT, times), [{"row": at} for at in again[: limits.MOST_ROWS]]
    limit = limits.EXACT[0] * times
    return Verdict("exact duplicates", verdict, told["share"], limit, reason + words, named, told, len(again))


def copied(own: Part, real: Part, beside: Rows | None, role: str) -> Verdict:
    """Rows that hold every cell of a row of the reference: one with holes is not hidden by filling them.

    Args:
        own: The table.
        real: One of the reference's splits.
        beside: Rows of its other split, of which some are by chance; without one, this split repeats rows of its own.
        role: What it is for, `test` or `train`.
    """
    held = _held(real.cells)
    known = [at for at, row in zip(own.index, own.cells, strict=True) if _holding(row, held)]
    others, alone = (beside, 0) if beside else (real.cells, 1)  # each holds itself
    chance = sum(_holding(row, held) > alone for row in others) / len(others)
    told = {**share_of(len(known), len(own.cells)), "by chance": chance}
    reason = f"{len(known)} of {len(own.cells):,} rows hold all cells of a row of the {known_split(real.split)}"
    if chance:
        reason += f" ({percent(chance)} of its other rows do)"
    if real.read < real.of:
        reason += f", of which {real.read:,} of {real.of:,} were searched"
    more = told["interval"][0] > limits.DUPLICATES_TIMES * chance if chance else bool(known)
    taken = "train" in (role, real.split)  # may well have been
    verdict: Level = "look" if taken or (own.completed and real.split == WHOLE) else "bad"
    if own.completed and taken:  # real rows are what `impute` completes
        reason += " (information)"
    if not more or (own.completed and taken):
        verdict = "good"
    named = [{"row": at} for at in known[: limits.MOST_ROWS]]
    return Verdict(f"{role} rows", verdict, len(known), 0, reason, named, told, len(known))


def _held(rows: Rows) -> Held:
    """Return the observed cells of rows, beside what takes such cells from another row.

    Rows with fewer cells than half of what a row holds (the median), or with holes that few share, are held with
    their holes: so few cells others hold by chance, and each way of having holes costs a look at every row.
    """
    keys = [_key(row) for row in rows]
    ways = [tuple(at for at, cell in enumerate(key) if cell is not None) for key in keys]
    usual, least = {way for way, _ in Counter(ways).most_common(WAYS)}, max(1, median([*map(len, ways)] or [0]) / 2)
    found: dict[tuple[int, ...], list[tuple[Any, ...]]] = {}
    for key, way in zip(keys, ways, strict=True):
        places = way if way in usual and len(way) >= least else tuple(range(len(key)))
        found.setdefault(places, []).append(key)
    return [(pick := itemgetter(*places), Counter(map(pick, some))) for places, some in found.items()]


def _holding(row: Mapping[str, Any], held: Held) -> int:
    """Return of how many rows a row holds all cells."""
    key = _key(row)
    return sum(cells[pick(key)] for pick, cells in held)


def columns(own: Rows, real: Rows, schema: Schema, seed: int) -> Verdict:
    """The column whose values are spread least as the reference's.

    The distance is Kolmogorov and Smirnov's of numbers, the total variation of categories, 0 to 1; judged by what it
    is beyond the distance that chance stays below in 95 of 100 draws.
    """
    found: dict[str, Any] = {}
    for name, column in schema.columns.items():
        mine, theirs = ([row[name] for row in part if row[name] is not None] for part in (own, real))
        if min(len(mine), len(theirs)) < limits.LEAST:
            continue
        if column.numeric:
            from scipy.stats import ks_2samp

            distance = float(ks_2samp(mine, theirs, method="asymp").statistic)
            chance = 1.358 * float(np.sqrt(1 / len(mine) + 1 / len(theirs)))
        else:
            distance, chance = _variation(mine, theirs, column.categories, seed)
        found[name] = {"rows": [len(mine), len(theirs)], "distance": distance, "chance": chance}
    if not found:
        return skipped("columns", f"no column has {limits.LEAST} cells in both")
    worst = max(found, key=lambda name: found[name]["distance"] - found[name]["chance"])
    value, chance = found[worst]["distance"], found[worst]["chance"]
    reason = f"{worst!r} is spread least as in real rows: distance {value:.2f} (chance {chance:.2f})"
    verdict: Level = "look" if value - chance > limits.SPREAD else "good"
    return Verdict("columns", verdict, value, chance + limits.SPREAD, reason, (), {"seed": seed, "columns": found})


def _variation(mine: list[str], theirs: list[str], categories: Sequence[str], seed: int) -> tuple[float, float]:
    counts = np.array([[part.count(name) for name in categories] for part in (mine, theirs)])
    sizes = counts.sum(1)
    chance = np.quantile(by_chance(counts.sum(0), sizes, np.random.default_rng(seed)), 0.95)
    return apart(counts, sizes), float(chance)


def pairs(own: Rows, real: Rows, schema: Schema) -> Verdict:
    """The two columns of numbers whose rank correlation (Spearman) differs most from the reference's."""
    from scipy.stats import norm, spearmanr

    names = [name for name, column in schema.columns.items() if column.numeric]
    cells = [{name: np.array([row[name] for row in part], dtype=float) for name in names} for part in (own, real)]
    found = {}
    for one, other in combinations(names, 2):
        both = [np.stack([part[one], part[other]]) for part in cells]
        both = [part[:, ~np.isnan(part).any(0)] for part in both]
        if min(part.shape[1] for part in both) < limits.LEAST or any(not np.ptp(part, 1).all() for part in both):
            continue
        r = [float(spearmanr(*part).statistic) for part in both]
        errors = [(1 - own**2) / np.sqrt(part.shape[1] - 1) for own, part in zip(r, both, strict=True)]
        found[f"{one} and {other}"] = {"own": r[0], "reference": r[1], "error": float(np.hypot(*errors))}
    if not found:
        return skipped("pairs of columns", f"no two columns of numbers have {limits.LEAST} rows in both")
    sure = float(norm.ppf(1 - 0.025 / len(found)))  # of all of them at once
    beyond = {name: abs(one["own"] - one["reference"]) - sure * one["error"] for name, one in found.items()}
    worst = max(beyond, key=lambda name: beyond[name])
    value = abs(found[worst]["own"] - found[worst]["reference"])
    reason = f"{worst}: rank correlation {found[worst]['own']:.2f}, in real rows {found[worst]['reference']:.2f}"
    verdict: Level = "look" if beyond[worst] > limits.SPREAD else "good"
    limit = value - beyond[worst] + limits.SPREAD
    return Verdict("pairs of columns", verdict, value, limit, reason, (), {"pairs": found})


def given_away(own: NDArray, learnt: NDArray, holdout: NDArray, counted: NDArray, seed: int) -> list[Verdict]:
    """Distance to the closest record and membership inference.

    Args:
        own: Rows as `vectors` gives them, with their holes, [N, D].
        learnt: Those that were learnt from, [M, D].
        holdout: Rows of the same source that were not, [H, D].
        counted: Which places count as a column, [D].
        seed: Decides draws.
    """
    near = closest_record(own, learnt, holdout, counted=counted, seed=seed)
    attack = membership(own, learnt, holdout, counted=counted, seed=seed)
    reason = f"{percent(near['nearer'])} of the rows are nearer to train rows than to as many test rows (chance 50 %)"
    more = near["copies_interval"][0] > limits.DUPLICATES_TIMES * near["holdout_copies"] + limits.NEAR_TEST
    if near["copies"]:
        reason += f"; {percent(near['copies'])} are one of those (test rows {percent(near['holdout_copies'])})"
    lies: Level = "look" if more or near["nearer_interval"][0] > limits.NEARER else "good"
    told = f"train rows are told from test rows by these rows in {attack['auc']:.2f} (chance 0.5)"
    return [
        Verdict("closest record", lies, near["nearer"], limits.NEARER, reason, (), near),
        Verdict(
            "membership",
            level(attack["auc_interval"][0], limits.MEMORISED),
            attack["auc"],
            limits.MEMORISED[0],
            told,
            (),
            attack,
        ),
    ]


def _again(rows: Rows) -> list[int]:
    seen: set[tuple[Any, ...]] = set()
    found = []
    for at, row in enumerate(rows):
        if (key := _key(row)) in seen:
            found.append(at)
        seen.add(key)
    return found


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row.values())
