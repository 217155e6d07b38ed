"""Every way in which a series can mislead has a class of its own and a sentence that names file and remedy."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from dicom_io import errors
from dicom_io.read.reader import read_echo_series, read_source
from tests.dicom_io.read import scanner_files as scanner
from tests.dicom_io.read.scanner_files import Scan

SCAN = Scan()
Damage = Callable[[list[Dataset]], list[Dataset] | None]


def is_part(dataset: Dataset, part: str) -> bool:
    return dataset.ImageType[2] == part


def without(claim: Callable[[Dataset], bool]) -> Damage:
    return lambda objects: [dataset for dataset in objects if not claim(dataset)]


def changed(keyword: str, value: object, claim: Callable[[Dataset], bool] = lambda dataset: True) -> Damage:
    def damage(objects: list[Dataset]) -> None:
        for dataset in objects:
            if claim(dataset):
                setattr(dataset, keyword, value)

    return damage


def removed(keyword: str, claim: Callable[[Dataset], bool] = lambda dataset: True) -> Damage:
    def damage(objects: list[Dataset]) -> None:
        for dataset in objects:
            if claim(dataset) and keyword in dataset:
                delattr(dataset, keyword)

    return damage


def is_slice(dataset: Dataset, echo: int, part: str, number: int) -> bool:
    return dataset.EchoNumbers == echo and is_part(dataset, part) and dataset.InstanceNumber == number


def add_second_acquisition(objects: list[Dataset]) -> list[Dataset]:
    other = Scan(study_uid=f"{scanner.STUDY}.2")
    return [*objects, *scanner.classic(other, "SIEMENS", "MP", scanner.as_siemens)]


def add_second_series(objects: list[Dataset]) -> list[Dataset]:
    others = scanner.classic(Scan(first_position=(-12.5, 7.25, -28.0)), "SIEMENS", "MP", scanner.as_siemens)
    for number, dataset in enumerate(others):
        dataset.SeriesInstanceUID = f"{scanner.STUDY}.6"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{scanner.STUDY}.8.{number}"
    return [*objects, *others]


def add_repetition(objects: list[Dataset]) -> list[Dataset]:
    again = scanner.classic(SCAN, "SIEMENS", "MP", scanner.as_siemens)
    for number, dataset in enumerate(again):
        dataset.TemporalPositionIdentifier = 2
        dataset.PixelData = bytes(reversed(dataset.PixelData))
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{scanner.STUDY}.8.{number}"
    for dataset in objects:
        dataset.TemporalPositionIdentifier = 1
    return [*objects, *again]


def reuse_a_uid(objects: list[Dataset]) -> list[Dataset]:
    again = scanner.classic(SCAN, "SIEMENS", "MP", scanner.as_siemens)[0]
    again.PixelData = bytes(reversed(again.PixelData))
    return [*objects, again]


def shift_a_slice(objects: list[Dataset]) -> None:
    x, y, z = objects[2].ImagePositionPatient
    objects[2].ImagePositionPatient = [x, y, z + 0.7]


def shear(objects: list[Dataset]) -> None:
    for dataset in objects:
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x + 0.4 * dataset.InstanceNumber, y, z]


def store_not_a_number(objects: list[Dataset]) -> None:
    values = np.zeros(SCAN.shape[1:], dtype="<f4")
    values[1, 2] = np.nan
    objects[-1].BitsAllocated = 32
    objects[-1].FloatPixelData = values.tobytes()
    for keyword in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(objects[-1], keyword)


def blank_a_phase(objects: list[Dataset]) -> None:
    for dataset in objects:
        if is_part(dataset, "P") and dataset.EchoNumbers == 2:
            dataset.PixelData = bytes(len(dataset.PixelData))


def remove_the_field(objects: list[Dataset]) -> None:
    removed("MagneticFieldStrength")(objects)
    removed("ImagingFrequency")(objects)


def cut_pixels(objects: list[Dataset]) -> None:
    objects[7].PixelData = objects[7].PixelData[:-6]


def make_colourful(objects: list[Dataset]) -> None:
    changed("SamplesPerPixel", 3)(objects)
    changed("PhotometricInterpretation", "RGB")(objects)


DAMAGES: list[tuple[str, Damage, type[errors.DicomError], str]] = [
    ("a slice of one echo and part", without(lambda d: is_slice(d, 2, "P", 3)), errors.IncompleteSeries,
     r"echo 2 phase lacks slice 3\. Send"),
    ("a slice of every echo and part", without(lambda d: d.InstanceNumber == 2), errors.IncompleteSeries,
     "every echo lacks slice 2"),
    ("one echo of one part", without(lambda d: d.EchoNumbers == 3 and is_part(d, "P")), errors.IncompleteSeries,
     "echo 3 has no phase"),
    ("all phase", without(lambda d: is_part(d, "P")), errors.PhaseMissing, "switch on phase"),
    ("all magnitude", without(lambda d: is_part(d, "M")), errors.MagnitudeMissing, "send the magnitude"),
    ("two studies", add_second_acquisition, errors.MixedSeries, "StudyInstance|Study Instance UID"),
    ("two series", add_second_series, errors.MixedSeries, "Series Instance UID"),
    ("a repetition", add_repetition, errors.MixedSeries, "repeated"),
    ("a UID used twice", reuse_a_uid, errors.ContradictoryHeader, "same SOP Instance UID"),
    ("two field strengths", changed("MagneticFieldStrength", 1.5, lambda d: d.EchoNumbers == 2), errors.MixedSeries,
     "Magnetic Field Strength"),
    ("two matrices", changed("PixelSpacing", [1.0, 1.0], lambda d: d.InstanceNumber == 1), errors.MixedSeries,
     "Pixel Spacing"),
    ("a shifted slice", shift_a_slice, errors.GeometryUnusable, "no multiples of one step"),
    ("a sheared volume", shear, errors.GeometryUnusable, "along the normal"),
    ("no manufacturer", removed("Manufacturer"), errors.UnknownVendor, "Manufacturer"),
    ("an unknown manufacturer", changed("Manufacturer", "Acme"), errors.UnknownVendor, r"Manufacturer \(0008,0070\)"),
    ("one name that begins alike", changed("Manufacturer", "SIEMENSLIKE"), errors.UnknownVendor, "Manufacturer"),
    ("an inversion", changed("ScanningSequence", ["GR", "IR"]), errors.NoPhaseInProtocol, "inversion recovery"),
    ("a spin echo", changed("ScanningSequence", "SE"), errors.NoPhaseInProtocol, "spin echo"),
    ("diffusion", changed("DiffusionBValue", 1000.0), errors.NoPhaseInProtocol, "diffusion"),
    ("flow", changed("PhaseContrast", "YES"), errors.NoPhaseInProtocol, "velocity"),
    ("a lossy phase", changed("LossyImageCompression", "01", lambda d: is_part(d, "P")), errors.LossyPhase,
     "compressed with loss"),
    ("a distortion-corrected phase",
     changed("ImageType", ["ORIGINAL", "PRIMARY", "P", "DIS2D"], lambda d: is_part(d, "P")), errors.FilteredPhase,
     "DIS2D"),
    ("a weighted phase", changed("ImageType", ["ORIGINAL", "PRIMARY", "P", "SWI"], lambda d: is_part(d, "P")),
     errors.FilteredPhase, "filtered"),
    ("a derived phase", changed("ImageType", ["DERIVED", "SECONDARY", "P", "ND"], lambda d: is_part(d, "P")),
     errors.FilteredPhase, "derived"),
    ("another slope", changed("RescaleSlope", "1.7", lambda d: is_part(d, "P")), errors.PhaseScaleUnknown,
     "Rescale Slope"),
    ("phase beyond its scale", changed("RescaleType", "rad", lambda d: is_part(d, "P")), errors.PhaseScaleUnknown,
     "beyond ±π"),
    ("two echoes of one time", changed("EchoTime", 4.0, lambda d: d.EchoNumbers == 2), errors.ContradictoryHeader,
     "different Echo Number"),
    ("a blank phase", blank_a_phase, errors.PhaseMissing, "phase images of echo 2 hold one value only"),
    ("a magnitude scaled here and not there",
     changed("RescaleSlope", "2", lambda d: is_part(d, "M") and d.InstanceNumber > 1), errors.MissingAttribute,
     "Rescale Slope"),
    ("no echo time", removed("EchoTime"), errors.MissingAttribute, r"Echo Time \(0018,0081\)"),
    ("an echo time of nothing", changed("EchoTime", 0.0, lambda d: d.EchoNumbers == 1), errors.ContradictoryHeader,
     "Echo Time"),
    ("no position", removed("ImagePositionPatient"), errors.MissingAttribute, "Image Position"),
    ("no frame of reference", removed("FrameOfReferenceUID"), errors.MissingAttribute, "Frame of Reference UID"),
    ("no field strength",
     remove_the_field,
     errors.MissingAttribute, "Magnetic Field Strength"),
    ("field and frequency apart", changed("ImagingFrequency", 63.8), errors.ContradictoryHeader, "1.498 T"),
    ("field in gauss", changed("MagneticFieldStrength", 30000), errors.ContradictoryHeader, "no scanner's field"),
    ("pixels cut short", cut_pixels, errors.TruncatedPixelData, "54 bytes where 60 are due"),
    ("no pixels", removed("PixelData", lambda d: d.EchoNumbers == 2), errors.TruncatedPixelData, "holds no Pixel Data"),
    ("not a number", store_not_a_number, errors.NotFiniteValues, "1 pixels that are NaN"),
    ("colour", make_colourful, errors.UnsupportedObject, "colour"),
    ("three samples of grey", changed("SamplesPerPixel", 3), errors.ContradictoryHeader, "the image is grey"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "expected", "phrase"), [d[1:] for d in DAMAGES], ids=[d[0] for d in DAMAGES])
def test_damage_is_refused_by_its_own_class_with_a_sentence_that_helps(
    tmp_path: Path, damage: Damage, expected: type[errors.DicomError], phrase: str
) -> None:
    objects = scanner.classic(SCAN, "SIEMENS", "MP", scanner.as_siemens)
    paths = scanner.save(damage(objects) or objects, tmp_path)
    with pytest.raises(errors.DicomError) as refusal:
        read_echo_series(paths)
    assert type(refusal.value) is expected
    sentence = str(refusal.value)
    assert re.search(phrase, sentence)
    assert sentence.endswith(".")
    assert "SECRET" not in sentence.upper()


@pytest.mark.parametrize("slot", [0, 5, 13, 23])
def test_the_sentence_calls_a_file_what_the_caller_calls_it(tmp_path: Path, slot: int) -> None:
    objects = scanner.classic(SCAN, "SIEMENS", "MP", scanner.as_siemens)
    objects[slot].PixelData = objects[slot].PixelData[:10]
    paths = scanner.save(objects, tmp_path)
    with pytest.raises(errors.TruncatedPixelData, match=rf"^image number {slot}: "):
        read_echo_series(paths, lambda path: f"image number {int(path.stem)}")


def test_a_phase_scale_by_habit_must_be_proved_by_values_that_fill_it(tmp_path: Path) -> None:
    def encode(dataset: Dataset, image: np.ndarray, part: str) -> None:
        scanner.as_siemens_without_rescaling(dataset, image, part)
        if part == "P":
            scanner.put_pixels(dataset, 1500 + np.arange(image.size), 12, is_signed=False)

    paths = scanner.save(scanner.classic(SCAN, "SIEMENS", "MP", encode), tmp_path)
    with pytest.raises(errors.PhaseScaleUnknown, match="proves nothing"):
        read_echo_series(paths)


def test_a_phase_of_the_second_of_two_echoes_only_is_called_a_difference(tmp_path: Path) -> None:
    objects = scanner.classic(Scan(echo_times_ms=(5.19, 7.65)), "SIEMENS", "MP", scanner.as_siemens)
    kept = [dataset for dataset in objects if not (is_part(dataset, "P") and dataset.EchoNumbers == 1)]
    with pytest.raises(errors.PhaseDifference, match="second only"):
        read_source(scanner.save(kept, tmp_path))


def test_a_lossy_magnitude_is_noted_and_read(tmp_path: Path) -> None:
    objects = scanner.classic(SCAN, "SIEMENS", "MP", scanner.as_siemens)
    changed("LossyImageCompression", "01", lambda dataset: is_part(dataset, "M"))(objects)
    series = read_echo_series(scanner.save(objects, tmp_path))
    assert any("compressed with loss" in note for note in series.source.notes)


def test_a_magnitude_with_large_negative_values_is_no_magnitude(tmp_path: Path) -> None:
    def encode(dataset: Dataset, image: np.ndarray, part: str) -> None:
        scanner.as_siemens(dataset, image, part)
        if part == "M":
            scanner.put_pixels(dataset, image.real, 16, is_signed=True)

    paths = scanner.save(scanner.classic(SCAN, "SIEMENS", "MP", encode), tmp_path)
    with pytest.raises(errors.ContradictoryHeader, match="something else"):
        read_echo_series(paths)


def test_real_and_imaginary_images_without_their_zero_are_refused(tmp_path: Path) -> None:
    objects = scanner.classic(SCAN, "Philips", "RI", scanner.as_philips)
    removed("RescaleIntercept")(objects)
    with pytest.raises(errors.PhaseScaleUnknown, match="never negative"):
        read_echo_series(scanner.save(objects, tmp_path))


def test_projections_in_the_same_series_are_left_out(tmp_path: Path) -> None:
    objects = scanner.classic(SCAN, "SIEMENS", "MP", scanner.as_siemens)
    for number, dataset in enumerate(scanner.classic(SCAN, "SIEMENS", "M", scanner.as_siemens)):
        dataset.ImageType = ["DERIVED", "PRIMARY", "M", "MNIP"]
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{scanner.STUDY}.8.{number}"
        dataset.PixelData = bytes(reversed(dataset.PixelData))
        objects.append(dataset)
    source = read_source(scanner.save(objects, tmp_path))
    assert any(note.startswith("12 images do not say which part") for note in source.notes)


def test_no_files_is_a_sentence_too() -> None:
    with pytest.raises(errors.NotDicom, match="No files were given"):
        read_echo_series([])


def test_an_image_that_lost_the_name_of_its_part_is_named_where_one_is_missing(tmp_path: Path) -> None:
    objects = scanner.classic(Scan(), "SIEMENS", "MP", scanner.as_siemens)
    objects[5].ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    with pytest.raises(errors.IncompleteSeries, match=r"0005\.dcm does not say which part it is"):
        read_echo_series(scanner.save(objects, tmp_path))


def test_a_slice_that_is_missing_at_the_end_of_a_siemens_slab_is_named(tmp_path: Path) -> None:
    protocol = b"sSliceArray.lSize = 1\nsKSpace.lImagesPerSlab = 4\nsKSpace.ucDimension = 4\nlContrasts = 3\n"
    objects = scanner.classic(SCAN, "SIEMENS", "MP", scanner.as_siemens)
    for dataset in objects:
        block = dataset.private_block(0x0021, "SIEMENS MR SDS 01", create=True)
        block.add_new(0x19, "OB", protocol + b" " * (len(protocol) % 2))
    read_echo_series(scanner.save(objects, tmp_path / "whole"))
    kept = [dataset for dataset in objects if dataset.InstanceNumber < SCAN.shape[0]]
    with pytest.raises(errors.IncompleteSeries, match="3 of 4 declared slices"):
        read_echo_series(scanner.save(kept, tmp_path / "cut"))
