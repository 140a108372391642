"""Text files that a user gives: lines, and tables whose cells something separates."""

from __future__ import annotations

from pathlib import Path

from .errors import InputError

BETWEEN = ",;\t|"  # cells of a table; the first of these where its first line holds none


def read_lines(path: str, key: str) -> list[str]:
    """Return the lines of a text file that are not empty.

    Args:
        path: The file.
        key: The setting that names it, for messages.

    Raises:
        InputError: If it cannot be read or has none.
    """
    try:
        found = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"`{key}`: {path!r} cannot be read as lines of text: {error}") from None
    if not found:
        raise InputError(f"`{key}`: {path!r} holds no line")
    return found


def delimiter(path: Path) -> str:
    """Return what separates the cells of a table: what its first line holds most of.

    Raises:
        OSError: If it cannot be read.
        UnicodeDecodeError: If it is no UTF-8.
    """
    with path.open(encoding="utf-8-sig") as stream:
        first = stream.readline()
    return max(BETWEEN, key=first.count)
