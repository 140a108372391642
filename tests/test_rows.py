import numpy as np
import pytest
import torch
from datasets import Dataset

from hf_synth.errors import InputError
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
        ({"index": [0, 1], "labels": [0, 2]}, "labels must lie between 0 and 1; they go from 0 to 2"),
        ({"index": [0, 1], "labels": [-1, 1]}, "they go from -1 to 1"),
    ],
)
def test_bad_rows_are_refused(columns, message):
    with pytest.raises(InputError, match=message):
        Rows(Dataset.from_dict(columns), 2)


def test_large_integers_are_indices_too():
    rows = Rows(Dataset.from_dict({"index": np.array([2**62, 5]), "labels": [0, 1]}), 2)
    assert rows.at(torch.tensor([2**62, 5])).tolist() == [0, 1]
