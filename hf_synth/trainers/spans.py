"""Answers that are spans of their context: two choices among its tokens, as trainers see and evaluate them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LONGEST = 30  # tokens of an answer, as in BERT's and ZeroGen's post-processing


class SpanLogits:
    """Mixed into a question answering model for training: its output is `logits`, of where an answer starts and ends.

    Every loss per example then holds as it stands: labels `[N, 2]` are two labelled places, each a choice of T tokens.
    """

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        context_mask: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return `logits`, [N, 2, T]; tokens outside the context can be neither start nor end.

        Args:
            input_ids: Token ids, [N, T].
            attention_mask: As the model takes it.
            token_type_ids: As the model takes it.
            context_mask: 1 for tokens of the context, [N, T].
            labels: Not used; Trainer keeps the columns that this signature names, and calls those labels that say so.
        """
        given = {"attention_mask": attention_mask, "token_type_ids": token_type_ids}
        forward: Any = super().forward  # type: ignore[misc]
        outputs = forward(input_ids=input_ids, **{name: value for name, value in given.items() if value is not None})
        logits = torch.stack([outputs["start_logits"], outputs["end_logits"]], 1)
        if context_mask is not None:
            # Not infinity, which times a weight or tangent of 0 is no number.
            logits = logits.masked_fill(context_mask[:, None] == 0, torch.finfo(logits.dtype).min)
        return {"logits": logits}


def with_span_logits(model: Any) -> Any:
    """Make a loaded question answering model give `SpanLogits`; what is saved of it stays the plain model."""
    plain = type(model)
    model.__class__ = type(plain.__name__, (SpanLogits, plain), {"__module__": plain.__module__})
    return model


def span_scores(logits: Tensor, longest: int = LONGEST) -> Tensor:
    """Return the score of each span, [N, T, T] by start and end; -inf where it ends before it starts or is too long.

    Args:
        logits: [N, 2, T].
        longest: Most tokens of a span.
    """
    scores = logits[:, 0, :, None] + logits[:, 1, None, :]
    valid = torch.ones(scores.shape[1:], dtype=torch.bool, device=logits.device).triu().tril(longest - 1)
    return scores.masked_fill(~valid, float("-inf"))


def best_spans(logits: Tensor, longest: int = LONGEST) -> Tensor:
    """Return the first and last token of each row's best span, [N, 2], from logits [N, 2, T]."""
    best = span_scores(logits, longest).flatten(1).argmax(-1)
    width = logits.shape[-1]
    return torch.stack([best // width, best % width], -1)
