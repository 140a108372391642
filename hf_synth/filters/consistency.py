"""Consistency: a text stays where a judge finds in it the label that was asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..generators.base import Generator, Scorer
from ..models import resolve
from ..records import Completion, Example, Prompt
from ..run import Filter, Run
from ..settings import StudentConfig, SynthConfig
from ..task import Task, slots

if TYPE_CHECKING:
    from ..row_weights import Floats
    from ..trainers.weighted import WeightedTrainer

CONTENT_FREE = "N/A"  # what calibration takes for a text without content (https://huggingface.co/papers/2102.09690)
DIGITS = 4
ENTAILS = "entailment"
ANSWER: dict[str, Any] = {"max_new_tokens": 12, "stop": ("\n",), "temperature": 0.0, "chat": True}


def check_consistency(task: Task, config: SynthConfig) -> None:
    """Refuse a judge that does not fit the task, before anything is loaded.

    Raises:
        InputError: For settings that do not go together, or a judge that is nowhere or has other labels.
    """
    how, model = config.consistency, config.consistency_model
    trained = how in ("classifier", "nli")
    if trained and model is None:
        raise InputError(f"`consistency: {how}` needs `consistency_model`, a folder or Hub id of a trained classifier")
    if model is not None and not trained:
        raise InputError(f"`consistency_model` belongs to `consistency: classifier` or `nli`; got {how}")
    if config.min_confidence and how in ("none", "round_trip"):
        raise InputError(f"`min_confidence` needs a judge with probabilities: self, classifier or nli; got {how}")
    if config.calibrate and how != "self":
        raise InputError(f"`calibrate` belongs to `consistency: self`; got {how}")
    if how == "none":
        return
    task.needs_kind(*(("single",) if how == "nli" else ("single", "pair")), what=f"`consistency: {how}`")
    if how == "round_trip" and len({words.casefold() for words in task.labels.values()}) < len(task.labels):
        raise InputError(f"`consistency: round_trip`: two labels have the same words: {list(task.labels.values())!r}")
    if how == "nli" and slots(config.hypothesis, "hypothesis") != ["label"]:
        raise InputError(f"`hypothesis` needs the slot {{label}} and no other; got {config.hypothesis!r}")
    if model is not None:
        _check_judge(task, model, how)


def _check_judge(task: Task, model: str, how: str) -> None:
    from ..student import labels_of

    names = labels_of(model)
    if how == "classifier" and set(names) != set(task.labels):
        raise InputError(
            f"`consistency_model`: the labels of {model!r} are {names!r}, those of {task.name} {list(task.labels)!r}"
        )
    if how == "nli" and [name.casefold() for name in names].count(ENTAILS) != 1:
        raise InputError(f"`consistency_model`: none of the labels of {model!r} is `{ENTAILS}`: {names!r}")


def check_scores(generator: Generator, config: SynthConfig) -> None:
    """Refuse a generator that cannot tell how likely a text is, where it must judge by that.

    Raises:
        InputError: If it is one.
    """
    if config.consistency == "self" and not isinstance(generator, Scorer):
        raise InputError(
            f"`consistency: self` scores texts, which {generator.name} cannot; take a local model, or `round_trip`"
        )


def consistency(run: Run, config: SynthConfig) -> tuple[Filter, ...]:
    """Return the filters that were asked for: one, or none.

    - `self`: the generator itself, as in ZeroGen's prompting (https://huggingface.co/papers/2202.07922): the label
      under whose scoring prompt the text is likeliest.
    - `classifier`: one trained on real rows (the papers' oracle) or on other ones.
    - `nli`: the label whose hypothesis a text entails most (https://huggingface.co/papers/1909.00161).
    - `round_trip`: the generator, asked which of the labels a text has.
    """
    if config.consistency == "none":
        return ()
    if config.consistency == "round_trip":
        return (RoundTrip(run),)
    judges = {"self": by_likelihood, "classifier": by_classifier, "nli": by_entailment}
    return (Consistent(run, judges[config.consistency](run, config), config.min_confidence),)


@dataclass(frozen=True)
class Judge:
    """Gives texts the probabilities of the task's labels.

    Attributes:
        facts: What decides them besides the texts, JSON-able.
        probabilities: Examples -> [N, K].
    """

    facts: list[Any]
    probabilities: Callable[[Sequence[Example]], Floats]


class Consistent:
    """Drop what a judge gives another label, or its own with too little probability.

    Args:
        run: Records the verdicts.
        judge: See `Judge`.
        least: Probability that a text's own label needs.
    """

    def __init__(self, run: Run, judge: Judge, least: float):
        self.run, self.judge, self.least = run, judge, least

    def __call__(self, examples: Sequence[Example]) -> list[str | None]:
        """Return `inconsistent` or `unsure` for what is dropped."""
        if not examples:
            return []
        texts = [[*example.fields.values(), example.target] for example in examples]
        verdicts = self.run.once("consistency", [*self.judge.facts, texts], lambda: self._verdicts(examples))
        return [self._reason(example, *verdict) for example, verdict in zip(examples, verdicts, strict=True)]

    def _reason(self, example: Example, label: str, own: float) -> str | None:
        return "inconsistent" if label != example.target else "unsure" if own < self.least else None

    def _verdicts(self, examples: Sequence[Example]) -> list[tuple[str, float]]:
        """Return each text's likeliest label and the probability of its own."""
        names = list(self.run.task.labels)
        return [
            (names[int(row.argmax())], round(float(row[names.index(str(example.target))]), DIGITS))
            for row, example in zip(self.judge.probabilities(examples), examples, strict=True)
        ]


def by_likelihood(run: Run, config: SynthConfig) -> Judge:
    """Judge by the generator: the softmax of a text's mean log-probability per token under each scoring prompt."""
    task, generator = run.task, run.generator
    assert isinstance(generator, Scorer)

    def probabilities(examples: Sequence[Example]) -> Floats:
        given = [example.fields[task.columns[0]] if task.kind == "pair" else "" for example in examples]
        texts = [example.fields[task.generated] for example in examples]
        scores = label_scores(generator, task, given, texts, config.batch_size)
        if config.calibrate:
            scores -= free_scores(generator, task, given, config.batch_size)
        return _softmax(scores)

    prompts = [task.template(label, scoring=True) for label in task.labels]
    return Judge(["self", generator.digest, config.calibrate, dict(task.labels), prompts], probabilities)


def label_scores(generator: Scorer, task: Task, given: Sequence[str], texts: Sequence[str], batch_size: int) -> Floats:
    """Return how likely each text is under each label's scoring prompt, nats per token, [N, K].

    Args:
        generator: Scores them.
        task: Its scoring prompts.
        given: Of pairs the given column; otherwise empty texts.
        texts: What is scored.
        batch_size: Texts at once.
    """
    import numpy as np

    columns = []
    for label in task.labels:
        prompts = [task.render(label, opening=text, scoring=True) for text in given]
        columns.append(generator.score(prompts, texts, batch_size=batch_size))
    return np.asarray(columns).T


def free_scores(generator: Scorer, task: Task, given: Sequence[str], batch_size: int) -> Floats:
    """Return how likely a text without content is under each label's scoring prompt, for calibration, [N, K]."""
    distinct = {text: at for at, text in enumerate(dict.fromkeys(given))}
    free = label_scores(generator, task, [*distinct], [CONTENT_FREE] * len(distinct), batch_size)
    return free[[distinct[text] for text in given]]


def by_classifier(run: Run, config: SynthConfig) -> Judge:
    """Judge by a classifier of the task's labels that is trained already."""
    task, student, trainer, digest = run.task, StudentConfig(), *_trained(config)

    def probabilities(examples: Sequence[Example]) -> Floats:
        import numpy as np

        from ..classifier import log_probabilities, rows_of

        with _no_bars():
            return np.exp(log_probabilities(trainer(), task, rows_of(task, examples), student))

    return Judge(["classifier", digest, list(task.labels)], probabilities)


def by_entailment(run: Run, config: SynthConfig) -> Judge:
    """Judge by how likely a text entails the hypothesis that it has a label (of each label on its own)."""
    task, student, trainer, digest = run.task, StudentConfig(), *_trained(config)
    hypotheses = [config.hypothesis.format(label=words) for words in task.labels.values()]

    def probabilities(examples: Sequence[Example]) -> Floats:
        from datasets import Dataset

        from ..student import encode

        pairs = [(example.fields[task.generated], hypothesis) for example in examples for hypothesis in hypotheses]
        premises, claims = zip(*pairs, strict=True)
        rows = Dataset.from_dict({"premise": premises, "hypothesis": claims, "label": [0] * len(pairs)})
        judge = trainer()
        names = [judge.model.config.id2label[at].casefold() for at in range(judge.model.config.num_labels)]
        with _no_bars():
            data = encode(rows, judge.processing_class, ("premise", "hypothesis"), "label", student.max_length)
            logits = judge.predict(data).predictions
        return _softmax(logits)[:, names.index(ENTAILS)].reshape(len(examples), len(hypotheses))

    return Judge(["nli", digest, hypotheses, list(task.labels)], probabilities)


def _trained(config: SynthConfig) -> tuple[Callable[[], WeightedTrainer], str]:
    """Return what loads the judge, the first time it is called, and the sha256 of its weights."""
    source = resolve(str(config.consistency_model))

    @cache
    def loaded() -> WeightedTrainer:
        from ..classifier import load

        return load(source.path, StudentConfig())

    return loaded, source.sha256


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep `datasets` from drawing a progress bar for each block of texts."""
    from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


def _softmax(scores: Any) -> Floats:
    import numpy as np

    from ..classifier import log_softmax

    return np.exp(log_softmax(scores))


class RoundTrip:
    """Drop texts of which the generator, asked for their label, names another or none.

    Args:
        run: Asks, under the stage `round_trip`.
    """

    def __init__(self, run: Run):
        self.run = run
        # Words are what is asked for; a name counts where it is no part of another label's: `1` is none of `1 star`.
        said = {label: words.casefold() for label, words in run.task.labels.items()}
        parts = {label: re.findall(r"\w+", words) for label, words in said.items()}
        own = {x.casefold(): x for x in said if not any(x.casefold() in parts[other] for other in said if other != x)}
        self.names: Mapping[str, str] = own | {words: label for label, words in said.items()}
        longest_first = sorted(self.names, key=len, reverse=True)
        self.pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")

    def __call__(self, examples: Sequence[Example]) -> list[str | None]:
        """Return `inconsistent` or `unreadable` for what is dropped."""
        # Without a cell: what was trained beside the generator for a label would answer for that label.
        prompts = [Prompt(self.question(one), attributes={"row": str(at)}) for at, one in enumerate(examples)]
        answers = self.run.complete(prompts, self.parse, stage="round_trip", required=False, **ANSWER)
        found = {int(answer.prompt.attributes["row"]): answer.target for answer in answers}
        return [
            "unreadable" if at not in found else "inconsistent" if found[at] != example.target else None
            for at, example in enumerate(examples)
        ]

    def question(self, example: Example) -> str:
        """Return the question for a text's label."""
        task = self.run.task
        shown = "\n".join(f'{column.capitalize()}: "{example.fields[column]}"' for column in task.columns)
        return f"{task.description}\n{shown}\nAnswer with one of: {', '.join(task.labels.values())}.\nAnswer:".lstrip()

    def parse(self, prompt: Prompt, completion: Completion) -> Example | str:
        """Return the label that an answer names first, by its name or its words."""
        named = self.pattern.search(completion.text.casefold())
        label = named and self.names[named[0]]
        return Example({"text": completion.text}, label, None, prompt) if label else "unreadable"
