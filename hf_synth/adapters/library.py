"""Adapters that peft has: prefix and prompt tuning, LoRA and DoRA, BEFT; written in its own format."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import (
    BeftConfig,
    LoraConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptTuningConfig,
    get_peft_model,
    initialize_kv_prefix_from_past_key_values,
)

from ..errors import InputError, reason_of
from . import WEIGHTS, Adapters


def attach(model: Any, adapt: str, size: int) -> Library:
    """Return peft's adapters beside a model; see `Adapters`."""
    return Library(model, adapt, size)


class Library(Adapters):
    """See `Adapters`; `trained` is a `PeftModel` once there is a set.

    Prefix tuning has no MLP behind its keys and values (https://huggingface.co/papers/2101.00190 has one); they start
    as those of a text instead. Soft prompts: https://huggingface.co/papers/2104.08691. LoRA:
    https://huggingface.co/papers/2106.09685, DoRA: https://huggingface.co/papers/2402.09353.
    """

    trained: Any

    def __init__(self, model: Any, adapt: str, size: int):
        self.model, self.adapt, self.size, self.trained = model, adapt, size, model
        self.apart = adapt in ("prefix", "prompt")  # in front of the text, not inside the model

    def add(self, name: str, ids: list[int]) -> None:
        """See `Adapters`; a list of ids is repeated or cut to the number of tokens."""
        self._wrap(name, self._settings())
        if self.apart:
            if not ids:
                raise InputError(f"`adapt: {self.adapt}` starts as the tokens of a text; there are none")
            self._start_as(name, (ids * (self.size // len(ids) + 1))[: self.size])

    def _settings(self) -> PeftConfig:
        kind, size = self.adapt, self.size
        task = "SEQ_2_SEQ_LM" if self.model.config.is_encoder_decoder else "CAUSAL_LM"
        if kind == "prefix":
            return PrefixTuningConfig(task_type=task, num_virtual_tokens=size)
        if kind == "prompt":
            return PromptTuningConfig(task_type=task, num_virtual_tokens=size, num_transformer_submodules=1)
        if kind == "bias":
            return BeftConfig(task_type=task)
        return LoraConfig(
            task_type=task, r=size, lora_alpha=2 * size, use_dora=kind == "dora", target_modules="all-linear"
        )

    def _wrap(self, name: str, settings: PeftConfig) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of weights that are tied, and of adapters added one by one
            if isinstance(self.trained, PeftModel):
                self.trained.add_adapter(name, settings)
            else:
                try:
                    self.trained = get_peft_model(self.model, settings, adapter_name=name)
                except ValueError as error:
                    raise InputError(
                        f"`adapt: {self.adapt}` does not know the layers of {type(self.model).__name__} "
                        f"({reason_of(error)}); `bottleneck`, `embeddings` and `last_layer` fit any model"
                    ) from None
        self.use(name)

    @torch.no_grad()
    def _start_as(self, name: str, ids: list[int]) -> None:
        tokens = torch.tensor([ids], device=self.model.device)
        if self.adapt == "prompt":
            embedded = self.model.get_input_embeddings()(tokens)[0]
            self.trained.prompt_encoder[name].embedding.weight.copy_(embedded)
        elif self.model.config.is_encoder_decoder:
            encoded = {"input_ids": tokens, "decoder_input_ids": tokens, "use_cache": True}
            found = self.model(**encoded).past_key_values.self_attention_cache
            initialize_kv_prefix_from_past_key_values(self.trained, adapter_name=name, past_key_values=found)
        else:
            found = self.model(input_ids=tokens, use_cache=True).past_key_values
            initialize_kv_prefix_from_past_key_values(self.trained, adapter_name=name, past_key_values=found)

    def use(self, name: str | None) -> None:
        """See `Adapters`."""
        if name is not None:
            self.trained.set_adapter(name)
        if not self.apart and isinstance(self.trained, PeftModel):
            tuner: Any = self.trained.base_model
            tuner.disable_adapter_layers() if name is None else tuner.enable_adapter_layers()
        elif self.apart:
            for other, encoder in self.trained.prompt_encoder.items():
                encoder.requires_grad_(other == name)

    def own(self, name: str) -> Mapping[str, torch.Tensor]:
        """See `Adapters`."""
        if self.apart:
            return dict(self.trained.prompt_encoder[name].named_parameters())
        return {key: value for key, value in self.trained.named_parameters() if name in key.split(".")}

    def start(self, name: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """See `Adapters`."""
        if self.adapt != "prefix":
            return []
        self.use(name)
        found = self.trained.get_prompt(1)
        found = getattr(found, "self_attention_cache", found)
        return [(layer.keys[0].to(self.model.dtype), layer.values[0].to(self.model.dtype)) for layer in found.layers]

    def soft(self, name: str, sets: Sequence[Sequence[str]], ids: Sequence[Sequence[int]]) -> Any:
        """See `Adapters`."""
        if self.adapt != "prompt":
            return None
        return [self.trained.prompt_encoder[name].embedding.weight.to(self.model.dtype)] * len(ids)

    def save(self, name: str, folder: Path) -> None:
        """See `Adapters`; peft reads it too."""
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            self.trained.save_pretrained(scratch, selected_adapters=[name])
            written = Path(scratch) if name == "default" else Path(scratch) / name
            folder.mkdir(parents=True, exist_ok=True)
            shutil.move(written / WEIGHTS, folder / WEIGHTS)
            config = json.loads((written / "adapter_config.json").read_text())
        # The path of a model on this machine is nobody's business; the adapter's card names the model.
        config["base_model_name_or_path"] = None
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")

    def load(self, name: str, folder: Path) -> None:
        """See `Adapters`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if isinstance(self.trained, PeftModel):
                self.trained.load_adapter(str(folder), name)
            else:
                self.trained = PeftModel.from_pretrained(self.model, str(folder), adapter_name=name)
        self.use(name)
