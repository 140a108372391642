"""All checks of a data set, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..metrics.sampling import drawn
from ..pii import excerpt, mask
from . import (
    asked,
    balance,
    bias,
    boilerplate,
    diversity,
    duplicates,
    entities,
    gap,
    labels,
    language,
    leakage,
    limits,
    memorisation,
    naturalness,
    oracle,
    parses,
    privacy,
    questions,
    relations,
    sets,
    texts,
    usefulness,
)
from .data import Loaded, Real
from .figures import histograms, text_map
from .instruments import Instruments
from .learnt import Learnt
from .records import Ints, Rows, Sample, Verdict, skipped
from .report import report

FIRST = (
    "memorisation",
    "canaries",
    "corpus rows",
    "corpus spans",
    "personal data",
)  # where a generator learnt from real rows
ONE_LABEL = "rows have no one label each"
LABEL_CHECKS = ("wrong labels", "class names", "oracle", "balance", "long tail", "group words", *asked.CHECKS)


def inspect(
    own: Loaded,
    real: Real | None = None,
    corpus: Sequence[str] | None = None,
    instruments: Instruments | None = None,
    *,
    canaries: Sequence[str] | None = None,
    prompts: Sequence[str] | None = None,
    learnt: Learnt | None = None,
    marks: Sequence[str] = (),
    embedded: int = 2_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Run all checks.

    Args:
        own: The data set.
        real: The reference.
        corpus: Texts that conditioned the generation; what its generator learnt from where left out.
        instruments: Models to look through; without an encoder words alone are compared.
        canaries: Secrets that were planted in what the generator was tuned on.
        prompts: What the generator was asked.
        learnt: What its generator learnt from, or was shown: the checks of that come first.
        marks: What stands in the texts in place of entities that are related or not.
        embedded: Rows that are encoded, and whose labels are judged.
        seed: Decides every draw.

    Returns:
        `verdicts` (check, verdict, value, limit, reason, rows, found), `measures` (check -> figures), `figures` (what
        a report draws), `n`, `seed`, `sampled`, `versions`, and what was read of `dataset` and `reference`.
    """
    rows, through = own.rows, instruments or Instruments()
    corpus = learnt.texts if corpus is None and learnt else corpus
    test, train = (None, None) if real is None else (real.test, real.train)
    others = learnt.others if real is None and learnt else None
    parts = [None if side is None else side.rows for side in (test, train)]
    parts += [Rows.plain(texts) if texts else None for texts in (corpus, others)]
    beside = [None if part is None else _encoded(part, through, embedded, seed) for part in parts]
    some = Sample(_encoded(rows, through, embedded, seed), *beside)
    used = [*_used(some, seed)]
    lengths, drawn_map = texts.counted(rows), usefulness.data_map(some.own, seed)
    real_lengths = None if test is None else (test.rows, texts.counted(test.rows))
    found = [
        *_leaks(rows, real, some, corpus),
        memorisation.canaries(rows, canaries, through.total, seed),
        memorisation.extracted(corpus, some.unseen, through.score, seed, through.base),
        privacy.personal(rows),
        *([] if prompts is None else [privacy.personal_prompts(prompts)]),
        *_repeats(rows, some, real, seed),
        *_labelled(rows, some, real, through, used[0], seed),
        *_shaped(rows, None if test is None else test.rows, marks, seed),
        *_texts(rows, lengths, real_lengths, seed),
        *_compared(some, through, lengths, real_lengths, seed),
        *used,
        drawn_map[0],
    ]
    first = FIRST if learnt else ()
    found.sort(key=lambda verdict: first.index(verdict.check) if verdict.check in first else len(first))
    place = {int(row): at for at, row in enumerate(rows.index)}
    verdicts = [_shown(verdict, rows, place) for verdict in found]
    figures = {
        "lengths": histograms(rows, lengths, real_lengths),
        "map": _excerpts(text_map(some.own, some.test, seed), rows, place),
        "data_map": drawn_map[1],
    }
    sides = (own.facts, test.facts if test else None, train.facts if train else None)
    counts = {"rows": len(rows), "judged": len(some.own), "seed": seed}
    return report(verdicts, sides, figures, **counts, first=first, instruments=through.facts)


def _encoded(rows: Rows, through: Instruments, most: int, seed: int) -> Rows:
    some = rows.take(drawn(len(rows), most, seed))
    if through.encode is None:
        return some
    return replace(some, vectors=np.asarray(through.encode([text if text.strip() else "." for text in some.texts])))


def _leaks(rows: Rows, real: Real | None, some: Sample, corpus: Sequence[str] | None) -> Iterator[Verdict]:
    if real is None:
        yield skipped("test rows", "needs a `reference`, whose test split must not stand in the data set")
    else:
        train = None if real.train is None else real.train.rows
        test = leakage.read(real.test.rows.texts)
        cut = test.rows < len(real.test.rows) and f" (its first {test.rows:,} of {len(real.test.rows):,} rows)"
        copies = test.copies(rows.texts)
        yield leakage.verbatim_test(rows, copies, cut or "", real.test.facts["split"])
        yield leakage.spans_test(rows, copies, None if train is None else leakage.span_share(train, test))
        yield leakage.near_test(leakage.alike(some.own, some.test, some.train))
        if train is not None:
            near = leakage.alike(some.own, some.train, some.test)
            yield leakage.train_rows(rows, leakage.read(train.texts).copies(rows.texts), near)
    if corpus is not None:
        near = leakage.alike(some.own, some.corpus, some.unseen)
        read = leakage.read(corpus)
        copies = read.copies(rows.texts)
        yield leakage.corpus_rows(rows, copies, near)
        yield leakage.corpus_spans(
            rows, copies, None if some.unseen is None else leakage.span_share(some.unseen, read)
        )


def _repeats(rows: Rows, some: Sample, real: Real | None, seed: int) -> Iterator[Verdict]:
    try:
        same, alike = duplicates.grouped(rows, seed)
    except InputError as error:  # rensa is missing
        yield skipped("near-duplicates", str(error))
        return
    exact = near = meant = None
    if real is not None and some.test is not None:
        own = real.train.rows if real.train is not None else real.test.rows
        theirs = duplicates.grouped(own.take(drawn(len(own), len(rows), seed)), seed)
        exact, near = ((duplicates.rate(group), len(group)) for group in theirs)
        as_many = some.test.take(drawn(len(some.test), len(some.own), seed))
        if (found := duplicates.meaning(as_many, seed).value) is not None:
            meant = (found, len(as_many))
    yield duplicates.exact(rows, same, seed, exact)
    yield duplicates.near(rows, alike, seed, near)
    if rows.labelled:
        yield duplicates.two_labels(rows, same)
    yield duplicates.meaning(some.own, seed, meant)


def _labelled(
    rows: Rows, some: Sample, real: Real | None, through: Instruments, useful: Verdict, seed: int
) -> Iterator[Verdict]:
    if not rows.labelled:
        yield from (skipped(check, ONE_LABEL) for check in LABEL_CHECKS)
        return
    yield labels.suspects(some.own, seed)
    if some.test is not None:
        # A test split that judges may also teach what a class name means; it teaches nothing that is kept.
        yield labels.swapped(some.own, some.train or some.test)
    if some.train is None or some.test is None:
        yield skipped("oracle", "needs a `reference` with a train split")
    else:
        yield oracle.agreement(some.own, some.train, some.test)
    if through.judge is not None:
        test = None if some.test is None else _few(some.test, seed)
        yield oracle.given("judge", through.judge, _few(some.own, seed), test)
    yield balance.shares(rows, None if real is None else real.test.rows)
    yield balance.long_tail(rows, useful)
    yield bias.groups(rows, None if real is None else real.test.rows, seed)
    yield asked.spread(rows)
    yield asked.seen(some.own, some.test, seed)


def _shaped(rows: Rows, real: Rows | None, marks: Sequence[str], seed: int) -> Iterator[Verdict]:
    """Yield the checks of rows of a kind that has some of its own."""
    if rows.tags is not None:
        yield entities.spread(rows, real)
    if rows.asked is not None:
        yield questions.answerable(rows, real)
    if rows.sets is not None:
        theirs = None if real is None else real.sets
        yield sets.sizes(rows.sets, theirs, seed)
        yield sets.together(rows.sets, theirs)
    if rows.parses is not None:
        yield from parses.checks(rows, real, seed)
    if marks:
        yield from relations.checks(rows, real, marks, seed)


def _few(rows: Rows, seed: int) -> Rows:
    """Return some rows, for models that are slow."""
    return rows.take(drawn(len(rows), limits.SLOW_ROWS, seed))


def _texts(rows: Rows, lengths: Ints, real: tuple[Rows, Ints] | None, seed: int) -> Iterator[Verdict]:
    theirs = None if real is None else real[0]
    yield texts.empty(rows, lengths)
    yield texts.short(rows, lengths, real)
    yield texts.length_tells(rows, lengths, seed)
    yield language.other_languages(rows, lengths)
    yield boilerplate.refusals(rows)
    yield boilerplate.openings(rows, theirs, seed)
    yield boilerplate.phrases(rows, theirs, seed)


def _compared(
    some: Sample, through: Instruments, lengths: Ints, real: tuple[Rows, Ints] | None, seed: int
) -> Iterator[Verdict]:
    theirs = some.test if some.test is not None and len(some.test) >= limits.LEAST else None
    mine, theirs = diversity.equal(some.own, theirs, seed)
    if not any(text.split() for text in mine.texts):  # of which another check speaks
        return
    yield diversity.repetition(mine, theirs, seed)
    yield diversity.vocabulary(mine, theirs, seed)
    yield diversity.likeness(mine, theirs)
    yield diversity.effective(mine, theirs, seed)
    yield naturalness.closeness(mine, theirs, seed)
    yield naturalness.reading(mine, theirs, seed)
    few, few_real = _few(_worded(mine), seed), None if theirs is None else _few(_worded(theirs), seed)
    yield naturalness.likelihood(few, few_real, through.score, seed)
    yield bias.toxicity(few, few_real, through.toxic)
    if real is not None and theirs is not None:
        yield gap.two_samples(mine, theirs, seed)
        yield gap.lengths(lengths, real[1])


def _worded(rows: Rows) -> Rows:
    return rows.take([at for at, text in enumerate(rows.texts) if text.strip()])


def _used(some: Sample, seed: int) -> Iterator[Verdict]:
    if not some.own.labelled:
        yield from (skipped(check, ONE_LABEL) for check in ("usefulness", "calibration", "more rows"))
    elif some.test is None:
        yield skipped("usefulness", "needs a `reference`, whose rows judge what is learnt")
    else:
        yield from usefulness.learnt(some.own, some.train, some.test, seed)


def _shown(verdict: Verdict, rows: Rows, place: Mapping[int, int]) -> Verdict:
    """Add a masked excerpt to each row that a verdict names; nothing else of a text is ever written."""
    named = [{**row, "text": excerpt(rows.texts[place[row["row"]]])} if "row" in row else row for row in verdict.rows]
    found = verdict.measures.get("classes", {})
    measures = {
        "rows": len(rows),
        **verdict.measures,
        **({"classes": {name: _masked(own) for name, own in found.items()}} if found else {}),
    }
    return replace(
        verdict, rows=named, measures=measures, reason=mask(verdict.reason), found=verdict.found or len(named)
    )


def _excerpts(drawn_map: dict[str, Any] | None, rows: Rows, place: Mapping[int, int]) -> dict[str, Any] | None:
    """Add a masked excerpt to each point."""
    if drawn_map is None:
        return None
    own = [{**point, "text": excerpt(rows.texts[place[point["row"]]])} for point in drawn_map["own"]]
    return {**drawn_map, "own": own}


def _masked(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: mask(value) if isinstance(value, str) else value for key, value in figures.items()}
