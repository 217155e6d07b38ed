"""NIfTI goes in and out without losing place or unit, and a phase whose scale is unknown is refused."""

import math
from pathlib import Path

import nibabel
import numpy as np
import pytest

from dicom_io.errors import NotFiniteValues, PhaseScaleUnknown
from node.nifti import (
    Volume,
    check_same_grid,
    grid_of,
    phase_in_radians,
    read_stack,
    read_volume,
    sha256_of,
    write_volume,
)
from pipeline.errors import UnusableInput

OBLIQUE = nibabel.affines.from_matvec(
    np.array([[0.99, 0.02, 0.1], [-0.02, 0.99, -0.05], [-0.1, 0.05, 0.99]]) * [1.0, 2.0, 3.0], [10.0, -20.0, 5.0]
)


def wrapped_noise(seed: int = 0, shape: tuple[int, ...] = (2, 6, 12, 14)) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-math.pi, math.pi, shape).astype(np.float32)


def volume(values: np.ndarray, stored: np.ndarray | None = None, affine: np.ndarray = OBLIQUE) -> Volume:
    return Volume(Path("phase.nii"), values, values if stored is None else stored, affine)


def test_what_is_written_reads_back_in_its_place(tmp_path: Path) -> None:
    array = np.random.default_rng(1).normal(size=(3, 4, 5)).astype(np.float32)
    write_volume(tmp_path / "map.nii.gz", array, OBLIQUE, "susceptibility [ppm]")

    back = read_volume(tmp_path / "map.nii.gz")

    np.testing.assert_array_equal(back.values[0], array)
    np.testing.assert_allclose(back.affine, OBLIQUE, atol=1e-5)
    assert nibabel.load(tmp_path / "map.nii.gz").shape == (5, 4, 3)


def test_equal_maps_make_equal_files(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(tmp_path / name, np.ones((3, 4, 5), dtype=np.float32), OBLIQUE, "map")

    assert sha256_of(tmp_path / "a.nii.gz") == sha256_of(tmp_path / "b.nii.gz")


def test_b0_runs_along_the_scanners_z_axis_in_the_axes_of_the_voxels() -> None:
    rotation = np.array([[1, 0, 0], [0, math.cos(0.35), -math.sin(0.35)], [0, math.sin(0.35), math.cos(0.35)]])
    affine = nibabel.affines.from_matvec(rotation * [1.0, 2.0, 3.0], [0, 0, 0])

    grid = grid_of(volume(wrapped_noise(), affine=affine))

    assert grid.voxel_size_mm == pytest.approx((3.0, 2.0, 1.0))
    assert grid.b0_direction == pytest.approx((math.cos(0.35), math.sin(0.35), 0.0))


def test_a_given_direction_of_b0_replaces_the_affines() -> None:
    grid = grid_of(volume(wrapped_noise(), affine=np.eye(4)), (0.0, 3.0, 4.0))

    assert grid.b0_direction == pytest.approx((0.8, 0.6, 0.0))


def test_a_sheared_affine_is_refused() -> None:
    sheared = np.eye(4)
    sheared[0, 1] = 0.2

    with pytest.raises(UnusableInput, match="not perpendicular"):
        grid_of(volume(wrapped_noise(), affine=sheared))


@pytest.mark.parametrize(
    ("encode", "told"),
    [
        (lambda phase: phase, "span ±π"),
        (lambda phase: np.where(phase < 0, phase + 2 * math.pi, phase), "0 to 2π"),
        (lambda phase: np.rint(phase * 4096 / math.pi).clip(-4096, 4095), "π is 4096"),
        (lambda phase: np.rint(phase * 2048 / math.pi + 2048).clip(0, 4095), "2048"),
        (lambda phase: phase * 1000, "milliradians"),
    ],
)
def test_the_conventions_of_scanners_and_converters_become_radians(encode, told: str) -> None:
    phase = wrapped_noise()

    radians, sentence = phase_in_radians([volume(encode(phase).astype(np.float32))])

    assert told in sentence
    assert np.abs(np.angle(np.exp(1j * (radians - phase)))).max() < 2e-3
    assert np.abs(radians).max() <= np.float32(math.pi)


def test_stored_radians_win_over_a_header_slope_that_means_something_else() -> None:
    phase = wrapped_noise()

    radians, sentence = phase_in_radians([volume(phase * 0.00117, stored=phase)])

    np.testing.assert_allclose(radians, phase, atol=1e-6)
    assert "slope ignored" in sentence


def test_the_range_is_judged_over_all_echoes_together() -> None:
    first, second = wrapped_noise(1)[:1] * 0.3, wrapped_noise(2)[:1]

    radians, _ = phase_in_radians([volume(first), volume(second)])

    np.testing.assert_allclose(radians, np.concatenate([first, second]), atol=1e-6)


@pytest.mark.parametrize("factor", [0.2, 0.9, 1.3, 250.0])
def test_a_phase_that_follows_no_convention_is_refused_and_never_stretched(factor: float) -> None:
    with pytest.raises(PhaseScaleUnknown, match="--phase-scale"):
        phase_in_radians([volume(wrapped_noise() * factor)])


def test_a_given_scale_is_used_and_checked() -> None:
    phase = wrapped_noise()

    np.testing.assert_allclose(phase_in_radians([volume(phase * 10)], 0.1)[0], phase, atol=1e-5)
    with pytest.raises(PhaseScaleUnknown, match="beyond one turn"):
        phase_in_radians([volume(phase * 10)], 1.0)


def test_nan_is_refused_with_its_place(tmp_path: Path) -> None:
    array = np.zeros((3, 4, 5), dtype=np.float32)
    array[2, 1, 3] = np.nan
    write_volume(tmp_path / "map.nii.gz", array, np.eye(4), "map")

    with pytest.raises(NotFiniteValues, match=r"1 values .*\(3, 1, 2\)"):
        read_volume(tmp_path / "map.nii.gz")


def test_files_on_different_grids_are_refused_by_name(tmp_path: Path) -> None:
    shifted = OBLIQUE.copy()
    shifted[0, 3] += 5
    for name, shape, affine in (("a", (3, 4, 5), OBLIQUE), ("b", (3, 4, 6), OBLIQUE), ("c", (3, 4, 5), shifted)):
        write_volume(tmp_path / f"{name}.nii", np.ones(shape, dtype=np.float32), affine, name)

    with pytest.raises(UnusableInput, match=r"a.nii has 5×4×3 .*b.nii has 6×4×3"):
        read_stack([tmp_path / "a.nii", tmp_path / "b.nii"])
    with pytest.raises(UnusableInput, match="different places"):
        check_same_grid(read_volume(tmp_path / "a.nii"), read_volume(tmp_path / "c.nii"))


@pytest.mark.parametrize("content", [b"", b"not NIfTI at all" * 40])
def test_what_is_no_nifti_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.nii"
    path.write_bytes(content)

    with pytest.raises(UnusableInput, match=r"broken\.nii"):
        read_volume(path)


@pytest.mark.golden
def test_the_romeo_crop_is_read_as_radians_in_spite_of_its_header_slope(data_dir: Path) -> None:
    folder = data_dir / "nifti_7t_3echo_romeo"

    radians, sentence = phase_in_radians(read_stack([folder / "Phase.nii"]))

    assert radians.shape == (3, 41, 51, 51)
    assert float(radians.max()) == pytest.approx(math.pi, abs=1e-3)
    assert "slope ignored" in sentence


@pytest.mark.golden
def test_magnitude_given_as_phase_is_refused(data_dir: Path) -> None:
    with pytest.raises(PhaseScaleUnknown):
        phase_in_radians(read_stack([data_dir / "nifti_7t_3echo_romeo" / "Mag.nii"]))
