"""Near-duplicates: planted ones are found, distinct texts are left alone, groups are what all pairs say."""

import random
from unicodedata import normalize

import numpy as np
import pytest

from hf_synth.errors import InputError
from hf_synth.metrics.near_duplicates import by_vectors, by_words, jaccard, near_duplicates, summary
from hf_synth.metrics.tokens import words


def distinct_texts(rows, seed=0):
    draw = random.Random(seed)
    known = [f"{a}{b}" for a in "bdfglmprst" for b in ("ar", "en", "il", "oru", "ustic", "ating", "est", "ome")]
    return [" ".join(draw.choices(known, k=draw.randint(8, 20))).capitalize() + "." for _ in range(rows)]


def edited(text, kind, draw):
    own = text.split()
    at = draw.randrange(len(own) - 1)
    if kind == "swapped":
        own[at] = "another"
    elif kind == "deleted":
        del own[at]
    elif kind == "order":
        own[at], own[at + 1] = own[at + 1], own[at]
    elif kind == "case":
        return text.upper()
    else:
        own[at] += ","
        return " ".join(own).replace(".", " !")
    return " ".join(own)


@pytest.mark.parametrize("kind", ["swapped", "deleted", "order", "case", "punctuation"])
def test_lightly_edited_texts_are_found(kind):
    texts, draw = distinct_texts(1000), random.Random(1)
    exact, group = by_words([*texts, *(edited(text, kind, draw) for text in texts[:200])])
    assert np.mean([group[1000 + at] == group[at] for at in range(200)]) >= 0.99
    assert len(set(group[:1000])) == 1000
    assert np.all(exact[1000:] == np.arange(200)) == (kind in ("case", "punctuation"))


def test_groups_are_the_connected_pairs_at_the_threshold():
    """Against the loop over all pairs, on texts of few words where many pairs are near and many just miss."""
    draw = random.Random(0)
    texts = [" ".join(draw.choices("abcdefghijkl", k=draw.randint(7, 11))) for _ in range(250)]
    group, expected = by_words(texts)[1], list(range(250))
    for a in range(250):
        for b in range(a + 1, 250):
            if jaccard(words(texts[a]), words(texts[b])) >= 0.75 and expected[a] != expected[b]:
                low, high = sorted((expected[a], expected[b]))
                expected = [low if own == high else own for own in expected]
    assert len(set(expected)) < 240
    assert group.tolist() == expected


def test_jaccard_counts_how_often_words_stand():
    assert jaccard(["a", "a", "b"], ["a", "b", "c"]) == 2 / 4
    assert jaccard([], []) == 0


def test_cosine_groups_are_the_connected_pairs():
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(40, 8))
    vectors = centres[draw.integers(0, 40, 150)] + 0.05 * draw.normal(size=(150, 8))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near, expected = unit @ unit.T >= 0.95, np.arange(150)
    for a, b in zip(*np.nonzero(near), strict=True):
        expected[expected == max(expected[a], expected[b])] = min(expected[a], expected[b])
    assert by_vectors(vectors, block=32).tolist() == expected.tolist()
    assert by_vectors(np.ones((70, 3)), block=16).tolist() == [0] * 70


def test_rate_is_what_leaving_one_of_each_group_would_drop():
    texts = [*distinct_texts(60), *distinct_texts(60)[:12], distinct_texts(1)[0]]
    found = near_duplicates(texts, embeddings=np.eye(73))
    assert found["rate"] == found["exact_rate"] == pytest.approx(13 / 73)
    assert found["groups"] == [[0, 60, 72], *([at, 60 + at] for at in range(1, 12))]
    assert found["semantic"]["rate"] == 0
    assert found["semantic"]["groups"] == []
    low, high = found["rate_interval"]
    assert low < 13 / 73 < high
    assert summary(np.arange(9))["rate_interval"] == [0, 0]


def test_texts_without_words_are_compared_as_they_stand():
    assert by_words(["!!", "!!", "??", ""])[1].tolist() == [0, 0, 2, 3]


def test_an_accent_that_stands_behind_its_letter_makes_no_other_text():
    one = "Le café de la gare est très agréable"
    assert by_words([one, normalize("NFD", one), "Le cafe de la gare"])[0].tolist() == [0, 0, 2]


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(InputError, match="need a text"):
        near_duplicates([])
    with pytest.raises(InputError, match="got 2 for 1"):
        near_duplicates(["one"], embeddings=np.eye(2))
    with pytest.raises(InputError, match="got 0.2"):
        near_duplicates(["one"], threshold=0.2)
