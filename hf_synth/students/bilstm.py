"""The BiLSTM text classifier that ZeroGen, SunGen and ProGen train, as a Transformers model in one file.

The file stands alone (no import from the package), because `save_pretrained` copies it beside the weights so that the
model loads with `trust_remote_code=True` where hf_synth is not installed.

Papers: https://huggingface.co/papers/2202.07922 (ZeroGen), https://huggingface.co/papers/2205.12679 (SunGen).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import SequenceClassifierOutput

PAD, UNKNOWN = "[PAD]", "[UNK]"


def build_tokenizer(texts: Iterable[str], vocab_size: int = 50_000) -> PreTrainedTokenizerFast:
    """Build the papers' tokenizer: lower-cased words between white space, the most frequent of `texts`.

    Args:
        texts: The training texts; of pairs, both.
        vocab_size: The most words to keep, padding and unknown word included.

    Returns:
        A tokenizer that adds no special tokens and marks the second text of a pair by `token_type_ids` 1.
    """
    words = Tokenizer(models.WordLevel({}, unk_token=UNKNOWN))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing(single="$A:0", pair="$A:0 $B:1", special_tokens=[])
    kinds = trainers.WordLevelTrainer(vocab_size=vocab_size, special_tokens=[PAD, UNKNOWN], show_progress=False)
    words.train_from_iterator(texts, kinds)
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token=PAD,
        unk_token=UNKNOWN,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


class BiLSTMConfig(PreTrainedConfig):
    """Sizes of a BiLSTM classifier; the defaults are ZeroGen's for one text.

    Attributes:
        vocab_size: Number of words, `len(tokenizer)`.
        embedding_size: Size of a word vector.
        hidden_size: Size of the state *per direction*.
        num_layers: Stacked bidirectional layers.
        dropout: Dropout between layers and before (in pairs also within) the classifier. SunGen uses none.
        pairs: Read two texts with the same LSTM, told apart by `token_type_ids`, and classify
            `[p; h; |p - h|; p * h]` of their mean-pooled states. Otherwise the last states of both directions count.
    """

    model_type = "bilstm"

    vocab_size: int = 50_000
    embedding_size: int = 100
    hidden_size: int = 150
    num_layers: int = 1
    dropout: float = 0.5
    pairs: bool = False
    pad_token_id: int | None = 0

    @classmethod
    def for_pairs(cls, **kwargs: Any) -> BiLSTMConfig:
        """Return ZeroGen's two-stream variant for premise and hypothesis: 2 layers of 300 per direction."""
        settings: dict[str, Any] = {"pairs": True, "hidden_size": 300, "num_layers": 2}
        return cls(**settings | kwargs)


class _BiLayer(nn.Module):
    """One bidirectional layer made of two plain LSTMs, so that padding enters neither and nothing is packed."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(input_size, hidden_size, batch_first=True)
        self.backwards = nn.LSTM(input_size, hidden_size, batch_first=True)

    def forward(self, states: Tensor, reverse: Tensor) -> Tensor:
        """Map `[N, T, input]` to `[N, T, 2 * hidden]`; `reverse` turns each row's words around, not its padding."""
        ahead, _ = self.forwards(states)
        behind, _ = self.backwards(_pick(states, reverse))
        return torch.cat([ahead, _pick(behind, reverse)], dim=-1)


class BiLSTMForSequenceClassification(PreTrainedModel):
    """BiLSTM classifier over one text or, with `config.pairs`, over two.

    Under `torch.func.jvp` on CPU, switch mkldnn off (`torch.backends.mkldnn.flags(enabled=False)`): its LSTM kernel
    has no forward-mode derivative.
    """

    config_class = BiLSTMConfig

    def __init__(self, config: BiLSTMConfig) -> None:
        super().__init__(config)
        width, hidden = 2 * config.hidden_size, config.hidden_size
        classes: Any = config.num_labels
        self.embeddings = nn.Embedding(config.vocab_size, config.embedding_size)
        sizes = [config.embedding_size] + [width] * (config.num_layers - 1)
        self.layers = nn.ModuleList(_BiLayer(size, config.hidden_size) for size in sizes)
        self.dropout = nn.Dropout(config.dropout)
        if config.pairs:
            steps = [nn.Linear(4 * width, hidden), nn.ReLU(), nn.Dropout(config.dropout)]
            steps += [nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(config.dropout)]
            self.classifier: nn.Module = nn.Sequential(*steps, nn.Linear(hidden, classes))
        else:
            self.classifier = nn.Linear(width, classes)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the word vectors."""
        return self.embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the word vectors."""
        self.embeddings = value  # type: ignore[assignment]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(module, nn.Embedding):
                bound = math.sqrt(3 / self.config.embedding_size)
                nn.init.uniform_(parameter, -bound, bound)
            elif "weight" in name:
                nn.init.xavier_normal_(parameter)
            else:
                nn.init.zeros_(parameter)
                # A slice loses the flag by which Transformers knows a loaded parameter, so it is asked here. An LSTM
                # adds two biases; gates stand in the order input, forget, cell, output.
                if name == "bias_ih_l0" and not getattr(parameter, "_is_hf_initialized", False):
                    nn.init.ones_(parameter.view(4, -1)[1])

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Classify each row; padding on either side, of any length, does not change the logits.

        Args:
            input_ids: Word ids, `[N, T]`.
            attention_mask: 1 for words, 0 for padding; all words where not given.
            token_type_ids: 0 for the first text and 1 for the second; needed with `config.pairs`, else ignored.
            labels: Class indices, `[N]`; with them the mean cross entropy is returned too.
            **kwargs: Ignored, such as what a trainer passes to every model.
        """
        real = torch.ones_like(input_ids).bool() if attention_mask is None else attention_mask.bool()
        if not self.config.pairs:
            features = self.dropout(self._encode(input_ids, real))
        elif token_type_ids is None:
            raise ValueError("`token_type_ids` must be given to a model with `pairs`; got None.")
        else:
            first = self._encode(input_ids, real & (token_type_ids == 0))
            second = self._encode(input_ids, real & (token_type_ids == 1))
            features = self.dropout(torch.cat([first, second, (first - second).abs(), first * second], dim=-1))
        logits = self.classifier(features)
        loss = None if labels is None else cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def _encode(self, input_ids: Tensor, real: Tensor) -> Tensor:
        """Return one vector `[N, 2 * hidden]` for the words marked `real`; zeros where there is none."""
        lengths = real.sum(1, keepdim=True)
        size = max(int(lengths.max()), 1)
        # Words first, in order; a column is added because a batch of empty texts has none at all.
        first = nn.functional.pad(real, (0, 1)).logical_not().long().argsort(dim=1, stable=True)[:, :size]
        states = self.embeddings(nn.functional.pad(input_ids, (0, 1)).gather(1, first))
        step = torch.arange(size, device=real.device).expand(len(real), -1)
        reverse = torch.where(step < lengths, lengths - 1 - step, step)
        for number, layer in enumerate(self.layers):
            states = layer(states if number == 0 else self.dropout(states), reverse)
        states = states * (step < lengths).unsqueeze(-1)
        if self.config.pairs:
            return states.sum(1) / lengths.clamp(min=1)
        ahead, behind = states.chunk(2, dim=-1)
        return torch.cat([_pick(ahead, (lengths - 1).clamp(min=0)).squeeze(1), behind[:, 0]], dim=-1)


def _pick(states: Tensor, positions: Tensor) -> Tensor:
    """Return the states `[N, K, D]` that stand at `positions` `[N, K]`."""
    return states.gather(1, positions.unsqueeze(-1).expand(-1, -1, states.shape[-1]))
