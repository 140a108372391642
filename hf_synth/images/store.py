"""Made images and captions, each a file of its own under a key of all that decides it."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..journal import digest, write_whole

PNG_END = b"IEND\xaeB`\x82"


def keyed(asked: str, settings: Mapping[str, Any], seen: Counter[str]) -> str:
    """Return the key of what is asked for; a second equal request gets another, so that it gets a new answer.

    Args:
        asked: The text to illustrate, or the key of the image to caption.
        settings: Everything else that decides the answer: model, its settings, seed, hop.
        seen: How often each content was asked for before; counts this one.
    """
    content = digest([asked, settings])
    seen[content] += 1
    return digest([content, seen[content] - 1])


class Store:
    """Files under `folder`, written aside and renamed: whole or not there; a torn one counts as not there."""

    def __init__(self, folder: Path):
        self.folder = folder

    def image(self, key: str) -> bytes | None:
        """Return an image's file, empty where the pipeline refused to show it; None where there is none."""
        try:
            content = self._path(key, "png").read_bytes()
        except FileNotFoundError:
            return None
        return content if not content or content.endswith(PNG_END) else None

    def caption(self, key: str) -> str | None:
        """Return a caption; None where there is none."""
        try:
            return json.loads(self._path(key, "json").read_bytes())["text"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def keep_image(self, key: str, content: bytes) -> None:
        """Record an image, a PNG file or nothing."""
        write_whole(self._path(key, "png"), content)

    def keep_caption(self, key: str, text: str) -> None:
        """Record a caption."""
        write_whole(self._path(key, "json"), json.dumps({"text": text}, ensure_ascii=False))

    def _path(self, key: str, suffix: str) -> Path:
        return self.folder / key[:2] / f"{key}.{suffix}"


def is_image(content: bytes) -> bool:
    """Tell whether bytes are a whole image file."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, RuntimeError, Image.DecompressionBombError):
        return False
    return True


def opened(content: bytes) -> Image.Image:
    """Return an image in red, green and blue."""
    image: Image.Image = Image.open(io.BytesIO(content))
    if image.mode.startswith("I;16"):  # converted as it is, all above 255 would be white
        image = Image.fromarray((np.asarray(image) // 256).astype(np.uint8))
    return image.convert("RGB")
