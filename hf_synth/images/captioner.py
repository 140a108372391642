"""Captions from images: an image-to-text model of transformers whose rows draw from streams of their own."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoTokenizer,
    LogitsProcessor,
    TopPLogitsWarper,
)

from ..errors import InputError
from ..generators.local import best_device
from ..models import Source, resolve
from .store import opened

PROMPTED = "blip"
KINDS = (PROMPTED, "vision-encoder-decoder")


def find_captioner(name: str, prompt: str, tokens: int) -> Source:
    """Find a captioner: a local folder or a Hub id; its weights are not loaded.

    Raises:
        InputError: If there is none, if it writes no captions or none so long, or takes no prompt and is given one.
    """
    if find_spec("PIL") is None:
        raise InputError("images need the package pillow: pip install 'hf_synth[images]'")
    source = resolve(name)
    config = AutoConfig.from_pretrained(source.path)
    kind = config.model_type
    if kind not in KINDS:
        raise InputError(f"`captioner` {name!r} is of type {kind!r}; captions are written by {', '.join(KINDS)}")
    if prompt and kind != PROMPTED:
        raise InputError(f"`caption_prompt` needs a captioner of type {PROMPTED!r}; {name!r} is of type {kind!r}")
    most = getattr(config.get_text_config(decoder=True), "max_position_embeddings", tokens + 1) - 1
    if tokens + len(prompt.split()) > most:
        raise InputError(f"`caption_tokens` must be at most {most} for {name!r}, less the prompt's; got {tokens}")
    return source


class Captioner:
    """An image-to-text model, loaded when the first caption is asked for.

    Args:
        source: What `find_captioner` found.
        prompt: What captions start with; not part of them.
        top_p: Nucleus.
        max_new_tokens: Longest caption.
    """

    def __init__(self, source: Source, prompt: str, top_p: float, max_new_tokens: int):
        self.source, self.prompt, self.top_p, self.max_new_tokens = source, prompt, top_p, max_new_tokens
        self.device = best_device()
        self._model: Any = None

    def settings(self) -> dict[str, Any]:
        """Return what decides a caption besides its image and seed."""
        told = {"prompt": self.prompt, "top_p": self.top_p, "max_new_tokens": self.max_new_tokens}
        return {"model": self.source.sha256, **told}

    def write(self, images: Sequence[bytes], seeds: Sequence[int]) -> list[str]:
        """Return a caption of each image file, one line."""
        self._load()
        pixels = self.processor([opened(image) for image in images], return_tensors="pt").pixel_values
        asked: dict[str, Any] = {"pixel_values": pixels.to(self.device, self._model.dtype)}
        if self.prompt:
            asked |= self.tokenizer([self.prompt] * len(images), return_tensors="pt").to(self.device)
        with torch.inference_mode():
            tokens = self._model.generate(
                **asked,
                logits_processor=[_OwnStreams(seeds, self.top_p)],
                do_sample=False,
                num_beams=1,
                max_new_tokens=self.max_new_tokens,
            )
        texts = (" ".join(text.split()) for text in self.tokenizer.batch_decode(tokens, skip_special_tokens=True))
        return [_without(text, self.prompt) for text in texts]

    def _load(self) -> None:
        if self._model is None:
            self.tokenizer = AutoTokenizer.from_pretrained(self.source.path)
            self.processor = AutoImageProcessor.from_pretrained(self.source.path)
            self._model = AutoModelForImageTextToText.from_pretrained(self.source.path, dtype=torch.float32)
            self._model.to(self.device).eval()


class _OwnStreams(LogitsProcessor):
    """Makes the likeliest token a draw from the nucleus: Gumbel noise is added, of each row's own stream."""

    def __init__(self, seeds: Sequence[int], top_p: float):
        self.generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        self.nucleus = TopPLogitsWarper(top_p)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        allowed = self.nucleus(input_ids, scores.float())
        uniforms = torch.stack([torch.rand(scores.shape[-1], generator=one) for one in self.generators])
        return allowed - torch.log(-torch.log(uniforms.clamp(1e-20, 1 - 1e-7))).to(scores.device)


def _without(text: str, prompt: str) -> str:
    start = " ".join(prompt.split())
    return text[len(start) :].strip() if start and text.casefold().startswith(start.casefold()) else text
