"""The Philips two-echo head: classic and enhanced objects are one acquisition, and dcm2niix agrees with the reading.

Philips Ingenia Elition X 5.7.1, oblique 3-D gradient echo, magnitude and phase at 2.3 and 4.6 ms.
"""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from dicom_io.geometry import Geometry
from dicom_io.read.headers import FrameHeader, read_frame_headers
from dicom_io.read.reader import find_acquisitions, read_echo_series
from dicom_io.read.sorting import assess
from dicom_io.series import EchoSeries

pytestmark = pytest.mark.golden
SERIES = "philips_ingenia_571_2echo_gre"


@pytest.fixture(scope="module")
def classic(data_dir: Path) -> EchoSeries:
    return read_echo_series(sorted((data_dir / SERIES / "classic").iterdir()))


@pytest.fixture(scope="module")
def enhanced(data_dir: Path) -> EchoSeries:
    return read_echo_series(sorted((data_dir / SERIES / "enhanced").iterdir()))


def reference(data_dir: Path, form: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a dcm2niix volume as `(z, y, x)` in the order of the scanner's pixels, and its affine on that order."""
    image = nibabel.load(data_dir / SERIES / "dcm2niix_ref" / f"2001_WIP_fcMRI_Field_Mapping_{form}_{name}.nii.gz")
    volume = np.asarray(image.get_fdata(dtype=np.float32)).transpose(2, 1, 0)[:, ::-1, ::-1]
    turned = image.affine.copy()
    for axis in (0, 1):
        turned[:3, 3] += turned[:3, axis] * (image.shape[axis] - 1)
        turned[:3, axis] *= -1
    return volume, turned


def test_classic_and_enhanced_objects_give_the_same_arrays(classic: EchoSeries, enhanced: EchoSeries) -> None:
    assert np.array_equal(classic.phase, enhanced.phase)
    assert np.array_equal(classic.magnitude, enhanced.magnitude)
    assert classic.source.geometry == enhanced.source.geometry
    assert classic.source.echo_times_s == enhanced.source.echo_times_s == (0.0023, 0.0046)
    assert classic.source.magnetic_field_strength_t == enhanced.source.magnetic_field_strength_t == 3.0
    assert (classic.source.is_enhanced, enhanced.source.is_enhanced) == (False, True)


@pytest.mark.parametrize("echo", [1, 2])
@pytest.mark.parametrize("form", ["cl", "enh"])
def test_phase_and_magnitude_agree_with_dcm2niix(data_dir: Path, classic: EchoSeries, echo: int, form: str) -> None:
    phase, affine = reference(data_dir, form, f"e{echo}_ph")
    assert np.abs(classic.phase[echo - 1] - phase).max() < 5e-4
    magnitude, _ = reference(data_dir, form, f"e{echo}")
    scale = float((classic.magnitude[echo - 1] * magnitude).sum() / (magnitude**2).sum())
    assert np.abs(classic.magnitude[echo - 1] - scale * magnitude).max() < 1e-5 * float(classic.magnitude.max())
    assert classic.source.geometry.affine_ras == pytest.approx(affine, abs=1e-4)


def test_both_echoes_have_one_magnitude_scale(data_dir: Path, classic: EchoSeries) -> None:
    ratios = [classic.magnitude[echo].sum() / reference(data_dir, "cl", f"e{echo + 1}")[0].sum() for echo in range(2)]
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-5)


def test_the_head_is_oblique_and_its_grid_that_of_the_protocol(classic: EchoSeries) -> None:
    geometry: Geometry = classic.source.geometry
    assert geometry.shape == (53, 80, 80)
    assert geometry.voxel_size_mm == pytest.approx((3, 3, 3), abs=1e-4)
    assert geometry.b0_direction[0] == pytest.approx(0.99815, abs=1e-4)
    assert geometry.b0_direction[2] == pytest.approx(0.06081, abs=1e-4)


def test_the_phase_grows_with_the_field_above_the_sinuses(classic: EchoSeries) -> None:
    """Air in the frontal and ethmoid sinuses raises the field in front of and below the brain; it lowers it nowhere."""
    turned = classic.magnitude[0] * classic.magnitude[1] * np.exp(1j * (classic.phase[1] - classic.phase[0]))
    smooth = ndimage.gaussian_filter(turned.real, 1) + 1j * ndimage.gaussian_filter(turned.imag, 1)
    hertz = np.angle(smooth) / (2 * np.pi * 0.0023)
    head = ndimage.binary_erosion(classic.magnitude[0] > 0.3 * np.percentile(classic.magnitude[0], 99), iterations=2)
    low, high = np.percentile(hertz[head], [1, 99])

    def centre(voxels: np.ndarray) -> np.ndarray:
        z, y, x = np.nonzero(voxels)
        return (classic.source.geometry.affine_lps @ np.array([x, y, z, np.ones_like(x)])).mean(axis=1)[:3]

    highest, lowest, middle = (centre(head & where) for where in (hertz > high, hertz < low, True))
    towards_the_back, towards_the_top = 1, 2
    assert middle[towards_the_back] - highest[towards_the_back] > 50
    assert middle[towards_the_back] - lowest[towards_the_back] < 40
    assert middle[towards_the_top] - highest[towards_the_top] > 40


def test_every_slice_names_four_frames_and_the_raw_data_object_is_ignored(
    classic: EchoSeries, enhanced: EchoSeries
) -> None:
    assert {len(frames) for frames in classic.source.frames} == {4}
    assert {len(frames) for frames in enhanced.source.frames} == {4}
    numbers = {frame.frame_number for frames in enhanced.source.frames for frame in frames}
    assert numbers == set(range(1, 213))
    assert any("Raw Data Storage" in sentence for sentence in enhanced.source.ignored)


@pytest.mark.parametrize("form", ["classic", "enhanced/2001_WIP_fcMRI_Field_Mapping_e2_phMag.dcm"])
def test_completeness_is_certain_by_the_counts_that_philips_declares(data_dir: Path, form: str) -> None:
    path = data_dir / SERIES / form
    frames: list[FrameHeader] = [
        frame for file in (sorted(path.iterdir()) if path.is_dir() else [path]) for frame in read_frame_headers(file)
    ]
    found = assess(frames)
    assert (found.is_complete, found.is_certain) == (True, True)
    last = assess(frames[:-1])
    assert not last.is_complete
    assert "lacks slice" in last.sentence


def test_the_folder_holds_two_forms_of_one_acquisition(data_dir: Path) -> None:
    found = find_acquisitions(data_dir / SERIES)
    assert sum(item.refusal is None for item in found) == 2
    assert len({item.series_uids for item in found}) == 1
