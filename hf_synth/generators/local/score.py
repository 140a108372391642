"""How likely given texts are after their prompts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch

from .attention import row_attention
from .forward import Pair as Layer
from .forward import Tokens, before, decoder_start, padded, started
from .rows import RowForward

SCORED_TOKENS = 4096  # tokens scored at once: their logits over the vocabulary are the memory
STEPS = 8  # tokens up to which texts are scored one step at a time, their prompts being read once each

Pair = tuple[list[int], list[int]]
Start = Sequence[Layer]


def score_tokens(model: Any, pairs: Sequence[Pair], batch_size: int, by_rows: bool, start: Start = ()) -> list[float]:
    """Return the mean log-probability (nats per token) of each text after its prompt.

    Args:
        model: Causal or encoder-decoder.
        pairs: Token ids of prompt and text.
        batch_size: Forward rows at once.
        by_rows: Whether `RowForward` knows the model; what several prompts begin with is then read once.
        start: Keys and values, [heads, tokens, size] a layer, of what stands before every prompt.
    """
    short = [at for at, (_, tail) in enumerate(pairs) if by_rows and len(tail) <= STEPS]
    long = [at for at, (_, tail) in enumerate(pairs) if not by_rows or len(tail) > STEPS]
    scores: dict[int, float] = {}
    order = sorted(short, key=lambda at: (len(pairs[at][0]), pairs[at][0], at))
    for first in range(0, len(order), batch_size):
        places = order[first : first + batch_size]
        with row_attention(model):
            scores |= zip(places, _by_steps(model, [pairs[at] for at in places], start), strict=True)
    if by_rows and long:
        with row_attention(model):
            scores |= zip(long, _by_rows(model, [pairs[at] for at in long], batch_size, start), strict=True)
        long = []
    order = sorted(long, key=lambda at: (sum(map(len, pairs[at])), at))
    while order:
        size = max(1, min(batch_size, SCORED_TOKENS // sum(map(len, pairs[order[-1]]))))
        places, order = order[-size:], order[:-size]
        scores |= zip(places, _at_once(model, [pairs[at] for at in places], start), strict=True)
    return [scores[at] for at in range(len(pairs))]


def _by_steps(model: Any, pairs: Sequence[Pair], start: Start) -> list[float]:
    heads: dict[tuple[int, ...], int] = {}
    rows = [heads.setdefault(tuple(head), len(heads)) for head, _ in pairs]
    tails = [tail for _, tail in pairs]
    longest = max(map(len, tails))
    forward = RowForward(model, list(heads), len(pairs), longest, start)
    newest = forward.admit(range(len(heads)))
    forward.keep(rows)
    newest, live, totals = [newest[row] for row in rows], list(range(len(pairs))), [0.0] * len(pairs)
    for step in range(longest):
        if step:
            stays = [at for at, row in enumerate(live) if step < len(tails[row])]
            forward.keep(stays)
            live = [live[at] for at in stays]
            newest = [tails[row][step - 1] for row in live]
        logprobs = forward.step(newest).float().log_softmax(-1)
        wanted = torch.tensor([tails[row][step] for row in live], device=logprobs.device)
        for row, value in zip(live, logprobs.gather(-1, wanted[:, None])[:, 0].tolist(), strict=True):
            totals[row] += value
    return [total / len(tail) for total, tail in zip(totals, tails, strict=True)]


def _by_rows(model: Any, pairs: Sequence[Pair], batch_size: int, start: Start) -> list[float]:
    """Read each text behind a prompt, or the start of one, that is read once for all of them."""
    heads = [head for head, _ in pairs]
    forward = RowForward(model, [[*head, *tail] for head, tail in pairs], 0, 0, start, heads)
    scores: dict[int, float] = {}
    for _, alike in groupby(forward.order(1), key=forward.prefix_of.__getitem__):
        order = list(alike)
        while order:
            size = max(1, min(batch_size, SCORED_TOKENS // len(forward.rest(order[-1]))))
            places, order = order[-size:], order[:-size]
            tails = [pairs[at][1] for at in places]
            logits = forward.logits(places, list(map(len, tails)))
            scores |= {at: _mean(row, tail) for at, row, tail in zip(places, logits, tails, strict=True)}
    return [scores[at] for at in range(len(pairs))]


def _at_once(model: Any, pairs: Sequence[Pair], start: Start) -> list[float]:
    device, longest = model.device, max(len(tail) for _, tail in pairs)
    cache = {"past_key_values": started(model, start, len(pairs))} if start else {}
    if model.config.is_encoder_decoder:
        ids, mask = padded([head for head, _ in pairs], device, left=False)
        first = decoder_start(model)
        forced = first[1:]  # which tokenizers of models that have one write before the text as well
        pairs = [(head, tail[1:] if tail[:1] == forced else tail) for head, tail in pairs]
        longest = max(len(tail) for _, tail in pairs)
        # Padded on the right: what comes after a text does not change its likelihood, what comes before does.
        tails = [[*first, *tail[:-1]] + [0] * (longest - len(tail)) for _, tail in pairs]
        inputs = torch.tensor(tails, device=device)
        logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=inputs, **cache).logits
        logits = logits[:, len(first) - 1 :]
        rows = [row[: len(tail)] for row, (_, tail) in zip(logits, pairs, strict=True)]
    else:
        ids, mask = padded([[*head, *tail][:-1] for head, tail in pairs], device, left=True)
        mask = torch.cat([mask.new_ones(len(ids), before(start)), mask], dim=1)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, before(start) :]
        settings = {"position_ids": positions, "logits_to_keep": longest, **cache}
        logits = model(input_ids=ids, attention_mask=mask, **settings).logits
        rows = [row[-len(tail) :] for row, (_, tail) in zip(logits, pairs, strict=True)]
    return [_mean(row, tail) for row, (_, tail) in zip(rows, pairs, strict=True)]


def _mean(logits: torch.Tensor, tokens: Tokens) -> float:
    wanted = torch.tensor(tokens, device=logits.device)[:, None]
    return logits.float().log_softmax(-1).gather(-1, wanted).mean().item()
