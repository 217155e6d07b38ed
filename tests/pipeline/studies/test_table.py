"""Tables print, save and travel with the same figures, and refuse rows that do not fit."""

import csv
import io
import json
import math

import pytest

from pipeline.errors import UnusableInput
from pipeline.studies.table import Estimate, EvaluationTable, shown

TABLE = EvaluationTable(
    "Errors",
    ("method", "NRMSE [%]", "samples"),
    (("tkd", Estimate(61.84, 58.0, 65.25), 12), ("no weights", None, 0)),
    ("Two rows.",),
)


def test_the_text_holds_title_headings_figures_and_notes_in_columns() -> None:
    lines = TABLE.text().splitlines()
    assert lines[0] == "Errors"
    assert lines[2].startswith("tkd")
    assert "61.8 [58.0, 65.2]" in lines[2]
    assert lines[3].split() == ["no", "weights", "–", "0"]
    assert lines[-1] == "Two rows."
    assert len({len(line) for line in lines[1:4]}) == 1


def test_an_estimate_takes_three_columns_of_the_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(TABLE.csv())))
    assert float(rows[0]["NRMSE [%]"]) == 61.84
    assert (float(rows[0]["NRMSE [%] low"]), float(rows[0]["NRMSE [%] high"])) == (58.0, 65.25)
    assert rows[1]["NRMSE [%]"] == ""
    assert rows[1]["samples"] == "0"


def test_the_document_is_strict_json_even_where_a_figure_is_not_a_number() -> None:
    table = EvaluationTable("t", ("a", "b"), ((math.nan, Estimate(1.0, math.nan, math.inf)),))
    text = json.dumps(table.document(), allow_nan=False)
    assert json.loads(text)["rows"] == [[None, {"value": 1.0, "low": None, "high": None}]]


def test_a_row_with_too_few_cells_is_refused() -> None:
    with pytest.raises(UnusableInput, match="1 cells below 2 headings"):
        EvaluationTable("t", ("a", "b"), (("x",),))


def test_numbers_are_shown_in_the_digits_that_matter() -> None:
    assert [shown(value) for value in (1234.5, 12.345, 1.2345, 0.12345, math.nan, True, 7, None)] == [
        "1234",
        "12.3",
        "1.23",
        "0.123",
        "–",
        "yes",
        "7",
        "–",
    ]
    assert str(Estimate(0.85, math.nan, math.nan)) == "0.850"
