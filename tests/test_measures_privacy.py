"""Distance to closest record and membership inference, on tables of which the answer is known."""

import evaluate
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hf_synth.errors import InputError
from hf_synth.metrics import closest_record, membership
from hf_synth.metrics.closest_record import enough, nearest
from hf_synth.metrics.membership import auc


def tables(seed=0, rows=200):
    draw = np.random.default_rng(seed)
    return draw.random((rows, 4)), draw.random((rows, 4)), draw.random((rows, 4))


def test_rows_that_know_nothing_of_the_training_rows_give_nothing_away():
    synthetic, train, holdout = tables()
    near = closest_record.closest_record(synthetic, train, holdout)
    assert near["copies"] == 0
    assert near["nearer_interval"][0] < 0.5 < near["nearer_interval"][1]
    assert near["dcr"] == pytest.approx(near["holdout_dcr"], rel=0.1)
    attack = membership.membership(synthetic, train, holdout)
    assert attack["auc_interval"][0] < 0.5 < attack["auc_interval"][1]
    assert attack["tpr_10"] == pytest.approx(0.1, abs=0.07)


def test_copies_of_the_training_rows_give_everything_away():
    _, train, holdout = tables()
    near = closest_record.closest_record(train, train, holdout)
    assert (near["copies"], near["dcr"], near["nearer"]) == (1, 0, 1)
    assert near["holdout_copies"] == 0 < near["holdout_dcr"]
    assert membership.membership(train, train, holdout)["auc"] == 1


def test_half_a_row_is_not_rounded_away_from_the_interval():
    equal = closest_record.closest_record([[0.5]], [[0.25]], [[0.75]])
    assert equal["nearer"] == 0.5
    assert equal["nearer_interval"] == pytest.approx([0.0546, 0.9454], abs=1e-3)


def test_members_are_found_where_more_others_than_a_tenth_score_as_high():
    train, apart = np.arange(100)[:, None] / 100, np.arange(85)[:, None] / 100 + 0.005
    attack = membership.membership(train, train, np.concatenate([train[:15], apart]))
    assert attack["auc"] == pytest.approx(0.925)
    assert attack["tpr_10"] == pytest.approx(10 / 15)  # all of them beside 15 of 100 others


def test_a_larger_table_is_no_nearer_for_being_larger():
    """With ten times as many training rows as holdout rows, as many of them are compared."""
    synthetic, train, _ = tables(rows=400)
    holdout = np.random.default_rng(5).random((40, 4))
    near = closest_record.closest_record(synthetic, train, holdout)
    assert near["compared_with"] == 40
    assert near["nearer"] == pytest.approx(0.5, abs=0.09)


def test_half_of_a_set_copied_is_half_copies():
    synthetic, train, holdout = tables()
    mixed = np.concatenate([synthetic[:50], train[:50]])
    near = closest_record.closest_record(mixed, train, holdout)
    assert near["copies"] == 0.5
    assert near["copies_interval"] == pytest.approx([0.404, 0.596], abs=0.001)  # Wilson, 50 of 100


def test_rows_equally_near_to_both_count_half():
    rows = [[0.1, 0.2], [0.3, 0.4]]
    near = closest_record.closest_record([[0.0, 0.0], [0.5, 0.5]], rows, rows)
    assert near["nearer"] == 0.5
    assert near["holdout_dcr"] == 0


def test_the_distance_is_the_mean_over_columns():
    assert nearest([[0.0, 0.5]], [[1.0, 0.5], [0.2, 0.6]]).tolist() == pytest.approx([0.15])


def test_a_whole_table_is_as_near_as_beside_a_column_of_holes():
    one, other = (np.random.default_rng(seed).random((300, 7)) for seed in (0, 1))
    other[:9] = one[:9]
    holed = [np.column_stack([part, np.full(300, np.nan)]) for part in (one, other)]  # which takes another way
    assert nearest(one, other) == pytest.approx(nearest(*holed), rel=1e-12, abs=0)  # zero where it is a copy


def test_missing_cells_take_no_part():
    none = float("nan")
    row, others = [[0.2, 0.5, 0.0]], [[0.4, none, none], [0.9, 0.0, 0.5]]
    assert nearest(row, others[:1], [1, 1, 0]).tolist() == pytest.approx([0.2])  # the category has two places
    assert nearest(row, others[1:], [1, 1, 0]).tolist() == pytest.approx([(0.7 + 1) / 2])
    assert nearest(row, others).tolist() == pytest.approx([0.2])
    assert nearest([[none, 0.1, none]], others[:1]).tolist() == [1]  # nothing in common
    assert nearest(row, others, least=2).tolist() == pytest.approx([(0.7 + 0.5 + 0.5) / 3])  # too little of the first
    assert enough([[0.1, none, none], *[[0.9, 0.0, 0.5]] * 2], [1, 1, 0]) == 1


def test_a_copy_of_a_row_with_holes_is_a_copy():
    synthetic, train, holdout = tables(rows=40)
    train[:, 1] = np.nan
    filled = np.where(np.isnan(train), synthetic, train)
    near = closest_record.closest_record(filled, train, holdout)
    assert (near["copies"], near["holdout_copies"]) == (1, 0)
    assert membership.membership(filled, train, holdout)["auc"] == 1


def test_auc_is_that_of_scikit_learn_with_ties():
    draw = np.random.default_rng(1)
    members, others = draw.integers(0, 6, 80), draw.integers(0, 5, 50)
    expected = roc_auc_score([1] * 80 + [0] * 50, [*members, *others])
    assert auc(members, others) == pytest.approx(expected)


@pytest.mark.parametrize("module", [closest_record, membership])
def test_they_load_by_path(module):
    measure = evaluate.load(module.__file__)
    rows = [[0.1, 0.2], [0.3, 0.4]]
    assert measure.compute(data=rows, train=rows, holdout=[[0.9, 0.9]])["rows"] == 2


def test_tables_that_cannot_be_compared_are_refused():
    with pytest.raises(InputError, match="`holdout` has 3 columns; the synthetic rows have 2"):
        closest_record.closest_record([[0, 1]], [[0, 1]], [[0, 1, 2]])
    with pytest.raises(InputError, match="`train` must be a row or more of finite numbers"):
        membership.membership([[0, 1]], [], [[0, 1]])
