"""Which rows are kept, against counts, draws and formulas done another way."""

import numpy as np
import pytest

from hf_synth.errors import InputError
from hf_synth.trainers.folds import out_of_fold
from hf_synth.trainers.selection import calibrate, confident, draw, easy, information, informative, top


def probabilities(labels, classes, right=0.7, seed=0):
    """Random class probabilities that lean to the labels."""
    found = np.random.default_rng(seed).dirichlet(np.ones(classes), len(labels)) * (1 - right)
    found[np.arange(len(labels)), labels] += right
    return found


def test_top_keeps_the_highest_and_of_ties_the_first():
    assert top([3, 1, 2, 3, 0], 0.4).tolist() == [0, 3]
    assert top([1, 1, 1, 1], 0.5).tolist() == [0, 1]
    assert top([0.1, 0.2], 1.0).tolist() == [0, 1]
    assert top([0.1, 0.2], 0.01).tolist() == [1]


def test_top_by_class_keeps_that_share_of_each_and_never_none():
    scores = [9, 8, 7, 6, 1, 2, 3, 4, -5]
    labels = [0, 0, 0, 0, 1, 1, 1, 1, 3]
    assert top(scores, 0.5).tolist() == [0, 1, 2, 3]
    assert top(scores, 0.5, labels).tolist() == [0, 1, 6, 7, 8]
    assert top(scores, 0.05, labels).tolist() == [0, 7, 8]


def test_draw_takes_each_row_as_often_as_its_weight_says():
    weights = np.array([1.0, 2.0, 3.0, 4.0, 0.0])
    drawn = np.bincount(np.concatenate([draw(weights, 0.2, seed) for seed in range(4000)]), minlength=5)
    assert drawn / 4000 == pytest.approx(weights / 10, abs=0.03)
    # Two of them: by first and second draw, the chance of row 0 is .1 + .2 (1/8) + .3 (1/7) + .4 (1/6).
    pairs = [draw(weights, 0.4, seed) for seed in range(4000)]
    assert np.mean([0 in pair for pair in pairs]) == pytest.approx(0.1 + 0.2 / 8 + 0.3 / 7 + 0.4 / 6, abs=0.03)
    assert all(len(set(pair.tolist())) == 2 for pair in pairs)
    assert draw(weights, 1.0, 0).tolist() == [0, 1, 2, 3]
    assert draw(weights, 0.4, 7).tolist() == draw(weights, 0.4, 7).tolist()


def test_information_is_how_much_likelier_the_text_makes_the_label():
    q = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.5, 0.25, 0.25], [0.2, 0.2, 0.6]])
    labels = [0, 0, 1, 2]
    expected = np.log([0.5 / 0.5, 0.1 / 0.5, 0.25 / 0.25, 0.6 / 0.25])
    assert information(np.log(q), labels) == pytest.approx(expected)
    other = information(np.log(q), labels, prior=[0.2, 0.2, 0.6])
    assert other == pytest.approx(np.log([0.5 / 0.2, 0.1 / 0.2, 0.25 / 0.2, 0.6 / 0.6]))


def test_the_prior_shifts_whole_classes_and_leaves_the_order_within():
    labels = np.arange(60) % 3
    q = probabilities(labels, 3, right=0.2)
    score = information(np.log(q), labels, prior=[0.6, 0.3, 0.1])
    for label in range(3):
        of = labels == label
        assert (np.argsort(score[of]) == np.argsort(q[of, label])).all()


@pytest.mark.parametrize(
    ("policy", "kept"),
    [("per_class", [0, 1, 4]), ("per_source", [0, 2, 4]), ("threshold", [0])],
)
def test_policies_keep_their_share_but_nothing_negative(policy, kept):
    scores, labels = [0.9, 0.5, 0.2, -0.1, 0.1, -0.2, -0.3], [0, 0, 0, 0, 1, 1, 1]
    sources = ["a", "a", "b", "b", "c", "c", "d"]
    assert informative(scores, labels, 0.5, policy, sources, threshold=0.5).tolist() == kept


def test_threshold_below_zero_still_drops_the_negative():
    assert informative([-0.1, 0.0, 0.1], [0, 1, 1], 1.0, "threshold", threshold=-1).tolist() == [1, 2]


def test_easy_drops_the_highest_losses_of_each_class():
    found = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3], [0.55, 0.45], [0.99, 0.01]]
    labels = [0, 0, 0, 1, 1, 1]
    assert easy(found, labels, 0.67).tolist() == [0, 1, 3, 4]
    assert easy(found, labels, 1.0).tolist() == [0, 1, 2, 3, 4, 5]


def test_confident_learning_finds_flipped_labels():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 300)
    labels = np.where(rng.random(300) < 0.2, (true + 1) % 3, true)
    kept, quality = confident(probabilities(true, 3), labels)
    flipped = labels != true
    dropped = np.setdiff1d(np.arange(300), kept)
    assert flipped[dropped].mean() > 0.95
    assert flipped[kept].mean() < 0.02
    assert quality[flipped].max() < quality[~flipped].min()


def test_confident_learning_does_not_count_towards_classes_without_rows():
    labels = np.array([0] * 50 + [3] * 50)
    found = probabilities(labels, 5, right=0.9)
    found[0] = found[1] = [0.02, 0.02, 0.92, 0.02, 0.02]  # of a class that nobody has
    found[2] = [0.02, 0.02, 0.02, 0.92, 0.02]
    assert np.setdiff1d(np.arange(100), confident(found, labels)[0]).tolist() == [2]


def test_confident_learning_leaves_each_class_a_row():
    labels = np.array([0] * 50 + [1] * 49 + [2])
    kept = confident(np.tile([0.9, 0.05, 0.05], (100, 1)), labels)[0]
    assert np.bincount(labels[kept]).tolist() == [50, 1, 1]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_calibration_finds_the_temperature_that_labels_were_drawn_with(temperature):
    rng = np.random.default_rng(1)
    true = rng.normal(size=(4000, 3)) * 2
    labels = (true + rng.gumbel(size=true.shape)).argmax(1)
    assert calibrate(true * temperature, labels) == pytest.approx(temperature, rel=0.1)


def test_calibration_has_the_lowest_loss_and_stays_within_bounds():
    rng = np.random.default_rng(2)
    logits, labels = rng.normal(size=(50, 4)) * 3, rng.integers(0, 4, 50)
    logits[np.arange(50), labels] += 3

    def loss(temperature):
        scaled = logits / temperature
        return np.mean(np.logaddexp.reduce(scaled, axis=1) - scaled[np.arange(50), labels])

    best = calibrate(logits, labels)
    assert loss(best) < min(loss(best * 1.02), loss(best / 1.02))
    assert calibrate(np.eye(4) * 5, [0, 1, 2, 3]) == pytest.approx(0.05)
    assert calibrate(-np.eye(4) * 5, [0, 1, 2, 3]) == pytest.approx(20)


def test_every_row_is_judged_once_by_a_model_that_did_not_see_it():
    labels = np.array([0] * 30 + [1] * 11 + [2] * 3)
    seen = []

    def fit(train, test):
        assert not set(train) & set(test)
        assert len(train) + len(test) == 44
        seen.append(test)
        return np.log(np.stack([test + 1.0, labels[test] + 1.0, np.full(len(test), 9.0)], axis=1))

    found = out_of_fold(44, 4, 0, labels, fit)
    assert found == pytest.approx(np.stack([np.arange(44) + 1.0, labels + 1.0, np.full(44, 9.0)], axis=1))
    assert sorted(np.concatenate(seen).tolist()) == list(range(44))
    counts = np.array([np.bincount(labels[test], minlength=3) for test in seen])
    assert (counts.max(0) - counts.min(0) <= 1).all()
    assert counts.sum(1).tolist() == [11] * 4


def test_the_seed_decides_the_folds():
    def folds(seed):
        seen = []
        out_of_fold(20, 2, seed, np.arange(20) % 2, lambda train, test: seen.append(test.tolist()) or test[:, None])
        return seen

    assert folds(3) == folds(3)
    assert folds(3) != folds(4)


HALVES = [[0.5, 0.5], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: top([1, 2], 0), "`keep` must be above 0 and at most 1; got 0"),
        (lambda: top([1, 2], 1.5), "`keep` must be above 0 and at most 1; got 1.5"),
        (lambda: top([1, 2], float("nan")), "`keep`"),
        (lambda: top([1, np.nan], 0.5), "`scores` must not be NaN; got NaN in row 1"),
        (lambda: top([], 0.5), "`scores` must hold one number for each row; got the shape (0,)"),
        (lambda: top([[1, 2]], 0.5), "got the shape (1, 2)"),
        (lambda: top([1, 2], 0.5, [0]), "one class index for each of 2 rows; got int64 of the shape (1,)"),
        (lambda: top([1, 2], 0.5, [0, -100]), "`labels` must be class indices from 0 to 0; got -100"),
        (lambda: top([1, 2], 0.5, [0.5, 1]), "got float64"),
        (lambda: draw([0, 0], 0.5, 0), "`weights` must be finite, 0 or more, and not all 0; got 0 to 0"),
        (lambda: draw([1, -1], 0.5, 0), "got -1 to 1"),
        (lambda: draw([1, np.inf], 0.5, 0), "got 1 to inf"),
        (lambda: information(HALVES, [0, 1]), "`log_probabilities` must give each row probabilities that sum to 1"),
        (lambda: information(np.log(HALVES), [0, 2]), "`labels` must be class indices from 0 to 1; got 2"),
        (lambda: information(np.log(HALVES), [0, 1], [1.0, 0.0]), "`prior` must hold 2 probabilities"),
        (lambda: information(np.log(HALVES), [0, 1], [1.0]), "`prior` must hold 2 probabilities"),
        (lambda: informative([1, 2], [0, 1], 0.5, "per_clas"), "Did you mean 'per_class'?"),
        (lambda: informative([1, 2], [0, 1], 0.5, "per_source"), "needs `sources`, one for each of 2 rows; got none"),
        (lambda: informative([1, 2], [0, 1], 0.5, "per_source", ["a"]), "one for each of 2 rows; got 1"),
        (lambda: easy([[2.0, -1.0]], [0], 0.5), "`probabilities` must be between 0 and 1; got -1 to 2"),
        (lambda: easy([[0.5, 0.1]], [0], 0.5), "row 0 has 0.6"),
        (lambda: easy([[np.nan, 0.5]], [0], 0.5), "`probabilities` must not be NaN; got NaN in row 0"),
        (lambda: easy([[1.0]], [0], 0.5), "[N, K]; got the shape (1, 1)"),
        (lambda: easy(HALVES, [0, 2], 0.5), "`labels` must be class indices from 0 to 1; got 2"),
        (lambda: confident(HALVES, [1, 1]), "rows of two classes or more; got only class 1"),
        (lambda: calibrate([[0.0, np.inf]], [0]), "`logits` must be finite"),
        (lambda: out_of_fold(3, 1, 0, [0, 1, 0], None), "`folds` must be 2 or more and at most the number of rows, 3"),
        (lambda: out_of_fold(3, 4, 0, [0, 1, 0], None), "got 4"),
        (lambda: out_of_fold(3, 2, 0, [0, 1], None), "one class index for each of 3 rows"),
        (
            lambda: out_of_fold(3, 2, 0, [0, 1, 0], lambda train, test: np.full((len(test), 2), np.nan)),
            "the model of fold 1 of 2 gives NaN; lower `learning_rate`",
        ),
    ],
)
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(InputError) as error:
        call()
    assert message in str(error.value)


def test_without_cleanlab_the_command_is_named(monkeypatch):
    monkeypatch.setattr("hf_synth.trainers.selection.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'hf_synth\[cleanlab\]'"):
        confident(HALVES, [0, 1])
