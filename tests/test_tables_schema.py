"""Schemas and tables as they come: what is found in cells, what is refused, and how the refusal reads."""

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from hf_synth.commands.main import guarded
from hf_synth.errors import InputError
from hf_synth.tables.produce import Request
from hf_synth.tables.schema import CATEGORIES, Column, infer, read_schema
from hf_synth.tables.settings import ImputeConfig, ImputerConfig
from hf_synth.tables.source import read_table

TEXT = """id,age,bmi,sex,smokes,note
1,31,33.6,f,true,came by foot
2,NA,26.65,m,false,
3,28,?,f,,walks "far"
4,52,30,m,true,came late
5,33,28.1,f,false,asked for tea
6,41,,m,true,left early
7,26,31,f,false,sat alone
8,30,24,m,true,brought a dog
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text(TEXT)
    return path


def test_a_schema_is_found_in_the_observed_cells(table):
    schema = infer(read_table(str(table)).split("train"))
    kinds = {name: column.type for name, column in schema.columns.items()}
    assert kinds == {
        "id": "id",
        "age": "integer",
        "bmi": "number",
        "sex": "category",
        "smokes": "category",
        "note": "text",
    }
    assert schema.columns["age"].range == (26, 52)
    assert (schema.columns["bmi"].range, schema.columns["bmi"].decimals) == ((24, 33.6), 2)
    assert schema.columns["smokes"].categories == ("false", "true")


def test_cells_are_read_by_the_schema(table):
    found = read_table(str(table))
    rows = infer(found.split("train")).rows(found.split("train"))
    assert rows[1] == {"id": 2, "age": None, "bmi": 26.65, "sex": "m", "smokes": "false", "note": None}
    assert rows[2]["bmi"] is None
    assert rows[2]["note"] == 'walks "far"'


def test_wrong_cells_are_named_with_row_and_column(table, tmp_path):
    (tmp_path / "schema.yaml").write_text(
        "columns:\n  id: {type: id}\n  age: {type: integer, range: [0, 50]}\n  bmi: {type: integer}\n"
        "  sex: {type: category, categories: [f, w]}\n  smokes: {type: category, categories: [yes, no]}\n"
        "  note: {type: text}\nmissing: [NA, '?']\n"
    )
    found = read_table(str(table))
    schema = read_schema(tmp_path / "schema.yaml", found.names)
    assert schema.columns["smokes"].categories == ("yes", "no")  # not what YAML takes them for
    with pytest.raises(InputError) as error:
        schema.rows(found.split("train"), "the table")
    assert str(error.value) == (
        "the table is not as its schema says: row 1, column 'bmi' must be an integer; got '33.6'; "
        "row 1, column 'smokes' must be one of yes, no; got 'true'; row 2, column 'bmi' must be an integer; "
        "got '26.65'; and 12 cells more"
    )


def test_a_range_is_held():
    column = Column("integer", range=(0, 50))
    with pytest.raises(ValueError, match="must be within 0 to 50; got '52'"):
        column.read("52")
    assert column.rounded(71.3) == 50
    assert Column("integer", range=(0, float("inf"))).read("52") == 52
    assert Column("number", decimals=1).rounded(33.649) == 33.6
    assert Column("number", range=(0.32, 0.34), decimals=1).rounded(0.33) == 0.32


def test_small_numbers_are_not_rounded_away():
    column = infer([{"a": value} for value in (1e-05, 2.5e-05, "4e-05")]).columns["a"]
    assert (column.range, column.decimals) == ((1e-05, 4e-05), 6)
    assert column.rounded(1.44e-05) == 1.4e-05
    assert Column("number", range=(1e-07, 9e-07)).rounded(3.2e-07) == 3.2e-07


@pytest.mark.parametrize(
    "cells",
    [
        ["02139", "94103", "60601"],
        ["1_2", "3", "4"],
        ["12345678901234567", "2", "3"],
        [12345678901234567, 2, 3],
        ["9" * 25, "2", "3"],
    ],
)
def test_codes_of_digits_are_kept_as_written(cells):
    rows = [{"a": cell} for cell in cells]
    schema = infer(rows)
    assert schema.columns["a"].type == "text"
    assert [row["a"] for row in schema.rows(rows)] == [str(cell) for cell in cells]
    assert infer(rows * 9).columns["a"].type == "category"  # few of them: no numbers either


def test_integers_are_read_to_the_last_digit():
    long = 12345678901234567
    assert Column("integer").read(str(long)) == Column("id").read(long) == long
    assert infer([{"row_id": str(long + at)} for at in range(3)]).columns["row_id"].type == "id"
    assert infer([{"a": value} for value in (0.1234567890123456, 1e17)]).columns["a"].type == "number"
    with pytest.raises(ValueError, match="must be an integer; got '1_2'"):
        Column("integer").read("1_2")
    with pytest.raises(ValueError, match="must be an integer of 64 bits; got '9999"):
        Column("integer").read("9" * 20)


def test_numbers_whose_squares_are_infinite_are_no_numbers():
    """Their errors and means would stand on the card as `inf` and `nan`."""
    assert infer([{"a": value} for value in (1.7e308, -1.7e308, 2.0)]).columns["a"].type == "text"
    assert infer([{"a": value} for value in (1.7e38, -1.7e38, 2.0)]).columns["a"].type == "number"
    with pytest.raises(ValueError, match=r"must be within -1e\+150 to 1e\+150; got '1.7e308'"):
        Column("number").read("1.7e308")


@pytest.mark.parametrize("word", ["NULL", "n/a", "#N/A", "<NA>", "NaN", "?"])
def test_words_that_pandas_and_data_bases_write_for_nothing_are_missing(word):
    schema = infer([{"age": cell, "sex": sex} for cell in ("31", word, "44") for sex in ("f", word, "m")])
    assert (schema.columns["age"].type, schema.columns["sex"].categories) == ("integer", ("f", "m"))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_words_for_missing_are_of_a_column_too_and_numbers_are_known_by_their_value(tmp_path, ending):
    """Zero is no blood pressure, but a number of children."""
    cells = {"children": [0, 2, 1], "pressure": [0, 70, 64], "dose": [1.5, -999.0, 2.5], "ward": [9, 1, 2]}
    data = Dataset.from_dict(cells)
    {"csv": data.to_csv, "parquet": data.to_parquet}[ending](tmp_path / f"rows.{ending}")
    (tmp_path / "schema.yaml").write_text(
        "columns:\n  children: {type: integer}\n  pressure: {type: integer, range: [20, 200], missing: [0]}\n"
        "  dose: {type: number}\n  ward: {type: category, categories: [1, 2], missing: [9]}\nmissing: [NA, -999]\n"
    )
    table = read_table(str(tmp_path / f"rows.{ending}"))
    schema = read_schema(tmp_path / "schema.yaml", table.names)
    rows = schema.rows(table.split("train"))
    assert {name: [row[name] for row in rows] for name in cells} == {
        "children": [0, 2, 1],
        "pressure": [None, 70, 64],
        "dose": [1.5, None, 2.5],
        "ward": [None, "1", "2"],
    }
    assert schema.facts()["columns"]["pressure"]["missing"] == ["0"]
    assert "missing" not in schema.facts()["columns"]["dose"]


def test_labels_that_are_numbers_of_classes_are_categories(tmp_path):
    lines = [f"{20 + at},{at % 5 or ''},{at % 2}" for at in range(12)]
    (tmp_path / "t.csv").write_text("\n".join(["age,dose,sick", *lines]) + "\n")
    task = ImputeConfig(str(tmp_path / "t.csv"), label_column="sick", synthetic_label="1", synthetic_rows=2)
    request = Request.of(task, ImputerConfig())
    assert request.schema.columns["sick"] == Column("category", categories=("0", "1"))
    assert request.rows["train"][1]["sick"] == "1"
    ones = [{"y": at % 2 + 1} for at in range(12)]
    assert infer(ones, label="y").columns["y"].type == "integer"  # as a category 1 would be stored as 0
    assert infer([{"y": at} for at in range(12)], label="y").columns["y"].type == "integer"


def test_a_class_label_of_too_many_names_is_text(tmp_path, capsys):
    names = [f"c{at}" for at in range(CATEGORIES + 1)]
    features = Features({"age": Value("int64"), "code": ClassLabel(names=names)})
    data = Dataset.from_dict({"age": [1, None, 3], "code": [0, 1, 2]}, features)
    (tmp_path / "t").mkdir()
    data.to_parquet(tmp_path / "t" / "data.parquet")
    schema = Request.of(ImputeConfig(str(tmp_path / "t")), ImputerConfig()).schema
    assert schema.columns["code"] == Column("text")
    words = [str(tmp_path / "t"), "--label_column", "code", "--synthetic_label", "c1", "--synthetic_rows", "2"]
    assert guarded("impute", [*words, "--output_dir", str(tmp_path / "out")]) == 2
    assert "needs a column of categories, 52 at most; 'code' is text" in " ".join(capsys.readouterr().err.split())


def test_decimal_commas_are_points_where_semicolons_part_the_cells(tmp_path):
    (tmp_path / "t.csv").write_text(
        "dose;people;grade\n" + "".join(f"{at},5;1,{at}00;{at},0\n" for at in range(3, 9)) + "NA;2,500;4\n"
    )
    table = read_table(str(tmp_path / "t.csv"))
    schema = infer(table.split("train"))
    assert {name: column.type for name, column in schema.columns.items()} == {
        "dose": "number",
        "people": "text",  # thousands, or three decimals
        "grade": "integer",
    }
    assert [row["dose"] for row in schema.rows(table.split("train"))] == [3.5, 4.5, 5.5, 6.5, 7.5, 8.5, None]
    kinds = "{dose: {type: text}, people: {type: text}, grade: {type: number}}"
    (tmp_path / "schema.yaml").write_text(f"columns: {kinds}\n")
    declared = read_schema(tmp_path / "schema.yaml", table.names).rows(table.split("train"))
    assert (declared[0], type(declared[0]["dose"])) == ({"dose": "3,5", "people": "1,300", "grade": 3.0}, str)
    (tmp_path / "c.csv").write_text('dose,age\n"3,5",1\n"4,5",2\n"5,5",3\n')
    assert infer(read_table(str(tmp_path / "c.csv")).split("train")).columns["dose"].type == "text"


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("columns: {id: {type: id}}", "says nothing of the column 'age'"),
        ("columns: {agee: {type: integer}}", "a column must be one of .* Did you mean 'age'"),
        ("columnz: {}", "a key must be one of columns, missing; got 'columnz'"),
        ("columns: [id]", "`columns` must hold a mapping for each column"),
    ],
)
def test_schemas_that_do_not_fit_are_refused(table, tmp_path, yaml, message):
    (tmp_path / "schema.yaml").write_text(yaml)
    with pytest.raises(InputError, match=message):
        read_schema(tmp_path / "schema.yaml", read_table(str(table)).names)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"type": "category", "range": (0, 1)}, "`range` is the least and the greatest of numbers"),
        ({"type": "integer", "range": (5, 1)}, "`range` is the least and the greatest of numbers"),
        ({"type": "integer", "categories": ("a",)}, "`categories` is for `type: category`"),
        ({"type": "category"}, "`categories` needs 1 to 52 names; got 0"),
    ],
)
def test_columns_that_contradict_themselves_are_refused(settings, message):
    from hf_synth.config import checked

    with pytest.raises(InputError, match=message):
        checked(Column, settings, "here")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "needs a first line of two column names or more"),
        (b"a,b\n", "has no rows below the column names"),
        (b"a,b\n1,2\n1,2,3\n", "line 3: 3 cells; the first line names 2 columns"),
        (b"a,a\n1,2\n", "every column needs a name of its own; column 2 is 'a'"),
        (b"a,\n1,2\n", "every column needs a name of its own; column 2 is ''"),
        (b'a,b\n1,"2\n', "is no CSV"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "is no UTF-8 text"),
    ],
)
def test_a_csv_file_of_rubbish_gives_one_sentence(tmp_path, capsys, content, message):
    path = tmp_path / "rubbish.csv"
    path.write_bytes(content)
    assert guarded("impute", ["--table", str(path), "--output_dir", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("hf-synth: 'rubbish.csv'")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--label_column", "sexx"], "`label_column` must be one of id, age"),
        (
            ["--label_column", "sex", "--synthetic_label", "x", "--synthetic_rows", "5"],
            "`synthetic_label` must be one of",
        ),
        (["--synthetic_rows", "5"], "`synthetic_label` and `synthetic_rows` go together"),
        (["--holdout", "validation"], "`holdout: validation` needs `synthetic_rows`"),
        (["--split", "tests"], "a split of 'people.csv' must be one of train; got 'tests'"),
        (["--imputations", "1"], "`imputations`: input should be greater than or equal to 2"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_a_model_is_loaded(table, tmp_path, capsys, more, message):
    out = str(tmp_path / "out")
    assert guarded("impute", [str(table), "--output_dir", out, "--model", "no/such", *more]) == 2
    assert message in capsys.readouterr().err


def test_a_table_without_holes_is_refused(tmp_path, capsys):
    (tmp_path / "whole.csv").write_text("a,b\n1,2\n3,4\n")
    assert guarded("impute", [str(tmp_path / "whole.csv"), "--output_dir", str(tmp_path / "out")]) == 2
    assert "no cell of 'whole.csv' is missing" in capsys.readouterr().err


def test_a_column_that_the_completed_tables_have_is_refused(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("row,b\n1,\n3,4\n")
    assert guarded("impute", [str(tmp_path / "t.csv"), "--output_dir", str(tmp_path / "out")]) == 2
    assert "have a column 'row' of their own" in capsys.readouterr().err


def test_a_column_without_an_observed_cell_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,\n3,NA\n")
    with pytest.raises(InputError, match="column 'b' has no observed cell"):
        infer(read_table(str(tmp_path / "t.csv")).split("train"))


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_table_may_be_another_file(tmp_path, ending):
    data = Dataset.from_dict({"age": [1, 2, None], "outcome": ["a", "b", "a"]})
    file = tmp_path / f"rows.{ending}"
    getattr(data, {"jsonl": "to_json"}.get(ending, "to_parquet"))(file)
    found = read_table(str(file))
    assert found.names == ["age", "outcome"]
    assert len(found.split("train")) == 3


def test_a_file_of_no_rows_is_refused(tmp_path):
    (tmp_path / "rows.jsonl").touch()
    with pytest.raises(InputError, match=r"`holdout`: '.*rows.jsonl' cannot be loaded: a file holds no rows"):
        read_table(str(tmp_path / "rows.jsonl"), "holdout")
