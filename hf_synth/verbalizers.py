"""Verbalizers: words for each label, found by the generator, among an encoder's neighbours or by class prototypes."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from .elicit import as_list, json_items
from .errors import InputError
from .filters.surface import Unique
from .journal import digest
from .models import resolve
from .parse import labelled
from .records import Completion, Example, Prompt
from .reference import check_corpus, corpus_texts
from .run import Run
from .settings import SynthConfig
from .task import Corpus, Task, slots

if TYPE_CHECKING:
    from .row_weights import Floats

LISTS = 24  # asked of the generator for each label
LONGEST = 3  # words of a phrase in a list
TEXTS = 32  # written of each label to learn its prototype from
FREQUENT = 20_000  # candidates: the most frequent words of a vocabulary or a corpus
READ = 20_000  # texts of a corpus that words are counted in
DECODING: dict[str, Any] = {"top_p": 0.9, "top_k": 0, "chat": False}

Words = Mapping[str, Sequence[str]]
# Two lists of other words show what is wanted: small models do not follow an instruction to make one.
ASK = """Words close in meaning to "cold": ice, frozen, chilly, winter, frosty, freezing
Words close in meaning to "the sea": ship, sailor, waves, harbour, a storm, fishing
Words close in meaning to "{word}":"""
BULLET = re.compile(r"\s*(?:[-*•]|\(?\d+[.)])\s*")


def check_words(task: Task, config: SynthConfig) -> None:
    """Refuse tasks whose prompts have no place for words, and corpora of test data.

    Raises:
        InputError: If the words would go nowhere or must not come from there.
    """
    if config.expand_words == "none":
        return
    task.needs_kind("single", "pair", what=f"`expand_words: {config.expand_words}`")
    rewritten(task)
    if config.expand_words == "prototypes":
        task.needs_kind("single", what="`expand_words: prototypes`")
    if word_sources(task, config):
        check_corpus(task)


def word_sources(task: Task, config: SynthConfig) -> list[Corpus]:
    """Return the real corpus whose words are candidates, if there is one."""
    return [task.corpus] if task.corpus and config.expand_words in ("neighbours", "prototypes") else []


def expanded(run: Run, config: SynthConfig) -> Task:
    """Return the run's task with the words that were asked for; they are recorded and noted.

    - `model`: the generator lists words for each of a label's words; a word counts as often as it is listed.
    - `neighbours` (KPT, https://huggingface.co/papers/2108.02035, section 3.2): frequent words, by the cosine of their
      vector with the mean vector of the label's words.
    - `prototypes` (ProtoVerb, https://huggingface.co/papers/2203.09770, section 3): frequent words, by that cosine and
      the one with a prototype that is learnt from texts which the generator writes of each label. As the paper
      combines prototypes with words, both are standardised and averaged.

    `chosen` then takes the most relevant ones.
    """
    task, how = run.task, config.expand_words
    if how == "none":
        return task
    seeds = {label: list(task.words.get(label) or (task.labels[label],)) for label in task.labels}
    written = {"model": _lists, "neighbours": lambda run, seeds: (), "prototypes": _texts}[how](run, seeds)
    texts = [(str(example.cell), *example.fields.values()) for example in written]
    source = None if how == "model" else resolve(config.words_model)
    corpus = next(iter(word_sources(task, config)), None)
    common = corpus_words(corpus, run.seed) if corpus else None
    read = None if common is None else digest(common)  # what the corpus holds now, not its name
    inputs = [how, config.words_per_label, seeds, texts, source and source.sha256, read, run.seed]

    def compute() -> Words:
        if source is None:
            candidates, relevance = _listings(texts, seeds)
        else:
            candidates, relevance = _vectors(source.path, common, texts, seeds, run.seed)
        return chosen(candidates, relevance, seeds, config.words_per_label)

    words = run.once("words", inputs, compute)
    run.note("words", words)
    return replace(rewritten(task), words={label: tuple(own) for label, own in words.items()})


def rewritten(task: Task) -> Task:
    """Return the task with the slot `{word}` in every prompt: where a prompt has none, in place of `{label}`.

    Texts are still scored under the label's own words.

    Raises:
        InputError: If a prompt has neither slot.
    """

    def place(template: str) -> str:
        found = slots(template, "prompt")
        if "word" not in found and "label" not in found:
            raise InputError(
                f"`expand_words` needs the slot {{word}} or {{label}} in every prompt of {task.name!r}; "
                f"got {template!r}"
            )
        return template if "word" in found else template.replace("{label}", "{word}")

    one = task.prompt
    prompt = place(one) if isinstance(one, str) else {label: place(text) for label, text in one.items()}
    words = task.words or {label: (word,) for label, word in task.labels.items()}
    return replace(task, prompt=prompt, words=words, score_prompt=task.score_prompt or task.prompt)


def chosen(candidates: Sequence[str], relevance: Floats, seeds: Words, count: int) -> dict[str, list[str]]:
    """Return each label's words: its own first word, then the most relevant ones.

    A word stays where it is at least as relevant to the label as to the others, of which the generalised mean is taken
    (KPT's relevance refinement: tf-idf of at least 1). What is left under two labels is nobody's, and of the forms of
    a word (`sport`, `sports`) only the most relevant is taken.

    Args:
        candidates: Words.
        relevance: Of each word to each label, [N, K]; not above 0 where there is none.
        seeds: The labels' own words.
        count: Words wanted of each label.
    """
    order = 1 + 10 / (len(seeds) - 2 + 0.01)
    kept: dict[str, list[str]] = {}
    for at, label in enumerate(seeds):
        own, others = relevance[:, at], _mean(np.delete(relevance, at, axis=1).clip(min=0), order)
        ranked = np.argsort(-own, kind="stable")
        kept[label] = [candidates[place] for place in ranked if own[place] > 0 and own[place] >= others[place]]
    firsts = {words[0].casefold() for words in seeds.values()}
    claims = Counter(word.casefold() for words in kept.values() for word in words)
    found = {}
    for label, words in kept.items():
        found[label] = [seeds[label][0]]
        for word in words:
            if len(found[label]) == count:
                break
            alone = claims[word.casefold()] == 1 and word.casefold() not in firsts
            if alone and not any(_one_word(word, other) for other in found[label]):
                found[label].append(word)
    return found


def _mean(values: Floats, order: float) -> Floats:
    """Return the generalised mean over each row, [N]; for two labels the order is 1001, so rows are scaled first."""
    largest = values.max(axis=1, keepdims=True).clip(min=1e-12)
    return ((values / largest) ** order).mean(axis=1) ** (1 / order) * largest[:, 0]


def _one_word(word: str, other: str) -> bool:
    """Tell whether two words are forms of one: alike but for the end of the shorter."""
    a, b = sorted((word.casefold(), other.casefold()), key=len)
    return b.startswith(a[: max(3, len(a) - 1)])


def listed(text: str) -> list[str]:
    """Return the words and phrases of a list, whatever it looks like; numbers, quotes and explanations go."""
    found = []
    for part in re.split(r"[\n,;]", text):
        bullet = BULLET.match(part)
        item = re.split(r"[(:]| - ", part[bullet.end() :] if bullet else part)[0].strip(" \t\"'“”‘’.!?*`_")
        if bullet and item[1:].islower():  # a capital that begins a line
            item = item.lower()
        words = item.split()
        if 0 < len(words) <= LONGEST and all(
            re.fullmatch(r"[^\W\d_][^\W\d_'’-]*(?:['’-][^\W\d_]+)*", w) for w in words
        ):
            found.append(" ".join(words))
    return list({item.casefold(): item for item in reversed(found)}.values())[::-1]


def _lists(run: Run, seeds: Words) -> Iterator[Example]:
    """Ask for lists; what holds no word is dropped as `no list`."""

    def parse(prompt: Prompt, completion: Completion) -> Example | str:
        if not (items := listed("\n".join(json_items(completion)))):
            items = listed(completion.text)
            items = items[:-1] if completion.finish == "length" else items  # the last one was cut
        return Example({"text": "\n".join(items)}, None, prompt.attributes["label"], prompt) if items else "no list"

    prompts = (
        Prompt(ASK.format(word=words[at % len(words)]), attributes={"label": label})
        for at in range(LISTS)
        for label, words in seeds.items()
    )
    limits = {"max_new_tokens": 48, "stop": ("\nWords",), "temperature": 0.7}
    settings = as_list(run.generator, {**limits, **DECODING})
    return run.complete(prompts, parse, stage="words", required=False, **settings)


def _listings(lists: Sequence[tuple[str, ...]], seeds: Words) -> tuple[list[str], Floats]:
    """Return the words listed and the share of each label's lists that name them; what one list names is chance."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    spelt: dict[str, str] = {}
    for label, text in lists:
        for item in text.split("\n"):
            counts[label][spelt.setdefault(item.casefold(), item)] += 1
    many = Counter(label for label, _ in lists)
    words = list(spelt.values())
    shares = [
        [counts[label][word] / many[label] if counts[label][word] > 1 else 0.0 for label in seeds] for word in words
    ]
    return words, np.asarray(shares).reshape(len(words), len(seeds))


def _texts(run: Run, seeds: Words) -> Iterator[Example]:
    """Write texts of each label under the prompt that texts are scored under, which needs no opening."""
    task = run.task
    prompts = (Prompt(task.render(label, scoring=True), cell=label) for _ in range(TEXTS) for label in seeds)
    limits = {"max_new_tokens": task.max_new_tokens, "stop": task.stop, "temperature": 1.0}
    return run.complete(prompts, labelled(task), Unique(), stage="words", required=False, **limits, **DECODING)


def _vectors(
    path: str, words: list[str] | None, texts: Sequence[tuple[str, ...]], seeds: Words, seed: int
) -> tuple[list[str], Floats]:
    """Return frequent words and how near they are to the labels' own words or, given texts, to prototypes as well.

    Without words they are those of the encoder's vocabulary.
    """
    from .retrieval.encode import Encoder

    encoder = Encoder(path, "mean", True, 128)
    words = vocabulary(encoder.tokenizer) if words is None else words
    vectors = encoder(words)
    middle = vectors.mean(axis=0)
    vectors -= middle
    near = _cosine(vectors, np.stack([encoder(list(own)).mean(axis=0) for own in seeds.values()]) - middle)
    if not texts:
        return words, near
    from .prototypes import fit_prototypes

    names, written = list(seeds), encoder([text for _, text in texts])
    if missing := [label for label in names if label not in {own for own, _ in texts}]:
        raise InputError(f"`expand_words: prototypes`: none of the texts written of {missing[0]!r} could be kept")
    project, prototypes = fit_prototypes(written - written.mean(axis=0), [names.index(own) for own, _ in texts], seed)
    return words, (_standard(near) + _standard(_cosine(vectors @ project, prototypes))) / 2


def _cosine(some: Any, others: Any) -> Floats:
    """Return the cosine of each with each, [N, K]."""
    some, others = (part / np.linalg.norm(part, axis=1, keepdims=True).clip(min=1e-12) for part in (some, others))
    return some @ others.T


def _standard(values: Floats) -> Floats:
    """Return every column with mean 0 and variance 1."""
    return (values - values.mean(axis=0)) / values.std(axis=0).clip(min=1e-12)


def vocabulary(tokenizer: Any) -> list[str]:
    """Return the whole words of a tokenizer's vocabulary, which is in order of frequency."""
    ids = tokenizer.get_vocab()
    pieces = [piece for piece in sorted(ids, key=ids.__getitem__) if piece not in tokenizer.all_special_tokens]
    start = next((mark for mark in ("Ġ", "▁") if any(piece.startswith(mark) for piece in pieces)), "")
    words = (tokenizer.convert_tokens_to_string([piece]).strip() for piece in pieces if piece.startswith(start))
    return list(islice(dict.fromkeys(word for word in words if _is_word(word)), FREQUENT))


def corpus_words(corpus: Corpus, seed: int) -> list[str]:
    """Return the words of a corpus that more texts hold than hold the median word, the most frequent first."""
    counts = Counter(
        word
        for text in islice(corpus_texts(corpus, seed), READ)
        for word in set(re.findall(r"\w+", text))
        if _is_word(word)
    )
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return ranked[: min(FREQUENT, (len(ranked) + 1) // 2)]


def _is_word(text: str) -> bool:
    return text.isalpha() and len(text) > (2 if text.isascii() else 1)
