"""What of a text can be kept: everything but halves of characters and NUL."""

from __future__ import annotations


def storable(text: str) -> str:
    r"""Return a text that every file can hold.

    JSON lets a text end in half a character, such as `"\ud83d"` where the limit of tokens cuts an endpoint's emoji. No
    file in UTF-8 holds one, nor does YAML hold a NUL. Halves that stand side by side become their character.

    >>> storable("fine \ud83d"), storable("\ud83d\ude00")
    ('fine ', '😀')
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore").replace("\0", "")
