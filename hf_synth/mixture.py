"""Soft prompts of attributes, mixed for each text (MSP, https://huggingface.co/papers/2303.01580)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from .config import checked
from .errors import InputError, unknown
from .mixture_settings import MixtureConfig

VECTORS, SETTINGS = "adapter_model.safetensors", "soft_prompts.json"  # the first as peft has it
ONE_LEVEL = "attributes"


def filled(rows: Tensor, length: int) -> Tensor:
    """Return a soft prompt to start from, [length, d]: the rows in turn, again from the first where they are too few.

    Args:
        rows: A description's tokens, [T, d], as the model's input embeddings give them when called: some scale.
        length: Vectors wanted.

    Raises:
        InputError: If there are no rows.
    """
    if not len(rows):
        raise InputError("a soft prompt needs at least one token to start from; got none")
    return rows.detach()[torch.arange(length, device=rows.device) % len(rows)].float()


class Mean(nn.Module):
    """The mean of a text's prompts."""

    def forward(self, prompts: Tensor, present: Tensor, pooled: Tensor) -> Tensor:
        """Mix prompts, [B, H, L, d], of which those present, [B, H], count, to [B, L, d]."""
        return (prompts * present[:, :, None, None]).sum(1) / present.sum(1)[:, None, None]


class Attention(nn.Module):
    """A mean of a text's prompts that is weighted by how well each fits the rest of the input.

    With x and p_i the maxima over positions of the input and of prompt i: `softmax_i(<p_i, LN(f(x))> / tau)`, where f
    is linear or, given `hidden`, `W_up SiLU(W_down x)`. The published code takes the softmax over the dimensions, sums
    these, and so gives the plain sum of the prompts whatever f is.
    """

    def __init__(self, width: int, tau: float, hidden: int | None = None) -> None:
        super().__init__()
        if hidden is None:
            self.project: nn.Module = nn.Linear(width, width, bias=False)
        else:
            down, up = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, width, bias=False)
            self.project = nn.Sequential(down, nn.SiLU(), up)
        self.norm, self.tau = nn.LayerNorm(width), tau

    def weights(self, prompts: Tensor, present: Tensor, pooled: Tensor) -> Tensor:
        """Return each prompt's share, [B, H]; of each text they sum to 1."""
        query = self.norm(self.project(pooled))
        scores = (prompts.amax(2) @ query.unsqueeze(-1)).squeeze(-1) / self.tau
        return scores.masked_fill(~present, -torch.inf).softmax(1)

    def forward(self, prompts: Tensor, present: Tensor, pooled: Tensor) -> Tensor:
        """Mix prompts, [B, H, L, d], of which those present, [B, H], count, to [B, L, d]."""
        return (prompts * self.weights(prompts, present, pooled)[:, :, None, None]).sum(1)


class Convolution(nn.Module):
    """The mean of a text's prompts and what two 3x3 convolutions over them add, next to nothing at the start.

    Prompts that are not there are zeros, which add nothing, and the result may be negative; the published code fills
    up with ones and ends in a ReLU.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.mean = Mean()
        self.first = nn.Conv2d(most, max(1, most // 2), 3, padding=1, bias=False)
        self.second = nn.Conv2d(max(1, most // 2), 1, 3, padding=1, bias=False)
        with torch.no_grad():
            self.second.weight.mul_(1e-2)  # not 0, which would keep the first from learning

    def forward(self, prompts: Tensor, present: Tensor, pooled: Tensor) -> Tensor:
        """Mix prompts, [B, H, L, d], of which those present, [B, H], count, to [B, L, d]."""
        missing = self.first.in_channels - prompts.shape[1]
        stacked = nn.functional.pad(prompts * present[:, :, None, None], (0, 0, 0, 0, 0, missing))
        return self.mean(prompts, present, pooled) + self.second(self.first(stacked).relu()).squeeze(1)


class MixtureOfSoftPrompts(nn.Module):
    """An instruction that all texts share and a soft prompt of each attribute, mixed for each text.

    The language model is no part of it: the vectors that come out stand before the model's input embeddings. What a
    mixer begins with is drawn from torch's global generator.

    Args:
        config: See `MixtureConfig`.
        instruction: Where the instruction starts, [config.instruction, d].
        prompts: Attribute -> where its prompt starts, [config.length, d]; their order is the order of `concat`.
        levels: Level -> its attributes (TOPv2: intents and slots), each of which gives a block of its own where a text
            has any of them; all share one mixer. Left out, all attributes are of one level.

    Raises:
        InputError: For tensors of other sizes, or levels that do not hold each attribute once.
    """

    def __init__(
        self,
        config: MixtureConfig,
        instruction: Tensor,
        prompts: Mapping[str, Tensor],
        levels: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__()
        width = instruction.shape[-1]
        _check_size("the instruction", instruction, (config.instruction, width))
        for name, prompt in prompts.items():
            _check_size(f"the prompt of {name!r}", prompt, (config.length, width))
        self.names = list(prompts)
        self.levels = {level: list(own) for level, own in (levels or {ONE_LEVEL: self.names}).items()}
        held = sorted(name for own in self.levels.values() for name in own)
        if not held or held != sorted(self.names):
            raise InputError(f"levels must hold each attribute once: {sorted(self.names)}; got {held}")
        self.instruction = nn.Parameter(instruction.detach().float().clone())
        self.prompts = nn.Parameter(torch.stack([prompt.detach().float() for prompt in prompts.values()]))
        if config.tau is None:
            scale = self.prompts.detach().square().mean().sqrt().item()
            config = replace(config, tau=max(scale * width, 1e-6))
        self.config, self.mixer = config, _mixer(config, width)

    def forward(self, sets: Sequence[Sequence[str]], inputs: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors to put before each text's inputs, padded on the left, [N, P, d], and their mask, [N, P].

        Args:
            sets: Each text's attributes, in any order; one without any has the instruction alone.
            inputs: The rest of the input, embedded, [N, T, d]; vectors come in its dtype.
            mask: 1 for its tokens, 0 for padding, [N, T].

        Raises:
            InputError: For an unknown attribute, or more of them than the mixer takes.
        """
        blocks = [(row, own) for row, names in enumerate(sets) for own in self._blocks(names)]
        rows: list[list[Tensor]] = [[self.instruction] for _ in sets]
        for (row, _), block in zip(blocks, self._mixed(blocks, inputs.float(), mask.bool()), strict=True):
            rows[row].append(block)
        joined = [torch.cat(parts) for parts in rows]
        ones = [part.new_ones(len(part), dtype=mask.dtype) for part in joined]
        vectors = pad_sequence(joined, batch_first=True, padding_side="left")
        return vectors.to(inputs.dtype), pad_sequence(ones, batch_first=True, padding_side="left")

    def _blocks(self, names: Sequence[str]) -> list[list[int]]:
        """Return the places of a text's attributes, in this module's order, of each level that has any."""
        for name in names:
            if name not in self.names:
                raise unknown("an attribute", name, self.names)
        found = [[self.names.index(name) for name in own if name in names] for own in self.levels.values()]
        longest = max(map(len, found))
        if self.config.mixer in ("concat", "cnn") and longest > self.config.most:
            raise InputError(f"`{self.config.mixer}` mixes at most {self.config.most} attributes; got {sorted(names)}")
        return [sorted(places) for places in found if places]

    def _mixed(self, blocks: Sequence[tuple[int, list[int]]], inputs: Tensor, mask: Tensor) -> Sequence[Tensor]:
        """Mix each block's prompts, with the maximum over positions of its text's inputs at hand."""
        if self.mixer is None:
            return [self.prompts[places].flatten(0, 1) for _, places in blocks]
        if not blocks:
            return []
        ids = [torch.tensor(places, device=self.prompts.device) for _, places in blocks]
        places = pad_sequence(ids, batch_first=True, padding_value=-1)
        top = inputs.masked_fill(~mask.unsqueeze(-1), -torch.inf).amax(1)
        pooled = torch.where(mask.any(1, keepdim=True), top, 0.0)[[row for row, _ in blocks]]
        return list(self.mixer(self.prompts[places.clamp(min=0)], places >= 0, pooled))

    def save(self, folder: str | Path) -> None:
        """Write all that was trained, the instruction with it, and what `load` builds it from."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in self.state_dict().items()}, folder / VECTORS)
        facts = {"config": asdict(self.config), "attributes": self.names, "levels": self.levels}
        (folder / SETTINGS).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> MixtureOfSoftPrompts:
        """Return what `save` wrote.

        Raises:
            InputError: If it is not there.
        """
        folder = Path(folder)
        for name in (SETTINGS, VECTORS):
            if not (folder / name).is_file():
                raise InputError(f"{str(folder)!r} holds no mixture of soft prompts: {name} is missing")
        facts, state = json.loads((folder / SETTINGS).read_text(encoding="utf-8")), load_file(folder / VECTORS)
        config = checked(MixtureConfig, facts["config"], str(folder / SETTINGS))
        prompts = dict(zip(facts["attributes"], state["prompts"], strict=True))
        found = cls(config, state["instruction"], prompts, facts["levels"])
        found.load_state_dict(state)
        return found


def _mixer(config: MixtureConfig, width: int) -> nn.Module | None:
    """Return the module that mixes; `concat` needs none."""
    tau = config.tau or 1.0
    match config.mixer:
        case "concat":
            return None
        case "pooling":
            return Mean()
        case "attention":
            return Attention(width, tau)
        case "bottleneck":
            return Attention(width, tau, config.hidden)
        case "cnn":
            return Convolution(config.most)


def _check_size(what: str, tensor: Tensor, size: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != size:
        raise InputError(f"{what} must have the size {list(size)}; got {list(tensor.shape)}")
