"""Readers that are not ours reconstruct the map from each encoding within 0.5 ppb and at the right place."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everybody knows it by
from pydicom import Dataset

from dicom_io.series import SourceSeries
from dicom_io.write.enhanced_mr import enhanced_susceptibility
from dicom_io.write.mr_image import susceptibility_series
from dicom_io.write.parametric_map import parametric_map
from dicom_io.write.part10 import to_bytes
from dicom_io.write.provenance import RunDescription
from tests.dicom_io.write.conftest import map_of

MARKER_PPB = 1234.4
MARKER = (4, 20, 9)
"""The voxel `(z, y, x)` that stands for a place in the patient."""


def marked_map(source: SourceSeries) -> np.ndarray:
    """Return a map [ppb] with fractions, and a marker brighter than everything else."""
    values = map_of(source)
    values[MARKER] = MARKER_PPB
    return values


def marked_place(source: SourceSeries) -> np.ndarray:
    """Return where in the patient the marker lies [mm]."""
    z, y, x = MARKER
    return (source.geometry.affine_lps @ [x, y, z, 1.0])[:3]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[list[Dataset]], list[Path]]:
    """Return the function that puts objects into files, in an order that is not that of the slices."""

    def write_files(objects: list[Dataset]) -> list[Path]:
        folder = tmp_path / "objects"
        folder.mkdir()
        paths = [folder / f"{(7 * index + 3) % 101:03d}-{index:03d}.dcm" for index in range(len(objects))]
        for path, dataset in zip(paths, objects, strict=True):
            path.write_bytes(to_bytes(dataset))
        return paths

    return write_files


@pytest.fixture
def classic(source: SourceSeries, run_description: RunDescription) -> list[Dataset]:
    return susceptibility_series(marked_map(source), source, run_description)


@pytest.fixture
def enhanced(source: SourceSeries, run_description: RunDescription) -> Dataset:
    return enhanced_susceptibility(marked_map(source), source, run_description)


@pytest.fixture
def lossless(source: SourceSeries, classic: list[Dataset], run_description: RunDescription) -> Dataset:
    return parametric_map((marked_map(source) / 1000).astype(np.float32), classic, source, run_description)


def assert_holds_the_map(image: sitk.Image, source: SourceSeries, factor: float = 1.0) -> None:
    """Compare every voxel at its place in the patient, whatever order the reader gives the slices."""
    index = image.TransformPhysicalPointToIndex([float(number) for number in marked_place(source)])
    assert image[index] * factor == pytest.approx(MARKER_PPB, abs=0.5)
    array = sitk.GetArrayFromImage(image).astype(np.float64) * factor
    n_slices = source.geometry.shape[0]
    first = image.TransformPhysicalPointToIndex([float(number) for number in source.geometry.position(0)])
    ordered = array if first[2] == 0 else array[::-1]
    assert first[2] in (0, n_slices - 1)
    assert np.abs(ordered - marked_map(source)).max() <= 0.5


def run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_simpleitk_reads_the_classic_series(
    classic: list[Dataset], source: SourceSeries, write: Callable[[list[Dataset]], list[Path]]
) -> None:
    folder = write(classic)[0].parent
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    assert_holds_the_map(reader.Execute(), source)


def test_simpleitk_reads_the_enhanced_image(
    enhanced: Dataset, source: SourceSeries, write: Callable[[list[Dataset]], list[Path]]
) -> None:
    assert_holds_the_map(sitk.ReadImage(str(write([enhanced])[0])), source)


def test_gdcm_finds_the_same_bytes_in_every_encoding(
    classic: list[Dataset],
    enhanced: Dataset,
    lossless: Dataset,
    source: SourceSeries,
    write: Callable[[list[Dataset]], list[Path]],
    program: Callable[[str], str],
    tmp_path: Path,
) -> None:
    *slices, multi_frame, floats = write([*classic, enhanced, lossless])
    raw = tmp_path / "raw"

    def read(path: Path, tag: str, dtype: str) -> np.ndarray:
        run(program("gdcmraw"), "-i", path, "-o", raw, "-t", tag)
        return np.frombuffer(raw.read_bytes(), dtype)

    some = (0, MARKER[0], len(slices) - 1)
    for index in some:
        assert np.abs(read(slices[index], "7fe0,0010", "<i2") - marked_map(source)[index].ravel()).max() <= 0.5
    assert np.abs(read(multi_frame, "7fe0,0010", "<i2") - marked_map(source).ravel()).max() <= 0.5
    assert np.abs(1000.0 * read(floats, "7fe0,0008", "<f4") - marked_map(source).ravel()).max() <= 0.001


def test_dcmtk_reads_values_and_places(
    classic: list[Dataset],
    enhanced: Dataset,
    lossless: Dataset,
    source: SourceSeries,
    write: Callable[[list[Dataset]], list[Path]],
    program: Callable[[str], str],
    tmp_path: Path,
) -> None:
    *slices, multi_frame, floats = write([*classic, enhanced, lossless])
    for path, expected in ((slices[MARKER[0]], marked_map(source)[MARKER[0]]), (multi_frame, marked_map(source))):
        folder = tmp_path / path.stem
        folder.mkdir()
        dumped = run(program("dcmdump"), "+W", folder, "+P", "ImagePositionPatient", "+P", "PixelData", path)
        (raw,) = folder.iterdir()
        assert np.abs(np.fromfile(raw, "<i2") - expected.ravel()).max() <= 0.5
        assert_places(dumped, source)
    dumped = run(program("dcmdump"), "+L", "+P", "ImagePositionPatient", "+P", "FloatPixelData", floats)
    assert_places(dumped, source)
    numbers = re.search(r"\(7fe0,0008\) OF (\S+)", dumped)
    assert numbers is not None
    values = 1000.0 * np.array([float(number) for number in numbers[1].split("\\")])
    assert np.abs(values - marked_map(source).ravel()).max() <= 0.01


def assert_places(dumped: str, source: SourceSeries) -> None:
    """Find every dumped slice position where the source has the slice, and the multi-frame ones in its order."""
    found = [
        [float(number) for number in match.split("\\")] for match in re.findall(r"\(0020,0032\) DS \[(.*?)\]", dumped)
    ]
    indices = [MARKER[0]] if len(found) == 1 else range(source.geometry.shape[0])
    np.testing.assert_allclose(found, [source.geometry.position(index) for index in indices], atol=1e-6)


@pytest.mark.parametrize("encoding", ["classic", "enhanced", "lossless"])
def test_highdicom_reads_ppm_and_places_every_voxel(
    encoding: str,
    request: pytest.FixtureRequest,
    source: SourceSeries,
    write: Callable[[list[Dataset]], list[Path]],
) -> None:
    made = request.getfixturevalue(encoding)
    paths = write(made if isinstance(made, list) else [made])
    if len(paths) > 1:
        volume = highdicom.get_volume_from_series(
            [highdicom.imread(path) for path in paths], apply_real_world_transform=True, dtype=np.float64
        )
    else:
        volume = highdicom.imread(paths[0]).get_volume(apply_real_world_transform=True, dtype=np.float64)
    indices = np.array(list(np.ndindex(volume.array.shape)))
    places = volume.map_indices_to_reference(indices)
    to_source = np.linalg.inv(source.geometry.affine_lps)
    x, y, z = np.rint(to_source[:3, :3] @ places.T + to_source[:3, 3:]).astype(int)
    expected = marked_map(source)[z, y, x]
    assert np.abs(1000 * volume.array.ravel() - expected).max() <= 0.5 + 1e-9
