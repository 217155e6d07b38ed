"""Plain names of regions find their code and their side."""

import pytest

from dicom_io.codes import LEFT, PRIVATE_SCHEME, RIGHT, code_item, is_altered_structure, private_code, region


@pytest.mark.parametrize(
    ("name", "value", "scheme", "side"),
    [
        ("left caudate", "11000004", "SCT", LEFT),
        ("Caudate nucleus (R)", "11000004", "SCT", RIGHT),
        ("Left globus pallidus externus", "61839", "FMA", LEFT),
        ("GPi_R", "61840", "FMA", RIGHT),
        ("dentate nucleus right", "683", "NEU", RIGHT),
        ("Brain", "12738006", "SCT", None),
        ("red-nucleus-l", "62407", "FMA", LEFT),
    ],
)
def test_a_region_is_found_by_its_plain_name(name: str, value: str, scheme: str, side: object) -> None:
    found = region(name)
    assert (found.structure.value, found.structure.scheme_designator) == (value, scheme)
    assert found.laterality == side


def test_a_name_with_both_sides_claims_none() -> None:
    assert region("left right connection").laterality is None


def test_an_unknown_region_gets_a_private_code_with_its_own_name() -> None:
    found = region("Left subthalamic nucleus")
    assert found.structure.scheme_designator == PRIVATE_SCHEME
    assert found.structure.meaning == "subthalamic nucleus"
    assert found.laterality == LEFT


def test_long_private_codes_fit_their_vr_and_stay_apart() -> None:
    first, second = private_code("a very long quality figure one"), private_code("a very long quality figure two")
    assert len(first.value) <= 16
    assert first.value != second.value
    assert len(private_code("x" * 100).meaning) == 64


def test_a_bleed_is_a_finding_and_a_nucleus_is_anatomy() -> None:
    assert is_altered_structure(region("bleed").structure)
    assert not is_altered_structure(region("putamen").structure)


def test_an_item_holds_value_scheme_and_meaning() -> None:
    item = code_item(LEFT)
    assert (item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning) == ("7771000", "SCT", "Left")
