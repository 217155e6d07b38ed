"""Images that cannot be compared by what their headers say are refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import Dataset

from dicom_io.errors import ContradictoryHeader, MissingAttribute, Permanent, PhaseScaleUnknown
from dicom_io.read.reader import read_echo_series, read_source
from node.reading_study.subjects import Subject, encoded, real_subjects, simulated_subjects

Change = Callable[[list[Dataset]], None]


@pytest.fixture
def subjects() -> dict[str, Subject]:
    return {subject.name: subject for subject in simulated_subjects()}


def one(number: int, keyword: str, value: object) -> Change:
    return lambda objects: setattr(objects[number], keyword, value)


def all_ones(objects: list[Dataset]) -> None:
    for dataset in objects:
        dataset.RescaleIntercept = "1"


def zero_of_first(objects: list[Dataset]) -> None:
    first = objects[0]
    del first.RealWorldValueMappingSequence
    first.RescaleIntercept = f"{float(first.RescaleIntercept) + 40 * float(first.RescaleSlope):.12g}"
    first[0x2005, 0x100D].value -= 40


def private(element: int, value: float, *numbers: int) -> Change:
    def change(objects: list[Dataset]) -> None:
        for number in numbers:
            objects[number][0x2005, element].value = value

    return change


def without_private(objects: list[Dataset]) -> None:
    for dataset in objects:
        dataset.remove_private_tags()


def without_slope(objects: list[Dataset]) -> None:
    for dataset in objects:
        if dataset.ImageType[3] == "M":
            del dataset.RescaleSlope


def without_first_slope(objects: list[Dataset]) -> None:
    del objects[0].RescaleSlope


# Philips writes all magnitude images first, then all phase images; Canon's real and imaginary images alternate.
REFUSED: list[tuple[str, str, Change, type[Permanent], str]] = [
    ("one slope", "canon_real_and_imaginary", one(3, "RescaleSlope", "1.5"), ContradictoryHeader, "Slope .* 1.5"),
    ("one zero", "philips_real_and_imaginary", zero_of_first, ContradictoryHeader, "share one zero"),
    ("a magnitude's zero", "canon_classic", one(0, "RescaleIntercept", "5"), ContradictoryHeader, "no signal"),
    ("a slope of the other sign", "canon_classic", one(0, "RescaleSlope", "-1"), ContradictoryHeader, "Slope .* is -1"),
    ("no private scale", "philips_real_and_imaginary", without_private, ContradictoryHeader, "nothing in the headers"),
    ("no public slope", "philips_classic", without_slope, ContradictoryHeader, r"but no Rescale Slope"),
    ("another private zero", "philips_classic", private(0x100D, 5.0, 3), ContradictoryHeader, "values zero, -?0 and 5"),
    ("a negative private slope", "philips_classic", private(0x100E, -1.0, 3), ContradictoryHeader, "is -1"),
    ("a far scale", "philips_real_and_imaginary", private(0x100E, 1e9, 4), ContradictoryHeader, "in most images"),
    ("three samples", "philips_classic_complex", one(12, "SamplesPerPixel", 3), ContradictoryHeader, "is grey"),
    ("another mapping", "philips_classic", one(2, "RescaleSlope", "2.5"), ContradictoryHeader, "Real World Value"),
    ("signed values' zero", "canon_real_and_imaginary", all_ones, PhaseScaleUnknown, "whose zero is 0"),
    ("a phase turned round", "canon_classic", one(17, "RescaleSlope", "-9.6e-05"), PhaseScaleUnknown, "Nothing proves"),
    ("another end", "siemens_xa_classic", one(17, "RescaleIntercept", "-4095"), PhaseScaleUnknown, "Nothing proves"),
    ("one slope absent", "canon_classic", without_first_slope, MissingAttribute, "Rescale Slope"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("flavour", "change", "refusal", "phrase"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_images_scaled_otherwise_than_their_neighbours_are_refused(
    tmp_path: Path, subjects: dict[str, Subject], flavour: str, change: Change, refusal: type[Permanent], phrase: str
) -> None:
    with pytest.raises(refusal, match=phrase):
        read_source(saved(subjects[flavour], change, tmp_path))


def test_an_acquisition_without_private_elements_is_read_where_all_slopes_are_equal(
    tmp_path: Path, subjects: dict[str, Subject]
) -> None:
    def strip(objects: list[Dataset]) -> None:
        without_private(objects)
        for dataset in objects:
            if dataset.ImageType[3] == "M":
                dataset.RescaleSlope, dataset.RealWorldValueMappingSequence[0].RealWorldValueSlope = "1.25", 1.25

    assert read_source(saved(subjects["philips_classic"], strip, tmp_path)).vendor == "Philips"


@pytest.mark.parametrize("changed", ["slope", "scale slope"])
@pytest.mark.parametrize("folder", ["classic", "enhanced"])
def test_one_image_of_a_series_that_philips_scaled_alike_cannot_have_another_scale(
    tmp_path: Path, data_dir: Path, folder: str, changed: str
) -> None:
    def change(objects: list[Dataset]) -> None:
        image = item = objects[0]
        if folder == "enhanced":
            image = objects[0].PerFrameFunctionalGroupsSequence[0]
            item = image[0x2005, 0x140F].value[0]
            del image.RealWorldValueMappingSequence
        elif changed == "slope":
            del image.RealWorldValueMappingSequence
        if changed == "scale slope":
            item[0x2005, 0x100E].value *= 1.37
            return
        rescaling = image.PixelValueTransformationSequence[0] if folder == "enhanced" else image
        rescaling.RescaleSlope = "1.7694579"

    name = f"philips_ingenia_571_2echo_gre/{folder}"
    subject = next(subject for subject in real_subjects(data_dir) if subject.name == name)
    with pytest.raises(ContradictoryHeader, match=r"of the magnitude image is 0\.00042111"):
        read_source(saved(subject, change, tmp_path))


def saved(subject: Subject, change: Change, folder: Path) -> list[Path]:
    objects = list(subject.objects)
    change(objects)
    paths = [folder / f"{number:03d}.dcm" for number in range(len(objects))]
    for path, dataset in zip(paths, objects, strict=True):
        path.write_bytes(encoded(dataset))
    return paths


def test_a_ge_image_that_no_longer_names_its_part_is_not_replaced_by_others(
    tmp_path: Path, subjects: dict[str, Subject]
) -> None:
    def empty(objects: list[Dataset]) -> None:
        for dataset in objects:
            if dataset[0x0043, 0x102F].value == 2:
                dataset[0x0043, 0x102F].value = None

    with pytest.raises(ContradictoryHeader, match=r"\(0043,xx2F\), which says what part it is, is empty"):
        read_source(saved(subjects["ge_classic"], empty, tmp_path))


@pytest.mark.parametrize("flavour", ["philips_classic", "philips_real_and_imaginary", "philips_enhanced"])
def test_scales_of_two_philips_images_that_changed_places_are_seen_by_the_largest_value(
    tmp_path: Path, subjects: dict[str, Subject], flavour: str
) -> None:
    def swap(objects: list[Dataset]) -> None:
        items = objects
        if flavour == "philips_enhanced":
            items = [group[0x2005, 0x140F].value[0] for group in objects[0].PerFrameFunctionalGroupsSequence]
        scales, kind = [item[0x2005, 0x100E] for item in items], items[0][0x2005, 0x1011].value
        alike = [number for number, item in enumerate(items) if item[0x2005, 0x1011].value == kind]
        other = next(number for number in alike if scales[number].value > scales[0].value)
        scales[0].value, scales[other].value = scales[other].value, scales[0].value

    paths = saved(subjects[flavour], swap, tmp_path)
    with pytest.raises(ContradictoryHeader, match="own scale and range they go to"):
        read_echo_series(paths)
    assert read_source(paths).vendor == "Philips"


def test_a_scale_that_came_from_a_part_that_is_not_used_is_seen_too(
    tmp_path: Path, subjects: dict[str, Subject]
) -> None:
    def swap(objects: list[Dataset]) -> None:
        first, other = (objects[number][0x2005, 0x100E] for number in (0, 18))
        assert first.value != other.value
        first.value, other.value = other.value, first.value

    with pytest.raises(ContradictoryHeader, match="the real image has stored values up to"):
        read_echo_series(saved(subjects["philips_classic_complex"], swap, tmp_path))
