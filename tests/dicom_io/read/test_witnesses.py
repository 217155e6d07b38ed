"""Every attribute that names the part of an image is heard, and two that disagree are a named refusal."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import Dataset

from dicom_io import errors
from dicom_io.read.reader import read_source
from tests.dicom_io.read import scanner_files as scanner

SCAN = scanner.Scan()
Change = Callable[[Dataset], None]


def component(value: str) -> Change:
    return lambda dataset: setattr(dataset, "ComplexImageComponent", value)


def image_type(*value: str) -> Change:
    return lambda dataset: setattr(dataset, "ImageType", list(value))


def private(group: int, creator: str, offset: int, vr: str, value: object) -> Change:
    def change(dataset: Dataset) -> None:
        dataset.private_block(group, creator, create=True).add_new(offset, vr, value)

    return change


CONTRADICTIONS = [
    ("Siemens component", "SIEMENS", scanner.as_siemens, component("MAGNITUDE"), "magnitude in Complex Image Comp"),
    ("Siemens text of VE11", "SIEMENS", scanner.as_siemens,
     private(0x0051, "SIEMENS MR HEADER", 0x16, "LO", "p2 M/ND"), "phase in Image Type .* magnitude in the private"),
    ("Siemens text of XA", "SIEMENS", scanner.as_siemens,
     private(0x0021, "SIEMENS MR SDI 02", 0x75, "CS", ["ORIGINAL", "PRIMARY", "R", "ND"]), "real in the private"),
    ("GE component", "GE MEDICAL SYSTEMS", scanner.as_ge, component("REAL"), "real in Complex Image Component"),
    ("GE words", "GE MEDICAL SYSTEMS", scanner.as_ge, image_type("ORIGINAL", "PRIMARY", "IMAGINARY"),
     "imaginary in Image Type .* phase in the private"),
    ("Philips component", "Philips", scanner.as_philips, component("IMAGINARY"), "imaginary in Complex"),
    ("Philips words among themselves", "Philips", scanner.as_philips,
     image_type("ORIGINAL", "PRIMARY", "M_FFE", "P", "FFE"), "magnitude in Image Type"),
    ("Philips private", "Philips", scanner.as_philips,
     private(0x2005, "Philips MR Imaging DD 001", 0x11, "CS", "R"), "real in the private"),
    ("United Imaging", "UIH", scanner.as_stated, image_type("ORIGINAL", "PRIMARY", "M", "UCA"), "magnitude in Image"),
    ("Canon", "CANON_MEC", scanner.as_stated, image_type("ORIGINAL", "PRIMARY", "REAL"), "real in Image Type"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("manufacturer", "encode", "change", "phrase"), [c[1:] for c in CONTRADICTIONS], ids=[c[0] for c in CONTRADICTIONS]
)
@pytest.mark.parametrize("n_changed", [1, 12], ids=["one image", "all phase images"])
def test_two_attributes_that_call_an_image_different_parts_are_a_contradiction(
    tmp_path: Path, manufacturer: str, encode: scanner.Encode, change: Change, phrase: str, n_changed: int
) -> None:
    magnitude, phase = (scanner.classic(SCAN, manufacturer, part, encode) for part in "MP")
    for dataset in phase[:n_changed]:
        change(dataset)
    with pytest.raises(errors.ContradictoryHeader, match=f"called .*{phrase}"):
        read_source(scanner.save([*magnitude, *phase], tmp_path))


AGREEING = [
    ("SIEMENS", scanner.as_siemens, component("PHASE")),
    ("SIEMENS", scanner.as_siemens, private(0x0051, "SIEMENS MR HEADER", 0x16, "LO", "p2 P/ND")),
    ("SIEMENS", scanner.as_siemens, component("MIXED")),
    ("GE MEDICAL SYSTEMS", scanner.as_ge, component("PHASE")),
    ("Philips", scanner.as_philips, private(0x2005, "Philips MR Imaging DD 001", 0x11, "CS", "P")),
]


@pytest.mark.parametrize(("manufacturer", "encode", "change"), AGREEING)
def test_witnesses_that_agree_or_say_nothing_do_no_harm(
    tmp_path: Path, manufacturer: str, encode: scanner.Encode, change: Change
) -> None:
    magnitude, phase = (scanner.classic(SCAN, manufacturer, part, encode) for part in "MP")
    for dataset in phase:
        change(dataset)
    assert read_source(scanner.save([*magnitude, *phase], tmp_path)).geometry.shape == SCAN.shape


def test_the_sum_of_an_object_of_many_frames_is_no_witness_for_one_frame(tmp_path: Path) -> None:
    """XA writes MIXED, or the first frame's part, at the top of an object that holds both (dcm2niix #1033)."""
    objects = [scanner.enhanced_siemens(SCAN, part, echo, f"{part[0] == 'P':d}.{echo}")
               for part in ("MAGNITUDE", "PHASE") for echo in range(3)]  # fmt: skip
    for dataset in objects:
        dataset.ComplexImageComponent = "MIXED"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
    assert len(read_source(scanner.save(objects, tmp_path)).echo_times_s) == 3


def test_the_frames_own_words_are_witnesses(tmp_path: Path) -> None:
    objects = [scanner.enhanced_siemens(SCAN, part, echo, f"{part[0] == 'P':d}.{echo}")
               for part in ("MAGNITUDE", "PHASE") for echo in range(3)]  # fmt: skip
    frame = objects[4].PerFrameFunctionalGroupsSequence[2].MRImageFrameTypeSequence[0]
    frame.FrameType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
    with pytest.raises(errors.ContradictoryHeader, match=r"phase in Complex Image Component .* in Frame Type"):
        read_source(scanner.save(objects, tmp_path))
