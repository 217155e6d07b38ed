"""Plain values are what pydicom makes of the same bytes, converted once."""

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from dicom_io.errors import ContradictoryHeader
from dicom_io.instance import attribute
from dicom_io.read.elements import Elements, Layout
from dicom_io.read.plain_values import is_plain, plain_attribute


def elements(keyword: str, vr: str | None, stored: bytes) -> tuple[Elements, int]:
    key = int(tag_for_keyword(keyword) or 0)
    return Elements(Layout((key,), (vr,)), (stored,)), key


@pytest.mark.parametrize(
    ("keyword", "vr", "stored"),
    [
        ("EffectiveEchoTime", "FD", np.float64(4.1).tobytes()),
        ("EffectiveEchoTime", None, np.float64(4.1).tobytes()),
        ("DiffusionBValue", "FD", np.array([1.0, 2.0]).tobytes()),
        ("InStackPositionNumber", "UL", b"\7\0\0\0"),
        ("Rows", "US", b"\xc0\0"),
        ("Rows", None, b"\xc0\0"),
        ("ImagePositionPatient", "DS", b"-1.5\\2\\+3.25e1 "),
        ("ImagePositionPatient", "DS", b"-101.123456789\\2.5\\0 "),
        ("PixelSpacing", "DS", b"0.75\\"),
        ("EchoTime", "DS", b"4.1 "),
        ("EchoTime", "DS", b""),
        ("ImageType", "CS", b"ORIGINAL\\PRIMARY\\M "),
        ("StackID", "SH", b"1 "),
        ("RescaleType", "LO", b"mrad"),
    ],
)
def test_a_plain_value_is_the_one_that_pydicom_reads(keyword: str, vr: str | None, stored: bytes) -> None:
    found, key = elements(keyword, vr, stored)
    raw = found.raw(key)
    assert raw is not None
    expected = attribute(Dataset({raw.tag: raw}), keyword)
    assert is_plain(found, key)
    for _ in range(2):
        value = plain_attribute(found, key, keyword)
        if isinstance(value, tuple):
            assert value == tuple(map(float, expected))
        else:
            assert value == expected
            assert str(value) == str(expected)


def test_text_that_depends_on_the_character_set_is_not_plain() -> None:
    assert not is_plain(*elements("StackID", "SH", b"\xe4 "))
    assert not is_plain(*elements("RescaleType", "LO", b"\x1b(J"))


def test_bytes_that_are_no_value_are_refused_each_time() -> None:
    found, key = elements("Rows", "US", b"\xc0")
    for _ in range(2):
        with pytest.raises(ContradictoryHeader, match="Rows"):
            plain_attribute(found, key, "Rows")
