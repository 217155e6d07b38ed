"""A folder is taken apart into acquisitions; pairs are proved, not assumed."""

from pathlib import Path

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from dicom_io import errors
from dicom_io.read.reader import find_acquisitions, read_echo_series
from tests.dicom_io.read import scanner_files as scanner
from tests.dicom_io.read.scanner_files import Scan

APART = Scan(series={"M": f"{scanner.STUDY}.51", "P": f"{scanner.STUDY}.52"})


def test_magnitude_and_phase_series_of_one_acquisition_are_paired(tmp_path: Path) -> None:
    scanner.save(scanner.classic(APART, "SIEMENS", "MP", scanner.as_siemens), tmp_path)
    (found,) = find_acquisitions(tmp_path)
    assert found.refusal is None
    assert found.series_uids == (f"{scanner.STUDY}.51", f"{scanner.STUDY}.52")
    assert read_echo_series(found.paths).phase.shape == (3, *APART.shape)


def test_two_magnitude_series_that_fit_are_ambiguous_and_nothing_is_guessed(tmp_path: Path) -> None:
    objects = scanner.classic(APART, "SIEMENS", "MP", scanner.as_siemens)
    for number, dataset in enumerate(scanner.classic(APART, "SIEMENS", "M", scanner.as_siemens)):
        dataset.SeriesInstanceUID = f"{scanner.STUDY}.53"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{scanner.STUDY}.8.{number}"
        objects.append(dataset)
    scanner.save(objects, tmp_path)
    (found,) = find_acquisitions(tmp_path)
    assert isinstance(found.refusal, errors.MixedSeries)
    assert "magnitude images of the same echo" in str(found.refusal)


def test_a_repeated_scan_is_told_apart_by_its_acquisition_times(tmp_path: Path) -> None:
    objects = []
    for scan, time in ((1, "101500"), (2, "103000")):
        again = Scan(series={"M": f"{scanner.STUDY}.{scan}1", "P": f"{scanner.STUDY}.{scan}2"})
        for number, dataset in enumerate(scanner.classic(again, "SIEMENS", "MP", scanner.as_siemens)):
            dataset.AcquisitionTime = time
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{scanner.STUDY}.{scan}.{number}"
            objects.append(dataset)
    scanner.save(objects, tmp_path)
    found = find_acquisitions(tmp_path)
    assert [item.refusal for item in found] == [None, None]
    assert [item.series_uids for item in found] == [
        (f"{scanner.STUDY}.11", f"{scanner.STUDY}.12"),
        (f"{scanner.STUDY}.21", f"{scanner.STUDY}.22"),
    ]


def test_the_magnitude_without_distortion_correction_is_preferred(tmp_path: Path) -> None:
    objects = scanner.classic(APART, "SIEMENS", "MP", scanner.as_siemens)
    for number, dataset in enumerate(scanner.classic(APART, "SIEMENS", "M", scanner.as_siemens)):
        dataset.SeriesInstanceUID = f"{scanner.STUDY}.50"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "DIS2D"]
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{scanner.STUDY}.8.{number}"
        objects.append(dataset)
    scanner.save(objects, tmp_path)
    usable = [found for found in find_acquisitions(tmp_path) if found.refusal is None]
    assert [found.series_uids for found in usable] == [(f"{scanner.STUDY}.51", f"{scanner.STUDY}.52")]


def test_series_of_another_grid_are_not_paired(tmp_path: Path) -> None:
    moved = Scan(series={"P": f"{scanner.STUDY}.52"}, first_position=(-12.5, 7.25, -29.0))
    objects = scanner.classic(APART, "SIEMENS", "M", scanner.as_siemens)
    scanner.save([*objects, *scanner.classic(moved, "SIEMENS", "P", scanner.as_siemens)], tmp_path)
    assert all(found.refusal is not None for found in find_acquisitions(tmp_path))


def test_a_series_per_echo_is_joined_only_if_the_header_declares_the_echoes(tmp_path: Path) -> None:
    for folder, declares in (("proved", True), ("unproved", False)):
        objects = scanner.classic(Scan(), "GE MEDICAL SYSTEMS", "RI", scanner.as_ge)
        for dataset in objects:
            raw = dataset[0x0043, 0x102F].value
            dataset.SeriesInstanceUID = f"{scanner.STUDY}.6{raw}{dataset.EchoNumbers}"
            if declares:
                dataset.private_block(0x0019, "GEMS_ACQU_01", create=True).add_new(0x7E, "SS", 3)
        scanner.save(objects, tmp_path / folder)
    (joined,) = find_acquisitions(tmp_path / "proved")
    assert joined.refusal is None
    assert read_echo_series(joined.paths).source.echo_times_s == (0.004, 0.0085, 0.013)
    assert len(find_acquisitions(tmp_path / "unproved")) == 3


def test_files_that_are_no_images_are_said_to_be_so(tmp_path: Path) -> None:
    scanner.save(scanner.classic(APART, "SIEMENS", "MP", scanner.as_siemens), tmp_path)
    (tmp_path / "notes.txt").write_text("not DICOM")
    (tmp_path / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\0\0\0")
    found = find_acquisitions(tmp_path)
    assert [item.refusal is None for item in found] == [True, False]
    assert isinstance(found[1].refusal, errors.NotDicom)
    assert [path.name for path in found[1].paths] == ["broken.dcm"]


def test_objects_of_one_series_that_cannot_be_read_are_told_once(tmp_path: Path) -> None:
    objects = scanner.classic(Scan(), "SIEMENS", "MP", scanner.as_siemens)
    for dataset in objects:
        del dataset.ImageOrientationPatient
    scanner.save(objects, tmp_path)
    (found,) = find_acquisitions(tmp_path)
    assert isinstance(found.refusal, errors.MissingAttribute)
    assert len(found.paths) == len(objects)


def test_the_directory_of_a_medium_is_no_object(tmp_path: Path) -> None:
    paths = scanner.save(scanner.classic(Scan(), "SIEMENS", "MP", scanner.as_siemens), tmp_path / "disc")
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = f"{scanner.STUDY}.77"
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.FileSetID = "DISC"
    directory.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    assert [len(found.paths) for found in find_acquisitions(tmp_path)] == [len(paths)]
