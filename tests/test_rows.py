import numpy as np
import pytest
import torch
from datasets import Dataset

from hf_synth.errors import InputError
from hf_synth.trainers.bilevel import BilevelConfig
from hf_synth.trainers.outer import OuterRows
from hf_synth.trainers.rows import Rows


def test_rows_are_found_by_index_in_any_order():
    rows = Rows(Dataset.from_dict({"index": [7, 3, 9], "label": [0, 1, 2]}), 3)
    assert rows.at(torch.tensor([9, 7, 9, 3])).tolist() == [2, 0, 2, 1]
    assert (len(rows), rows.labels.tolist(), rows.starts.tolist()) == (3, [0, 1, 2], [0, 1, 2, 3])


@pytest.mark.parametrize("form", [None, "torch", "numpy"])
@pytest.mark.parametrize(
    ("labels", "tokens", "kept", "starts"),
    [
        ([1, 0, 1], False, [1, 0, 1], [0, 1, 2, 3]),
        ([[-100, 1, 0], [-100, -100, -100], [1, 1, -100]], True, [1, 0, 1, 1], [0, 2, 2, 4]),
        ([[], [0, -100], [1]], True, [0, 1], [0, 0, 1, 2]),
        ([[0.0, 1.0], [1.0, 1.0], [0.0, 0.5]], False, [[0, 1], [1, 1], [0, 0.5]], [0, 1, 2, 3]),
    ],
)
def test_labels_of_each_head(form, labels, tokens, kept, starts):
    rows = Rows(Dataset.from_dict({"index": [0, 1, 2], "labels": labels}).with_format(form), 2)
    assert (rows.tokens, rows.labels.tolist(), rows.starts.tolist()) == (tokens, kept, starts)


def test_fingerprint_tells_rows_and_labels_apart():
    columns = {"index": [0, 1, 2], "labels": [0, 1, 1]}
    others = [columns, columns | {"index": [0, 1, 3]}, columns | {"index": [1, 0, 2]}, columns | {"labels": [0, 1, 0]}]
    assert len({Rows(Dataset.from_dict(other), 2).fingerprint() for other in others}) == 4


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"labels": [0, 1]}, r"needs a column `index` that names each row; it has \['labels'\]"),
        ({"index": [4, 4], "labels": [0, 1]}, "4 stands on several rows"),
        ({"index": [0, 1], "labels": [0, 2]}, "`train_dataset` must lie between 0 and 1; they go from 0 to 2"),
        ({"index": [0, 1], "labels": [-1, 1]}, "they go from -1 to 1"),
        ({"index": ["a", "b"], "labels": [0, 1]}, "`index` must be an integer in each row; got 'a'"),
        ({"index": [0, None], "labels": [0, 1]}, "`index` must be an integer in each row; got None"),
        ({"index": [0, 1], "labels": ["pos", "neg"]}, "`labels` must be one class index per prediction; got 'pos'"),
        ({"index": [0, 1], "labels": [0, None]}, "one class index per prediction; got None"),
        ({"index": [0, 1], "labels": [[0, 1], [0, None]]}, "`labels` of tokens must be class indices; got None"),
        ({"index": [0, 1], "labels": [None, [0, 1]]}, "`labels` of tokens must be class indices; got null in row 0"),
        ({"index": [0, 1], "labels": [[0.0, 1.0], [1.0]]}, "or a target per class; got lists of different lengths"),
        ({"index": [0, 1], "labels": [0.5, 1.0]}, "one class index per prediction; got float64"),
        ({"index": [0, 1]}, r"a column `labels` or `label` is needed; a Dataset with \['index'\] has none"),
    ],
)
def test_bad_rows_are_refused(columns, message):
    with pytest.raises(InputError, match=message):
        Rows(Dataset.from_dict(columns), 2)


def test_rows_that_only_pass_by_are_refused():
    with pytest.raises(InputError, match="`train_dataset` must have a length"):
        Rows(Dataset.from_dict({"index": [0, 1], "labels": [0, 1]}).to_iterable_dataset(), 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([{"labels": 0}], "`outer_dataset` must be a `datasets.Dataset`; got a list"),
        (Dataset.from_dict({"text": ["a"]}), "a column `labels` or `label` is needed"),
        (Dataset.from_dict({"labels": []}), "the 0 outer rows have no label"),
        (Dataset.from_dict({"labels": [1, 1]}), "the 2 outer rows have one class only"),
        (Dataset.from_dict({"labels": ["a", "b"]}), "`labels` must be one class index per prediction; got 'a'"),
        (Dataset.from_dict({"labels": [0, 2]}), r"must lie between 0 and 1; got \[0, 2\]"),
    ],
)
def test_bad_outer_rows_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        OuterRows(Dataset.from_dict({"labels": [0, 1]}), given, BilevelConfig(), 2)


def test_large_integers_are_indices_too():
    rows = Rows(Dataset.from_dict({"index": np.array([2**62, 5]), "labels": [0, 1]}), 2)
    assert rows.at(torch.tensor([2**62, 5])).tolist() == [0, 1]
