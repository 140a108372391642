"""The chain from text to image to text: what is asked of the models, and what was made of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..journal import seed_of
from .captioner import Captioner
from .painter import Painter
from .settings import IllustrateConfig
from .source import Original
from .store import Store, keyed

REFUSED = "the pipeline's safety checker refused the image"
SILENT = "the captioner wrote nothing"


@dataclass
class Link:
    """One image of a chain.

    Attributes:
        row: Row that the chain started at; the image inherits its label.
        draw: Which chain of that row, from 1.
        hop: Which image of the chain, from 1.
        text: What it was made of.
        text_from: `given`, or `captioner`.
        key: Under which it is stored.
        caption: What the captioner says of it.
        score: Pointwise mutual information of caption and label, where it was judged.
        dropped: Why it is not kept.
    """

    row: int
    draw: int
    hop: int
    text: str
    text_from: str
    key: str = ""
    caption: str | None = None
    score: float | None = None
    dropped: str | None = None


class Maker:
    """Asks the models for what the store lacks.

    Requests are cut into batches before the store is looked at, and a batch is made whole, so what is made does not
    depend on where an earlier sitting was stopped.

    Args:
        config: See `IllustrateConfig`.
        painter: Makes images, if any are wanted.
        captioner: Writes captions, if any are wanted.
        store: What was made before.
    """

    def __init__(self, config: IllustrateConfig, painter: Painter | None, captioner: Captioner | None, store: Store):
        self.config, self.painter, self.captioner, self.store = config, painter, captioner, store
        self._seen: Counter[str] = Counter()

    def paint(self, texts: Sequence[str], hop: int) -> list[str]:
        """Return the keys of an image for each text."""
        assert self.painter is not None
        settings = {**self.painter.settings(), "seed": self.config.seed, "hop": hop}
        asked = [self.config.image_prompt.replace("{text}", text) for text in texts]
        keys = [keyed(one, settings, self._seen) for one in asked]
        self._made(keys, asked, self.store.image, self.store.keep_image, self.painter.paint)
        return keys

    def caption(self, images: Sequence[str], load: Callable[[str], bytes], hop: int) -> list[str]:
        """Return a caption of each image, given by a name that its content decides and what reads its file."""
        assert self.captioner is not None
        settings = {**self.captioner.settings(), "seed": self.config.seed, "hop": hop}
        keys = [keyed(name, settings, self._seen) for name in images]

        def write(names: Sequence[str], seeds: Sequence[int]) -> list[str]:
            assert self.captioner is not None
            return self.captioner.write([load(name) for name in names], seeds)

        self._made(keys, images, self.store.caption, self.store.keep_caption, write)
        return [self.store.caption(key) or "" for key in keys]

    def _made(
        self,
        keys: Sequence[str],
        asked: Sequence[str],
        stored: Callable[[str], Any],
        keep: Callable[[str, Any], None],
        make: Callable[[Sequence[str], Sequence[int]], Sequence[Any]],
    ) -> None:
        size = self.config.image_batch_size
        for start in range(0, len(keys), size):
            some = keys[start : start + size]
            lacking = [key for key in some if stored(key) is None]
            if lacking:
                made = make(asked[start : start + size], [seed_of(key) for key in some])
                for key, one in zip(some, made, strict=True):
                    if key in lacking:
                        keep(key, one)


def fills_only(config: IllustrateConfig) -> bool:
    """Tell whether only what is missing is made, in place of chains from every row."""
    return config.hops == config.draws == 1 and config.select is None


def written(original: Original, maker: Maker) -> dict[int, str]:
    """Return captions for the rows that have an image and no text; none where there is no captioner."""
    if maker.captioner is None:
        return {}
    rows = [row for row, text in enumerate(original.texts) if text is None and original.pictured[row]]
    of = {row: hashlib.sha256(original.image(row) or b"").hexdigest() for row in rows}
    where = {name: row for row, name in of.items()}
    texts = maker.caption([of[row] for row in rows], lambda name: original.image(where[name]) or b"", hop=0)
    return {row: text for row, text in zip(rows, texts, strict=True) if text}


def chained(original: Original, texts: Sequence[str | None], maker: Maker) -> list[Link]:
    """Return every image that was asked for, hop by hop, and captions of them where there is a captioner.

    Args:
        original: The rows.
        texts: Their texts, those that `written` gave among them.
        maker: Makes what is not stored.
    """
    config = maker.config
    if maker.painter is None:
        return []
    rows = [row for row, text in enumerate(texts) if text and not (fills_only(config) and original.pictured[row])]
    links: list[Link] = []
    fresh = [
        Link(row, draw, 1, texts[row] or "", "captioner" if original.texts[row] is None else "given")
        for row in rows
        for draw in range(1, config.draws + 1)
    ]
    for hop in range(1, config.hops + 1):
        for link, key in zip(fresh, maker.paint([link.text for link in fresh], hop), strict=True):
            link.key = key
            link.dropped = None if maker.store.image(key) else REFUSED
        links += fresh
        seen = [link for link in fresh if not link.dropped]
        if maker.captioner is not None:
            names = [link.key for link in seen]
            for link, text in zip(seen, maker.caption(names, lambda k: maker.store.image(k) or b"", hop), strict=True):
                link.caption = text or None
        fresh = [Link(link.row, link.draw, hop + 1, link.caption, "captioner") for link in seen if link.caption]
    return links
