"""Images from texts: a text-to-image pipeline of diffusers whose rows draw from streams of their own."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..generators.local import best_device
from ..licences import licence_of
from ..models import Source, hub_unreachable

INDEX = "model_index.json"
WEIGHTS = (".safetensors", ".bin")
DECIDING = (*WEIGHTS, ".json", ".txt", ".model")


def check_diffusers() -> None:
    """Refuse to go on without diffusers.

    Raises:
        InputError: With the pip command.
    """
    if find_spec("diffusers") is None:
        raise InputError("making images needs the package diffusers: pip install 'hf_synth[images]'")


def find_pipeline(name: str) -> Source:
    """Find a text-to-image pipeline: a local folder, or one of the Hub; its weights are not loaded.

    Raises:
        InputError: If there is none, or what there is makes no images of texts.
    """
    check_diffusers()
    path, revision = Path(name).expanduser(), None
    if not path.is_dir():
        path = _from_hub(name)
        revision = path.name
    if not (path / INDEX).is_file():
        raise InputError(f"`image_model` {name!r} is no pipeline of diffusers: it has no {INDEX}")
    pipeline_class(path, name)
    origin = "local" if revision is None else "hub"
    stated = licence_of(name, str(path))
    return Source(path.resolve().name if revision is None else name, str(path), origin, _digest(path), revision,
                  license=stated)  # fmt: skip


def pipeline_class(path: Path, name: str) -> str:
    """Return the class that a pipeline's folder names.

    Raises:
        InputError: If that class makes no images of texts.
    """
    from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING

    known = sorted(kind.__name__ for kind in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values())
    try:
        found = json.loads((path / INDEX).read_text(encoding="utf-8"))["_class_name"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"`image_model` {name!r}: its {INDEX} names no pipeline") from None
    if found not in known:
        raise InputError(
            f"`image_model` {name!r} is a {found}, which makes no images of texts; "
            f"{len(known)} kinds do, such as StableDiffusionPipeline"
        )
    return found


class Painter:
    """A text-to-image pipeline, loaded when the first image is asked for.

    A row's noise comes from a generator of its own on the CPU, so it does not depend on the rows beside it.

    Args:
        source: What `find_pipeline` found.
        dtype: Of its weights; see `IllustrateConfig`.
        **calling: Arguments of the pipeline's call; those that are None are left to it.
    """

    def __init__(self, source: Source, dtype: str, **calling: Any):
        self.source, self.device = source, best_device()
        self.calling = {name: value for name, value in calling.items() if value is not None}
        self.dtype = ("float32" if self.device.type == "cpu" else "float16") if dtype == "auto" else dtype
        self._pipeline: Any = None

    def settings(self) -> dict[str, Any]:
        """Return what decides an image besides its text and seed."""
        return {"model": self.source.sha256, "dtype": self.dtype, **self.calling}

    def paint(self, texts: Sequence[str], seeds: Sequence[int]) -> list[bytes]:
        """Return an image of each text as a PNG file; no bytes where the pipeline's safety checker refuses it.

        Raises:
            InputError: If the pipeline refuses its settings, or a batch does not fit the memory.
        """
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        pipeline = self._loaded()
        try:
            made = pipeline(prompt=list(texts), generator=generators, output_type="pil", **self.calling)
        except torch.OutOfMemoryError:
            raise InputError(f"{len(texts)} images at once do not fit the memory; lower `image_batch_size`") from None
        except (TypeError, ValueError) as error:
            told = " ".join(str(error).split())
            raise InputError(f"the pipeline {self.source.name!r} refuses its settings: {told}") from None
        unsafe = getattr(made, "nsfw_content_detected", None) or [False] * len(texts)
        return [b"" if refused else _png(image) for image, refused in zip(made.images, unsafe, strict=True)]

    def _loaded(self) -> Any:
        if self._pipeline is None:
            from diffusers import AutoPipelineForText2Image
            from diffusers.utils import logging

            logging.get_logger("diffusers.pipelines").setLevel(logging.ERROR)  # it logs the texts that it cuts
            try:
                self._pipeline = AutoPipelineForText2Image.from_pretrained(
                    self.source.path, dtype=getattr(torch, self.dtype), local_files_only=True
                )
            except (OSError, ValueError, ImportError) as error:
                told = " ".join(str(error).split())
                raise InputError(f"the pipeline {self.source.name!r} cannot be loaded: {told}") from None
            self._pipeline.set_progress_bar_config(disable=True)
            self._pipeline.to(self.device)
        return self._pipeline

    def cut(self, texts: Sequence[str]) -> int:
        """Return how many texts are longer than what every tokenizer of the pipeline reads: their ends are lost."""
        from transformers import AutoTokenizer

        folders = sorted(folder for folder in Path(self.source.path).glob("tokenizer*") if folder.is_dir())
        tokenizers = [AutoTokenizer.from_pretrained(folder) for folder in folders]
        return sum(
            all(len(one(text, verbose=False).input_ids) > one.model_max_length for one in tokenizers)
            for text in texts
            if tokenizers
        )


def _png(image: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def _from_hub(name: str) -> Path:
    """Return the folder of a pipeline in the Hub's cache, fetched if it is not there."""
    from diffusers import DiffusionPipeline

    reason = hub_unreachable()
    try:
        return Path(DiffusionPipeline.download(name, local_files_only=reason is not None))
    except Exception as error:  # of whichever kind: no such name, no network, no permission
        why = reason or " ".join(str(error).split())[:200]
        raise InputError(
            f"no image model {name!r}: not a folder, not in the Hub's cache or not whole there, and {why}"
        ) from None


def _digest(path: Path) -> str:
    """Return the sha256 over a pipeline's weights, configurations and vocabularies, with their names.

    Raises:
        InputError: If there are no weights.
    """
    files = sorted(file for file in path.rglob("*") if file.suffix in DECIDING and file.is_file())
    if not any(file.suffix in WEIGHTS for file in files):
        raise InputError(f"the pipeline {path.name!r} holds no *.safetensors or *.bin weights")
    total = hashlib.sha256()
    for file in files:
        total.update(file.relative_to(path).as_posix().encode())
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()
