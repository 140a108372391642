"""BiDAF, the reader that ZeroGen trains for extractive question answering, as a Transformers model.

The file needs nothing of the package but its neighbour, because `save_pretrained` copies both beside the weights so
that the model loads with `trust_remote_code=True` where hf_synth is not installed.

Papers: https://huggingface.co/papers/1611.01603 (BiDAF), https://huggingface.co/papers/2202.07922 (ZeroGen).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import QuestionAnsweringModelOutput

from .bilstm import PAD, UNKNOWN, _BiLayer

CONTINUES = "##"


def build_reader_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Build a tokenizer of the 30,000 most frequent lower-cased words and signs, which tells where each stands.

    A word that is not among them falls apart into pieces that are, down to letters, so that its characters count: the
    paper's words without a vector of their own have their characters alone.

    Args:
        texts: The training texts, contexts and questions.

    Returns:
        A tokenizer that adds no special tokens and marks the second text, the context, by `token_type_ids` 1.
    """
    lines = list(texts)
    letters = sorted(set("".join(normalizers.Lowercase().normalize_str("".join(lines)).split())))
    # The trainer numbers pieces by the order of a hash map, another in every run, and settles ties between pieces by
    # their numbers; pieces that are named before have theirs.
    named = [PAD, UNKNOWN, *letters, *(CONTINUES + letter for letter in letters)]
    counted = _word_pieces({})
    counted.train_from_iterator(
        lines,
        trainers.WordPieceTrainer(
            vocab_size=30_000,
            special_tokens=named,
            show_progress=False,
            continuing_subword_prefix=CONTINUES,
        ),
    )
    words = _word_pieces(counted.get_vocab())
    words.decoder = decoders.WordPiece(prefix=CONTINUES)
    words.post_processor = processors.TemplateProcessing(single="$A:0", pair="$A:0 $B:1", special_tokens=[])
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token=PAD,
        unk_token=UNKNOWN,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def _word_pieces(vocabulary: dict[str, int]) -> Tokenizer:
    words = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=100))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return words


class BiDAFConfig(PreTrainedConfig):
    """Sizes of a BiDAF reader; the defaults are ZeroGen's.

    Attributes:
        vocab_size: Number of words and pieces, `len(tokenizer)`.
        character_count: Number of characters, that of padding included.
        word_length: Characters of a word that are read.
        character_size: Size of a character's vector.
        character_channels: Channels of the convolution over characters.
        character_width: Characters that it sees at once.
        embedding_size: Size of a word's vector.
        hidden_size: Size of every LSTM's state *per direction*.
        dropout: Dropout before the convolution and within every layer that follows.
    """

    model_type = "bidaf"

    vocab_size: int = 30_000
    character_count: int = 100
    word_length: int = 16
    character_size: int = 8
    character_channels: int = 100
    character_width: int = 5
    embedding_size: int = 100
    hidden_size: int = 100
    dropout: float = 0.2
    pad_token_id: int | None = 0


class BiDAFForQuestionAnswering(PreTrainedModel):
    """Reader with attention from context to question and from question to context.

    Question and context come as one sequence, told apart by `token_type_ids`. Under `torch.func.jvp` on CPU, switch
    mkldnn off (`torch.backends.mkldnn.flags(enabled=False)`): its LSTM kernel has no forward-mode derivative.
    """

    config_class = BiDAFConfig
    characters: Tensor

    def __init__(self, config: BiDAFConfig) -> None:
        super().__init__(config)
        width, state = config.embedding_size + config.character_channels, 2 * config.hidden_size
        self.embeddings = nn.Embedding(config.vocab_size, config.embedding_size)
        self.register_buffer("characters", torch.zeros(config.vocab_size, config.word_length, dtype=torch.long))
        self.character_embeddings = nn.Embedding(config.character_count, config.character_size)
        self.convolution = nn.Conv1d(config.character_size, config.character_channels, config.character_width)
        self.highway = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(2))
        self.contextual = _BiLayer(width, config.hidden_size)
        self.similarity = nn.Linear(3 * state, 1, bias=False)
        self.modelling = nn.ModuleList(_BiLayer(size, config.hidden_size) for size in (4 * state, state))
        self.ending = _BiLayer(state, config.hidden_size)
        self.start_output = nn.Linear(5 * state, 1, bias=False)
        self.end_output = nn.Linear(5 * state, 1, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.post_init()

    @classmethod
    def for_tokenizer(cls, tokenizer: Any, **settings: Any) -> BiDAFForQuestionAnswering:
        """Return an untrained reader that knows the characters of a tokenizer's words."""
        config = BiDAFConfig(vocab_size=len(tokenizer), **settings)
        special = set(tokenizer.all_special_tokens)
        words = ["" if word in special else word for word in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))]
        words = [word.removeprefix(CONTINUES)[: config.word_length] for word in words]
        ids = {character: at for at, character in enumerate(sorted(set("".join(words))), start=1)}
        config.character_count = len(ids) + 1
        model = cls(config)
        for at, word in enumerate(words):
            model.characters[at, : len(word)] = torch.tensor([ids[character] for character in word], dtype=torch.long)
        return model

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
                bound = math.sqrt(3 / module.embedding_dim)
                nn.init.uniform_(parameter, -bound, bound)
            elif "weight" in name:
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **kwargs: Any,
    ) -> QuestionAnsweringModelOutput:
        """Score each token as start and as end; padding on either side, of any length, does not change the scores.

        Args:
            input_ids: Word ids, [N, T].
            attention_mask: 1 for words, 0 for padding; all words where not given.
            token_type_ids: 0 for the question and 1 for the context, [N, T].
            start_positions: First word of the answer, [N]; with `end_positions` the mean cross entropy is returned.
            end_positions: Last word of the answer, [N].
            **kwargs: Ignored, such as what a trainer passes to every model.
        """
        if token_type_ids is None:
            raise ValueError("`token_type_ids` must tell the question (0) from the context (1); got None.")
        real = torch.ones_like(input_ids).bool() if attention_mask is None else attention_mask.bool()
        context, question = (_Part(real & (token_type_ids == at)) for at in (1, 0))
        starts, ends = self._read(context, question, input_ids)
        logits = [context.put_back(scores) for scores in (starts, ends)]
        loss = None
        if start_positions is not None and end_positions is not None:
            pairs = zip(logits, (start_positions, end_positions), strict=True)
            loss = torch.stack([cross_entropy(scores, places) for scores, places in pairs]).mean()
        return QuestionAnsweringModelOutput(loss=loss, start_logits=logits[0], end_logits=logits[1])

    def _read(self, context: _Part, question: _Part, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return start and end scores of the context's words, [N, C] each."""
        said, asked = (
            self.contextual(self._embed(part.take(input_ids)), part.reverse) for part in (context, question)
        )
        attended = self._attend(self.dropout(said), self.dropout(asked), context.real, question.real)
        states = attended
        for layer in self.modelling:
            states = self.dropout(layer(states, context.reverse))
        ends = self.dropout(self.ending(states, context.reverse))
        start = self.start_output(torch.cat([attended, states], -1))
        return start.squeeze(-1), self.end_output(torch.cat([attended, ends], -1)).squeeze(-1)

    def _embed(self, ids: Tensor) -> Tensor:
        """Return word vectors with character features, [N, T, D], through the highway layers."""
        spelt = self.characters[ids]
        letters = self.dropout(self.character_embeddings(spelt).flatten(0, 1).transpose(1, 2))
        found = self.convolution(letters).amax(-1).unflatten(0, ids.shape)
        states = torch.cat([found, self.embeddings(ids)], -1)
        for layer in self.highway:
            new, gate = layer(self.dropout(states)).chunk(2, -1)
            gate = gate.sigmoid()
            states = gate * new.relu() + (1 - gate) * states
        return self.dropout(states)

    def _attend(self, said: Tensor, asked: Tensor, context: Tensor, question: Tensor) -> Tensor:
        """Return `[h; u; h * u; h * v]`, [N, C, 8H]: context, its question, and the context's own summary."""
        of_said, of_asked, of_both = self.similarity.weight.view(3, -1)
        scores = (said * of_both) @ asked.transpose(1, 2)
        scores = scores + (said @ of_said).unsqueeze(2) + (asked @ of_asked).unsqueeze(1)
        lowest = torch.finfo(scores.dtype).min
        scores = scores.masked_fill(~question.unsqueeze(1), lowest)
        to_question = scores.softmax(-1) @ asked
        to_context = scores.amax(-1).masked_fill(~context, lowest).softmax(-1).unsqueeze(1) @ said
        return torch.cat([said, to_question, said * to_question, said * to_context], -1)


class _Part:
    """The tokens of each row that are marked, moved to the front, so that padding enters no layer.

    Args:
        marked: [N, T].
    """

    def __init__(self, marked: Tensor) -> None:
        lengths = marked.sum(1, keepdim=True)
        size = max(int(lengths.max()), 1)
        self.marked = marked
        self.places = marked.logical_not().long().argsort(dim=1, stable=True)[:, :size]
        step = torch.arange(size, device=marked.device).expand(len(marked), -1)
        self.real = step < lengths
        self.reverse = torch.where(self.real, lengths - 1 - step, step)

    def take(self, values: Tensor) -> Tensor:
        """Return the marked values of [N, T], [N, S]; anything behind them."""
        return values.gather(1, self.places)

    def put_back(self, scores: Tensor) -> Tensor:
        """Return scores [N, S] where they belong, [N, T]; the lowest number elsewhere."""
        lowest = torch.finfo(scores.dtype).min
        spread = torch.full(self.marked.shape, lowest, dtype=scores.dtype, device=scores.device)
        return spread.scatter(1, self.places, scores).masked_fill(~self.marked, lowest)


__all__ = ["BiDAFConfig", "BiDAFForQuestionAnswering", "build_reader_tokenizer"]
