"""How prompts and texts become token ids, for every backend that feeds a model itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import InputError
from ..records import Prompt

SCORED_TEXT = 512  # tokens of a text that are scored


class Encoding:
    """A tokenizer and what prompts need of it.

    Args:
        tokenizer: A transformers tokenizer.
        apart: Prompt and text go to different halves of the model (encoder and decoder).
    """

    def __init__(self, tokenizer: Any, apart: bool = False):
        self.tokenizer, self.apart = tokenizer, apart

    def prompt(self, text: str, chat: bool, begun: bool = False) -> list[int]:
        """Return a prompt's token ids; with `chat`, in the model's chat template where it has one.

        Args:
            text: The prompt.
            chat: Wrap it.
            begun: It goes on a text that has begun, so that it has no start.
        """
        if begun:
            return self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._tokens(text, self.wrapped(text, chat))["input_ids"] or self._start()

    def given(self, prompt: Prompt, chat: bool) -> tuple[list[int], list[int]]:
        """Return a prompt's tokens apart from its given text, and those of its given text."""
        whole = self.wrapped(prompt.text, chat)
        encoded = self._tokens(prompt.text, whole, return_offsets_mapping=True)
        spans = [(whole.find(text), whole.find(text) + len(text)) for text in prompt.given.values() if text in whole]
        rest: list[int] = []
        given: list[int] = []
        for token, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
            inside = any(start < last and end > first for first, last in spans)
            (given if inside else rest).append(token)
        return rest, given

    def pairs(self, prompts: list[str], texts: list[str], begun: bool = False) -> list[tuple[list[int], list[int]]]:
        """Return the token ids of each prompt (see `prompt`) and of the first 512 tokens of the text after it.

        Raises:
            InputError: For an empty text, which has no mean.
        """
        found = [
            self._apart(prompt, text) if begun else self.split(prompt, text)
            for prompt, text in zip(prompts, texts, strict=True)
        ]
        for prompt, (_, tail) in zip(prompts, found, strict=True):
            if not tail:
                raise InputError(f"cannot score an empty text (after the prompt {prompt[:60]!r})")
        return [(head, tail[:SCORED_TEXT]) for head, tail in found]

    def split(self, prompt: str, text: str, chat: bool = False) -> tuple[list[int], list[int]]:
        """Tokenise prompt and text together, as the model would write them, and cut where the prompt ends."""
        if self.apart:
            return self.prompt(prompt, chat), self.tokenizer(text).input_ids
        wrapped = self.wrapped(prompt, chat)
        whole = self._tokens(prompt, wrapped, text, return_offsets_mapping=True)
        cut = sum(1 for start, end in whole["offset_mapping"] if end <= len(wrapped))
        ids = whole["input_ids"]
        return ids[:cut] or self._start(), ids[cut:]

    def _apart(self, prompt: str, text: str) -> tuple[list[int], list[int]]:
        """Tokenise prompt and text each for itself: something else may stand between them."""
        head, tail = (self.tokenizer(part, add_special_tokens=False).input_ids for part in (prompt, text))
        return head, tail

    def _start(self) -> list[int]:
        """Return what stands before a first token: the start, else the end token."""
        start = self.tokenizer.bos_token_id
        return [start if start is not None else self.tokenizer.eos_token_id]

    def _tokens(self, text: str, wrapped: str, more: str = "", **settings: Any) -> Any:
        """Tokenise a prompt and what follows; what a chat template wrapped has its special tokens already."""
        return self.tokenizer(wrapped + more, add_special_tokens=wrapped == text, **settings)

    def wrapped(self, text: str, chat: bool) -> str:
        """Put a prompt in the chat template; its last line opens the answer."""
        if not chat or not self.tokenizer.chat_template:
            return text
        question, _, start = text.rpartition("\n") if "\n" in text else (text, "", "")
        message = [{"role": "user", "content": question}]
        return self.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True) + start


def written(tokenizer: Any, tokens: Sequence[int]) -> str:
    """Return the text of tokens that go on from a prompt, with the space before its first word.

    Tokenizers like Llama 2's and T5's take that space for the one that they put in front of every text: behind `The`,
    `▁film` and `film` would be the same.
    """
    text: str = tokenizer.decode(tokens, skip_special_tokens=True)
    spaced = len(tokens) > 0 and str(tokenizer.convert_ids_to_tokens([tokens[0]])[0]).startswith("▁")
    return f" {text}" if spaced and not text[:1].isspace() else text
