"""Series of one acquisition find each other, and those of two scans do not."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import Dataset

from dicom_io import errors
from dicom_io.read.grouping import second_of_day
from dicom_io.read.reader import FoundAcquisition, find_acquisitions, read_echo_series
from tests.dicom_io.read import scanner_files as scanner
from tests.dicom_io.read.scanner_files import STUDY, Scan

Objects = list[Dataset]


def siemens(number: int = 1, time: str = "101500") -> Objects:
    """Return a series of magnitude and one of phase."""
    scan = Scan(series={part: f"{STUDY}.{number}{part_number}" for part_number, part in enumerate("MP")})
    return taken(scanner.classic(scan, "SIEMENS", "MP", scanner.as_siemens), number, time)


def taken(objects: Objects, number: int, time: str) -> Objects:
    """Give the objects of one scan names and a time of their own."""
    for count, dataset in enumerate(objects):
        dataset.AcquisitionTime = time
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{STUDY}.9.{number}.{count}"
    return objects


def a_series_per_echo(objects: Objects, declared: int = 0) -> Objects:
    """Put every echo of every series in a series of its own."""
    for dataset in objects:
        dataset.SeriesInstanceUID = f"{dataset.SeriesInstanceUID}.{round(10 * dataset.EchoTime)}"
        if declared:
            protocol = f"lContrasts\t = \t{declared}\n".encode()
            dataset.private_block(0x0021, "SIEMENS MR SDS 01", create=True).add_new(0x19, "OB", protocol + b" " * 15)
    return objects


def corrected(objects: Objects) -> Objects:
    """Return the objects as the scanner writes them a second time, corrected for distortion."""
    for dataset in objects:
        dataset.ImageType = [*dataset.ImageType[:3], "DIS2D"]
    return objects


def found_in(objects: Objects, folder: Path) -> list[FoundAcquisition]:
    """Write the objects and return what is found."""
    scanner.save(objects, folder)
    return find_acquisitions(folder)


def test_two_scans_whose_echoes_lie_apart_are_told_apart_by_their_times(tmp_path: Path) -> None:
    both = [*a_series_per_echo(siemens(1), 3), *a_series_per_echo(siemens(2, "103000"), 3)]
    found = found_in(both, tmp_path)
    assert [one.refusal for one in found] == [None, None]
    assert [len(one.series_uids) for one in found] == [6, 6]
    assert not set(found[0].series_uids) & set(found[1].series_uids)


@pytest.mark.parametrize("time_of_second", ["101500", "101501.5"])
def test_undeclared_echoes_that_were_acquired_at_once_are_one_acquisition(tmp_path: Path, time_of_second: str) -> None:
    objects = a_series_per_echo(siemens())
    for dataset in objects:
        if dataset.EchoNumbers > 1:
            dataset.AcquisitionTime = time_of_second
    (found,) = found_in(objects, tmp_path)
    assert found.refusal is None
    assert read_echo_series(found.paths).source.echo_times_s == (0.004, 0.0085, 0.013)


def at_midnight(dataset: Dataset) -> None:
    dataset.AcquisitionTime = "000000"


def a_minute_apart(dataset: Dataset) -> None:
    dataset.AcquisitionTime = f"1015{dataset.EchoNumbers}0"


def all_called_the_first(dataset: Dataset) -> None:
    dataset.EchoNumbers = 1


@pytest.mark.parametrize("change", [at_midnight, a_minute_apart, all_called_the_first])
def test_echoes_of_which_nothing_proves_one_scan_stay_apart(tmp_path: Path, change: Callable[[Dataset], None]) -> None:
    objects = a_series_per_echo(siemens())
    for dataset in objects:
        change(dataset)
    assert [len(one.series_uids) for one in found_in(objects, tmp_path)] == [2, 2, 2]


@pytest.mark.parametrize(
    ("is_gone", "sentence"),
    [
        (lambda one: one.InstanceNumber == 4 and one.ImageType[2] == "M", "magnitude of every echo lacks slice 4"),
        (lambda one: one.InstanceNumber == 1 and one.ImageType[2] == "P", "phase of every echo lacks slice 1"),
        (lambda one: one.EchoNumbers == 3 and one.ImageType[2] == "P", "echo 3 has no phase"),
    ],
)
@pytest.mark.parametrize("is_apart", [False, True])
def test_what_one_series_lacks_is_named_by_the_other(
    tmp_path: Path, is_gone: Callable[[Dataset], bool], sentence: str, is_apart: bool
) -> None:
    objects = a_series_per_echo(siemens(), 3) if is_apart else siemens()
    (found,) = found_in([one for one in objects if not is_gone(one)], tmp_path)
    assert isinstance(found.refusal, errors.IncompleteSeries)
    assert sentence in str(found.refusal)


def test_of_echoes_that_came_twice_the_uncorrected_are_mapped_and_the_corrected_refused(tmp_path: Path) -> None:
    both = [*a_series_per_echo(siemens(1), 3), *a_series_per_echo(corrected(siemens(2)), 3)]
    found = found_in(both, tmp_path)
    assert [type(one.refusal) for one in found] == [type(None), errors.FilteredPhase]
    assert [len(one.series_uids) for one in found] == [6, 6]


def test_corrected_phase_does_not_take_the_uncorrected_magnitude(tmp_path: Path) -> None:
    for order in ((1, 2), (2, 1)):
        objects = [*corrected(siemens(order[0])), *siemens(order[1])]
        found = found_in(objects, tmp_path / str(order[0]))
        assert [type(one.refusal) for one in found] == [type(None), errors.FilteredPhase]


def beside(objects: Objects, *words: str) -> Objects:
    """Return the magnitude once more, in a series of its own, with other words in ImageType."""
    copies = [dataset for dataset in objects if dataset.ImageType[2] == "M"]
    for count, dataset in enumerate(copies):
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", *words]
        dataset.SeriesInstanceUID = f"{STUDY}.99"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{STUDY}.9.99.{count}"
        dataset.PixelData = bytes(len(dataset.PixelData))
    return copies


def test_a_magnitude_made_even_is_left_aside_where_the_measured_one_came_too(tmp_path: Path) -> None:
    expected = read_echo_series(scanner.save(siemens(), tmp_path / "alone"))
    (found,) = found_in([*siemens(), *beside(siemens(), "NORM", "ND")], tmp_path / "both")
    assert found.refusal is None
    echoes = read_echo_series(found.paths)
    assert (echoes.magnitude == expected.magnitude).all()
    assert echoes.source.notes[0].startswith("12 images that the scanner corrected")


def test_a_magnitude_made_even_does_not_fill_a_gap_in_the_measured_one(tmp_path: Path) -> None:
    measured = [one for one in siemens() if not (one.ImageType[2] == "M" and one.InstanceNumber == 2)]
    made_even = beside(siemens(), "NORM", "ND")
    for dataset in made_even:
        dataset.SeriesInstanceUID = measured[0].SeriesInstanceUID
    (found,) = found_in([*measured, *made_even], tmp_path)
    assert isinstance(found.refusal, errors.MixedSeries)


def test_four_parts_in_four_series_are_one_acquisition(tmp_path: Path) -> None:
    scan = Scan(series={part: f"{STUDY}.7{number}" for number, part in enumerate("MPRI")})
    objects = taken(scanner.classic(scan, "GE MEDICAL SYSTEMS", "MPRI", scanner.as_ge), 1, "101500")
    (found,) = found_in(objects, tmp_path)
    assert found.refusal is None
    assert len(found.series_uids) == 4


def test_a_filtered_phase_does_not_spoil_the_real_and_imaginary_images_of_its_scan(tmp_path: Path) -> None:
    scan = Scan(series={part: f"{STUDY}.7{number}" for number, part in enumerate("MPRI")})
    objects = taken(scanner.classic(scan, "Philips", "MPRI", scanner.as_philips), 1, "101500")
    for dataset in objects:
        if dataset.ImageType[3] == "P":
            dataset.SeriesDescription = "FILT_PHA: SWI"
    usable, refused = found_in(objects, tmp_path)
    assert usable.refusal is None
    assert isinstance(refused.refusal, errors.FilteredPhase)


def test_two_scans_that_nothing_tells_apart_are_refused_together(tmp_path: Path) -> None:
    (found,) = found_in([*siemens(1), *siemens(2)], tmp_path)
    assert isinstance(found.refusal, errors.MixedSeries)
    assert len(found.series_uids) == 4


@pytest.mark.parametrize(
    ("moment", "second"),
    [
        ("101500", 36900.0),
        ("101500.25", 36900.25),
        ("20260304101500.5", 36900.5),
        ("20260304101500.500000+0100", 36900.5),
        ("20260304101500+0100", 36900.0),
        ("", None),
        ("1015", None),
        ("noon", None),
    ],
)
def test_a_moment_is_a_second_of_the_day_however_it_is_written(moment: str, second: float | None) -> None:
    assert second_of_day(moment) == second
