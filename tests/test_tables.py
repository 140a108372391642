"""Imputing tables: what is written, what is never changed, what is said when there is no answer."""

import json
import math
import random
import weakref
from collections import Counter

import numpy as np
import pytest
import torch
from datasets import load_dataset
from scipy import stats
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_synth.commands.main import guarded
from hf_synth.errors import InputError
from hf_synth.marks import held_back
from hf_synth.metrics.classification import wilson
from hf_synth.models import resolve
from hf_synth.tables import impute
from hf_synth.tables.chains import Chains, Wanted
from hf_synth.tables.check import compared, hidden_cells, pooled_means, privacy
from hf_synth.tables.impute import Completed, hide
from hf_synth.tables.pool import rubin, student
from hf_synth.tables.schema import Column, Schema, infer
from hf_synth.tables.serialise import Coding, Distribution, Serialiser, codings
from hf_synth.tables.settings import ImputeConfig, ImputerConfig
from hf_synth.tables.source import read_table
from hf_synth.tables.tune import UNASKED, texts

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = ["--tune_epochs", "4", "--tune_learning_rate", "1e-2", "--imputations", "2", "--orders", "1"]
SCHEMA = Schema(
    {
        "age": Column("integer", range=(20, 80)),
        "waist_cm": Column("number", range=(50, 150), decimals=1),
        "sex": Column("category", categories=("female", "male")),
        "sick": Column("category", categories=("no", "yes")),
        "note": Column("text"),
    }
)


def people(rows=60, holes=0.2, seed=0):
    """Rows whose waist goes with their age, with holes; the first row has none."""
    rng, found = random.Random(seed), []
    for at in range(rows):
        age = rng.randrange(20, 80)
        row = {
            "age": age,
            "waist_cm": round(60 + age / 2 + rng.random() * 9, 1),
            "sex": rng.choice(("female", "male")),
            "sick": "yes" if age > 55 else "no",
            "note": f"row {at}" if at % 3 else None,
        }
        for name in ("age", "waist_cm", "sex"):
            if at and rng.random() < holes:
                row[name] = None
        found.append(row)
    return found


@pytest.fixture(scope="module")
def tokenizer(causal_folder):
    return AutoTokenizer.from_pretrained(causal_folder)


@pytest.fixture
def csv_file(tmp_path):
    lines = [",".join("" if cell is None else str(cell) for cell in row.values()) for row in people()]
    (tmp_path / "people.csv").write_text("\n".join([",".join(people()[0]), *lines]) + "\n")
    return tmp_path / "people.csv"


def run(causal_folder, csv_file, out, *more):
    words = ["--table", str(csv_file), "--output_dir", str(out), "--model", str(causal_folder)]
    return guarded("impute", [*words, "--label_column", "sick", *QUICK, *more])


# Rows as text


def test_every_value_is_one_token(tokenizer):
    rows = people()
    known = codings(SCHEMA, rows, 10, tokenizer)
    assert list(known) == ["age", "waist_cm", "sex", "sick"]  # texts are not read
    serialiser = Serialiser(known, tokenizer)
    tokens, places = serialiser.row(rows[0], ["waist_cm", "sex", "age"])
    assert len(places) == 3
    assert tokens[0] == tokenizer.eos_token_id
    text = serialiser.text(rows[0], ["waist_cm", "sex", "age"])
    assert text.startswith(" waist cm:")
    assert len(tokens) == 1 + sum(len(serialiser.names[name]) + 1 for name in ("waist_cm", "sex", "age"))
    assert tokenizer.decode([tokens[places[0]]]) == text[len(" waist cm:")]


def test_a_number_is_its_decile_and_comes_back_as_an_observed_value(tokenizer):
    rows = [{"a": value, "b": value % 3} for value in range(100)]
    known = codings(infer(rows), rows, 10, tokenizer)
    assert [known["a"].code(value) for value in (0, 9, 10, 55, 99, -5, 500)] == [0, 0, 1, 5, 9, 0, 9]
    assert [known["b"].words[known["b"].code(value)] for value in (0, 1, 2)] == ["0", "1", "2"]
    spread = known["a"].distribution([0.5, 0.5, *[0.0] * 8])
    assert spread.best() == pytest.approx(9.5)
    assert (spread.quantile(0.05), spread.quantile(0.95)) == (0, 18)
    assert {spread.draw(uniform) for uniform in np.linspace(0, 0.999, 200)} == set(range(20))
    assert type(spread.draw(0.5)) is int  # which a journal can hold


def test_categories_are_their_words_or_letters(tokenizer):
    """The tokenizer has `film` behind a space alone, so a category is written as a letter."""
    rows = [{"a": "good film", "b": "x"}, {"a": "bad film", "b": "y"}]
    schema = Schema(
        {"a": Column("category", categories=("bad film", "good film")), "b": Column("category", categories=("x", "y"))}
    )
    known = codings(schema, rows, 10, tokenizer)
    assert known["a"].words == ("A", "B")
    assert known["b"].words == ("x", "y")
    assert Distribution(schema.columns["b"], ("x", "y"), np.array([0.3, 0.7])).best() == "y"
    assert Distribution(schema.columns["b"], ("x", "y"), np.array([0.3, 0.7])).likely(0.9) == ["y", "x"]


def test_columns_that_look_alike_are_refused(tokenizer):
    rows = [{"a b": 1, "a_b": 2}]
    with pytest.raises(InputError, match="two columns are written 'a b:'"):
        codings(infer(rows), rows, 10, tokenizer)


def test_texts_hold_observed_cells_in_all_orders_and_the_label_first_or_not_at_all(tokenizer):
    rows = people()
    serialiser = Serialiser(codings(SCHEMA, rows, 10, tokenizer), tokenizer)
    found = texts(serialiser, rows, "sick", 2, 0)
    read = [tokenizer.decode(one["input_ids"]) for one in found]
    label = [text for text in read if "sick:" in text]
    assert 0.3 < len(label) / len(read) < 0.7
    assert all(text.index("sick:") < min(map(len, (text.partition(":")[0] + "12",))) for text in label)
    whole = [text for text in read if text.count(":") == 3 and "sick" not in text]
    assert len({tuple(sorted(("age:", "waist cm:", "sex:"), key=text.index)) for text in whole}) == 6
    assert sum(token != UNASKED for one in found for token in one["labels"]) == sum(text.count(":") for text in read)


# Asking


class Table:
    """A predictor that answers from what it is asked: the column's first word, unless told otherwise."""

    def __init__(self, mass=1.0):
        self.mass, self.asked = mass, []

    def __call__(self, asked):
        self.asked += asked
        return [([1.0, *[0.0] * (len(words) - 1)], self.mass) for _, words in asked]


def test_cells_are_drawn_one_after_the_other_and_never_from_the_label(tokenizer):
    rows = people(holes=0)
    serialiser = Serialiser(codings(SCHEMA, rows, 10, tokenizer), tokenizer)
    predictor = Table()
    row = {"age": None, "waist_cm": None, "sex": "male", "sick": None}
    drawn = Chains(predictor, serialiser, 0, 20).draws([Wanted("a", row, ("age", "waist_cm"))], 3)
    read = [tokenizer.decode(tokens) for tokens, _ in predictor.asked]
    assert [text.count(":") for text in read] == [2] * 3 + [3] * 3  # the second cell reads the first
    assert not any("sick" in text for text in read)
    least = min(row["age"] for row in rows), min(row["waist_cm"] for row in rows)
    tenth = sorted(row["age"] for row in rows)[6], sorted(row["waist_cm"] for row in rows)[6]
    for chain in drawn[0]:
        assert least[0] <= chain["age"] <= tenth[0]
        assert least[1] <= chain["waist_cm"] <= tenth[1]


def test_a_cell_without_a_valid_value_stays_empty_and_the_others_do_not(tokenizer):
    rows = people(holes=0)
    serialiser = Serialiser(codings(SCHEMA, rows, 10, tokenizer), tokenizer)

    class NoAge(Table):
        def __call__(self, asked):
            ages = [tokenizer.decode(tokens).endswith("age:") for tokens, _ in asked]
            return [
                (spread, 0.0 if age else 1.0) for age, (spread, _) in zip(ages, super().__call__(asked), strict=True)
            ]

    row = {"age": None, "waist_cm": None, "sex": "male", "sick": None}
    drawn = Chains(NoAge(), serialiser, 0, 20).draws([Wanted("a", row, ("age", "waist_cm"))], 2)
    assert [chain["age"] for chain in drawn[0]] == [None, None]
    assert all(chain["waist_cm"] is not None for chain in drawn[0])


def test_a_value_that_comes_half_the_time_is_found_in_20_attempts(tokenizer):
    rows = people(holes=0)
    serialiser = Serialiser(codings(SCHEMA, rows, 10, tokenizer), tokenizer)
    wanted = [Wanted(str(at), {"sex": "male"}, ("age",)) for at in range(200)]
    found = [one[0]["age"] for one in Chains(Table(0.5), serialiser, 0, 1).draws(wanted, 1)]
    assert 60 < found.count(None) < 140
    assert None not in [one[0]["age"] for one in Chains(Table(0.5), serialiser, 0, 20).draws(wanted, 1)]


@pytest.fixture
def answered(causal_folder, monkeypatch):
    """Returns an imputer of rows that is not tuned: `Table` answers."""
    monkeypatch.setattr(impute.Imputer, "_tune", lambda *args: None)

    def of(rows):
        task = ImputeConfig("people.csv", label_column="sick", imputations=2)
        imputer = impute.Imputer(SCHEMA, rows, resolve(str(causal_folder)), ImputerConfig(str(causal_folder)), task)
        imputer.predictor = Table()
        return imputer

    return of


def test_no_cell_is_asked_for_beside_its_label(answered, tokenizer):
    rows = people(20)
    imputer, (learnt, hidden) = answered(rows), hide(rows, SCHEMA, "sick", 0.3, 0)
    imputer.complete(rows, "train")
    hidden_cells(imputer, learnt, rows, hidden)
    read = [tokenizer.decode(tokens) for tokens, _ in imputer.predictor.asked]
    assert len(read) > 20
    assert not any("sick" in text for text in read)
    imputer.synthesize("yes", 1)  # of a label, which stands first
    assert tokenizer.decode(imputer.predictor.asked[-1][0]).partition(":")[0].endswith("sick")


def test_a_cell_that_nobody_imputes_says_why(answered):
    rows = [{**row, "age": None, "sick": row["sick"] if at else None} for at, row in enumerate(people(20))]
    cells = {cell.column: cell.how for cell in answered(rows).guess(rows, "train")[1] if cell.value is None}
    assert cells == {
        "age": "not imputed: no observed cell to learn from",
        "sick": "not imputed: the label",
        "note": "not imputed: neither numbers nor categories, of which a column has 52 at most",
    }


def test_a_cell_that_is_told_to_be_empty_is_so_in_every_table(answered):
    rows = people(60)
    imputer = answered(rows)
    imputer.predictor = Table(0.04)  # fewer than one in 20 draws, though a few draw a value all the same
    done = imputer.complete(rows, "train")
    assert {cell.value for cell in done.cells} == {None}
    assert all(table[cell.row][cell.column] is None for cell in done.cells for table in done.tables)


def test_hidden_cells_are_compared_with_what_stands_there(answered):
    rows = people(40)
    learnt, hidden = hide(rows, SCHEMA, "sick", 0.3, 0)
    imputer = answered(learnt)
    found = {one["column"]: one for one in hidden_cells(imputer, learnt, rows, hidden)}
    assert {name: one["cells"] for name, one in found.items()} == Counter(name for _, name in hidden)
    for name in ("age", "waist_cm"):
        observed = [row[name] for row in learnt if row[name] is not None]
        truths = np.array([rows[at][name] for at, own in hidden if own == name])
        answer = np.mean(imputer.serialiser.codings[name].values[0])
        assert found[name]["error"] == pytest.approx(np.sqrt(np.mean((answer - truths) ** 2)))
        assert found[name]["baseline"] == pytest.approx(np.sqrt(np.mean((np.mean(observed) - truths) ** 2)))
    truths = [rows[at]["sex"] for at, name in hidden if name == "sex"]
    assert found["sex"]["error"] == pytest.approx(truths.count("male") / len(truths))  # `female` is answered


def test_no_more_than_two_distributions_are_held_at_once(answered, monkeypatch):
    """Each is as long as the table: one for each cell took memory with the square of the rows."""
    made, held, plain = [], [], Coding.distribution

    def noted(self, probabilities):
        held.append(sum(one() is not None for one in made))
        found = plain(self, probabilities)
        made.append(weakref.ref(found))
        return found

    monkeypatch.setattr(Coding, "distribution", noted)
    rows = people(40)
    learnt, hidden = hide(rows, SCHEMA, "sick", 0.3, 0)
    imputer = answered(learnt)
    imputer.guess(learnt, "train")
    hidden_cells(imputer, learnt, rows, hidden)
    assert len(held) > 40
    assert max(held) <= 2


# Pooling


def test_rubins_rules_on_numbers_made_by_hand():
    """Estimates 1, 2, 3 with variances 0.5: W = 0.5, B = 1, T = 0.5 + 4/3, v = 2 (1 + 0.5 / (4/3))^2."""
    found = rubin([1, 2, 3], [0.5, 0.5, 0.5])
    assert found.estimate == 2
    assert found.variance == pytest.approx(0.5 + 4 / 3)
    assert found.degrees == pytest.approx(2 * (1 + 0.375) ** 2)
    assert found.between == pytest.approx((4 / 3) / (0.5 + 4 / 3))
    half = stats.t.ppf(0.975, found.degrees) * math.sqrt(found.variance)
    assert found.interval() == pytest.approx((2 - half, 2 + half), rel=2e-3)
    assert rubin([2, 2], [0.5, 0.5]).degrees == math.inf
    with pytest.raises(ValueError, match="two tables or more"):
        rubin([1], [1])


@pytest.mark.parametrize("degrees", [1, 1.7, 2.9, 3, 4, 9.5, 40, math.inf])
@pytest.mark.parametrize("share", [0.9, 0.95])
def test_students_quantile_is_that_of_scipy(share, degrees):
    expected = stats.t.ppf((1 + share) / 2, degrees) if degrees < math.inf else stats.norm.ppf((1 + share) / 2)
    assert student(share, degrees) == pytest.approx(expected, rel=2e-3)


def test_pooled_means_leave_observed_columns_out():
    rows = [{"a": 1, "b": 1.0}, {"a": None, "b": 3.0}, {"a": 5, "b": 2.0}]
    schema = Schema({"a": Column("integer"), "b": Column("number")})
    tables = [[{**row, "a": row["a"] or guess} for row in rows] for guess in (2, 4)]
    [found] = pooled_means(schema, rows, Completed(tables, [], []))
    assert (found["column"], found["missing"], found["observed_mean"]) == ("a", 1, 3)
    assert found["pooled_mean"] == pytest.approx((8 / 3 + 10 / 3) / 2)


def test_errors_and_coverage_are_those_of_the_hidden_cells():
    column = Column("integer")
    cells = [(Distribution(column, range(11), np.full(11, 1 / 11)), truth) for truth in (5, 9, 10, 30)]
    found = compared(cells, [4, 8], 0.8)
    assert found["error"] == pytest.approx(math.sqrt((0 + 16 + 25 + 625) / 4))  # of 5, the mean
    assert found["baseline"] == pytest.approx(math.sqrt((1 + 9 + 16 + 576) / 4))  # of 6, that of the observed
    assert found["covered"] == 0.5  # the interval is 1 to 9


def test_a_column_of_one_value_has_no_error_at_all():
    column, observed = Column("number"), [0.1] * 37  # whose mean is 0.10000000000000002
    cells = [(Distribution(column, observed, np.full(37, 1 / 37)), 0.1)] * 4
    found = compared(cells, observed, 0.9)
    assert (found["error"], found["baseline"]) == (0, 0)  # else `inspect` takes them for a ratio


def test_categories_are_right_or_wrong_and_covered_by_the_likeliest():
    column = Column("category", categories=("a", "b", "c"))
    cells = [(Distribution(column, column.categories, np.array([0.6, 0.3, 0.1])), truth) for truth in "abcb"]
    found = compared(cells, ["b", "a", "b"], 0.8)
    assert (found["error"], found["baseline"], found["covered"]) == (0.75, 0.5, 0.75)  # a; b; a and b
    assert found["covered_interval"] == list(wilson(3, 4))


def measured(rows, seed, holes=0.25):
    """Rows of five numbers and a category, with holes."""
    rng = random.Random(seed)
    whole = [{**{f"c{at}": rng.random() for at in range(5)}, "sex": rng.choice("fm")} for _ in range(rows)]
    return [{name: None if rng.random() < holes else cell for name, cell in row.items()} for row in whole]


def test_synthetic_rows_that_fill_the_holes_of_learnt_ones_are_copies():
    schema = infer(measured(50, 0, 0))
    learnt, others, whole = measured(60, 1), measured(60, 2), measured(60, 3, 0)
    pairs = zip(learnt, whole, strict=True)
    copies = [{name: full[name] if own[name] is None else own[name] for name in own} for own, full in pairs]
    found = privacy(schema, copies, learnt, others, 0)
    assert found["closest_record"]["copies"] > 0.9  # all but rows of a cell or two
    assert found["membership"]["auc"] > 0.9
    found = privacy(schema, whole, learnt, others, 0)
    assert found["closest_record"]["copies"] == 0
    assert 0.35 < found["membership"]["auc"] < 0.65


def test_hidden_cells_leave_every_row_and_column_something():
    rows = people(30)
    left, hidden = hide(rows, SCHEMA, "sick", 0.4, 0)
    assert hidden == sorted(hide(rows, SCHEMA, "sick", 0.4, 0)[1])
    assert all(name in ("age", "waist_cm", "sex") for _, name in hidden)
    for at, (row, before) in enumerate(zip(left, rows, strict=True)):
        assert {name for name in row if row[name] != before[name]} == {name for row_at, name in hidden if row_at == at}
        assert any(row[name] is not None for name in ("age", "waist_cm", "sex"))


def test_as_many_cells_are_hidden_as_asked_and_two_of_a_column_stay():
    assert len(hide(people(60, 0), SCHEMA, "sick", 0.1, 0)[1]) == 18  # of 60 times age, waist and sex
    rows = [{**row, "waist_cm": row["waist_cm"] if at < 4 else None} for at, row in enumerate(people(30, 0))]
    for seed in range(9):
        left, hidden = hide(rows, SCHEMA, "sick", 0.49, seed)
        assert sum(row["waist_cm"] is not None for row in left) >= 2
        assert len(hidden) > 20


@pytest.mark.parametrize("between", [";", "\t", "|"])
def test_a_table_need_not_be_separated_by_commas(csv_file, between, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text(csv_file.read_text().replace(",", between))
    assert read_table(str(other)).splits == read_table(str(csv_file)).splits


# Whole


def test_a_table_is_completed_and_loads(causal_folder, csv_file, tmp_path, capsys):
    more = ["--synthetic_label", "yes", "--synthetic_rows", "6", "--hidden", "0.2"]
    assert run(causal_folder, csv_file, tmp_path / "out", *more) == 0
    said = capsys.readouterr().out
    assert "synthetic rows; their privacy is not measured without `holdout` rows" in said
    assert "texts and ids, neither read nor imputed (a `schema` can say otherwise): note" in said
    folder = str(tmp_path / "out" / "dataset")
    original = load_dataset(folder, "original")["train"]
    tables = load_dataset(folder)["train"]
    assert tables["imputation"][:] == [1] * 60 + [2] * 60
    assert tables.features["sick"].names == ["no", "yes"]
    best = load_dataset(folder, "best")["train"]
    schema = infer(people())
    cells = load_dataset(folder, "cells")["train"]
    asked = {(cell["row"], cell["column"]): cell for cell in cells}
    for table in (best, tables.select(range(60)), tables.select(range(60, 120))):
        for at, (row, given) in enumerate(zip(table, original, strict=True)):
            for name, value in given.items():
                if value is not None:
                    assert row[name] == value  # what was observed never changes
                elif name != "note":
                    low, high = schema.columns[name].range or (0, 1)
                    assert low <= row[name] <= high
                    assert (at, name) in asked
    assert best["waist_cm"][:] != tables["waist_cm"][:60]
    some = next(cell for cell in cells if cell["column"] == "waist_cm")
    assert some["low"] <= some["number"] <= some["high"]
    assert (
        next(cell for cell in cells if cell["column"] == "note")["how"]
        == "not imputed: neither numbers nor categories, of which a column has 52 at most"
    )
    written = load_dataset(folder, "synthetic")["train"]
    assert set(written["sick"]) == {1}
    assert all(row["age"] is not None and row["waist_cm"] is not None for row in written)


def test_what_the_card_says_is_what_the_tables_hold(causal_folder, csv_file, tmp_path):
    assert run(causal_folder, csv_file, tmp_path / "out", "--hidden", "0.2", "--private") == 0
    card = (tmp_path / "out/dataset/README.md").read_text()
    assert "| made under `private` | rows of 'people.csv': kept on the machine that made it" in card
    assert held_back(tmp_path / "out/dataset") == "rows made with rows of 'people.csv'"
    facts = json.loads((tmp_path / "out/dataset/hf_synth/facts.json").read_text())
    table = load_dataset(str(tmp_path / "out/dataset"))["train"]
    original = people()
    for one in facts["missing"]:
        holes = sum(row[one["column"]] is None for row in original)
        assert one["splits"] == {"train": holes}
        assert (one["imputed"], one["empty"]) == ((0, holes) if one["column"] == "note" else (holes, 0))
    [(reason, count)] = facts["empty"].items()
    assert (reason.partition(",")[0], count) == ("not imputed: neither numbers nor categories", 20)
    assert reason.endswith(" (column note)")
    for one in facts["pooled"]:
        means = [table.filter(lambda row, m=m: row["imputation"] == m)[one["column"]][:] for m in (1, 2)]
        assert one["pooled_mean"] == pytest.approx(np.mean(means))
        spread = np.mean([np.var(values, ddof=1) / 60 for values in means])
        between = 1.5 * np.var([np.mean(values) for values in means], ddof=1)
        assert one["unknown"] == pytest.approx(between / (spread + between))
    observed = sum(row[name] is not None for row in original for name in ("age", "waist_cm", "sex"))
    assert facts["covered"]["cells"] == pytest.approx(0.2 * observed, abs=3)  # a row keeps a cell
    assert {one["column"] for one in facts["checked"]} == {"age", "waist_cm", "sex"}


def test_a_table_of_one_column_to_read_is_refused_and_its_folder_stays_free(causal_folder, tmp_path, capsys):
    (tmp_path / "t.csv").write_text("age,note\n" + "".join(f"{at % 7 or ''},row {at} is long\n" for at in range(30)))
    for _ in range(2):
        settings = ["--output_dir", str(tmp_path / "out"), "--model", str(causal_folder)]
        assert guarded("impute", [str(tmp_path / "t.csv"), *settings]) == 2
        assert "a table needs two columns of numbers or categories" in capsys.readouterr().err
    assert guarded("impute", [str(tmp_path / "t.csv"), *settings, "--seed", "3"]) == 2
    assert "a table needs two columns" in capsys.readouterr().err


def digests(folder):
    return {file.name for file in (folder / "dataset" / "data").iterdir()}  # the names hold the content's digest


def test_a_killed_run_goes_on_and_gives_the_same_digits(causal_folder, csv_file, tmp_path, monkeypatch):
    assert run(causal_folder, csv_file, tmp_path / "whole") == 0
    asked, some = [], impute.TunedModel._some

    def dies(self, part):
        asked.append(len(part))
        if len(asked) == 4:
            raise KeyboardInterrupt
        return some(self, part)

    monkeypatch.setattr(impute.TunedModel, "_some", dies)
    assert run(causal_folder, csv_file, tmp_path / "killed") == 130
    assert not (tmp_path / "killed" / "dataset").exists()
    assert run(causal_folder, csv_file, tmp_path / "killed") == 0
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")
    before = len(asked)
    assert run(causal_folder, csv_file, tmp_path / "killed") == 0
    assert len(asked) == before  # nothing is asked twice
    assert run(causal_folder, csv_file, tmp_path / "killed", "--seed", "1") == 2


def test_it_says_so_when_there_is_no_valid_value(causal_folder, csv_file, tmp_path, monkeypatch, capsys):
    """A model that never writes an age: those cells stay empty with a reason, the rest of the table is there."""
    some = impute.TunedModel._some

    tokenizer = AutoTokenizer.from_pretrained(causal_folder)

    def no_ages(self, part):
        ages = [tokenizer.decode(tokens).endswith("age:") for tokens, _ in part]
        return [(spread, 0.0 if age else mass) for age, (spread, mass) in zip(ages, some(self, part), strict=True)]

    monkeypatch.setattr(impute.TunedModel, "_some", no_ages)
    assert run(causal_folder, csv_file, tmp_path / "out") == 0
    holes = sum(row["age"] is None for row in people())
    assert f"left empty: {holes} cells: no valid value (column age)" in capsys.readouterr().out
    folder = str(tmp_path / "out" / "dataset")
    best = load_dataset(folder, "best")["train"]
    assert len(best) == 60
    assert sum(value is None for value in best["age"]) == holes
    assert None not in best["waist_cm"][:]
    card = (tmp_path / "out" / "dataset" / "README.md").read_text()
    assert f"- left empty, {holes}: no valid value (column age)" in card


def test_the_loss_is_that_of_the_values_over_the_whole_vocabulary(causal_folder, tokenizer):
    """Beside transformers' own loss, which takes the same labels."""
    from hf_synth.tables.tune import ValueTrainer, _collated

    rows = people()
    data = texts(Serialiser(codings(SCHEMA, rows, 10, tokenizer), tokenizer), rows, None, 1, 0)[:7]
    model = AutoModelForCausalLM.from_pretrained(causal_folder)
    batch = _collated(data)
    expected = model(**batch).loss.item()

    class Held:
        accelerator = type(
            "A", (), {"autocast": staticmethod(lambda: torch.no_grad()), "unwrap_model": staticmethod(lambda m: m)}
        )

    model.get_base_model = lambda: model
    assert ValueTrainer.compute_loss(Held(), model, batch).item() == pytest.approx(expected, rel=1e-5)


def test_tuning_learns_what_goes_with_what(causal_folder, tmp_path):
    """Age says what the waist is: a tuned tiny model knows, and beats the mean on rows that it has not seen."""
    rows, others = people(100, 0, 1), people(40, 0, 2)
    config = ImputerConfig(str(causal_folder), tune_epochs=15, tune_learning_rate=1e-2, orders=1)
    task = ImputeConfig("people.csv", label_column="sick")
    imputer = impute.Imputer(SCHEMA, rows, resolve(str(causal_folder)), config, task)
    wanted = [Wanted(str(at), {**imputer.read(row), "waist_cm": None}, ("waist_cm",)) for at, row in enumerate(others)]
    known = imputer.distributions(wanted)
    spread = imputer.serialiser.codings["waist_cm"].distribution
    cells = [(spread(known[str(at), "waist_cm"][0]), row["waist_cm"]) for at, row in enumerate(others)]
    found = compared(cells, [row["waist_cm"] for row in rows], 0.9)
    assert found["error"] < 0.8 * found["baseline"]
