"""Merging our README.md with the one that is already on the Hub, so that a person's words and keys survive a push."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from .errors import InputError

BEGIN = "<!-- hf_synth:begin -->"
END = "<!-- hf_synth:end -->"

LOCAL = "the local README.md"
ON_HUB = "the README.md on the Hub"

OUR_FOLDERS = ("data/", "hf_synth/")
"""What stands in these folders of a data set on the Hub is written, and removed, by us alone."""

_HEADER = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)


def merge_card(ours: str, theirs: str | None, where: str = ON_HUB) -> str:
    """Put our README.md into the one on the Hub, or in the folder that is written anew.

    Our block replaces what stands between the markers there, or is appended where there are none; every other
    character of the body stays. Our YAML keys win, their other keys stay as they were written, `tags` are united,
    and a config of theirs whose files lie outside our folders is kept.

    Args:
        ours: The local README.md. Without markers, its whole body counts as our block.
        theirs: The other README.md, if there is one.
        where: How an error message names that.

    Returns:
        The text to commit. Merging the same `ours` into it again changes nothing.

    Raises:
        InputError: A YAML header that cannot be read, or markers that are not one pair.
    """
    our_header, our_body = _split(ours)
    before, block, after = _cut_ours(our_body)
    our_data = read_header(ours, LOCAL)
    if theirs is None:
        return _front(our_header) + before + block + after
    theirs = theirs.removeprefix("\ufeff")
    their_header, their_body = _split(theirs)
    their_data = read_header(theirs, where)
    header = _merge_headers(our_header, our_data, their_header, their_data)
    return _front(header) + _place(block, their_body, where)


def read_header(readme: str, where: str) -> dict[str, Any]:
    """Parse the YAML header of a README.md; `{}` when it has none.

    Args:
        readme: The whole text.
        where: How an error message names the file.
    """
    try:
        data = yaml.safe_load(_split(readme)[0])
    except (yaml.YAMLError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise InputError(f"The YAML header of {where} cannot be read ({problem}); mend it, then try again.") from None
    if data is not None and not isinstance(data, dict):
        raise InputError(f"The YAML header of {where} must hold `key: value` lines; it holds a {type(data).__name__}.")
    return data or {}


def read_infos(readme: str, where: str) -> dict[Any, Any]:
    """Read what a card says of each config: its features and the rows of its splits."""
    return {
        info["config_name"]: {
            "features": info.get("features"),
            "rows": {split["name"]: split.get("num_examples") for split in info.get("splits") or []},
        }
        for info in _entries(read_header(readme, where), "dataset_info")
    }


def decode_card(content: bytes, where: str) -> str:
    """Decode a README.md with its line ends as they are."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{where} must be UTF-8 text: {error}.") from None


def _split(readme: str) -> tuple[str, str]:
    match = _HEADER.match(readme)
    return (match.group(1), readme[match.end() :]) if match else ("", readme)


def _front(header: str) -> str:
    return f"---\n{header}---\n" if header else ""


def _lines_of(marker: str, body: str) -> list[re.Match[str]]:
    """Find the lines that are the marker and nothing else: a person may well quote it inside a sentence."""
    return list(re.finditer(rf"^{re.escape(marker)}(?=[ \t]*\r?$)", body, re.MULTILINE))


def _cut_ours(body: str) -> tuple[str, str, str]:
    """Cut our own body into the text before our block, the block with its markers, and the text after it."""
    begins, ends = _lines_of(BEGIN, body), _lines_of(END, body)
    if begins and ends and begins[0].end() <= ends[-1].start():
        # First and last: a generated text on the card may hold a marker, which must not cut the block short.
        start, stop = begins[0].end(), ends[-1].start()
        before, inner, after = body[: begins[0].start()], body[start:stop], body[ends[-1].end() :]
    else:
        before, inner, after = "", f"\n{body.strip()}\n", "\n"
    for marker in (BEGIN, END):
        inner = inner.replace(marker, marker.replace("<!--", "<! --"))
    return before, BEGIN + inner + END, after


def _place(block: str, body: str, where: str) -> str:
    begins, ends = _lines_of(BEGIN, body), _lines_of(END, body)
    if not begins and not ends:
        gap = "" if not body or body.endswith("\n\n") else "\n" if body.endswith("\n") else "\n\n"
        return f"{body}{gap}{block}\n"
    if len(begins) != 1 or len(ends) != 1 or begins[0].end() > ends[0].start():
        raise InputError(
            f"`{BEGIN}` and `{END}` must stand once each and in that order in {where}; "
            f"it holds {len(begins)} and {len(ends)} of them. Mend it, then try again."
        )
    return body[: begins[0].start()] + block + body[ends[0].end() :]


def _merge_headers(our_text: str, ours: dict[str, Any], their_text: str, theirs: dict[str, Any]) -> str:
    """Join two headers as text, because YAML that is read and written again loses comments, quotes and `no`."""
    united = _united(ours, theirs)
    our_parts: dict[Any, str] = dict(_parts(our_text))
    their_parts: dict[Any, str] = dict(_parts(their_text))
    for key, value in united.items():
        our_parts[key] = _dump({key: value})
    text = "".join(our_parts.get(key, part) for key, part in their_parts.items())
    text += "".join(part for key, part in our_parts.items() if key not in their_parts)
    wanted = {**theirs, **ours, **united}
    try:
        if yaml.safe_load(text) == (wanted or None):
            return text
    except yaml.YAMLError:
        pass
    # An anchor of a replaced key, or a header in braces, cannot be joined as text.
    return _dump(wanted)


def _united(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """The values that are neither ours nor theirs alone."""
    united: dict[str, Any] = {}
    if "tags" in ours and "tags" in theirs:
        tags = _as_list(theirs["tags"])
        united["tags"] = [*tags, *(tag for tag in _as_list(ours["tags"]) if tag not in tags)]
    our_names = {entry.get("config_name") for key in ("configs", "dataset_info") for entry in _entries(ours, key)}
    own = [
        {key: value for key, value in entry.items() if key != "default"}
        for entry in _entries(theirs, "configs")
        if entry.get("config_name") not in our_names and _outside(entry)
    ]
    names = {entry.get("config_name") for entry in own}
    infos = [entry for entry in _entries(theirs, "dataset_info") if entry.get("config_name") in names]
    for key, extra in (("configs", own), ("dataset_info", infos)):
        if key in ours and extra:
            united[key] = [*_entries(ours, key), *extra]
    return united


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _entries(data: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the configs of a key that holds one mapping or a list of them; an unnamed one is `default`."""
    return [{"config_name": "default", **entry} for entry in _as_list(data.get(key)) if isinstance(entry, dict)]


def _outside(entry: dict[str, Any]) -> bool:
    """Tell whether a config names files and none of them lies in a folder that a push rewrites."""
    paths = [str(path).removeprefix("./") for path in _paths(entry.get("data_files") or entry.get("data_dir"))]
    return bool(paths) and not any(f"{path}/".startswith(OUR_FOLDERS) for path in paths)


def _paths(value: Any) -> Iterator[Any]:
    for item in _as_list(value):
        if isinstance(item, dict):
            yield from _paths(item.get("path"))
        else:
            yield item


def _parts(header: str) -> Iterator[tuple[Any, str]]:
    """Cut a header into its top-level keys, each with the lines that belong to it, comments included."""
    node = yaml.compose(header, Loader=yaml.SafeLoader)
    if node is None:
        return
    starts = [key.start_mark.index for key, _ in node.value]
    if not starts:
        return
    starts[0] = 0
    for (key, _), start, stop in zip(node.value, starts, [*starts[1:], len(header)], strict=True):
        yield key.value, header[start:stop]


def _dump(data: dict[str, Any]) -> str:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
