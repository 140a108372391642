"""EDA: how many words change, what is protected, and what chance decides."""

import random

import numpy as np
import pytest

from hf_synth.augment import deleted, eda, inserted, replaced, swapped, vocabulary_synonyms
from hf_synth.bio import places
from hf_synth.errors import InputError
from hf_synth.retrieval.encode import Encoder

TOKENS = [f"word{chr(97 + at // 26)}{chr(97 + at % 26)}" for at in range(40)]


def synonyms(word):
    return [f"{word.lower()}X", f"{word.lower()}Y"] if word.lower() != "the" else []


OPERATIONS = {
    "replaced": lambda tokens, rng, protected=(), alpha=0.1: replaced(tokens, rng, synonyms, protected, alpha),
    "inserted": lambda tokens, rng, protected=(), alpha=0.1: inserted(tokens, rng, synonyms, protected, alpha),
    "swapped": swapped,
    "deleted": deleted,
}
each = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.5])
def test_alpha_is_the_share_of_words_changed(alpha):
    rng, count = random.Random(0), int(alpha * 40)
    for _ in range(20):
        tokens = replaced(TOKENS, rng, synonyms, (), alpha)
        assert sum(a != b for a, b in zip(tokens, TOKENS, strict=True)) == count
        tokens = inserted(TOKENS, rng, synonyms, (), alpha)
        assert len(tokens) == 40 + count
        assert sum(token[-1] in "XY" for token in tokens) == count
        assert [token for token in tokens if token in TOKENS] == TOKENS
        tokens = swapped(TOKENS, rng, (), alpha)
        assert sorted(tokens) == sorted(TOKENS)
        assert 0 < sum(a != b for a, b in zip(tokens, TOKENS, strict=True)) <= 2 * count
    left = [len(deleted(TOKENS, rng, (), alpha)) for _ in range(500)]
    assert np.mean(left) == pytest.approx(40 * (1 - alpha), abs=0.6)


@each
def test_a_short_text_changes_too(operation):
    tokens = ["the", "film", "was", "good"]
    assert any(operation(tokens, random.Random(seed)) != tokens for seed in range(20))


NAMES = ["Ada Lovelace", "London Analytical Engine Works", "Byron"]
LINE = "Ada Lovelace lived near London Analytical Engine Works for ten years with Byron ."
SENTENCE = LINE.split()


@each
@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0])
def test_names_stay_whole_and_in_order(operation, alpha):
    starts = [(name.split(), places(SENTENCE, name.split())) for name in NAMES]
    protected = {at + more for name, (at,) in starts for more in range(len(name))}
    changed = 0
    for seed in range(60):
        tokens = operation(SENTENCE, random.Random(seed), protected, alpha)
        found = [at for name, _ in starts for at in places(tokens, name)]
        assert len(found) == len(NAMES)
        assert found == sorted(found)
        changed += tokens != SENTENCE
    assert changed > 15


@each
def test_nothing_but_protected_tokens_stays_as_it_is(operation):
    tokens = ["Ada", "Lovelace"]
    assert operation(tokens, random.Random(0), {0, 1}, 1.0) == tokens


@each
@pytest.mark.parametrize("tokens", [["film"], ["film", "."], ["the"], ["a", "b", "c"]])
def test_no_text_is_left_without_a_word(operation, tokens):
    for seed in range(40):
        assert any(map(str.isalnum, operation(tokens, random.Random(seed), alpha=1.0)))


def test_one_word():
    rng = random.Random(0)
    assert replaced(["Film,"], rng, lambda word: ["movie"]) == ["Movie,"]
    assert sorted(inserted(["film"], rng, lambda word: ["movie"])) == ["film", "movie"]
    assert swapped(["film"], rng) == deleted(["film"], rng, (), 1.0) == ["film"]
    assert replaced([], rng, synonyms) == inserted([], rng, synonyms) == swapped([], rng) == deleted([], rng) == []


def test_words_without_synonyms_and_punctuation_stay():
    tokens = ["the", "(", "the", ")", "..."]
    for operation in (OPERATIONS["replaced"], OPERATIONS["inserted"]):
        assert operation(tokens, random.Random(0), alpha=1.0) == tokens
    assert replaced(["film"], random.Random(0), lambda word: ["Film", " ", ""]) == ["film"]


def test_a_synonym_of_two_words_gives_two_tokens():
    tokens = replaced(["a", "Film!", "now"], random.Random(0), lambda w: ["motion picture"] if w == "Film" else [])
    assert tokens == ["a", "Motion", "picture!", "now"]


def test_a_variant_is_of_each_operation_in_its_turn_and_repeats_with_the_seed():
    def made(seed):
        return eda(TOKENS, random.Random(seed), synonyms, {0, 1}, alpha=0.2)

    assert made(5) == made(5)
    kinds = set()
    for tokens in map(made, range(30)):
        assert tokens[:2] == TOKENS[:2] or len(tokens) > 40  # or something stands before them
        marked = any(token[-1] in "XY" for token in tokens)
        kinds.add((marked, len(tokens) > 40, len(tokens) < 40))
    assert len(kinds) == 4


@pytest.mark.parametrize("alpha", [0, -0.1, 1.5])
def test_an_impossible_share_is_refused(alpha):
    with pytest.raises(InputError, match="`alpha` must be above 0 and at most 1"):
        eda(TOKENS, random.Random(0), synonyms, alpha=alpha)


def test_synonyms_are_the_nearest_words():
    angles = {"film": 0, "movie": 10, "picture": 20, "Hotel": 90, "inn": 95, "sea": 180, "star": 270}
    vectors = {word: np.array([np.cos(np.radians(a)), np.sin(np.radians(a))]) for word, a in angles.items()}
    mean = np.mean(list(vectors.values()), axis=0)

    def cosine(one, other):
        a, b = vectors[one] - mean, vectors[other] - mean
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    found = vocabulary_synonyms(list(angles), lambda words: np.stack([vectors[word] for word in words]), 2, 0.8)
    for word in angles:
        near = sorted((other for other in angles if other != word), key=lambda other: -cosine(word, other))[:2]
        assert list(found(word)) == [other for other in near if cosine(word, other) >= 0.8]
    assert list(found("FILM")) == ["movie", "picture"]
    assert list(found("inn")) == ["Hotel"]
    assert list(found("unheard")) == []
    assert list(vocabulary_synonyms([], lambda words: np.zeros((0, 2)))("film")) == []


def test_an_encoder_gives_synonyms(student_folder):
    words = ["film", "movie", "story", "plot", "good", "bad", "great", "awful"]
    found = vocabulary_synonyms(words, Encoder(student_folder, "mean", True, 16), count=3, least=-1.0)
    for word in words:
        assert len(found(word)) == 3
        assert word not in found(word)
