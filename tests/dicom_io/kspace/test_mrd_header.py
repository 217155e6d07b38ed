import math

import pytest

from dicom_io.errors import MalformedRawData
from dicom_io.kspace.mrd_header import header_xml, read_header
from tests.dicom_io.kspace.raw_scans import raw_header


def test_a_header_comes_back_as_it_was_written():
    header = raw_header(
        trajectory="epi",
        acceleration=(2, 3),
        calibration_mode="embedded",
        echo_spacing_s=0.0007,
        parameters={"rampUpTime": 120, "dwellTime": 2.5, "note": "ramps"},
        patient_position="HFP",
    )
    read = read_header(header_xml(header))
    for name in vars(header):
        if name != "xml":
            assert getattr(read, name) == getattr(header, name), name


def test_what_a_header_does_not_state_stays_absent():
    read = read_header("<ismrmrdHeader><encoding><trajectory>Cartesian</trajectory></encoding></ismrmrdHeader>")
    assert math.isnan(read.field_strength_t)
    assert read.echo_times_s == ()
    assert read.encoded.shape == (0, 0, 0)
    assert read.trajectory == "cartesian"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hello", "is not XML"),
        ("<other/>", "no ismrmrdHeader"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><ismrmrdHeader/>', "declares a document type"),
        ("\x01\x02", "is not XML"),
    ],
)
def test_another_document_is_refused_by_name(text, sentence):
    with pytest.raises(MalformedRawData, match=sentence):
        read_header(text)
