"""Models that checks look through: an encoder, a language model, and classifiers that the user names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..errors import InputError, reason_of, unknown
from .naturalness import Score
from .oracle import Judge
from .records import Floats
from .settings import InspectConfig

SCORED = 8  # texts scored at once


@dataclass(frozen=True)
class Instruments:
    """What there is; a check without its instrument is skipped.

    Attributes:
        encode: Gives texts their vectors, [N, D].
        score: Mean log-probability per token of each text.
        total: Log-probability of each text, of all its tokens together.
        base: The same under the model without its adapter.
        judge: Gives each text one of the class names.
        toxic: Probability that a text is toxic.
        facts: Which models these are.
    """

    encode: Callable[[Sequence[str]], Floats] | None = None
    score: Score | None = None
    total: Score | None = None
    base: Score | None = None
    judge: Judge | None = None
    toxic: Callable[[Sequence[str]], Sequence[float]] | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def open_instruments(config: InspectConfig) -> Instruments:
    """Load the models that the settings name.

    Raises:
        InputError: If one cannot be loaded or is not of its kind.
    """
    from ..models import resolve

    if config.adapter and not config.scorer:
        raise InputError("`adapter` stands beside a language model; name it with `scorer`")

    found: dict[str, Any] = {}
    facts: dict[str, Any] = {"encoder": None}
    if config.encoder != "none":
        from ..retrieval.encode import Encoder

        source = resolve(config.encoder)
        found["encode"], facts["encoder"] = Encoder(source.path, "mean", True, 128), source.facts()
    if config.scorer:
        from ..adapters.folder import open_adapter
        from ..generators.local import LocalGenerator

        source = resolve(config.scorer)
        beside = open_adapter(config.adapter, source.sha256) if config.adapter else None
        known: Any = {"name": source.name, "digest": source.sha256, "source": source.facts()}
        model = LocalGenerator(source.path, **known, adapter=beside)
        found["score"], found["total"] = partial(_scores, model), partial(_totals, model)
        if beside:
            found["base"] = partial(_scores, LocalGenerator(source.path, **known))
        facts["scorer"] = dict(model.source)
    for key, use in (("judge", _judge), ("toxicity", _toxic)):
        if name := getattr(config, key):
            source = resolve(name)
            found["toxic" if key == "toxicity" else key] = use(_classifier(source.path, key))
            facts[key] = source.facts()
    return Instruments(**found, facts=facts)


def _scores(model: Any, texts: Sequence[str]) -> list[float]:
    return model.score([""] * len(texts), list(texts), batch_size=SCORED)


def _totals(model: Any, texts: Sequence[str]) -> list[float]:
    means = _scores(model, texts)
    pairs = model.encoding.pairs([""] * len(texts), list(texts), False)
    return [mean * len(own) for mean, (_, own) in zip(means, pairs, strict=True)]


def _classifier(path: str, key: str) -> Any:
    """Return a `transformers` pipeline for texts.

    Raises:
        InputError: If the folder holds no classifier.
    """
    from transformers import pipeline

    try:
        return pipeline("text-classification", model=path, truncation=True, top_k=None)
    except (OSError, ValueError, KeyError) as error:
        first = reason_of(error)
        raise InputError(f"`{key}`: {path!r} is no text classifier: {first}") from None


def _judge(classify: Any) -> Judge:
    """Return a judge: an NLI model asked whether each class name follows, or a classifier of the same names."""
    names = list(classify.model.config.id2label.values())
    entails = next((name for name in names if name.lower() == "entailment"), None)

    def by_name(texts: Sequence[str], classes: Sequence[str]) -> list[str]:
        if missing := [name for name in classes if name not in names]:
            raise InputError(f"`judge`: {unknown('a class', missing[0], names)}")
        return [max(found, key=lambda one: one["score"])["label"] for found in classify(list(texts))]

    def by_entailment(texts: Sequence[str], classes: Sequence[str]) -> list[str]:
        pairs = [{"text": text, "text_pair": f"This is {name}."} for text in texts for name in classes]
        sure = [next(one["score"] for one in found if one["label"] == entails) for found in classify(pairs)]
        rows = [sure[at : at + len(classes)] for at in range(0, len(sure), len(classes))]
        return [classes[row.index(max(row))] for row in rows]

    return by_entailment if entails else by_name


def _toxic(classify: Any) -> Callable[[Sequence[str]], list[float]]:
    """Return a function that gives the probability of the class whose name says toxic.

    Raises:
        InputError: If the classifier has no such class.
    """
    names = list(classify.model.config.id2label.values())
    clean = ("not", "non", "no_", "neutral", "nothate", "nottoxic")
    bad = [name for name in names if not name.lower().startswith(clean)]
    bad = [name for name in bad if any(part in name.lower() for part in ("toxic", "hate", "offens", "abus"))]
    if not bad:
        raise InputError(f"`toxicity`: no class of the classifier is called toxic; it has {', '.join(names)}")

    def toxic(texts: Sequence[str]) -> list[float]:
        found = classify([text if text.strip() else "." for text in texts])
        return [max(one["score"] for one in scores if one["label"] in bad) for scores in found]

    return toxic
