"""What a scanner of each manufacturer sends, the reader gives back: the same acquisition out of every flavour."""

import hashlib
import importlib
import math
import random
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset

from dicom_io.geometry import Geometry
from dicom_io.read.headers import read_frame_headers
from dicom_io.read.reader import find_acquisitions, read_echo_series
from dicom_io.read.sorting import assess
from dicom_io.series import EchoSeries
from dicom_io.write.identity import array_digest
from dicom_io.write.part10 import to_bytes
from dicom_io.write.scanners.scan import Scan
from dicom_io.write.scanners.table import FLAVOURS

ECHO_TIMES_S = (0.00392, 0.0095, 0.01508)
SHAPE = (3, 10, 8)
POLARITIES = ("monopolar", "bipolar")
# The coarsest step of each manufacturer's phase [rad]: half of it is what rounding may change.
PHASE_STEP_RAD = {
    "siemens": math.pi / 2048,
    "ge": 1e-3,
    "philips": 1.53455433455433e-3,
    "united": 2 * math.pi / 65535,
    "canon": 2 * math.pi / 65535,
}
# From real and imaginary images in whole numbers, the angle of the darkest voxels is the least exact.
ANGLE_STEP_RAD = {"ge_classic": 1e-3, "ge_alternating_slices": 1e-3, "canon_real_and_imaginary": 6e-4}
ANGLE_STEP_RAD["philips_real_and_imaginary"] = 8e-3


def oblique_grid() -> Geometry:
    """Return a grid turned about two axes, with three different voxel edges."""
    a, b = math.radians(17), math.radians(-23)
    row = (math.cos(a), math.sin(a), 0.0)
    column = (-math.sin(a) * math.cos(b), math.cos(a) * math.cos(b), math.sin(b))
    x, y, z = (1.9 * float(step) for step in np.cross(row, column))
    return Geometry(
        row_direction=row,
        column_direction=column,
        first_position=(-31.25, -40.5, 12.125),
        slice_step=(x, y, z),
        pixel_spacing=(0.9, 1.2),
        shape=SHAPE,
        frame_of_reference_uid="2.25.4711",
    )


@cache
def scan(polarity: str) -> Scan:
    """Return a bright smooth image whose phase wraps; the odd echoes of a bipolar readout carry a ramp along it."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    hertz = 55 * np.exp(-((x - 0.2) ** 2 + y**2 + z**2)) + 30 * x * y + 8 * z - 12
    times = np.array(ECHO_TIMES_S)[:, None, None, None]
    phase = 2 * math.pi * hertz * times + 0.4 + 2.6 * x
    if polarity == "bipolar":
        phase[1::2] += 0.5 + 0.8 * x
    magnitude = (700 + 200 * np.cos(2 * x) * np.cos(y)) * np.exp(-25 * times)
    return Scan(
        magnitude=magnitude,
        phase=phase,
        echo_times_s=ECHO_TIMES_S,
        geometry=oblique_grid(),
        magnetic_field_strength_t=3.0,
    )


@cache
def sent(flavour: str, polarity: str = "monopolar") -> list[Dataset]:
    """Return what the scanner of a flavour makes of the scan."""
    return FLAVOURS[flavour](scan(polarity))


def write(folder: Path, images: list[Dataset], order: random.Random | None = None) -> list[Path]:
    """Write images as files; with `order`, in another order, under other names and in several folders."""
    folder.mkdir(parents=True, exist_ok=True)
    images = list(images)
    if order is not None:
        order.shuffle(images)
    paths = []
    for number, image in enumerate(images):
        name = f"{number:05d}.dcm" if order is None else f"part{order.randrange(3)}/{order.getrandbits(60):x}-{number}"
        paths.append(folder / name)
        paths[-1].parent.mkdir(exist_ok=True)
        paths[-1].write_bytes(to_bytes(image))
    return paths


def digest(series: EchoSeries) -> str:
    """Return one digest of everything that an acquisition's map depends on, and of its sources."""
    source = series.source
    facts = (source.geometry, source.echo_times_s, source.magnetic_field_strength_t, source.frames, source.notes)
    arrays = array_digest(series.magnitude), array_digest(series.phase)
    return hashlib.sha256(repr((arrays, facts)).encode()).hexdigest()


def phase_tolerance(flavour: str) -> float:
    """Return what rounding to the flavour's stored values may change in a phase [rad]."""
    return ANGLE_STEP_RAD.get(flavour, PHASE_STEP_RAD[flavour.split("_")[0]]) / 2 * 1.01 + 5e-5


@pytest.mark.parametrize("polarity", POLARITIES)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_flavour_is_read_as_the_truth(flavour: str, polarity: str, tmp_path: Path) -> None:
    truth = scan(polarity)
    read = read_echo_series(write(tmp_path, sent(flavour, polarity)))
    off = np.angle(np.exp(1j * (read.phase.astype(float) - truth.phase)))
    assert np.abs(off).max() <= phase_tolerance(flavour)
    scale = float((read.magnitude * truth.magnitude).sum() / (truth.magnitude**2).sum())
    assert np.abs(read.magnitude / scale - truth.magnitude).max() < 1e-3 * truth.magnitude.max()
    assert read.source.echo_times_s == pytest.approx(ECHO_TIMES_S, abs=1e-9)
    assert read.source.magnetic_field_strength_t == pytest.approx(3.0, abs=1e-5)
    np.testing.assert_allclose(read.source.geometry.affine_lps, truth.geometry.affine_lps, atol=1e-6)
    np.testing.assert_allclose(read.source.geometry.b0_direction, truth.geometry.b0_direction, atol=1e-9)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("siemens_classic", "siemens_xa_classic"),
        ("siemens_classic", "siemens_enhanced"),
        ("philips_classic", "philips_enhanced"),
        ("philips_classic_complex", "philips_enhanced_complex"),
        ("philips_classic", "philips_classic_complex"),
    ],
)
def test_classic_and_enhanced_objects_of_one_manufacturer_give_the_same_arrays(
    first: str, second: str, tmp_path: Path
) -> None:
    one, other = (read_echo_series(write(tmp_path / flavour, sent(flavour))) for flavour in (first, second))
    assert np.array_equal(one.phase, other.phase)
    assert np.array_equal(one.magnitude, other.magnitude)
    assert one.source.geometry == other.source.geometry


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_order_names_and_folders_of_the_files_change_nothing(flavour: str, tmp_path: Path) -> None:
    images = sent(flavour)
    plain = digest(read_echo_series(write(tmp_path / "plain", images)))
    shuffled = write(tmp_path / "shuffled", images, random.Random(1))
    assert digest(read_echo_series(shuffled)) == plain
    found = find_acquisitions(tmp_path / "shuffled")
    assert [(item.refusal, len(item.paths)) for item in found] == [(None, len(images))]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_a_scanner_sends_is_complete_and_one_image_less_is_not(flavour: str, tmp_path: Path) -> None:
    images = sent(flavour)
    frames = [frame for path in write(tmp_path, images) for frame in read_frame_headers(path)]
    assert assess(frames).is_complete
    assert not assess(frames[1:]).is_complete


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_equal_seeds_make_equal_bytes_and_other_seeds_other_uids(flavour: str) -> None:
    truth = scan("monopolar")
    other = replace(truth, examination=replace(truth.examination, seed="other"))
    first, same, different = (FLAVOURS[flavour](taken)[:20] for taken in (truth, truth, other))
    assert [to_bytes(image) for image in first] == [to_bytes(image) for image in same]
    uids = {image.SOPInstanceUID for image in first}
    assert len(uids) == len(first)
    assert not uids & {image.SOPInstanceUID for image in different}
    assert {image.StudyInstanceUID for image in first}.isdisjoint({image.StudyInstanceUID for image in different})


def test_arrays_that_do_not_fit_the_geometry_are_refused() -> None:
    with pytest.raises(ValueError, match="must both have shape"):
        replace(scan("monopolar"), echo_times_s=ECHO_TIMES_S[:2])


@pytest.mark.filterwarnings("ignore:The DICOM readers are highly experimental")
def test_an_independent_reader_finds_the_siemens_protocol_in_its_header() -> None:
    csareader = importlib.import_module("nibabel.nicom.csareader")
    image = pydicom.dcmread(BytesIO(to_bytes(sent("siemens_classic")[0])))
    protocol = csareader.get_csa_header(image, "series")["tags"]["MrPhoenixProtocol"]["items"][0]
    assert "lContrasts\t = \t3" in protocol
