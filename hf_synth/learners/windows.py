"""Questions with their contexts as token windows, and answers as token positions in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InputError

SHORTEST = 32  # tokens; less leaves no room for a context behind its question


def windows(
    questions: Sequence[str], contexts: Sequence[str], tokenizer: Any, max_length: int
) -> tuple[list[int], list[dict[str, list[int]]], list[list[tuple[int, int]]]]:
    """Cut contexts that do not fit into windows that overlap, each behind its whole question.

    Questions are cut to a third of `max_length`, and windows overlap by a third, as ZeroGen's 128 of 384.

    Args:
        questions: One text a row.
        contexts: One text a row.
        tokenizer: A fast one, which knows where tokens stand in their text.
        max_length: Most tokens of a window, 32 or more.

    Returns:
        Of each window: its row; the model's inputs and `context_mask`, 1 for tokens of the context; where each token
        stands in its context, (0, 0) for those of the question.

    Raises:
        InputError: For a tokenizer or length that this cannot work with.
    """
    if not tokenizer.is_fast:
        raise InputError("a student of questions needs a fast tokenizer, which tells where tokens stand in their text")
    if max_length < SHORTEST:
        raise InputError(f"`max_length` must be {SHORTEST} or more for questions with contexts; got {max_length}")
    cut = [_shortened(question, tokenizer, max_length // 3) for question in questions]
    found = tokenizer(
        cut,
        list(contexts),
        truncation="only_second",
        max_length=max_length,
        stride=max_length // 3,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    rows, offsets = found.pop("overflow_to_sample_mapping"), found.pop("offset_mapping")
    inputs, places = [], []
    for at, spans in enumerate(offsets):
        mask = [int(part == 1) for part in found.sequence_ids(at)]
        inputs.append({**{name: found[name][at] for name in found}, "context_mask": mask})
        places.append([tuple(span) if mine else (0, 0) for span, mine in zip(spans, mask, strict=True)])
    return rows, inputs, places


def _shortened(question: str, tokenizer: Any, most: int) -> str:
    offsets = tokenizer(question, truncation=True, max_length=most, return_offsets_mapping=True)["offset_mapping"]
    return question[: max((end for _, end in offsets), default=0)]


def answer_of(row: Mapping[str, Any], context: str) -> tuple[int, int] | str:
    """Return where a row's first answer stands in its context, first character and the one behind the last.

    Args:
        row: The answers as SQuAD stores them, `text` and `answer_start`.
        context: The context.

    Returns:
        The place, or what is wrong with it.
    """
    if not row["text"] or not row["answer_start"]:
        return "it has no answer"
    text, start = row["text"][0], row["answer_start"][0]
    if not text.strip():
        return f"its answer {text!r} is empty"
    if start < 0 or context[start : start + len(text)] != text:
        return f"its answer {text!r} does not stand at character {start} of its context"
    return start, start + len(text)


def tokens_of(span: tuple[int, int], offsets: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Return the first and last token that a span of characters touches; `None` where the window cuts it.

    Args:
        span: First character, and the one behind the last.
        offsets: Where a window's tokens stand; (0, 0) for those that are not of the context.
    """
    touched = [at for at, (start, end) in enumerate(offsets) if start < span[1] and end > span[0]]
    if not touched:
        return None
    first, last = touched[0], touched[-1]
    mine = [at for at, (start, end) in enumerate(offsets) if end > start]
    # At a window's edge the answer may go on outside of it; characters without tokens, such as blanks, do not count.
    whole_left = offsets[first][0] <= span[0] or first > mine[0]
    whole_right = offsets[last][1] >= span[1] or last < mine[-1]
    return (first, last) if whole_left and whole_right else None
