"""`hf-synth inspect` of tables: planted faults are found and named, a clean table gets no remark, texts stay texts."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from hf_synth.audit.figures import text_map
from hf_synth.audit.records import Rows
from hf_synth.commands.main import main
from hf_synth.tables import likeness
from hf_synth.tables.inspect import _made
from hf_synth.tables.parts import Part, is_table
from hf_synth.tables.schema import Column, Schema
from hf_synth.tables.vectors import vectors

NAMES = ["well", "ill"]
COLUMNS = ["age", "dose", "pressure", "ward", "outcome"]


def people(count, seed):
    """Return rows in which dose and pressure go together, and outcome with both."""
    rng, rows = np.random.default_rng(seed), []
    for _ in range(count):
        dose = rng.normal(50, 10)
        pressure = dose + rng.normal(60, 5)
        ill = int(dose + rng.normal(0, 3) > 50)
        cells = [int(rng.integers(20, 80)), round(dose, 2), round(pressure, 2), ["a", "b", "c"][rng.integers(3)], ill]
        rows.append(dict(zip(COLUMNS, cells, strict=True)))
    return rows


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A data set's folder with train and test rows."""
    folder = tmp_path_factory.mktemp("clinic")
    kinds = [Value("int64"), Value("float64"), Value("float64"), Value("string"), ClassLabel(names=NAMES)]
    features = Features(dict(zip(COLUMNS, kinds, strict=True)))
    for split, count in (("train", 600), ("test", 300)):
        (folder / "data").mkdir(exist_ok=True)
        Dataset.from_list(people(count, len(split)), features).to_parquet(folder / f"data/{split}-0.parquet")
    return folder


def judged(rows, real, folder, *more):
    """Return the verdicts on rows that are written as CSV, labels as ids."""
    file = folder / "own.csv"
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [*rows[0]])
        writer.writeheader()
        writer.writerows(rows)
    beside = ["--reference", str(real)] if real else []
    assert main(["inspect", str(file), *beside, "--embedded", "250", "--output_dir", str(folder / "out"), *more]) == 0
    report = json.loads((folder / "out/inspect.json").read_text())
    return {found["check"]: found for found in report["verdicts"]}, report


def part(rows, index=None):
    return Part("ours", "test", rows, index or range(len(rows)), len(rows), len(rows), [], [], completed=False)


def remarks(verdicts):
    return {check for check, found in verdicts.items() if found["verdict"] in ("look", "bad")}


def test_a_clean_table_gets_no_remark_and_a_page(real, tmp_path):
    verdicts, report = judged(people(500, 1), real, tmp_path)
    assert remarks(verdicts) == set()
    judgements = {check for check, found in verdicts.items() if found["verdict"] == "good"}
    wanted = {"cells", "columns", "pairs of columns", "closest record", "membership", "usefulness", "balance"}
    assert wanted <= judgements
    assert report["dataset"]["label_column"] == "outcome"
    page = (tmp_path / "out/report.html").read_text()
    assert "Rows that are alike lie together" in page
    assert "Words in a text" not in page
    assert 0.4 < verdicts["membership"]["value"] < 0.6


def test_rows_of_the_test_split_are_named(real, tmp_path):
    test = Dataset.from_parquet(str(real / "data/test-0.parquet")).to_list()
    verdicts, _ = judged([*people(300, 1), *test[:7]], real, tmp_path)
    assert verdicts["test rows"]["verdict"] == "bad"
    assert [row["row"] for row in verdicts["test rows"]["rows"]] == [*range(300, 307)]
    assert f"age {test[0]['age']}" in verdicts["test rows"]["rows"][0]["text"]


def test_a_search_of_a_part_of_the_test_split_says_so(real, tmp_path):
    verdicts, _ = judged(people(40, 1), real, tmp_path, "--max_rows", "100")
    assert verdicts["test rows"]["reason"].endswith("of which 100 of 300 were searched")


def test_a_row_whose_holes_were_filled_is_still_that_row():
    cells = [(1, None, "a"), (None, None, "b"), (8, 2.5, "a"), (9, 3.5, "c")]
    real = [dict(zip(("age", "dose", "ward"), row, strict=True)) for row in cells]
    own = [{**real[0], "dose": 7.5}, {**real[0], "age": 2}, {"age": 3, "dose": 1.0, "ward": "b"}]
    found = likeness.copied(part(own, [4, 5, 6]), part(real), None, "test")  # the ward alone is held by chance
    assert (found.verdict, found.rows) == ("bad", [{"row": 4}])
    assert "1 of 3 rows hold all cells of a row of the test split" in found.reason
    assert likeness.copied(part(real), part(real), None, "test").found == 4


def test_rows_that_give_train_rows_away(real, tmp_path):
    train = Dataset.from_parquet(str(real / "data/train-0.parquet")).to_list()
    rows = [{**row, "dose": row["dose"] + 0.01} for row in train]
    verdicts, _ = judged(rows, real, tmp_path)
    assert verdicts["train rows"]["value"] == 0
    assert {"closest record", "membership"} <= remarks(verdicts)
    verdicts, _ = judged([*train[:180], *people(420, 1)], real, tmp_path, "--embedded", "600")  # fewer than half
    assert {"train rows", "closest record", "membership"} <= remarks(verdicts)
    assert "30.0 % are one of those (test rows 0.0 %)" in verdicts["closest record"]["reason"]
    verdicts, _ = judged(train, real, tmp_path)  # all of them
    assert {"train rows", "closest record"} <= remarks(verdicts)
    assert verdicts["membership"]["verdict"] == "bad"
    completed = [{"imputation": 1, "row": at, **row} for at, row in enumerate(train)]  # made of them, as `impute` does
    verdicts, _ = judged(completed, real, tmp_path)
    assert verdicts["train rows"]["verdict"] == "good"
    assert verdicts["membership"]["verdict"] == "skipped"


def test_rows_that_any_split_repeats_are_none_of_the_test_split():
    cards = [{"suit": at % 4, "rank": at // 4 % 13} for at in range(520)]
    found = likeness.copied(part(cards[:100]), part(cards), None, "test")
    assert (found.verdict, found.found) == ("good", 100)
    assert "100.0 % of its other rows do" in found.reason


@pytest.mark.parametrize(
    ("split", "wanted", "said"),
    [("test", "bad", "test split"), ("train", "look", "train split"), (None, "bad", "a row of the reference")],
)
def test_copies_of_a_reference_that_is_one_split(split, wanted, said, real, tmp_path):
    rows = people(60, 3)
    name = f"{split or 'train'}-0.parquet"
    (tmp_path / "one/data").mkdir(parents=True)
    Dataset.from_list(rows).to_parquet(tmp_path / "one/data" / name)
    folder = tmp_path / "one"
    verdicts, _ = judged(rows[:30], folder if split else folder / "data" / name, tmp_path)
    assert verdicts["test rows"]["verdict"] == wanted
    assert said in verdicts["test rows"]["reason"]


def impossible(rows, rng):
    for row in rows[:60]:
        row["pressure"] = 900
    for row in rows[60:70]:
        row["ward"] = "z"
    return rows


def test_a_table_of_one_number_is_inspected(tmp_path):
    rows = [{"x": at / 7, "label": "high" if at > 20 else "low"} for at in range(40)]
    Dataset.from_list(rows).to_csv(tmp_path / "one.csv")
    assert main(["inspect", str(tmp_path / "one.csv"), "--output_dir", str(tmp_path / "out")]) == 0


def squeezed(rows, rng):
    return [{**row, "age": 20 + (row["age"] - 20) // 3} for row in rows]


def shuffled(rows, rng):
    doses = rng.permutation([row["dose"] for row in rows])
    return [{**row, "dose": dose} for row, dose in zip(rows, doses, strict=True)]


def holed(rows, rng):
    return [{**row, "dose": "" if at < 100 else row["dose"]} for at, row in enumerate(rows)]


def repeated(rows, rng):
    return [*rows, *rows[:50]]


def uneven(rows, rng):
    return [row for row in rows if not row["outcome"]][:200] + [row for row in rows if row["outcome"]][:12]


def flipped(rows, rng):
    for at in rng.choice(len(rows), 90, replace=False):
        rows[at]["outcome"] = 1 - rows[at]["outcome"]
    return rows


FAULTS = {
    "cells": impossible,
    "columns": squeezed,
    "pairs of columns": shuffled,
    "missing cells": holed,
    "exact duplicates": repeated,
    "balance": uneven,
    "wrong labels": flipped,
}


@pytest.mark.parametrize("check", FAULTS)
def test_a_planted_fault_is_found(check, real, tmp_path):
    verdicts, report = judged(FAULTS[check](people(500, 1), np.random.default_rng(0)), real, tmp_path)
    assert check in remarks(verdicts)
    if check == "cells":
        assert report["measures"]["cells"]["columns"] == {"pressure": 60, "ward": 10}
        assert report["measures"]["missing cells"]["columns"]["ward"][0]["count"] == 0  # they hold something
        assert float(verdicts["cells"]["rows"][0]["cell"]) == 900
    if check == "exact duplicates":
        assert [row["row"] for row in verdicts["exact duplicates"]["rows"]] == [*range(500, 550)]


def wide(count, seed):
    """Return rows of 30 columns, so many that one in ten or more is the greatest or least in one of them."""
    cells = np.random.default_rng(seed).normal(size=(count, 30)).round(4)
    return [{**{f"c{at}": float(cell) for at, cell in enumerate(row)}, "label": float(row[0] > 0)} for row in cells]


def test_few_clean_rows_of_many_columns_get_no_remark(tmp_path):
    (tmp_path / "real/data").mkdir(parents=True)
    for split, count in (("train", 200), ("test", 100)):
        rows = [{**row, "label": int(row["label"])} for row in wide(count, len(split))]
        Dataset.from_list(rows).to_parquet(tmp_path / f"real/data/{split}-0.parquet")
    verdicts, report = judged(wide(400, 1), tmp_path / "real", tmp_path)  # labels are 0.0 and 1.0
    assert remarks(verdicts) == set()
    assert verdicts["cells"]["value"] > 0.1
    assert verdicts["told apart"]["value"] < 0.6  # 400 rows of 500 are no reason to be told apart
    assert verdicts["usefulness"]["verdict"] == "good"
    assert verdicts["balance"]["verdict"] == "good"


def test_labels_that_nothing_tells_are_not_swapped(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("own", "real"):
        rows = [{"age": int(rng.integers(9)), "flag": bool(rng.random() < 0.5)} for _ in range(300)]
        rows = [{**row, "label": int(rng.random() < 0.55)} for row in rows]
        Dataset.from_list(rows).to_parquet(tmp_path / f"{name}.parquet")
    assert (
        main(
            [
                "inspect",
                *(str(tmp_path / "own.parquet"), "--reference", str(tmp_path / "real.parquet")),
                "--output_dir",
                str(tmp_path / "out"),
            ]
        )
        == 0
    )
    report = json.loads((tmp_path / "out/inspect.json").read_text())
    found = {one["check"]: one for one in report["verdicts"]}
    assert found["class names"]["verdict"] == "good"
    assert found["cells"]["value"] == 0  # flags are read


def test_a_target_of_numbers_is_a_column_as_others(real, tmp_path, capsys):
    rows = [{**row, "target": round(row["dose"] * 1.5, 1)} for row in people(200, 1)]
    rows = [{name: cell for name, cell in row.items() if name != "outcome"} | {"nothing": ""} for row in rows]
    verdicts, report = judged(rows, None, tmp_path)
    assert report["dataset"]["label_column"] is None
    assert verdicts["usefulness"]["verdict"] == "skipped"
    assert main(["inspect", str(tmp_path / "own.csv"), "--label_column", "target"]) == 2
    assert "'target' holds no labels" in " ".join(capsys.readouterr().err.split())


def test_personal_data_in_a_cell_is_masked(real, tmp_path):
    rows = people(300, 1)
    rows[3]["ward"] = "jane.doe@example.com"
    judged(rows, real, tmp_path)
    for name in ("inspect.json", "report.html"):
        assert "jane.doe" not in (tmp_path / "out" / name).read_text()


def test_one_text_is_one_sentence(tmp_path, capsys):
    (tmp_path / "own.csv").write_text("text,label\na good film,1\n")
    assert main(["inspect", str(tmp_path / "own.csv"), "--encoder", "none"]) == 2
    assert "'own.csv' has one labelled row" in " ".join(capsys.readouterr().err.split())


def test_a_reference_without_labels_is_one_sentence(tmp_path, capsys):
    for split, outcome in (("train", 0), ("test", -1)):
        kinds = {"age": Value("int64"), "outcome": ClassLabel(names=NAMES)}
        rows = [{"age": at, "outcome": outcome or at % 2} for at in range(40)]
        (tmp_path / "glue/data").mkdir(parents=True, exist_ok=True)
        Dataset.from_list(rows, Features(kinds)).to_parquet(tmp_path / f"glue/data/{split}-0.parquet")
    own = Dataset.from_list([{"age": at, "outcome": NAMES[at % 2]} for at in range(40)])
    own.to_parquet(tmp_path / "own.parquet")
    assert main(["inspect", str(tmp_path / "own.parquet"), "--reference", str(tmp_path / "glue")]) == 2
    assert "no row of split 'test' has a label" in " ".join(capsys.readouterr().err.split())


def test_categories_of_a_row_each_are_as_far_apart_by_chance():
    schema = Schema({"card": Column("category", categories=tuple(map(str, range(52))))})
    sides = [[{"card": str(2 * at + own)} for at in range(26)] for own in (0, 1)]
    assert likeness.columns(*sides, schema, 0).verdict == "good"


def test_numbers_as_large_as_can_be_are_scaled():
    schema, rows = Schema({"a": Column("number")}), [{"a": -1.7e308}, {"a": 1.7e308}]
    assert vectors(rows, schema, rows).tolist() == [[0.0], [1.0]]
    assert vectors(rows, schema, [{"a": 0.0}, {"a": 1.0}]).tolist() == [[-1000.0], [1000.0]]


def test_rows_that_are_all_the_same_have_a_map():
    rows = replace(Rows.plain(["a"] * 40), vectors=np.ones((40, 3)))
    assert len(text_map(rows, None, 0)["own"]) == 40  # by components without spread, the process crashed


def test_a_table_of_one_row_is_one_sentence(tmp_path, capsys):
    Dataset.from_list(people(1, 0)).to_parquet(tmp_path / "one.parquet")
    assert main(["inspect", str(tmp_path / "one.parquet")]) == 2
    assert "'one.parquet' has one row; two or more can be inspected" in " ".join(capsys.readouterr().err.split())


def test_a_reference_repeats_rows_as_often_as_at_as_many_rows(tmp_path):
    cards = [{"suit": at % 4, "rank": at // 4 % 13 + 0.5} for at in range(520)]
    Dataset.from_list(cards).to_parquet(tmp_path / "cards.parquet")
    own = [{"suit": 0, "rank": at % 4 + 0.5} for at in range(60)]
    verdicts, report = judged(own, tmp_path / "cards.parquet", tmp_path)
    assert report["measures"]["exact duplicates"]["reference"] < 0.5  # of all its rows 0.9
    assert verdicts["exact duplicates"]["verdict"] == "look"


def test_rows_that_differ_in_what_is_not_read_alone_are_said_to(tmp_path):
    own = [{"id": at, "day": f"2020-01-{at + 1:02}", "x": at % 3, "y": at % 2} for at in range(28)]
    verdicts, _ = judged(own, None, tmp_path)
    assert verdicts["exact duplicates"]["reason"].endswith("cell for cell; not compared: 'id', 'day'")


def test_a_table_that_lacks_every_label_is_judged_without(real, tmp_path):
    verdicts, report = judged([{**row, "outcome": ""} for row in people(200, 1)], real, tmp_path)
    assert remarks(verdicts) == {"missing cells", "told apart"}
    assert report["dataset"]["label_column"] is None


def test_a_reference_with_nothing_but_labels_is_one_sentence(real, tmp_path, capsys):
    Dataset.from_list([{"size": at, "outcome": NAMES[at % 2]} for at in range(30)]).to_parquet(tmp_path / "o.parquet")
    assert main(["inspect", str(tmp_path / "o.parquet"), "--reference", str(real), "--label_column", "outcome"]) == 2
    assert "in common, beside the label" in " ".join(capsys.readouterr().err.split())


def test_without_a_reference_and_of_one_label(real, tmp_path):
    verdicts, _ = judged(people(200, 1), None, tmp_path)
    assert verdicts["test rows"]["verdict"] == "skipped"
    ill = [row for row in people(400, 1) if row["outcome"]]
    verdicts, report = judged(ill, real, tmp_path, "--label_column", "outcome")
    assert remarks(verdicts) == set()  # beside the ill of the reference alone
    assert verdicts["usefulness"]["verdict"] == "skipped"
    assert report["reference"]["rows"] == 300


def test_what_a_completed_table_was_found_to_be_worth(real, tmp_path):
    folder = tmp_path / "completed"
    (folder / "hf_synth").mkdir(parents=True)
    (folder / "data").mkdir()
    tables = [{"imputation": draw, "row": at, **row} for draw in (1, 2) for at, row in enumerate(people(60, 1))]
    Dataset.from_list(tables).to_parquet(folder / "data/train-0.parquet")
    told = [
        {"column": name, "cells": 20, "error": error, "baseline": 1.0} for name, error in (("age", 0.9), ("dose", 1.3))
    ]
    facts = {"checked": told, "covered": {"cells": 40, "covered": 0.6, "interval": [0.45, 0.74]}}
    (folder / "hf_synth/facts.json").write_text(json.dumps({**facts, "settings": {"interval": 0.9}}))
    assert main(["inspect", str(folder), "--output_dir", str(tmp_path / "out")]) == 0
    verdicts = {one["check"]: one for one in json.loads((tmp_path / "out/inspect.json").read_text())["verdicts"]}
    assert (verdicts["hidden cells"]["verdict"], verdicts["coverage"]["verdict"]) == ("look", "look")
    assert verdicts["exact duplicates"]["verdict"] == "good"  # of one of the completed tables
    assert verdicts["hidden cells"]["value"] == pytest.approx(1.1)
    for one in told:
        one["baseline"] = 0.0
    (folder / "hf_synth/facts.json").write_text(json.dumps({**facts, "settings": {"interval": 0.9}}))
    verdicts = {one.check: one for one in _made(folder)}
    assert (verdicts["hidden cells"].verdict, verdicts["coverage"].verdict) == ("skipped", "look")
    few = {"checked": [], "covered": None, "settings": {"interval": 0.9, "hidden": 0.1}}  # of so few that none was
    (folder / "hf_synth/facts.json").write_text(json.dumps(few))
    assert [one.reason.partition(")")[0] for one in _made(folder)] == ["no cell was hidden (`hidden: 0.1`"]


def test_a_table_of_full_names_is_one_where_that_is_said(real, tmp_path):
    rows = [{"name": f"Ann Lee {at} of York", **row} for at, row in enumerate(people(100, 1))]
    assert judged(rows, None, tmp_path, "--label_column", "outcome")[1]["dataset"]["text_columns"] == ["name"]
    verdicts, report = judged(rows, real, tmp_path, "--text_columns", "none")
    assert report["dataset"]["text_columns"] == []
    assert verdicts["columns"]["verdict"] == "good"


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"size": 1.5, "ward": "a", "label": 1}, True),
        ({"text": "two words", "stars": 4, "label": 1}, False),
        ({"text": "word", "label": 1, "id": 7}, False),
        ({"tokens": ["a"], "size": 2}, False),
    ],
)
def test_a_table_is_told_from_texts(row, wanted):
    assert is_table(Dataset.from_list([row] * 3)) == wanted


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        (["high school", "some college", "no school"] * 20, True),
        ([f"2020-01-01 10:{at}" for at in range(10, 60)], True),
        ([f"good film number {at}" for at in range(60)], False),
        ([f"这个电影真的很好看{at}" for at in range(60)], False),
    ],
)
def test_categories_and_dates_are_no_texts(column, wanted):
    assert is_table(Dataset.from_dict({"about": column, "stars": [*range(len(column))]})) == wanted


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--split", "tset"], "a split of"),
        (["--label_column", "outcom"], "Did you mean 'outcome'"),
        (["--reference_split", "dev"], "`reference`: a split"),
    ],
)
def test_a_wrong_name_is_one_sentence(more, said, real, capsys):
    assert main(["inspect", str(real), "--reference", str(real), *more]) == 2
    printed = " ".join(capsys.readouterr().err.split())
    assert said in printed
    assert "Traceback" not in printed
