"""Each manufacturer's table: which names it answers to, which parts it tells apart, which scales it accepts."""

import math

import pytest
from pydicom import Dataset

from dicom_io import errors
from dicom_io.read.headers import read_frame_headers
from dicom_io.read.vendors.convention import StoredValues
from dicom_io.read.vendors.table import VENDORS, vendor_named, vendor_of
from dicom_io.series import Part
from tests.dicom_io.read import scanner_files as scanner

SCAN = scanner.Scan()


@pytest.mark.parametrize(
    ("manufacturer", "name"),
    [
        ("SIEMENS", "Siemens"),
        ("Siemens Healthineers", "Siemens"),
        ("Siemens HealthCare GmbH", "Siemens"),
        ("Philips Medical Systems", "Philips"),
        ("Philips", "Philips"),
        ("GE MEDICAL SYSTEMS", "GE"),
        ("GE Healthcare", "GE"),
        ("UIH", "United Imaging"),
        ("United Imaging Healthcare", "United Imaging"),
        ("CANON_MEC", "Canon"),
        ("TOSHIBA", "Canon"),
        ("TOSHIBA_MEC", "Canon"),
        ("Lodestone", "Lodestone simulated scanner"),
    ],
)
def test_the_manufacturers_own_spellings_are_known(manufacturer: str, name: str) -> None:
    vendor = vendor_of(manufacturer)
    assert vendor is not None
    assert vendor.name == name
    assert vendor_named(name) is vendor


@pytest.mark.parametrize("manufacturer", ["", " ", "Acme", "GENERIC MEDICAL", "PHILIPSX", "Bruker", "dcm2niix"])
def test_other_names_are_nobodys(manufacturer: str) -> None:
    assert vendor_of(manufacturer) is None


def values(
    slope: float | None, intercept: float | None, units: str = "", bits: int = 12, *, is_signed: bool = False
) -> StoredValues:
    return StoredValues(slope, intercept, units, bits, is_signed)


SIEMENS_STEP = math.pi / 2048
ACCEPTED = [
    ("Siemens", values(2, -4096), SIEMENS_STEP, -math.pi, True),
    ("Siemens", values(2, -4096, bits=16), SIEMENS_STEP, -math.pi, False),
    ("Siemens", values(None, None), SIEMENS_STEP, -math.pi, False),
    ("Siemens", values(1, 0), SIEMENS_STEP, -math.pi, False),
    ("Philips", values(1.53455433455433, -3142, "mrad"), 1.53455433455433e-3, -3.142, True),
    ("Philips", values(1.53455433455433, -3142), 1.53455e-3, -3.142, True),
    ("Philips", values(0.00153436, -3.1415927), 0.00153436, -math.pi, True),
    ("GE", values(None, None, bits=16, is_signed=True), 1e-3, 0, False),
    ("GE", values(1, 0, bits=16, is_signed=True), 1e-3, 0, False),
    ("United Imaging", values(2, -4096), SIEMENS_STEP, -math.pi, True),
    ("Canon", values(0.1, -180, "deg"), math.radians(0.1), -math.pi, True),
    ("Lodestone simulated scanner", values(2, -4096), SIEMENS_STEP, -math.pi, True),
]


@pytest.mark.parametrize(("name", "stored", "slope", "intercept", "is_declared"), ACCEPTED)
def test_a_known_encoding_becomes_radians(
    name: str, stored: StoredValues, slope: float, intercept: float, is_declared: bool
) -> None:
    vendor = vendor_named(name)
    assert vendor is not None
    scale = vendor.phase_scale(stored)
    assert scale.slope == pytest.approx(slope, rel=1e-4)
    assert scale.intercept == pytest.approx(intercept, rel=2e-4)
    assert scale.is_declared is is_declared


UNDECIDED = [
    values(None, None, bits=16),
    values(1.7, -4096),
    values(2, 0),
    values(0, -4096),
    values(0.2442, -500, "hz"),
    values(3, None, "mrad"),
]


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
@pytest.mark.parametrize("stored", UNDECIDED)
def test_an_encoding_that_proves_nothing_is_refused_by_every_manufacturer(vendor: object, stored: StoredValues) -> None:
    with pytest.raises(errors.PhaseScaleUnknown, match="Rescale Slope"):
        vendor.phase_scale(stored)  # type: ignore[attr-defined]


def philips(kind: list[str], private: str = "") -> Dataset:
    dataset = scanner.classic(SCAN, "Philips", "P", scanner.as_philips)[0]
    dataset.ImageType = kind
    if private:
        dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x11, "CS", private)
    return dataset


@pytest.mark.parametrize(
    ("kind", "private", "expected"),
    [
        (["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"], "P", Part.PHASE),
        (["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"], "M", Part.MAGNITUDE),
        (["ORIGINAL", "PRIMARY", "R_FFE", "R", "FFE"], "", Part.REAL),
        (["ORIGINAL", "PRIMARY", "B0 MAP", "B0", "UNSPECIFIED"], "B0", Part.FIELD_MAP),
        (["ORIGINAL", "PRIMARY", "T2 MAP", "T2", "UNSPECIFIED"], "", Part.UNKNOWN),
        (["ORIGINAL", "PRIMARY"], "I", Part.IMAGINARY),
    ],
)
def test_philips_tells_parts_apart(kind: list[str], private: str, expected: Part) -> None:
    assert read_frame_headers(philips(kind, private))[0].part is expected


def test_philips_public_and_private_part_must_agree() -> None:
    (header,) = read_frame_headers(philips(["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"], "M"))
    assert [objection.refusal for objection in header.objections] == ["ContradictoryHeader"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(0, Part.MAGNITUDE), (1, Part.PHASE), (2, Part.REAL), (3, Part.IMAGINARY), (7, Part.UNKNOWN)],
)
def test_ge_keeps_the_part_in_a_private_element(raw: int, expected: Part) -> None:
    dataset = scanner.classic(SCAN, "GE MEDICAL SYSTEMS", "R", scanner.as_ge)[0]
    dataset[0x0043, 0x102F].value = raw
    assert read_frame_headers(dataset)[0].part is expected


def test_a_siemens_field_map_sequence_makes_its_phase_a_difference() -> None:
    dataset = scanner.classic(SCAN, "SIEMENS", "P", scanner.as_siemens)[0]
    dataset.SequenceName = "*fm2d2r"
    assert read_frame_headers(dataset)[0].part is Part.PHASE_DIFFERENCE


@pytest.mark.parametrize("name", ["United Imaging", "Canon"])
def test_a_sign_that_no_reference_series_proved_is_said_in_the_report(name: str) -> None:
    vendor = vendor_named(name)
    assert vendor is not None
    assert "assumed" in vendor.caveat
    assert "veins" in vendor.caveat


@pytest.mark.parametrize(
    ("protocol", "n_slices"),
    [
        ("sSliceArray.lSize = 36\nsKSpace.lImagesPerSlab = 32\nsKSpace.ucDimension = 2\n", 36),
        ("sSliceArray.lSize\t = \t1\nsKSpace.lImagesPerSlab\t = \t104\nsKSpace.ucDimension\t = \t4\n", 104),
        ("sSliceArray.lSize = 1\nsKSpace.lImagesPerSlab = 088\nsKSpace.ucDimension = 0x4\n", 88),
        ("sSliceArray.lSize = 3\nsKSpace.lImagesPerSlab = 40\nsKSpace.ucDimension = 4\n", None),
        ("sSliceArray.lSize = 0\nsKSpace.ucDimension = 2\n", None),
        ("lContrasts = 2\n", None),
    ],
)
def test_siemens_declares_slices_in_its_protocol(protocol: str, n_slices: int | None) -> None:
    (dataset,) = scanner.classic(
        scanner.Scan(shape=(1, 3, 3), echo_times_ms=(4.0,)), "SIEMENS", "M", scanner.as_siemens
    )
    text = protocol.encode()
    block = dataset.private_block(0x0021, "SIEMENS MR SDS 01", create=True)
    block.add_new(0x19, "OB", text + b" " * (len(text) % 2))
    (frame,) = read_frame_headers(dataset)
    assert frame.n_slices_declared == n_slices
