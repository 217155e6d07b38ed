import json

import pytest

from dicom_io.errors import MalformedRawData
from dicom_io.kspace.overrides import parse_overrides, read_sidecar, sidecar_of
from tests.dicom_io.kspace.raw_scans import raw_header

SIDECAR = """
echo_times_ms = [6, 12]
field_strength_t = 7
field_of_view_mm = [8.0, 8.0, 4.0]
noise = "absent"
[identity]
PatientID = "SITE-1"
StudyInstanceUID = "1.2.3"
"""


def test_a_sidecar_replaces_what_the_header_states(tmp_path):
    path = tmp_path / "scan.toml"
    path.write_text(SIDECAR)
    given = read_sidecar(path)
    header = given.applied_to(raw_header())
    assert header.echo_times_s == (0.006, 0.012)
    assert header.field_strength_t == 7
    assert header.recon.field_of_view_mm == (4.0, 8.0, 8.0)
    # Sixteen samples were taken over twice the field of view of eight.
    assert header.encoded.field_of_view_mm == (4.0, 8.0, 16.0)
    assert header.identity["PatientID"] == "SITE-1"
    assert header.identity["ProtocolName"] == "qsm_megre_3d"
    assert given.is_without_noise
    assert parse_overrides(json.loads(given.as_text())) == given


def test_a_sidecar_is_found_beside_its_file(tmp_path):
    raw = tmp_path / "scan.h5"
    assert sidecar_of(raw) is None
    (tmp_path / "scan.h5.json").write_text("{}")
    assert sidecar_of(raw) == tmp_path / "scan.h5.json"
    (tmp_path / "scan.toml").write_text("")
    assert sidecar_of(raw) == tmp_path / "scan.toml"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("echo_time = [5]", "unknown key 'echo_time'"),
        ("echo_times_ms = 5", '"echo_times_ms" must hold numbers above 0'),
        ("field_strength_t = -1", '"field_strength_t" must hold 1 numbers above 0'),
        ("field_of_view_mm = [200, 200]", '"field_of_view_mm" must hold 3 numbers'),
        ('noise = "no"', '"noise" can only be "absent"'),
        ('[identity]\nPatientNam = "x"', "has no 'PatientNam'"),
        ('[identity]\nStudyInstanceUID = "no uid"', "StudyInstanceUID has a value that DICOM does not allow"),
        ("this is no TOML", "neither TOML nor JSON"),
    ],
)
def test_a_mistake_in_a_sidecar_is_named(tmp_path, text, sentence):
    path = tmp_path / "scan.toml"
    path.write_text(text)
    with pytest.raises(MalformedRawData, match=sentence):
        read_sidecar(path)
