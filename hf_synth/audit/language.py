"""Texts in another language than most."""

from __future__ import annotations

from collections import Counter
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from . import limits
from .records import Ints, Rows, Verdict, level, percent, share_of, skipped

CHARACTERS = 1_000  # of a text that are looked at


def other_languages(own: Rows, lengths: Ints) -> Verdict:
    """Texts to which py3langid gives the main language a probability below 0.05, and another a higher one.

    The main language is the one of most texts. Texts of one or two words are left out; between languages that are
    close (Spanish and Asturian) it need not choose, only the main one must be unlikely.

    Args:
        own: The data set.
        lengths: Words of its texts.
    """
    check = "other languages"
    if find_spec("py3langid") is None:
        return skipped(check, "this check needs py3langid: pip install 'hf_synth[inspect]'")
    identifier = _identifier()
    places = np.flatnonzero(lengths >= limits.SHORT_WORDS).tolist()
    if len(places) < limits.LEAST:
        return skipped(check, f"needs {limits.LEAST} texts of {limits.SHORT_WORDS} words or more")
    main = Counter(identifier.classify(own.texts[at][:CHARACTERS])[0] for at in places).most_common(1)[0][0]
    rows = []
    for at in places:
        ranked = identifier.rank(own.texts[at][:CHARACTERS])
        score = dict(ranked)[main]
        if score < limits.LANGUAGE_SURE and ranked[0][0] != main:  # of codes and names no language is likely
            rows.append({"row": int(own.index[at]), "language": ranked[0][0], "main": round(float(score), 4)})
    found = share_of(len(rows), len(places))
    share, (low, _) = found["share"], found["interval"]
    counts = Counter(row["language"] for row in rows).most_common(10)
    told = {**found, "main": main, "others": dict(counts)}
    reason = f"{percent(share)} of the texts are not in the main language ({main})"
    if rows:
        reason += f": {', '.join(f'{name} {count}' for name, count in counts[:3])}"
    rows.sort(key=lambda row: (row["main"], row["row"]))
    verdict = level(low, limits.LANGUAGE)
    return Verdict(check, verdict, share, limits.LANGUAGE[0], reason, rows[: limits.MOST_ROWS], told, len(rows))


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
