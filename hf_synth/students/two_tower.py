"""A classifier of a text beside an image: two encoders, and one cross-attention that both look through.

The file stands alone (no import from the package), because `save_pretrained` copies it beside the weights so that the
model loads with `trust_remote_code=True` where hf_synth is not installed.

After the network of CAMEL (https://huggingface.co/papers/2306.08966), with one head in place of one for each modality.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class TwoTowerConfig(PreTrainedConfig):
    """Sizes of a two-tower classifier.

    Attributes:
        text_tower: Configuration of the text encoder, as a dictionary with its `model_type`.
        image_tower: Likewise of the image encoder, one whose states are patches, such as ViT or CLIP's vision model.
        fusion_size: Width in which texts and images meet.
        fusion_heads: Heads of the cross-attention.
        dropout: In the cross-attention and before the head.
    """

    model_type = "two_tower"

    text_tower: dict[str, Any] | None = None
    image_tower: dict[str, Any] | None = None
    fusion_size: int = 256
    fusion_heads: int = 4
    dropout: float = 0.1
    initializer_range: float = 0.02


class _Fusion(nn.Module):
    """A transformer block in which one vector looks at the states of the other side."""

    def __init__(self, size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(size, heads, dropout, batch_first=True)
        self.feed = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * size, size))
        self.attended, self.fed = nn.LayerNorm(size), nn.LayerNorm(size)

    def forward(self, vector: Tensor, states: Tensor, padding: Tensor | None) -> Tensor:
        """Map `[N, D]` and `[N, T, D]`, of which `padding` `[N, T]` is not looked at, to `[N, D]`."""
        seen = self.attention(vector[:, None], states, states, key_padding_mask=padding, need_weights=False)[0][:, 0]
        vector = self.attended(vector + seen)
        return self.fed(vector + self.feed(vector))


class TwoTowerForSequenceClassification(PreTrainedModel):
    """Classifies `[text; text that saw the image; image; image that saw the text]`, each a mean over states."""

    config_class = TwoTowerConfig

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__(config)
        text, image = (AutoConfig.for_model(**(tower or {})) for tower in (config.text_tower, config.image_tower))
        size, classes = config.fusion_size, config.num_labels or 2
        self.text_model, self.image_model = AutoModel.from_config(text), AutoModel.from_config(image)
        self.text_projection = nn.Linear(text.hidden_size, size)
        self.image_projection = nn.Linear(image.hidden_size, size)
        self.fusion = _Fusion(size, config.fusion_heads, config.dropout)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(4 * size, classes)
        self.post_init()

    @classmethod
    def of_towers(cls, text: str, image: str, **settings: Any) -> TwoTowerForSequenceClassification:
        """Return a model of two pretrained encoders, folders or Hub ids; all else is of random weights."""
        configs = AutoConfig.from_pretrained(text), AutoConfig.from_pretrained(image)
        own = [
            getattr(config, f"{side}_config", config) for config, side in zip(configs, ("text", "vision"), strict=True)
        ]
        towers = {"text_tower": own[0].to_dict(), "image_tower": own[1].to_dict()}
        model = cls(TwoTowerConfig(**towers, **settings))
        model.text_model = AutoModel.from_pretrained(text, config=own[0], dtype=torch.float32)
        model.image_model = AutoModel.from_pretrained(image, config=own[1], dtype=torch.float32)
        return model.eval()

    def forward(
        self,
        input_ids: Tensor,
        pixel_values: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Classify each text beside its image.

        Args:
            input_ids: Tokens, `[N, T]`.
            pixel_values: Images, `[N, 3, H, W]`.
            attention_mask: 1 for tokens, 0 for padding; all tokens where not given.
            labels: Class indices, `[N]`; with them the mean cross entropy is returned too.
            **kwargs: Ignored, such as what a trainer passes to every model.
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        words = self.text_projection(self.text_model(input_ids=input_ids, attention_mask=mask).last_hidden_state)
        patches = self.image_projection(self.image_model(pixel_values=pixel_values).last_hidden_state)
        text = (words * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        image = patches.mean(1)
        both = [text, self.fusion(text, patches, None), image, self.fusion(image, words, mask == 0)]
        logits = self.classifier(self.dropout(torch.cat(both, dim=-1)))
        loss = None if labels is None else cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)
