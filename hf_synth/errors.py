"""The one kind of error that a user sees as a sentence instead of a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input: what is wrong, the value, what is allowed. The command line prints it and exits with 2."""


class LeavesError(InputError):
    """Something would leave this machine that must not."""


def did_you_mean(value: object, allowed: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the nearest allowed name, or nothing when none is near."""
    near = difflib.get_close_matches(str(value), list(allowed), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def unknown(what: str, value: object, allowed: Iterable[str]) -> InputError:
    """Build the error for a name that is not one of `allowed`.

    >>> str(unknown("`method`", "zerogn", ["zerogen", "sungen"]))
    "`method` must be one of zerogen, sungen; got 'zerogn'. Did you mean 'zerogen'?"
    """
    names = list(allowed)
    return InputError(f"{what} must be one of {', '.join(names)}; got {value!r}.{did_you_mean(value, names)}")


def reason_of(error: BaseException, most: int = 200) -> str:
    """Return what another library's error says, on one line of so many characters at most."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= most else words[:most].rsplit(" ", 1)[0] + " ..."
