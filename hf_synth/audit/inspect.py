"""All checks of a data set, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from ..errors import InputError
from ..metrics.sampling import drawn
from . import balance, boilerplate, diversity, duplicates, gap, labels, language, leakage, limits, privacy, texts
from .data import Loaded, Real
from .records import Floats, Rows, Verdict, skipped

Encode = Callable[[Sequence[str]], Floats]
PACKAGES = ("hf_synth", "datasets", "numpy", "scikit-learn", "cleanlab", "rensa", "py3langid", "presidio-analyzer")
EXCERPT = 100  # characters of a row that are shown


def inspect(
    own: Loaded,
    real: Real | None = None,
    corpus: Sequence[str] | None = None,
    encode: Encode | None = None,
    *,
    embedded: int = 2_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Run all checks.

    Args:
        own: The data set.
        real: The reference.
        corpus: Texts that conditioned the generation.
        encode: Gives texts their vectors, [N, D]; without it words alone are compared.
        embedded: Rows that are encoded, and whose labels are judged.
        seed: Decides every draw.

    Returns:
        `verdicts` (check, verdict, value, limit, reason, rows, found), `measures` (check -> figures), `n`, `seed`,
        `sampled`, `versions`, and what was read of `dataset` and `reference`.
    """
    rows = own.rows
    some = _encoded(rows, encode, embedded, seed)
    real_some = None if real is None else _encoded(real.test.rows, encode, embedded, seed)
    found = [
        *_leaks(rows, real, corpus),
        *_repeats(rows, some, real, real_some, seed),
        *_labelled(rows, some, real, encode, embedded, seed),
        *_texts(rows, real, seed),
        *_compared(some, real_some, rows, real, seed),
    ]
    verdicts = [_shown(verdict, rows) for verdict in found]
    return {
        "dataset": own.facts,
        "reference": None if real is None else real.test.facts,
        "reference_train": None if real is None or real.train is None else real.train.facts,
        "n": len(rows),
        "seed": seed,
        "sampled": {"read": own.facts["read"], "of": own.facts["rows"], "embedded_and_labels_judged": len(some)},
        "verdicts": [{key: value for key, value in asdict(own).items() if key != "measures"} for own in verdicts],
        "measures": {own.check: own.measures for own in verdicts},
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _encoded(rows: Rows, encode: Encode | None, most: int, seed: int) -> Rows:
    some = rows.take(drawn(len(rows), most, seed))
    if encode is None:
        return some
    return replace(some, vectors=np.asarray(encode([text if text.strip() else "." for text in some.texts])))


def _leaks(rows: Rows, real: Real | None, corpus: Sequence[str] | None) -> Iterator[Verdict]:
    if real is None:
        yield skipped("test rows", "needs a `reference`, whose test split must not stand in the data set")
    else:
        train = None if real.train is None else real.train.rows
        test = leakage.read(real.test.rows.texts)
        cut = test.rows < len(real.test.rows) and f" (its first {test.rows:,} of {len(real.test.rows):,} rows)"
        copies = test.copies(rows.texts)
        yield leakage.verbatim_test(rows, copies, cut or "")
        yield leakage.spans_test(rows, copies, None if train is None else leakage.span_share(train, test))
        if train is not None:
            yield leakage.train_rows(rows, leakage.read(train.texts).copies(rows.texts))
    if corpus is not None:
        yield leakage.corpus_rows(rows, leakage.read(corpus).copies(rows.texts))


def _repeats(rows: Rows, some: Rows, real: Real | None, real_some: Rows | None, seed: int) -> Iterator[Verdict]:
    try:
        same, alike = duplicates.grouped(rows, seed)
    except InputError as error:  # rensa is missing
        yield skipped("near-duplicates", str(error))
        return
    exact = near = meant = None
    if real is not None and real_some is not None:
        own = real.train.rows if real.train is not None else real.test.rows
        theirs = duplicates.grouped(own.take(drawn(len(own), len(rows), seed)), seed)
        exact, near = map(duplicates.rate, theirs)
        meant = None if real_some.vectors is None else duplicates.meaning(real_some, seed).value
    yield duplicates.exact(rows, same, seed, exact)
    yield duplicates.near(rows, alike, seed, near)
    yield duplicates.two_labels(rows, same)
    yield duplicates.meaning(some, seed, meant)


def _labelled(
    rows: Rows, some: Rows, real: Real | None, encode: Encode | None, most: int, seed: int
) -> Iterator[Verdict]:
    yield labels.suspects(some, seed)
    if real is not None:
        # A test split that judges may also teach what a class name means; it teaches nothing that is kept.
        learnt = real.train or real.test
        yield labels.swapped(some, _encoded(learnt.rows, encode, most, seed))
    yield balance.shares(rows, None if real is None else real.test.rows)


def _texts(rows: Rows, real: Real | None, seed: int) -> Iterator[Verdict]:
    theirs = None if real is None else real.test.rows
    lengths = texts.counted(rows)
    yield texts.empty(rows, lengths)
    yield texts.short(rows, lengths, None if theirs is None else (theirs, texts.counted(theirs)))
    yield texts.length_tells(rows, lengths, seed)
    yield language.other_languages(rows, lengths)
    yield boilerplate.refusals(rows)
    yield boilerplate.openings(rows, theirs, seed)
    yield boilerplate.phrases(rows, theirs, seed)
    yield privacy.personal(rows)


def _compared(some: Rows, real_some: Rows | None, rows: Rows, real: Real | None, seed: int) -> Iterator[Verdict]:
    if real_some is not None and len(real_some) < limits.LEAST:
        real_some = None
    mine, theirs = diversity.equal(some, real_some, seed)
    if not any(text.split() for text in mine.texts):  # of which another check speaks
        return
    yield diversity.repetition(mine, theirs, seed)
    yield diversity.vocabulary(mine, theirs, seed)
    yield diversity.likeness(mine, theirs)
    yield diversity.effective(mine, theirs, seed)
    if real is not None and theirs is not None:
        yield gap.two_samples(mine, theirs, seed)
        yield gap.lengths(texts.counted(rows), texts.counted(real.test.rows))


def _shown(verdict: Verdict, rows: Rows) -> Verdict:
    """Add a masked excerpt to each row that a verdict names; nothing else of a text is ever written."""
    place = {int(row): at for at, row in enumerate(rows.index)}
    named = [{**row, "text": _excerpt(rows.texts[place[row["row"]]])} for row in verdict.rows]
    found = verdict.measures.get("classes", {})
    measures = {
        "rows": len(rows),
        **verdict.measures,
        **({"classes": {name: _masked(own) for name, own in found.items()}} if found else {}),
    }
    return replace(
        verdict, rows=named, measures=measures, reason=privacy.mask(verdict.reason), found=verdict.found or len(named)
    )


def _masked(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: privacy.mask(value) if isinstance(value, str) else value for key, value in figures.items()}


def _excerpt(text: str) -> str:
    masked = " ".join(privacy.mask(text[: privacy.CHARACTERS]).split())
    return masked if len(masked) <= EXCERPT else masked[:EXCERPT] + "…"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
