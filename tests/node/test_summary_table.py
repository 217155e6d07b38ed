"""Right and left stand side by side in the table, and no region hides another."""

import pytest

from node.summary_fonts import register_fonts
from node.summary_table import Pair, pairs, region_tables
from pipeline.regions.measurements import RegionMeasurement


@pytest.fixture(autouse=True)
def fonts() -> None:
    register_fonts()


def measured(name: str, label: int = 1, mean: float = 0.05, **more: float) -> RegionMeasurement:
    return RegionMeasurement(label, name, mean, 0.01, mean, 1.5, 12, **more)


def cells(*regions: RegionMeasurement) -> list[list[str]]:
    return [row for table in region_tables(regions, 500.0, 8.0) for row in table._cellvalues]


@pytest.mark.parametrize(
    ("right", "left", "name"),
    [
        ("right caudate nucleus", "left caudate nucleus", "caudate nucleus"),
        ("Caudate (R)", "Caudate (L)", "Caudate"),
        ("SN-rh", "SN-lh", "SN"),
    ],
)
def test_two_sides_of_a_region_share_a_row(right: str, left: str, name: str) -> None:
    on_the_right, on_the_left = measured(right, 1), measured(left, 2)
    assert pairs([on_the_left, on_the_right]) == [Pair(name, on_the_right, on_the_left)]


def test_a_region_on_one_side_only_leaves_the_other_side_open() -> None:
    row = next(row for row in cells(measured("left putamen", mean=-0.0123)) if row[0] == "Putamen")
    assert row == ["Putamen", "–", "", "−12.3 ± 10.0", "1.50"]


def test_a_region_without_a_side_has_a_table_of_its_own() -> None:
    printed = cells(measured("Brain", 0), measured("left putamen"))
    assert ["Brain", "50.0 ± 10.0", "1.50"] in printed


def test_a_letter_within_a_word_is_no_side() -> None:
    assert pairs([measured("lenticular nucleus")])[0].whole is not None


def test_two_labels_of_one_name_are_two_rows() -> None:
    assert len(pairs([measured("left putamen", 1), measured("left putamen", 2), measured("right putamen", 3)])) == 2


def test_beside_a_network_s_map_the_interval_the_classical_value_and_the_difference_are_columns() -> None:
    trust = {"classical_mean": 0.03, "half_width": 0.004, "cone_share": 0.1}
    printed = cells(measured("left putamen", **trust), measured("Brain", 0, classical_mean=0.06))
    putamen = next(row for row in printed if row[0] == "Putamen")
    brain = next(row for row in printed if row[0] == "Brain")
    assert putamen[-5:] == ["50.0 ± 10.0", "4.0", "30.0", "+20.0", "1.50"]
    assert brain == ["Brain", "50.0 ± 10.0", "", "60.0", "−10.0", "1.50"]


def test_a_difference_of_nothing_has_no_sign_of_its_own() -> None:
    assert cells(measured("Brain", 0, mean=-0.00001))[-1][1].startswith("0.0 ±")


def test_a_name_that_is_a_sentence_is_cut_where_its_column_ends() -> None:
    long = "the part of the internal capsule that lies between caudate and lentiform nucleus"
    (name, *_) = cells(measured(long))[-1]
    assert name.startswith("The part of the")
    assert name.endswith("…")
    assert len(name) < 40
