"""Deliberate damage to the real Philips head: each kind is refused by its own class, and nothing is guessed."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import JPEGBaseline8Bit

from dicom_io import errors
from dicom_io.read.reader import read_echo_series, read_source

pytestmark = pytest.mark.golden
SERIES = "philips_ingenia_571_2echo_gre"


@pytest.fixture(scope="module")
def head(data_dir: Path) -> list[Path]:
    return sorted((data_dir / SERIES / "classic").iterdir())


def is_phase(path: Path) -> bool:
    return path.stem.endswith("_ph")


def is_second_echo(path: Path) -> bool:
    return "_e2" in path.stem


def rewritten(paths: Sequence[Path], folder: Path, change: Callable[[Dataset], None]) -> list[Path]:
    """Return copies of the files with a change in each."""
    copies = []
    for path in paths:
        dataset = pydicom.dcmread(path)
        change(dataset)
        copies.append(folder / path.name)
        dataset.save_as(copies[-1])
    return copies


def test_a_missing_slice_is_named(head: list[Path]) -> None:
    slices = {"2001_0034_e2.dcm", "2001_0036_e2.dcm", "2001_0140_e2_ph.dcm", "2001_0142_e2_ph.dcm"}
    with pytest.raises(errors.IncompleteSeries, match=r"echo 2 lacks slices 17–18\."):
        read_source([path for path in head if path.name not in slices])


def test_a_missing_last_slice_is_known_by_the_declared_number(head: list[Path]) -> None:
    ends = ("0105", "0106", "0211", "0212")
    with pytest.raises(errors.IncompleteSeries, match="52 of 53 declared slices"):
        read_source([path for path in head if path.stem.split("_")[1] not in ends])


def test_a_missing_echo_is_known_by_the_declared_number(head: list[Path]) -> None:
    with pytest.raises(errors.IncompleteSeries, match="1 of 2 declared echoes are there: echo 2 is missing"):
        read_source([path for path in head if not is_second_echo(path)])


def test_an_echo_without_phase_is_named(head: list[Path]) -> None:
    with pytest.raises(errors.IncompleteSeries, match="echo 2 has no phase"):
        read_source([path for path in head if not (is_phase(path) and is_second_echo(path))])


def test_slices_of_one_echo_in_one_part_are_named(head: list[Path]) -> None:
    with pytest.raises(errors.IncompleteSeries, match=r"echo 1 phase lacks slices 5, 8–9\."):
        read_source([path for path in head if path.name[5:9] not in ("0115", "0121", "0123")])


def test_magnitude_alone_and_phase_alone_have_a_class_each(head: list[Path]) -> None:
    with pytest.raises(errors.PhaseMissing):
        read_source([path for path in head if not is_phase(path)])
    with pytest.raises(errors.MagnitudeMissing):
        read_source([path for path in head if is_phase(path)])


def test_two_series_in_one_folder_are_mixed(data_dir: Path, head: list[Path]) -> None:
    other = data_dir / "siemens_prisma_ve11c_fieldmap_phantom/2_magnitude"
    with pytest.raises(errors.MixedSeries, match="Manufacturer"):
        read_source([*head, *sorted(other.iterdir())])


def test_the_same_head_under_a_second_series_is_mixed(tmp_path: Path, head: list[Path]) -> None:
    def rename(dataset: Dataset) -> None:
        dataset.SeriesInstanceUID += ".1"
        dataset.SOPInstanceUID += ".1"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID

    with pytest.raises(errors.MixedSeries, match="Series Instance UID"):
        read_source([*head, *rewritten(head[:40], tmp_path, rename)])


def test_a_second_head_between_the_slices_is_mixed(tmp_path: Path, head: list[Path]) -> None:
    def move(dataset: Dataset) -> None:
        normal = np.cross(dataset.ImageOrientationPatient[:3], dataset.ImageOrientationPatient[3:])
        dataset.ImagePositionPatient = [
            round(float(value), 9) for value in np.array(dataset.ImagePositionPatient) + 1.5 * normal
        ]
        dataset.SOPInstanceUID += ".1"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID

    with pytest.raises(errors.MixedSeries, match="53 more slices than the protocol declares"):
        read_source([*head, *rewritten(head, tmp_path, move)])


@pytest.mark.parametrize("keywords", [("RescaleSlope", "RescaleIntercept", "RescaleType"), ("RescaleSlope",)])
def test_a_phase_without_its_rescaling_has_no_scale(
    tmp_path: Path, head: list[Path], keywords: tuple[str, ...]
) -> None:
    def strip(dataset: Dataset) -> None:
        for keyword in keywords:
            delattr(dataset, keyword)

    one = [path for path in head if path.name == "2001_0151_ph.dcm"]
    kept = [path for path in head if path not in one]
    with pytest.raises(errors.PhaseScaleUnknown, match=r"2001_0151_ph\.dcm: Nothing proves"):
        read_source([*kept, *rewritten(one, tmp_path, strip)])


def test_a_rescaling_that_its_private_copy_contradicts_is_refused(tmp_path: Path, head: list[Path]) -> None:
    def halve(dataset: Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = "0.767277", "-1571"

    one = [path for path in head if path.name == "2001_0151_ph.dcm"]
    kept = [path for path in head if path not in one]
    with pytest.raises(errors.ContradictoryHeader, match="different radians"):
        read_source([*kept, *rewritten(one, tmp_path, halve)])


def test_truncated_pixels_are_counted(tmp_path: Path, head: list[Path]) -> None:
    cut = tmp_path / head[100].name
    cut.write_bytes(head[100].read_bytes()[:-3000])
    with pytest.raises(errors.TruncatedPixelData, match=rf"{cut.name}: Pixel Data .* holds \d+ bytes where 12800"):
        read_echo_series([*head[:100], cut, *head[101:]])


def test_a_lossy_phase_is_refused_by_attribute_and_by_transfer_syntax(tmp_path: Path, head: list[Path]) -> None:
    def state(dataset: Dataset) -> None:
        dataset.LossyImageCompression = "01"

    def compress(dataset: Dataset) -> None:
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
        dataset["PixelData"].is_undefined_length = True

    phases = [path for path in head if is_phase(path)]
    for number, change in enumerate((state, compress)):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(errors.LossyPhase, match=phases[7].name):
            read_source([path for path in head if path != phases[7]] + rewritten([phases[7]], folder, change))


def test_a_manufacturer_of_nonsense_is_unknown(tmp_path: Path, head: list[Path]) -> None:
    def rename(dataset: Dataset) -> None:
        dataset.Manufacturer = "Qwertz Imaging"

    with pytest.raises(errors.UnknownVendor, match=head[3].name):
        read_source([*head[:3], *rewritten([head[3]], tmp_path, rename), *head[4:]])


def test_floating_point_pixels_with_nan_are_refused(tmp_path: Path, head: list[Path]) -> None:
    def make_float(dataset: Dataset) -> None:
        values = dataset.pixel_array.astype("<f4")
        values[10, 10] = np.nan
        dataset.BitsAllocated = 32
        dataset.FloatPixelData = values.tobytes()
        for keyword in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
            delattr(dataset, keyword)

    with pytest.raises(errors.NotFiniteValues, match=f"{head[150].name}: Float Pixel Data .* holds 1 pixels"):
        read_echo_series([*head[:150], *rewritten([head[150]], tmp_path, make_float), *head[151:]])


def test_copies_under_other_names_and_uids_do_no_harm(tmp_path: Path, head: list[Path]) -> None:
    def rename(dataset: Dataset) -> None:
        dataset.SOPInstanceUID += ".1"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID

    same = tmp_path / "same.dcm"
    same.write_bytes(head[9].read_bytes())
    source = read_source([*head, same, *rewritten(head[20:23], tmp_path, rename)])
    assert source.notes[:2] == (
        "1 identical copy was ignored.",
        "3 images with other UIDs but the same pixels were ignored.",
    )


def test_a_multi_frame_object_that_lost_pixels_is_truncated(tmp_path: Path, data_dir: Path) -> None:
    whole = data_dir / SERIES / "enhanced/2001_WIP_fcMRI_Field_Mapping_e2_phMag.dcm"
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(whole.read_bytes()[:-12800])
    with pytest.raises(errors.TruncatedPixelData, match="where 2713600 are due"):
        read_echo_series([cut])


def test_a_multi_frame_object_that_lost_a_frame_is_incomplete(tmp_path: Path, data_dir: Path) -> None:
    def drop_frame(dataset: Dataset) -> None:
        dataset.NumberOfFrames = 211
        del dataset.PerFrameFunctionalGroupsSequence[40]
        size = 80 * 80 * 2
        dataset.PixelData = dataset.PixelData[: 40 * size] + dataset.PixelData[41 * size :]

    whole = data_dir / SERIES / "enhanced/2001_WIP_fcMRI_Field_Mapping_e2_phMag.dcm"
    with pytest.raises(errors.IncompleteSeries, match=r"echo 1 magnitude lacks slice 21\."):
        read_echo_series(rewritten([whole], tmp_path, drop_frame))
