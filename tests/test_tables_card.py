"""The card of a completed table against a golden file; `python tests/test_tables_card.py` writes it anew."""

import copy
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard
from jinja2 import UndefinedError

from hf_synth.tables.folder import table_card
from hf_synth.tables.schema import CATEGORIES

GOLDEN = Path(__file__).parent / "golden" / "table.md"
NEAR = {
    "rows": 12,
    "train_rows": 30,
    "holdout_rows": 9,
    "copies": 0.0,
    "copies_interval": [0.0, 0.2425],
    "holdout_copies": 0.0,
    "dcr": 0.0812,
    "dcr_interval": [0.07, 0.092],
    "dcr_5": 0.05,
    "holdout_dcr": 0.06,
    "holdout_dcr_5": 0.031,
    "nearer": 0.5,
    "nearer_interval": [0.254, 0.746],
    "compared_with": 9,
}
FACTS = {
    "name": "org/people",
    "license": "cc-by-4.0",
    "generator": {"name": "org/model", "origin": "hub", "revision": "ab12", "sha256": "cd" * 32},
    "tuning": {"parameters": 1234, "loss": [2.5, 2.1]},
    "settings": {
        "split": "train",
        "label_column": "sick",
        "imputations": 5,
        "interval": 0.9,
        "hidden": 0.1,
        "attempts": 20,
        "bins": 10,
        "synthetic_label": "yes",
        "synthetic_rows": 12,
        "model": "org/model",
        "seed": 3,
        "layers": 10,
        "adapter_size": 16,
        "tune_epochs": 3,
    },
    "schema": {
        "columns": {"age": {"type": "integer", "range": [20, 80]}, "note": {"type": "text"}},
        "missing": ["", "NA"],
    },
    "splits": {"train": 80, "test": 20},
    "cells": 400,
    "missing": [
        {"column": "age", "type": "integer", "splits": {"train": 7, "test": 2}, "imputed": 8, "empty": 1},
        {"column": "a|b", "type": "text", "splits": {"train": 4, "test": 0}, "imputed": 0, "empty": 4},
    ],
    "empty": {"no valid value (column age)": 1, "not imputed (column a|b)": 4},
    "failed_draws": 2,
    "checked": [
        {
            "column": "age",
            "cells": 20,
            "error": 9.51,
            "baseline": 12.2,
            "covered": 0.9,
            "covered_interval": [0.699, 0.972],
        },
        {
            "column": "sex",
            "cells": 10,
            "error": 0.5,
            "baseline": 0.4,
            "covered": 1.0,
            "covered_interval": [0.722, 1.0],
        },
    ],
    "covered": {"cells": 30, "covered": 0.9333, "interval": [0.787, 0.982]},
    "pooled": [
        {
            "column": "age",
            "missing": 7,
            "observed_mean": 44.25,
            "pooled_mean": 43.9,
            "interval": [41.0, 46.8],
            "unknown": 0.08,
        }
    ],
    "synthetic": 12,
    "holdout": "split test",
    "privacy": {
        "closest_record": NEAR,
        "membership": {
            "rows": 12,
            "train_rows": 30,
            "holdout_rows": 9,
            "auc": 0.51,
            "auc_interval": [0.3, 0.7],
            "tpr_10": 0.1,
        },
    },
    "versions": {"torch": "2", "hf_synth": "0"},
    "header": {"configs": [{"config_name": "default"}], "dataset_info": [{"config_name": "default"}]},
}


def changed(**facts):
    return {**copy.deepcopy(FACTS), **facts}


def test_card_matches_its_golden_file():
    assert table_card(FACTS) == GOLDEN.read_text(encoding="utf-8")


def test_the_header_is_the_hubs():
    card = DatasetCard(table_card(FACTS))
    assert card.data.license == "cc-by-4.0"
    assert card.data.task_categories == ["tabular-classification"]
    assert card.data.source_datasets == ["extended|org/people"]
    assert {"synthetic", "imputation"} <= set(card.data.tags)


def test_it_says_what_is_not_good():
    words = " ".join(table_card(FACTS).split())
    assert "**8 of 400 cells hold guesses of a language model that was tuned on the observed ones.**" in words
    assert "| sex | 10 | 0.5 (no gain) | 0.4 |" in words
    assert "| age | 20 | 9.51 | 12.2 |" in words
    assert "- left empty, 1: no valid value (column age)" in words
    assert "| a\\|b | text | 4 | 0 | 0 | 4 |" in words


def test_figures_that_were_not_measured_are_not_claimed():
    nothing = " ".join(table_card(changed(checked=[], covered=None)).split())
    assert "No cell was hidden (`hidden: 0.1`), so nothing is known of the error" in nothing  # of so small a table
    assert "**Not measured: there was no holdout**" in table_card(changed(privacy=None, holdout=None))
    few = " ".join(table_card(changed(privacy=None)).split())
    assert "**Not measured: too few rows of `yes`** were learnt from, or are in split test" in few
    assert "no holdout" not in few
    without = table_card(changed(privacy=None, synthetic=0))
    assert "were not measured" in without
    assert '"synthetic")' not in without
    assert "licence | not stated when this was made; the terms of the table apply" in table_card(changed(license=None))


def test_a_table_without_holes_has_no_config_of_cells():
    whole = table_card(changed(missing=[], empty={}, failed_draws=0))
    assert "## What was missing\n\nNo cell.\n" in whole
    assert '"cells")' in table_card(FACTS)
    assert '"cells")' not in whole


def test_all_rows_are_counted():
    assert "| rows | train 80, test 20; synthetic 9 of 12 asked for |" in table_card(changed(synthetic=9))
    many = table_card(changed(splits={"train": 900, "test": 100}))
    assert DatasetCard(many).data.size_categories == ["1K<n<10K"]  # of 5 completed tables


def test_it_says_what_the_intervals_leave_out():
    words = " ".join(table_card(FACTS).split())
    assert "They do not cover what is unknown of the generator: it was tuned once" in words
    assert "So they are too narrow" in words
    assert "No imputed cell was given the label" in words
    assert f"more than {CATEGORIES} categories were neither read nor imputed" in words
    without = table_card(changed(settings={**FACTS["settings"], "label_column": None}))
    assert "was given the label" not in without


def test_a_forgotten_fact_is_an_error():
    with pytest.raises(UndefinedError, match="pooled"):
        table_card({key: value for key, value in FACTS.items() if key != "pooled"})


if __name__ == "__main__":
    GOLDEN.write_text(table_card(FACTS), encoding="utf-8")
