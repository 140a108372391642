"""The Hub-ready folder of texts beside images: Parquet with the images in it, thumbnails, facts and the card."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from datasets import Dataset, Features, Image, Value

from ..card import render, size_category
from ..folder import Shards, config_header, rewriting, write_stated
from ..journal import write_whole
from ..pii import excerpt
from .chain import Link
from .source import Original
from .store import Store, opened

PROVENANCE = {
    "source_row": Value("int64"),
    "hop": Value("int64"),
    "draw": Value("int64"),
    "text_from": Value("string"),
    "image_from": Value("string"),
    "caption": Value("string"),
    "image_model": Value("string"),
    "caption_model": Value("string"),
    "score": Value("float32"),
}
REJECTS = Features(
    {
        **{name: PROVENANCE[name] for name in ("source_row", "hop", "draw")},
        **dict.fromkeys(("text", "caption", "reason", "image"), Value("string")),
        "score": Value("float32"),
    }
)
BLOCK = 64  # rows of images held at once
SHARD_ROWS = 1_000
THUMBNAILS, THUMBNAIL = 6, 128  # how many, and their longer side


def features(original: Original, text_column: str) -> Features:
    """Return the features of the output: the data set's own, text, image and provenance."""
    own = {text_column: Value("string"), **original.data.features, original.image_column: Image()}
    return Features({**own, **PROVENANCE})


def records(
    original: Original,
    texts: Sequence[str | None],
    links: Sequence[Link],
    fills: bool,
    models: Mapping[str, str | None],
) -> Iterator[dict[str, Any]]:
    """Yield what the output adds to each row, and the key of its image, `made`, where that is no given one.

    Args:
        original: The rows.
        texts: Their texts, those that were filled among them.
        links: The images that are kept.
        fills: Every row is there, with what is missing made; else rows without an image are not.
        models: Names under `image_model` and `caption_model`.
    """
    of: dict[int, list[Link]] = {}
    for link in links:
        of.setdefault(link.row, []).append(link)
    for row, text in enumerate(texts):
        source = "given" if original.texts[row] is not None else "captioner" if text else None
        caption_model = models["caption_model"] if source == "captioner" else None
        if original.pictured[row] or (fills and row not in of):
            image = "given" if original.pictured[row] else None
            given = {"text": text, "text_from": source, "image_from": image, "caption": None, "score": None}
            told = {"image_model": None, "caption_model": caption_model, "made": None}
            yield {"source_row": row, "hop": 0, "draw": 0, **given, **told}
        for link in of.get(row, []):
            chain = {"source_row": row, "hop": link.hop, "draw": link.draw, "text": link.text}
            used = models["caption_model"] if link.caption or link.text_from == "captioner" else None
            told = {"text_from": link.text_from, "image_from": "generated", "caption": link.caption}
            made = {"image_model": models["image_model"], "caption_model": used, "score": link.score, "made": link.key}
            yield {**chain, **told, **made}


def write_rows(
    shards: Shards, original: Original, added: Sequence[Mapping[str, Any]], text_column: str, store: Store
) -> None:
    """Write rows with their images, a block at a time."""
    data: Dataset = original.data.with_format("arrow")
    for start in range(0, len(added), BLOCK):
        some = added[start : start + BLOCK]
        table = data[[one["source_row"] for one in some]]
        columns = {name: table[name] for name in table.column_names}
        columns |= {name: pa.array([one[name] for one in some]) for name in PROVENANCE}
        columns[text_column] = pa.array([one["text"] for one in some])
        files = [store.image(one["made"]) if one["made"] else original.image(one["source_row"]) for one in some]
        cells = [None if file is None else {"bytes": file, "path": None} for file in files]
        kind = shards.schema.field(original.image_column).type
        columns[original.image_column] = pa.array(cells, kind)
        shards.write(
            pa.table([columns[name] for name in shards.schema.names], shards.schema.names).cast(shards.schema)
        )


def write_rejects(shards: Shards, links: Sequence[Link]) -> None:
    """Write what was dropped, with the name of its file in the journal."""
    names = {"source_row": "row", "hop": "hop", "draw": "draw", "text": "text", "caption": "caption"}
    names |= {"reason": "dropped", "image": "key", "score": "score"}
    columns = {name: [getattr(link, field) for link in links] for name, field in names.items()}
    shards.write(pa.Table.from_pydict(columns, REJECTS.arrow_schema))


def write_thumbnails(
    folder: Path, added: Sequence[Mapping[str, Any]], labels: Sequence[str | None], store: Store
) -> list[dict[str, Any]]:
    """Write small copies of generated images, one of each label in turn; given ones are shown to nobody.

    Returns:
        Their files, relative to the card, and what stands beside them.
    """
    waiting: dict[str | None, list[Mapping[str, Any]]] = {}
    for one in added:
        if one["made"]:
            waiting.setdefault(labels[one["source_row"]], []).append(one)
    turns = [one for turn in range(THUMBNAILS) for found in waiting.values() for one in found[turn : turn + 1]]
    shown = []
    for at, one in enumerate(turns[:THUMBNAILS]):
        image = opened(store.image(one["made"]) or b"")
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        stream = io.BytesIO()
        image.save(stream, format="JPEG", quality=85)
        file = f"hf_synth/thumbnails/{at}.jpg"
        write_whole(folder / file, stream.getvalue())
        told = {name: one[name] and excerpt(one[name]) for name in ("text", "caption")}  # a card is seen by all
        told |= {name: one[name] for name in ("hop", "source_row")}
        shown.append({"file": file, "label": labels[one["source_row"]], **told})
    return shown


def write_image_folder(
    folder: Path,
    original: Original,
    added: Sequence[Mapping[str, Any]],
    links: Sequence[Link],
    facts: Mapping[str, Any],
    store: Store,
) -> dict[str, Any]:
    """Write rows, rejects, thumbnails, facts and card; what a person wrote in an earlier card stays.

    Args:
        folder: Where the data set goes; replaced whole.
        original: The rows as they were.
        added: What `records` gave.
        links: Every image that was asked for.
        facts: What is known; what else the card states is added.
        store: The images.

    Returns:
        All facts that the card states.
    """
    text_column, split = facts["settings"]["text_column"], facts["settings"]["split"]
    kind = features(original, text_column)
    with rewriting(folder) as fresh:
        (fresh / "data").mkdir(parents=True)
        rows = Shards(fresh / "data", split, kind.arrow_schema, SHARD_ROWS)
        write_rows(rows, original, added, text_column, store)
        configs = {"default": (kind, {split: rows})}
        if gone := [link for link in links if link.dropped]:
            rejects = Shards(fresh / "data", "rejects", REJECTS.arrow_schema)
            write_rejects(rejects, gone)
            configs["rejects"] = (REJECTS, {"train": rejects})
        shown = write_thumbnails(fresh, added, original.labels, store)
        whole = {**facts, "rows": rows.rows, "thumbnails": shown, "header": config_header(configs)}
        write_stated(fresh, folder, whole, image_card(whole))
    return whole


def image_card(facts: Mapping[str, Any]) -> str:
    """Return the README.md of texts beside images.

    Args:
        facts: What `hf_synth/facts.json` records.
    """
    header: dict[str, Any] = {"pretty_name": f"{facts['name']}, images beside text"}
    if facts["license"]:
        header["license"] = facts["license"]
    tasks = {"text-to-image": facts["made"]["images"], "image-to-text": facts["captioner"]}
    tasks["image-classification"] = facts["settings"]["label_column"]
    header |= {
        "size_categories": [size_category(facts["rows"])],
        "source_datasets": [f"extended|{facts['name']}"] if "/" in facts["name"] else ["original"],
        "task_categories": [name for name, there in tasks.items() if there],
        "tags": ["synthetic", "hf_synth", "image", "text", *(["chained-generation"] if not facts["fills"] else [])],
        **facts["header"],
    }
    return render(
        "images.md",
        header=yaml.safe_dump(header, sort_keys=False, allow_unicode=True, width=1000),
        facts=facts,
        settings=yaml.safe_dump(facts["settings"], sort_keys=False, allow_unicode=True),
    )
