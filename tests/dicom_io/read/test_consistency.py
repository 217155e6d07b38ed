"""A second witness shows what was changed on the way, and says in what two images of one place differ."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset

from dicom_io import errors
from dicom_io.read.reader import read_source
from node.reading_study.subjects import simulated_subjects
from tests.dicom_io.read import scanner_files as scanner

SCAN = scanner.Scan()
Change = Callable[[list[Dataset]], None]


def siemens(scan: scanner.Scan = SCAN, parts: str = "MP") -> list[Dataset]:
    """Return a scan whose slice locations fall with the position, as some scanners count them."""
    objects = scanner.classic(scan, "SIEMENS", parts, scanner.as_siemens)
    for dataset in objects:
        dataset.SliceLocation = 40 - 1.9 * dataset.InstanceNumber
        dataset.ReconstructionDiameter = scan.shape[1] * scan.voxel_size_mm[1]
    return objects


def swap(keyword: str, first: int, second: int) -> Change:
    def change(objects: list[Dataset]) -> None:
        one, other = objects[first][keyword].value, objects[second][keyword].value
        setattr(objects[first], keyword, other)
        setattr(objects[second], keyword, one)

    return change


def every(keyword: str, value: object) -> Change:
    return lambda objects: [setattr(dataset, keyword, value) for dataset in objects] and None


def stacked(change: Change) -> Change:
    """Number slices by their place in the stack alone, as enhanced objects do, and then make the change."""

    def both(objects: list[Dataset]) -> None:
        for dataset in objects:
            del dataset.SliceLocation
            dataset.InStackPositionNumber = 5 - dataset.InstanceNumber
        change(objects)

    return both


# In the order part, echo, slice: the first twelve objects are magnitude, four slices for each of three echoes.
CONTRADICTIONS = [
    ("two positions", swap("ImagePositionPatient", 0, 2), "Slice Location .* Image Position"),
    ("positions in a stack", stacked(swap("ImagePositionPatient", 0, 2)), "In-Stack Position .* Image Position"),
    ("two slice locations", swap("SliceLocation", 13, 14), "Slice Location .* Image Position"),
    ("two echo times", swap("EchoTime", 1, 5), "Echo Number.* do not go together"),
    ("two echo numbers", swap("EchoNumbers", 12, 20), "Echo Number.* do not go together"),
    ("pixels ten times larger", every("PixelSpacing", [10, 8]), "Pixel Spacing .* Reconstruction Diameter"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "phrase"), [c[1:] for c in CONTRADICTIONS], ids=[c[0] for c in CONTRADICTIONS])
def test_what_a_second_witness_contradicts_is_refused(tmp_path: Path, change: Change, phrase: str) -> None:
    objects = siemens()
    change(objects)
    with pytest.raises(errors.ContradictoryHeader, match=phrase):
        read_source(scanner.save(objects, tmp_path))


HARMLESS = [
    ("places in a stack", stacked(lambda objects: None)),
    ("one number for all echoes", every("EchoNumbers", 1)),
    ("one location for all slices", every("SliceLocation", 0.0)),
    ("no echo numbers", lambda objects: [dataset.__delitem__("EchoNumbers") for dataset in objects] and None),
]


@pytest.mark.parametrize("change", [entry[1] for entry in HARMLESS], ids=[entry[0] for entry in HARMLESS])
def test_witnesses_that_count_nothing_are_not_heard(tmp_path: Path, change: Change) -> None:
    plain, changed = siemens(), siemens()
    change(changed)
    expected = read_source(scanner.save(plain, tmp_path / "plain"))
    found = read_source(scanner.save(changed, tmp_path / "changed"))
    assert (found.geometry, found.frames, found.echo_times_s) == (
        expected.geometry, expected.frames, expected.echo_times_s)  # fmt: skip


def private_coil(dataset: Dataset, name: str) -> None:
    dataset.private_block(0x0051, "SIEMENS MR HEADER", create=True).add_new(0x0F, "LO", name)


DIFFERENCES: list[tuple[str, Callable[[Dataset, int], None], str]] = [
    ("coils", lambda dataset, turn: private_coil(dataset, f"H{turn}"), r"coils .* \(H1 and H2\), uncombined"),
    ("coils by name", lambda dataset, turn: setattr(dataset, "ReceiveCoilName", f"C{turn}"), "uncombined"),
    ("averages", lambda dataset, turn: setattr(dataset, "AcquisitionNumber", turn), "several averages or repetitions"),
    ("slabs", lambda dataset, turn: setattr(dataset, "StackID", str(turn)), "several slabs"),
]


@pytest.mark.parametrize(("mark", "phrase"), [d[1:] for d in DIFFERENCES], ids=[d[0] for d in DIFFERENCES])
def test_two_images_of_one_place_are_told_apart_by_name(
    tmp_path: Path, mark: Callable[[Dataset, int], None], phrase: str
) -> None:
    objects, again = siemens(), siemens()
    for number, dataset in enumerate(again):
        dataset.PixelData = bytes(reversed(dataset.PixelData))
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{scanner.STUDY}.8.{number}"
    for turn, datasets in enumerate((objects, again), start=1):
        for dataset in datasets:
            mark(dataset, turn)
    with pytest.raises(errors.MixedSeries, match=phrase):
        read_source(scanner.save([*objects, *again], tmp_path))


def test_interpolated_pixels_are_said_in_the_report(tmp_path: Path) -> None:
    objects = siemens()
    every("AcquisitionMatrix", [0, 3, 3, 0])(objects)
    notes = read_source(scanner.save(objects, tmp_path)).notes
    assert any("interpolated 3 × 3 measured points to 6 × 5 pixels" in note for note in notes)


RESAMPLED = [
    (every("ImageType", ["ORIGINAL", "PRIMARY", "P", "RESAMPLED"]), "interpolated"),
    (every("VolumetricProperties", "SAMPLED"), "resampled from a volume"),
    (every("VolumeBasedCalculationTechnique", "MPR"), "calculated from a volume"),
]


@pytest.mark.parametrize(("change", "phrase"), RESAMPLED)
def test_a_resampled_phase_is_refused(tmp_path: Path, change: Change, phrase: str) -> None:
    phase = siemens(parts="P")
    change(phase)
    with pytest.raises(errors.FilteredPhase, match=phrase):
        read_source(scanner.save([*siemens(parts="M"), *phase], tmp_path))


def test_echoes_kept_in_series_of_their_own_become_one_acquisition(tmp_path: Path) -> None:
    """XA exports each echo as a classic series, every one of which calls its echo the first."""
    objects = []
    for echo, time in enumerate(SCAN.echo_times_ms, start=1):
        part_of = {part: f"{scanner.STUDY}.5{echo}{number}" for number, part in enumerate("MP")}
        scan = replace(SCAN, echo_times_ms=(time,), series=part_of)
        for number, dataset in enumerate(siemens(scan)):
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{scanner.STUDY}.8.{echo}.{number}"
            objects.append(dataset)
    source = read_source(scanner.save(objects, tmp_path))
    assert source.echo_times_s == tuple(time / 1000 for time in SCAN.echo_times_ms)
    assert all(len(frames) == 6 for frames in source.frames)


@pytest.mark.parametrize(("keyword", "value"), [("PixelRepresentation", 1), ("BitsStored", 11)])
def test_one_image_of_another_form_than_its_part_is_refused(tmp_path: Path, keyword: str, value: int) -> None:
    objects = siemens()
    objects[3][keyword].value = value
    objects[3].HighBit = objects[3].BitsStored - 1
    with pytest.raises(errors.ContradictoryHeader, match=r"Pixel Representation .* or Bits Stored"):
        read_source(scanner.save(objects, tmp_path))


@pytest.mark.parametrize(
    ("keyword", "value"), [("RescaleIntercept", 0), ("RescaleSlope", 1000), ("RescaleIntercept", -1e6)]
)
def test_one_real_image_that_lost_its_zero_is_refused(tmp_path: Path, keyword: str, value: float) -> None:
    objects = scanner.classic(SCAN, "Philips", "RI", scanner.as_philips)
    setattr(objects[2], keyword, value)
    with pytest.raises(errors.PhaseScaleUnknown, match="never negative, or never positive"):
        read_source(scanner.save(objects, tmp_path))


@pytest.mark.parametrize("flavour", ["ge_alternating_slices", "canon_real_and_imaginary"])
def test_a_real_and_an_imaginary_image_that_were_exchanged_are_refused(tmp_path: Path, flavour: str) -> None:
    objects = list(next(subject for subject in simulated_subjects() if subject.name == flavour).objects)
    read_source(scanner.save(objects, tmp_path / "true"))
    first, second = objects[-2:]
    if flavour == "canon_real_and_imaginary":
        first.ImageType, second.ImageType = second.ImageType, first.ImageType
    else:
        first[0x0043, 0x102F].value, second[0x0043, 0x102F].value = 3, 2
    with pytest.raises(errors.ContradictoryHeader, match="two parts were exchanged"):
        read_source(scanner.save(objects, tmp_path / "exchanged"))


def test_a_slice_exchanged_between_the_objects_of_two_echoes_is_refused(tmp_path: Path) -> None:
    objects = list(next(subject for subject in simulated_subjects() if subject.name == "siemens_enhanced").objects)
    first, second = (dataset.PerFrameFunctionalGroupsSequence[1].MREchoSequence[0] for dataset in objects[:2])
    first.EffectiveEchoTime, second.EffectiveEchoTime = second.EffectiveEchoTime, first.EffectiveEchoTime
    with pytest.raises(errors.ContradictoryHeader, match="one object for each echo"):
        read_source(scanner.save(objects, tmp_path))


@pytest.mark.parametrize("part", ["M", "P"])
def test_echoes_exchanged_between_two_frames_of_one_object_are_refused(tmp_path: Path, part: str) -> None:
    dataset = next(subject for subject in simulated_subjects() if subject.name == "philips_enhanced").objects[0]
    read_source(scanner.save([dataset], tmp_path / "true"))
    frames = [
        frame
        for frame in dataset.PerFrameFunctionalGroupsSequence
        if frame.MRImageFrameTypeSequence[0].FrameType[3] == part
        and frame.FrameContentSequence[0].InStackPositionNumber == 2
    ]
    first, second = (frame.MREchoSequence[0] for frame in frames[:2])
    first.EffectiveEchoTime, second.EffectiveEchoTime = second.EffectiveEchoTime, first.EffectiveEchoTime
    with pytest.raises(errors.ContradictoryHeader, match="frames of slice 2 are of other echoes"):
        read_source(scanner.save([dataset], tmp_path / "exchanged"))


def test_echo_times_that_changed_places_are_seen_by_the_order_of_the_numbers_of_images(tmp_path: Path) -> None:
    subject = next(subject for subject in simulated_subjects() if subject.name == "united_imaging_classic")
    objects = list(subject.objects)
    assert objects[0].ComplexImageComponent == objects[4].ComplexImageComponent
    swap("EchoTime", 0, 4)(objects)
    with pytest.raises(errors.ContradictoryHeader, match=r"Echo Time .* of other echoes than Instance Number"):
        read_source(scanner.save(objects, tmp_path))
