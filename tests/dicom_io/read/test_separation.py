"""A series of several scans is taken apart by what counts them, and left refused where nothing does."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from dicom_io import errors
from dicom_io.read.reader import find_acquisitions, read_echo_series, scans_in
from tests.dicom_io.read import scanner_files as scanner
from tests.dicom_io.read.scanner_files import STUDY, Scan

FIRST = Scan()
SECOND = Scan(echo_times_ms=FIRST.echo_times_ms, voxel_size_mm=FIRST.voxel_size_mm)
SHIFTED = (FIRST.first_position[0], FIRST.first_position[1], FIRST.first_position[2] + 20.3)
Count = Callable[[Dataset, int], None]


def written(scan: Scan, number: int, louder: float = 1.0) -> list[Dataset]:
    """Return the objects of one scan in a series that all scans share."""

    def encode(dataset: Dataset, image: np.ndarray, part: str) -> None:
        scanner.as_siemens(dataset, image * louder, part)

    objects = scanner.classic(scan, "SIEMENS", "MP", encode)
    for count, dataset in enumerate(objects):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{STUDY}.9.{number}.{count}"
    return objects


def in_one_series(folder: Path, count: Count, second: Scan = SECOND, n_scans: int = 2) -> list[Path]:
    """Write scans of growing magnitude as one series."""
    objects = []
    for number in range(1, n_scans + 1):
        for dataset in written(FIRST if number == 1 else second, number, louder=1 + 0.5 * (number - 1)):
            count(dataset, number)
            objects.append(dataset)
    return scanner.save(objects, folder)


def as_temporal_position(dataset: Dataset, number: int) -> None:
    dataset.TemporalPositionIdentifier = number


def as_acquisition_number(dataset: Dataset, number: int) -> None:
    dataset.AcquisitionNumber = 10 * number


def as_acquisition_time(dataset: Dataset, number: int) -> None:
    dataset.AcquisitionTime = f"10{number}500"


def as_stack(dataset: Dataset, number: int) -> None:
    dataset.StackID = str(number)


def by_nothing(dataset: Dataset, number: int) -> None:
    del dataset.InstanceNumber


@pytest.mark.parametrize(
    ("count", "title"),
    [
        (as_temporal_position, "repetition 2 of 2"),
        (as_acquisition_number, "scan 2 of 2"),
        (as_acquisition_time, "scan 2 of 2"),
    ],
)
def test_each_repetition_is_an_acquisition_of_its_own(tmp_path: Path, count: Count, title: str) -> None:
    in_one_series(tmp_path / "both", count)
    alone = [
        read_echo_series(scanner.save(written(FIRST, number, 1 + 0.5 * (number - 1)), tmp_path / str(number)))
        for number in (1, 2)
    ]
    found = find_acquisitions(tmp_path / "both")
    assert [one.refusal for one in found] == [None, None]
    for one, expected in zip(found, alone, strict=True):
        echoes = read_echo_series(one.paths, share=one.share)
        assert np.array_equal(echoes.magnitude, expected.magnitude)
        assert np.array_equal(echoes.phase, expected.phase)
        assert echoes.source.notes[0].startswith("The series holds 2")
    assert found[1].share is not None
    assert found[1].share.title == title


def test_slabs_are_acquisitions_of_their_own(tmp_path: Path) -> None:
    in_one_series(tmp_path, as_stack, Scan(first_position=SHIFTED))
    found = find_acquisitions(tmp_path)
    assert [one.share.title for one in found if one.share] == ["slab 1 of 2", "slab 2 of 2"]
    heights = [read_echo_series(one.paths, share=one.share).source.geometry.first_position[2] for one in found]
    assert heights == [FIRST.first_position[2], SHIFTED[2]]


def test_repetitions_of_slabs_are_told_apart_by_both(tmp_path: Path) -> None:
    objects = []
    for number, (slab, repetition) in enumerate([(1, 1), (1, 2), (2, 1), (2, 2)]):
        for dataset in written(FIRST if slab == 1 else Scan(first_position=SHIFTED), number, 1 + 0.2 * number):
            as_stack(dataset, slab)
            as_temporal_position(dataset, repetition)
            objects.append(dataset)
    assert [share.values for share in scans_in(scanner.save(objects, tmp_path))] == [
        ("1", "1"),
        ("1", "2"),
        ("2", "1"),
        ("2", "2"),
    ]


def without_a_slice(objects: list[Dataset]) -> list[Dataset]:
    return objects[:-1]


def with_its_phase_called_a_third(objects: list[Dataset]) -> list[Dataset]:
    for dataset in objects:
        dataset.TemporalPositionIdentifier = 3 if dataset.ImageType[2] == "P" else 2
    return objects


@pytest.mark.parametrize("spoil", [without_a_slice, with_its_phase_called_a_third])
def test_a_scan_that_is_not_whole_is_not_taken_from_the_others(
    tmp_path: Path, spoil: Callable[[list[Dataset]], list[Dataset]]
) -> None:
    first, second = written(FIRST, 1), written(SECOND, 2, 1.5)
    for number, objects in enumerate((first, second), start=1):
        for dataset in objects:
            as_temporal_position(dataset, number)
    paths = scanner.save([*first, *spoil(second)], tmp_path)
    (found,) = find_acquisitions(tmp_path)
    assert isinstance(found.refusal, errors.MixedSeries)
    assert scans_in(paths) == []


def test_scans_that_nothing_counts_stay_refused(tmp_path: Path) -> None:
    in_one_series(tmp_path, by_nothing)
    (found,) = find_acquisitions(tmp_path)
    assert isinstance(found.refusal, errors.MixedSeries)


def test_more_scans_than_anyone_maps_stay_refused(tmp_path: Path) -> None:
    tiny = Scan(shape=(2, 3, 3), echo_times_ms=(4.0,))
    objects = []
    for number in range(1, 19):
        for dataset in written(tiny, number, 1 + 0.1 * number):
            as_temporal_position(dataset, number)
            objects.append(dataset)
    scanner.save(objects, tmp_path)
    (found,) = find_acquisitions(tmp_path)
    assert isinstance(found.refusal, errors.MixedSeries)


def test_odd_and_even_slices_that_are_counted_apart_are_not_two_scans(tmp_path: Path) -> None:
    objects = written(FIRST, 1)
    for dataset in objects:
        dataset.AcquisitionNumber = 1 + dataset.InstanceNumber % 2
        dataset.StackID = str(1 + dataset.InstanceNumber % 2)
    again = copy.deepcopy(objects[0])
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = f"{STUDY}.9.7"
    again.PixelData = bytes(len(again.PixelData))
    scanner.save([*objects, again], tmp_path)
    (found,) = find_acquisitions(tmp_path)
    assert isinstance(found.refusal, errors.MixedSeries)


def test_repetitions_within_one_enhanced_object_are_told_apart(tmp_path: Path) -> None:
    objects = []
    for component in ("MAGNITUDE", "PHASE"):
        whole = None
        for number in (1, 2):
            one = scanner.enhanced_siemens(FIRST, component, 0, f"{len(component)}.1")
            for groups in one.PerFrameFunctionalGroupsSequence:
                content = Dataset()
                content.TemporalPositionIndex = number
                groups.FrameContentSequence = [content]
            if whole is None:
                whole = one
                continue
            whole.PerFrameFunctionalGroupsSequence += list(one.PerFrameFunctionalGroupsSequence)
            whole.PixelData += one.PixelData
            whole.NumberOfFrames *= 2
        objects.append(whole)
    scanner.save([one for one in objects if one is not None], tmp_path)
    found = find_acquisitions(tmp_path)
    assert [one.refusal for one in found] == [None, None]
    numbers = [
        [frame.frame_number for frame in read_echo_series(one.paths, share=one.share).source.frames[0]] for one in found
    ]
    assert numbers == [[1, 1], [FIRST.shape[0] + 1, FIRST.shape[0] + 1]]
