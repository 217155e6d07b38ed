"""A volume whose directions were turned round lies beside the scanner's axis; a limb off the axis is read."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset

from dicom_io.errors import ContradictoryHeader
from dicom_io.read.reader import read_source
from tests.dicom_io.read import scanner_files as scanner

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
HEAD = scanner.Scan(shape=(4, 9, 8), voxel_size_mm=(5.0, 24.0, 27.0))


def centred(orientation: tuple[float, ...], off_centre: tuple[float, float, float]) -> list[Dataset]:
    """Return a head-sized scan whose middle is so far off the isocentre."""
    row, column = orientation[:3], orientation[3:]
    width, height = (HEAD.shape[2] - 1) * HEAD.voxel_size_mm[2] / 2, (HEAD.shape[1] - 1) * HEAD.voxel_size_mm[1] / 2
    first = [c - width * r - height * d for c, r, d in zip(off_centre, row, column, strict=True)]
    scan = replace(HEAD, orientation=orientation, first_position=(first[0], first[1], first[2]))
    return scanner.classic(scan, "SIEMENS", "MP", scanner.as_siemens)


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, CORONAL, scanner.OBLIQUE])
def test_directions_turned_round_in_all_images_are_refused(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    objects = centred(orientation, (10.0, -15.0, 60.0))
    for dataset in objects:
        dataset.ImageOrientationPatient = [-value for value in dataset.ImageOrientationPatient]
    with pytest.raises(ContradictoryHeader, match=r"beside the axis of the scanner.*turned round"):
        read_source(scanner.save(objects, tmp_path))


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, CORONAL, scanner.OBLIQUE])
@pytest.mark.parametrize(
    "off_centre", [(0.0, 0.0, 0.0), (110.0, 30.0, -400.0), (-120.0, 0.0, 0.0), (0.0, -60.0, 900.0)]
)
def test_a_volume_off_the_axis_is_read(
    tmp_path: Path, orientation: tuple[float, ...], off_centre: tuple[float, float, float]
) -> None:
    assert read_source(scanner.save(centred(orientation, off_centre), tmp_path)).echo_times_s
