"""`Task`: everything that is known of a task, read from YAML. No method names a task, no task names a method."""

from __future__ import annotations

import string
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from .config import Share, strict
from .errors import InputError, unknown
from .sources import Corpus, Opening, Reference

__all__ = ["Corpus", "Opening", "Reference", "Task", "slots"]

# Columns of provenance, then of what trainings and inspections write beside rows.
RESERVED = frozenset({"index", "prompt_id", "attributes", "logprob", "model", "model_sha256"}) | frozenset(
    {"hf_synth_weight", "weight", "synthetic", "reason", "score"}
)
Kind = Literal["single", "pair", "relation", "multi_label", "tokens", "qa", "parse"]
GIVEN_FIRST = ("pair", "qa")  # kinds of two text columns, the first of which is given
BEGUN = ("single", "pair", "relation")  # kinds whose texts may be told their first words
EMPTY = ("multi_label", "tokens")  # kinds whose texts may have no label
NONE = "none"  # the cell of texts that have none of the labels


@strict
class Task:
    """A labelled text task.

    Attributes:
        name: Short name.
        labels: Label name -> the words that stand for it in prompts. A plain list uses the names as words.
        prompt: What the generator continues; one template, or one per label. Slots: `{label}` (the label's words),
            `{word}`, `{opening}`, for pairs and questions the given column's name, and as the kind has them
            `{mentions}`, `{answer}`, the `{sentence}` it stands in and the same with a gap, `{cloze}`, or the names
            of `marks`. It ends with an open quote.
        words: Label name -> verbalizers; each prompt draws one for its slot `{word}`. Of `tokens`, the names of
            entities: what a text must mention (`{mentions}`), and what is tagged wherever it occurs. Of `qa`, the
            first words of questions, one of which stands at the prompt's end.
        kind: `single` text, `pair` of texts, `relation` (a text about two marked entities), `multi_label` (a set of
            labels), `tokens` (entities as BIO tags), `qa` (the answer is a span of a given context) or `parse`
            (nested brackets around a request's words).
        columns: Text columns; of a pair, and of context and question, the first is given and the last is generated.
        description: One sentence for people.
        language: Language codes for the card; nothing is assumed.
        opening: See `Opening`.
        stop: Strings that end a text.
        ending: Appended after the stop string; a text that did not stop is then refused (questions end with `?`).
        min_words: Shortest text kept, in words; of scripts without spaces (Chinese, Japanese, Thai) in characters.
        max_new_tokens: Token limit of a text.
        debias: Of `single` and `pair`: steer away from the other labels' prompts; `None` is yes for pairs.
        chat: Wrap prompts in the model's chat template where it has one; the prompt's last line opens the answer.
        score_prompt: Template for labelling by likelihood; defaults to `prompt` with an empty opening.
        tuning_prompt: Template for a generator that learns, or has learnt, from rows, which tell no opening and no
            word; defaults to `score_prompt`, else `prompt`, which then stand outside the chat template.
        label_column: Name of the label column.
        shares: Label name -> how many rows it has beside the others (`{spam: 1, ham: 4}`); where left out, all have as
            many. Where texts without a label are asked for, `none` has a share too.
        corpus: Real unlabelled text, where rows are found in one.
        queries: Label name -> what to look for in a corpus; the label's verbalizers, or its words, where left out.
        example: Template of an example shown in a prompt; slots are the text columns, `{label}` and `{opening}`.
        mismatched: Of `pair`: label name -> the label as whose its texts are written, to a given text alike to the one
            they then stand beside; what fits one does not fit the other, and a small model cannot miss on purpose.
        control: Control code that a generator trained with such (CTRL) expects in front.
        starts: First words, of all texts or label name -> those of its texts, one of which each text begins with. They
            stand in the prompt already. Of `single`, `pair` and `relation`, where they may have the marks' slots.
        repetition: Label name -> factors below and above 1 that make the given text's tokens likelier (reward) and
            tokens already there rarer (penalty).
        ranking: Label name -> which of its texts a method that ranks them keeps: the `likely` (where left out), the
            `unlikely` (ungrammatical sentences), or any, at `random`.
        attributes: Name of an attribute -> its values, or label name -> values, that conditions a text. Of `parse`,
            the slots, and the values that each intent's take.
        mentions: How many labels, entities or slots a text is asked for at least and at most.
        together: Of `multi_label`: labels that one text can have; any can where it is left out.
        empty: Template of texts that have none of the labels; without it there are none.
        marks: Of `relation`: attribute -> the mark that stands in a text in place of its value.
        finder: Of `qa`: what finds answers in a context, `rules` or the folder of a trained student of entities; the
            labels are the kinds of answers.
        annotate: Of `tokens`: how a text says where its entities are. `mentions` finds those it was asked for and all
            other `words`, `markup` reads `<label>name</label>`, `json` reads {"text", "entities": [{"text", "type"}]},
            to which a generator that takes JSON schemas is held, in texts of `empty` too.
        reference: See `Reference`.
    """

    name: str
    labels: Mapping[str, str]
    prompt: str | Mapping[str, str]
    words: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    kind: Kind = "single"
    columns: tuple[str, ...] = ("text",)
    description: str = ""
    language: tuple[str, ...] = ()
    opening: Opening | None = None
    stop: tuple[str, ...] = ('"',)
    ending: str = ""
    min_words: int = Field(3, ge=1)
    max_new_tokens: int = Field(40, ge=1)
    debias: bool | None = None
    chat: bool = False
    score_prompt: str | Mapping[str, str] | None = None
    tuning_prompt: str | Mapping[str, str] | None = None
    label_column: str = "label"
    shares: Mapping[str, Share] = Field(default_factory=dict)
    corpus: Corpus | None = None
    queries: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    example: str | None = None
    mismatched: Mapping[str, str] = Field(default_factory=dict)
    control: str = ""
    starts: tuple[str, ...] | Mapping[str, tuple[str, ...]] = ()
    repetition: Mapping[str, tuple[float, float]] = Field(default_factory=dict)
    ranking: Mapping[str, Literal["likely", "unlikely", "random"]] = Field(default_factory=dict)
    attributes: Mapping[str, tuple[str, ...] | Mapping[str, tuple[str, ...]]] = Field(default_factory=dict)
    mentions: tuple[int, int] = (1, 1)
    together: tuple[tuple[str, ...], ...] = ()
    empty: str | None = None
    marks: Mapping[str, str] = Field(default_factory=dict)
    finder: str = "rules"
    annotate: Literal["mentions", "markup", "json"] = "mentions"
    reference: Reference | None = None

    def __post_init__(self) -> None:
        if not self.name.strip() or {"/", "\\"} & {*self.name} or self.name.startswith("."):
            raise InputError(f"`name` becomes part of folders' names: no / in it, no dot in front; got {self.name!r}")
        least, wanted = (1, "a name") if self.kind in ("tokens", "qa") else (2, "two names")
        if len(self.labels) < least:
            raise InputError(f"`labels` needs {wanted} or more; got {list(self.labels)!r}")
        if self.debias:
            self.needs_kind("single", "pair", what="`debias: true`")
        self._check_columns()
        self._check_empty()
        if not self.stop or "" in self.stop:
            raise InputError(f"`stop` needs one non-empty string or more; got {list(self.stop)!r}")
        if self.words and not all(self.words.get(name) for name in self.labels):
            raise InputError(f"`words` needs a word or more for each of {[*self.labels]}; got {dict(self.words)!r}")
        for key in ("prompt", "score_prompt", "tuning_prompt"):
            self._check_template(key, getattr(self, key))
        self._check_slots("empty", self.empty or "", ["opening"] if self.opening else [])
        self._check_labels()
        self._check_slots("example", self.example or "", [*self.columns, "label", "opening"])
        for key, known in (("columns", self.columns), ("labels", tuple(self.labels))):
            for name in getattr(self.reference, key) if self.reference else ():
                if name not in known:
                    raise unknown(f"`reference.{key}`: a name", name, known)

    def _check_labels(self) -> None:
        by_label: dict[str, Mapping[str, Any]] = {
            "words": self.words,
            "queries": self.queries,
            "repetition": self.repetition,
            "ranking": self.ranking,
            "mismatched": {**self.mismatched, **dict.fromkeys(self.mismatched.values())},
            "starts": self.starts if isinstance(self.starts, Mapping) else {},
        }
        by_label |= {f"attributes.{key}": own for key, own in self.attributes.items() if isinstance(own, Mapping)}
        by_label |= {"together": dict.fromkeys(name for names in self.together for name in names)}
        if self.mismatched and (self.kind != "pair" or set(self.mismatched) & set(self.mismatched.values())):
            raise InputError(
                "`mismatched` is for pairs, and the labels as which texts are written are others than its own"
            )
        if self.starts and self.kind not in BEGUN:
            raise InputError(f"`starts` is for tasks of kind {', '.join(BEGUN)}; this one is of kind {self.kind!r}")
        for start in {start for label in self.labels for start in self.begins(label) if self.marks}:
            self._check_slots("starts", start, [*self.marks])
        for key, mapping in by_label.items():
            for name in mapping:
                if name not in self.labels:
                    raise InputError(f"`{key}`: {unknown('a label', name, self.labels)}")
        if self.shares and {*self.shares} != {*self.cells}:
            raise InputError(f"`shares` needs a number for each of {list(self.cells)!r}; got {dict(self.shares)!r}")

    def _check_columns(self) -> None:
        wanted = 2 if self.kind in GIVEN_FIRST else 1
        if len(self.columns) != wanted:
            raise InputError(f"a {self.kind} task has {wanted} text column(s); `columns` holds {list(self.columns)!r}")
        if self.kind in GIVEN_FIRST and self.opening is None:
            raise InputError(f"a {self.kind} task needs an `opening`: where its first text comes from")
        names = [*self.columns, self.label_column]
        if len(set(names)) < len(names) or set(names) & {*RESERVED, ""}:
            raise InputError(f"columns need names of their own, none of {', '.join(sorted(RESERVED))}; got {names!r}")
        own = {"label": True, "word": self.words or self.marks, "opening": self.marks, "start word": self.marks}
        own |= dict.fromkeys(("answer", "sentence", "cloze"), self.kind == "qa")
        for name in (*self.columns[:-1], *self.marks):
            if own.get(name):  # it would stand in that one's place, and no prompt tell the label
                raise InputError(f"{name!r} means something else in prompts: call the column or mark otherwise")

    def _check_empty(self) -> None:
        """Refuse texts without a label where each has one, and a label that would be taken for having none."""
        if self.kind not in EMPTY and self.empty:
            raise InputError(f"`empty` is for tasks of kind {', '.join(EMPTY)}; this one is of kind {self.kind!r}")
        if self.kind in EMPTY and NONE in self.labels:
            raise InputError(f"`labels`: {NONE!r} is what texts without a label are counted as; name it otherwise")

    def _check_template(self, key: str, template: str | Mapping[str, str] | None) -> None:
        if isinstance(template, Mapping):
            for name in template:
                if name not in self.labels:
                    raise InputError(f"`{key}`: {unknown('a label', name, self.labels)}")
            for name in self.labels:
                if name not in template:
                    raise InputError(f"`{key}` has no template for the label {name!r}")
        allowed = [
            "label",
            *(["word"] if self.words else []),
            *(["opening"] if self.opening else []),
            *self.columns[:-1],
            *self.marks,
            *(["mentions"] if self.kind in ("multi_label", "tokens", "parse") else []),
            *(["answer", "sentence", "cloze"] if self.kind == "qa" else []),
        ]
        for text in template.values() if isinstance(template, Mapping) else [template or ""]:
            self._check_slots(key, text, allowed)
        telling = {"label", "word", "mentions", "answer", "cloze"}
        one = key == "prompt" and len(set(self.labels) - set(self.mismatched)) <= 1  # the others' texts are its own
        if isinstance(template, str) and not one and not telling & set(slots(template, key)):
            raise InputError(f"`{key}` needs the slot {{label}}, or one template per label; got {template!r}")

    def _check_slots(self, key: str, template: str, allowed: Sequence[str]) -> None:
        for slot in slots(template, key):
            if slot not in allowed:
                raise InputError(f"`{key}`: {unknown('a slot', slot, allowed)}")

    @property
    def cells(self) -> tuple[str, ...]:
        """What is counted and balanced: the label names, in order, and `none` where texts without one are asked."""
        return (*self.labels, *([NONE] if self.empty else []))

    @property
    def weights(self) -> dict[Hashable, float]:
        """How many rows each cell has beside the others."""
        return {cell: self.shares.get(cell, 1.0) for cell in self.cells}

    @property
    def generated(self) -> str:
        """The column that the main prompt fills."""
        return self.columns[-1]

    @property
    def steers_away(self) -> bool:
        """Whether prompts steer away from the other labels' prompts."""
        return self.kind == "pair" if self.debias is None else self.debias

    def begins(self, label: str) -> tuple[str, ...]:
        """Return the words with which a label's texts begin; nothing where they begin as they like."""
        return self.starts.get(label, ()) if isinstance(self.starts, Mapping) else self.starts

    def template(self, label: str, *, scoring: bool = False) -> str:
        """Return the (scoring) template of a label, slots unfilled."""
        template = (self.score_prompt or self.prompt) if scoring else self.prompt
        return template[label] if isinstance(template, Mapping) else template

    def render(self, label: str, *, opening: str = "", word: int = 0, scoring: bool = False) -> str:
        """Fill the (scoring) prompt of a label.

        Args:
            label: A label name.
            word: Which of the label's verbalizers stands in `{word}`, counted round.
            opening: The opening; of a pair also the given column.
            scoring: Use the scoring template.
        """
        text = self.template(label, scoring=scoring)
        values = {"label": self.labels[label], "opening": opening}
        if self.words:
            values["word"] = self.words[label][word % len(self.words[label])]
        values |= {"mentions": values["label"], **self.marks} | dict.fromkeys(self.columns[:-1], opening)
        if self.kind == "qa":
            values |= {"answer": values["label"], "sentence": opening, "cloze": opening}
        return text.format(**values)

    def encode(self, target: Any) -> str:
        """Check a label name and return it.

        Raises:
            InputError: If it is not one of the task's labels.
        """
        if target not in self.labels:
            raise unknown(f"a label of {self.name}", target, self.labels)
        return target

    def needs_kind(self, *kinds: Kind, what: str) -> None:
        """Raise `InputError` unless the task is of one of these kinds; `what` names who asks."""
        if self.kind not in kinds:
            raise InputError(f"{what} is for tasks of kind {', '.join(kinds)}; {self.name!r} is of kind {self.kind!r}")


def slots(template: str, where: str) -> list[str]:
    """Return the names between braces.

    Raises:
        InputError: If the template's braces do not match.
    """
    try:
        parts = [part for part in string.Formatter().parse(template) if part[1] is not None]
        if any(spec or conversion for _, _, spec, conversion in parts):
            raise ValueError("a slot is a name alone")
        return [str(name) for _, name, _, _ in parts]
    except ValueError as error:
        raise InputError(f"`{where}`: {error} in {template!r} (write {{{{ for a brace)") from None
