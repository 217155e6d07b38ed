"""The simulated scanner sends what a real one would: every echo, slice and part, with the phase of Siemens."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from dicom_io.geometry import Geometry
from dicom_io.read.headers import read_frame_headers
from dicom_io.read.reader import read_echo_series
from dicom_io.read.sorting import assess
from dicom_io.write.part10 import to_bytes
from dicom_io.write.scanner import Examination, scanner_series, stored_magnitude, stored_phase
from dicom_io.write.validation import validate
from tests.dicom_io.write.conftest import ECHO_TIMES_S


def test_every_echo_slice_and_part_is_sent_once_and_counted(scanner_images: list[Dataset]) -> None:
    keys = {(image.ImageType[2], image.EchoNumbers, image.SliceLocation) for image in scanner_images}
    assert len(keys) == len(scanner_images) == 2 * 3 * 6
    assert {image.ImagesInAcquisition for image in scanner_images} == {36}
    assert [image.InstanceNumber for image in scanner_images] == list(range(1, 37))
    assert len({image.SOPInstanceUID for image in scanner_images}) == 36


def test_a_receiver_knows_that_it_has_everything_and_when_it_has_not(scanner_images: list[Dataset]) -> None:
    frames = [header for image in scanner_images for header in read_frame_headers(image)]
    complete = assess(frames)
    assert complete.is_complete
    assert complete.is_certain
    assert not assess(frames[:-1]).is_complete


def test_our_reader_gets_back_phase_magnitude_and_geometry(oblique: Geometry, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    shape = (3, *oblique.shape)
    magnitude, phase = random.random(shape), random.uniform(-np.pi, np.pi, shape)
    paths = []
    for number, image in enumerate(scanner_series(magnitude, phase, ECHO_TIMES_S, oblique, 7.0)):
        paths.append(tmp_path / f"{number}.dcm")
        paths[-1].write_bytes(to_bytes(image))
    read = read_echo_series(paths)
    difference = np.angle(np.exp(1j * (read.phase - phase)))
    assert np.abs(difference).max() <= np.pi / 4096 + 1e-6
    np.testing.assert_allclose(read.magnitude / read.magnitude.max(), magnitude / magnitude.max(), atol=1.3e-4)
    assert read.source.echo_times_s == ECHO_TIMES_S
    assert read.source.magnetic_field_strength_t == 7.0
    np.testing.assert_allclose(read.source.geometry.affine_lps, oblique.affine_lps, atol=1e-6)


def test_pi_and_minus_pi_are_one_angle() -> None:
    assert stored_phase(np.array([-np.pi, 0.0, np.pi])).tolist() == [0, 2048, 0]


def test_one_factor_scales_all_echoes() -> None:
    stored = stored_magnitude(np.array([[[[8.0]]], [[[4.0]]], [[[2.0]]]]))
    assert stored.ravel().tolist() == [4000, 2000, 1000]


def test_an_empty_image_stays_empty() -> None:
    assert not stored_magnitude(np.zeros((1, 1, 2, 2))).any()


def test_every_image_passes_our_own_validation(scanner_images: list[Dataset]) -> None:
    for image in scanner_images:
        validate(image)


def test_equal_seeds_make_equal_objects_and_other_seeds_others(oblique: Geometry) -> None:
    ones = np.ones((1, *oblique.shape))
    first, same, other = (
        scanner_series(ones, ones, (0.004,), oblique, 3.0, Examination(seed=seed)) for seed in ("a", "a", "b")
    )
    assert [to_bytes(image) for image in first] == [to_bytes(image) for image in same]
    assert first[0].StudyInstanceUID != other[0].StudyInstanceUID
    assert first[0].SeriesInstanceUID != other[0].SeriesInstanceUID


def test_the_time_zone_of_the_examination_is_stated(oblique: Geometry) -> None:
    ones = np.ones((1, *oblique.shape))
    started = datetime(2026, 5, 1, 8, 15, tzinfo=timezone(-timedelta(hours=3, minutes=30)))
    image = scanner_series(ones, ones, (0.004,), oblique, 3.0, Examination(started_at=started))[0]
    assert (image.StudyDate, image.StudyTime, image.TimezoneOffsetFromUTC) == ("20260501", "081500", "-0330")


def test_arrays_that_do_not_fit_the_geometry_are_refused(oblique: Geometry) -> None:
    ones = np.ones((2, *oblique.shape))
    with pytest.raises(ValueError, match="must both have shape"):
        scanner_series(ones, ones, (0.004,), oblique, 3.0)
