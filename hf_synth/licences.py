"""Under which terms a data set's texts stand: what the generator's and the source data's licences say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from .card_merge import read_header
from .errors import InputError

# Terms of use of their own: what they demand of outputs stands in their text, not in a name.
OWN_TERMS = ("gemma", "llama", "other", "openrail", "bigscience", "bigcode", "deepseek", "unknown")
SHARE_ALIKE = ("cc-by-sa", "cc-by-nc-sa", "gpl", "agpl", "lgpl", "odbl", "gfdl")


def licence_of(name: str, path: str | None = None, *, data: bool = False) -> str | None:
    """Return the licence that a model's or data set's card states, without asking the network; None if it states none.

    Args:
        name: A folder or a Hub id, whose card may be in the Hub's cache.
        path: The folder that was loaded, where that is another.
        data: It is a data set.
    """
    for folder in (path, name):
        if folder and (Path(folder) / "README.md").is_file():
            return _stated(Path(folder) / "README.md")
    if Path(name).exists():
        return None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "README.md", repo_type="dataset" if data else "model")
    except HFValidationError:
        return None
    return _stated(Path(found)) if isinstance(found, str) else None


def _stated(card: Path) -> str | None:
    try:
        found = read_header(card.read_text(encoding="utf-8", errors="replace"), str(card)).get("license")
    except InputError:  # a header that cannot be read states nothing
        return None
    found = ", ".join(map(str, found)) if isinstance(found, list) else found
    return str(found).lower() if found else None


def reasoning(
    stated: str | None, generator: Mapping[str, Any] | None, sources: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return what is known of the terms, a sentence each; conflicts begin with `Conflict:`.

    No licence follows from this: whoever shares the data set chooses one, and answers for it.

    Args:
        stated: The licence that the user gave the data set.
        generator: `name` and, where known, `license` of the model that wrote the texts, if one did.
        sources: `path` and, where known, `license` of real data that the texts are made of.
    """
    parts = {str(source["path"]): source.get("license") for source in sources}
    told = []
    if generator:
        parts = {str(generator["name"]): generator.get("license"), **parts}
    for name, own in parts.items():
        told.append(
            f"`{name}` is under `{own}`." if own else f"The terms of `{name}` are not recorded here: look them up."
        )
    told += [
        f"`{name}` has terms of its own, which may bind its outputs: read them."
        for name, own in parts.items()
        if own and any(term in own for term in OWN_TERMS)
    ]
    # Of several licences that a card lists, one may be chosen; what each asks is told all the same.
    known = [(name, own) for name, owns in parts.items() if owns for own in owns.split(", ")]
    told += _conflicts(stated, known, {str(source["path"]) for source in sources})
    # A header that has one all the same was written later, by a person.
    none = "No licence was stated when this data set was made: whoever shares it chooses one that these terms allow."
    told.append(f"`{stated}` was stated by whoever made this data set." if stated else none)
    return told


def _allows(stated: str, own: str) -> bool:
    """Tell whether what is made of something share-alike may be under a licence: its own or a later one of CC."""
    (family, version), (theirs, before) = (licence.lower().rpartition("-")[::2] for licence in (stated, own))
    return stated.lower() == own or (own.startswith("cc-") and family == theirs and version >= before)


def _conflicts(stated: str | None, parts: Sequence[tuple[str, str]], data: Set[str]) -> list[str]:
    """Return where terms cannot all be kept; what share-alike data asks, a model does not ask of its outputs."""
    found = []
    alike = [(name, own) for name, own in parts if name in data and own.startswith(SHARE_ALIKE)]
    if alike and not any(all(_allows(one, other) for _, other in alike) for _, one in alike):
        listed = " and ".join(f"`{name}` (`{own}`)" for name, own in alike)
        found.append(f"Conflict: {listed} each ask that what is made of them is shared under their own licence.")
    for name, own in parts:
        if "-nd" in own:
            found.append(f"Conflict: `{name}` (`{own}`) forbids sharing what is made of it.")
        if _no_trade(own) and any(not _no_trade(other) for _, other in alike):
            found.append(
                f"Conflict: `{name}` (`{own}`) forbids commercial use, and a share-alike licence beside it does not."
            )
        if stated and _no_trade(own) and not _no_trade(stated):
            found.append(f"Conflict: `{stated}` allows commercial use, which `{name}` (`{own}`) forbids.")
        if stated and (name, own) in alike and not _allows(stated, own):
            found.append(f"Conflict: `{name}` (`{own}`) asks for its own licence, not `{stated}`.")
    return found


def _no_trade(licence: str) -> bool:
    licence = licence.lower()
    return "-nc" in licence or "noncommercial" in licence.replace("-", "")
