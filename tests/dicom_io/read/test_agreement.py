"""Of four parts the unused pair is a witness: what was exchanged, turned or lost its name is never misread."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from dicom_io.errors import ContradictoryHeader, IncompleteSeries
from dicom_io.geometry import Geometry
from dicom_io.read.reader import read_echo_series
from dicom_io.series import EchoSeries
from dicom_io.write.part10 import to_bytes
from dicom_io.write.scanners.scan import Scan
from dicom_io.write.scanners.table import FLAVOURS

SHAPE = (4, 10, 8)
CLASSIC = ("ge_classic", "philips_classic_complex")
FOUR_PARTS = (*CLASSIC, "philips_enhanced_complex")
SPARE = {"ge_classic": "magnitude and phase", "philips_classic_complex": "real and imaginary"}
SPARE["philips_enhanced_complex"] = SPARE["philips_classic_complex"]
# From real and imaginary images in whole numbers the angle is less exact than the stored phase.
ROUNDING_RAD, LARGEST_DARKENING = 8e-3, 0.7

Change = Callable[[Dataset], None]


@cache
def scan() -> Scan:
    """Return a bright image whose phase wraps."""
    geometry = Geometry(
        row_direction=(1.0, 0.0, 0.0),
        column_direction=(0.0, 1.0, 0.0),
        first_position=(-80.0, -100.0, -40.0),
        slice_step=(0.0, 0.0, 20.0),
        pixel_spacing=(20.0, 20.0),
        shape=SHAPE,
        frame_of_reference_uid="2.25.4711",
    )
    times = (0.004, 0.009)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    hertz = 150 * np.exp(-((x - 0.2) ** 2 + y**2 + z**2)) + 70 * x * y + 20 * z
    echoes = np.array(times)[:, None, None, None]
    phase = np.angle(np.exp(1j * (2 * math.pi * hertz * echoes + 0.4 + 2.6 * x)))
    magnitude = (700 + 200 * np.cos(2 * x) * np.cos(y)) * np.exp(-25 * echoes)
    return Scan(magnitude=magnitude, phase=phase, echo_times_s=times, geometry=geometry, magnetic_field_strength_t=3.0)


def part_of(image: Dataset) -> str:
    """Return the letter of a classic image's part."""
    if image.Manufacturer.startswith("GE"):
        return "MPRI"[image[0x0043, 0x102F].value]
    return str(image.ImageType[3])


def read(images: Sequence[Dataset], folder: Path) -> EchoSeries:
    """Write images and read them as one acquisition."""
    paths = []
    for number, image in enumerate(images):
        paths.append(folder / f"{number:04d}.dcm")
        paths[-1].write_bytes(to_bytes(image))
    return read_echo_series(paths)


def values_of(image: Dataset) -> np.ndarray:
    return np.frombuffer(image.PixelData, "<i2" if image.PixelRepresentation else "<u2").astype(int)


def put(image: Dataset, values: np.ndarray) -> None:
    image.PixelData = values.astype("<i2" if image.PixelRepresentation else "<u2").tobytes()


def chosen(images: Sequence[Dataset], part: str, how_many: str) -> list[Dataset]:
    """Return all images of a part, one, or every second, by slice and echo."""
    found = [image for image in images if part_of(image) == part]
    found.sort(key=lambda image: (float(image.SliceLocation), float(image.EchoTime)))
    return {"all": found, "one": found[3:4], "half": found[::2]}[how_many]


@pytest.mark.parametrize("flavour", FOUR_PARTS)
def test_four_parts_that_agree_are_told_in_the_report(flavour: str, tmp_path: Path) -> None:
    echoes = read(FLAVOURS[flavour](scan()), tmp_path)
    assert f"The {SPARE[flavour]} images, which came as well, tell of the same phase." in echoes.source.notes


@pytest.mark.parametrize("how_many", ["all", "one"])
@pytest.mark.parametrize("pair", ["RI", "MP", "MR", "PI"])
@pytest.mark.parametrize("flavour", CLASSIC)
def test_parts_that_were_exchanged_are_refused(flavour: str, pair: str, how_many: str, tmp_path: Path) -> None:
    images = FLAVOURS[flavour](scan())
    for one, other in zip(*(chosen(images, part, how_many) for part in pair), strict=True):
        one.PixelData, other.PixelData = other.PixelData, one.PixelData
    with pytest.raises(ContradictoryHeader):
        read(images, tmp_path)


@pytest.mark.parametrize("how_many", ["all", "one"])
@pytest.mark.parametrize("part", ["P", "R", "I"])
@pytest.mark.parametrize("flavour", CLASSIC)
def test_a_part_whose_sign_was_turned_is_refused(flavour: str, part: str, how_many: str, tmp_path: Path) -> None:
    images = FLAVOURS[flavour](scan())
    for image in chosen(images, part, how_many):
        values = values_of(image)
        put(image, -values if image.PixelRepresentation else np.clip(4096 - values, 0, 4095))
    with pytest.raises(ContradictoryHeader, match="of opposite sign"):
        read(images, tmp_path)


def test_slices_that_alternate_in_one_pair_only_and_a_magnitude_made_even_are_no_contradiction(tmp_path: Path) -> None:
    images = FLAVOURS["ge_classic"](scan())
    expected = read(images, tmp_path)
    evenness = np.linspace(1, LARGEST_DARKENING, SHAPE[1] * SHAPE[2])
    for image in images:
        if part_of(image) == "M":
            put(image, np.rint(values_of(image) * evenness))
        elif part_of(image) in "RI" and image.InStackPositionNumber % 2:
            put(image, -values_of(image))
    found = read(images, tmp_path)
    # A constant of π in all voxels is what undoing the alternation leaves.
    turned = np.angle(np.exp(1j * (found.phase.astype(float) - expected.phase)))
    assert np.minimum(np.abs(turned), math.pi - np.abs(turned)).max() < 1e-3
    assert np.ptp(np.cos(turned)) < 1e-3


def nameless_for_ge(image: Dataset) -> None:
    del image[0x0043, 0x102F]


def anonymised(image: Dataset) -> None:
    for tag in [element.tag for element in image if element.tag.is_private]:
        del image[tag]
    image.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]


@pytest.mark.parametrize("how_many", ["all", "one", "half"])
@pytest.mark.parametrize("part", ["M", "P", "R", "I"])
@pytest.mark.parametrize(
    ("flavour", "change"),
    [
        ("ge_classic", nameless_for_ge),
        ("ge_classic", anonymised),
        ("ge_classic", None),
        ("philips_classic_complex", anonymised),
        ("philips_classic_complex", None),
    ],
)
def test_a_part_that_lost_its_name_or_is_gone_ends_in_the_same_phase_or_a_refusal(
    flavour: str, change: Change | None, part: str, how_many: str, tmp_path: Path
) -> None:
    images = FLAVOURS[flavour](scan())
    lost = chosen(images, part, how_many)
    for image in lost if change else ():
        change(image)
    kept = images if change else [image for image in images if image not in lost]
    try:
        found = read(kept, tmp_path)
    except (ContradictoryHeader, IncompleteSeries):
        return
    turned = np.angle(np.exp(1j * (found.phase.astype(float) - scan().phase)))
    assert found.source.echo_times_s == scan().echo_times_s
    assert np.abs(turned).max() < ROUNDING_RAD


@pytest.mark.parametrize("part", ["MAGNITUDE", "PHASE", "REAL", "IMAGINARY"])
@pytest.mark.parametrize("how_many", [1, 8])
def test_frames_of_an_enhanced_object_that_lost_their_name_end_in_the_same_phase_or_a_refusal(
    part: str, how_many: int, tmp_path: Path
) -> None:
    (image,) = FLAVOURS["philips_enhanced_complex"](scan())
    groups = [
        group
        for group in image.PerFrameFunctionalGroupsSequence
        if group.MRImageFrameTypeSequence[0].ComplexImageComponent == part
    ]
    for group in groups[:how_many]:
        group.MRImageFrameTypeSequence[0].ComplexImageComponent = "MIXED"
        group.MRImageFrameTypeSequence[0].FrameType = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
        for element in [element for element in group if element.tag.is_private]:
            del group[element.tag]
    try:
        found = read([image], tmp_path)
    except IncompleteSeries:
        return
    turned = np.angle(np.exp(1j * (found.phase.astype(float) - scan().phase)))
    assert np.abs(turned).max() < ROUNDING_RAD


def test_real_images_that_all_lost_their_name_are_not_left_aside_for_the_coarser_phase(tmp_path: Path) -> None:
    images = FLAVOURS["ge_classic"](scan())
    for image in chosen(images, "R", "all"):
        image.private_block(0x0043, "GEMS_PARM_01")
        del image[0x0043, 0x0010]
    with pytest.raises(IncompleteSeries, match="imaginary images but no real ones, and 8 images that do not say"):
        read(images, tmp_path)
