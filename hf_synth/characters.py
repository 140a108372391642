"""What of a text can be kept, everything but halves of characters and NUL, how long it is, and how it begins."""

from __future__ import annotations

import re
import unicodedata

# Scripts that are written without spaces (Thai, Japanese, Chinese) count by characters.
UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff"
# Vowel signs and accents that stand behind their letter, which `\w` leaves out: Hindi, Tamil, pointed Hebrew.
MARKS = "".join(chr(at) for at in range(0x300, 0x1D00) if unicodedata.category(chr(at)).startswith("M"))
JOINERS = "\u200c\u200d"  # stand within words of Persian and Hindi
_UNSPACED = re.compile(f"[{UNSPACED}]")


def storable(text: str) -> str:
    r"""Return a text that every file can hold.

    JSON lets a text end in half a character, such as `"\ud83d"` where the limit of tokens cuts an endpoint's emoji. No
    file in UTF-8 holds one, nor does YAML hold a NUL. Halves that stand side by side become their character.

    >>> storable("fine \ud83d"), storable("\ud83d\ude00")
    ('fine ', '😀')
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore").replace("\0", "")


def length(text: str) -> int:
    """Return how many words a text has, of scripts without spaces how many characters.

    >>> length("a fine film"), length("这部电影很好")
    (3, 6)
    """
    return sum(len(_UNSPACED.findall(part)) or 1 for part in text.split())


def begins(text: str, start: str) -> bool:
    """Tell whether a text begins with words, and not with a longer one.

    >>> begins("Who wrote it", "Who"), begins("Whose cat", "Who")
    (True, False)
    """
    return re.match(re.escape(start) + r"(?!\w)", text) is not None
