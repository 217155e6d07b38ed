"""What the reader makes of each manufacturer's encoding, and that neither order nor file names matter."""

import gc
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from dicom_io import errors
from dicom_io.read.reader import read_echo_series, read_source
from dicom_io.series import EchoSeries
from tests.dicom_io.read import scanner_files as scanner
from tests.dicom_io.read.scanner_files import Scan

SCAN = Scan()
MANUFACTURERS = [
    ("SIEMENS", scanner.as_siemens, "MP", 1e-3),
    ("SIEMENS", scanner.as_siemens_without_rescaling, "MP", 2e-3),
    ("GE MEDICAL SYSTEMS", scanner.as_ge, "RI", 1e-2),
    ("GE MEDICAL SYSTEMS", scanner.as_ge, "MP", 1e-3),
    ("GE MEDICAL SYSTEMS", scanner.as_ge, "MPRI", 1e-2),
    ("Philips Medical Systems", scanner.as_philips, "MP", 1e-3),
    ("Philips", scanner.as_philips, "RI", 1e-2),
    ("UIH", scanner.as_stated, "MP", 1e-3),
    ("CANON_MEC", scanner.as_stated, "MP", 1e-3),
]


def assert_is_the_scan(series: EchoSeries, scan: Scan, tolerance: float) -> None:
    turned = np.angle(np.exp(1j * (series.phase - np.angle(scan.image))))
    assert np.abs(turned).max() < tolerance
    assert np.abs(series.magnitude / np.abs(scan.image) - 1).max() < 1e-2
    assert series.phase.dtype == series.magnitude.dtype == np.float32
    assert np.abs(series.phase).max() <= np.float32(np.pi)
    assert series.source.echo_times_s == tuple(time / 1000 for time in scan.echo_times_ms)


@pytest.mark.parametrize(("manufacturer", "encode", "parts", "tolerance"), MANUFACTURERS)
def test_every_manufacturers_images_become_the_same_phase_that_grows_with_the_field(
    tmp_path: Path, manufacturer: str, encode: scanner.Encode, parts: str, tolerance: float
) -> None:
    series = read_echo_series(scanner.save(scanner.classic(SCAN, manufacturer, parts, encode), tmp_path))
    assert_is_the_scan(series, SCAN, tolerance)


def test_enhanced_objects_of_one_echo_each_become_one_acquisition(tmp_path: Path) -> None:
    objects = [
        scanner.enhanced_siemens(SCAN, component, echo, f"{1 + echo}.{number}")
        for number, component in enumerate(("PHASE", "MAGNITUDE"), start=1)
        for echo in (2, 0, 1)
    ]
    series = read_echo_series(scanner.save(objects, tmp_path))
    assert_is_the_scan(series, SCAN, 1e-3)
    assert series.source.is_enhanced
    assert {frame.frame_number for frame in series.source.frames[2]} == {3}


def test_a_magnitude_series_and_its_phase_series_are_read_together(tmp_path: Path) -> None:
    scan = Scan(series={"M": f"{scanner.STUDY}.51", "P": f"{scanner.STUDY}.52"})
    paths = scanner.save(scanner.classic(scan, "SIEMENS", "MP", scanner.as_siemens), tmp_path)
    assert_is_the_scan(read_echo_series(paths), scan, 1e-3)


def test_geometry_is_that_of_the_headers_with_slices_along_the_normal(tmp_path: Path) -> None:
    paths = scanner.save(scanner.classic(SCAN, "SIEMENS", "MP", scanner.as_siemens), tmp_path)
    geometry = read_source(paths).geometry
    assert geometry.shape == SCAN.shape
    assert geometry.voxel_size_mm == pytest.approx(SCAN.voxel_size_mm, abs=1e-5)
    for index in range(SCAN.shape[0]):
        assert geometry.position(index) == pytest.approx(SCAN.position(index), abs=1e-5)
    along_zyx = np.array(geometry.b0_direction)
    assert along_zyx == pytest.approx([np.cos(np.radians(20)), np.sin(np.radians(20)), 0.0], abs=1e-6)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_order_and_names_of_files_do_not_reach_the_arrays(tmp_path: Path, seed: int) -> None:
    objects = scanner.classic(SCAN, "SIEMENS", "MP", scanner.as_siemens)
    expected = read_echo_series(scanner.save(objects, tmp_path / "as-sent"))
    random.Random(seed).shuffle(objects)
    found = read_echo_series(scanner.save(objects, tmp_path / "shuffled"))
    assert np.array_equal(found.phase, expected.phase)
    assert np.array_equal(found.magnitude, expected.magnitude)
    assert found.source.frames == expected.source.frames
    assert found.source.geometry == expected.source.geometry


def test_each_slice_names_every_frame_it_was_made_of(tmp_path: Path) -> None:
    objects = scanner.classic(SCAN, "SIEMENS", "MP", scanner.as_siemens)
    source = read_source(scanner.save(objects, tmp_path))
    assert all(len(frames) == 6 for frames in source.frames)
    named = {frame.SOPInstanceUID for frames in source.frames for frame in frames}
    assert named == {dataset.SOPInstanceUID for dataset in objects}


def test_the_template_carries_identity_but_no_pixels(tmp_path: Path) -> None:
    paths = scanner.save(scanner.classic(SCAN, "SIEMENS", "MP", scanner.as_siemens), tmp_path)
    template = read_source(paths).template
    assert template.PatientID == "SECRET-ID"
    assert "PixelData" not in template


def test_the_field_of_the_imaging_frequency_wins_over_a_rounded_one(tmp_path: Path) -> None:
    scan = Scan(frequency_mhz=123.25483)
    source = read_source(scanner.save(scanner.classic(scan, "SIEMENS", "MP", scanner.as_siemens), tmp_path))
    assert source.magnetic_field_strength_t == pytest.approx(2.8949, abs=1e-4)
    assert any("instead of 3 T" in note for note in source.notes)


def test_alternating_slices_of_ge_are_straightened_once_and_said_so(tmp_path: Path) -> None:
    alternating = Scan(shape=(8, 6, 5))

    def encode(dataset: Dataset, image: np.ndarray, part: str) -> None:
        sign = -1 if dataset.InstanceNumber % 2 == 0 else 1
        scanner.as_ge(dataset, image * sign, part)

    turned = read_echo_series(
        scanner.save(scanner.classic(alternating, "GE MEDICAL SYSTEMS", "RI", encode), tmp_path / "alternating")
    )
    straight = read_echo_series(
        scanner.save(scanner.classic(alternating, "GE MEDICAL SYSTEMS", "RI", scanner.as_ge), tmp_path / "straight")
    )
    assert_is_the_scan(turned, alternating, 1e-2)
    assert_is_the_scan(straight, alternating, 1e-2)
    assert any("slice to slice" in note for note in turned.source.notes)
    assert not any("slice to slice" in note for note in straight.source.notes)


def test_philips_images_scaled_one_by_one_become_comparable(tmp_path: Path) -> None:
    def encode(dataset: Dataset, image: np.ndarray, part: str) -> None:
        scanner.as_philips(dataset, image, part)
        if part == "M":
            slope = 0.5 + 0.25 * dataset.EchoNumbers
            dataset.RescaleSlope = str(slope)
            block = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
            # Display value = stored × slope, true value = stored / scale slope; the stored values stay the same here.
            block.add_new(0x0E, "FL", 1 / 1.25)

    series = read_echo_series(scanner.save(scanner.classic(SCAN, "Philips", "MP", encode), tmp_path))
    ratio = series.magnitude / np.abs(SCAN.image)
    assert ratio.max() / ratio.min() == pytest.approx(1, abs=0.01)


def test_a_report_beside_the_images_is_ignored_and_noted(tmp_path: Path) -> None:
    objects = scanner.classic(SCAN, "SIEMENS", "MP", scanner.as_siemens)
    report = scanner.classic(SCAN, "SIEMENS", "M", scanner.as_siemens)[0]
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.33"
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = f"{scanner.STUDY}.99"
    series = read_echo_series(scanner.save([*objects, report], tmp_path))
    assert any("Comprehensive SR Storage" in sentence for sentence in series.source.ignored)
    with pytest.raises(errors.UnsupportedObject, match="Comprehensive SR Storage"):
        read_echo_series(scanner.save([report], tmp_path / "alone"))


def test_identical_copies_are_ignored_and_noted(tmp_path: Path) -> None:
    objects = scanner.classic(SCAN, "SIEMENS", "MP", scanner.as_siemens)
    series = read_echo_series(scanner.save([*objects, *objects[:5]], tmp_path))
    assert_is_the_scan(series, SCAN, 1e-3)
    assert "5 identical copies were ignored." in series.source.notes


@pytest.fixture
def collector() -> Iterator[None]:
    assert gc.isenabled()
    yield
    gc.enable()


@pytest.mark.usefixtures("collector")
@pytest.mark.parametrize("read", [read_echo_series, read_source])
def test_after_a_reading_or_a_refusal_the_garbage_collector_runs_again_unless_it_was_stopped_before(
    read: Callable[[list[Path]], object], tmp_path: Path
) -> None:
    paths = scanner.save(scanner.classic(Scan(), "SIEMENS", "MP", scanner.as_siemens), tmp_path)
    for is_enabled in (True, False):
        if not is_enabled:
            gc.disable()
        read(paths)
        assert gc.isenabled() is is_enabled
        with pytest.raises(errors.IncompleteSeries):
            read(paths[1:])
        assert gc.isenabled() is is_enabled
